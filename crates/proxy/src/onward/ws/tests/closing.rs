//! The ways a connection ends.

use std::time::Duration;

use bytes::Bytes;
use sspc_wire::Flags;
use sspc_ws::{DeflateParams, MessageKind};
use tokio::io::AsyncWriteExt;

use super::support::{BUFLEN, Client, Seen, Server, account, pair, stream};
use crate::onward::CLOSE_WAIT;
use crate::onward::attempt::queue;

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    for (wire, code, why) in [
        (b"\x88\x02\x03\xe8".as_slice(), Some(1000), "code 1000"),
        (b"\x88\x06\x03\xe9late", Some(1001), "code 1001: late"),
        (b"\x88\x02\x0f\xa1", Some(4001), "code 4001"),
        (b"\x88\x00", None, "without a code"),
    ] {
        let (mut client, mut server) = pair(stream(), None).await;
        server.binary(b"last words").await;
        server.raw(wire).await;
        assert_eq!(server.next().await, Seen::Close(code));
        assert_eq!(server.next().await, Seen::Eof);
        assert_eq!(client.payload().await, (Bytes::from("last words"), Flags::WHOLE));
        let lost = client.lost().await;
        assert!(lost.contains(why), "{lost} does not tell {why}");
        assert!(client.body.as_ref().unwrap().is_closed(), "nothing more is taken");
    }
}

#[tokio::test]
async fn what_the_peer_says_cannot_forge_log_lines() {
    let (mut client, mut server) = pair(stream(), None).await;
    server.raw(b"\x88\x05\x03\xe8a\nb").await;
    assert!(client.lost().await.ends_with(r"a\nb"));
}

#[tokio::test]
async fn each_violation_is_answered_with_its_code() {
    let deflate = Some(DeflateParams::default());
    for (params, wire, code) in [
        (None, b"\x83\x00".as_slice(), 1002),
        (None, b"\x82\x85\x00\x00\x00\x00hello", 1002),
        (None, b"\xc2\x01\x00", 1002),
        (None, b"\x80\x00", 1002),
        (None, b"\x09\x00", 1002),
        (None, b"\x89\x7e\x00\x7e", 1002),
        (None, b"\x88\x02\x03\xed", 1002),
        (None, b"\x81\x02\xc3\x28", 1007),
        (deflate, b"\xc2\x02\xff\xff", 1007),
    ] {
        let (mut client, mut server) = pair(stream(), params).await;
        server.binary(b"good").await;
        // Whatever follows must not turn the close into a reset.
        server.raw(wire).await;
        server.raw(&[0x55; 4096]).await;
        assert_eq!(server.next().await, Seen::Close(Some(code)), "{wire:x?}");
        drop(server);
        assert_eq!(client.payload().await, (Bytes::from("good"), Flags::WHOLE));
        let lost = client.lost().await;
        assert!(lost.contains(&format!("closed with code {code}")), "{lost}");
    }
}

#[tokio::test]
async fn data_before_a_fault_in_the_same_read_is_handed_on() {
    let (mut client, mut server) = pair(stream(), None).await;
    server.raw(b"\x02\x02ok\x83\x00").await;
    assert_eq!(client.payload().await, (Bytes::from("ok"), Flags::SOM));
    drop(server);
    assert!(client.lost().await.contains("reserved opcode"));
}

#[tokio::test]
async fn the_end_of_the_transport_is_the_end() {
    // Half closed: the server could still read, but will never say anything again.
    let (mut client, mut server) = pair(stream(), None).await;
    server.io.shutdown().await.unwrap();
    assert!(client.lost().await.contains("without a close frame"));

    let (mut client, mut server) = pair(stream(), None).await;
    server.frame(MessageKind::Binary, b"half a mess", false).await;
    assert_eq!(client.payload().await, (Bytes::from("half a mess"), Flags::SOM));
    drop(server);
    assert!(client.lost().await.contains("without a close frame"));
}

#[tokio::test]
async fn a_reset_is_the_end() {
    let (mut client, server) = pair(stream(), None).await;
    client.send("unread", Flags::WHOLE).await;
    assert_eq!(server.io.peek(&mut [0; 1]).await.unwrap(), 1);
    // Closed with bytes unread: the kernel sends a reset.
    drop(server);
    let lost = client.lost().await;
    assert!(lost.contains("reset"), "{lost}");
}

#[tokio::test]
async fn last_words_are_heard_though_nothing_can_be_sent() {
    let (mut client, mut server) = pair(stream(), None).await;
    server.binary(&[7; 1000]).await;
    server.raw(b"\x88\x02\x03\xe8").await;
    server.io.shutdown().await.unwrap();
    assert_eq!(client.message().await.bytes.len(), 1000);
    assert!(client.lost().await.contains("code 1000"));
}

#[tokio::test]
async fn the_end_of_the_body_makes_the_closing_handshake() {
    let (mut client, mut server) = pair(stream(), None).await;
    client.send("bye", Flags::WHOLE).await;
    client.body = None;
    assert_eq!(server.next().await, Seen::Message(MessageKind::Binary, b"bye".to_vec()));
    assert_eq!(server.next().await, Seen::Close(Some(1001)), "going away");
    // What the server had on its way is not lost.
    server.binary(b"you too").await;
    assert_eq!(client.message().await.bytes, b"you too");
    server.raw(b"\x88\x02\x03\xe9").await;
    assert_eq!(server.next().await, Seen::Eof);
    assert!(client.lost().await.contains("code 1001"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_close_is_not_waited_for() {
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client::over(ours, stream());
    let mut server = Server::upgrade(theirs, None).await;
    client.connected().await;
    client.body = None;
    assert_eq!(server.next().await, Seen::Close(Some(1001)), "going away");
    let closed = tokio::time::Instant::now();
    assert!(client.lost().await.contains("silent"));
    assert_eq!(closed.elapsed(), CLOSE_WAIT);
}

#[tokio::test]
async fn a_stream_that_is_dropped_says_goodbye() {
    let (client, mut server) = pair(stream(), None).await;
    client.send("half a mess", Flags::SOM).await;
    let mut start = [0; 6 + 11];
    tokio::io::AsyncReadExt::read_exact(&mut server.io, &mut start).await.unwrap();
    drop(client);
    let mut close = [0; 8];
    tokio::io::AsyncReadExt::read_exact(&mut server.io, &mut close).await.unwrap();
    assert_eq!(close[..2], [0x88, 0x82]);
    assert_eq!(server.next().await, Seen::Eof);
}

#[tokio::test]
async fn a_session_that_does_not_listen_ends_the_attempt() {
    let (mut client, mut server) = pair(stream(), None).await;
    client.events = queue::queue(BUFLEN, account()).1;
    server.binary(b"anybody there?").await;
    assert_eq!(server.next().await, Seen::Close(Some(1000)));
    assert_eq!(server.next().await, Seen::Eof);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_cannot_be_answered_does_not_hold_the_end_up() {
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client::over(ours, stream());
    let mut server = Server::upgrade(theirs, None).await;
    client.connected().await;
    // More than the transport takes: the rest of the frame will never be sent.
    client.send(vec![0; 20_000], Flags::WHOLE).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    server.raw(b"\x88\x02\x03\xe8").await;
    let closed = tokio::time::Instant::now();
    assert!(client.lost().await.contains("code 1000"));
    assert!(closed.elapsed() <= CLOSE_WAIT);
}
