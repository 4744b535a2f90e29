//! Recorded clients, byte for byte, against our proxy: they hear what they heard from the proxy
//! that they were recorded with, and where that one was at fault, what it should have said.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sspc_sim::vectors::{Chunk, Direction, joined, load};
use sspc_wire::{Flags, ToClientDecoder, ToProxy, ToProxyDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::*;

/// What the recorded client heard on a connection.
fn recorded(name: &str, connection: u32) -> Heard {
    let mut heard = Heard::default();
    let bytes = joined(name, connection, Direction::ToClient);
    heard.take(&mut ToClientDecoder::new(), &bytes);
    heard
}

/// The payload that the recorded client sent.
fn sent_payload(name: &str) -> Vec<u8> {
    let bytes = joined(name, 0, Direction::ToProxy);
    let mut decoder = ToProxyDecoder::new();
    let mut input = &bytes[..];
    let mut payload = Vec::new();
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        if let ToProxy::Payload { piece, .. } = frame {
            payload.extend_from_slice(piece.data);
        }
    }
    payload
}

/// Plays a recorded client: each of its reads is sent once we have heard as much as it had.
/// Ends when all was heard that it heard, and returns it.
async fn play(serving: &Serving, chunks: &[Chunk]) -> Heard {
    let mut client = serving.client().await;
    let mut then = Heard::default();
    let mut decoder = ToClientDecoder::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.bytes.is_empty()) {
        match chunk.direction {
            Direction::ToClient => then.take(&mut decoder, &chunk.bytes),
            Direction::ToProxy => {
                catch_up(&mut client, &then).await;
                client.link.write_all(&chunk.bytes).await.unwrap();
            }
        }
    }
    catch_up(&mut client, &then).await;
    client.heard
}

async fn catch_up(client: &mut Client<tokio::net::UnixStream>, then: &Heard) {
    let behind = |heard: &Heard| {
        let ((states, messages), (states_then, messages_then)) =
            (heard.progress(), then.progress());
        states < states_then || messages < messages_then
    };
    while behind(&client.heard) {
        assert!(client.read().await, "closed: {:?} of {:?}", client.heard.states, then.states);
    }
}

/// The same states and payload; the same metadata, and all of it before the state that tells of
/// the response.
fn assert_same(heard: &Heard, recorded: &Heard, states_before_metadata: usize) {
    assert_eq!(heard.states, recorded.states);
    assert_eq!(heard.messages, recorded.messages);
    let values = |heard: &Heard| {
        let mut values: Vec<(String, String)> =
            heard.metadata.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
        values.sort();
        values
    };
    assert_eq!(values(heard), values(recorded));
    for (name, _, states) in &heard.metadata {
        assert_eq!(*states, states_before_metadata, "{name} comes in time");
    }
}

/// A server that answers each request with the same bytes and closes.
async fn answering(expected: &'static str, body: Vec<u8>, answer: Vec<u8>) -> u16 {
    let expected_body = Arc::new(body);
    let answer = Arc::new(answer);
    server(move |mut link: TcpStream| {
        let expected_body = Arc::clone(&expected_body);
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request(&mut link).await;
            assert!(head.starts_with(expected), "{head}");
            assert!(body == *expected_body, "the body is as the client sent it");
            link.write_all(&answer).await.unwrap();
        }
    })
    .await
}

const GET: &str = "GET /index.html HTTP/1.1\r\n";

fn one(name: &str, port: u16, more: &str) -> String {
    format!(
        r#"{{"s": [{{"{name}": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "h1",
            "http_method": "GET", "http_url": "index.html", "opportunistic": true {more}}}}}]}}"#
    )
}

#[tokio::test]
async fn h1_get() {
    let recorded = recorded("uds_h1_get", 0);
    let body = recorded.messages[0].1.clone();
    let answer = response(200, "content-type: text/html\r\n", &body);
    let port = answering(GET, vec![], answer).await;
    let metadata = r#", "metadata": [{"ctype": "content-type:"}]"#;
    let serving = Serving::of(&one("sx-hello_world", port, metadata));
    let heard = play(&serving, &load("uds_h1_get")).await;
    assert_same(&heard, &recorded, 3);
    assert_eq!(recorded.messages[0].0, Flags::WHOLE);
    assert_eq!(
        heard.states,
        ["CREATE 0", "CREATING", "CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"]
    );
}

#[tokio::test]
async fn h1_500() {
    let port = answering(GET, vec![], response(500, "", b"")).await;
    let serving = Serving::of(&one("st500", port, ""));
    let heard = play(&serving, &load("uds_h1_500")).await;
    assert_same(&heard, &recorded("uds_h1_500", 0), 0);
    assert_eq!(heard.states[4..], ["QOS_NACK_REMOTE", "DISCONNECTED"]);
}

#[tokio::test]
async fn h1_user_state() {
    let port = answering(GET, vec![], response(530, "", b"")).await;
    let map = r#", "http_resp_map": [{"530": 1530}, {"404": 1404}]"#;
    let serving = Serving::of(&one("respmap", port, map));
    let heard = play(&serving, &load("uds_h1_user_state")).await;
    assert_same(&heard, &recorded("uds_h1_user_state", 0), 0);
    assert_eq!(heard.states[3..5], ["USER(1530)", "CONNECTED"]);
}

