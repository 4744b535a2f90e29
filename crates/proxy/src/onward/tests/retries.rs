//! Requests that go out more than once within one attempt, and those that must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sspc_policy::{Protocol, Retry, StreamType};
use sspc_wire::Flags;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use super::support::*;
use crate::onward::{Event, Onward, TxChunk};

/// What a busy server sends along.
const RETRY_AFTER: &str = "retry-after";

/// Refuses `times` requests with 503 and 429 in turn, then echoes; counts those it saw whole.
async fn busy(
    h2: bool,
    times: usize,
    retry_after: &'static str,
    expected: &'static [u8],
) -> (Server, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let server = Server::http(h2, move |request: Request<Incoming>| {
        let counter = Arc::clone(&counter);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected);
            let number = counter.fetch_add(1, Ordering::SeqCst);
            if number < times {
                let status = if number.is_multiple_of(2) { 503 } else { 429 };
                let busy = Response::builder().status(status).header(RETRY_AFTER, retry_after);
                return busy.body(full("busy")).unwrap();
            }
            Response::new(full(body))
        }
    })
    .await;
    (server, seen)
}

fn post(protocol: Protocol, server: &Server, conceal: u16) -> StreamType {
    let mut policy = stream(protocol, server.address);
    policy.http.method = "POST".to_owned();
    policy.metadata = vec![item("after", RETRY_AFTER)];
    let mut retry = Retry::NONE;
    retry.backoff_ms = vec![1];
    retry.conceal = conceal;
    policy.retry = Some(Arc::new(retry));
    policy
}

/// The client has heard CONNECTED and its message is gone from the session, so that no attempt but
/// this one can try again. Once none did: the first 503 was the end.
#[tokio::test]
async fn a_busy_server_gets_the_body_once_more() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let (server, seen) = busy(protocol == Protocol::H2, 3, "0", b"abc").await;
        let report = send(&onward(), attempt(&post(protocol, &server, 5)), b"abc").await;
        let credit = usize::from(protocol == Protocol::H2);
        assert_eq!(report.order[credit..], ["Connected", "Payload", "Ack"], "{protocol}");
        assert_eq!(report.text(), "abc");
        assert_eq!(seen.load(Ordering::SeqCst), 4);
        assert_eq!(server.accepted(), 1, "one connection does for all");
    }
}

#[tokio::test]
async fn a_server_that_stays_busy_is_answered_for_as_often_as_the_policy_says() {
    for (conceal, requests) in [(2, 3), (0, 1)] {
        let (server, seen) = busy(false, usize::MAX, "0", b"abc").await;
        let report = send(&onward(), attempt(&post(Protocol::H1, &server, conceal)), b"abc").await;
        assert_eq!(report.order, ["Connected", "Metadata", "Payload", "Nack"]);
        assert_eq!((report.text(), report.value("after")), ("busy", Some("0")));
        assert_eq!(seen.load(Ordering::SeqCst), requests);
    }
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_asks_but_no_longer_than_the_limit() {
    let (server, seen) = busy(false, 1, "1", b"abc").await;
    let start = Instant::now();
    assert!(send(&onward(), attempt(&post(Protocol::H1, &server, 1)), b"abc").await.is_complete());
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(seen.load(Ordering::SeqCst), 2);

    // So many seconds that they do not fit 64 bits.
    let (server, seen) = busy(false, 1, "99999999999999999999", b"abc").await;
    let config = config_with(|config| config.timeouts.retry_after_max = Duration::from_millis(10));
    let report = send(&Onward::new(config), attempt(&post(Protocol::H1, &server, 1)), b"abc").await;
    assert_eq!(report.text(), "abc");
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_too_long_to_hold_is_not_sent_again() {
    static BODY: [u8; 10_000] = [7; 10_000];
    let (server, seen) = busy(false, 1, "0", &BODY).await;
    let mut policy = post(Protocol::H1, &server, 5);
    policy.proxy_buflen = Some(4096);
    let report = send(&onward(), attempt(&policy), &BODY).await;
    assert_eq!(report.order, ["Connected", "Metadata", "Payload", "Nack"]);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

/// A server that is busy before it has all of the body: what went out goes out again, and what
/// comes later after it.
#[tokio::test]
async fn a_body_that_is_still_coming_begins_again_at_its_front() {
    let server = Server::scripted(|number, mut socket| async move {
        let head = read_head(&mut socket).await;
        assert!(head.starts_with("POST"));
        if number == 0 {
            let busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
            socket.write_all(busy).await.unwrap();
            read_head(&mut socket).await;
            return;
        }
        let mut body = bytes::BytesMut::new();
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            tokio::io::AsyncReadExt::read_buf(&mut socket, &mut body).await.unwrap();
        }
        assert_eq!(body, "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    })
    .await;
    let mut running = onward().start(attempt(&post(Protocol::H1, &server, 1)));
    let chunk =
        |text: &'static str, flags| TxChunk::new(Bytes::from_static(text.as_bytes()), flags);
    running.body.send(chunk("abc", Flags::SOM)).await.unwrap();
    let second_try = async {
        while server.accepted() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, second_try).await.unwrap();
    running.body.send(chunk("def", Flags::EOM)).await.unwrap();
    assert_eq!(report(&mut running.events).await.order, ["Connected", "Payload", "Ack"]);
}

#[tokio::test]
async fn a_session_that_leaves_while_a_busy_server_is_left_alone_ends_the_attempt() {
    let (server, seen) = busy(false, usize::MAX, "3600", b"abc").await;
    let mut running = onward().start(attempt(&post(Protocol::H1, &server, 5)));
    let (gone, when_gone) = oneshot::channel::<()>();
    let body = running.body.clone();
    tokio::spawn(async move {
        body.closed().await;
        drop(gone);
    });
    assert!(matches!(running.events.recv().await, Some(Event::Connected { .. })));
    send_message(running.body.clone(), Bytes::from_static(b"abc")).await;
    while seen.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(running);
    assert!(tokio::time::timeout(PATIENCE, when_gone).await.unwrap().is_err());
}

/// A server that is tired of an idle connection may say 408 just as it is used once more. Once that
/// was taken for the answer to the new request, which the server had not seen.
#[tokio::test]
async fn a_408_on_a_kept_connection_is_its_end_and_no_answer() {
    const TIMEOUT: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate";
    for method in ["GET", "POST"] {
        let server = Server::scripted(|number, mut socket| async move {
            read_head(&mut socket).await;
            let answer = if number == 2 { TIMEOUT } else { OK };
            socket.write_all(answer).await.unwrap();
            read_head(&mut socket).await;
            let _ = socket.write_all(TIMEOUT).await;
        })
        .await;
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let onward = onward();
        let mut policy = stream(Protocol::H1, server.address);
        assert!(run(&onward, attempt(&policy)).await.is_complete());
        policy.http.method = method.to_owned();
        let mut attempt = attempt(&policy);
        attempt.length_hint = Some(4);
        let report = send(&onward, attempt, b"data").await;
        assert_eq!(report.order, ["Connected", "Payload", "Ack"], "{method}");
        assert_eq!(server.accepted(), 2);
        // On a fresh connection it is an answer like any other.
        let fresh = self::onward();
        policy.http.method = "GET".to_owned();
        let report = run(&fresh, self::attempt(&policy)).await;
        assert_eq!(report.order, ["Connected", "Payload", "Nack"]);
        assert_eq!(report.text(), "late");
    }
}
