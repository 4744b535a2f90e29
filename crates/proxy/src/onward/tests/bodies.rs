//! Requests with a body: how it is framed, and what happens when it is not what was announced.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use sspc_policy::{Protocol, StreamType};
use sspc_wire::Flags;
use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::onward::{Attempt, TxChunk};

/// Answers with what it got: the headers that frame the body, and the body.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let header = |name| {
        let value = request.headers().get(name);
        value.map_or("none".to_owned(), |value| value.to_str().unwrap().to_owned())
    };
    let mut text = format!(
        "{} {} {} {}|",
        request.method(),
        header("content-length"),
        header("transfer-encoding"),
        header("content-type"),
    );
    match request.into_body().collect().await {
        Ok(body) => text.push_str(&String::from_utf8_lossy(&body.to_bytes())),
        Err(error) => text.push_str(&error.to_string()),
    }
    Response::new(full(text))
}

fn post(protocol: Protocol, server: &Server) -> StreamType {
    let mut policy = stream(protocol, server.address);
    policy.http.method = "POST".to_owned();
    policy
}

fn hinted(policy: &StreamType, hint: u32) -> Attempt {
    Attempt { length_hint: Some(hint), ..attempt(policy) }
}

#[tokio::test]
async fn the_hint_becomes_content_length_and_without_one_the_body_is_chunked() {
    let server = Server::http(false, echo).await;
    let mut policy = post(Protocol::H1, &server);
    let onward = onward();
    let text = async |attempt| send(&onward, attempt, b"message").await.text().to_owned();
    assert_eq!(text(hinted(&policy, 7)).await, "POST 7 none none|message");
    assert_eq!(text(attempt(&policy)).await, "POST none chunked none|message");
    policy.http.no_content_length = true;
    assert_eq!(text(hinted(&policy, 7)).await, "POST none chunked none|message");
    policy.http.www_form_urlencoded = true;
    policy.http.no_content_length = false;
    policy.http.method = "PATCH".to_owned();
    let form = "PATCH 7 none application/x-www-form-urlencoded|message";
    assert_eq!(text(hinted(&policy, 7)).await, form);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn on_h2_the_body_is_data_and_credit_is_told() {
    let server = Server::http(true, echo).await;
    let policy = post(Protocol::H2, &server);
    let onward = onward();
    let report = send(&onward, hinted(&policy, 7), b"message").await;
    assert_eq!(report.text(), "POST 7 none none|message");
    assert_eq!(report.order, ["TxCredit", "Connected", "Payload", "Ack"]);
    assert!(report.credit > 0);
    let report = send(&onward, attempt(&policy), b"message").await;
    assert_eq!(report.text(), "POST none none none|message");
}

#[tokio::test]
async fn metadata_can_give_the_length_and_with_it_any_method_a_body() {
    let server = Server::http(false, echo).await;
    let mut policy = post(Protocol::H1, &server);
    policy.http.method = "DELETE".to_owned();
    policy.metadata = vec![item("len", "Content-Length:")];
    let mut attempt = attempt(&policy);
    attempt.metadata = vec![("len".to_owned(), Bytes::from_static(b"7"))];
    let report = send(&onward(), attempt, b"message").await;
    assert_eq!(report.text(), "DELETE 7 none none|message");
    let mut attempt = self::attempt(&policy);
    attempt.metadata = vec![("len".to_owned(), Bytes::from_static(b"-7"))];
    assert!(run(&onward(), attempt).await.failure().contains("len"));
}

#[tokio::test]
async fn connected_comes_before_the_response_and_without_a_body() {
    let server = Server::http(false, echo).await;
    let mut running = onward().start(attempt(&post(Protocol::H1, &server)));
    let first = running.events.recv().await;
    assert!(matches!(first, Some(crate::onward::Event::Connected { .. })), "{first:?}");
    send_message(running.body.clone(), Bytes::from_static(b"later")).await;
    let report = report(&mut running.events).await;
    assert_eq!(report.order, ["Payload", "Ack"]);
}

#[tokio::test]
async fn more_or_less_than_announced_is_a_nack_and_spoils_no_connection() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let server = Server::http(protocol == Protocol::H2, echo).await;
        let policy = post(protocol, &server);
        let onward = onward();
        for hint in [6, 8] {
            let report = send(&onward, hinted(&policy, hint), b"message").await;
            assert_eq!(report.order.last(), Some(&"Nack"), "{protocol} {hint}");
            assert!(report.is_complete());
            // The next one is not disturbed by what was left of the last one.
            let report = send(&onward, hinted(&policy, 4), b"next").await;
            assert_eq!(report.text(), "POST 4 none none|next");
        }
        let expected = if protocol == Protocol::H1 { 3 } else { 1 };
        assert_eq!(server.accepted(), expected, "{protocol}");
    }
}

