//! What the origin answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde::Serialize;

use super::answers::{Answer, status, text};
use super::{Connection, Shared, ws};
use crate::commands::demo::pattern::{self, Hash};

/// How many requests `/together` waits for before it answers any.
pub(in crate::commands::demo) const TOGETHER: usize = 200;

/// How long `/together` waits for them.
const TOGETHER_WAIT: Duration = Duration::from_secs(5);

/// The greeting is at least this long, in bytes.
const GREETING_MIN: usize = 1_400;

/// Bytes of the pattern in one piece of a body.
const BLOCK: usize = 64 * 1024;

/// Answers a request that came on `connection`.
pub(super) async fn answer(
    request: Request<Incoming>,
    connection: &std::sync::Arc<Connection>,
    shared: &Shared,
) -> Answer {
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET, "/hello") => text("text/html; charset=utf-8", hello()),
        (&Method::GET, "/together") => together(shared).await,
        (&Method::POST, "/upload") => upload(request).await,
        (&Method::GET, "/ticker") => ws::upgrade(request, connection, ws::Service::Ticker),
        (&Method::GET, "/echo") => ws::upgrade(request, connection, ws::Service::Echo),
        (&Method::GET, path) => match path.strip_prefix("/pattern/").map(str::parse) {
            Some(Ok(len)) => {
                Response::new(Pattern { offset: 0, len }.map_err(|never| match never {}).boxed())
            }
            _ => status(StatusCode::NOT_FOUND),
        },
        _ => status(StatusCode::NOT_FOUND),
    }
}

/// The page at `/hello`.
pub(in crate::commands::demo) fn hello() -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html>\n<head><title>Hello</title></head>\n<body>\n\
         <h1>Hello, Secure Streams</h1>\n<ul>\n",
    );
    for line in 1.. {
        if page.len() >= GREETING_MIN {
            break;
        }
        page.push_str(&format!("<li>line {line} of a page of a usual size</li>\n"));
    }
    page.push_str("</ul>\n</body>\n</html>\n");
    page
}

/// Answers none before all have come: so they are there at once, or the demo fails.
async fn together(shared: &Shared) -> Answer {
    match tokio::time::timeout(TOGETHER_WAIT, shared.together.wait()).await {
        Ok(_) => text("text/plain", format!("all {TOGETHER} are here\n")),
        Err(_) => status(StatusCode::GATEWAY_TIMEOUT),
    }
}

/// Hashes the body and says what came.
async fn upload(request: Request<Incoming>) -> Answer {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = request.into_body();
    let mut hash = Hash::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return status(StatusCode::BAD_REQUEST) };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
        }
    }
    text("application/json", upload_answer(hash, announced))
}

/// What is answered to an upload.
pub(in crate::commands::demo) fn upload_answer(hash: Hash, content_length: Option<u64>) -> String {
    let answer = Upload { bytes: hash.len(), content_length, sha256: hash.finish() };
    // Nothing in it can fail.
    serde_json::to_string(&answer).unwrap_or_default()
}

#[derive(Serialize)]
struct Upload {
    bytes: u64,
    content_length: Option<u64>,
    sha256: String,
}

/// A body of `len` bytes of the pattern, made as it is sent.
struct Pattern {
    offset: u64,
    len: u64,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let left = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        if left == 0 {
            return Poll::Ready(None);
        }
        let mut block = vec![0; BLOCK.min(left)];
        pattern::fill(self.offset, &mut block);
        self.offset += block.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(block.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.len
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len - self.offset)
    }
}
