//! From a streamtype's name to a stream, or to a refusal.

use std::sync::Arc;

use sspc_policy::{MetadataItem, Policy, Protocol, StreamType};
use sspc_wire::Streamtype;
use sspc_wire::limits::{STREAMTYPE_LIST_MAX, STREAMTYPE_NAME_MAX, VERSION};
use sspc_wire::smd;
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
    let pass = context.gate.open(&context.peer, &name);
    let pass = pass.map_err(|denied| CloseReason::Refused(Refusal::Denied(denied)))?;
    let supports = |protocol| starter.supports(protocol);
    let (streamtype, chain) = if name == smd::STREAMTYPE {
        let streamtype = message_bus(supports).map_err(CloseReason::Refused)?;
        (Arc::clone(&streamtype), vec![streamtype])
    } else {
        let streamtype = look_up(policy, &name, supports).map_err(CloseReason::Refused)?;
        (Arc::clone(streamtype), policy.rideshare_chain(&name))
    };
    info!(
        protocol = %streamtype.protocol,
        pid = asked.process_id(),
        honours_credit = asked.honours_credit(),
        "stream created"
    );
    Ok(Stream::create(context, pass, chain, streamtype, asked, link))
}

/// The streamtype that no policy defines.
fn message_bus(supports: impl Fn(Protocol) -> bool) -> Result<Arc<StreamType>, Refusal> {
    if supports(Protocol::Smd) {
        Ok(Arc::new(StreamType::smd(smd::STREAMTYPE)))
    } else {
        Err(Refusal::NoSmd)
    }
}

/// The streamtype of this name, if clients can have streams of it.
pub(crate) fn look_up<'p>(
    policy: &'p Policy,
    name: &str,
    supports: impl Fn(Protocol) -> bool,
) -> Result<&'p Arc<StreamType>, Refusal> {
    let Some(streamtype) = policy.streamtype(name) else {
        let known = policy.streamtypes.keys().map(String::as_str);
        let suggestion = sspc_policy::suggest(name, known);
        return Err(Refusal::Unknown { name: name.to_owned(), suggestion });
    };
    // To go out unsigned, or past the proxy that the policy names, is not for us to decide.
    if let Some(undone) = policy.refusal(streamtype) {
        return Err(Refusal::NotBehindProxy { name: name.to_owned(), undone });
    }
    if !supports(streamtype.protocol) {
        let protocol = streamtype.protocol.to_string();
        return Err(Refusal::Protocol { name: name.to_owned(), protocol });
    }
    Ok(streamtype)
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

#[cfg(test)]
mod tests {
    use sspc_policy::{Status, protocol_status};

    use super::*;
    use crate::onward::Onward;

    /// What this proxy says of a streamtype that this makes.
    fn refusal(change: fn(&mut StreamType)) -> String {
        let mut all = Policy::default();
        let mut s = StreamType::new("s");
        change(&mut s);
        all.streamtypes.insert("s".to_owned(), Arc::new(s));
        match look_up(&all, "s", Onward::supports) {
            Ok(_) => String::new(),
            Err(refusal) => refusal.to_string(),
        }
    }

    /// The policy's table says what documentation and checks say; the runners are what acts.
    #[test]
    fn the_proxy_speaks_the_protocols_of_the_table() {
        for protocol in Protocol::ALL {
            let says = matches!(protocol_status(protocol), Status::Acts | Status::Partly(_));
            assert_eq!(Onward::supports(protocol), says, "{protocol}");
        }
    }

    #[test]
    fn what_has_no_meaning_behind_a_proxy_is_refused_with_its_key() {
        let refused_for = |key: &str, change: fn(&mut StreamType)| {
            let says = refusal(change);
            let start = format!(
                "the policy has streamtype \"s\", but {key} has no meaning behind a proxy: "
            );
            assert!(says.starts_with(&start), "{says}");
        };
        assert_eq!(refusal(|_| {}), "");
        refused_for("`server`", |s| s.server = true);
        refused_for("`local_sink`", |s| s.local_sink = true);
    }
}
