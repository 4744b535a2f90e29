//! What clients see when the proxy shuts down.

use super::super::*;
use super::support::*;
use crate::onward::{End, FailureKind};
use sspc_wire::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT};
use sspc_wire::{Flags, ToProxy};
use std::time::Duration;
use tokio::sync::mpsc::error::TryRecvError;

/// It was told DESTROYING, after which deployed clients do not come back.
#[tokio::test(start_paused = true)]
async fn an_idle_stream_ends_at_once_as_if_the_proxy_had_died() {
    let mut rig = Rig::new();
    rig.open("get").await;
    rig.draining.cancel();
    rig.client.expect(&["EOF"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_without_a_stream_ends_at_once() {
    let mut rig = Rig::new();
    rig.draining.cancel();
    rig.client.expect(&["EOF"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_may_finish() {
    let mut rig = Rig::new();
    let started = rig.connected("get").await;
    rig.draining.cancel();
    rig.client.expect_silence().await;
    started.payload("last", Flags::WHOLE).await;
    started.event(Event::acked()).await;
    started.event(Event::Ended(End::Complete)).await;
    rig.client.expect(&["RX SOM|EOM last", "QOS_ACK_REMOTE", "DISCONNECTED", "EOF"]).await;
}

#[tokio::test(start_paused = true)]
async fn no_transaction_begins() {
    let mut rig = Rig::new();
    let started = rig.connected("retry").await;
    rig.client.payload("a part", Flags::SOM).await;
    rig.client.expect_silence().await;
    rig.draining.cancel();
    rig.client.expect_silence().await;
    started.event(Event::failed(FailureKind::Closed)).await;
    rig.client.expect(&["DISCONNECTED", "EOF"]).await;

    // One that waits to be tried again is left to the next proxy.
    let mut rig = Rig::new();
    rig.open("retry").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    rig.attempt().await.event(Event::failed(FailureKind::Connect)).await;
    rig.client.expect(&["CONNECTING", "UNREACHABLE"]).await;
    rig.draining.cancel();
    rig.client.expect(&["EOF"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_is_ended() {
    let mut rig = Rig::new();
    let started = rig.connected("get").await;
    rig.draining.cancel();
    rig.closing.cancel();
    rig.client.expect(&["DISCONNECTED", "EOF"]).await;
    started.ended().await;

    let mut rig = Rig::new();
    rig.open("get").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    rig.client.expect(&["CONNECTING"]).await;
    rig.closing.cancel();
    rig.client.expect(&["EOF"]).await;
}

/// A client that would come back to an idle stream if all it heard were DISCONNECTED.
#[tokio::test(start_paused = true)]
async fn clients_of_ours_are_told_that_the_link_goes_with_the_connection() {
    let mut rig = Rig::new();
    rig.client.streamtype("ws", PID_CREDIT_BIT | 7, CREDIT_UNLIMITED).await;
    rig.client.expect(&["CREATE 0 0 ,ws", "TXCR 65536", "CREATING"]).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["CONNECTING", "CONNECTED"]).await;
    rig.draining.cancel();
    rig.client.expect_silence().await;
    started.event(Event::failed(FailureKind::Closed)).await;
    rig.client.expect(&["DISCONNECTED/1", "EOF"]).await;
}

// ---- connections that go on until somebody leaves

/// All the time to drain passed, though there was nothing to wait for.
#[tokio::test(start_paused = true)]
async fn a_websocket_on_which_nothing_is_under_way_is_left_at_once() {
    let mut rig = Rig::new();
    let mut started = rig.connected("ws").await;
    rig.client.payload("up", Flags::WHOLE).await;
    assert_eq!(started.chunk().await, "SOM|EOM up");
    started.payload("down", Flags::WHOLE).await;
    rig.client.expect(&["RX SOM|EOM down"]).await;
    rig.draining.cancel();
    assert!(started.is_to_leave().await);
    // What the server said before it heard of that is not lost.
    started.payload("bye", Flags::WHOLE).await;
    rig.client.payload("too late", Flags::WHOLE).await;
    started.event(Event::failed(FailureKind::Closed)).await;
    rig.client.expect(&["RX SOM|EOM bye", "DISCONNECTED", "EOF"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_websocket_is_left_behind_the_message_that_is_under_way() {
    let mut rig = Rig::new();
    let mut started = rig.connected("ws").await;
    rig.client.payload("up ", Flags::SOM).await;
    assert_eq!(started.chunk().await, "SOM up ");
    rig.draining.cancel();
    rig.client.expect_silence().await;
    assert!(started.body.try_recv().is_err_and(|error| error == TryRecvError::Empty));
    rig.client.payload("to here", Flags::EOM).await;
    assert_eq!(started.chunk().await, "EOM to here");
    assert!(started.is_to_leave().await);

    let mut rig = Rig::new();
    let mut started = rig.connected("ws").await;
    started.payload("down ", Flags::SOM).await;
    rig.client.expect_silence().await;
    rig.draining.cancel();
    rig.client.expect_silence().await;
    assert!(started.body.try_recv().is_err_and(|error| error == TryRecvError::Empty));
    started.payload("to here", Flags::EOM).await;
    assert!(started.is_to_leave().await);
}

/// What was under way with the connection before is over.
#[tokio::test(start_paused = true)]
async fn a_websocket_is_left_though_the_one_before_was_lost_inside_a_message() {
    let mut rig = Rig::new();
    let started = rig.connected("retry").await;
    started.payload("half", Flags::SOM).await;
    started.event(Event::failed(FailureKind::Closed)).await;
    rig.client.expect(&["RX SOM half", "DISCONNECTED"]).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["POLL", "CONNECTING", "CONNECTED"]).await;
    rig.draining.cancel();
    assert!(started.is_to_leave().await);
}

/// No message ever ends there, whatever flags a client sends.
#[tokio::test(start_paused = true)]
async fn raw_bytes_are_left_when_none_wait() {
    let mut rig = Rig::new();
    let mut started = rig.connected("raw").await;
    rig.client.payload("up", Flags::SOM).await;
    assert_eq!(started.chunk().await, "SOM up");
    rig.draining.cancel();
    assert!(started.is_to_leave().await);
}

// ---- slow clients

/// It was cut off a second after its transaction's end, whatever the time to drain.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_all_of_its_response() {
    const SIZE: usize = 16 * 1024;
    let mut rig = Rig::new();
    let started = rig.connected("get").await;
    let (mut flags, mut sent) = (Flags::SOM, 0);
    while let Ok(()) = timeout(Duration::from_secs(1), async {
        started.event(Event::Payload { bytes: vec![b'x'; SIZE].into(), flags }).await;
    })
    .await
    {
        (flags, sent) = (Flags::NONE, sent + SIZE);
    }
    rig.draining.cancel();
    let ending = tokio::spawn(async move {
        started.payload("end", Flags::EOM).await;
        started.event(Event::acked()).await;
        started.event(Event::Ended(End::Complete)).await;
    });
    let mut got = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let frame = rig.client.next().await;
        match frame.strip_prefix("RX ") {
            Some(payload) => got += payload.bytes().filter(|byte| *byte == b'x').count(),
            None => assert_eq!(frame, "QOS_ACK_REMOTE"),
        }
        if frame == "QOS_ACK_REMOTE" {
            break;
        }
    }
    assert_eq!(got, sent);
    rig.client.expect(&["DISCONNECTED", "EOF"]).await;
    ending.await.unwrap();
}

/// The session's end does not wait longer than it must for a client that does not read.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_close_is_left_after_a_second() {
    let mut rig = Rig::new();
    rig.open("get").await;
    let begun = Instant::now();
    rig.closing.cancel();
    rig.task.await.unwrap();
    assert_eq!(begun.elapsed(), Timeouts::default().flush);
}
