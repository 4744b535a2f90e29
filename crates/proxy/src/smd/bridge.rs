//! The buses of many proxies joined through an MQTT broker.
//!
//! Each proxy publishes what is said on its own bus to `PREFIX/ORIGIN`, ORIGIN being its own number, and
//! subscribes to `PREFIX/+`. A message says where it comes from, so a proxy leaves out its own; and
//! what came from the broker never goes back there, whatever else listens.
//!
//! It is an mqtt stream as clients have them, on connections of its own, and uses nothing else of the
//! proxy.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use serde_json::{Map, Value};
use sspc_policy::{Policy, Protocol, StreamType, Template};
use sspc_wire::Flags;
use sspc_wire::smd::Classes;
use tokio::time::sleep;
use tracing::{Instrument as _, debug, info, warn, warn_span};
use url::{Host, Url};

use super::bus::{Member, Queued, Sender};
use super::{Smd, SmdMessage};
use crate::config::DeviceCredentials;
use crate::identity::Identity;
use crate::memory::Memory;
use crate::onward::{Attempt, AttemptHandle, End, Event, Onward, OnwardConfig, TxChunk};

/// The longest message of a broker that is looked at, in bytes: a text of which each byte is escaped
/// takes no more.
const PAYLOAD_MAX: usize = 4096;
/// How often the broker hears from the proxy at least, in s.
const KEEP_ALIVE_S: u16 = 30;
/// The waits between attempts to reach the broker, the last of which repeats; with a random part, so
/// that not all proxies come back at once.
const BACKOFF: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Where the buses of many proxies meet: an MQTT broker, and a topic there.
///
/// ```
/// use sspc_proxy::{Classes, SmdBridge};
///
/// let mut bridge: SmdBridge = "mqtts://broker.example.com/site/smd".parse()?;
/// assert_eq!(bridge.classes, Classes::USER | Classes::INTERACTION);
/// bridge.classes = Classes::USER;
/// # Ok::<(), sspc_proxy::SmdBridgeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmdBridge {
    host: String,
    port: u16,
    tls: bool,
    prefix: String,
    /// The policy's trust store for the broker's certificate; the platform's without one.
    trust_store: Option<String>,
    /// What travels, both ways. By default what the applications say themselves: [`Classes::USER`] and
    /// [`Classes::INTERACTION`]. With more, other proxies may say what this proxy says of itself.
    pub classes: Classes,
}

/// A text is not the address of a broker and a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected mqtt://HOST[:PORT]/PREFIX or mqtts://HOST[:PORT]/PREFIX: {0}")]
pub struct SmdBridgeError(String);

impl FromStr for SmdBridge {
    type Err = SmdBridgeError;

    fn from_str(text: &str) -> Result<Self, SmdBridgeError> {
        let wrong = |why: &str| SmdBridgeError(why.to_owned());
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let (tls, default_port) = match url.scheme() {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            other => return Err(wrong(&format!("not {other}://"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("user and password stand where others cannot see them"));
        }
        let mut trust_store = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "trust_store" if tls => trust_store = Some(value.into_owned()),
                _ => return Err(wrong("only mqtts:// has settings, and only ?trust_store=NAME")),
            }
        }
        if url.fragment().is_some() {
            return Err(wrong("# cannot be part of PREFIX"));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            Some(host) => host.to_string(),
            None => return Err(wrong("there is no host")),
        };
        let prefix = percent_encoding::percent_decode_str(url.path().trim_matches('/'));
        let prefix = prefix.decode_utf8().map_err(|_| wrong("PREFIX is not UTF-8"))?.into_owned();
        if prefix.is_empty() {
            return Err(wrong("there is no PREFIX"));
        }
        sspc_mqtt::topic::check_name(prefix.as_bytes(), "PREFIX")
            .map_err(|error| wrong(&error.to_string()))?;
        if prefix.contains("${") {
            return Err(wrong("PREFIX has `${` in it"));
        }
        let port = url.port().unwrap_or(default_port);
        let classes = Classes::USER | Classes::INTERACTION;
        Ok(Self { host, port, tls, prefix, trust_store, classes })
    }
}

impl fmt::Display for SmdBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.prefix)?;
        match &self.trust_store {
            Some(name) => write!(f, "?trust_store={name}"),
            None => Ok(()),
        }
    }
}

/// The proxy's part of what joins the buses.
#[derive(Debug)]
pub(crate) struct Bridge {
    settings: SmdBridge,
    /// What tells this proxy from the others.
    origin: String,
    stream: Arc<StreamType>,
    onward: Arc<Onward>,
    memory: Arc<Memory>,
}

impl Bridge {
    /// `policy` has the trust store, which stays as it is now.
    pub(crate) fn new(settings: SmdBridge, config: &OnwardConfig, policy: &Policy) -> Self {
        let origin = format!("{:016x}", rand::rng().random::<u64>());
        let credentials = broker_credentials(&config.credentials.get());
        let onward =
            Onward::new(OnwardConfig { credentials: credentials.into(), ..config.clone() });
        let mut stream = settings.streamtype(&origin);
        let name = settings.trust_store.as_deref();
        stream.trust_store = name.and_then(|name| policy.trust_stores.get(name)).cloned();
        let stream = Arc::new(stream);
        Self { settings, origin, stream, onward, memory: Arc::clone(&config.memory) }
    }

