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
//! are made with the first message that needs them; short messages are sent as they are. The
//! compressor is given up when no message was sent for a while, for which the offer says
//! `client_no_context_takeover`: a gateway with hundreds of streams has better uses for its memory than
//! a slightly better ratio. The decompressor stays, unless the server says `server_no_context_takeover`.

mod control;
mod pipe;
mod reader;
mod relay;
#[cfg(test)]
mod tests;
mod upgrade;
mod writer;

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{COOKIE, HOST};
use http::{HeaderMap, StatusCode};
use sspc_policy::{StreamType, path_for};
use sspc_ws::MessageKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

pub(super) use self::pipe::Pipe;
use self::relay::{WsParams, relay};
use self::upgrade::{Upgrade, UpgradeError, Upgraded, upgrade, upgrade_h2};
use crate::onward::attempt::queue::{EventSender, SessionGone};
use crate::onward::connect::{Alpn, Caller, Perf, Route, Transport};
use crate::onward::cookies::Asked;
use crate::onward::http::occupancy::Wanted;
use crate::onward::http::{h2, head, own_headers, response};
use crate::onward::plan::{Planned, Request};
use crate::onward::{
    Attempt, End, Event, Failure, FailureKind, Onward, OnwardConfig, Takes, TxChunk,
};

/// Most bytes that are read, inflated or put into a frame at a time.
const BUFFER_MAX: usize = 16 * 1024;

/// The size of a buffer while nothing happens: a usual small message fits.
const BUFFER_IDLE: usize = 1024;

/// How long what compresses and inflates is kept while no message passes.
const SPARE_KEPT: Duration = Duration::from_secs(2);

/// Calls `release` once nothing happened for a while, if there is something to give back.
async fn when_spare(has_spare: bool, release: impl FnOnce()) -> Infallible {
    if has_spare {
        sleep(SPARE_KEPT).await;
        release();
    }
    pending().await
}

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
    let dialled = Box::pin(dial(onward, attempt, output, &mut perf)).await;
    attempt.record.connected(&perf);
    let Dialled { to, request } = match dialled {
        Ok(dialled) => dialled,
        Err(failure) => {
            if stream.perf {
                // If nobody listens, the end that follows goes nowhere either.
                let _ = output.event(Event::Perf(perf.json(None))).await;
            }
            return End::Failed(failure);
        }
    };
    let keep_cookies = |headers: &HeaderMap| {
        if stream.http.cookies {
            onward.cookies.take(&request.asked(attempt), headers);
        }
    };
    let request = request.upgrade(stream);
    let talk = Talk {
        request: &request,
        stream,
        response_timeout: onward.config.timeouts.response,
        perf: &perf,
        keep_cookies: &keep_cookies,
    };
    match to {
        To::Server(transport) => {
            speak(Box::pin(upgrade(*transport, &request)), talk, output, chunks).await
        }
        To::Answer(Err(error)) => {
            let answer = ready(Err::<Upgraded<h2::Tunnel>, _>(error));
            speak(Box::pin(answer), talk, output, chunks).await
        }
        To::Answer(Ok(upgraded)) => {
            let incoming = upgraded.io.incoming();
            let speaking = speak(Box::pin(ready(Ok(*upgraded))), talk, output, chunks);
            tokio::select! {
                biased;
                end = speaking => end,
                never = incoming.gather() => match never {},
            }
        }
    }
}

/// What there is of a websocket, and what the request needs to know of it.
struct Dialled {
    to: To,
    request: WsRequest,
}

enum To {
    /// A connection on which nothing was said yet.
    Server(Box<Transport>),
    /// The answer of a server over h2.
    Answer(Result<Box<Upgraded<h2::Tunnel>>, UpgradeError>),
}

/// What is asked for.
struct WsRequest {
    route: Route,
    path: String,
    own: HeaderMap,
}

