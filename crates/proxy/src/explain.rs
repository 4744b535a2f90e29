//! What a stream would do, without doing it: what its session and its attempts decide before the
//! first packet, by the same code.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use sspc_policy::{Address, Policy, Protocol, StreamType};
use sspc_wire::smd::STREAMTYPE;

use crate::config::Config;
use crate::identity::Identity;
use crate::memory::Memory;
use crate::onward::connect::{Reach, Trust};
use crate::onward::{Attempt, Onward, OnwardConfig, Planned};
use crate::session;

/// What a stream of a streamtype would do.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Its settings.
    pub streamtype: Arc<StreamType>,
    /// The streamtypes of the parts of its body, itself included; just itself without `rideshare`.
    pub chain: Vec<Arc<StreamType>>,
    /// Where it leads, or why every attempt fails.
    pub destination: Result<Destination, String>,
}

/// Where a stream leads.
#[derive(Debug)]
#[non_exhaustive]
pub struct Destination {
    /// The host or the socket.
    pub address: Address,
    /// The proxy on the way there, in words; `None` without one.
    pub via: Option<String>,
    /// Whose word the peer's certificate needs, in words; `None` without TLS.
    pub trust: Option<String>,
    /// The number of the device's certificate that is presented; `None` without one.
    pub client_cert: Option<u8>,
    /// The name that the certificate has to be for.
    pub server_name: String,
    /// Whether the client chooses the host, which then has to be public.
    pub is_clients: bool,
    /// What is asked for there; `None` if the protocol has no requests.
    pub request: Option<RequestHead>,
    /// The topics of MQTT, by the keys that name them, with the metadata that is set.
    pub topics: Vec<(&'static str, String)>,
    /// The other streamtypes of the policy whose streams use the same connection, as far as that can
    /// be known without their metadata.
    pub shared_with: Vec<String>,
}

/// The head of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct RequestHead {
    /// `GET` and the like.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names and values, in the order of sending, as far as it is fixed.
    pub headers: Vec<(String, Secret)>,
}

/// A value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Secret {
    /// It may be seen.
    Shown(String),
    /// It may not; so many bytes.
    Hidden(usize),
}

/// Says what a stream of this streamtype would do, if its client sets this metadata and announces a
/// payload of so many bytes.
///
/// # Errors
/// Clients cannot open the streamtype, or set this metadata; in words.
pub fn explain(
    config: &Config,
    streamtype: &str,
    metadata: &[(String, Bytes)],
    length: Option<u32>,
) -> Result<Explanation, String> {
    if streamtype == STREAMTYPE {
        return Err(
            "it is the proxy's bus for system messages, which no policy describes".to_owned()
        );
    }
    let policy = &config.policy;
    let found = session::look_up(policy, streamtype, Onward::supports)
        .map_err(|refusal| format!("clients are refused: {refusal}"))?;
    for (name, value) in metadata {
        session::metadata_item(found, name.as_bytes(), value.len())
            .map_err(|error| format!("clients are cut off: {error}"))?;
    }
    let onward = OnwardConfig {
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        credentials: config.credentials.clone().into(),
        sharing: config.sharing,
        allow_to: config.allow_to.clone(),
        ways_out: config.ways_out.clone(),
        ..OnwardConfig::default()
    };
    let planned = Planned::new(&onward, &attempt(policy, found, metadata, length));
    let destination = match planned {
        Ok(planned) => Ok(Destination {
            via: config.ways_out.of(&planned.route).map(|via| via.to_string()),
            shared_with: sharers(policy, found, &planned, &onward),
            is_clients: planned.route.reach == Reach::Client,
            ..destination(found, planned)
        }),
        Err(failure) => Err(failure.to_string()),
    };
    let chain = policy.rideshare_chain(streamtype);
    Ok(Explanation { streamtype: Arc::clone(found), chain, destination })
}

fn attempt(
    policy: &Policy,
    stream: &Arc<StreamType>,
    metadata: &[(String, Bytes)],
    length: Option<u32>,
) -> Attempt {
    Attempt {
        client: Identity::Unknown,
        account: Arc::<Memory>::default().open_account(Identity::Unknown),
        stream: Arc::clone(stream),
        chain: policy.rideshare_chain(&stream.name),
        metadata: metadata.to_vec(),
        length_hint: length,
        bus: Default::default(),
        record: Default::default(),
    }
}

fn destination(stream: &StreamType, planned: Planned) -> Destination {
    let Planned { route, request, topics } = planned;
    let scheme = match (stream.protocol, route.tls.is_some()) {
        (Protocol::Ws, true) => "wss",
        (Protocol::Ws, false) => "ws",
        _ => route.scheme(),
    };
    let request = request.map(|request| RequestHead {
        method: request.method.to_string(),
        url: format!("{scheme}://{}{}", authority(&route.address), request.path),
        headers: headers(stream, &request.headers),
    });
    Destination {
        server_name: route.server_name().to_owned(),
        client_cert: route.client_cert.as_ref().map(|presented| presented.number),
        trust: route.tls.as_ref().map(Trust::to_string),
        address: route.address,
        is_clients: false,
        request,
        topics,
        via: None,
        shared_with: Vec::new(),
    }
}

/// Host and port, even if it is the usual one.
fn authority(address: &Address) -> String {
    match address {
        Address::Tcp { .. } => address.to_string(),
        other => other.authority(false),
    }
}

fn headers(stream: &StreamType, headers: &HeaderMap) -> Vec<(String, Secret)> {
    let http = &stream.http;
    let given = [&http.auth_header, &http.dsn_header, &http.fwv_header, &http.devtype_header];
    let secret = |name: &HeaderName| {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
            || given.into_iter().flatten().any(|given| given.eq_ignore_ascii_case(name.as_str()))
    };
    let shown = headers.iter().map(|(name, value)| {
        let value = match secret(name) || value.is_sensitive() {
            true => Secret::Hidden(value.len()),
            false => Secret::Shown(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        };
        (name.to_string(), value)
    });
    shown.collect()
}

/// The protocol whose connections a stream shares with others; `None` if it has its own. Those of MQTT
/// share by more than their route.
fn shared(stream: &StreamType) -> Option<Protocol> {
    match stream.protocol {
        protocol @ (Protocol::H2 | Protocol::H3) => Some(protocol),
        Protocol::Ws if stream.ws.over_h2 && stream.tls => Some(Protocol::H2),
        _ => None,
    }
}

/// The other streamtypes that use the same connection.
fn sharers(
    policy: &Policy,
    stream: &StreamType,
    planned: &Planned,
    onward: &OnwardConfig,
) -> Vec<String> {
    let Some(protocol) = shared(stream) else { return Vec::new() };
    let others = policy.streamtypes.values().filter(|other| other.name != stream.name);
    others
        .filter(|other| shared(other) == Some(protocol) && policy.refusal(other).is_none())
        .filter(|other| {
            Planned::new(onward, &attempt(policy, other, &[], None))
                .is_ok_and(|other| other.route == planned.route)
        })
        .map(|other| other.name.clone())
        .collect()
}

#[cfg(test)]
mod tests;
