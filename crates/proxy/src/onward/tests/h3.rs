//! HTTP/3, against quinn with the h3 crate's server, and against scripted bytes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h3::server::RequestStream;
use http::{Request, Response};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::pki_types::PrivateKeyDer;
use sspc_policy::{Protocol, StreamType};
use sspc_wire::Flags;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::support::*;
use crate::identity::Identity;
use crate::onward::connect::{Caller, Perf};
use crate::onward::http::occupancy::Wanted;
use crate::onward::http::request::Plan;
use crate::onward::{Attempt, Event, Onward, TxChunk};

type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A server of QUIC in this process.
pub(super) struct QuicServer {
    endpoint: Endpoint,
    accepted: Arc<AtomicUsize>,
    connections: Arc<Mutex<Vec<quinn::Connection>>>,
}

fn listen(certificate: &Certificate, alpn: &str, streams: u32) -> Endpoint {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificate.chain.iter().map(|der| der.clone().into()).collect();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(certificate.key.clone().into()))
        .unwrap();
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    listen_with(tls, streams)
}

pub(super) fn listen_with(tls: rustls::ServerConfig, streams: u32) -> Endpoint {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(streams));
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap()
}

impl QuicServer {
    /// Hands each connection to a script.
    pub(super) fn scripted<F, R>(endpoint: Endpoint, script: F) -> Self
    where
        F: Fn(quinn::Connection) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let accepted = Arc::new(AtomicUsize::new(0));
        let (accepting, counter) = (endpoint.clone(), Arc::clone(&accepted));
        let connections = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let Ok(connection) = incoming.await else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                kept.lock().unwrap().push(connection.clone());
                tokio::spawn(script(connection));
            }
        });
        Self { endpoint, accepted, connections }
    }

    /// Hands each request to a handler.
    fn http3<F, R>(endpoint: Endpoint, handler: F) -> Self
    where
        F: Fn(Request<()>, Stream) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::scripted(endpoint, move |connection| {
            let handler = handler.clone();
            async move {
                let io = h3_quinn::Connection::new(connection);
                let Ok(mut http) = h3::server::Connection::<_, Bytes>::new(io).await else {
                    return;
                };
                while let Ok(Some(resolver)) = http.accept().await {
                    let handler = handler.clone();
                    tokio::spawn(async move {
                        if let Ok((request, stream)) = resolver.resolve_request().await {
                            handler(request, stream).await;
                        }
                    });
                }
            }
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Answers with the version, and with what was sent if that was anything.
async fn echo(request: Request<()>, mut stream: Stream) {
    let mut body = BytesMut::new();
    while let Ok(Some(mut data)) = stream.recv_data().await {
        let bytes = data.copy_to_bytes(data.remaining());
        body.extend_from_slice(&bytes);
    }
    if body.is_empty() {
        body.extend_from_slice(format!("{:?} {}", request.version(), request.uri()).as_bytes());
    }
    stream.send_response(Response::new(())).await.unwrap();
    stream.send_data(body.freeze()).await.unwrap();
    stream.finish().await.unwrap();
}

fn certificate() -> Certificate {
    Certificate::for_names(&["127.0.0.1"])
}

fn policy(address: SocketAddr, certificate: &Certificate) -> StreamType {
    let mut policy = stream(Protocol::H3, address);
    policy.tls = true;
    policy.trust_store = certificate.store();
    policy.http.url = "/a?b=c".into();
    policy
}

#[tokio::test]
async fn requests_go_by_h3_and_share_a_connection() {
    let certificate = certificate();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), echo);
    let policy = policy(server.address(), &certificate);
    let onward = onward();
    for _ in 0..20 {
        let report = run(&onward, attempt(&policy)).await;
        assert_eq!(report.text(), format!("HTTP/3.0 https://{}/a?b=c", server.address()));
        assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
        assert!(report.is_complete());
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_long_message_goes_and_comes_back() {
    let certificate = certificate();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), echo);
    let mut policy = policy(server.address(), &certificate);
    policy.http.method = "POST".to_owned();
    let message = pattern(1_000_000);
    let report = send(&onward(), attempt(&policy), &message).await;
    assert!(report.body == message, "{:?}", report.end);
    assert_eq!(report.order.last(), Some(&"Ack"));
}

