//! Clients that manage credit.

use super::super::*;
use super::support::*;
use crate::onward::{End, FailureKind};
use sspc_wire::limits::PID_CREDIT_BIT;
use sspc_wire::{Flags, ToProxy};

/// A connected stream of a client that honours credit and gives `credit` itself. The stream's
/// buffer is 4,096 bytes.
async fn connected(rig: &mut Rig<tokio::io::DuplexStream>, credit: i32) -> Started {
    rig.client.streamtype("small", PID_CREDIT_BIT | 7, credit).await;
    rig.client.expect(&["CREATE 0 777 ,small", "TXCR 4096", "CREATING"]).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["CONNECTING", "CONNECTED"]).await;
    started
}

#[tokio::test(start_paused = true)]
async fn credit_comes_before_creating_and_again_as_payload_goes_onward() {
    let mut rig = Rig::new();
    let mut started = connected(&mut rig, 0).await;
    rig.client.payload(&"x".repeat(2047), Flags::SOM).await;
    started.bytes(2047).await;
    rig.client.expect_silence().await;
    rig.client.payload("y", Flags::NONE).await;
    rig.client.expect(&["TXCR 2048"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_peers_credit_does_not_add_to_the_proxys() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 0).await;
    started.event(Event::TxCredit(100_000)).await;
    rig.client.expect_silence().await;
}

#[tokio::test(start_paused = true)]
async fn discarded_payload_gives_its_credit_back() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 0).await;
    rig.client.payload(&"x".repeat(1000), Flags::SOM).await;
    // Some of it waits in the attempt's queue, which nobody empties: that is given back already.
    rig.client.expect_silence().await;
    started.event(Event::Ended(End::Complete)).await;
    rig.client.expect(&["DISCONNECTED"]).await;
    rig.client.payload(&"x".repeat(1000), Flags::NONE).await;
    rig.client.expect_silence().await;
    rig.client.payload(&"x".repeat(48), Flags::EOM).await;
    rig.client.expect(&["TXCR 2048"]).await;
}

/// Without that the message would begin another transaction, or be taken for the one that its
/// client sends once more.
#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_client_heard_of_disconnected_goes_nowhere() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 0).await;
    started.event(Event::failed(FailureKind::Closed)).await;
    rig.client.expect(&["DISCONNECTED"]).await;
    rig.client.payload("for the lost one", Flags::WHOLE).await;
    rig.client.send(ToProxy::LengthHint(5)).await;
    rig.client.payload("this too, in part", Flags::SOM).await;
    rig.client.expect_silence().await;
    rig.client.send(ToProxy::TxCredit(0)).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let mut started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["CONNECTING", "CONNECTED"]).await;
    rig.client.payload("again", Flags::WHOLE).await;
    assert_eq!(started.chunk().await, "SOM|EOM again");
}