impl WsRequest {
    fn new(config: &OnwardConfig, attempt: &Attempt) -> Result<Self, Failure> {
        let target = attempt.target()?;
        let path = path_for(&attempt.stream, &target, |name| attempt.lookup(name))
            .map_err(|error| Failure::new(FailureKind::Request, format!("http_url: {error}")))?;
        let own = match attempt.stream.has_headers() {
            true => own_headers(attempt, config)?,
            false => HeaderMap::new(),
        };
        Ok(Self { route: config.route(attempt, &target), path, own })
    }

    fn upgrade<'a>(&'a self, stream: &'a StreamType) -> Upgrade<'a> {
        let subprotocol = stream.ws.subprotocol.as_deref();
        Upgrade { route: &self.route, path: &self.path, subprotocol, deflate: true, own: &self.own }
    }

    /// All headers; Sec-WebSocket-Key is yet to be drawn.
    fn headers(&self, stream: &StreamType) -> Result<HeaderMap, Failure> {
        let upgrade = self.upgrade(stream);
        upgrade.headers().map_err(|error| failure(&upgrade, error))
    }

    /// The request as its cookies depend on it.
    fn asked<'a>(&'a self, attempt: &'a Attempt) -> Asked<'a> {
        let host = match self.own.get(HOST) {
            Some(host) => String::from_utf8_lossy(host.as_bytes()),
            None => self.route.authority().into(),
        };
        Asked { client: &attempt.client, route: &self.route, host, path: &self.path }
    }

    /// The same request with the cookies that the server asked to get back, in what room is left.
    fn with_cookies(mut self, onward: &Onward, attempt: &Attempt) -> Result<Self, Failure> {
        if attempt.stream.http.cookies && !self.own.contains_key(COOKIE) {
            let max = usize::try_from(onward.config.limits.request_head).unwrap_or(usize::MAX);
            let used = head::size(&self.path, &self.headers(&attempt.stream)?) + head::COOKIE;
            let cookie = onward.cookies.header(&self.asked(attempt), max.saturating_sub(used));
            self.own.extend(cookie.map(|cookie| (COOKIE, cookie)));
        }
        Ok(self)
    }
}

async fn dial(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    output: &EventSender,
    perf: &mut Perf,
) -> Result<Dialled, Failure> {
    let request = checked(&onward.config, attempt)?.with_cookies(onward, attempt)?;
    attempt.record.leads_to(&request.route);
    let caller = Caller::of(attempt);
    if attempt.stream.ws.over_h2
        && request.route.tls.is_some()
        && let Some(answer) = over_h2(onward, attempt, &request, output, perf).await?
    {
        return Ok(Dialled { to: To::Answer(answer.map(Box::new)), request });
    }
    let transport = onward.connect(&request.route, &caller, Alpn::H1, perf).await?;
    onward.speaks(perf, "ws");
    Ok(Dialled { to: To::Server(Box::new(transport)), request })
}

/// What a server says that is asked over h2; `None` if it has to be asked over http/1.1, now and for
/// a while.
async fn over_h2(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    request: &WsRequest,
    output: &EventSender,
    perf: &mut Perf,
) -> Result<Option<Result<Upgraded<h2::Tunnel>, UpgradeError>>, Failure> {
    let route = &request.route;
    if onward.h2.has_no_websocket(route) {
        return Ok(None);
    }
    let stream = &attempt.stream;
    let size = head::size(&request.path, &request.headers(stream)?);
    let wanted = Wanted {
        route,
        caller: &Caller::of(attempt),
        validity: stream.validity(),
        alone: size > head::SHARED_MAX,
    };
    let Some(slot) = onward.h2.acquire(onward, wanted, &[], perf).await? else {
        return Ok(None);
    };
    let response_timeout = onward.config.timeouts.response;
    let why = if slot.sender.is_extended_connect_protocol_enabled() {
        let upgrade = request.upgrade(stream);
        match timeout(response_timeout, upgrade_h2(slot, &upgrade, output.account())).await {
            Ok(Ok(answer)) => return Ok(Some(answer)),
            Ok(Err(why)) => why,
            Err(_) => return Ok(Some(Err(UpgradeError::Timeout(response_timeout)))),
        }
    } else {
        "it does not offer them".to_owned()
    };
    tracing::debug!(%route, why, "no websockets over h2, http/1.1 it is");
    onward.h2.remember_no_websocket(route);
    Ok(None)
}

