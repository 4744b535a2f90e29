//! WebSocket: through nginx to a server in this process.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sspc::Flags;
use sspc_ws::{CloseCode, Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::content;
use crate::nginx::Ports;
use crate::origin::{self, Body};
use crate::world::{Streamtype, World};

/// A server does not mask what it sends.
const NO_MASK: [u8; 4] = [0; 4];
/// What [`Service::Bye`] says.
const BYE: &str = "that is all";

/// What [`Service::Pings`] asks.
const PINGS: [&str; 10] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

/// What the server does with a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Sends everything back.
    Echo,
    /// Says one thing and closes.
    Bye,
    /// Sends so many messages of one byte at once, and as many empty ones, and closes.
    Tiny(usize),
    /// Sends [`PINGS`] at once, and repeats the answers in a message each.
    Pings,
}

/// The server's answer to an upgrade, and what it agreed to.
pub(crate) fn accept(
    headers: &HeaderMap,
    may_deflate: bool,
) -> (Response<Body>, Option<DeflateParams>) {
    let mut response = origin::text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let key = headers[header::SEC_WEBSOCKET_KEY].to_str().unwrap();
    let accept = sspc_ws::handshake::accept_key(key);
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
    let offers = origin::joined(headers, header::SEC_WEBSOCKET_EXTENSIONS);
    let agreed = sspc_ws::handshake::answer(&offers, DeflateParams::default());
    let deflate = agreed.filter(|_| may_deflate).map(|(params, extension)| {
        answer.insert(header::SEC_WEBSOCKET_EXTENSIONS, extension.parse().unwrap());
        params
    });
    (response, deflate)
}

/// The server's side of a websocket, and the code that the other side closed it with.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    service: Service,
    deflate: Option<DeflateParams>,
) -> Option<u16> {
    let mut closed = None;
    let mut decoder = Decoder::new(Role::Server, deflate);
    let mut encoder = Encoder::new(Role::Server, deflate);
    let mut out = Vec::new();
    if service == Service::Bye {
        let bytes = BYE.as_bytes();
        let piece = Piece { kind: MessageKind::Text, first: true, last: true, bytes };
        encoder.piece(piece, NO_MASK, &mut out).unwrap();
        encoder.close(Some((CloseCode::NORMAL, "done")), NO_MASK, &mut out).unwrap();
        socket.write_all(&out).await.unwrap();
        out.clear();
    }
    if let Service::Tiny(count) = service {
        for bytes in [&b"x"[..], b""] {
            let piece = Piece { kind: MessageKind::Binary, first: true, last: true, bytes };
            for _ in 0..count {
                encoder.piece(piece, NO_MASK, &mut out).unwrap();
            }
        }
        encoder.close(Some((CloseCode::NORMAL, "done")), NO_MASK, &mut out).unwrap();
        socket.write_all(&out).await.unwrap();
        out.clear();
    }
    if service == Service::Pings {
        for payload in PINGS {
            encoder.ping(payload.as_bytes(), NO_MASK, &mut out).unwrap();
        }
        socket.write_all(&out).await.unwrap();
        out.clear();
    }
    let mut buffer = vec![0; 16 * 1024];
    let mut scratch = [0; 4096];
    while !decoder.is_closed() {
        let Ok(length @ 1..) = socket.read(&mut buffer).await else { return closed };
        let mut input = &buffer[..length];
        while let Some(event) = decoder.decode(&mut input, &mut scratch).unwrap() {
            match event {
                Event::Data(piece) => encoder.piece(piece, NO_MASK, &mut out).unwrap(),
                Event::Pong(pong) => {
                    let kind = MessageKind::Binary;
                    let piece = Piece { kind, first: true, last: true, bytes: pong.as_bytes() };
                    encoder.piece(piece, NO_MASK, &mut out).unwrap();
                }
                Event::Ping(ping) => encoder.pong(ping.as_bytes(), NO_MASK, &mut out).unwrap(),
                Event::Close(frame) if !encoder.is_closed() => {
                    closed = frame.map(|frame| frame.code().code());
                    encoder.close(Some((CloseCode::NORMAL, "")), NO_MASK, &mut out).unwrap();
                }
                _ => {}
            }
        }
        if socket.write_all(&out).await.is_err() {
            return closed;
        }
        out.clear();
    }
    // The client may be gone already.
    let _ = socket.shutdown().await;
    closed
}

