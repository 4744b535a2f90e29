//! Payload at any speed of either side: nothing is lost, and what waits is bounded.

use super::super::*;
use super::support::*;
use crate::onward::{End, Failure, FailureKind, PAYLOAD_EVENT_MAX};
use sspc_wire::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT};
use sspc_wire::{Flags, ToClientDecoder, ToProxy};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

const MIB: usize = 1024 * 1024;

/// Byte `at` of a payload that tells if any of it is lost, repeated or out of place.
fn pattern(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn pattern_of(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(pattern).collect()
}

/// Sends `total` bytes from the peer, as fast as they are taken.
async fn serve(started: Started, total: usize) {
    let mut sent = 0;
    while sent < total {
        let end = total.min(sent + PAYLOAD_EVENT_MAX - 5);
        let bytes = Bytes::from(pattern_of(sent..end));
        let flags = if sent == 0 { Flags::SOM } else { Flags::NONE };
        let flags = if end == total { flags | Flags::EOM } else { flags };
        sent = end;
        if started.events.send(Event::Payload { bytes, flags }).await.is_err() {
            return;
        }
    }
    let _ = started.events.send(Event::acked()).await;
    let _ = started.events.send(Event::Ended(End::Complete)).await;
}

/// Reads payload until QOS_ACK_REMOTE, checks each byte, and gives credit back if told to.
async fn receive(link: UnixStream, total: usize, gives_credit: bool) {
    let (mut reader, mut writer) = link.into_split();
    let mut decoder = ToClientDecoder::new();
    let mut buffer = vec![0; 2048];
    let mut at = 0;
    loop {
        let length = reader.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "closed after {at} bytes");
        let mut input = &buffer[..length];
        let before = at;
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            match frame {
                ToClient::Payload { piece, .. } => {
                    for byte in piece.data {
                        assert_eq!(*byte, pattern(at));
                        at += 1;
                    }
                }
                ToClient::State { state: sspc_wire::State::QosAckRemote, .. } => {
                    assert_eq!(at, total);
                    return;
                }
                _ => {}
            }
        }
        if gives_credit && at > before {
            let credit = i32::try_from(at - before).unwrap();
            writer.write_all(&encoded(ToProxy::TxCredit(credit))).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_arrive_whole_at_a_deployed_client() {
    let mut rig = Rig::unix();
    let started = rig.connected("get").await;
    let serving = tokio::spawn(serve(started, 8 * MIB));
    receive(rig.client.link, 8 * MIB, false).await;
    serving.await.unwrap();
    assert_eq!(rig.counts.snapshot().bytes_to_clients, 8 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_arrive_whole_through_a_window_of_5000_bytes() {
    let mut rig = Rig::unix();
    rig.client.streamtype("get", PID_CREDIT_BIT, 5000).await;
    assert_eq!(rig.client.next().await, "CREATE 0 0 ,get");
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["TXCR 0", "CREATING", "CONNECTING", "CONNECTED"]).await;
    let serving = tokio::spawn(serve(started, 4 * MIB));
    receive(rig.client.link, 4 * MIB, true).await;
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_arrive_whole_at_a_slow_peer() {
    let mut rig = Rig::unix();
    let mut started = rig.connected("post").await;
    let sending = tokio::spawn(async move {
        let mut at = 0;
        while at < 4 * MIB {
            let end = at + 4096;
            let flags = if at == 0 { Flags::SOM } else { Flags::NONE };
            rig.client.send_bytes(&payload(&pattern_of(at..end), flags)).await;
            at = end;
        }
        rig.client.payload("", Flags::EOM).await;
        rig
    });
    let mut at = 0;
    loop {
        let chunk = started.body.recv().await.unwrap();
        assert_eq!(chunk.flags.contains(Flags::SOM), at == 0);
        for byte in &chunk.bytes {
            assert_eq!(*byte, pattern(at));
            at += 1;
        }
        if chunk.flags.contains(Flags::EOM) {
            break;
        }
        if at % 64 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(at, 4 * MIB);
    sending.await.unwrap();
}

/// Deployed clients lose payload behind a frame of 0 bytes.
#[tokio::test(start_paused = true)]
async fn an_end_that_follows_its_payload_at_once_rides_on_it() {
    let mut rig = Rig::new();
    let started = rig.connected("get").await;
    let payload = |bytes, flags| Event::Payload { bytes, flags };
    started.events.try_send(payload(Bytes::from_static(b"all of it"), Flags::SOM)).unwrap();
    started.events.try_send(payload(Bytes::new(), Flags::EOM)).unwrap();
    started.events.try_send(Event::acked()).unwrap();
    rig.client.expect(&["RX SOM|EOM all of it", "QOS_ACK_REMOTE"]).await;
}

/// Takes what the session takes within a while of silence; how much it was.
async fn taken_until_it_stops(events: &mpsc::Sender<Event>) -> usize {
    let mut taken = 0;
    loop {
        let bytes = Bytes::from(vec![0; PAYLOAD_EVENT_MAX]);
        let event = Event::Payload { bytes, flags: Flags::NONE };
        match timeout(Duration::from_millis(100), events.send(event)).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => return taken,
        }
        taken += PAYLOAD_EVENT_MAX;
        assert!(taken < 16 * MIB, "it never stops");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_its_peer() {
    let mut rig = Rig::new();
    let started = rig.connected("ws").await;
    let taken = taken_until_it_stops(&started.events).await;
    // The link in between holds 64 KiB, the attempt's queue four events, the session its buffer.
    assert!((64 * 1024..300 * 1024).contains(&taken), "{taken}");
    let mut small = Rig::new();
    let started = small.connected("small").await;
    let less = taken_until_it_stops(&started.events).await;
    assert!(less < taken, "a smaller buffer holds less: {less}, {taken}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_stops_its_client() {
    let mut rig = Rig::new();
    let _started = rig.connected("ws").await;
    let frame = payload(&[0; 1380], Flags::NONE);
    let mut sent = 0;
    while let Ok(result) =
        timeout(Duration::from_millis(100), rig.client.link.write_all(&frame)).await
    {
        result.unwrap();
        sent += 1380;
        assert!(sent < 4 * MIB, "it never stops");
    }
    assert!((64 * 1024..300 * 1024).contains(&sent), "{sent}");
}

/// Nothing moves in either direction, and still the client's end is noticed.
#[tokio::test]
async fn a_client_that_vanishes_is_noticed_although_nothing_is_read_from_it() {
    let mut rig = Rig::unix();
    let started = rig.connected("small").await;
    let frame = payload(&[0; 4096], Flags::NONE);
    while timeout(Duration::from_millis(200), rig.client.link.write_all(&frame)).await.is_ok() {}
    drop(rig.client);
    started.ended().await;
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn onward_connect_is_seen_behind_payload_that_waits_for_a_retry() {
    let mut rig = Rig::new();
    rig.open("retry").await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let failure =
        Failure::new(FailureKind::Busy, "503").retry_after(Some(Duration::from_secs(600)));
    rig.attempt().await.event(Event::Ended(End::Failed(failure))).await;
    rig.client.expect(&["CONNECTING", "UNREACHABLE"]).await;
    for _ in 0..100 {
        rig.client.send_bytes(&payload(&[b'x'; 1380], Flags::NONE)).await;
    }
    rig.client.send(ToProxy::OnwardConnect).await;
    rig.client.expect(&["CONNECTING"]).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    let mut received = 0;
    while received < 138_000 {
        received += started.body.recv().await.unwrap().bytes.len();
    }
}

/// The client asks for so much that answers pile up, and reads none of it.
#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_is_bounded_by_the_answers_that_wait() {
    let mut rig = Rig::new();
    rig.client.streamtype("get", 7, CREDIT_UNLIMITED).await;
    let mut rounds = 0;
    loop {
        rig.client.send(ToProxy::OnwardConnect).await;
        let Ok(started) = timeout(Duration::from_millis(100), rig.attempt()).await else { break };
        // CONNECTING, UNREACHABLE, ALL_RETRIES_FAILED: 24 bytes. The link holds 64 KiB of them.
        started.event(Event::failed(FailureKind::Connect)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        rounds += 1;
        assert!(rounds < 4000, "it never stops");
    }
    assert!(rounds > 2000, "{rounds}");
}
