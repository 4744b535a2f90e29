//! Answers: their bodies, their headers, and errors.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Answer = Response<Body>;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Something that is whole.
pub(crate) fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    answer(status, content_type, Full::new(body.into()).boxed_unsync())
}

/// Data.
pub(crate) fn json(status: StatusCode, data: &impl Serialize) -> Answer {
    match serde_json::to_vec(data) {
        Ok(text) => whole(status, JSON, text),
        Err(error) => failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer cannot be written as JSON",
            &error.to_string(),
            "report this as a fault of sspc",
        ),
    }
}

/// Server-sent events.
pub(crate) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    use futures_util::StreamExt as _;
    let frames = events.map(|event| Ok::<_, Infallible>(Frame::data(event)));
    answer(StatusCode::OK, EVENTS, StreamBody::new(frames).boxed_unsync())
}

fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert("cross-origin-resource-policy", same_origin);
    answer
}

/// What is wrong with a request.
#[derive(Debug, Serialize)]
struct Wrong<'a> {
    /// What is wrong.
    what: &'a str,
    /// Why.
    why: &'a str,
    /// What to do about it.
    help: &'a str,
}

/// An answer that says no, why, and what to do.
pub(crate) fn failed(status: StatusCode, what: &str, why: &str, help: &str) -> Answer {
    match serde_json::to_vec(&Wrong { what, why, help }) {
        Ok(text) => whole(status, JSON, text),
        Err(_) => whole(status, JSON, "{}"),
    }
}
