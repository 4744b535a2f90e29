//! Clients that do not read, and memory that is short.

use std::time::Duration;

use sspc_wire::Flags;
use tokio::time::timeout;

use super::support::{Broker, World, message};
use crate::identity::Identity;

/// After so long all is done that needs no waiting.
const MOMENT: Duration = Duration::from_millis(1);

/// Sends messages until no more of them are taken, at most so many; how many were.
async fn fill(broker: &mut Broker, topic: &str, size: usize, count: usize) -> usize {
    let packet = message(topic, &vec![b'x'; size]);
    for sent in 0..count {
        if timeout(MOMENT, broker.send(&packet)).await.is_err() {
            return sent;
        }
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_its_broker_and_loses_nothing() {
    let world = World::new();
    let mut slow = world.start(&world.subscribed_to("slow"));
    let mut quick = world.start(&world.subscribed_to("quick"));
    let mut broker = world.connected().await;
    for _ in 0..2 {
        broker.grant().await;
    }
    slow.is_connected().await;
    quick.is_connected().await;
    // While it is within bounds its neighbour gets all.
    assert_eq!(fill(&mut broker, "slow", 10_000, 20).await, 20);
    broker.publish("quick", b"passes").await;
    assert_eq!(quick.message().await, b"passes");
    // 256 KiB for the stream, 64 KiB of its queue, and what the socket holds.
    let sent = 20 + fill(&mut broker, "slow", 10_000, 1000).await;
    assert!(sent < 100, "{sent} messages were taken for a client that takes none");
    assert!(world.counts.memory_held.read() < 500_000);
    // The rest of the one that was cut in its middle.
    let rest = vec![b'x'; 10_003];
    let writing = tokio::spawn(async move {
        broker.send(&rest).await;
        broker
    });
    for _ in 0..sent {
        assert_eq!(slow.message().await.len(), 10_000);
    }
    drop(writing);
}

/// One client's stream must not stop another client's.
#[tokio::test(start_paused = true)]
async fn strangers_on_one_connection_do_not_wait_for_each_other() {
    let world =
        World::with(|config| config.credentials.change(|own| own.mqtt_client_id = "device".into()));
    let policy = world.subscribed_to("t");
    let slow = world.start_for(&Identity::User(1), &policy);
    let mut broker = world.connected().await;
    broker.grant().await;
    let mut quick = world.start_for(&Identity::User(2), &policy);
    broker.grant().await;
    quick.is_connected().await;
    for n in 0..200_u32 {
        let mut payload = vec![0; 20_000];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        broker.publish("t", &payload).await;
        assert_eq!(quick.message().await[..4], n.to_be_bytes());
    }
    assert!(world.counts.memory_held.read() < 600_000);
    drop(slow);
}

/// Small messages cost more than their payload: the one that a stranger had just no room for stopped
/// all.
#[tokio::test(start_paused = true)]
async fn small_messages_for_one_client_do_not_stop_another() {
    for size in [0, 1, 100, 5000] {
        let world = World::with(|config| {
            config.credentials.change(|own| own.mqtt_client_id = "device".into())
        });
        let policy = world.subscribed_to("t");
        let slow = world.start_for(&Identity::User(1), &policy);
        let mut broker = world.connected().await;
        broker.grant().await;
        let mut quick = world.start_for(&Identity::User(2), &policy);
        broker.grant().await;
        quick.is_connected().await;
        for _ in 0..3000 {
            broker.publish("t", &vec![b'x'; size]).await;
            assert_eq!(quick.message().await.len(), size);
        }
        assert!(world.counts.memory_held.read() < 600_000);
        drop(slow);
    }
}

/// The broker has answered, and the answer waits behind messages that a client does not take.
#[tokio::test(start_paused = true)]
async fn a_subscription_whose_answer_is_not_read_yet_is_no_silent_broker() {
    let world = World::new();
    let mut slow = world.start(&world.subscribed_to("slow"));
    let mut broker = world.connected().await;
    broker.grant().await;
    slow.is_connected().await;
    let size = 100_000;
    let writing = tokio::spawn(async move {
        for _ in 0..10 {
            broker.publish("slow", &vec![b'x'; size]).await;
        }
        assert_eq!(broker.grant().await, b"other");
        broker
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut other = world.start(&world.subscribed_to("other"));
    tokio::time::sleep(Duration::from_secs(40)).await;
    for _ in 0..10 {
        assert_eq!(slow.message().await.len(), size);
    }
    other.is_connected().await;
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_16_messages_on_their_way_at_most() {
    let world = World::new();
    let stream = world.start(&world.stream(|stream| {
        stream.mqtt.topic = Some("t".into());
        stream.mqtt.qos = 1;
    }));
    let mut broker = world.connected().await;
    let sending = tokio::spawn(async move {
        for _ in 0..20 {
            stream.send(b"message", Flags::WHOLE).await;
        }
        stream
    });
    let mut count = 0;
    while let Ok((0x32, _)) = timeout(Duration::from_secs(1), broker.packet()).await {
        count += 1;
    }
    assert_eq!(count, 16);
    drop(sending);
}

/// Two halves of messages held all the memory there was, and neither ever got its rest.
#[tokio::test(start_paused = true)]
async fn half_a_message_that_there_is_no_memory_for_is_refused() {
    let world = World::bounded(300_000, |_| {});
    let policy = world.stream(|stream| stream.mqtt.topic = Some("t".into()));
    let mut streams = [world.start(&policy), world.start(&policy)];
    let mut broker = world.connected().await;
    for stream in &mut streams {
        stream.is_connected().await;
        for piece in 0..4 {
            let flags = if piece == 0 { Flags::SOM } else { Flags::NONE };
            stream.send(&[b'x'; 16_000], flags).await;
        }
    }
    for stream in &mut streams {
        assert!(!stream.verdict().await);
        stream.send(b"the end of it", Flags::EOM).await;
        stream.send(b"short", Flags::WHOLE).await;
        assert!(stream.verdict().await);
        assert_eq!(broker.packet().await.1, b"\x00\x01tshort");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_longer_than_all_that_waits_for_a_stream() {
    let world = World::new();
    let mut stream = world.start(&world.subscribed_to("t"));
    let mut broker = world.connected().await;
    broker.grant().await;
    stream.is_connected().await;
    let long = message("t", &vec![b'x'; 3_000_000]);
    tokio::spawn(async move { broker.send(&long).await });
    assert_eq!(stream.message().await.len(), 3_000_000);
}

#[tokio::test(start_paused = true)]
async fn so_many_messages_are_on_their_way_at_a_time_and_no_more() {
    let world = World::new();
    let policy = world.stream(|stream| {
        stream.mqtt.topic = Some("t".into());
        stream.mqtt.qos = 1;
    });
    let streams: Vec<_> = (0..8).map(|_| world.start(&policy)).collect();
    let mut broker = world.connected().await;
    let mut sending = Vec::new();
    for mut stream in streams {
        stream.is_connected().await;
        sending.push(tokio::spawn(async move {
            for _ in 0..20 {
                stream.send(b"message", Flags::WHOLE).await;
            }
            for _ in 0..20 {
                assert!(stream.verdict().await);
            }
        }));
    }
    // 64 of the connection; what comes behind them is a copy of the first.
    let mut ids = Vec::new();
    while let Ok((0x32, body)) = timeout(Duration::from_secs(1), broker.packet()).await {
        ids.push(body[3..5].to_vec());
    }
    assert_eq!(ids.len(), 64);
    for answered in 0..160 {
        if answered >= ids.len() {
            let (first, body) = broker.packet().await;
            assert_eq!(first, 0x32);
            ids.push(body[3..5].to_vec());
        }
        let id = &ids[answered];
        broker.send(&[0x40, 2, id[0], id[1]]).await;
    }
    for sending in sending {
        sending.await.unwrap();
    }
}

/// The answer comes between the messages of the stream's own subscription, and never into one.
#[tokio::test(start_paused = true)]
async fn what_is_published_to_a_shadow_is_answered() {
    let world = World::new();
    let mut stream = world.start(&world.stream(|stream| {
        stream.mqtt.topic = Some("$aws/things/lamp/shadow/get".into());
        stream.mqtt.subscribe = Some("own".into());
        stream.mqtt.aws_iot = true;
    }));
    let mut broker = world.connected().await;
    assert_eq!(broker.grant().await, b"own");
    stream.is_connected().await;
    for answer in ["accepted", "rejected"] {
        stream.send(b"", Flags::WHOLE).await;
        let mut filters = [broker.grant().await, broker.grant().await];
        filters.sort();
        let expected = ["accepted", "rejected"]
            .map(|answer| format!("$aws/things/lamp/shadow/get/{answer}").into_bytes());
        assert_eq!(filters, expected);
        assert_eq!(broker.packet().await.0, 0x30, "it is published when that is granted");
        assert!(stream.verdict().await);
        // A long one of the stream's own is under way.
        let own = message("own", &[b'o'; 40_000]);
        broker.send(&own[..20_000]).await;
        broker.send(&own[20_000..]).await;
        broker.publish(&format!("$aws/things/lamp/shadow/get/{answer}"), answer.as_bytes()).await;
        let mut came = [stream.message().await, stream.message().await];
        came.sort_by_key(Vec::len);
        assert!(came == [answer.as_bytes().to_vec(), vec![b'o'; 40_000]]);
        for _ in 0..2 {
            let (first, body) = broker.packet().await;
            assert_eq!(first, 0xa2, "both are given up");
            broker.send(&[0xb0, 2, body[0], body[1]]).await;
        }
    }
    // No answer: the next message goes all the same.
    for _ in 0..2 {
        stream.send(b"", Flags::WHOLE).await;
        broker.grant().await;
        broker.grant().await;
        assert_eq!(broker.packet().await.0, 0x30);
        assert!(stream.verdict().await);
        for _ in 0..2 {
            let (first, body) = broker.packet().await;
            assert_eq!(first, 0xa2);
            broker.send(&[0xb0, 2, body[0], body[1]]).await;
        }
    }
}