fn ways(ports: &Ports, path: &str) -> Vec<Streamtype> {
    let base = |name, port| {
        Streamtype::at(name, port).path(path).with(r#""ws_binary": true"#).ws().opportunistic()
    };
    vec![base("ws", ports.clear), base("wss", ports.tls).tls()]
}

/// Messages of all sorts there and back; gives the extensions that the server agreed to.
async fn echo(path: &str) -> Vec<String> {
    let world = World::with(|ports, _| ways(ports, path)).await;
    for way in ["ws", "wss"] {
        let mut user = world.open(way).await;
        user.connect();
        user.until("CONNECTED").await;
        assert_eq!(user.heard(), "CREATING CONNECTING CONNECTED", "{way}");

        let long = content::piece(0, 200_000);
        let messages = [Bytes::from("Hello"), Bytes::new(), Bytes::from("\0\u{1}\n"), long];
        for message in &messages {
            user.send(message.clone(), Flags::WHOLE).await.unwrap();
        }
        user.until_messages(messages.len()).await;
        for (got, sent) in user.messages.iter().zip(&messages) {
            assert!(got.is_whole && got.data == *sent, "{way}: not the {} bytes", sent.len());
        }

        // In parts, as the user has them.
        for (part, flags) in [("a ", Flags::SOM), ("b ", Flags::NONE), ("c", Flags::EOM)] {
            user.send(part, flags).await.unwrap();
        }
        user.until_messages(messages.len() + 1).await;
        assert_eq!(user.text(), "a b c", "{way}");
        assert_eq!(user.heard(), ["SOM EOM"; 5].join(" "), "{way}");
        user.close().await;
    }
    world.origin.extensions()
}

#[tokio::test]
async fn messages_come_back_plain() {
    assert_eq!(echo("origin/ws/plain").await, ["", ""]);
}

#[tokio::test]
async fn messages_come_back_compressed() {
    for extension in echo("origin/ws").await {
        assert!(extension.starts_with("permessage-deflate"), "{extension:?}");
    }
}

#[tokio::test]
async fn a_long_message_comes_back_compressed_while_it_is_sent() {
    long_echo("origin/ws", 1 << 20).await;
}

#[tokio::test]
async fn a_message_of_64_mib_comes_back_while_it_is_sent() {
    long_echo("origin/ws/plain", 64 << 20).await;
}

/// One message of so many bytes there and back, clear and over TLS, through nginx.
async fn long_echo(url: &'static str, length: usize) {
    let world = World::with(|ports, _| ways(ports, url)).await;
    for way in ["ws", "wss"] {
        let mut user = world.open(way).await;
        user.connect();
        let sender = user.clone();
        let sending = tokio::spawn(async move {
            let mut body = sender.body(None).await.unwrap();
            for offset in (0..length).step_by(1 << 16) {
                body.write(content::piece(offset as u64, 1 << 16)).await.unwrap();
            }
            body.finish().await.unwrap();
        });
        user.until_messages(1).await;
        user.assert_content(length as u64);
        sending.await.unwrap();
        user.close().await;
    }
}

#[tokio::test]
async fn a_message_that_waits_goes_out_when_connected() {
    let world = World::with(|ports, _| ways(ports, "origin/ws")).await;
    let mut user = world.open("ws").await;
    user.send("early", Flags::WHOLE).await.unwrap();
    user.until_messages(1).await;
    assert_eq!(user.text(), "early");
}

/// Autobahn's cases 2.10 and 2.11.
#[tokio::test]
async fn ten_pings_at_once_have_ten_answers() {
    let world = World::with(|ports, _| ways(ports, "origin/ws/pings")).await;
    for way in ["ws", "wss"] {
        let mut user = world.open(way).await;
        user.connect();
        user.until_messages(PINGS.len()).await;
        for (message, ping) in user.messages.iter().zip(PINGS) {
            assert_eq!(message.data, ping.as_bytes(), "{way}");
        }
    }
}

#[tokio::test]
async fn the_servers_close_is_disconnected() {
    let world = World::with(|ports, _| ways(ports, "origin/ws/bye")).await;
    for way in ["ws", "wss"] {
        let mut user = world.open(way).await;
        assert_eq!(user.get().await, "CREATING CONNECTING CONNECTED SOM EOM DISCONNECTED", "{way}");
        assert_eq!(user.text(), BYE, "{way}");
    }
}

#[tokio::test]
async fn without_opportunistic_a_closed_websocket_is_opened_again() {
    let world = World::with(|ports, _| {
        vec![Streamtype::at("ticker", ports.clear).path("origin/ws/bye").ws().retrying()]
    })
    .await;
    let mut user = world.open("ticker").await;
    user.connect();
    user.until_messages(3).await;
    user.until("DISCONNECTED").await;
    assert_eq!(
        user.heard(),
        "CREATING CONNECTING CONNECTED SOM EOM DISCONNECTED \
         POLL CONNECTING CONNECTED SOM EOM DISCONNECTED \
         POLL CONNECTING CONNECTED SOM EOM DISCONNECTED"
    );
}

#[tokio::test]
async fn nailed_up_connects_unasked() {
    let world = World::with(|ports, _| {
        ways(ports, "origin/ws").into_iter().map(|it| it.with(r#""nailed_up": true"#)).collect()
    })
    .await;
    let mut user = world.open("ws").await;
    user.until("CONNECTED").await;
    assert_eq!(user.heard(), "CREATING CONNECTING CONNECTED");
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_a_failure() {
    let world = World::with(|ports, _| {
        vec![
            Streamtype::at("file", ports.clear).path("small.txt").ws().retrying(),
            Streamtype::at("missing", ports.tls).path("status/404").ws().tls().retrying(),
        ]
    })
    .await;
    for streamtype in ["file", "missing"] {
        let mut user = world.open(streamtype).await;
        assert_eq!(
            user.get().await,
            "CREATING CONNECTING UNREACHABLE POLL CONNECTING UNREACHABLE \
             POLL CONNECTING UNREACHABLE ALL_RETRIES_FAILED",
            "{streamtype}"
        );
    }
}
