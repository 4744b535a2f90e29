//! Answers that come before the request's end.
//!
//! Once every such answer ended the attempt: what the client still had to send was thrown away,
//! though the server read on, and the client heard ACK.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use sspc_policy::{Protocol, StreamType};
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::support::*;
use crate::onward::{AttemptHandle, Event, Onward, TxChunk};

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok";

fn post(protocol: Protocol, server: &Server) -> StreamType {
    let mut policy = stream(protocol, server.address);
    policy.http.method = "POST".to_owned();
    policy
}

fn chunk(bytes: Bytes, flags: Flags) -> TxChunk {
    TxChunk::new(bytes, flags)
}

/// Sends the first half of a message and waits for the end of the answer to it.
async fn half_sent(onward: &std::sync::Arc<Onward>, policy: &StreamType) -> AttemptHandle {
    let mut running = onward.start(attempt(policy));
    running.body.send(chunk(pattern(1000), Flags::SOM)).await.unwrap();
    let answered = async {
        loop {
            match running.events.recv().await.unwrap() {
                Event::Payload { flags, .. } if flags.contains(Flags::EOM) => break,
                Event::Ended(end) => panic!("{end:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    running
}

/// An h2 server that answers at once and hands over both halves of the stream.
async fn early_h2<F, R>(then: F) -> Server
where
    F: Fn(h2::RecvStream, h2::SendStream<Bytes>) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    Server::scripted(move |_, socket| {
        let then = then.clone();
        async move {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut answer = respond.send_response(Response::new(()), false).unwrap();
                answer.send_data(Bytes::from_static(b"ok"), true).unwrap();
                tokio::spawn(then(request.into_body(), answer));
            }
        }
    })
    .await
}

/// All of a chunked body, chunk sizes and all; short if it breaks off.
async fn read_chunked(socket: &mut tokio::net::TcpStream) -> BytesMut {
    let mut body = BytesMut::new();
    while !body.ends_with(b"\r\n0\r\n\r\n") {
        if socket.read_buf(&mut body).await.unwrap() == 0 {
            break;
        }
    }
    body
}

#[tokio::test]
async fn a_server_that_answers_early_and_reads_on_gets_all_of_the_body() {
    let (report_body, mut bodies) = mpsc::channel(1);
    let for_h1 = report_body.clone();
    let h1 = Server::scripted(move |_, mut socket| {
        let bodies = for_h1.clone();
        async move {
            loop {
                if read_head(&mut socket).await.is_empty() {
                    return;
                }
                socket.write_all(ACCEPTED).await.unwrap();
                let body = read_chunked(&mut socket).await;
                // 0x3E8 is 1000.
                let half = [b"3E8\r\n", &pattern(1000)[..], b"\r\n"].concat();
                assert!(body == [&half[..], &half, b"0\r\n\r\n"].concat(), "{} bytes", body.len());
                bodies.send(()).await.unwrap();
            }
        }
    })
    .await;
    let h2 = early_h2(move |mut body, _answer| {
        let bodies = report_body.clone();
        async move {
            let mut all = BytesMut::new();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                all.extend_from_slice(&data);
            }
            assert!(all == [pattern(1000), pattern(1000)].concat(), "{} bytes", all.len());
            bodies.send(()).await.unwrap();
        }
    })
    .await;
    for (protocol, server) in [(Protocol::H1, h1), (Protocol::H2, h2)] {
        let onward = onward();
        let policy = post(protocol, &server);
        for _ in 0..3 {
            let mut running = half_sent(&onward, &policy).await;
            running.body.send(chunk(pattern(1000), Flags::EOM)).await.unwrap();
            assert_eq!(report(&mut running.events).await.order, ["Ack"], "{protocol}");
            running.body.closed().await;
            tokio::time::timeout(PATIENCE, bodies.recv()).await.unwrap().unwrap();
        }
        assert_eq!(server.accepted(), 1, "{protocol}: the connection is good for more");
    }
}

/// Says that it wants no more: by a header, by hanging up, by a reset.
#[tokio::test]
async fn a_server_that_wants_no_more_ends_the_body_with_its_answer() {
    let closes = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        socket.write_all(answer).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let hangs_up = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(ACCEPTED).await.unwrap();
        socket.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let resets_h1 = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(ACCEPTED).await.unwrap();
        // What it has not read makes this a reset.
        socket.readable().await.unwrap();
    })
    .await;
    let resets_h2 = early_h2(|body, mut answer| async move {
        answer.send_reset(h2::Reason::NO_ERROR);
        drop(body);
    })
    .await;
    for (protocol, server, what) in [
        (Protocol::H1, closes, "connection: close"),
        (Protocol::H1, hangs_up, "hangs up"),
        (Protocol::H1, resets_h1, "resets"),
        (Protocol::H2, resets_h2, "resets"),
    ] {
        let mut running = half_sent(&onward(), &post(protocol, &server)).await;
        // Nothing more is taken, and that is how the session knows that not all was sent.
        tokio::time::timeout(PATIENCE, running.body.closed()).await.expect(what);
        let report = report(&mut running.events).await;
        assert_eq!(report.order, ["Ack"], "{what}");
        assert!(report.is_complete(), "{what}");
    }
}

