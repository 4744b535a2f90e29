//! From a streamtype's name to a stream, or to a refusal.

use std::sync::Arc;

use sspc_policy::{MetadataItem, StreamType};
use sspc_wire::Streamtype;
use sspc_wire::limits::{STREAMTYPE_LIST_MAX, STREAMTYPE_NAME_MAX, VERSION};
use tracing::info;

use super::attempt::AttemptStarter;
use super::close_reason::{CloseReason, ProtocolError, Refusal};
use super::context::SessionContext;
use super::link::LinkKind;
use super::stream::Stream;

/// Creates the stream that STREAMTYPE asks for.
pub(super) fn create<D: AttemptStarter>(
    context: &SessionContext<D>,
    asked: &Streamtype<'_>,
    link: LinkKind,
) -> Result<Stream<D>, CloseReason> {
    let SessionContext { policy, starter, .. } = context;
    if asked.version != VERSION {
        return Err(ProtocolError::Version(asked.version).into());
    }
    if asked.name.len() > STREAMTYPE_NAME_MAX {
        return Err(ProtocolError::NameLength(asked.name.len()).into());
    }
    if let Some(excess) = &context.excess {
        return Err(CloseReason::Refused(Refusal::Excess(excess.clone())));
    }
    let name = String::from_utf8_lossy(asked.name).into_owned();
    tracing::Span::current().record("streamtype", &name);
    let Some(streamtype) = policy.streamtype(&name) else {
        let known = policy.streamtypes.keys().map(String::as_str);
        let suggestion = sspc_policy::suggest(&name, known);
        return Err(CloseReason::Refused(Refusal::Unknown { name, suggestion }));
    };
    let protocol = streamtype.protocol;
    if streamtype.server {
        return Err(CloseReason::Refused(Refusal::Server { name }));
    }
    if streamtype.local_sink {
        return Err(CloseReason::Refused(Refusal::LocalSink { name }));
    }
    if !starter.supports(protocol) {
        let protocol = protocol.to_string();
        return Err(CloseReason::Refused(Refusal::Protocol { name, protocol }));
    }
    // To go out unsigned, or past the proxy that the policy names, is not for us to decide.
    if streamtype.use_auth.is_some() {
        return Err(CloseReason::Refused(Refusal::NotDone { name, key: "use_auth" }));
    }
    if policy.via_socks5.is_some() {
        return Err(CloseReason::Refused(Refusal::NotDone { name, key: "via-socks5" }));
    }
    info!(
        %protocol,
        pid = asked.process_id(),
        honours_credit = asked.honours_credit(),
        "stream created"
    );
    Ok(Stream::create(context, policy.rideshare_chain(&name), Arc::clone(streamtype), asked, link))
}

/// Whether a stream of this type can ever take payload.
pub(super) fn may_take_payload(streamtype: &StreamType) -> bool {
    let given = streamtype.metadata.iter().any(MetadataItem::is_content_length).then_some(1);
    streamtype.takes_payload(given)
}

/// CREATE_RESULT's list: each name behind a comma, as deployed clients are used to; those that
/// do not fit are left out.
pub(super) fn name_list(chain: &[Arc<StreamType>]) -> Vec<u8> {
    let mut list = Vec::new();
    for streamtype in chain {
        if list.len() + 1 + streamtype.name.len() > STREAMTYPE_LIST_MAX {
            info!(name = streamtype.name, "the list of rideshare names is too long, cut here");
            break;
        }
        list.push(b',');
        list.extend_from_slice(streamtype.name.as_bytes());
    }
    list
}
