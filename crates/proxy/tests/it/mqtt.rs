//! MQTT: a real mosquitto, our proxy, our client.

use std::fmt::Write as _;

use sspc::Address;
use sspc::tokio::{Client, Flags};
use sspc_proxy::Config;
use sspc_wire::{Piece, ToProxy};

use crate::content;
use crate::mosquitto::{Arrived, Mosquitto, PASSWORD, USER};
use crate::support::Serving;
use crate::user::User;

/// A broker, a proxy with streamtypes to it, and clients.
pub(crate) struct Gateway {
    pub(crate) broker: Mosquitto,
    serving: Serving,
}

impl Gateway {
    /// With these streamtypes, each a name and the inside of its JSON; `PORT` and its like stand for
    /// the broker's.
    pub(crate) async fn with(
        streamtypes: &[(&str, &str)],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        // Only the first test of a process sets it up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let broker = Mosquitto::start().await;
        let mut all = String::new();
        for (name, settings) in streamtypes {
            let separator = if all.is_empty() { "" } else { "," };
            let settings = settings
                .replace("TLS_PORT", &broker.ports.tls.to_string())
                .replace("GUARDED_PORT", &broker.ports.guarded.to_string())
                .replace("WS_PORT", &broker.ports.ws.to_string());
            let port = broker.ports.clear;
            let mut usual = r#""protocol": "mqtt", "endpoint": "localhost""#.to_owned();
            if !settings.contains("\"port\"") {
                write!(usual, r#", "port": {port}"#).unwrap();
            }
            if !settings.contains("\"retry\"") {
                usual += r#", "retry": "quick""#;
            }
            write!(all, r#"{separator}{{"{name}": {{{usual}, {settings}}}}}"#).unwrap();
        }
        let policy = format!(
            r#"{{"retry": [{{"quick": {{"backoff": [20], "conceal": 200, "jitterpc": 0,
                  "svalidping": 300, "svalidhup": 310}}}}, {{"none": {{"backoff": [20], "conceal": 0}}}}],
                "certs": [{{"authority": "{}"}}],
                "trust_stores": [{{"name": "test", "stack": ["authority"]}}],
                "s": [{all}]}}"#,
            broker.authority
        );
        Self { broker, serving: Serving::with(&policy, change) }
    }

    pub(crate) async fn of(streamtypes: &[(&str, &str)]) -> Self {
        Self::with(streamtypes, |_| {}).await
    }

    pub(crate) fn client(&self) -> Client {
        let path = self.serving.folder.path().join("ss");
        let address: Address = format!("uds:{}", path.display()).parse().unwrap();
        Client::new(address)
    }

    pub(crate) async fn open(&self, streamtype: &str) -> User {
        User::open(&self.client(), streamtype).await
    }

    /// A stream that is connected.
    pub(crate) async fn connected(&self, streamtype: &str) -> User {
        let mut user = self.open(streamtype).await;
        user.connect();
        user.until("CONNECTED").await;
        user.heard();
        user
    }
}

