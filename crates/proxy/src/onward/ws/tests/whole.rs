//! From the policy to the peer, as sessions start it: names, TLS, and what it takes.

use std::mem::size_of_val;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sspc_policy::{MetadataItem, Protocol, StreamType, TrustStore};
use sspc_wire::Flags;
use sspc_ws::{DeflateParams, MessageKind};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::support::{BUFLEN, Request, Seen, Server, account, listen, route, stream, talk};
use crate::identity::Identity;
use crate::onward::connect::Perf;
use crate::onward::ws::speak;
use crate::onward::ws::upgrade::{Upgrade, upgrade};
use crate::onward::{
    Attempt, AttemptHandle, End, Event, Failure, Onward, OnwardConfig, TxChunk, queue,
};

fn policy(host: &str, server: SocketAddr) -> StreamType {
    let mut stream = stream();
    stream.protocol = Protocol::Ws;
    stream.endpoint = Some(host.into());
    stream.port = server.port();
    stream
}

fn start(stream: StreamType, metadata: &[(&str, &'static str)]) -> AttemptHandle {
    start_with(OnwardConfig::default(), stream, metadata)
}

fn start_with(
    config: OnwardConfig,
    stream: StreamType,
    metadata: &[(&str, &'static str)],
) -> AttemptHandle {
    let metadata =
        metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let stream = Arc::new(stream);
    let attempt = Attempt {
        client: Identity::Unknown,
        account: account(),
        chain: vec![Arc::clone(&stream)],
        stream,
        metadata,
        length_hint: None,
        bus: Default::default(),
        record: Default::default(),
    };
    Onward::new(config).start(attempt)
}

async fn failed(mut running: AttemptHandle) -> Failure {
    match running.events.recv().await {
        Some(Event::Ended(End::Failed(failure))) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

/// A message there and back.
pub(super) async fn greet<S>(running: &mut AttemptHandle, server: &mut Server<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let event = running.events.recv().await;
    assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
    let chunk = TxChunk::new("hello".into(), Flags::WHOLE);
    running.body.send(chunk).await.unwrap();
    assert_eq!(server.next().await, Seen::Message(MessageKind::Binary, b"hello".to_vec()));
    server.binary(b"good day").await;
    match running.events.recv().await {
        Some(Event::Payload { bytes, flags: Flags::WHOLE }) => assert_eq!(bytes, "good day"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_clear_stream_reaches_its_server_by_name() {
    let (listener, address) = listen().await;
    let mut running = start(policy("localhost", address), &[]);
    let mut server = Server::accept(&listener, Some(DeflateParams::default())).await;
    greet(&mut running, &mut server).await;
}

#[tokio::test]
async fn metadata_fills_in_endpoint_and_path_and_is_no_header() {
    let (listener, address) = listen().await;
    let mut stream = policy("${host}", address);
    stream.allow_private = true;
    stream.http.url = "/room/${room}".into();
    for (name, header) in [("host", None), ("room", None), ("ua", Some("user-agent"))] {
        let header = header.map(str::to_owned);
        stream.metadata.push(MetadataItem { name: name.to_owned(), header });
    }
    let values = [("host", "127.0.0.1"), ("room", "a b"), ("ua", "none of your business")];
    let _running = start(stream, &values);
    let (mut io, _) = listener.accept().await.unwrap();
    let request = Request::read(&mut io).await;
    assert_eq!(request.line, "GET /room/a%20b HTTP/1.1");
    assert_eq!(request.header("host"), Some(address.to_string().as_str()));
    assert_eq!(request.header("user-agent"), None);
}

#[tokio::test]
async fn headers_go_along_and_come_back_if_the_policy_says_so() {
    let (listener, address) = listen().await;
    let mut stream = policy("localhost", address);
    stream.ws.headers = true;
    stream.http.auth_header = Some("authorization".to_owned());
    stream.http.auth_preamble = Some("bearer ".to_owned());
    let headers = ["x-room", "host", "sec-websocket-key", "Sec-WebSocket-Protocol:", "upgrade"];
    for header in headers {
        let header = header.to_owned();
        stream.metadata.push(MetadataItem { name: header.clone(), header: Some(header) });
    }
    let config = OnwardConfig::default();
    config.credentials.change(|own| own.auth = "secret".into());
    let values = headers.map(|name| (name, "from.metadata"));
    let mut running = start_with(config, stream, &values);

    let (mut io, _) = listener.accept().await.unwrap();
    let request = Request::read(&mut io).await;
    let all = |name: &str| {
        let found = request.headers.iter().filter(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(all("x-room"), ["from.metadata"]);
    assert_eq!(all("authorization"), ["bearer secret"]);
    assert_eq!(all("host"), ["from.metadata"]);
    // What makes the upgrade is not the client's to say.
    assert_eq!(all("upgrade"), ["websocket"]);
    assert_eq!(all("sec-websocket-protocol"), [""; 0]);
    assert_eq!(all("sec-websocket-key")[0].len(), 24);

    let answer = request.answer() + "x-room: 7\r\n\r\n";
    io.write_all(answer.as_bytes()).await.unwrap();
    match running.events.recv().await {
        Some(Event::Metadata(items)) => {
            let names: Vec<_> = items.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(names, [("upgrade", &b"WebSocket"[..]), ("x-room", b"7")]);
        }
        other => panic!("{other:?}"),
    }
    let event = running.events.recv().await;
    assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
}

#[tokio::test]
async fn a_header_that_breaks_the_request_is_a_failure() {
    let (_listener, address) = listen().await;
    let mut stream = policy("localhost", address);
    stream.ws.headers = true;
    let header = Some("x-room".to_owned());
    stream.metadata.push(MetadataItem { name: "room".to_owned(), header });
    let why = failed(start(stream, &[("room", "1\r\nx-admin: 1")])).await.why;
    assert!(why.contains("x-room has control characters"), "{why}");
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_a_failure() {
    let (listener, address) = listen().await;
    drop(listener);
    let why = failed(start(policy("127.0.0.1", address), &[])).await.why;
    assert!(why.contains("refused"), "{why}");
    let mut stream = policy("127.0.0.1", address);
    stream.http.url = "${undeclared}".into();
    let why = failed(start(stream, &[])).await.why;
    assert!(why.contains("http_url") && why.contains("undeclared"), "{why}");
}

#[tokio::test]
async fn a_failed_connection_is_reported_with_its_measurements() {
    let (listener, address) = listen().await;
    drop(listener);
    let mut stream = policy("127.0.0.1", address);
    stream.perf = true;
    let mut running = start(stream, &[]);
    let event = running.events.recv().await;
    assert!(matches!(&event, Some(Event::Perf(json)) if json.contains("dns_us")), "{event:?}");
    failed(running).await;
}

fn certificate() -> (TlsAcceptor, TrustStore) {
    certificate_with(&[])
}

/// For `localhost`, by a server that negotiates these protocols.
pub(super) fn certificate_with(alpn: &[&str]) -> (TlsAcceptor, TrustStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut store = TrustStore::default();
    store.name = "mine".to_owned();
    store.stack = vec!["own".to_owned()];
    store.certs = vec![made.cert.der().to_vec().into()];
    (TlsAcceptor::from(Arc::new(config)), store)
}

#[tokio::test]
async fn a_tls_stream_works_and_ends_politely() {
    let (acceptor, store) = certificate();
    let (listener, address) = listen().await;
    let mut stream = policy("localhost", address);
    stream.tls = true;
    stream.trust_store = Some(Arc::new(store));
    let mut running = start(stream, &[]);
    let (io, _) = listener.accept().await.unwrap();
    let io = acceptor.accept(io).await.unwrap();
    let mut server = Server::upgrade(io, Some(DeflateParams::default())).await;
    greet(&mut running, &mut server).await;
    for len in [1, 16 * 1024, 300_000] {
        let bytes = vec![0x5a; len];
        server.binary(&bytes).await;
        let mut received = 0;
        while received < len {
            match running.events.recv().await {
                Some(Event::Payload { bytes, .. }) => received += bytes.len(),
                other => panic!("{other:?}"),
            }
        }
    }
    drop(running);
    assert_eq!(server.next().await, Seen::Close(Some(1000)));
    // And the end of TLS, without which a server would see a truncation.
    assert_eq!(server.next().await, Seen::Eof);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_failure() {
    let (acceptor, _) = certificate();
    let (_, other) = certificate();
    let (listener, address) = listen().await;
    let mut stream = policy("localhost", address);
    stream.tls = true;
    stream.trust_store = Some(Arc::new(other));
    let running = start(stream, &[]);
    let (io, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(io).await.is_err());
    let why = failed(running).await.why;
    assert!(why.contains("TLS with localhost"), "{why}");
}

/// A thousand idle streams are to be cheap: what one holds in here, its buffers aside.
#[tokio::test]
async fn an_idle_stream_is_small() {
    let (io, mut peer): (DuplexStream, DuplexStream) = tokio::io::duplex(64);
    peer.shutdown().await.unwrap();
    let (output, _events) = queue::queue(BUFLEN, account());
    let (_body, chunks) = mpsc::channel(8);
    let stream = stream();
    let own = HeaderMap::new();
    let request =
        Upgrade { route: &route(), path: "/", subprotocol: None, deflate: true, own: &own };
    let perf = Perf::default();
    let opening = Box::pin(upgrade(io, &request));
    let future = speak(opening, talk(&request, &stream, &perf), &output, chunks);
    let size = size_of_val(&future);
    assert!(size <= 4096, "{size} bytes");
}
