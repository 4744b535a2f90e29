//! Where metadata may and may not lead a stream.

use std::sync::{Arc, Mutex};

use sspc_policy::{Protocol, StreamType};

use super::support::*;
use crate::onward::{Attempt, End, FailureKind, Onward};

/// An attempt whose metadata `x` has this value.
fn with_value(stream: &StreamType, value: &str) -> Attempt {
    let metadata = vec![("x".to_owned(), value.to_owned().into())];
    Attempt { metadata, ..attempt(stream) }
}

/// With a credential to lose.
fn onward() -> Arc<Onward> {
    Onward::new(config_with(|config| config.credentials.change(|own| own.auth = "secret".into())))
}

/// A server that keeps what it was asked.
async fn server() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let server = Server::scripted(move |_, mut socket| {
        let kept = Arc::clone(&kept);
        async move {
            let head = read_head(&mut socket).await;
            kept.lock().unwrap().push(head);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, answer).await;
        }
    })
    .await;
    (server, heads)
}

async fn refused(stream: &StreamType, value: &str) -> String {
    let report = run(&onward(), with_value(stream, value)).await;
    match report.end {
        Some(End::Failed(failure)) if failure.kind == FailureKind::Request => failure.why,
        other => panic!("{value}: {other:?}"),
    }
}

/// A bucket's name that was a URL took the policy's credential anywhere, in clear.
#[tokio::test]
async fn a_credential_does_not_leave_the_policys_domain() {
    let (server, heads) = server().await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.endpoint = Some("${x}.s3.example.com".into());
    policy.tls = true;
    policy.http.auth_header = Some("authorization".to_owned());
    policy.metadata = vec![item("x", "")];
    let address = server.address;
    for value in [
        format!("http://{address}/x?"),
        format!("{address}/"),
        format!("{address}?"),
        format!("{address}#"),
        format!("u@{address}/"),
        "127.0.0.1\\".to_owned(),
    ] {
        let why = refused(&policy, &value).await;
        assert!(why.contains("the value of `x` contains"), "{why}");
    }
    policy.endpoint = Some("${x}".into());
    let why = refused(&policy, &format!("http://{address}/x?")).await;
    assert!(why.contains("`http:`") && why.contains("`allow_clear`"), "{why}");
    assert_eq!((server.accepted(), heads.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_path_stays_below_the_policys() {
    let (server, heads) = server().await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.metadata = vec![item("x", "")];
    policy.http.url = "/public/${x}/mail".into();
    for value in ["../../secret", "a/%2e%2E/..%2fb", "..\\.."] {
        let why = refused(&policy, value).await;
        assert!(why.contains("metadata may not make `.` or `..`"), "{why}");
    }
    policy.endpoint = Some(format!("http://{}/public/${{x}}", server.address).as_str().into());
    refused(&policy, "../secret").await;
    assert_eq!(server.accepted(), 0);

    policy.endpoint = Some(server.address.ip().to_string().as_str().into());
    assert!(run(&onward(), with_value(&policy, "a?b#c")).await.is_complete());
    let head = heads.lock().unwrap().remove(0);
    assert!(head.starts_with("GET /public/a%3Fb%23c/mail HTTP/1.1\r\n"), "{head}");
}

/// `expect`, `http2-settings` and `proxy-…` went out as a client gave them.
#[tokio::test]
async fn headers_that_frame_messages_are_the_proxys_own() {
    let (server, heads) = server().await;
    for header in [
        "Connection",
        "Expect",
        "HTTP2-Settings",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ] {
        let mut policy = stream(Protocol::H1, server.address);
        policy.metadata = vec![item("x", header)];
        assert!(run(&onward(), with_value(&policy, "evil")).await.is_complete(), "{header}");
        let head = heads.lock().unwrap().remove(0);
        assert!(!head.contains("evil"), "{header}: {head}");
    }
}
