//! The buses of several proxies, joined through a real mosquitto.

use std::collections::BTreeMap;
use std::time::Duration;

use sspc_proxy::{Classes, Config, DeviceCredentials, Proxy, SmdBridge, Subscription};
use tokio::time::{sleep, timeout};

use crate::mosquitto::{Mosquitto, PASSWORD, USER};
use crate::support::*;
use crate::user::PATIENCE;

const EMPTY: &str = r#"{"s": []}"#;
const PREFIX: &str = "site/smd";

fn user0() -> Classes {
    Classes::user(0).unwrap()
}

/// A proxy whose bus is joined with others at this port.
fn joined(port: u16, change: impl FnOnce(&mut SmdBridge)) -> Serving {
    let mut bridge: SmdBridge = format!("mqtt://127.0.0.1:{port}/{PREFIX}").parse().unwrap();
    change(&mut bridge);
    Serving::with(EMPTY, |config| {
        config.smd_bridge = Some(bridge);
        // Listeners may read late.
        config.limits.smd_queue = 1_000;
        config.credentials.mqtt_client_id = "the-same-of-all".into();
        config.credentials.mqtt_user = USER.into();
        config.credentials.mqtt_password = PASSWORD.into();
    })
}

/// A program at a proxy, and what it heard, each text with how often.
struct Listener {
    messages: Subscription,
    heard: BTreeMap<String, usize>,
}

impl Listener {
    fn of(serving: &Serving) -> Self {
        let messages = serving.handle.smd().subscribe(Classes::ALL);
        Self { messages, heard: BTreeMap::new() }
    }

    /// Waits until this is heard.
    async fn until(&mut self, text: &str) {
        while !self.heard.contains_key(text) {
            let message = timeout(PATIENCE, self.messages.recv()).await.expect(text);
            let text = format!("{} {}", message.class, String::from_utf8_lossy(&message.text));
            *self.heard.entry(text).or_default() += 1;
        }
    }
}

/// Ready when what one proxy says comes to another.
async fn linked(from: &Serving, to: &Serving) {
    let mut heard = to.handle.smd().subscribe(user0());
    let probe = format!("probe {:x}", rand::random::<u64>());
    for _ in 0..1_000 {
        from.handle.smd().publish(user0(), probe.clone()).unwrap();
        let wait = Duration::from_millis(50);
        if let Ok(message) = timeout(wait, heard.recv()).await
            && message.text == probe
        {
            return;
        }
    }
    panic!("not linked");
}