#[tokio::test]
async fn trailers_come_as_metadata() {
    let certificate = certificate();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), |_, mut stream| async move {
        stream.send_response(Response::new(())).await.unwrap();
        stream.send_data(Bytes::from_static(b"body")).await.unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "7".parse().unwrap());
        stream.send_trailers(trailers).await.unwrap();
        stream.finish().await.unwrap();
    });
    let mut policy = policy(server.address(), &certificate);
    policy.metadata.push(item("status", "grpc-status"));
    let report = run(&onward(), attempt(&policy)).await;
    assert_eq!((report.text(), report.value("status")), ("body", Some("7")));
    assert!(report.is_complete());
}

/// What a client does not take stays at the server, and stops no other stream.
#[tokio::test]
async fn a_client_that_reads_nothing_stops_its_own_stream_alone() {
    let certificate = certificate();
    let (progress, mut sent) = mpsc::unbounded_channel();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), move |request, stream| {
        let progress = progress.clone();
        async move {
            if request.uri().path() == "/a" {
                return echo(request, stream).await;
            }
            let mut stream = stream;
            stream.send_response(Response::new(())).await.unwrap();
            while stream.send_data(pattern(16 * 1024)).await.is_ok() {
                progress.send(16 * 1024).unwrap();
            }
        }
    });
    let onward = onward();
    let mut endless = policy(server.address(), &certificate);
    endless.http.url = "/endless".into();
    let _stalled = onward.start(attempt(&endless));
    let mut total = 0;
    while let Ok(Some(bytes)) = timeout(Duration::from_millis(500), sent.recv()).await {
        total += bytes;
    }
    // The window, the queue to the session and what quinn's server takes ahead.
    assert!(total > 0 && total < 12 << 20, "{total}");
    let other = policy(server.address(), &certificate);
    assert!(run(&onward, attempt(&other)).await.is_complete());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_server_without_quic_is_asked_by_h2() {
    let certificate = certificate();
    let answer = |request: Request<hyper::body::Incoming>| async move {
        Response::new(full(format!("{:?}", request.version())))
    };
    let server = Server::https(&certificate, &["h2", "http/1.1"], answer).await;
    let onward = Onward::new(config_with(|config| {
        config.timeouts.connect = Duration::from_secs(1);
    }));
    let policy = policy(server.address, &certificate);
    assert_eq!(run(&onward, attempt(&policy)).await.text(), "HTTP/2.0");
    assert_eq!(run(&onward, attempt(&policy)).await.text(), "HTTP/2.0");
    assert_eq!(server.accepted(), 1);
}

/// Once it was always 3 s, however short `connect` was.
#[tokio::test]
async fn what_is_logged_of_a_silent_server_says_how_long_it_was_waited_for() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let onward = Onward::new(config_with(|config| {
        config.timeouts.connect = Duration::from_millis(300);
    }));
    let attempt = attempt(&policy(silent.local_addr().unwrap(), &certificate()));
    let plan = Plan::new(&attempt, &onward.config).unwrap();
    let (route, caller) = (&plan.route, &Caller::of(&attempt));
    let wanted = Wanted { route, caller, validity: None, alone: false };
    let failure = onward.h3.open(&onward, wanted, &mut Perf::default()).await.unwrap_err();
    assert!(failure.why.ends_with(": nothing within 0.3 s"), "{}", failure.why);
}

