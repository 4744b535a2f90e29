//! Where metadata and redirects must not lead.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use sspc_policy::{Protocol, StreamType};

use super::support::*;
use crate::onward::{Attempt, End, FailureKind, NameServer, Onward, OnwardConfig};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A streamtype whose clients say where to.
fn chosen(protocol: Protocol, address: SocketAddr) -> StreamType {
    let mut policy = stream(protocol, address);
    policy.endpoint = Some("${host}".into());
    policy.metadata = vec![item("host", "")];
    policy.perf = true;
    policy
}

fn to(policy: &StreamType, host: &str) -> Attempt {
    let value = Bytes::copy_from_slice(host.as_bytes());
    Attempt { metadata: vec![("host".to_owned(), value)], ..attempt(policy) }
}

fn allowing(rules: &[&str]) -> Arc<Onward> {
    let allow_to = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Onward::new(config_with(|config| config.allow_to = allow_to))
}

/// What the attempt says of an address that it must not connect to.
async fn forbidden(onward: &Arc<Onward>, attempt: Attempt) -> String {
    let what = format!("{:?}", attempt.metadata);
    let report = run(onward, attempt).await;
    if let Some(perf) = &report.perf {
        assert!(perf.ends_with("\"dns\":[]}"), "{what}: {perf}");
    }
    match report.end {
        Some(End::Failed(failure)) if failure.kind == FailureKind::Forbidden => failure.why,
        other => panic!("{what}: {other:?}"),
    }
}

/// Any local user could reach what listens on the proxy's loopback.
#[tokio::test]
async fn metadata_does_not_lead_into_private_networks() {
    let server = Server::answering(&[OK]).await;
    for protocol in [Protocol::H1, Protocol::H2, Protocol::Ws, Protocol::Raw] {
        let policy = chosen(protocol, server.address);
        for host in [
            "127.0.0.1",
            "localhost",
            "x.localhost",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "169.254.169.254",
            "fe80::1",
            "64:ff9b::7f00:1",
            "224.0.0.1",
        ] {
            let why = forbidden(&onward(), to(&policy, host)).await;
            assert!(why.contains("--allow-to") && why.contains("`allow_private`"), "{why}");
        }
    }
    let why = forbidden(&onward(), to(&chosen(Protocol::H1, server.address), "127.0.0.1")).await;
    let wanted = format!(
        "must not connect to {}: 127.0.0.1 is an address of this machine, where a client's metadata \
         does not lead; to permit it, start the proxy with --allow-to 127.0.0.1 or set \
         `allow_private` in the streamtype",
        server.address
    );
    assert_eq!(why, wanted);
    assert_eq!(server.accepted(), 0);
}

/// A name may stand for any address, and for another one the next time.
#[tokio::test]
async fn it_is_the_addresses_of_a_name_that_count() {
    let mut config = crate::Config::new(sspc_policy::Policy::default());
    let (_names, _folder) = NameServer::for_config_with(&mut config, &["127.0.0.1"]).await;
    let server = Server::answering(&[OK]).await;
    let policy = chosen(Protocol::H1, server.address);
    let with = |rules: &[&str]| {
        let allow_to = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let names = config.names.clone();
        Onward::new(OnwardConfig { names, allow_to, ..OnwardConfig::default() })
    };
    forbidden(&with(&[]), to(&policy, "rebound.example")).await;
    forbidden(&with(&["other.example"]), to(&policy, "rebound.example")).await;
    assert_eq!(server.accepted(), 0);
    assert!(run(&with(&["rebound.example"]), to(&policy, "rebound.example")).await.is_complete());
}

#[tokio::test]
async fn what_is_allowed_is_reached() {
    let server = Server::answering(&[OK]).await;
    let mut policy = chosen(Protocol::H1, server.address);
    let port = server.address.port();
    let here = format!("127.0.0.1:{port}");
    for rule in ["127.0.0.0/8", "0.0.0.0/0", &here] {
        let report = run(&allowing(&["10.0.0.0/8", rule]), to(&policy, "127.0.0.1")).await;
        assert!(report.is_complete(), "{rule}: {:?}", report.end);
    }
    let elsewhere = format!("127.0.0.1:{}", port ^ 1);
    forbidden(&allowing(&[&elsewhere, "::1"]), to(&policy, "127.0.0.1")).await;
    policy.allow_private = true;
    assert!(run(&onward(), to(&policy, "127.0.0.1")).await.is_complete());
    let written = stream(Protocol::H1, server.address);
    assert!(run(&onward(), attempt(&written)).await.is_complete());
}

/// The policy's own connection to the same address is not lent to a client that may not open one.
#[tokio::test]
async fn a_kept_connection_is_no_way_round() {
    let server = Server::scripted(|_, mut socket| async move {
        while !read_head(&mut socket).await.is_empty() {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, OK.as_bytes()).await;
        }
    })
    .await;
    let onward = onward();
    let written = stream(Protocol::H1, server.address);
    assert!(run(&onward, attempt(&written)).await.is_complete());
    forbidden(&onward, to(&chosen(Protocol::H1, server.address), "127.0.0.1")).await;
    assert!(run(&onward, attempt(&written)).await.is_complete());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn redirects_lead_no_further_than_their_server() {
    let secret = Server::answering(&[OK]).await;
    let redirecting = |location: String| async move {
        Server::scripted(move |_, mut socket| {
            let answer =
                format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            async move {
                read_head(&mut socket).await;
                let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, answer.as_bytes()).await;
            }
        })
        .await
    };
    // A client's own server, which it may reach.
    let server = redirecting(format!("http://{}/", secret.address)).await;
    let onward = allowing(&[&server.address.to_string()]);
    let mut policy = chosen(Protocol::H1, server.address);
    policy.allow_redirects = true;
    policy.perf = false;
    forbidden(&onward, to(&policy, "127.0.0.1")).await;
    assert_eq!((server.accepted(), secret.accepted()), (1, 0));
    // A server that the policy names, on this machine, may lead to this machine.
    policy.endpoint = Some("127.0.0.1".into());
    assert!(run(&onward, attempt(&policy)).await.is_complete());
    assert_eq!(secret.accepted(), 1);
    // But nowhere further, unless that is allowed.
    let port = secret.address.port();
    policy.port = redirecting(format!("http://0.0.0.0:{port}/")).await.address.port();
    let report = run(&onward, attempt(&policy)).await;
    assert!(report.failure().contains("a redirect from a more public server"), "{report:?}");
    let Some(End::Failed(failure)) = &report.end else { panic!() };
    assert_eq!(failure.kind, FailureKind::Refused);
    policy.allow_private = true;
    assert!(run(&onward, attempt(&policy)).await.is_complete());
}
