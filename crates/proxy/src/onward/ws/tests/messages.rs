//! Messages, both ways.

use bytes::Bytes;
use sspc_wire::Flags;
use sspc_ws::{DeflateParams, MessageKind, WindowBits};

use super::support::{Message, Seen, pair, stream};
use crate::onward::PAYLOAD_EVENT_MAX;
use crate::onward::ws::BUFFER_MAX;

fn binary(bytes: &[u8]) -> Seen {
    Seen::Message(MessageKind::Binary, bytes.to_vec())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

#[tokio::test]
async fn the_policy_chooses_between_text_and_binary() {
    for (is_binary, kind) in [(true, MessageKind::Binary), (false, MessageKind::Text)] {
        let mut policy = stream();
        policy.ws.binary = is_binary;
        let (client, mut server) = pair(policy, None).await;
        client.send("hello", Flags::WHOLE).await;
        assert_eq!(server.next().await, Seen::Message(kind, b"hello".to_vec()));
    }
}

#[tokio::test]
async fn a_clients_pieces_make_one_message() {
    let (client, mut server) = pair(stream(), None).await;
    client.send("a", Flags::SOM).await;
    client.send("b", Flags::NONE).await;
    client.send("", Flags::NONE).await;
    client.send("c", Flags::EOM).await;
    client.send("", Flags::WHOLE).await;
    client.send("d", Flags::SOM).await;
    client.send("", Flags::EOM).await;
    assert_eq!(server.next().await, binary(b"abc"));
    assert_eq!(server.next().await, binary(b""), "an empty message is a message");
    assert_eq!(server.next().await, binary(b"d"));
}

#[tokio::test]
async fn flags_that_make_no_sense_never_break_the_connection() {
    let (client, mut server) = pair(stream(), None).await;
    client.send("the end of", Flags::NONE).await;
    client.send(" what?", Flags::EOM).await;
    client.send("a", Flags::SOM).await;
    client.send("b", Flags::SOM).await;
    client.send("c", Flags::WHOLE).await;
    client.send("next", Flags::WHOLE).await;
    assert_eq!(server.next().await, binary(b"abc"));
    assert_eq!(server.next().await, binary(b"next"));
}

#[tokio::test]
async fn chunks_of_every_size_arrive_whole() {
    let (client, mut server) = pair(stream(), None).await;
    for len in [1, 125, 126, BUFFER_MAX - 1, BUFFER_MAX, BUFFER_MAX + 1, 65_519] {
        let bytes = pattern(len);
        client.send(bytes.clone(), Flags::WHOLE).await;
        assert_eq!(server.next().await, binary(&bytes), "{len}");
    }
}

#[tokio::test]
async fn fragments_with_pings_between_them_stay_one_message() {
    let (mut client, mut server) = pair(stream(), None).await;
    server.frame(MessageKind::Text, b"Hel", false).await;
    server.raw(b"\x89\x04ping").await;
    assert_eq!(client.payload().await, (Bytes::from("Hel"), Flags::SOM));
    assert_eq!(server.next().await, Seen::Pong(b"ping".to_vec()));
    server.raw(b"\x00\x00").await;
    server.frame(MessageKind::Text, b"lo", true).await;
    assert_eq!(client.payload().await, (Bytes::from("lo"), Flags::EOM));
    server.raw(b"\x8a\x00").await;
    server.binary(b"").await;
    assert_eq!(client.payload().await, (Bytes::new(), Flags::WHOLE));
}

/// Some clients lose data after an empty payload.
#[tokio::test]
async fn the_end_of_a_message_rides_on_its_last_bytes() {
    let (mut client, mut server) = pair(stream(), None).await;
    server.raw(b"\x02\x03abc\x80\x00\x82\x01d").await;
    assert_eq!(client.payload().await, (Bytes::from("abc"), Flags::WHOLE));
    assert_eq!(client.payload().await, (Bytes::from("d"), Flags::WHOLE));

    let deflate = Some(DeflateParams::default());
    let (mut client, mut server) = pair(stream(), deflate).await;
    for len in [BUFFER_MAX, 2 * BUFFER_MAX] {
        // As much as fills the buffer that is inflated into.
        server.binary(&vec![b'x'; len]).await;
        let message = client.message().await;
        assert_eq!((message.bytes.len(), message.empty), (len, 0));
    }
}

#[tokio::test]
async fn a_frame_is_handed_on_as_it_comes() {
    let (mut client, mut server) = pair(stream(), None).await;
    // A frame of 2^40 bytes, of which eleven come.
    server.raw(b"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00hello").await;
    assert_eq!(client.payload().await, (Bytes::from("hello"), Flags::SOM));
    server.raw(b" world").await;
    assert_eq!(client.payload().await, (Bytes::from(" world"), Flags::NONE));
}

#[tokio::test]
async fn payloads_keep_to_their_limit() {
    let (mut client, mut server) = pair(stream(), None).await;
    let bytes = pattern(1 << 20);
    let sent = bytes.clone();
    let sending = tokio::spawn(async move { server.binary(&sent).await });
    let mut received = Vec::new();
    loop {
        let (bytes, flags) = client.payload().await;
        assert!(bytes.len() <= PAYLOAD_EVENT_MAX);
        received.extend_from_slice(&bytes);
        if flags.contains(Flags::EOM) {
            break;
        }
    }
    assert!(received == bytes);
    sending.await.unwrap();
}

#[tokio::test]
async fn compressed_messages_pass_with_all_terms() {
    let window = |bits| WindowBits::new(bits).unwrap();
    for params in [
        DeflateParams::default(),
        DeflateParams { server_no_context_takeover: true, ..DeflateParams::default() },
        DeflateParams {
            server_max_window_bits: window(9),
            client_max_window_bits: window(9),
            ..DeflateParams::default()
        },
    ] {
        let (mut client, mut server) = pair(stream(), Some(params)).await;
        for len in [0, 1, 1000, 40_000] {
            let bytes = pattern(len);
            client.send(bytes.clone(), Flags::WHOLE).await;
            assert_eq!(server.next().await, binary(&bytes), "{len}, {params:?}");
            server.binary(&bytes).await;
            let Message { bytes: received, .. } = client.message().await;
            assert!(received == bytes, "{len}, {params:?}");
        }
        client.send("in ", Flags::SOM).await;
        client.send("pieces", Flags::EOM).await;
        assert_eq!(server.next().await, binary(b"in pieces"), "{params:?}");
    }
}

#[tokio::test]
async fn a_server_may_leave_messages_uncompressed_in_spite_of_deflate() {
    let (mut client, mut server) = pair(stream(), Some(DeflateParams::default())).await;
    server.raw(b"\x82\x05plain").await;
    server.binary(b"squeezed").await;
    assert_eq!(client.message().await.bytes, b"plain");
    assert_eq!(client.message().await.bytes, b"squeezed");
}
