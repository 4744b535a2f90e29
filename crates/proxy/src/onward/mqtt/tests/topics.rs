//! Clients that try to reach topics that the policy does not mean.

use sspc_wire::Flags;

use super::support::World;
use crate::onward::FailureKind;

/// Values that would leave their level.
const HOSTILE: [&str; 4] = ["+", "#", "lamp/other", "../other"];

#[tokio::test(start_paused = true)]
async fn a_value_does_not_widen_a_subscription() {
    let world = World::new();
    let policy = world.with_n(|stream| stream.mqtt.subscribe = Some("devices/${n}/command".into()));
    for value in HOSTILE {
        let failure = world.start_with(&policy, "n", value).failure().await;
        assert_eq!(failure.kind, FailureKind::Request, "{value}: {failure}");
        assert!(failure.why.contains("in the policy's topic"), "{value}: {failure}");
    }
    let broad = world.with_n(|stream| stream.mqtt.subscribe = Some("${n}/command".into()));
    let failure = world.start_with(&broad, "n", "$SYS").failure().await;
    assert_eq!(failure.kind, FailureKind::Request, "{failure}");
    assert!(!world.is_connected_again().await);
    let mut good = world.start_with(&policy, "n", "lamp");
    let mut broker = world.connected().await;
    assert_eq!(broker.grant().await, b"devices/lamp/command");
    good.is_connected().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_leads_no_message_to_another_level() {
    for value in HOSTILE.into_iter().chain(["\0"]) {
        let world = World::new();
        let policy = world.with_n(|stream| stream.mqtt.topic = Some("devices/${n}/state".into()));
        let mut stream = world.start_with(&policy, "n", value);
        let mut broker = world.connected().await;
        stream.is_connected().await;
        stream.send(b"refused", Flags::WHOLE).await;
        assert!(!stream.verdict().await, "{value:?}");
        drop(stream);
        assert_eq!(broker.packet().await.0, 0xe0, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_makes_no_will_or_birth_elsewhere() {
    let world = World::new();
    let will = world.with_n(|stream| stream.mqtt.will.topic = Some("devices/${n}/gone".into()));
    let birth = world.with_n(|stream| stream.mqtt.birth.topic = Some("devices/${n}/here".into()));
    for policy in [will, birth] {
        let failure = world.start_with(&policy, "n", "lamp/other").failure().await;
        assert_eq!(failure.kind, FailureKind::Request, "{failure}");
    }
    assert!(!world.is_connected_again().await);
}

/// The answers to every shadow were subscribed to before the message was refused.
#[tokio::test(start_paused = true)]
async fn a_wildcard_for_a_shadow_brings_no_answers_to_others() {
    for (topic, value) in [
        ("$aws/things/${n}/shadow/get", "+"),
        ("${n}", "$aws/things/+/shadow/get"),
        ("${n}", "$aws/things/a\0b/shadow/get"),
    ] {
        let world = World::new();
        let policy = world.with_n(|stream| {
            stream.mqtt.topic = Some(topic.into());
            stream.mqtt.aws_iot = true;
        });
        let mut stream = world.start_with(&policy, "n", value);
        let mut broker = world.connected().await;
        stream.is_connected().await;
        stream.send(b"refused", Flags::WHOLE).await;
        assert!(!stream.verdict().await, "{value:?}");
        drop(stream);
        assert_eq!(broker.packet().await.0, 0xe0, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_for_aws_iot_has_256_bytes_at_most() {
    for (length, expected) in [(256, true), (257, false)] {
        let world = World::new();
        let policy = world.with_n(|stream| {
            stream.mqtt.topic = Some("t/${n}".into());
            stream.mqtt.aws_iot = true;
        });
        let mut stream = world.start_with(&policy, "n", &"x".repeat(length - 2));
        let _broker = world.connected().await;
        stream.is_connected().await;
        stream.send(b"message", Flags::WHOLE).await;
        assert_eq!(stream.verdict().await, expected, "{length}");
    }
}
