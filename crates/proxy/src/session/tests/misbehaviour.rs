//! What clients do wrong, and what becomes of them.

use super::super::*;
use super::support::*;
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, Timeout, ToProxy};
use std::time::Duration;
use tokio::time::Instant;

/// All that a client sees that sends `bytes` and then waits, and how many protocol errors it was.
async fn seen_after(bytes: &[u8]) -> (Vec<String>, u64) {
    let mut rig = Rig::new();
    rig.client.send_bytes(bytes).await;
    let seen = rig.client.rest().await;
    drop(rig.client);
    rig.task.await.unwrap();
    (seen, rig.counts.snapshot().protocol_errors)
}

const CREATED: [&str; 2] = ["CREATE 0 0 ,get", "CREATING"];

/// After a legal beginning, `bytes` end the link, by the client's fault.
async fn assert_fatal(bytes: &[u8]) {
    let (seen, errors) = seen_after(&[&streamtype("get"), bytes].concat()).await;
    assert_eq!(seen, CREATED, "{bytes:x?}");
    assert_eq!(errors, 1, "{bytes:x?}");
}

/// After a legal beginning, `bytes` do nothing.
async fn assert_harmless(bytes: &[u8]) {
    let mut rig = Rig::new();
    rig.open("get").await;
    rig.client.send_bytes(bytes).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    rig.client.expect(&["CONNECTING"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_without_streamtype_ends_after_3_s() {
    let begun = Instant::now();
    assert_eq!(seen_after(&[]).await, (vec![], 1));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn half_a_streamtype_is_none() {
    let bytes = streamtype("get");
    assert_eq!(seen_after(&bytes[..bytes.len() - 1]).await, (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn another_protocol_version_is_not_answered() {
    let mut bytes = streamtype("get");
    bytes[3] = 2;
    assert_eq!(seen_after(&bytes).await, (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn a_streamtype_that_cannot_be_served_is_refused_and_the_link_closed() {
    for name in ["nonesuch", "server", "sink", "GET"] {
        let mut rig = Rig::new();
        rig.client.send_bytes(&streamtype(name)).await;
        assert_eq!(rig.client.rest().await, ["CREATE 1 0 "], "{name}");
        let counters = rig.counts.snapshot();
        assert_eq!((counters.refused, counters.protocol_errors), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_empty_or_too_long_ends_the_link() {
    let mut empty = streamtype("x");
    empty.pop();
    empty[2] -= 1;
    assert_eq!(seen_after(&empty).await, (vec![], 1));
    for length in [32, 33, 200] {
        let mut long = streamtype("x");
        long.extend(vec![b'x'; length - 1]);
        long[2] += length as u8 - 1;
        assert_eq!(seen_after(&long).await, (vec![], 1), "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_streamtype_ends_the_link() {
    assert_fatal(&streamtype("get")).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_payload_and_commands_before_streamtype_end_the_link() {
    for early in [
        encoded(ToProxy::OnwardConnect),
        encoded(ToProxy::Destroying),
        payload(b"x", Flags::WHOLE),
        b"\xae\0\x03\x01qx".to_vec(),
    ] {
        assert_eq!(seen_after(&[early, streamtype("get")].concat()).await, (vec![], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn credit_timeout_and_hint_before_streamtype_are_ignored() {
    let mut rig = Rig::new();
    rig.client.send(ToProxy::TxCredit(5)).await;
    rig.client.send(ToProxy::Timeout(Timeout::Millis(1))).await;
    rig.client.send(ToProxy::LengthHint(5)).await;
    rig.open("get").await;
    rig.client.expect_silence().await;
    rig.client.send(ToProxy::OnwardConnect).await;
    assert_eq!(rig.attempt().await.attempt.length_hint, None);
}

#[tokio::test(start_paused = true)]
async fn what_comes_along_with_streamtype_is_not_too_early() {
    let mut rig = Rig::new();
    let early = [
        streamtype("post"),
        b"\xae\0\x03\x01qx".to_vec(),
        encoded(ToProxy::OnwardConnect),
        payload(b"early", Flags::WHOLE),
    ];
    rig.client.send_bytes(&early.concat()).await;
    rig.client.expect(&["CREATE 0 0 ,post", "CREATING", "CONNECTING"]).await;
    let mut started = rig.attempt().await;
    assert_eq!(started.attempt.metadata, [("q".to_owned(), Bytes::from_static(b"x"))]);
    started.say_connected().await;
    assert_eq!(started.chunk().await, "SOM|EOM early");
}

#[tokio::test(start_paused = true)]
async fn unknown_and_misdirected_frames_end_the_link() {
    for frame in [0x00, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5c, 0xb2, 0xb3, 0xf0, 0xff] {
        assert_fatal(&[frame, 0, 4, 0, 0, 0, 0]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn perf_is_swallowed_but_not_an_empty_one() {
    assert_harmless(b"\x5b\0\x02{}").await;
    assert_fatal(b"\x5b\0\0").await;
}

#[tokio::test(start_paused = true)]
async fn frames_of_the_wrong_length_end_the_link() {
    for frame in [0xab, 0xac] {
        assert_fatal(&[frame, 0, 1, 0]).await;
    }
    for frame in [0xaf, 0xb0, 0xb1] {
        for length in [0, 3, 5] {
            assert_fatal(&[&[frame, 0, length][..], &vec![0; length.into()]].concat()).await;
        }
    }
    for length in 0..16 {
        assert_fatal(&[&[0xad, 0, length][..], &vec![0; length.into()]].concat()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rideshare_name_on_payload_is_ignored_and_bounded() {
    let mut rig = Rig::new();
    let mut started = rig.connected("post").await;
    let mut framed = b"\xad\0\x15\0\0\0\x23".to_vec();
    framed.extend([0; 12]);
    framed.extend(b"\x01rabc");
    rig.client.send_bytes(&framed[..]).await;
    // 16 fixed, 1 + 1 of name, 3 of payload.
    assert_eq!(started.chunk().await, "SOM|EOM abc");

    let mut framed = b"\xad\0\x60\0\0\0\x23".to_vec();
    framed.extend([0; 12]);
    framed.push(79);
    framed.extend([b'n'; 79]);
    assert_fatal(&framed).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_that_the_policy_does_not_declare_ends_the_link() {
    assert_fatal(b"\xae\0\x06\x04nopev").await;
    assert_fatal(b"\xae\0\x04\x02\xff\xfev").await;
}

#[tokio::test(start_paused = true)]
async fn metadata_without_name_or_value_or_with_a_long_name_ends_the_link() {
    assert_fatal(b"\xae\0\0").await;
    assert_fatal(b"\xae\0\x02\0v").await;
    assert_fatal(b"\xae\0\x02\x01q").await;
    for length in [31u8, 32, 33] {
        let mut long = vec![0xae, 0, length + 2, length];
        long.extend(vec![b'n'; length.into()]);
        long.push(b'v');
        assert_fatal(&long).await;
    }
}

#[tokio::test(start_paused = true)]
async fn destroying_ends_the_link_without_a_word_and_is_no_error() {
    let bytes = [streamtype("get"), encoded(ToProxy::Destroying)].concat();
    let (seen, errors) = seen_after(&bytes).await;
    assert!(seen.is_empty() || seen == CREATED);
    assert_eq!(errors, 0);
}

#[tokio::test(start_paused = true)]
async fn destroying_ends_the_attempt() {
    let mut rig = Rig::new();
    let started = rig.connected("ws").await;
    rig.client.send(ToProxy::Destroying).await;
    started.ended().await;
}

#[tokio::test(start_paused = true)]
async fn flags_that_nobody_knows_are_dropped() {
    let mut rig = Rig::new();
    let mut started = rig.connected("post").await;
    let flags = Flags::from_bits(0xffff_ff40) | Flags::WHOLE;
    rig.client.payload("x", flags).await;
    assert_eq!(started.chunk().await, "SOM|EOM x");
}

/// Cut at every byte or all at once: the same.
#[tokio::test(start_paused = true)]
async fn a_stream_byte_by_byte_is_as_good_as_at_once() {
    let bytes = [
        streamtype("post"),
        b"\xae\0\x06\x01qword".to_vec(),
        encoded(ToProxy::LengthHint(12)),
        payload(b"hello ", Flags::SOM),
        payload(b"world.", Flags::EOM),
    ]
    .concat();
    for size in [1, 2, 3, 7, bytes.len()] {
        let mut rig = Rig::new();
        let send = async {
            for piece in bytes.chunks(size) {
                rig.client.link.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        send.await;
        let mut started = rig.attempts.recv().await.unwrap();
        assert_eq!(started.attempt.length_hint, Some(12));
        assert_eq!(started.attempt.metadata, [("q".to_owned(), Bytes::from_static(b"word"))]);
        started.say_connected().await;
        let (mut text, mut flags) = (Vec::new(), Vec::new());
        while text.len() < 12 {
            let chunk = started.body.recv().await.unwrap();
            text.extend_from_slice(&chunk.bytes);
            flags.push(chunk.flags);
        }
        assert_eq!(text, b"hello world.");
        assert_eq!(flags.first().map(|flags| flags.contains(Flags::SOM)), Some(true));
        assert_eq!(flags.last().map(|flags| flags.contains(Flags::EOM)), Some(true));
        let all = flags.into_iter().fold(Flags::NONE, |all, flags| {
            assert_eq!(all & flags, Flags::NONE, "each once");
            all | flags
        });
        assert_eq!(all, Flags::WHOLE);
        rig.client.expect(&["CREATE 0 0 ,post", "CREATING", "POLL", "CONNECTING"]).await;
    }
}

/// A frame of the greatest length is metadata like any other.
#[tokio::test(start_paused = true)]
async fn the_longest_metadata_is_stored_whole() {
    let mut rig = Rig::new();
    rig.open("get").await;
    let value = "v".repeat(usize::from(u16::MAX) - 2);
    rig.client.metadata("q", &value).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    assert_eq!(started.attempt.metadata[0].1.len(), value.len());
    assert_eq!(CREDIT_UNLIMITED, 500_000_000);
}
