//! What clients see when the proxy shuts down.

use super::super::*;
use super::support::*;
use crate::onward::End;
use sspc_wire::{Flags, ToProxy};

#[tokio::test(start_paused = true)]
async fn an_idle_stream_ends_at_once() {
    let mut rig = Rig::new();
    rig.open("get").await;
    rig.draining.cancel();
    rig.client.expect(&["DESTROYING", "EOF"]).await;
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
    rig.client
        .expect(&["RX SOM|EOM last", "QOS_ACK_REMOTE", "DISCONNECTED", "DESTROYING", "EOF"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_is_ended() {
    let mut rig = Rig::new();
    let started = rig.connected("ws").await;
    rig.draining.cancel();
    rig.closing.cancel();
    rig.client.expect(&["DISCONNECTED", "DESTROYING", "EOF"]).await;
    started.ended().await;

    let mut rig = Rig::new();
    rig.open("ws").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    rig.client.expect(&["CONNECTING"]).await;
    rig.closing.cancel();
    rig.client.expect(&["DESTROYING", "EOF"]).await;
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