#[tokio::test]
async fn a_session_that_leaves_before_eom_ends_the_attempt() {
    let server = Server::http(false, echo).await;
    let mut running = onward().start(attempt(&post(Protocol::H1, &server)));
    let (other, _) = tokio::sync::mpsc::channel(1);
    let body = std::mem::replace(&mut running.body, other);
    let chunk = TxChunk::new(Bytes::from_static(b"half"), Flags::SOM);
    body.send(chunk).await.unwrap();
    drop(body);
    let report = report(&mut running.events).await;
    assert_eq!(report.order, ["Connected"]);
    assert!(report.loss().contains("client left"));
}

#[tokio::test]
async fn responses_flow_while_the_body_is_sent() {
    // An echo that answers each byte before it gets the next one.
    for protocol in [Protocol::H1, Protocol::H2] {
        let server = Server::http(protocol == Protocol::H2, |request: Request<Incoming>| async {
            Response::new(request.into_body().map_err(|error| panic!("{error}")).boxed())
        })
        .await;
        let mut running = onward().start(attempt(&post(protocol, &server)));
        for i in 0..10_u8 {
            let flags = if i == 9 { Flags::EOM } else { Flags::NONE };
            running.body.send(TxChunk::new(Bytes::from(vec![i]), flags)).await.unwrap();
            loop {
                match running.events.recv().await.unwrap() {
                    crate::onward::Event::Payload { bytes, .. } => {
                        assert_eq!(bytes, vec![i]);
                        break;
                    }
                    crate::onward::Event::Ended(end) => panic!("{end:?}"),
                    _ => {}
                }
            }
        }
        let report = report(&mut running.events).await;
        assert_eq!(report.order.last(), Some(&"Ack"));
    }
}

const BIG: usize = 64 << 20;

async fn download(protocol: Protocol, length: bool) {
    let body = pattern(BIG);
    let sent = body.clone();
    let server = Server::http(protocol == Protocol::H2, move |_| {
        let body = sent.clone();
        async move {
            if length {
                return Response::new(full(body));
            }
            let pieces = body.chunks(100_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
            let frames = pieces.into_iter().map(|piece| Ok(hyper::body::Frame::data(piece)));
            let stream = futures_util::stream::iter(frames);
            Response::new(http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(
                SyncStream(stream),
            )))
        }
    })
    .await;
    let report = run(&onward(), attempt(&stream(protocol, server.address))).await;
    assert!(report.is_complete(), "{:?}", report.end);
    assert!(report.body == body, "the body differs");
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    if length {
        assert_eq!(report.flags.last(), Some(&0x02));
        assert_eq!(report.flags.iter().filter(|flags| **flags != 0).count(), 2);
    }
}

/// Makes a stream shareable for `BoxBody` without sharing it.
struct SyncStream<S>(S);

impl<S: futures_util::Stream + Unpin> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        std::pin::Pin::new(&mut self.0).poll_next(cx)
    }
}

#[tokio::test]
async fn sixty_four_mebibytes_come_through_h1() {
    download(Protocol::H1, true).await;
    download(Protocol::H1, false).await;
}

#[tokio::test]
async fn sixty_four_mebibytes_come_through_h2() {
    download(Protocol::H2, true).await;
    download(Protocol::H2, false).await;
}

async fn upload(protocol: Protocol) {
    let body = pattern(BIG);
    let expected = body.clone();
    let server = Server::http(protocol == Protocol::H2, move |request: Request<Incoming>| {
        let expected = expected.clone();
        async move {
            let announced = request.body().size_hint().exact();
            let got = request.into_body().collect().await.unwrap().to_bytes();
            assert!(announced.is_none_or(|length| length == got.len() as u64));
            Response::new(full(if got == expected { "same" } else { "different" }))
        }
    })
    .await;
    let onward = onward();
    let policy = post(protocol, &server);
    for attempt in [attempt(&policy), hinted(&policy, BIG as u32)] {
        let mut running = onward.start(attempt);
        let sender = running.body.clone();
        let mut body = body.clone();
        tokio::spawn(async move {
            while !body.is_empty() {
                let bytes = body.split_to(body.len().min(16_000));
                let flags = if body.is_empty() { Flags::EOM } else { Flags::NONE };
                sender.send(TxChunk::new(bytes, flags)).await.unwrap();
            }
        });
        let report = report(&mut running.events).await;
        assert_eq!(report.text(), "same");
        if protocol == Protocol::H2 {
            assert!(report.credit >= BIG as i64, "{}", report.credit);
        }
    }
}