#[tokio::test]
async fn h1_post() {
    let recorded = recorded("uds_h1_post", 0);
    let sent = sent_payload("uds_h1_post");
    assert_eq!(sent.len(), 5970);
    let answer = response(200, "", &recorded.messages[0].1);
    let port = answering("POST /testserver/formtest HTTP/1.1\r\n", sent, answer).await;
    let text = format!(
        r#"{{"s": [{{"minpost": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "h1",
            "http_method": "POST", "http_url": "testserver/formtest", "opportunistic": true,
            "metadata": [{{"ctype": "content-type:"}}]}}}}]}}"#
    );
    let serving = Serving::of(&text);
    let heard = play(&serving, &load("uds_h1_post")).await;
    assert_same(&heard, &recorded, 0);
    assert_eq!(heard.states[2..5], ["POLL", "CONNECTING", "CONNECTED"]);
}

#[tokio::test]
async fn refused() {
    let port = dead_port().await;
    let text = format!(
        r#"{{"retry": [{{"r": {{"backoff": [100, 200, 300], "conceal": 3, "jitterpc": 20}}}}],
            "s": [{{"refused": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "h1",
            "http_method": "GET", "http_url": "", "opportunistic": true, "retry": "r"}}}}]}}"#
    );
    let serving = Serving::of(&text);
    let heard = play(&serving, &load("uds_refused")).await;
    assert_same(&heard, &recorded("uds_refused", 0), 0);
    assert_eq!(heard.states.last().unwrap(), "ALL_RETRIES_FAILED");
    assert_eq!(serving.handle.counters().attempts, 4);
}

#[tokio::test]
async fn unknown_streamtype() {
    let serving = Serving::of(r#"{"s": [{"suchtype": {"endpoint": "localhost", "port": 80}}]}"#);
    for connection in [0, 1] {
        let chunks = load("uds_unknown_streamtype").into_iter();
        let chunks: Vec<Chunk> = chunks.filter(|chunk| chunk.connection == connection).collect();
        let heard = play(&serving, &chunks).await;
        assert_same(&heard, &recorded("uds_unknown_streamtype", connection), 0);
        assert_eq!(heard.states, ["CREATE 1"]);
    }
    assert_eq!(serving.handle.counters().refused, 2);
}

#[tokio::test]
async fn h2_get() {
    let recorded = recorded("uds_h2_get", 0);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let body = Bytes::from(recorded.messages[0].1.clone());
    let port = server(move |link| {
        let (acceptor, body) = (acceptor.clone(), body.clone());
        async move {
            let link = TokioIo::new(acceptor.accept(link).await.unwrap());
            let answer = service_fn(move |request: Request<Incoming>| {
                let body = body.clone();
                async move {
                    assert_eq!(request.uri().path(), "/");
                    let response = Response::builder()
                        .header("content-type", "text/html")
                        .header("server", "nginx/1.22.1")
                        .body(Full::new(body))
                        .unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // It ends when the client has gone.
            let _ = builder.serve_connection(link, answer).await;
        }
    })
    .await;
    let text = format!(
        r#"{{"certs": [{{"ca": "{}"}}], "trust_stores": [{{"name": "ours", "stack": ["ca"]}}],
            "s": [{{"mintest": {{"endpoint": "localhost", "port": {port}, "protocol": "h2",
            "tls": true, "tls_trust_store": "ours", "http_method": "GET", "http_url": "",
            "opportunistic": true,
            "metadata": [{{"ctype": "content-type:"}}, {{"srv": "server:"}}]}}}}]}}"#,
        STANDARD.encode(cert.der())
    );
    let serving = Serving::of(&text);
    let heard = play(&serving, &load("uds_h2_get")).await;
    // The recorded proxy sent `srv` after the payload.
    assert_same(&heard, &recorded, 3);
    assert_eq!(recorded.metadata[1].2, 5);
}

#[tokio::test]
async fn ws_echo() {
    let recorded = recorded("uds_ws_echo", 0);
    let port = server(echo).await;
    let text = format!(
        r#"{{"s": [{{"sx_ws_echo": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "ws",
            "http_url": "/", "ws_subprotocol": "lws-mirror-protocol", "nailed_up": true}}}}]}}"#
    );
    let serving = Serving::of(&text);
    let mut chunks = load("uds_ws_echo");
    // The client ends by its timeout, 5 s after it began. That is longer than a test should take.
    let mut shortened = 0;
    for chunk in &mut chunks {
        if let Some(at) = find(&chunk.bytes, b"\xb0\0\x04\0\0\x13\x88") {
            chunk.bytes[at + 5..at + 7].copy_from_slice(&1000_u16.to_be_bytes());
            shortened += 1;
        }
    }
    assert_eq!(shortened, 1);
    let heard = play(&serving, &chunks).await;
    assert_same(&heard, &recorded, 0);
    assert_eq!(heard.messages.len(), 9);
    assert_eq!(heard.states[2..], ["CONNECTING", "CONNECTED", "TIMEOUT"]);
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Answers each short message with itself.
async fn echo(mut link: TcpStream) {
    let (head, _) = request(&mut link).await;
    let value = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    assert_eq!(value("Sec-WebSocket-Protocol"), Some("lws-mirror-protocol"));
    let accept = sspc_ws::handshake::accept_key(value("Sec-WebSocket-Key").unwrap());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: lws-mirror-protocol\r\n\r\n"
    );
    link.write_all(answer.as_bytes()).await.unwrap();
    let mut head = [0; 6];
    while link.read_exact(&mut head).await.is_ok() {
        assert_eq!(head[0] & 0x80, 0x80, "whole messages only");
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        link.read_exact(&mut payload).await.unwrap();
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= head[2 + at % 4];
        }
        let frame = [&[head[0], payload.len() as u8][..], &payload].concat();
        link.write_all(&frame).await.unwrap();
    }
}
