//! TLS: who is trusted, who is not, and what the user reads about it.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use sspc_policy::{Protocol, StreamType};

use super::support::*;

async fn hello(request: Request<Incoming>) -> Response<Body> {
    Response::new(full(format!("{:?}", request.version())))
}

fn policy(protocol: Protocol, server: &Server, certificate: &Certificate) -> StreamType {
    let mut policy = stream(protocol, server.address);
    policy.tls = true;
    policy.trust_store = certificate.store();
    policy
}

async fn text(policy: &StreamType) -> String {
    run(&onward(), attempt(policy)).await.text().to_owned()
}

async fn why(policy: &StreamType) -> String {
    let report = run(&onward(), attempt(policy)).await;
    assert_eq!(report.order, [""; 0]);
    report.failure().to_owned()
}

#[tokio::test]
async fn the_policys_trust_store_vouches_for_servers() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let server = Server::https(&certificate, &["h2", "http/1.1"], hello).await;
    assert_eq!(text(&policy(Protocol::H1, &server, &certificate)).await, "HTTP/1.1");
    assert_eq!(text(&policy(Protocol::H2, &server, &certificate)).await, "HTTP/2.0");
}

#[tokio::test]
async fn names_are_sent_and_checked() {
    let certificate = Certificate::for_names(&["localhost"]);
    let server = Server::https(&certificate, &["http/1.1"], hello).await;
    let mut policy = policy(Protocol::H1, &server, &certificate);
    policy.endpoint = Some("LOCALHOST".into());
    assert_eq!(text(&policy).await, "HTTP/1.1");
    policy.endpoint = Some("127.0.0.1".into());
    let why = why(&policy).await;
    assert!(why.contains("wrong host") && why.ends_with("but for localhost"), "{why}");
}

#[tokio::test]
async fn certificates_out_of_date_are_refused() {
    let expired = Certificate::with(&["127.0.0.1"], |leaf| {
        leaf.not_before = rcgen::date_time_ymd(2001, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let server = Server::https(&expired, &[], hello).await;
    assert!(why(&policy(Protocol::H1, &server, &expired)).await.contains("has expired"));
    let early = Certificate::with(&["127.0.0.1"], |leaf| {
        leaf.not_before = rcgen::date_time_ymd(2901, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2902, 1, 1);
    });
    let server = Server::https(&early, &[], hello).await;
    assert!(why(&policy(Protocol::H1, &server, &early)).await.contains("not valid yet"));
}

#[tokio::test]
async fn strangers_are_refused() {
    let certificate = Certificate::self_signed(&["127.0.0.1"]);
    let server = Server::https(&certificate, &[], hello).await;
    let other = Certificate::for_names(&["127.0.0.1"]);
    let why_other = why(&policy(Protocol::H1, &server, &other)).await;
    assert!(why_other.contains("trust store `anchors`"), "{why_other}");
    let mut system = policy(Protocol::H2, &server, &certificate);
    system.trust_store = None;
    let why_system = why(&system).await;
    assert!(why_system.contains("system"), "{why_system}");
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_pinned() {
    let certificate = Certificate::self_signed(&["127.0.0.1"]);
    let server = Server::https(&certificate, &["h2"], hello).await;
    let mut policy = policy(Protocol::H2, &server, &certificate);
    assert_eq!(text(&policy).await, "HTTP/2.0");
    // Its name still counts.
    policy.endpoint = Some("localhost".into());
    assert!(why(&policy).await.contains("wrong host"));
}

#[tokio::test]
async fn a_server_without_h2_gets_http_1() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    for alpn in [&["http/1.1"][..], &[]] {
        let server = Server::https(&certificate, alpn, hello).await;
        let policy = policy(Protocol::H2, &server, &certificate);
        let onward = onward();
        for _ in 0..3 {
            assert_eq!(run(&onward, attempt(&policy)).await.text(), "HTTP/1.1");
        }
        assert_eq!(server.accepted(), 1);
    }
}

/// AWS IoT tells MQTT on port 443 by it; other brokers are offered nothing.
#[tokio::test]
async fn mqtt_offers_the_protocol_of_aws_iot_to_aws_iot_alone() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let acceptor = certificate.acceptor(&["x-amzn-mqtt-ca"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (aws_iot, expected) in [(true, Some(&b"x-amzn-mqtt-ca"[..])), (false, None)] {
        let mut policy = stream(Protocol::Mqtt, listener.local_addr().unwrap());
        policy.tls = true;
        policy.trust_store = certificate.store();
        policy.mqtt.aws_iot = aws_iot;
        let onward = onward();
        let _stream = onward.start(attempt(&policy));
        let (socket, _) = listener.accept().await.unwrap();
        let socket = acceptor.accept(socket).await.unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol(), expected);
    }
}

#[tokio::test]
async fn a_clear_server_is_not_taken_for_tls() {
    let server = Server::http(false, hello).await;
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let why = why(&policy(Protocol::H1, &server, &certificate)).await;
    assert!(why.contains("does not speak TLS"), "{why}");
}

#[tokio::test]
async fn unusable_trust_stores_are_named() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let server = Server::https(&certificate, &[], hello).await;
    let mut policy = policy(Protocol::H1, &server, &certificate);
    let mut store = sspc_policy::TrustStore::default();
    store.name = "broken".to_owned();
    store.stack = vec!["bad".to_owned()];
    store.certs = vec![b"junk".as_slice().into()];
    policy.trust_store = Some(Arc::new(store));
    let why = why(&policy).await;
    assert!(why.contains("`bad`") && why.contains("`broken`"), "{why}");
}

#[tokio::test]
async fn equal_trust_stores_share_connections_and_others_do_not() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let server = Server::https(&certificate, &["h2"], hello).await;
    let onward = onward();
    // Two policies that say the same, as before and after a reload.
    for _ in 0..2 {
        let policy = policy(Protocol::H2, &server, &certificate);
        assert!(run(&onward, attempt(&policy)).await.is_complete());
    }
    assert_eq!(server.accepted(), 1);
    let stranger = Certificate::for_names(&["127.0.0.1"]);
    let policy = policy(Protocol::H2, &server, &stranger);
    assert!(run(&onward, attempt(&policy)).await.failure().contains("TLS"));
}
