//! The opening handshake (RFC 6455 §4.1) on a connection that is up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sspc_ws::handshake::{self, DeflateOffer};
use sspc_ws::{DeflateParams, HandshakeError};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::memory::Account;
use crate::onward::FailureKind;
use crate::onward::connect::Route;
use crate::onward::http::{h1, h2, response, usual_headers};

/// What we offer; the parent module's documentation has the reason.
const OFFER: DeflateOffer = DeflateOffer {
    server_no_context_takeover: false,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: Some(sspc_ws::WindowBits::MAX),
};

/// What the request is made from.
#[derive(Debug)]
pub(super) struct Upgrade<'a> {
    pub(super) route: &'a Route,
    /// Path and query, with its leading slash.
    pub(super) path: &'a str,
    /// The subprotocols to ask for, as a header's value.
    pub(super) subprotocol: Option<&'a str>,
    /// Whether to offer permessage-deflate.
    pub(super) deflate: bool,
    /// Headers of the client, the device and the server's cookies.
    pub(super) own: &'a HeaderMap,
}

impl Upgrade<'_> {
    fn offer(&self) -> Option<&'static DeflateOffer> {
        self.deflate.then_some(&OFFER)
    }

    /// The request's headers, with a key of no use: all are of one length.
    pub(super) fn headers(&self) -> Result<HeaderMap, UpgradeError> {
        let request = request(self, &handshake::client_key([0; 16]))?;
        Ok(request.into_parts().0.headers)
    }
}

/// A connection that speaks WebSocket from here on.
#[derive(Debug)]
pub(super) struct Upgraded<S> {
    pub(super) io: S,
    /// Those of the answer.
    pub(super) headers: HeaderMap,
    /// What was received beyond the answer.
    pub(super) early: Bytes,
    pub(super) deflate: Option<DeflateParams>,
}

/// Why the connection did not become a WebSocket.
#[derive(Debug, Error)]
pub(super) enum UpgradeError {
    /// The policy gives something that no request can carry.
    #[error("the upgrade request cannot be made: {0}")]
    Request(String),
    #[error("no answer to the upgrade within {0:?}")]
    Timeout(Duration),
    #[error("no answer to the upgrade: {0}")]
    Http(#[from] hyper::Error),
    /// Anything but 101; with the headers, for Retry-After.
    #[error("the server refused the upgrade with status {}", status.as_u16())]
    Refused { status: StatusCode, headers: Box<HeaderMap> },
    #[error("the server's answer to the upgrade has no valid {0}")]
    Header(HeaderName),
    #[error("the server chose a subprotocol that was not asked for")]
    Subprotocol,
    #[error("the server's answer to the upgrade: {0}")]
    Extension(#[from] HandshakeError),
}

impl UpgradeError {
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            UpgradeError::Request(_) => FailureKind::Request,
            UpgradeError::Timeout(_) => FailureKind::Silent,
            UpgradeError::Http(error) => h1::kind_of(error),
            UpgradeError::Refused { status, .. } if response::is_busy(*status) => FailureKind::Busy,
            UpgradeError::Refused { .. } => FailureKind::Refused,
            UpgradeError::Header(_) | UpgradeError::Subprotocol | UpgradeError::Extension(_) => {
                FailureKind::Protocol
            }
        }
    }

