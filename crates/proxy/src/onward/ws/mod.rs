//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), over a connection of its own.
//!
//! ```text
//!  dial ─► upgrade ─► Connected ─► relay ─► Lost
//!    └────────┴─► Failed             ├─ Reader: socket ─► Decoder ─► EventSender
//!                                    └─ Writer: chunks ─► Encoder ─► socket
//! ```
//!
//! The reader and the writer are two halves of one task that meet in a `Control` only: whichever
//! of them cannot go on, because its queue or its socket is full, does not stop the other.
//!
//! # Memory
//!
//! An idle stream holds less than 6 KiB in here: buffers grow with the first bytes that pass and
//! are given back when nothing is left to do. A busy one holds a read buffer of 16 KiB, at most
//! twice that to write, and what its queues hold.
//!
//! With permessage-deflate a compressor takes some 300 KiB and a decompressor some 48 KiB. Both
//! are made with the first message that needs them. The compressor is given up at the end of each
//! message, for which the offer says `client_no_context_takeover`: a gateway with hundreds of
//! streams has better uses for its memory than a slightly better ratio. The decompressor stays,
//! unless the server says `server_no_context_takeover`.

mod control;
mod pipe;
mod reader;
mod relay;
#[cfg(test)]
mod tests;
mod upgrade;
mod writer;

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use sspc_policy::{StreamType, path_for};
use sspc_ws::MessageKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

pub(super) use self::pipe::Pipe;
use self::relay::{WsParams, relay};
use self::upgrade::{Upgrade, UpgradeError, upgrade};
use crate::onward::attempt::queue::{EventSender, SessionGone};
use crate::onward::connect::{Alpn, Caller, Perf, Route, Transport};
use crate::onward::http::{head, response};
use crate::onward::plan::{Planned, Request};
use crate::onward::{
    Attempt, End, Event, Failure, FailureKind, Onward, OnwardConfig, Takes, TxChunk,
};

/// Most bytes that are read, inflated or put into a frame at a time.
const BUFFER_MAX: usize = 16 * 1024;

/// The size of a buffer while nothing happens: a usual small message fits.
const BUFFER_IDLE: usize = 1024;