#[tokio::test]
async fn sixty_four_mebibytes_go_through_h1() {
    upload(Protocol::H1).await;
}

#[tokio::test]
async fn sixty_four_mebibytes_go_through_h2() {
    upload(Protocol::H2).await;
}

#[tokio::test]
async fn messages_of_a_rideshare_chain_become_one_form() {
    let server = Server::http(false, echo).await;
    let mut first = post(Protocol::H1, &server);
    first.http.multipart_name = Some("a".to_owned());
    let mut second = first.clone();
    second.http.multipart_name = Some("b".to_owned());
    second.http.multipart_filename = Some("f".to_owned());
    for hint in [None, Some(3)] {
        let mut attempt = attempt(&first);
        attempt.chain = vec![Arc::new(first.clone()), Arc::new(second.clone())];
        attempt.length_hint = hint;
        let mut running = onward().start(attempt);
        for text in ["1", "22"] {
            let bytes = Bytes::from_static(text.as_bytes());
            running.body.send(TxChunk::new(bytes, Flags::WHOLE)).await.unwrap();
        }
        let report = report(&mut running.events).await;
        let text = report.text();
        let boundary = text.split('"').nth(1).unwrap();
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"b\"; filename=\"f\"\r\n\r\n22\
             \r\n--{boundary}--\r\n"
        );
        let length = hint.map_or("none".to_owned(), |_| body.len().to_string());
        let chunked = if hint.is_some() { "none" } else { "chunked" };
        let kind = format!("multipart/form-data; boundary=\"{boundary}\"");
        assert_eq!(text, format!("POST {length} {chunked} {kind}|{body}"));
    }
}

#[tokio::test]
async fn incoming_forms_become_messages() {
    let body = "--x\r\nA: 1\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n";
    let server = Server::http(false, move |_| async move {
        let response =
            Response::builder().header("content-type", "multipart/form-data; boundary=x");
        response.body(full(body)).unwrap()
    })
    .await;
    let mut policy = stream(Protocol::H1, server.address);
    let report = run(&onward(), attempt(&policy)).await;
    assert_eq!((report.text(), &*report.flags), (body, &[0x03][..]));
    policy.http.multipart_ss_in = true;
    let report = run(&onward(), attempt(&policy)).await;
    assert_eq!(report.text(), "A: 1\r\n\r\none\r\ntwo");
    assert_eq!(report.flags, [0x08, 0x03, 0x13]);
    assert_eq!(report.order.last(), Some(&"Ack"));
}

/// Without its last boundary a form may lack anything: once it was a success all the same.
#[tokio::test]
async fn an_incoming_form_without_its_last_boundary_is_cut_short() {
    for (body, text, flags) in [
        ("--x\r\n\r\none\r\n--x\r\n\r\ntw", "\r\none\r\ntw", &[0x08, 0x03, 0x01][..]),
        ("--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x", "\r\none\r\ntwo", &[0x08, 0x03, 0x01]),
        ("no form at all", "", &[0x08]),
    ] {
        for chunked in [false, true] {
            let server = Server::scripted(move |_, mut socket| async move {
                read_head(&mut socket).await;
                let kind = "Content-Type: multipart/form-data; boundary=x";
                let length = body.len();
                let answer = match chunked {
                    false => format!("Content-Length: {length}\r\n{kind}\r\n\r\n{body}"),
                    true => format!(
                        "Transfer-Encoding: chunked\r\n{kind}\r\n\r\n\
                         {length:x}\r\n{body}\r\n0\r\n\r\n"
                    ),
                };
                let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            })
            .await;
            let mut policy = stream(Protocol::H1, server.address);
            policy.http.multipart_ss_in = true;
            let report = run(&onward(), attempt(&policy)).await;
            assert_eq!(report.order, ["Connected", "Payload"], "{body}");
            assert_eq!((report.text(), &*report.flags), (text, flags), "{body}");
            assert!(report.loss().contains("boundary"), "{:?}", report.end);
        }
    }
}