    pub(crate) fn set_credentials(&self, credentials: &DeviceCredentials) {
        self.onward.set_credentials(broker_credentials(credentials));
    }

    /// Joins the bus with others until it is dropped.
    pub(crate) async fn run(&self, smd: &Smd) {
        let span = warn_span!("smd_bridge", broker = %self.settings);
        self.stay_connected(smd).instrument(span).await;
    }

    async fn stay_connected(&self, smd: &Smd) {
        let mut failures = 0;
        loop {
            let member = smd.0.join(Sender::PROXY, self.settings.classes);
            let (end, was_connected) = self.connection(smd, &member).await;
            drop(member);
            if was_connected {
                failures = 0;
            }
            let why = match end {
                End::Failed(failure) => failure.to_string(),
                End::Complete => "the connection ended".to_owned(),
            };
            let wait = BACKOFF.get(failures).or(BACKOFF.last()).copied().unwrap_or_default();
            let wait = wait.mul_f64(rand::rng().random_range(1.0..1.3));
            // Once for each time that it is lost.
            if failures == 0 {
                warn!(
                    why,
                    "the broker that joins the system messages of proxies cannot be reached"
                );
            } else {
                debug!(why, ?wait, "still not");
            }
            failures += 1;
            sleep(wait).await;
        }
    }

    /// A connection from its beginning to its end, and whether the broker accepted it.
    async fn connection(&self, smd: &Smd, member: &Member) -> (End, bool) {
        let client = Identity::Line { number: u64::MAX, name: "smd-bridge".into() };
        let mut handle = self.onward.start(Attempt {
            account: self.memory.open_account(client.clone()),
            client,
            stream: Arc::clone(&self.stream),
            chain: vec![Arc::clone(&self.stream)],
            metadata: Vec::new(),
            length_hint: None,
            bus: Default::default(),
            record: Default::default(),
        });
        let mut is_connected = false;
        let mut inbox = Inbox::default();
        loop {
            let AttemptHandle { events, body, .. } = &mut handle;
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Connected { .. }) => {
                        info!(classes = %self.settings.classes, "connected to the broker");
                        is_connected = true;
                    }
                    Some(Event::Payload { bytes, flags }) => {
                        if let Some(payload) = inbox.add(&bytes, flags) {
                            self.take(smd, &payload);
                        }
                    }
                    Some(Event::Ended(end)) => return (end, is_connected),
                    Some(_) => {}
                    None => return (End::Complete, is_connected),
                },
                // What cannot be sent waits on the bus, and grows old there.
                payload = self.next(member, body), if is_connected => {
                    if let Ok(room) = body.try_reserve() {
                        let flags = Flags::WHOLE;
                        room.send(TxChunk { bytes: payload, flags, settings: None });
                    }
                }
            }
        }
    }

    /// The next message for the broker, once it takes one.
    async fn next(&self, member: &Member, body: &tokio::sync::mpsc::Sender<TxChunk>) -> Bytes {
        // A body that is closed is followed by the end.
        if body.reserve().await.is_err() {
            return std::future::pending().await;
        }
        loop {
            let queued: Arc<Queued> = member.recv().await;
            if !queued.sender().is_remote() {
                let message = queued.message();
                let class = message.class.intersection(self.settings.classes);
                return encode(&self.origin, &SmdMessage { class, ..message });
            }
        }
    }

    /// Gives out what came from another proxy.
    fn take(&self, smd: &Smd, payload: &[u8]) {
        let Some((origin, class, text)) = decode(payload) else {
            debug!(bytes = payload.len(), "no system message, left out");
            return;
        };
        let class = class.intersection(self.settings.classes);
        if origin == self.origin || class == Classes::NONE {
            return;
        }
        if !smd.0.publish_remote(&origin, class, text) {
            debug!(origin, "another proxy sends too much, left out");
        }
    }
}

/// User and password alone: with the device's client id it would push the streams of the policy aside.
fn broker_credentials(credentials: &DeviceCredentials) -> DeviceCredentials {
    DeviceCredentials {
        mqtt_user: credentials.mqtt_user.clone(),
        mqtt_password: credentials.mqtt_password.clone(),
        ..DeviceCredentials::default()
    }
}

impl SmdBridge {
    /// What the policy does not have of what this needs.
    pub(crate) fn missing(&self, policy: &Policy) -> Option<String> {
        let name = self.trust_store.as_ref()?;
        let is_missing = !policy.trust_stores.contains_key(name);
        is_missing.then(|| format!("the policy has no trust store {name:?} for {self}"))
    }

    fn streamtype(&self, origin: &str) -> StreamType {
        let mut stream = StreamType::new("smd-bridge");
        stream.protocol = Protocol::Mqtt;
        stream.endpoint = Some(Template::new(self.host.clone()));
        stream.port = self.port;
        stream.tls = self.tls;
        stream.mqtt.topic = Some(Template::new(format!("{}/{origin}", self.prefix)));
        stream.mqtt.subscribe = Some(Template::new(format!("{}/+", self.prefix)));
        stream.mqtt.keep_alive_s = KEEP_ALIVE_S;
        stream.mqtt.clean_start = true;
        stream
    }
}