    /// The status that the server answered with, if it is what went wrong.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            UpgradeError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Asks the server to upgrade, and checks its answer.
///
/// # Errors
/// The connection is of no use any more.
pub(super) async fn upgrade<S>(io: S, upgrade: &Upgrade<'_>) -> Result<Upgraded<S>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = handshake::client_key(rand::random());
    let request = request(upgrade, &key)?;
    let (mut sender, connection) = h1::builder().handshake(TokioIo::new(io)).await?;
    let mut connection = std::pin::pin!(connection.without_shutdown());
    let mut response = std::pin::pin!(sender.send_request(request));
    let mut finished = None;
    let response = loop {
        tokio::select! {
            response = &mut response => break response?,
            parts = &mut connection, if finished.is_none() => finished = Some(parts?),
        }
    };
    let deflate = check(&response, &key, upgrade)?;
    let parts = match finished {
        Some(parts) => parts,
        None => connection.await?,
    };
    let headers = response.into_parts().0.headers;
    Ok(Upgraded { io: parts.io.into_inner(), headers, early: parts.read_buf, deflate })
}

fn request(upgrade: &Upgrade<'_>, key: &str) -> Result<Request<Empty<Bytes>>, UpgradeError> {
    let Upgrade { route, path, subprotocol, own, .. } = *upgrade;
    let mut request = Request::get(path);
    if let Some(headers) = request.headers_mut() {
        let host = HeaderValue::try_from(route.authority()).map_err(|error| unmade(&error))?;
        *headers = usual_headers(route, Some(host)).map_err(|error| unmade(&error))?;
        // They take the place of these.
        headers.extend(own.clone());
    }
    request = request
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_KEY, key);
    if let Some(subprotocol) = subprotocol {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    if let Some(offer) = upgrade.offer() {
        request = request.header(SEC_WEBSOCKET_EXTENSIONS, offer.to_string());
    }
    request
        .header(SEC_WEBSOCKET_VERSION, handshake::VERSION)
        .body(Empty::new())
        .map_err(|error| unmade(&error))
}

fn unmade(error: &dyn std::fmt::Display) -> UpgradeError {
    UpgradeError::Request(error.to_string())
}

/// Asks for a WebSocket on an h2 connection (RFC 8441), and checks the answer.
///
/// # Errors
/// Outside, why there was no answer: over http/1.1 there may be one. Inside, what is wrong with it.
pub(super) async fn upgrade_h2(
    slot: h2::Slot,
    upgrade: &Upgrade<'_>,
    account: &Arc<Account>,
) -> Result<Result<Upgraded<h2::Tunnel>, UpgradeError>, String> {
    let request = match request_h2(upgrade) {
        Ok(request) => request,
        Err(error) => return Ok(Err(error)),
    };
    let response = h2::tunnel(slot, request, "websocket", account).await?;
    let (head, tunnel) = response.into_parts();
    Ok(match tunnel {
        None => {
            let headers = Box::new(head.headers);
            Err(UpgradeError::Refused { status: head.status, headers })
        }
        Some(io) => agreed(&head.headers, upgrade).map(|deflate| {
            let headers = head.headers;
            Upgraded { io, headers, early: Bytes::new(), deflate }
        }),
    })
}

fn request_h2(upgrade: &Upgrade<'_>) -> Result<Request<()>, UpgradeError> {
    let Upgrade { route, path, subprotocol, own, .. } = *upgrade;
    let mut headers = usual_headers(route, None).map_err(|error| unmade(&error))?;
    headers.extend(own.clone());
    let authority = match headers.remove(HOST) {
        Some(host) => host.to_str().map_err(|error| unmade(&error))?.to_owned(),
        None => route.authority(),
    };
    let uri = Uri::builder().scheme(route.scheme()).authority(authority).path_and_query(path);
    let mut request = Request::connect(uri.build().map_err(|error| unmade(&error))?)
        .version(Version::HTTP_2)
        .header(SEC_WEBSOCKET_VERSION, handshake::VERSION);
    if let Some(subprotocol) = subprotocol {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    if let Some(offer) = upgrade.offer() {
        request = request.header(SEC_WEBSOCKET_EXTENSIONS, offer.to_string());
    }
    let mut request = request.body(()).map_err(|error| unmade(&error))?;
    headers.extend(std::mem::take(request.headers_mut()));
    *request.headers_mut() = headers;
    Ok(request)
}

/// The checks of RFC 6455 §4.1; gives what was negotiated.
fn check(
    response: &Response<Incoming>,
    key: &str,
    upgrade: &Upgrade<'_>,
) -> Result<Option<DeflateParams>, UpgradeError> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let headers = Box::new(headers.clone());
        return Err(UpgradeError::Refused { status: response.status(), headers });
    }
    for (name, token) in [(UPGRADE, "websocket"), (CONNECTION, "upgrade")] {
        if !list(headers, &name)?.iter().any(|given| given.eq_ignore_ascii_case(token)) {
            return Err(UpgradeError::Header(name));
        }
    }
    let accepts = list(headers, &SEC_WEBSOCKET_ACCEPT)?;
    if accepts != [handshake::accept_key(key)] {
        return Err(UpgradeError::Header(SEC_WEBSOCKET_ACCEPT));
    }
    agreed(headers, upgrade)
}

/// What was negotiated, if it is what was offered.
fn agreed(
    headers: &HeaderMap,
    upgrade: &Upgrade<'_>,
) -> Result<Option<DeflateParams>, UpgradeError> {
    // A server that chooses none is let pass, as RFC 6455 §4.1 has it.
    let asked: Vec<&str> =
        upgrade.subprotocol.into_iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    match list(headers, &SEC_WEBSOCKET_PROTOCOL)?.as_slice() {
        [] => {}
        [chosen] if asked.contains(chosen) => {}
        _ => return Err(UpgradeError::Subprotocol),
    }
    let extensions = list(headers, &SEC_WEBSOCKET_EXTENSIONS)?.join(",");
    Ok(handshake::negotiate(upgrade.offer(), &extensions)?)
}

/// The elements of all headers of this name.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a str>, UpgradeError> {
    let mut elements = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| UpgradeError::Header(name.clone()))?;
        elements.extend(text.split(',').map(str::trim).filter(|element| !element.is_empty()));
    }
    Ok(elements)
}
