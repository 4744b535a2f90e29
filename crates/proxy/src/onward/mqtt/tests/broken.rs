//! Brokers that break the protocol, refuse, or are silent: each ends the streams of its connection,
//! says why, and leaves nothing behind.

use sspc_wire::Flags;

use super::support::World;
use crate::onward::FailureKind;

/// What is wrong with what a broker sends to a stream that is connected, and the bytes.
const BROKEN: [(&str, &[u8]); 28] = [
    ("a type that does not exist", &[0x00, 0]),
    ("CONNECT", &[0x10, 0]),
    ("a second CONNACK", &[0x20, 2, 0, 0]),
    ("CONNACK with flags", &[0x21, 2, 0, 0]),
    ("quality of service 3", &[0x36, 5, 0, 1, b't', 0, 1]),
    ("a copy at quality of service 0", &[0x38, 3, 0, 1, b't']),
    ("a message shorter than its topic", &[0x30, 3, 0, 9, b't']),
    ("a message too short for its identifier", &[0x32, 4, 0, 1, b't', 0]),
    ("a message with identifier 0", &[0x32, 5, 0, 1, b't', 0, 0]),
    ("a message to no topic", &[0x30, 2, 0, 0]),
    ("a message to a filter", &[0x30, 3, 0, 1, b'#']),
    ("a topic with NUL", &[0x30, 3, 0, 1, 0]),
    ("a topic that is not UTF-8", &[0x30, 3, 0, 1, 0xff]),
    ("a length of five bytes", &[0x30, 0x80, 0x80, 0x80, 0x80, 1]),
    ("a length longer than it needs", &[0xd0, 0x80, 0]),
    ("PUBACK with identifier 0", &[0x40, 2, 0, 0]),
    ("PUBACK too long", &[0x40, 3, 0, 1, 0]),
    ("PUBREC with flags", &[0x52, 2, 0, 1]),
    ("PUBREL without its flags", &[0x60, 2, 0, 1]),
    ("PUBCOMP too short", &[0x70, 1, 0]),
    ("SUBSCRIBE", &[0x82, 0]),
    ("SUBACK for what was not asked", &[0x90, 3, 0, 9, 0]),
    ("SUBACK without a code", &[0x90, 2, 0, 1]),
    ("UNSUBACK for what was not asked", &[0xb0, 2, 0, 1]),
    ("PINGREQ", &[0xc0, 0]),
    ("a ping's answer with a body", &[0xd0, 1, 0]),
    ("DISCONNECT of a broker of 3.1.1", &[0xe0, 0]),
    ("a SUBACK of 256 MiB", &[0x90, 0xff, 0xff, 0xff, 0x7f]),
];