/// Once each stayed for ever, if no connection ended or failed after it.
#[tokio::test]
async fn openings_that_clients_gave_up_are_forgotten() {
    let certificate = certificate();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), echo);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let onward = onward();
    let of = |number, address| {
        let client = Identity::User(number);
        Attempt { client, ..attempt(&policy(address, &certificate)) }
    };
    let mut seen = HashSet::new();
    for number in 0..5 {
        let given_up = onward.start(of(number, silent.local_addr().unwrap()));
        let mut datagram = [0; 2048];
        // One that ends says so, too.
        let heard =
            async { while !seen.insert(silent.recv_from(&mut datagram).await.unwrap().1) {} };
        timeout(PATIENCE, heard).await.unwrap();
        drop(given_up);
    }
    // While the first of these is served, the others end; the second sees it.
    for number in 10..12 {
        assert!(run(&onward, of(number, server.address())).await.is_complete());
    }
    assert_eq!(onward.h3.routes(), 2);
}

/// One that speaks another protocol over QUIC says so at once.
#[tokio::test]
async fn without_tls_and_to_other_protocols_there_is_h2() {
    let clear = Server::http(true, |_| async { Response::new(full("clear")) }).await;
    let report = run(&onward(), attempt(&stream(Protocol::H3, clear.address))).await;
    assert_eq!(report.text(), "clear");
    let certificate = certificate();
    let other = QuicServer::http3(listen(&certificate, "doq", 100), echo);
    let failure = run(&onward(), attempt(&policy(other.address(), &certificate))).await;
    // Nothing listens at the same port of TCP.
    assert!(failure.failure().contains("refused"), "{}", failure.failure());
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn certificates_are_checked_and_what_is_wrong_is_said() {
    let certificate = Certificate::for_names(&["elsewhere"]);
    let server = QuicServer::http3(listen(&certificate, "h3", 100), echo);
    let why = run(&onward(), attempt(&policy(server.address(), &certificate))).await;
    let why = why.failure();
    assert!(why.contains("QUIC") && why.ends_with("but for elsewhere"), "{why}");
    let stranger = Certificate::for_names(&["127.0.0.1"]);
    let why = run(&onward(), attempt(&policy(server.address(), &stranger))).await;
    assert!(why.failure().contains("trust store `anchors`"), "{}", why.failure());
}

#[tokio::test]
async fn a_server_that_allows_one_stream_gets_more_connections() {
    let certificate = certificate();
    let server = QuicServer::http3(listen(&certificate, "h3", 1), |request, stream| async move {
        if request.uri().path() == "/held" {
            let _held = stream;
            return std::future::pending().await;
        }
        echo(request, stream).await;
    });
    let onward = onward();
    let mut held = policy(server.address(), &certificate);
    held.http.url = "/held".into();
    let _held = onward.start(attempt(&held));
    while server.accepted() == 0 {
        tokio::task::yield_now().await;
    }
    let policy = policy(server.address(), &certificate);
    let report = run(&onward, attempt(&policy)).await;
    assert!(report.is_complete(), "{:?}", report.end);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_connection_that_is_gone_is_not_used_again() {
    let certificate = certificate();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), echo);
    let onward = onward();
    let policy = policy(server.address(), &certificate);
    for connections in 1..=3 {
        assert!(run(&onward, attempt(&policy)).await.is_complete());
        assert_eq!(server.accepted(), connections);
        let connection = server.connections.lock().unwrap().pop().unwrap();
        connection.close(VarInt::from_u32(0x100), b"");
    }
}

#[tokio::test]
async fn h2_goes_over_to_h3_where_the_server_offers_it_and_the_policy_allows() {
    let certificate = certificate();
    let quic = QuicServer::http3(listen(&certificate, "h3", 100), echo);
    let offer = format!("h3=\":{}\"; ma=60", quic.address().port());
    let answer = move |request: Request<hyper::body::Incoming>| {
        let offer = offer.clone();
        async move {
            let text = format!("{:?}", request.version());
            Response::builder().header("alt-svc", offer).body(full(text)).unwrap()
        }
    };
    let server = Server::https(&certificate, &["h2", "http/1.1"], answer).await;
    let onward = onward();
    let mut policy = policy(server.address, &certificate);
    policy.protocol = Protocol::H2;
    for _ in 0..2 {
        assert_eq!(run(&onward, attempt(&policy)).await.text(), "HTTP/2.0");
    }
    policy.http.alt_svc = true;
    assert_eq!(run(&onward, attempt(&policy)).await.text(), "HTTP/2.0");
    let expected = format!("HTTP/3.0 https://{}/a?b=c", server.address);
    assert_eq!(run(&onward, attempt(&policy)).await.text(), expected);
    policy.http.alt_svc = false;
    assert_eq!(run(&onward, attempt(&policy)).await.text(), "HTTP/2.0");
}

