//! What comes behind a response's body.

use std::convert::Infallible;

use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use sspc_policy::{Protocol, StreamType};
use tokio::io::AsyncWriteExt as _;

use super::support::*;

fn policy(protocol: Protocol, server: &Server) -> StreamType {
    let mut policy = stream(protocol, server.address);
    for name in ["grpc-status", "Grpc-Message:", "content-length", "set-cookie", "x-absent"] {
        policy.metadata.push(item(name, name));
    }
    policy
}

/// Trailers of a call that failed, and some that have no place there.
fn trailers() -> HeaderMap {
    let headers = [
        ("grpc-status", "13"),
        ("grpc-message", "no such thing"),
        ("x-other", "1"),
        ("content-length", "99"),
        ("set-cookie", "a=1"),
    ];
    headers
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

/// This body and trailers behind it, and whether the request lets them be sent.
async fn answer(request: Request<Incoming>) -> Response<Body> {
    let te = request.headers().get("te").map_or("-", |te| te.to_str().unwrap());
    let data = match request.uri().path() {
        "/none" => Vec::new(),
        _ => vec![te.to_owned()],
    };
    let frames: Vec<Frame<bytes::Bytes>> = data
        .into_iter()
        .map(|data| Frame::data(data.into()))
        .chain([Frame::trailers(trailers())])
        .collect();
    let frames = stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
    Response::new(StreamBody::new(frames).boxed())
}

const EXPECTED: [(&str, &str); 2] = [("Grpc-Message:", "no such thing"), ("grpc-status", "13")];

#[tokio::test]
async fn h2_trailers_are_metadata_behind_the_body() {
    let server = Server::http(true, answer).await;
    let onward = onward();
    let mut policy = policy(Protocol::H2, &server);
    for (path, order, text) in [
        ("/", &["Connected", "Payload", "Metadata", "Ack"][..], "trailers"),
        ("/none", &["Connected", "Metadata", "Ack"], ""),
    ] {
        policy.http.url = path.into();
        let report = run(&onward, attempt(&policy)).await;
        assert_eq!(report.order, order, "{path}");
        assert_eq!(report.text(), text);
        let found: Vec<_> = report
            .metadata
            .iter()
            .map(|(name, _)| (&**name, report.value(name).unwrap()))
            .collect();
        assert_eq!(found, EXPECTED, "{path}");
    }
    // Who asks for none gets none, and does not say that it takes some.
    policy.metadata.clear();
    policy.http.url = "/".into();
    let report = run(&onward, attempt(&policy)).await;
    assert_eq!((report.text(), &report.order[..]), ("-", &["Connected", "Payload", "Ack"][..]));
    assert_eq!(server.accepted(), 1);
}

/// Trailers may not say how long the body is: the next response would begin elsewhere.
#[tokio::test]
async fn h1_trailers_frame_nothing() {
    let server = Server::scripted(|_, mut socket| async move {
        for _ in 0..2 {
            read_head(&mut socket).await;
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                          4\r\nbody\r\n0\r\n\
                          Grpc-Status: 13\r\ngrpc-message: no such thing\r\ncontent-length: 99\r\n\
                          transfer-encoding: gzip\r\nset-cookie: a=1\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let onward = onward();
    let policy = policy(Protocol::H1, &server);
    for _ in 0..2 {
        let report = run(&onward, attempt(&policy)).await;
        assert_eq!(report.order, ["Connected", "Payload", "Metadata", "Ack"]);
        assert_eq!(report.text(), "body");
        let found: Vec<_> = report
            .metadata
            .iter()
            .map(|(name, _)| (&**name, report.value(name).unwrap()))
            .collect();
        assert_eq!(found, EXPECTED);
    }
    assert_eq!(server.accepted(), 1, "the connection is kept");
}

/// Many small headers, and some that are large.
#[tokio::test]
async fn h2_headers_are_taken_up_to_so_many_bytes() {
    for (count, length, good) in [(5_000, 1, true), (101, 2_400, true), (101, 2_700, false)] {
        let server = Server::http(true, move |_| async move {
            let value = HeaderValue::from_str(&"v".repeat(length)).unwrap();
            let mut response = Response::new(full("ok"));
            for n in 0..count {
                let name: http::HeaderName = format!("x-{n}").parse().unwrap();
                response.headers_mut().insert(name, value.clone());
            }
            response
        })
        .await;
        let mut policy = policy(Protocol::H2, &server);
        policy.metadata = vec![item("last", &format!("x-{}", count - 1))];
        let report = run(&onward(), attempt(&policy)).await;
        assert_eq!(report.value("last").map(str::len), good.then_some(length), "{count} {length}");
    }
}

/// More trailers than fit: the body was there, and yet it is not whole.
#[tokio::test]
async fn trailers_have_a_limit() {
    let server = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        while socket.write_all(b"a: b\r\n").await.is_ok() {}
    })
    .await;
    let report = run(&onward(), attempt(&policy(Protocol::H1, &server))).await;
    assert_eq!(report.order, ["Connected", "Payload"]);
    assert!(report.loss().contains("chunk trailers"), "{report:?}");
}

/// A response that is complete by its length is complete, though the peer leaves the stream open.
#[tokio::test]
async fn trailers_that_never_come_hold_nothing_up() {
    let server = Server::http(true, |_| async {
        let data = stream::iter([Ok::<_, Infallible>(Frame::data("body".into()))]);
        let frames = futures_util::StreamExt::chain(data, stream::pending());
        let response = Response::builder().header("content-length", 4);
        let body = StreamBody::new(frames);
        response.body(body.boxed()).unwrap()
    })
    .await;
    let report = run(&onward(), attempt(&policy(Protocol::H2, &server))).await;
    assert_eq!(report.order, ["Metadata", "Connected", "Payload", "Ack"]);
}