#[tokio::test(start_paused = true)]
async fn broken_packets_end_the_connection_and_nothing_else() {
    for (what, bytes) in BROKEN {
        let world = World::new();
        let policy = world.subscribed_to("t");
        let (mut one, mut other) = (world.start(&policy), world.start(&policy));
        let mut broker = world.connected().await;
        broker.grant().await;
        one.is_connected().await;
        other.is_connected().await;
        // What came before is passed on; the message after it is none.
        broker.publish("t", b"good").await;
        broker.send(bytes).await;
        broker.publish("t", b"bad").await;
        for stream in [&mut one, &mut other] {
            assert_eq!(stream.message().await, b"good", "{what}");
            let failure = stream.failure().await;
            assert_eq!(failure.kind, FailureKind::Protocol, "{what}: {failure}");
            assert!(failure.why.contains("the broker broke the protocol: "), "{what}: {failure}");
        }
        assert!(broker.is_left().await, "{what}");
        drop((one, other));
        assert_eq!(world.counts.memory_held.read(), 0, "{what}");
        // The next one is as good as ever.
        let mut again = world.start(&policy);
        world.connected().await.grant().await;
        again.is_connected().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_stream_from_connecting_is_said() {
    for (answer, kind, expected) in [
        (&[0x20, 2, 0, 4][..], FailureKind::Refused, "bad user name or password (code 4)"),
        (&[0x20, 2, 0, 5], FailureKind::Refused, "not authorized (code 5)"),
        (&[0x20, 2, 0, 3], FailureKind::Busy, "it is not available (code 3)"),
        (&[0x20, 2, 1, 0], FailureKind::Protocol, "a session that was not asked for"),
        (&[0x30, 3, 0, 1, b't'], FailureKind::Protocol, "its first packet is no CONNACK"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", FailureKind::Protocol, "a PUBACK with the flags 0x8"),
        (&[], FailureKind::Silent, "the broker has not answered CONNECT in 15s"),
    ] {
        let world = World::new();
        let mut stream = world.start(&world.subscribed_to("t"));
        let mut broker = world.accept().await;
        broker.packet().await;
        broker.send(answer).await;
        let failure = stream.failure().await;
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.why.ends_with(expected), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_is_refused_to_its_streams_alone() {
    let world = World::new();
    let mut good = world.start(&world.subscribed_to("good"));
    let mut broker = world.connected().await;
    broker.grant().await;
    good.is_connected().await;
    let mut bad = world.start(&world.subscribed_to("bad"));
    let (_, body) = broker.packet().await;
    broker.send(&[0x90, 3, body[0], body[1], 0x80]).await;
    let failure = bad.failure().await;
    assert_eq!(failure.kind, FailureKind::Refused);
    assert_eq!(failure.why, "the broker refused the subscription to \"bad\": refused (code 128)");
    broker.publish("good", b"goes on").await;
    assert_eq!(good.message().await, b"goes on");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_not_answered_ends_the_connection() {
    let world = World::new();
    let mut stream = world.start(&world.subscribed_to("t"));
    let _broker = world.connected().await;
    let failure = stream.failure().await;
    assert_eq!(failure.kind, FailureKind::Silent);
    assert!(failure.why.ends_with("the broker has not answered SUBSCRIBE in 15s"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_birth_message_that_is_not_acknowledged_is_no_connection() {
    let world = World::new();
    let mut stream = world.start(&world.stream(|stream| {
        stream.mqtt.birth.topic = Some("birth".into());
        stream.mqtt.birth.qos = 1;
    }));
    let mut broker = world.connected().await;
    for first in [0x32, 0x3a, 0x3a, 0x3a] {
        assert_eq!(broker.packet().await.0, first);
    }
    let failure = stream.failure().await;
    assert_eq!(failure.kind, FailureKind::Silent);
    assert!(failure.why.ends_with("did not acknowledge the birth message"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_is_refused_and_nothing_else() {
    let world = World::new();
    let mut stream = world.start(&world.stream(|stream| {
        stream.mqtt.topic = Some("a/#/b".into());
        stream.mqtt.qos = 1;
    }));
    let _broker = world.connected().await;
    stream.is_connected().await;
    for _ in 0..3 {
        stream.send(b"message", Flags::WHOLE).await;
        assert!(!stream.verdict().await);
    }
    let mut silent = world.start(&world.subscribed_to("t"));
    let mut broker = _broker;
    broker.grant().await;
    silent.is_connected().await;
    silent.send(b"to no topic", Flags::WHOLE).await;
    assert!(!silent.verdict().await);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_one_message_at_a_time_gets_no_more() {
    let world = World::new();
    let mut stream = world.start(&world.stream(|stream| {
        stream.mqtt.topic = Some("t".into());
        stream.mqtt.qos = 2;
        stream.mqtt.v5 = true;
    }));
    let mut broker = world.accept().await;
    broker.packet().await;
    // Receive maximum 1.
    broker.send(&[0x20, 6, 0, 0, 3, 0x21, 0, 1]).await;
    stream.is_connected().await;
    for _ in 0..5 {
        stream.send(b"message", Flags::WHOLE).await;
    }
    for _ in 0..5 {
        let (first, body) = broker.packet().await;
        assert_eq!(first, 0x34);
        let id = [body[3], body[4]];
        // Answers to nothing, and one twice.
        broker.send(&[0x50, 2, 0x7f, 1, 0x40, 2, id[0], id[1], 0x70, 2, 0x7f, 2]).await;
        broker.send(&[0x50, 2, id[0], id[1], 0x50, 2, id[0], id[1]]).await;
        for expected in [[0x7f, 1], id, id] {
            assert_eq!(broker.packet().await, (0x62, expected.to_vec()), "nothing else is sent");
        }
        broker.send(&[0x70, 2, id[0], id[1], 0x70, 2, id[0], id[1]]).await;
        assert!(stream.verdict().await);
    }
}

/// Another proxy has the same client id: both take the connection from each other.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_taken_over_says_so() {
    let world =
        World::with(|config| config.credentials.change(|own| own.mqtt_client_id = "device".into()));
    let mut stream = world.start(&world.stream(|stream| stream.mqtt.v5 = true));
    let mut broker = world.accept().await;
    broker.packet().await;
    broker.send(&[0x20, 3, 0, 0, 0]).await;
    stream.is_connected().await;
    broker.send(&[0xe0, 2, 0x8e, 0]).await;
    let failure = stream.failure().await;
    assert_eq!(failure.kind, FailureKind::Closed);
    assert!(
        failure.why.ends_with("another connection has the same client id (code 142)"),
        "{failure}"
    );
    assert!(!world.is_connected_again().await, "when to come back is up to the retry policy");
}

/// The connection is lost with messages on their way: the client hears which ones were acknowledged.
#[tokio::test(start_paused = true)]
async fn verdicts_that_came_before_the_end_are_told_before_it() {
    let world = World::new();
    let mut stream = world.start(&world.stream(|stream| {
        stream.mqtt.topic = Some("t".into());
        stream.mqtt.qos = 1;
    }));
    let mut broker = world.connected().await;
    stream.is_connected().await;
    for _ in 0..3 {
        stream.send(b"message", Flags::WHOLE).await;
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(broker.packet().await.1[3..5].to_vec());
    }
    // The answer to the second comes first, and waits for that to the first.
    for id in [&ids[1], &ids[0]] {
        broker.send(&[0x40, 2, id[0], id[1]]).await;
    }
    drop(broker);
    assert!(stream.verdict().await);
    assert!(stream.verdict().await);
    assert_eq!(stream.failure().await.kind, FailureKind::Closed);
}
