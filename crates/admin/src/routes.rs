//! From a request to an answer.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};

use crate::answer::{self, Answer, failed, json, whole};
use crate::query::Query;
use crate::server::Side;
use crate::{api, events, frames, metrics, page};

/// Every path, for the answer to one that there is not.
const PATHS: &str = "/, /api/v1/status, /api/v1/sessions, /api/v1/sessions/ID, /api/v1/lines, \
                     /api/v1/connections, /api/v1/failures, /api/v1/streamtypes, \
                     /api/v1/transactions, /api/v1/frames, /api/v1/events, /metrics, /healthz and /readyz";

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request; `host` is where it must have been sent to, over TCP.
pub(crate) fn answer<B>(side: &Arc<Side>, host: Option<u16>, request: &Request<B>) -> Answer {
    if let Some(port) = host
        && !is_our_host(request, port)
    {
        return failed(
            StatusCode::FORBIDDEN,
            "the admin side is not to be reached by this name",
            "the request's Host is not a loopback address with the admin side's port, as if a page of \
             somebody else had a name lead here",
            &format!("open http://127.0.0.1:{port}/ or http://localhost:{port}/"),
        );
    }
    if request.method() != Method::GET {
        let mut answer = failed(
            StatusCode::METHOD_NOT_ALLOWED,
            "the admin side only shows",
            &format!("the request's method is {}", request.method()),
            "use GET; signals and files change a proxy",
        );
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return answer;
    }
    find(side, host, request).unwrap_or_else(|wrong| *wrong)
}

/// Pages of others can have a name of their own lead to this machine, and would then be let read what is
/// here; their requests still bear that name.
fn is_our_host<B>(request: &Request<B>, port: u16) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host else { return false };
    let (name, given) = match host.rsplit_once(':') {
        Some((name, given)) if !given.ends_with(']') => (name, given.parse().ok()),
        _ => (host, Some(80)),
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    given == Some(port) && (is_loopback || name.eq_ignore_ascii_case("localhost"))
}

fn find<B>(
    side: &Arc<Side>,
    host: Option<u16>,
    request: &Request<B>,
) -> Result<Answer, Box<Answer>> {
    const OK: StatusCode = StatusCode::OK;
    let query = |takes: &[&str]| Query::parse(request.uri().query(), takes);
    let observed = &side.observed;
    let path = request.uri().path();
    Ok(match path {
        "/" => page::page(),
        "/healthz" => whole(OK, TEXT, "ok\n"),
        "/readyz" if observed.proxy().is_accepting => whole(OK, TEXT, "ready\n"),
        "/readyz" => {
            whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready: it takes no clients\n")
        }
        "/metrics" => metrics::answer(side),
        "/api/v1/status" => query(&[]).map(|_| json(OK, &api::status(side)))?,
        "/api/v1/sessions" => {
            let takes = ["client", "streamtype", "state", "text", "sort", "after", "limit"];
            json(OK, &api::sessions(side, &query(&takes)?))
        }
        "/api/v1/lines" => query(&[]).map(|_| json(OK, &observed.lines()))?,
        "/api/v1/connections" => query(&[]).map(|_| json(OK, &observed.connections()))?,
        "/api/v1/failures" => query(&[]).map(|_| json(OK, &observed.failures()))?,
        "/api/v1/streamtypes" => query(&[]).map(|_| json(OK, &observed.streamtypes()))?,
        "/api/v1/transactions" => {
            let query = query(&["client", "streamtype"])?;
            let slot = side.follow()?;
            answer::events(events::transactions(side, query, slot))
        }
        // Over TCP every user of the machine may ask.
        "/api/v1/frames" if host.is_some() => failed(
            StatusCode::FORBIDDEN,
            "frames are not shown here",
            "they hold payload and metadata, and every user of this machine can reach this address",
            "start the proxy with a Unix socket for --admin, which is for root and the proxy's own user",
        ),
        "/api/v1/frames" => {
            let query = query(&["client", "streamtype", "session", "snap"])?;
            let slot = side.follow()?;
            answer::events(frames::frames(side, query, slot))
        }
        "/api/v1/events" => {
            let takes = ["client", "streamtype", "state", "text", "sort", "limit"];
            let query = query(&takes)?;
            let slot = side.follow()?;
            answer::events(events::snapshots(side, query, slot))
        }
        _ => match path.strip_prefix("/api/v1/sessions/") {
            Some(id) => session(side, id),
            None => failed(
                StatusCode::NOT_FOUND,
                "there is nothing at this path",
                "the admin side does not have it",
                &format!("there are {PATHS}"),
            ),
        },
    })
}

fn session(side: &Side, id: &str) -> Answer {
    let found = id.parse().ok().and_then(|id| side.observed.session(id));
    match found {
        Some(session) => json(StatusCode::OK, &session),
        None => failed(
            StatusCode::NOT_FOUND,
            "there is no such session",
            "no session with a stream has this number: it never had one, or it has ended",
            "see /api/v1/sessions for those that there are",
        ),
    }
}
