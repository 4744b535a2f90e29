//! The opening handshake.

use std::time::Duration;

use sspc_policy::StreamType;
use sspc_ws::{MessageKind, Role};
use tokio::io::AsyncWriteExt;

use super::support::{Client, RESPONSE_TIMEOUT, Request, Seen, Server, listen, stream};
use crate::onward::{Event, Failure, FailureKind};
use sspc_wire::Flags;

/// What comes of an attempt that the server answers with what `answer` makes of the request, and
/// nothing else.
async fn answered(stream: StreamType, answer: impl FnOnce(&Request) -> String) -> Failure {
    let (listener, address) = listen().await;
    let mut client = Client::tcp(address, stream).await;
    let (mut io, _) = listener.accept().await.unwrap();
    let request = Request::read(&mut io).await;
    io.write_all(answer(&request).as_bytes()).await.unwrap();
    drop(io);
    client.failed().await
}

#[tokio::test]
async fn the_request_is_what_servers_expect() {
    let (listener, address) = listen().await;
    let mut asked = stream();
    asked.ws.subprotocol = Some("lws-mirror-protocol".into());
    let _client = Client::tcp(address, asked).await;
    let (mut io, _) = listener.accept().await.unwrap();
    let request = Request::read(&mut io).await;
    assert_eq!(request.line, "GET /chat?room=1 HTTP/1.1");
    for (name, value) in [
        ("pragma", "no-cache"),
        ("cache-control", "no-cache"),
        ("host", "example.com:8080"),
        ("origin", "http://example.com:8080"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-protocol", "lws-mirror-protocol"),
        ("sec-websocket-version", "13"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    let key = request.header("sec-websocket-key").unwrap();
    assert_eq!(key.len(), 24, "{key} is not 16 bytes");
    let extensions = request.header("sec-websocket-extensions").unwrap();
    assert_eq!(
        extensions,
        "permessage-deflate; client_no_context_takeover; client_max_window_bits"
    );
    assert_eq!(request.headers.len(), 10, "{request:?}");
}

#[tokio::test]
async fn a_refused_upgrade_tells_the_status() {
    let failure =
        answered(stream(), |_| "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope".into())
            .await;
    assert!(failure.why.contains("status 404"), "{}", failure.why);
    assert!(failure.why.contains("example.com:8080/chat?room=1"), "{}", failure.why);
    assert_eq!(failure.retry_after, None);
    assert_eq!(failure.kind, FailureKind::Refused);
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_back() {
    for status in ["503 Busy", "429 Too Many"] {
        let failure = answered(stream(), |_| {
            format!("HTTP/1.1 {status}\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n")
        })
        .await;
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)), "{}", failure.why);
    }
    let failure =
        answered(stream(), |_| "HTTP/1.1 403 No\r\nretry-after: 7\r\n\r\n".to_owned()).await;
    assert_eq!(failure.retry_after, None, "only these two statuses ask to wait");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut stream = stream();
    stream.allow_redirects = true;
    let failure =
        answered(stream, |_| "HTTP/1.1 302 Found\r\nlocation: /there\r\n\r\n".to_owned()).await;
    assert!(failure.why.contains("status 302"), "{}", failure.why);
}

#[tokio::test]
async fn answers_that_do_not_fit_the_request_are_refused() {
    type Answer = fn(&Request) -> String;
    let cases: [(&str, Answer); 9] = [
        ("sec-websocket-accept", |request| {
            let other = sspc_ws::handshake::accept_key("dGhlIHNhbXBsZSBub25jZQ==");
            let own = sspc_ws::handshake::accept_key(request.header("sec-websocket-key").unwrap());
            request.answer().replace(&own, &other)
        }),
        ("sec-websocket-accept", |request| {
            let answer = request.answer();
            answer[..answer.find("sec-websocket-accept").unwrap()].to_owned()
        }),
        ("upgrade", |request| request.answer().replace("WebSocket", "h2c")),
        ("connection", |request| request.answer().replace(", Upgrade", "")),
        ("subprotocol", |request| request.answer() + "sec-websocket-protocol: chat\r\n"),
        ("not offered", |request| request.answer() + "sec-websocket-extensions: x-webkit\r\n"),
        ("client_max_window_bits", |request| {
            request.answer()
                + "sec-websocket-extensions: permessage-deflate; client_max_window_bits=16\r\n"
        }),
        ("unknown parameter", |request| {
            request.answer() + "sec-websocket-extensions: permessage-deflate; level=9\r\n"
        }),
        ("stands twice", |request| {
            request.answer()
                + "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
                   server_no_context_takeover\r\n"
        }),
    ];
    for (why, answer) in cases {
        let failure = answered(stream(), |request| answer(request) + "\r\n").await;
        assert!(failure.why.contains(why), "{} is not about {why}", failure.why);
    }
}

#[tokio::test]
async fn only_a_subprotocol_that_was_asked_for_is_taken() {
    for (chosen, good) in [
        (None, true),
        (Some("mirror"), true),
        (Some("chat"), true),
        (Some("Chat"), false),
        (Some("chat, mirror"), false),
    ] {
        let (listener, address) = listen().await;
        let mut asked = stream();
        asked.ws.subprotocol = Some("chat, mirror".into());
        let mut client = Client::tcp(address, asked).await;
        let (mut io, _) = listener.accept().await.unwrap();
        let mut answer = Request::read(&mut io).await.answer();
        if let Some(chosen) = chosen {
            answer += &format!("sec-websocket-protocol: {chosen}\r\n");
        }
        answer += "\r\n";
        io.write_all(answer.as_bytes()).await.unwrap();
        match good {
            true => client.connected().await,
            false => {
                let why = client.failed().await.why;
                assert!(why.contains("subprotocol"), "{chosen:?}: {why}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_or_talks_nonsense_is_a_failure() {
    let failure = answered(stream(), |_| "SSH-2.0-OpenSSH_9.2\r\n".into()).await;
    assert!(failure.why.contains("no answer to the upgrade: "), "{}", failure.why);
    assert_eq!(failure.kind, FailureKind::Protocol);
    let failure = answered(stream(), |_| "HTTP/1.1 101 Switch".into()).await;
    assert!(failure.why.contains("no answer to the upgrade: "), "{}", failure.why);
    let endless = format!("HTTP/1.1 101 S\r\nx: {}", "x".repeat(40_000));
    let failure = answered(stream(), |_| endless).await;
    assert!(failure.why.contains("no answer to the upgrade: "), "{}", failure.why);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (ours, _theirs) = tokio::io::duplex(4096);
    let asked = tokio::time::Instant::now();
    let failure = Client::over(ours, stream()).failed().await;
    assert_eq!(asked.elapsed(), RESPONSE_TIMEOUT);
    assert!(failure.why.contains("within 15s"), "{}", failure.why);
}

#[tokio::test]
async fn informational_answers_are_skipped_and_early_frames_are_not_lost() {
    let (listener, address) = listen().await;
    let mut client = Client::tcp(address, stream()).await;
    let (mut io, _) = listener.accept().await.unwrap();
    let request = Request::read(&mut io).await;
    let mut wire = format!("HTTP/1.1 103 Early Hints\r\n\r\n{}\r\n", request.answer()).into_bytes();
    wire.extend_from_slice(b"\x82\x05early\x02\x03fra");
    io.write_all(&wire).await.unwrap();
    client.connected().await;
    let whole = (bytes::Bytes::from("early"), Flags::WHOLE);
    assert_eq!(client.payload().await, whole);
    assert_eq!(client.payload().await, (bytes::Bytes::from("fra"), Flags::SOM));
}

/// More than 100 headers were a broken answer.
#[tokio::test]
async fn a_thousand_headers_are_taken() {
    let (listener, address) = listen().await;
    let mut client = Client::tcp(address, stream()).await;
    let (mut io, _) = listener.accept().await.unwrap();
    let mut answer = Request::read(&mut io).await.answer();
    let own = answer.lines().count() - 1;
    answer.extend((own..1000).map(|n| format!("x-{n}: {n}\r\n")));
    io.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    client.connected().await;
}

#[tokio::test]
async fn payload_from_before_connected_is_sent_when_connected() {
    let (listener, address) = listen().await;
    let client = Client::tcp(address, stream()).await;
    client.send("one", Flags::WHOLE).await;
    client.send("two", Flags::WHOLE).await;
    let mut server = Server::accept(&listener, None).await;
    assert_eq!(server.next().await, Seen::Message(MessageKind::Binary, b"one".to_vec()));
    assert_eq!(server.next().await, Seen::Message(MessageKind::Binary, b"two".to_vec()));
}

#[tokio::test]
async fn perf_comes_before_connected_and_before_a_failure() {
    let mut measured = stream();
    measured.perf = true;
    let (listener, address) = listen().await;
    let mut client = Client::tcp(address, measured.clone()).await;
    let _server = Server::accept(&listener, None).await;
    let event = client.events.recv().await;
    assert!(
        matches!(&event, Some(Event::Perf(json)) if json.contains("\"resp\":101")),
        "{event:?}"
    );
    client.connected().await;

    let mut client = Client::tcp(address, measured).await;
    let (mut io, _) = listener.accept().await.unwrap();
    Request::read(&mut io).await;
    io.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await.unwrap();
    let event = client.events.recv().await;
    assert!(
        matches!(&event, Some(Event::Perf(json)) if json.contains("\"resp\":500")),
        "{event:?}"
    );
    client.failed().await;
}

/// The roles are not to be mixed up: what the client sends is masked.
#[tokio::test]
async fn frames_to_the_server_are_masked_with_a_new_key_each() {
    let (listener, address) = listen().await;
    let client = Client::tcp(address, stream()).await;
    let mut server = Server::accept(&listener, None).await;
    client.send("same", Flags::WHOLE).await;
    client.send("same", Flags::WHOLE).await;
    let mut frames = [[0; 10]; 2];
    for frame in &mut frames {
        tokio::io::AsyncReadExt::read_exact(&mut server.io, frame).await.unwrap();
        assert_eq!(frame[..2], [0x82, 0x84]);
        let mut decoder = sspc_ws::Decoder::new(Role::Server, None);
        let mut input = frame.as_slice();
        let mut scratch = [0; 16];
        assert!(decoder.decode(&mut input, &mut scratch).unwrap().is_some());
    }
    assert_ne!(frames[0][2..6], frames[1][2..6]);
}