#[tokio::test]
async fn a_message_goes_to_its_topic_and_comes_from_there() {
    for version in ["", r#", "mqtt_v5": true"#] {
        for qos in 0..=2 {
            let out = format!(r#""mqtt_topic": "a/b", "mqtt_qos": {qos}{version}"#);
            let back = format!(r#""mqtt_subscribe": "a/+", "mqtt_qos": {qos}{version}"#);
            let gateway = Gateway::of(&[("out", &out), ("in", &back)]).await;
            let watcher = gateway.broker.subscribe("watcher", "#", 2).await;
            let mut sub = gateway.connected("in").await;
            let mut publ = gateway.open("out").await;
            publ.send_message(b"hello").await.unwrap();
            publ.until("QOS_ACK_REMOTE").await;
            assert_eq!(publ.heard(), "CREATING POLL CONNECTING CONNECTED QOS_ACK_REMOTE");
            publ.send_message(b"").await.unwrap();
            publ.until("QOS_ACK_REMOTE").await;
            sub.until_messages(2).await;
            assert_eq!(sub.heard(), "SOM EOM SOM EOM");
            assert_eq!(sub.messages[0].data, b"hello");
            assert_eq!(sub.messages[1].data, b"");
            let expected =
                ["hello", ""].map(|text| Arrived::new("a/b", qos, false, text.as_bytes()));
            assert_eq!(watcher.arrived().await, expected);
        }
    }
}

#[tokio::test]
async fn mqtt_runs_over_a_websocket() {
    // Longer than a buffer. Mosquitto takes some 40 KB/s over websockets.
    let long: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
    for version in ["", r#", "mqtt_v5": true"#] {
        let ws = format!(r#""port": WS_PORT, "mqtt_ws_path": "/mqtt", "mqtt_qos": 2{version}"#);
        let out = format!(r#"{ws}, "mqtt_topic": "a/b""#);
        let back = format!(r#"{ws}, "mqtt_subscribe": "a/+""#);
        let gateway = Gateway::of(&[("out", &out), ("in", &back)]).await;
        let watcher = gateway.broker.subscribe("watcher", "#", 2).await;
        let mut sub = gateway.connected("in").await;
        let mut publ = gateway.open("out").await;
        for message in [&b"hello"[..], &long] {
            publ.send_message(message).await.unwrap();
            publ.until("QOS_ACK_REMOTE").await;
        }
        sub.until_messages(2).await;
        assert_eq!(sub.messages[0].data, b"hello");
        assert!(sub.messages[1].data == long);
        let expected = [&b"hello"[..], &long].map(|text| Arrived::new("a/b", 2, false, text));
        assert!(watcher.arrived().await == expected);
    }
}

/// A broker without websockets at this port ends what it does not understand.
#[tokio::test]
async fn a_broker_without_websockets_is_unreachable_by_them() {
    let settings = r#""mqtt_ws_path": "/mqtt", "mqtt_topic": "t", "retry": "none""#;
    let gateway = Gateway::of(&[("out", settings)]).await;
    let mut user = gateway.open("out").await;
    user.connect();
    user.until("ALL_RETRIES_FAILED").await;
    assert!(!user.heard().contains(" CONNECTED"), "{}", user.heard());
}

/// The topic was made of the metadata that was set when the connection began.
#[tokio::test]
async fn each_message_goes_where_the_metadata_said_when_it_was_sent() {
    let settings = r#""mqtt_topic": "t/${n}", "mqtt_qos": 1, "metadata": [{"n": ""}]"#;
    let gateway = Gateway::of(&[("out", settings)]).await;
    let watcher = gateway.broker.subscribe("watcher", "t/#", 20).await;
    let mut client = gateway.serving.stream("out").await;
    // All of them are sent before the proxy has a connection.
    for n in 0..20 {
        let value = n.to_string();
        let value = Piece::whole(value.as_bytes()).unwrap();
        client.send(ToProxy::Metadata { name: b"n", value }).await;
        client.payload(format!("message {n}").as_bytes(), Flags::WHOLE).await;
    }
    let expected: Vec<_> = (0..20)
        .map(|n| Arrived::new(&format!("t/{n}"), 1, false, format!("message {n}").as_bytes()))
        .collect();
    assert_eq!(watcher.arrived().await, expected);
}

#[tokio::test]
async fn pieces_are_one_message_up_to_eom_and_a_hint_holds_for_one() {
    let gateway = Gateway::of(&[("out", r#""mqtt_topic": "t", "mqtt_qos": 1"#)]).await;
    let watcher = gateway.broker.subscribe("watcher", "t", 3).await;
    let mut user = gateway.open("out").await;
    user.send(b"one ", Flags::SOM).await.unwrap();
    user.send(b"of ", Flags::NONE).await.unwrap();
    user.send(b"three", Flags::EOM).await.unwrap();
    user.until("QOS_ACK_REMOTE").await;
    user.send_message(b"with a hint").await.unwrap();
    user.until("QOS_ACK_REMOTE").await;
    user.send(b"and ", Flags::SOM).await.unwrap();
    user.send(b"without, longer than the hint", Flags::EOM).await.unwrap();
    user.until("QOS_ACK_REMOTE").await;
    let payloads: Vec<_> =
        watcher.arrived().await.into_iter().map(|message| message.payload).collect();
    let expected = ["one of three", "with a hint", "and without, longer than the hint"];
    assert_eq!(payloads, expected.map(|text| text.as_bytes().to_vec()));
}

#[tokio::test]
async fn a_message_may_be_as_long_as_the_limit_and_no_longer() {
    let gateway = Gateway::with(
        &[("out", r#""mqtt_topic": "t", "mqtt_qos": 1"#), ("in", r#""mqtt_subscribe": "t""#)],
        |config| config.limits.mqtt_message = 600_000,
    )
    .await;
    let mut sub = gateway.connected("in").await;
    let mut user = gateway.open("out").await;
    user.send_message(content::whole(600_000)).await.unwrap();
    user.until("QOS_ACK_REMOTE|QOS_NACK_REMOTE").await;
    assert!(user.heard().ends_with("QOS_ACK_REMOTE"));
    sub.until_messages(1).await;
    sub.assert_content(600_000);
    // With its length announced, and without.
    user.send_message(content::whole(600_001)).await.unwrap();
    user.until("QOS_ACK_REMOTE|QOS_NACK_REMOTE").await;
    assert_eq!(user.heard(), "QOS_NACK_REMOTE");
    user.send(content::whole(600_001), Flags::WHOLE).await.unwrap();
    user.until("QOS_ACK_REMOTE|QOS_NACK_REMOTE").await;
    assert_eq!(user.heard(), "QOS_NACK_REMOTE");
    user.send_message(b"short again").await.unwrap();
    user.until("QOS_ACK_REMOTE|QOS_NACK_REMOTE").await;
    assert_eq!(user.heard(), "QOS_ACK_REMOTE");
    sub.until_messages(2).await;
    assert_eq!(sub.messages[1].data, b"short again");
}

/// Far more than may wait anywhere.
#[tokio::test]
async fn a_large_message_comes_whole() {
    let gateway = Gateway::of(&[("in", r#""mqtt_subscribe": "t", "mqtt_qos": 2"#)]).await;
    let mut sub = gateway.connected("in").await;
    gateway.broker.publish("t", &content::whole(5_000_000), &["-q", "2"]).await;
    sub.until_messages(1).await;
    sub.assert_content(5_000_000);
    gateway.broker.until_logged("Received PUBCOMP", 1).await;
}

#[tokio::test]
async fn birth_is_published_once_a_connection_and_the_will_when_it_is_lost() {
    let settings = r#""mqtt_topic": "t", "metadata": [{"n": ""}],
        "mqtt_birth_topic": "birth/${n}", "mqtt_birth_message": "${n} is here", "mqtt_birth_qos": 1,
        "mqtt_birth_retain": true, "mqtt_will_topic": "will/${n}", "mqtt_will_message": "${n} is gone",
        "mqtt_will_qos": 2, "mqtt_will_retain": true"#;
    let gateway = Gateway::of(&[("out", settings)]).await;
    let births = gateway.broker.subscribe("births", "birth/#", 1).await;
    let mut user = gateway.open("out").await;
    user.set_metadata("n", "seven").unwrap();
    user.connect();
    user.until("CONNECTED").await;
    assert_eq!(user.heard(), "CREATING CONNECTING CONNECTED", "its acknowledgement is not told");
    let mut second = gateway.open("out").await;
    second.set_metadata("n", "seven").unwrap();
    second.connect();
    second.until("CONNECTED").await;
    assert_eq!(births.arrived().await, [Arrived::new("birth/seven", 1, false, b"seven is here")]);
    assert_eq!(gateway.broker.count("'birth/seven'"), 2, "received once and sent once");

    // A goodbye: no will.
    user.close().await;
    second.close().await;
    gateway.broker.until_logged("Received DISCONNECT", 2).await;
    assert_eq!(gateway.broker.count("'will/seven'"), 0);

    // None: the proxy is gone without one.
    let wills = gateway.broker.subscribe("wills", "will/#", 1).await;
    let mut user = gateway.open("out").await;
    user.set_metadata("n", "seven").unwrap();
    user.send_message(b"alive").await.unwrap();
    user.until("QOS_ACK_REMOTE").await;
    gateway.broker.kick().await;
    assert_eq!(wills.arrived().await, [Arrived::new("will/seven", 2, false, b"seven is gone")]);
}

#[tokio::test]
async fn a_new_stream_gets_what_the_broker_kept_and_the_others_do_not_get_it_again() {
    let gateway = Gateway::of(&[
        ("out", r#""mqtt_topic": "kept", "mqtt_qos": 1, "mqtt_retain": true"#),
        ("in", r#""mqtt_subscribe": "kept", "mqtt_qos": 1"#),
    ])
    .await;
    let mut publ = gateway.open("out").await;
    publ.send_message(b"kept").await.unwrap();
    publ.until("QOS_ACK_REMOTE").await;
    let mut subs = Vec::new();
    for _ in 0..3 {
        let mut sub = gateway.connected("in").await;
        sub.until_messages(1).await;
        subs.push(sub);
    }
    publ.send_message(b"new").await.unwrap();
    for sub in &mut subs {
        sub.until_messages(2).await;
        let data: Vec<_> = sub.messages.iter().map(|message| &message.data[..]).collect();
        assert_eq!(data, [b"kept".as_slice(), b"new"]);
    }
    assert_eq!(gateway.broker.count("New client connected"), 1, "all share a connection");
}

#[tokio::test]
async fn over_tls() {
    let settings = r#""mqtt_topic": "t", "mqtt_subscribe": "t", "mqtt_qos": 1, "tls": true,
        "tls_trust_store": "test", "port": TLS_PORT"#;
    // The platform's authorities do not know the test's.
    let distrusts = settings.replace(r#""tls_trust_store": "test","#, "") + r#", "retry": "none""#;
    let gateway = Gateway::of(&[("both", settings), ("distrusts", &distrusts)]).await;
    let mut user = gateway.open("distrusts").await;
    user.connect();
    user.until("CONNECTED|ALL_RETRIES_FAILED").await;
    assert_eq!(user.heard(), "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED");
    let mut user = gateway.open("both").await;
    user.send_message(b"echo").await.unwrap();
    user.until_messages(1).await;
    assert_eq!(user.messages[0].data, b"echo");
}

#[tokio::test]
async fn user_and_password_come_from_the_device() {
    let settings = r#""mqtt_topic": "t", "mqtt_qos": 1, "port": GUARDED_PORT, "retry": "none""#;
    for (user, password, expected) in [
        (USER, PASSWORD, "CREATING CONNECTING CONNECTED"),
        (USER, "wrong", "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED"),
        ("", "", "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED"),
    ] {
        let gateway = Gateway::with(&[("out", settings)], |config| {
            config.credentials.mqtt_user = user.into();
            config.credentials.mqtt_password = password.into();
        })
        .await;
        let mut stream = gateway.open("out").await;
        stream.connect();
        stream.until("CONNECTED|ALL_RETRIES_FAILED").await;
        assert_eq!(stream.heard(), expected, "{user} {password}");
    }
}

#[tokio::test]
async fn a_stream_comes_back_when_its_broker_does() {
    let mut gateway = Gateway::of(&[
        ("out", r#""mqtt_topic": "t", "mqtt_qos": 1"#),
        ("in", r#""mqtt_subscribe": "t", "mqtt_qos": 1"#),
        ("once", r#""mqtt_subscribe": "t", "opportunistic": true"#),
    ])
    .await;
    let mut sub = gateway.connected("in").await;
    let mut publ = gateway.connected("out").await;
    let mut once = gateway.connected("once").await;
    gateway.broker.stop();
    sub.until("DISCONNECTED").await;
    publ.until("DISCONNECTED").await;
    assert_eq!(once.end().await, "DISCONNECTED", "it comes back when it is asked to");
    gateway.broker.start_again().await;
    sub.until("CONNECTED").await;
    publ.until("CONNECTED").await;
    publ.send_message(b"again").await.unwrap();
    sub.until_messages(1).await;
    publ.until("QOS_ACK_REMOTE").await;
    once.connect();
    once.until("CONNECTED").await;
    publ.send_message(b"for both").await.unwrap();
    once.until_messages(1).await;
    sub.until_messages(2).await;
}

#[tokio::test]
async fn a_subscription_that_the_broker_refuses_is_no_connection() {
    let settings = r#""mqtt_subscribe": "${n}", "metadata": [{"n": ""}], "mqtt_v5": true,
        "retry": "none""#;
    let gateway = Gateway::of(&[("in", settings)]).await;
    let mut user = gateway.open("in").await;
    user.set_metadata("n", "$share/a#").unwrap();
    user.connect();
    user.until("CONNECTED|ALL_RETRIES_FAILED").await;
    assert_eq!(user.heard(), "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED");
}

/// With a client id of the device's own and `mqtt_clean_start` off.
#[tokio::test]
async fn a_session_that_the_broker_kept_is_taken_up_again() {
    let settings = r#""mqtt_subscribe": "t", "mqtt_qos": 1"#;
    for version in ["", r#", "mqtt_v5": true"#] {
        let gateway = Gateway::with(&[("in", &format!("{settings}{version}"))], |config| {
            config.credentials.mqtt_client_id = "device".into();
        })
        .await;
        let user = gateway.connected("in").await;
        user.close().await;
        gateway.broker.until_logged("Received DISCONNECT from device", 1).await;
        gateway.broker.publish("t", b"meanwhile", &["-q", "1"]).await;
        let mut user = gateway.connected("in").await;
        user.until_messages(1).await;
        assert_eq!(user.messages[0].data, b"meanwhile");
        assert_eq!(gateway.broker.count("Sending CONNACK to device (1, 0)"), 1);
        assert_eq!(gateway.broker.count("Received SUBSCRIBE from device"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_share_one_connection() {
    let settings = r#""mqtt_topic": "t/${n}", "mqtt_subscribe": "t/${n}", "mqtt_qos": 1,
        "metadata": [{"n": ""}]"#;
    let gateway = Gateway::of(&[("both", settings)]).await;
    let client = gateway.client();
    let mut users = Vec::new();
    for n in 0..1000 {
        let user = User::open(&client, "both").await;
        user.set_metadata("n", n.to_string()).unwrap();
        user.connect();
        users.push(user);
    }
    for user in &mut users {
        user.until("CONNECTED").await;
    }
    for (n, user) in users.iter_mut().enumerate() {
        user.send_message(format!("message {n}").as_bytes()).await.unwrap();
    }
    for (n, user) in users.iter_mut().enumerate() {
        user.until_messages(1).await;
        assert_eq!(user.messages[0].data, format!("message {n}").as_bytes());
        assert_eq!(user.messages.len(), 1);
    }
    assert_eq!(gateway.broker.count("New client connected"), 1);
}