/// A message as it is at the broker: JSON, so that other programs there can read and write it.
fn encode(origin: &str, message: &SmdMessage) -> Bytes {
    let mut object = Map::new();
    object.insert("origin".to_owned(), origin.into());
    object.insert("class".to_owned(), message.class.to_string().into());
    match std::str::from_utf8(&message.text) {
        Ok(text) => object.insert("text".to_owned(), text.into()),
        Err(_) => object.insert("base64".to_owned(), STANDARD.encode(&message.text).into()),
    };
    Value::Object(object).to_string().into()
}

/// Origin, class and text of a message. One without an origin comes from another program.
fn decode(payload: &[u8]) -> Option<(String, Classes, Bytes)> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let class = field("class")?.parse().ok()?;
    let text = match (field("text"), field("base64")) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(text)) => STANDARD.decode(text).ok()?.into(),
        (None, None) => return None,
    };
    Some((field("origin").unwrap_or_default().to_owned(), class, text))
}

/// Joins the pieces of the broker's messages.
#[derive(Debug, Default)]
struct Inbox {
    bytes: BytesMut,
    is_too_long: bool,
}

impl Inbox {
    fn add(&mut self, piece: &[u8], flags: Flags) -> Option<BytesMut> {
        if flags.contains(Flags::SOM) {
            self.bytes.clear();
            self.is_too_long = false;
        }
        self.is_too_long |= self.bytes.len() + piece.len() > PAYLOAD_MAX;
        if !self.is_too_long {
            self.bytes.extend_from_slice(piece);
        }
        let is_whole = flags.contains(Flags::EOM) && !self.is_too_long;
        is_whole.then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<SmdBridge>().unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_a_broker_and_a_topic() {
        let shown = |text: &str| text.parse::<SmdBridge>().unwrap().to_string();
        assert_eq!(shown("mqtt://broker/site"), "mqtt://broker:1883/site");
        assert_eq!(shown("mqtts://broker/a/b/"), "mqtts://broker:8883/a/b");
        assert_eq!(shown("mqtt://[::1]:77/a%20b"), "mqtt://[::1]:77/a b");
        for text in ["http://broker/site", "mqtt://broker", "mqtt://broker/", "broker/site", ""] {
            assert!(refused(text).starts_with("expected mqtt://HOST"), "{text}");
        }
        assert_eq!(
            shown("mqtts://broker/site?trust_store=rig"),
            "mqtts://broker:8883/site?trust_store=rig"
        );
        refused("mqtt://broker/site?trust_store=rig");
        refused("mqtts://broker/site?trust=rig");
        for prefix in ["a/+", "%23", "a%00", "%ff", "${x}", "a?b=c", "a#"] {
            refused(&format!("mqtt://broker/{prefix}"));
        }
        assert!(refused("mqtt://user:secret@broker/a").contains("user and password"));
        assert!(!refused("mqtt://user:secret@broker/a").contains("secret"));
    }

    #[test]
    fn what_is_published_is_read_again() {
        for text in [&b"{\"a\":1}"[..], b"", b"\xff\x00", b"\"\n\\"] {
            let class = Classes::INTERACTION | Classes::user(3).unwrap();
            let text = Bytes::copy_from_slice(text);
            let message = SmdMessage { class, timestamp_us: 5, text: text.clone() };
            let decoded = decode(&encode("0123", &message));
            assert_eq!(decoded, Some(("0123".to_owned(), class, text)));
        }
        let worst = SmdMessage {
            class: Classes::USER,
            timestamp_us: 0,
            text: Bytes::from(vec![1; sspc_wire::smd::TEXT_MAX]),
        };
        assert!(encode("0123456789abcdef", &worst).len() <= PAYLOAD_MAX);
    }

    #[test]
    fn what_others_publish_may_be_anything() {
        let decoded = |text: &str| decode(text.as_bytes());
        let (user0, hello) = (Classes::user(0).unwrap(), Bytes::from_static(b"hello"));
        let said = r#"{"class":"user0","text":"hello","more":[]}"#;
        assert_eq!(decoded(said), Some((String::new(), user0, hello)));
        for text in [
            "",
            "hello",
            "[]",
            "null",
            r#"{"class":"user0"}"#,
            r#"{"text":"hello"}"#,
            r#"{"class":"nonsense","text":"hello"}"#,
            r#"{"class":7,"text":"hello"}"#,
            r#"{"class":"user0","base64":"!"}"#,
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_left_out_and_the_next_one_taken() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.add(&[b'x'; PAYLOAD_MAX], Flags::SOM), None);
        assert_eq!(inbox.add(b"x", Flags::NONE), None);
        assert_eq!(inbox.add(b"", Flags::EOM), None);
        assert_eq!(inbox.add(b"next", Flags::WHOLE).as_deref(), Some(&b"next"[..]));
    }
}