/// A body of 10 MB for a server that answers by the headers alone and never reads.
#[tokio::test]
async fn a_server_that_answers_and_stops_reading_does_not_hold_the_request_for_ever() {
    for (status, verdict) in [("413 Too Large", "Nack"), ("202 Accepted", "Ack")] {
        let server = Server::scripted(move |_, mut socket| async move {
            read_head(&mut socket).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
            socket.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let config = config_with(|config| config.timeouts.body_idle = Duration::from_millis(100));
        let message = vec![0; 10_000_000];
        let report =
            send(&Onward::new(config), attempt(&post(Protocol::H1, &server)), &message).await;
        assert_eq!(report.order, ["Connected", "Payload", verdict]);
        assert_eq!(report.text(), "no");
    }
}

#[tokio::test]
async fn a_client_that_never_ends_its_message_does_not_hold_an_answered_request_for_ever() {
    let h1 = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(ACCEPTED).await.unwrap();
        read_chunked(&mut socket).await;
    })
    .await;
    let h2 =
        early_h2(|mut body, _answer| async move { while body.data().await.is_some() {} }).await;
    for (protocol, server) in [(Protocol::H1, h1), (Protocol::H2, h2)] {
        let config = config_with(|config| config.timeouts.body_idle = Duration::from_millis(100));
        let mut running = half_sent(&Onward::new(config), &post(protocol, &server)).await;
        assert_eq!(report(&mut running.events).await.order, ["Ack"], "{protocol}");
        running.body.closed().await;
    }
}

/// h2's reset without an error once counted as one, and the answer before it was lost.
#[tokio::test]
async fn a_reset_without_error_takes_nothing_of_the_answer_away() {
    for cut in [false, true] {
        let server = Server::scripted(move |_, socket| async move {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                let mut head = Response::builder();
                if cut {
                    head = head.header("content-length", 5);
                }
                let mut answer = respond.send_response(head.body(()).unwrap(), false).unwrap();
                answer.send_data(Bytes::from_static(b"fine"), !cut).unwrap();
                // What is not on its way yet would be thrown away.
                tokio::spawn(async move { answer.send_reset(h2::Reason::NO_ERROR) });
            }
        })
        .await;
        let report = send(&onward(), attempt(&post(Protocol::H2, &server)), b"data").await;
        if cut {
            assert!(report.loss().contains("1 bytes early"), "{:?}", report.end);
        } else {
            assert_eq!(report.order.last(), Some(&"Ack"), "{:?}", report.end);
            assert_eq!(report.text(), "fine");
        }
    }
}

/// A body that turns out to be another one than announced, after a good answer, is no success.
#[tokio::test]
async fn a_broken_body_after_its_answer_is_a_nack() {
    let (end, ended) = oneshot::channel();
    let end = std::sync::Mutex::new(Some(end));
    let server = Server::scripted(move |_, mut socket| {
        let end = end.lock().unwrap().take();
        async move {
            read_head(&mut socket).await;
            socket.write_all(ACCEPTED).await.unwrap();
            let mut body = Vec::new();
            socket.read_to_end(&mut body).await.unwrap();
            end.unwrap().send(body.len()).unwrap();
        }
    })
    .await;
    let mut attempt = attempt(&post(Protocol::H1, &server));
    attempt.length_hint = Some(1500);
    let mut running = onward().start(attempt);
    running.body.send(chunk(pattern(1000), Flags::SOM)).await.unwrap();
    running.body.send(chunk(pattern(1000), Flags::EOM)).await.unwrap();
    let report = report(&mut running.events).await;
    assert_eq!(report.order.last(), Some(&"Nack"));
    assert!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap() < 1500);
}
