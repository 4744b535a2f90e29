//! What a client sees of a stream's life.

use std::time::Duration;

use super::super::*;
use super::support::*;
use crate::onward::{End, FailureKind};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, Timeout, ToProxy};
use tokio::time::Instant;

fn failed() -> Event {
    Event::failed(FailureKind::Connect)
}

fn lost() -> Event {
    Event::failed(FailureKind::Closed)
}

#[tokio::test(start_paused = true)]
async fn a_get_from_creation_to_the_next_get() {
    let mut rig = Rig::new();
    rig.open("get").await;
    for _ in 0..2 {
        rig.client.send(ToProxy::OnwardConnect).await;
        let started = rig.attempt().await;
        let items = vec![
            ("srv".to_owned(), Bytes::from_static(b"nginx")),
            ("q".to_owned(), Bytes::from_static(b"2")),
        ];
        started.event(Event::Perf("{\"peer\":\"::1\"}".to_owned())).await;
        started.event(Event::Metadata(items)).await;
        started.event(Event::UserState(1530)).await;
        started.event(Event::TxCredit(65_535)).await;
        started.say_connected().await;
        started.payload("hel", Flags::SOM).await;
        started.payload("lo", Flags::EOM).await;
        started.event(Event::acked()).await;
        started.event(Event::Ended(End::Complete)).await;
        rig.client
            .expect(&[
                "CONNECTING",
                "PERF {\"peer\":\"::1\"}",
                "MD srv=nginx",
                "MD q=2",
                "USER(1530)",
                "TXCR 65535",
                "CONNECTED",
                "RX SOM|EOM hello",
                "QOS_ACK_REMOTE",
                "DISCONNECTED",
            ])
            .await;
        started.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn creation_tells_the_advised_buffer_and_the_rideshare_chain() {
    let mut rig = Rig::new();
    rig.client.streamtype("small", 1, CREDIT_UNLIMITED).await;
    rig.client.expect(&["CREATE 0 777 ,small", "CREATING"]).await;
    let mut rig = Rig::new();
    rig.client.streamtype("ride1", 1, CREDIT_UNLIMITED).await;
    rig.client.expect(&["CREATE 0 0 ,ride1,ride2", "CREATING"]).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let chain = rig.attempt().await.attempt.chain;
    let names: Vec<&str> = chain.iter().map(|streamtype| streamtype.name.as_str()).collect();
    assert_eq!(names, ["ride1", "ride2"]);
}

#[tokio::test(start_paused = true)]
async fn a_nailed_up_stream_connects_unasked() {
    let mut rig = Rig::new();
    rig.open("nailed").await;
    rig.client.expect(&["CONNECTING"]).await;
    rig.attempt().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_retries_after_the_policys_delays() {
    let mut rig = Rig::new();
    rig.open("retry").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    rig.client.expect(&["CONNECTING"]).await;
    for millis in [100..=121, 200..=241, 300..=361] {
        rig.attempt().await.event(failed()).await;
        rig.client.expect(&["UNREACHABLE"]).await;
        let begun = Instant::now();
        rig.client.expect(&["POLL", "CONNECTING"]).await;
        let waited = begun.elapsed().as_millis();
        assert!(millis.contains(&waited), "{waited} ms, not {millis:?}");
    }
    rig.attempt().await.event(failed()).await;
    rig.client.expect(&["UNREACHABLE", "ALL_RETRIES_FAILED"]).await;
    rig.client.expect_silence().await;
    rig.client.payload("once more", Flags::WHOLE).await;
    rig.client.expect(&["CONNECTING"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_timeout_comes_on_time_and_leaves_the_connection_alone() {
    let mut rig = Rig::new();
    let started = rig.connected("ws").await;
    let begun = Instant::now();
    rig.client.send(ToProxy::Timeout(Timeout::Millis(250))).await;
    rig.client.expect(&["TIMEOUT"]).await;
    assert!((250..=252).contains(&begun.elapsed().as_millis()));
    started.payload("still here", Flags::WHOLE).await;
    rig.client.expect(&["RX SOM|EOM still here"]).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_lasts_and_the_last_value_counts() {
    let mut rig = Rig::new();
    rig.open("get").await;
    rig.client.metadata("q", "one").await;
    rig.client.metadata("srv", "s").await;
    rig.client.metadata("q", "two").await;
    for _ in 0..2 {
        rig.client.send(ToProxy::OnwardConnect).await;
        let started = rig.attempt().await;
        let expected = [
            ("q".to_owned(), Bytes::from_static(b"two")),
            ("srv".to_owned(), Bytes::from_static(b"s")),
        ];
        assert_eq!(started.attempt.metadata, expected);
        started.say_connected().await;
        started.event(Event::acked()).await;
        started.event(Event::Ended(End::Complete)).await;
        rig.client.expect(&["CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn payload_keeps_its_order_and_flags() {
    let mut rig = Rig::new();
    let mut started = rig.connected("post").await;
    rig.client.payload("a", Flags::SOM).await;
    rig.client.payload("", Flags::NONE).await;
    rig.client.payload("b", Flags::NONE).await;
    rig.client.payload("", Flags::EOM).await;
    assert_eq!(started.chunk().await, "SOM|EOM ab");

    rig.client.payload("a", Flags::SOM).await;
    assert_eq!(started.chunk().await, "SOM a");
    rig.client.payload("b", Flags::NONE).await;
    assert_eq!(started.chunk().await, "0 b");
    rig.client.payload("", Flags::EOM).await;
    assert_eq!(started.chunk().await, "EOM ");
}

#[tokio::test(start_paused = true)]
async fn payload_on_an_idle_stream_connects_and_goes_once_connected() {
    let mut rig = Rig::new();
    rig.open("ws").await;
    rig.client.payload("hello", Flags::WHOLE).await;
    rig.client.expect(&["POLL", "CONNECTING"]).await;
    let mut started = rig.attempt().await;
    rig.client.expect_silence().await;
    assert!(started.body.try_recv().is_err(), "not before CONNECTED");
    started.say_connected().await;
    assert_eq!(started.chunk().await, "SOM|EOM hello");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_connection_leaves_over_is_not_sent_on_the_next() {
    let mut rig = Rig::new();
    let mut started = rig.connected("retry").await;
    rig.client.payload("part one, ", Flags::SOM).await;
    assert_eq!(started.chunk().await, "SOM part one, ");
    started.event(lost()).await;
    rig.client.expect(&["DISCONNECTED"]).await;
    rig.client.payload("part two", Flags::EOM).await;
    rig.client.payload("new", Flags::WHOLE).await;
    rig.client.expect(&["POLL", "CONNECTING"]).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    assert_eq!(started.chunk().await, "SOM|EOM new");
}

/// The client of a lost POST that had not begun to send sends as soon as the proxy has connected
/// again by itself; that was thrown away as if it came too late for the lost one.
#[tokio::test(start_paused = true)]
async fn a_message_that_had_not_begun_goes_to_the_proxys_own_retry() {
    let mut rig = Rig::new();
    rig.connected("post-retry").await.event(lost()).await;
    rig.client.expect(&["DISCONNECTED", "POLL", "CONNECTING"]).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["CONNECTED"]).await;
    rig.client.payload("the body", Flags::WHOLE).await;
    assert_eq!(started.chunk().await, "SOM|EOM the body");
}

/// A client that has not yet heard that its connection is gone begins a message, then sends it once
/// more: the two went to the peer as one.
#[tokio::test(start_paused = true)]
async fn a_message_begun_for_a_lost_connection_does_not_run_into_the_next() {
    let mut rig = Rig::new();
    rig.connected("ws").await.event(lost()).await;
    rig.client.expect(&["DISCONNECTED"]).await;
    rig.client.payload("hel", Flags::SOM).await;
    rig.client.expect(&["POLL", "CONNECTING"]).await;
    let mut started = rig.attempt().await;
    rig.client.payload("hello", Flags::WHOLE).await;
    rig.client.expect_silence().await;
    started.say_connected().await;
    assert_eq!(started.chunk().await, "SOM|EOM hello");

    started.event(lost()).await;
    rig.client.expect(&["CONNECTED", "DISCONNECTED"]).await;
    rig.client.payload("hel", Flags::SOM).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    assert_eq!(started.chunk().await, "SOM hel");
    rig.client.expect(&["POLL", "CONNECTING", "CONNECTED"]).await;
    rig.client.payload("hello", Flags::WHOLE).await;
    rig.client.expect(&["DISCONNECTED"]).await;
    started.ended().await;
    assert!(started.body.recv().await.is_none(), "the peer sees that it is cut");
}

#[tokio::test(start_paused = true)]
async fn payload_for_a_method_without_a_body_is_discarded() {
    let mut rig = Rig::new();
    rig.open("get").await;
    rig.client.payload("who reads this?", Flags::WHOLE).await;
    let mut started = rig.attempt().await;
    started.body.close();
    started.say_connected().await;
    started.event(Event::acked()).await;
    started.event(Event::Ended(End::Complete)).await;
    let whole = ["POLL", "CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"];
    rig.client.expect(&whole).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["CONNECTING", "CONNECTED"]).await;
    rig.client.expect_silence().await;
    assert!(started.body.try_recv().is_err(), "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_without_a_word_is_a_lost_one() {
    let mut rig = Rig::new();
    drop(rig.connected("ws").await);
    rig.client.expect(&["DISCONNECTED"]).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_that_no_client_could_take_is_left_out() {
    let mut rig = Rig::new();
    let started = rig.connected("get").await;
    let items = vec![
        ("q".to_owned(), Bytes::new()),
        ("srv".to_owned(), Bytes::from(vec![b'x'; 4097])),
        ("q".to_owned(), Bytes::from_static(b"good")),
    ];
    started.event(Event::Metadata(items)).await;
    rig.client.expect(&["MD q=good"]).await;
}

/// A client that vanishes takes its connection with it, at any point of its life.
#[tokio::test]
async fn a_client_that_vanishes_ends_its_attempt() {
    let rig = Rig::unix();
    drop(rig.client);
    rig.task.await.unwrap();

    let mut rig = Rig::unix();
    rig.open("ws").await;
    drop(rig.client);
    rig.task.await.unwrap();

    let mut rig = Rig::unix();
    rig.open("ws").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let connecting = rig.attempt().await;
    drop(rig.client);
    connecting.ended().await;
    rig.task.await.unwrap();

    let mut rig = Rig::unix();
    let connected = rig.connected("ws").await;
    drop(rig.client);
    connected.ended().await;
    rig.task.await.unwrap();

    let mut rig = Rig::unix();
    rig.connected("retry").await.event(lost()).await;
    rig.client.expect(&["DISCONNECTED"]).await;
    drop(rig.client);
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn counters_tell_what_went_through() {
    let mut rig = Rig::new();
    let mut started = rig.connected("ws").await;
    rig.client.payload("12345", Flags::WHOLE).await;
    started.chunk().await;
    started.payload("123", Flags::WHOLE).await;
    rig.client.expect(&["RX SOM|EOM 123"]).await;
    let counters = rig.counts.snapshot();
    assert_eq!((counters.bytes_from_clients, counters.bytes_to_clients), (5, 3));
    assert_eq!(counters.attempts, 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
}
