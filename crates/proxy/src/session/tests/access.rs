//! What a client may do, and how much of it.

use std::time::Duration;

use sspc_access::{Access, SystemNames};
use sspc_wire::Flags;
use tokio::time::Instant;

use super::super::*;
use super::support::*;
use crate::access::{AccessRules, Gate};
use crate::onward::End;

fn gate(rule: &str) -> Arc<Gate> {
    let text = format!("default = \"refuse\"\n[[rule]]\nname = \"test\"\n{rule}\n");
    Gate::new(AccessRules::Rules(Access::parse(&text, "a.toml", &SystemNames).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_streamtype_of_others_is_refused_at_once() {
    let mut rig = Rig::at(gate("streamtypes = [\"ws\", \"po*\"]"));
    rig.client.streamtype("get", 77, -1).await;
    assert!(rig.client.next().await.starts_with("CREATE 1"));
    assert_eq!(rig.counts.refused.read(), 1);
    let mut rig = Rig::at(gate("streamtypes = [\"ws\", \"po*\"]"));
    rig.open("post").await;
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_not_allowed_ends_the_stream_before_anything_is_sent() {
    let rule = "streamtypes = \"*\"\nmetadata = { q = \"good*\" }";
    let mut rig = Rig::at(gate(rule));
    rig.open("get").await;
    rig.client.metadata("q", "good one").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.attempt.metadata, [("q".to_owned(), "good one".into())]);
    for (name, value) in [("q", "bad"), ("srv", "good")] {
        let mut rig = Rig::at(gate(rule));
        rig.open("get").await;
        rig.client.metadata(name, value).await;
        rig.client.send(ToProxy::OnwardConnect).await;
        rig.client.rest().await;
        assert!(rig.attempts.try_recv().is_err(), "{name}");
        assert_eq!((rig.counts.refused.read(), rig.counts.protocol_errors.read()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn payload_passes_at_the_rate_of_the_rule_both_ways_together() {
    let mut rig = Rig::at(gate("streamtypes = \"*\"\nbytes_per_second = 1000"));
    let mut attempt = rig.connected("ws").await;
    let start = Instant::now();
    // A burst of a second's worth, and then as told.
    for _ in 0..6 {
        attempt.event(Event::Payload { bytes: vec![b'x'; 500].into(), flags: Flags::WHOLE }).await;
        rig.client.next().await;
    }
    assert_eq!(start.elapsed().as_millis() / 10, 150, "{:?}", start.elapsed());
    rig.client.payload(&"y".repeat(2000), Flags::WHOLE).await;
    attempt.bytes(2000).await;
    attempt.event(Event::Payload { bytes: vec![b'x'; 1].into(), flags: Flags::WHOLE }).await;
    rig.client.next().await;
    assert_eq!(start.elapsed().as_millis() / 10, 400, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn transactions_begin_at_the_rate_of_the_rule() {
    let mut rig = Rig::at(gate("streamtypes = \"*\"\nrequests_per_second = 2"));
    rig.open("get").await;
    let start = Instant::now();
    for number in 0..6 {
        rig.client.send(ToProxy::OnwardConnect).await;
        let attempt = rig.attempt().await;
        // Two at once, and then two a second.
        let due = 500 * (number as u64).saturating_sub(1);
        assert_eq!(start.elapsed().as_millis() as u64 / 10, due / 10, "{number}");
        attempt.say_connected().await;
        attempt.event(Event::acked()).await;
        attempt.event(Event::Ended(End::Complete)).await;
        while rig.client.next().await != "DISCONNECTED" {}
    }
    // One that waits may be given up.
    rig.client.send(ToProxy::OnwardConnect).await;
    while rig.client.next().await != "CONNECTING" {}
    drop(rig.client);
    rig.task.await.unwrap();
    assert!(rig.attempts.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_over_its_rate_does_not_slow_down_another_one() {
    let gate = gate("streamtypes = \"*\"\nbytes_per_second = 1000");
    let (mut slow, mut other) = (Rig::at(Arc::clone(&gate)), Rig::as_user(gate, 5));
    let greedy = slow.connected("ws").await;
    let attempt = other.connected("ws").await;
    greedy.event(Event::Payload { bytes: vec![b'x'; 9000].into(), flags: Flags::WHOLE }).await;
    slow.client.next().await;
    let start = Instant::now();
    attempt.payload("hi", Flags::WHOLE).await;
    other.client.next().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    greedy.payload("hi", Flags::WHOLE).await;
    while !slow.client.next().await.ends_with(" hi") {}
    assert_eq!(start.elapsed().as_secs(), 8);
}
