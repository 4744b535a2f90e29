//! Pings of the server: which are answered, in which order, and what they have to wait for.

use bytes::Bytes;
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Client, Seen, Server, pair, stream};
use crate::onward::TxChunk;
use crate::onward::ws::control::PONGS_MAX;

/// A ping with this number, and its answer.
fn ping(number: u32) -> (Vec<u8>, Seen) {
    let payload = format!("ping {number}").into_bytes();
    let mut wire = vec![0x89, payload.len() as u8];
    wire.extend_from_slice(&payload);
    (wire, Seen::Pong(payload))
}

/// So many pings in one piece, and their answers.
fn pings(count: usize) -> (Vec<u8>, Vec<Seen>) {
    let (wires, answers): (Vec<_>, Vec<_>) = (0..count as u32).map(ping).unzip();
    (wires.concat(), answers)
}

/// Only the last one was answered, since answers had one place to wait in.
#[tokio::test]
async fn pings_that_come_together_are_all_answered_in_order() {
    for count in [10, PONGS_MAX] {
        let (_client, mut server) = pair(stream(), None).await;
        let (wire, answers) = pings(count);
        server.raw(&wire).await;
        for answer in answers {
            assert_eq!(server.next().await, answer);
        }
    }
}

#[tokio::test]
async fn pings_are_answered_however_they_are_cut() {
    for size in [1, 3, 7] {
        let (mut client, mut server) = pair(stream(), None).await;
        server.io.set_nodelay(true).unwrap();
        let (wire, answers) = pings(10);
        for piece in wire.chunks(size) {
            server.raw(piece).await;
            tokio::task::yield_now().await;
        }
        for answer in answers {
            assert_eq!(server.next().await, answer, "{size}");
        }
        server.binary(b"still there").await;
        assert_eq!(client.message().await.bytes, b"still there");
    }
}

#[tokio::test]
async fn a_close_behind_pings_is_answered_behind_their_answers() {
    let (mut client, mut server) = pair(stream(), None).await;
    let (mut wire, answers) = pings(10);
    wire.extend_from_slice(b"\x88\x02\x03\xe8");
    server.raw(&wire).await;
    for answer in answers {
        assert_eq!(server.next().await, answer);
    }
    assert_eq!(server.next().await, Seen::Close(Some(1000)));
    assert_eq!(server.next().await, Seen::Eof);
    client.lost().await;
}

/// The message's end comes only when the answers are there: they do not wait for it.
#[tokio::test]
async fn pings_are_answered_within_a_message_that_is_being_sent() {
    let (client, mut server) = pair(stream(), None).await;
    client.send("the beginning, ", Flags::SOM).await;
    let (wire, answers) = pings(10);
    server.raw(&wire).await;
    for answer in answers {
        assert_eq!(server.next().await, answer);
    }
    client.send("and the end", Flags::EOM).await;
    let Seen::Message(_, bytes) = server.next().await else { panic!("no message") };
    assert_eq!(bytes, b"the beginning, and the end");
}

/// The client takes nothing, and so the proxy reads no more of the server.
#[tokio::test]
async fn pings_are_answered_to_a_client_that_does_not_read() {
    const MIB: usize = 1 << 20;
    let (mut client, server) = pair(stream(), None).await;
    let (wire, answers) = pings(10);
    let (mut reader, mut writer) = server.io.into_split();
    let sending = tokio::spawn(async move {
        writer.write_all(&wire).await.unwrap();
        writer.write_all(b"\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00").await.unwrap();
        writer.write_all(&vec![0x5a; MIB]).await.unwrap();
        writer
    });
    for answer in answers {
        let Seen::Pong(payload) = answer else { panic!("no pong") };
        let mut frame = vec![0; 6 + payload.len()];
        reader.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[0], 0x8a, "a pong");
        let (head, masked) = frame.split_at(6);
        let bytes = masked.iter().zip(head[2..].iter().cycle()).map(|(byte, key)| byte ^ key);
        assert_eq!(bytes.collect::<Vec<_>>(), payload);
    }
    assert_eq!(client.message().await.bytes.len(), MIB);
    drop(sending.await.unwrap());
}

/// However many come, what waits to be said is bounded, and is what was asked last.
#[tokio::test]
async fn a_flood_of_pings_is_answered_with_the_latest() {
    const COUNT: u32 = 10_000;
    let (ours, theirs) = tokio::io::duplex(1024);
    let mut client = Client::over(ours, stream());
    let mut server = Server::upgrade(theirs, None).await;
    client.connected().await;
    // The server does not read, so that answers cannot leave after the first few.
    for number in 0..COUNT {
        server.raw(&ping(number).0).await;
    }
    server.binary(b"done").await;
    assert_eq!(client.message().await.bytes, b"done");
    let mut seen = Vec::new();
    while seen.last() != Some(&ping(COUNT - 1).1) {
        seen.push(server.next().await);
    }
    assert!(seen.len() < 1000, "{} answers were kept", seen.len());
    let last: Vec<_> = (COUNT - PONGS_MAX as u32..COUNT).map(|number| ping(number).1).collect();
    assert_eq!(seen[seen.len() - PONGS_MAX..], last);
}

/// The session's payload does not wait for answers that the server does not read, nor they for it.
#[tokio::test]
async fn answers_pass_payload_that_waits() {
    let (ours, theirs) = tokio::io::duplex(64);
    let mut client = Client::over(ours, stream());
    let mut server = Server::upgrade(theirs, None).await;
    client.connected().await;
    let body = client.body.take().unwrap();
    let sending = tokio::spawn(async move {
        for i in 0..100 {
            let flags = if i == 0 { Flags::SOM } else { Flags::NONE };
            body.send(TxChunk::new(Bytes::from(vec![i; 16 * 1024]), flags)).await.unwrap();
        }
        body.send(TxChunk::new(Bytes::new(), Flags::EOM)).await.unwrap();
        body
    });
    let (wire, answers) = pings(10);
    server.raw(&wire).await;
    // The message is not over when the first answer comes.
    for answer in answers {
        assert_eq!(server.next().await, answer);
    }
    let Seen::Message(_, bytes) = server.next().await else { panic!("no message") };
    assert_eq!(bytes.len(), 100 * 16 * 1024);
    drop(sending.await.unwrap());
}