async fn all_linked(sites: &[Serving]) {
    for from in sites {
        for to in sites {
            linked(from, to).await;
        }
    }
    // Probes that are still on their way.
    sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn what_one_proxys_clients_say_the_clients_of_all_hear_once() {
    const MESSAGES: usize = 20;
    let mosquitto = Mosquitto::start().await;
    let sites: Vec<_> = (0..3).map(|_| joined(mosquitto.ports.guarded, |_| {})).collect();
    all_linked(&sites).await;
    let mut listeners: Vec<_> = sites.iter().map(Listener::of).collect();
    let mut clients = Vec::new();
    for (number, site) in sites.iter().enumerate() {
        let address = format!("uds:{}", site.folder.path().join("ss").display());
        let client = sspc::tokio::Client::new(address.parse().unwrap());
        let smd = client.smd(Classes::NONE).await.unwrap();
        for message in 0..MESSAGES {
            smd.send(user0(), format!("{message} of {number}")).await.unwrap();
            smd.send(Classes::NETWORK, format!("{message} of {number} stays")).await.unwrap();
        }
        smd.send(Classes::INTERACTION | Classes::SYSTEM_STATE, format!("end of {number}"))
            .await
            .unwrap();
        clients.push(smd);
    }
    for (own, listener) in listeners.iter_mut().enumerate() {
        for number in 0..sites.len() {
            // What does not travel does not even as a part of it.
            let class = if number == own { "interaction,system_state" } else { "interaction" };
            listener.until(&format!("{class} end of {number}")).await;
        }
        let mut expected = BTreeMap::new();
        for number in 0..sites.len() {
            for message in 0..MESSAGES {
                expected.insert(format!("user0 {message} of {number}"), 1);
                if number == own {
                    expected.insert(format!("network {message} of {number} stays"), 1);
                }
            }
            let class = if number == own { "interaction,system_state" } else { "interaction" };
            expected.insert(format!("{class} end of {number}"), 1);
        }
        listener.heard.retain(|text, _| !text.contains("OPERATIONAL"));
        assert_eq!(listener.heard, expected, "at {own}");
    }
}

/// A message that came from the broker went back there, round and round.
#[tokio::test]
async fn what_other_programs_publish_comes_to_all_once_and_goes_nowhere_else() {
    let mosquitto = Mosquitto::start().await;
    let sites: Vec<_> = (0..2).map(|_| joined(mosquitto.ports.clear, |_| {})).collect();
    all_linked(&sites).await;
    let mut listeners: Vec<_> = sites.iter().map(Listener::of).collect();
    let topic = format!("{PREFIX}/cockpit");
    for payload in [
        r#"{"class":"user0,system_state,network","text":"{\"state\":\"DESTROYING\"}"}"#,
        r#"{"class":"system_state","text":"{\"state\":\"DESTROYING\"}"}"#,
        r#"{"class":"user0","text":"hello"}"#,
        "no message",
        &format!(r#"{{"class":"user0","text":"{}"}}"#, "x".repeat(384)),
        &"x".repeat(5_000),
        r#"{"class":"interaction","text":"end"}"#,
    ] {
        mosquitto.publish(&topic, payload.as_bytes(), &["-q", "1"]).await;
    }
    for (number, listener) in listeners.iter_mut().enumerate() {
        listener.until("interaction end").await;
        // And then a message of each that would come behind what the other one sent back.
        sites[1 - number].handle.smd().publish(user0(), "behind").unwrap();
        listener.until("user0 behind").await;
        let heard: Vec<_> =
            listener.heard.iter().map(|(text, count)| (text.as_str(), *count)).collect();
        let mut expected = vec![
            ("interaction end", 1),
            ("system_state {\"state\":\"OPERATIONAL\"}", 1),
            ("user0 behind", 1),
            ("user0 hello", 1),
            ("user0 {\"state\":\"DESTROYING\"}", 1),
        ];
        expected.sort_unstable();
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn the_way_to_the_broker_may_be_encrypted() {
    let mosquitto = Mosquitto::start().await;
    let text = format!(
        r#"{{"certs": [{{"ca": "{}"}}], "trust_stores": [{{"name": "rig", "stack": ["ca"]}}], "s": []}}"#,
        mosquitto.authority
    );
    let address = format!("mqtts://localhost:{}/{PREFIX}?trust_store=rig", mosquitto.ports.tls);
    let bridge: SmdBridge = address.parse().unwrap();
    let sites: Vec<_> = (0..2)
        .map(|_| Serving::with(&text, |config| config.smd_bridge = Some(bridge.clone())))
        .collect();
    all_linked(&sites).await;

    let mut config = Config::new(policy(EMPTY));
    config.smd_bridge = Some(bridge);
    let error = Proxy::new(config).unwrap_err().to_string();
    assert!(error.contains("the policy has no trust store \"rig\""), "{error}");
}

#[tokio::test]
async fn more_travels_if_that_is_asked_for() {
    let mosquitto = Mosquitto::start().await;
    let more = |bridge: &mut SmdBridge| bridge.classes = Classes::NETWORK | user0();
    let sites: Vec<_> = (0..2).map(|_| joined(mosquitto.ports.clear, more)).collect();
    all_linked(&sites).await;
    let mut listener = Listener::of(&sites[1]);
    sites[0].handle.smd().publish(Classes::NETWORK, r#"{"trigger":"cpdcheck"}"#).unwrap();
    listener.until(r#"network {"trigger":"cpdcheck"}"#).await;
}

#[tokio::test]
async fn a_broker_that_comes_back_joins_them_again() {
    let mut mosquitto = Mosquitto::start().await;
    let sites: Vec<_> = (0..2).map(|_| joined(mosquitto.ports.clear, |_| {})).collect();
    all_linked(&sites).await;
    mosquitto.stop();
    // Each for itself.
    let mut own = Listener::of(&sites[0]);
    sites[0].handle.smd().publish(user0(), "alone").unwrap();
    own.until("user0 alone").await;
    mosquitto.start_again().await;
    all_linked(&sites).await;
}

/// Nothing but a reload gives it a password that is right.
#[tokio::test]
async fn credentials_that_change_are_used_for_the_next_connection() {
    let mosquitto = Mosquitto::start().await;
    let site = joined(mosquitto.ports.guarded, |_| {});
    let other = joined(mosquitto.ports.guarded, |_| {});
    let mut wrong = DeviceCredentials::default();
    wrong.mqtt_user = USER.into();
    wrong.mqtt_password = "wrong".into();
    linked(&site, &other).await;
    drop(other);
    let late = Serving::with(EMPTY, |config| {
        config.credentials = wrong;
        config.smd_bridge =
            Some(format!("mqtt://127.0.0.1:{}/{PREFIX}", mosquitto.ports.guarded).parse().unwrap());
    });
    sleep(Duration::from_millis(300)).await;
    let mut right = DeviceCredentials::default();
    right.mqtt_user = USER.into();
    right.mqtt_password = PASSWORD.into();
    late.handle.set_credentials(right);
    linked(&site, &late).await;
}