/// Where the attempt leads, and what it asks for there; Sec-WebSocket-Key is yet to be drawn.
pub(super) fn plan(config: &OnwardConfig, attempt: &Attempt) -> Result<Planned, Failure> {
    let request = checked(config, attempt)?;
    let headers = request.headers(&attempt.stream)?;
    let WsRequest { route, path, .. } = request;
    let request = Request { method: http::Method::GET, path, headers };
    Ok(Planned { route, request: Some(request), topics: Vec::new() })
}

/// A request that is not too large.
fn checked(config: &OnwardConfig, attempt: &Attempt) -> Result<WsRequest, Failure> {
    let request = WsRequest::new(config, attempt)?;
    let size = head::size(&request.path, &request.headers(&attempt.stream)?);
    head::check(attempt, size, config.limits.request_head)?;
    Ok(request)
}

/// What opens a pipe of bytes for `subprotocol`, and to explain it.
pub(super) fn pipe_headers(
    route: &Route,
    path: &str,
    subprotocol: &str,
) -> Result<HeaderMap, Failure> {
    let upgrade = Upgrade {
        route,
        path,
        subprotocol: Some(subprotocol),
        deflate: false,
        own: &HeaderMap::new(),
    };
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
    let request = Upgrade {
        route,
        path,
        subprotocol: Some(subprotocol),
        deflate: false,
        own: &HeaderMap::new(),
    };
    match Box::pin(timeout(response_timeout, upgrade(io, &request))).await {
        Ok(Ok(upgraded)) => Ok(Pipe::new(upgraded)),
        Ok(Err(error)) => Err(failure(&request, error)),
        Err(_) => Err(failure(&request, UpgradeError::Timeout(response_timeout))),
    }
}

/// What is known of a WebSocket when it is asked for.
#[derive(Clone, Copy)]
struct Talk<'a> {
    request: &'a Upgrade<'a>,
    stream: &'a StreamType,
    response_timeout: Duration,
    perf: &'a Perf,
    /// Gets the headers of the server's answer, whatever it is.
    keep_cookies: &'a (dyn Fn(&HeaderMap) + Sync),
}

/// Speaks WebSocket, from the server's answer to the end. `opening` is large, and gone then.
async fn speak<S>(
    opening: Pin<Box<impl Future<Output = Result<Upgraded<S>, UpgradeError>>>>,
    talk: Talk<'_>,
    output: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Talk { request, stream, response_timeout, perf, keep_cookies } = talk;
    let asked = Instant::now();
    let answer = match timeout(response_timeout, opening).await {
        Ok(answer) => answer,
        Err(_) => Err(UpgradeError::Timeout(response_timeout)),
    };
    match &answer {
        Ok(Upgraded { headers, .. }) => keep_cookies(headers),
        Err(UpgradeError::Refused { headers, .. }) => keep_cookies(headers),
        Err(_) => {}
    }
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
    let metadata = match stream.has_headers() {
        true => response::metadata(stream, &upgraded.headers),
        false => Vec::new(),
    };
    if !metadata.is_empty() && output.event(Event::Metadata(metadata)).await.is_err() {
        return SessionGone.into();
    }
    if output.event(Event::Connected { takes: Takes::Messages }).await.is_err() {
        return SessionGone.into();
    }
    let params = WsParams {
        deflate: upgraded.deflate,
        kind: if stream.ws.binary { MessageKind::Binary } else { MessageKind::Text },
        validity: stream.validity(),
        reads_first: stream.ws.prioritize_reads,
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
