//! Heads of requests that are larger than what may go out.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use sspc_policy::{Protocol, StreamType};

use super::support::*;
use crate::onward::{Attempt, End, FailureKind};

/// A streamtype whose client chooses path and header.
fn policy(protocol: Protocol, server: &Server) -> StreamType {
    let mut policy = stream(protocol, server.address);
    policy.metadata = vec![item("path", ""), item("big", "x-big")];
    policy.http.url = "${path}".into();
    policy
}

fn attempt_with(policy: &StreamType, name: &str, length: usize) -> Attempt {
    let metadata = vec![(name.to_owned(), Bytes::from(vec![b'x'; length]))];
    Attempt { metadata, ..attempt(policy) }
}

async fn hello(_: Request<Incoming>) -> Response<Body> {
    Response::new(full("hello"))
}

#[track_caller]
fn assert_failed(report: &Report, kind: FailureKind, words: &[&str]) {
    let Some(End::Failed(failure)) = &report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.kind, kind, "{failure}");
    for word in words {
        assert!(failure.why.contains(word), "{failure}");
    }
}

/// nginx ends the connection at 16,384 bytes of a header and at 32,768 of a path, whatever else is on
/// it.
#[tokio::test]
async fn a_head_that_is_too_large_is_refused_before_anything_goes_out() {
    for protocol in [Protocol::H1, Protocol::H2, Protocol::Ws] {
        let server = Server::http(protocol == Protocol::H2, hello).await;
        let policy = policy(protocol, &server);
        for (name, length) in [("big", 17_000), ("path", 40_000), ("path", 60_000)] {
            if (protocol, name) == (Protocol::Ws, "big") {
                continue;
            }
            let report = run(&onward(), attempt_with(&policy, name, length)).await;
            let words = ["metadata", &length.to_string(), "16384"];
            assert_failed(&report, FailureKind::Request, &words);
        }
        assert_eq!(server.accepted(), 0, "{protocol}");
    }
}

#[tokio::test]
async fn a_head_that_the_policy_makes_too_large_is_its_fault() {
    let server = Server::http(false, hello).await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.url = "x".repeat(17_000).as_str().into();
    let report = run(&onward(), attempt(&policy)).await;
    assert_failed(&report, FailureKind::Policy, &["the policy", "16384"]);
    assert_eq!(server.accepted(), 0);
}

/// Before, a server could make the proxy send a request line of 40,000 bytes to whom it liked.
#[tokio::test]
async fn a_redirect_to_too_long_a_place_is_not_followed() {
    let long = Server::http(false, hello).await;
    let location = format!("http://{}/{}", long.address, "x".repeat(40_000));
    let server = Server::http(false, move |_| {
        let response = Response::builder().status(StatusCode::FOUND).header("location", &location);
        let response = response.body(full("")).unwrap();
        async move { response }
    })
    .await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.allow_redirects = true;
    let report = run(&onward(), attempt(&policy)).await;
    assert_failed(&report, FailureKind::Refused, &["Location", "40", "16384"]);
    assert_eq!((server.accepted(), long.accepted()), (1, 0));
}

/// The h2 crate's server answers with 431 or ends the connection, others only the latter.
#[tokio::test]
async fn the_limit_of_an_h2_server_itself_is_kept() {
    let server = Server::scripted(|_, socket| async move {
        let mut builder = h2::server::Builder::new();
        builder.max_header_list_size(2_000);
        let mut connection = builder.handshake::<_, Bytes>(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
        }
    })
    .await;
    let onward = onward();
    let policy = policy(Protocol::H2, &server);
    assert!(run(&onward, attempt_with(&policy, "big", 1_000)).await.is_complete());
    let report = run(&onward, attempt_with(&policy, "big", 2_000)).await;
    assert_failed(&report, FailureKind::Request, &["SETTINGS_MAX_HEADER_LIST_SIZE", " 2000 "]);
    assert!(run(&onward, attempt_with(&policy, "big", 1_000)).await.is_complete());
    assert_eq!(server.accepted(), 1, "the connection is still there");
}
