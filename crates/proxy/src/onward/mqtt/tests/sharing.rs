//! Who shares a connection, and when it ends.

use sspc_wire::Flags;

use super::support::World;
use crate::identity::Identity;
use crate::onward::FailureKind;

#[tokio::test(start_paused = true)]
async fn a_filter_is_given_up_with_its_last_stream_and_the_connection_with_the_last_of_all() {
    let world = World::new();
    let mut first = world.start(&world.subscribed_to("a"));
    let mut broker = world.connected().await;
    assert_eq!(broker.grant().await, b"a");
    first.is_connected().await;
    let mut second = world.start(&world.subscribed_to("a"));
    assert_eq!(broker.grant().await, b"a", "for what the broker has kept");
    second.is_connected().await;
    let mut third = world.start(&world.subscribed_to("b"));
    assert_eq!(broker.grant().await, b"b");
    third.is_connected().await;

    drop(first);
    broker.publish("a", b"still").await;
    assert_eq!(second.message().await, b"still");
    drop(second);
    let (packet, body) = broker.packet().await;
    assert_eq!((packet, &body[2..]), (0xa2, &b"\0\x01a"[..]));
    broker.send(&[0xb0, 2, body[0], body[1]]).await;
    broker.publish("b", b"goes on").await;
    assert_eq!(third.message().await, b"goes on");
    drop(third);
    assert_eq!(broker.packet().await.0, 0xe0);
    assert!(broker.is_left().await);
}

#[tokio::test(start_paused = true)]
async fn streams_that_come_at_once_share_one_connection_and_ask_together() {
    let world = World::new();
    let policy = world.subscribed_to("a");
    let mut streams: Vec<_> = (0..1000).map(|_| world.start(&policy)).collect();
    let mut broker = world.connected().await;
    assert_eq!(broker.grant().await, b"a");
    for stream in &mut streams {
        stream.is_connected().await;
    }
    broker.publish("a", b"to all").await;
    for stream in &mut streams {
        assert_eq!(stream.message().await, b"to all");
    }
    assert!(!world.is_connected_again().await);
    drop(streams);
    assert_eq!(broker.packet().await.0, 0xe0);
}

#[tokio::test(start_paused = true)]
async fn other_clients_other_wills_and_other_editions_have_their_own() {
    let world = World::new();
    let plain = world.stream(|stream| stream.mqtt.topic = Some("t".into()));
    let with_will = world.stream(|stream| stream.mqtt.will.topic = Some("w".into()));
    let v5 = world.stream(|stream| stream.mqtt.v5 = true);
    let _first = world.start_for(&Identity::User(1), &with_will);
    let broker = world.connected().await;
    let mut meets = world.start_for(&Identity::User(1), &plain);
    meets.is_connected().await;
    let mut kept = vec![broker];
    for (client, policy) in [(2, &with_will), (1, &v5)] {
        let stream = world.start_for(&Identity::User(client), policy);
        let mut broker = world.accept().await;
        broker.packet().await;
        kept.push(broker);
        drop(stream);
    }
    let _plain_first = world.start_for(&Identity::User(3), &plain);
    kept.push(world.connected().await);
    let _will_second = world.start_for(&Identity::User(3), &with_will);
    kept.push(world.connected().await);
}

/// A stream that was given up while its connection was opened left the connection open.
#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_wait_leaves_no_connection() {
    let world = World::new();
    let policy = world.subscribed_to("t");
    let stream = world.start(&policy);
    let mut broker = world.accept().await;
    broker.packet().await;
    drop(stream);
    assert!(broker.is_left().await);
    let mut next = world.start(&policy);
    world.connected().await.grant().await;
    next.is_connected().await;
}

/// A broker ends the connection that has a client id when another one comes with the same.
#[tokio::test(start_paused = true)]
async fn one_client_id_has_one_connection_at_a_time() {
    let world =
        World::with(|config| config.credentials.change(|own| own.mqtt_client_id = "device".into()));
    let policy = world.stream(|stream| {
        stream.mqtt.topic = Some("t".into());
        stream.mqtt.clean_start = true;
    });
    for _ in 0..20 {
        let mut stream = world.start_for(&Identity::User(1), &policy);
        let mut broker = world.accept().await;
        let (_, connect) = broker.packet().await;
        assert!(connect.ends_with(b"\0\x06device"));
        broker.send(&[0x20, 2, 0, 0]).await;
        stream.is_connected().await;
        // Another client's, too.
        drop(stream);
        let mut next = world.start_for(&Identity::User(2), &policy);
        assert_eq!(broker.packet().await.0, 0xe0, "a goodbye before the next comes");
        assert!(broker.is_left().await);
        let mut broker = world.connected().await;
        next.is_connected().await;
        drop(next);
        assert_eq!(broker.packet().await.0, 0xe0);
        assert!(broker.is_left().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_shuts_down_waits_for_what_is_on_its_way() {
    let world = World::new();
    let mut stream = world.start(&world.stream(|stream| {
        stream.mqtt.topic = Some("t".into());
        stream.mqtt.qos = 1;
    }));
    let mut broker = world.connected().await;
    stream.is_connected().await;
    stream.send(b"last", Flags::WHOLE).await;
    let (closed, _) = tokio::sync::mpsc::channel(1);
    stream.handle.body = closed;
    let (_, body) = broker.packet().await;
    broker.send(&[0x40, 2, body[3], body[4]]).await;
    assert!(stream.verdict().await);
    let failure = stream.failure().await;
    assert_eq!((failure.kind, &failure.why[..]), (FailureKind::Closed, "the proxy left"));
    drop(stream);
    assert_eq!(broker.packet().await.0, 0xe0);
}