/// Runs a WebSocket from the first packet of its connection to the last.
pub(super) async fn run(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    output: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> End {
    let stream = &attempt.stream;
    let mut perf = Perf::default();
    // Boxed, because it is large and gone once the stream lives.
    let dialled = Box::pin(dial(onward, attempt, &mut perf)).await;
    let Dialled { transport, route, path } = match dialled {
        Ok(dialled) => dialled,
        Err(failure) => {
            if stream.perf {
                // If nobody listens, the end that follows goes nowhere either.
                let _ = output.event(Event::Perf(perf.json(None))).await;
            }
            return End::Failed(failure);
        }
    };
    let subprotocol = stream.ws.subprotocol.as_deref();
    let request = Upgrade { route: &route, path: &path, subprotocol, deflate: true };
    speak(transport, &request, stream, onward.config.timeouts.response, &perf, output, chunks).await
}

/// A connection on which nothing was said yet, and what the request needs to know of it.
struct Dialled {
    transport: Transport,
    route: Route,
    path: String,
}

async fn dial(onward: &Onward, attempt: &Attempt, perf: &mut Perf) -> Result<Dialled, Failure> {
    let Planned { route, request, .. } = plan(&onward.config, attempt)?;
    let path = request.map(|request| request.path).unwrap_or_default();
    let caller = Caller::of(attempt);
    let transport = onward.connect(&route, &caller, Alpn::H1, perf).await?;
    Ok(Dialled { transport, route, path })
}

/// Where the attempt leads, and what it asks for there; Sec-WebSocket-Key is yet to be drawn.
pub(super) fn plan(config: &OnwardConfig, attempt: &Attempt) -> Result<Planned, Failure> {
    let target = attempt.target()?;
    let path = path_for(&attempt.stream, &target, |name| attempt.lookup(name))
        .map_err(|error| Failure::new(FailureKind::Request, format!("http_url: {error}")))?;
    let route = config.route(attempt, &target);
    let subprotocol = attempt.stream.ws.subprotocol.as_deref();
    let upgrade = Upgrade { route: &route, path: &path, subprotocol, deflate: true };
    let headers = upgrade.headers().map_err(|error| failure(&upgrade, error))?;
    head::check(attempt, head::size(&path, &headers), config.limits.request_head)?;
    let request = Request { method: http::Method::GET, path, headers };
    Ok(Planned { route, request: Some(request), topics: Vec::new() })
}

/// What opens a pipe of bytes for `subprotocol`, and to explain it.
pub(super) fn pipe_headers(
    route: &Route,
    path: &str,
    subprotocol: &str,
) -> Result<HeaderMap, Failure> {
    let upgrade = Upgrade { route, path, subprotocol: Some(subprotocol), deflate: false };
    upgrade.headers().map_err(|error| failure(&upgrade, error))
}

/// Makes a pipe of bytes for `subprotocol` of a connection that is up.
pub(super) async fn pipe<S>(
    io: S,
    route: &Route,
    path: &str,
    subprotocol: &str,
    response_timeout: Duration,
) -> Result<Pipe<S>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Upgrade { route, path, subprotocol: Some(subprotocol), deflate: false };
    match Box::pin(timeout(response_timeout, upgrade(io, &request))).await {
        Ok(Ok(upgraded)) => Ok(Pipe::new(upgraded)),
        Ok(Err(error)) => Err(failure(&request, error)),
        Err(_) => Err(failure(&request, UpgradeError::Timeout(response_timeout))),
    }
}

/// Speaks WebSocket on a connection that is up, from the upgrade to the end.
async fn speak<S>(
    io: S,
    request: &Upgrade<'_>,
    stream: &StreamType,
    response_timeout: Duration,
    perf: &Perf,
    output: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = Instant::now();
    // Boxed for the same reason.
    let answer = match Box::pin(timeout(response_timeout, upgrade(io, request))).await {
        Ok(answer) => answer,
        Err(_) => Err(UpgradeError::Timeout(response_timeout)),
    };
    if stream.perf {
        let status = match &answer {
            Ok(_) => Some(StatusCode::SWITCHING_PROTOCOLS),
            Err(error) => error.status(),
        };
        let response = status.map(|status| (status.as_u16(), asked.elapsed()));
        if output.event(Event::Perf(perf.json(response))).await.is_err() {
            return SessionGone.into();
        }
    }
    let upgraded = match answer {
        Ok(upgraded) => upgraded,
        Err(error) => return End::Failed(failure(request, error)),
    };
    if output.event(Event::Connected { takes: Takes::Messages }).await.is_err() {
        return SessionGone.into();
    }
    let params = WsParams {
        deflate: upgraded.deflate,
        kind: if stream.ws.binary { MessageKind::Binary } else { MessageKind::Text },
        validity: stream.validity(),
        early: upgraded.early,
    };
    End::Failed(relay(upgraded.io, params, output, chunks).await)
}

fn failure(request: &Upgrade<'_>, error: UpgradeError) -> Failure {
    let retry_after = match &error {
        UpgradeError::Refused { status, headers } if response::is_busy(*status) => {
            response::retry_after(headers, SystemTime::now())
        }
        _ => None,
    };
    let mut why = format!("{}{}: {error}", request.route.authority(), request.path);
    // The error tells its own source; what is behind that is where hyper keeps the cause.
    let mut source = error.source().and_then(Error::source);
    while let Some(error) = source {
        // Writing to a string cannot fail.
        let _ = write!(why, ": {error}");
        source = error.source();
    }
    Failure::new(error.kind(), why).retry_after(retry_after)
}