/// A body that is cut must not look whole to the server.
#[tokio::test]
async fn a_message_that_its_client_breaks_off_is_broken_off_at_the_server() {
    let certificate = certificate();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = QuicServer::http3(listen(&certificate, "h3", 100), move |_, mut stream| {
        let heard = heard.clone();
        async move {
            let end = loop {
                match stream.recv_data().await {
                    Ok(Some(_)) => heard.send("data".to_owned()).unwrap(),
                    Ok(None) => break "whole".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            heard.send(end).unwrap();
        }
    });
    let mut policy = policy(server.address(), &certificate);
    policy.http.method = "POST".to_owned();
    let mut running = onward().start(attempt(&policy));
    let connected = timeout(PATIENCE, running.events.recv()).await.unwrap();
    assert!(matches!(connected, Some(Event::Connected { .. })), "{connected:?}");
    let chunk = TxChunk::new(Bytes::from_static(b"half"), Flags::SOM);
    running.body.send(chunk).await.unwrap();
    assert_eq!(timeout(PATIENCE, hears.recv()).await.unwrap().unwrap(), "data");
    drop(running);
    let end = timeout(PATIENCE, hears.recv()).await.unwrap().unwrap();
    assert!(end.contains("H3_REQUEST_CANCELLED"), "{end}");
}

/// A server whose responses are these bytes.
fn answering(certificate: &Certificate, response: &'static [u8]) -> QuicServer {
    QuicServer::scripted(listen(certificate, "h3", 100), move |connection| async move {
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        while let Ok((mut sending, _receiving)) = connection.accept_bi().await {
            let _ = sending.write_all(response).await;
            let _ = sending.finish();
            let _ = sending.stopped().await;
        }
    })
}

/// HEADERS with `:status: 200`, and with `:status: 103`, of QPACK's static table.
const OK: &[u8] = &[1, 3, 0, 0, 0xd9];
const EARLY_HINTS: &[u8] = &[1, 3, 0, 0, 0xd8];

#[tokio::test]
async fn what_servers_send_against_the_rules_harms_nobody() {
    const BODY: [&[u8]; 7] = [EARLY_HINTS, OK, &[0, 2], b"ab", &[0, 0], &[0, 2], b"cd"];
    const CUT: [&[u8]; 3] = [OK, &[0, 9], b"ab"];
    const HUGE: [&[u8]; 2] = [&[1, 0x80, 8, 0, 0], &[0; 64]];
    const PUSH: [&[u8]; 2] = [OK, &[5, 1, 0]];
    let leak = |parts: &[&[u8]]| -> &'static [u8] { Box::leak(parts.concat().into_boxed_slice()) };
    let certificate = certificate();
    let onward = onward();
    for (response, expected) in [
        (leak(&BODY), Ok("abcd")),
        (leak(&CUT), Err("ended inside of a frame")),
        (leak(&HUGE), Err("response headers of 524288 bytes")),
        (leak(&[EARLY_HINTS; 20]), Err("informational")),
        (leak(&PUSH), Err("frame")),
        (leak(&[]), Err("without receiving response headers")),
        (leak(&[&[1, 1, 0xff]]), Err("decode")),
    ] {
        let server = answering(&certificate, response);
        let report = run(&onward, attempt(&policy(server.address(), &certificate))).await;
        match expected {
            Ok(text) => assert_eq!(report.text(), text),
            Err(why) => {
                assert!(!report.is_complete(), "{why}");
                assert!(report.loss().contains(why), "{why}: {}", report.loss());
            }
        }
    }
}