#[tokio::test(start_paused = true)]
async fn payload_stops_where_the_clients_credit_ends() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 7).await;
    started.payload("hello world", Flags::WHOLE).await;
    started.event(Event::acked()).await;
    rig.client.expect(&["RX SOM hello w"]).await;
    rig.client.expect_silence().await;
    rig.client.send(ToProxy::TxCredit(2)).await;
    rig.client.expect(&["RX 0 or"]).await;
    rig.client.send(ToProxy::TxCredit(100)).await;
    rig.client.expect(&["RX EOM ld", "QOS_ACK_REMOTE"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_a_deployed_client_holds_for_each_connection() {
    let mut rig = Rig::new();
    rig.client.streamtype("ws", 7, 5).await;
    rig.client.expect(&["CREATE 0 0 ,ws", "CREATING"]).await;
    for _ in 0..2 {
        rig.client.send(ToProxy::OnwardConnect).await;
        let started = rig.attempt().await;
        started.say_connected().await;
        started.payload("12345", Flags::WHOLE).await;
        rig.client.expect(&["CONNECTING", "CONNECTED", "RX SOM|EOM 12345"]).await;
        drop(started);
        rig.client.expect(&["DISCONNECTED"]).await;
    }
}

/// A client that gives no credit until it has sent all it has must still be heard.
#[tokio::test(start_paused = true)]
async fn credit_behind_payload_is_seen_although_the_payload_does_not_move() {
    let mut rig = Rig::new();
    rig.client.streamtype("small", 7, 5).await;
    rig.client.expect(&["CREATE 0 777 ,small", "CREATING"]).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    started.say_connected().await;
    rig.client.expect(&["CONNECTING", "CONNECTED"]).await;
    started.payload("hello world", Flags::WHOLE).await;
    rig.client.expect(&["RX SOM hello"]).await;
    for _ in 0..20 {
        rig.client.payload(&"x".repeat(1380), Flags::NONE).await;
    }
    rig.client.send(ToProxy::TxCredit(100)).await;
    rig.client.expect(&["RX EOM  world"]).await;
}

/// `cat --data` on a GET sent nothing, made a second request, and said that all was well.
#[tokio::test(start_paused = true)]
async fn a_streamtype_that_takes_no_payload_says_so_and_payload_connects_nothing() {
    let mut rig = Rig::new();
    rig.client.streamtype("get", PID_CREDIT_BIT | 7, 500_000_000).await;
    let created = rig.client.next().await;
    assert!(created.starts_with("CREATE 0"), "{created}");
    rig.client.expect(&["TXCR 0", "CREATING"]).await;
    rig.client.send(ToProxy::LengthHint(5)).await;
    rig.client.payload("hello", Flags::WHOLE).await;
    rig.client.expect_silence().await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    started.say_connected().await;
    started.event(Event::acked()).await;
    started.event(Event::Ended(End::Complete)).await;
    let whole = ["CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"];
    rig.client.expect(&whole).await;
    rig.client.payload("hello", Flags::WHOLE).await;
    rig.client.expect_silence().await;
}

/// With a window of 4 KiB and a client that sends 1 MiB before it reads, both waited for ever: the
/// proxy for credit, which stood behind payload that nobody took, the client for room.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_all_before_it_gives_credit_gets_its_echo() {
    const LENGTH: usize = 1 << 20;
    let mut rig = Rig::new();
    rig.client.streamtype("ws", 7, 4096).await;
    rig.client.expect(&["CREATE 0 0 ,ws", "CREATING"]).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let mut server = rig.attempt().await;
    server.say_connected().await;
    rig.client.expect(&["CONNECTING", "CONNECTED"]).await;
    tokio::spawn(async move {
        while let Some(chunk) = server.body.recv().await {
            let (bytes, flags) = (Bytes::copy_from_slice(&chunk.bytes), chunk.flags);
            server.event(Event::Payload { bytes, flags }).await;
        }
    });
    let (mut reader, mut writer) = tokio::io::split(rig.client.link);
    let sending = tokio::spawn(async move {
        let frame = payload(&[b'x'; 1024], Flags::WHOLE);
        for _ in 0..LENGTH / 1024 {
            writer.write_all(&frame).await.unwrap();
        }
        let credit = encoded(ToProxy::TxCredit(LENGTH as i32));
        writer.write_all(&credit).await.unwrap();
        writer
    });
    // Reads what comes, but says so only when all is sent.
    let mut came = 0;
    let mut room = [0; 4096];
    let _writer = sending;
    while came < LENGTH {
        let read = timeout(std::time::Duration::from_secs(60), reader.read(&mut room)).await;
        came += read.expect("both wait").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_negative_update_takes_back_what_is_not_used_and_no_more() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 7).await;
    rig.client.send(ToProxy::TxCredit(-3)).await;
    rig.client.expect_silence().await;
    started.payload("hello", Flags::WHOLE).await;
    rig.client.expect(&["RX SOM hell"]).await;
    // Nothing is owed for what cannot be taken back.
    rig.client.send(ToProxy::TxCredit(i32::MIN)).await;
    rig.client.expect_silence().await;
    rig.client.send(ToProxy::TxCredit(1)).await;
    rig.client.expect(&["RX EOM o"]).await;
}

#[tokio::test(start_paused = true)]
async fn updates_add_up_beyond_any_number_of_the_wire() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 0).await;
    for _ in 0..3 {
        rig.client.send(ToProxy::TxCredit(i32::MAX)).await;
    }
    rig.client.send(ToProxy::TxCredit(-i32::MAX)).await;
    rig.client.expect_silence().await;
    started.payload("hello", Flags::WHOLE).await;
    rig.client.expect(&["RX SOM|EOM hello"]).await;
}

/// A client that manages credit has given it for good; only used credit is gone.
#[tokio::test(start_paused = true)]
async fn managed_credit_lives_on_after_disconnected_and_is_not_renewed() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 12).await;
    started.payload("hello", Flags::WHOLE).await;
    started.event(Event::Ended(End::Complete)).await;
    rig.client.expect(&["RX SOM|EOM hello", "DISCONNECTED"]).await;
    rig.client.send(ToProxy::TxCredit(0)).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let started = rig.attempt().await;
    started.say_connected().await;
    started.payload("hello again", Flags::WHOLE).await;
    rig.client.expect(&["CONNECTING", "CONNECTED", "RX SOM hello a"]).await;
    rig.client.expect_silence().await;
}

/// What waits for credit is the client's before the end is: DISCONNECTED waits with it.
#[tokio::test(start_paused = true)]
async fn disconnected_stands_behind_payload_that_waits_for_credit() {
    let mut rig = Rig::new();
    let started = connected(&mut rig, 7).await;
    started.payload("hello world", Flags::WHOLE).await;
    started.event(Event::Ended(End::Complete)).await;
    rig.client.expect(&["RX SOM hello w"]).await;
    rig.client.expect_silence().await;
    rig.client.send(ToProxy::TxCredit(4)).await;
    rig.client.expect(&["RX EOM orld", "DISCONNECTED"]).await;
}
