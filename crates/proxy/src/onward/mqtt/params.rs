//! What a stream asks of its connection: where, as whom, with which will and birth.

use bytes::Bytes;
use rand::RngExt as _;
use sspc_mqtt::{Connect, Qos, Settings, Version, Will};
use sspc_policy::{MqttMessage, Template, Validity};

use crate::config::{DeviceCredentials, Timeouts};
use crate::onward::connect::{Alpn, Route};
use crate::onward::{Attempt, Failure, FailureKind, OnwardConfig};

/// As long as a client id that every broker of 3.1.1 takes.
const CLIENT_ID_LENGTH: usize = 23;

/// What must be equal for two streams to share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// With a client id of the device's own it is for all clients: a broker takes one connection of
    /// each id.
    pub(super) route: Route,
    /// `None` for one that is made up for each connection.
    pub(super) client_id: Option<Bytes>,
    pub(super) version: Version,
    pub(super) alpn: Alpn,
    /// Path and query of the websocket that it runs over, if it does.
    pub(super) ws_path: Option<String>,
}

/// A message that the policy holds, with the client's metadata in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnMessage {
    pub(super) topic: Vec<u8>,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
}

/// What a connection is made from.
#[derive(Clone, Debug)]
pub(super) struct Params {
    pub(super) key: Key,
    user: Bytes,
    password: Bytes,
    keep_alive_s: u16,
    pub(super) clean: bool,
    pub(super) will: Option<OwnMessage>,
    pub(super) birth: Option<OwnMessage>,
    validity: Option<Validity>,
}

impl Params {
    /// Of a stream, with its metadata as it is now.
    pub(super) fn of(attempt: &Attempt, config: &OnwardConfig) -> Result<Self, Failure> {
        let target = attempt.target()?;
        let mqtt = &attempt.stream.mqtt;
        let credentials = config.credentials.get();
        let DeviceCredentials { mqtt_client_id, mqtt_user, mqtt_password, .. } = &*credentials;
        let client_id = Some(mqtt_client_id.clone()).filter(|id| !id.is_empty());
        let mut route = config.route(attempt, &target);
        if client_id.is_some() {
            route.client = None;
        }
        let version = if mqtt.v5 { Version::V5 } else { Version::V3 };
        let ws_path =
            mqtt.ws_path.as_ref().map(|path| format!("/{}", path.trim_start_matches('/')));
        let alpn = match (&ws_path, mqtt.aws_iot) {
            (Some(_), _) => Alpn::H1,
            (None, true) => Alpn::AwsMqtt,
            (None, false) => Alpn::Raw,
        };
        Ok(Self {
            // Nobody comes back with an id that was made up: what the broker kept would stay there.
            clean: mqtt.clean_start || client_id.is_none(),
            key: Key { route, client_id, version, alpn, ws_path },
            user: mqtt_user.clone(),
            password: mqtt_password.clone(),
            keep_alive_s: mqtt.keep_alive_s,
            will: message(attempt, &mqtt.will, "mqtt_will_topic", "mqtt_will_message")?,
            birth: message(attempt, &mqtt.birth, "mqtt_birth_topic", "mqtt_birth_message")?,
            validity: attempt.stream.validity(),
        })
    }

    /// Whether a stream that asks for this finds it all in a connection made from `other`. With a
    /// client id of the device's own it has to.
    pub(super) fn is_met_by(&self, other: &Params) -> bool {
        self.will.is_none_or_same(&other.will)
            && self.birth.is_none_or_same(&other.birth)
            && (self.keep_alive_s == 0 || (1..=self.keep_alive_s).contains(&other.keep_alive_s))
    }

    /// The session of a connection that begins now.
    pub(super) fn session(&self, timeouts: &Timeouts) -> Result<sspc_mqtt::Session, Failure> {
        let random: Vec<u8>;
        let client_id = match &self.key.client_id {
            Some(id) => &id[..],
            None => {
                let mut source = rand::rng();
                random = (0..CLIENT_ID_LENGTH)
                    .map(|_| source.sample(rand::distr::Alphanumeric))
                    .collect();
                &random
            }
        };
        let given = |bytes: &'_ Bytes| !bytes.is_empty();
        let connect = Connect {
            version: self.key.version,
            client_id,
            user: given(&self.user).then_some(&self.user),
            password: given(&self.password).then_some(&self.password),
            keep_alive_s: self.keep_alive_s,
            clean: self.clean,
            will: self.will.as_ref().map(|will| Will {
                topic: &will.topic,
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
            }),
        };
        let settings = Settings {
            ack_timeout: timeouts.mqtt_ack,
            ping: self.validity.and_then(|validity| validity.ping),
            hangup: self.validity.map(|validity| validity.hangup),
            ping_answer: timeouts.response,
            ..Settings::default()
        };
        sspc_mqtt::Session::new(&connect, settings, now())
            .map_err(|error| Failure::new(FailureKind::Request, format!("CONNECT: {error}")))
    }
}

/// The time for sessions, which do not know tokio's.
pub(super) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

trait NoneOrSame {
    fn is_none_or_same(&self, other: &Self) -> bool;
}

impl NoneOrSame for Option<OwnMessage> {
    fn is_none_or_same(&self, other: &Self) -> bool {
        self.is_none() || self == other
    }
}

/// The quality of service of a number that the policy has checked.
pub(super) fn qos(number: u8) -> Qos {
    Qos::from_number(number).unwrap_or_default()
}

/// A template with the client's metadata in it; `key` is whose.
fn expand(
    attempt: &Attempt,
    metadata: &[(String, Bytes)],
    template: &Template,
    key: &str,
) -> Result<Vec<u8>, Failure> {
    template
        .expand(|name| attempt.lookup_in(metadata, name))
        .map_err(|error| Failure::new(FailureKind::Request, format!("{key}: {error}")))
}

/// The same of a topic or a topic filter, in which no value leaves its level.
pub(super) fn expand_topic(
    attempt: &Attempt,
    metadata: &[(String, Bytes)],
    template: &Template,
    key: &str,
) -> Result<Vec<u8>, Failure> {
    template
        .expand_topic(|name| attempt.lookup_in(metadata, name))
        .map_err(|error| Failure::new(FailureKind::Request, format!("{key}: {error}")))
}

fn message(
    attempt: &Attempt,
    message: &MqttMessage,
    topic_key: &str,
    message_key: &str,
) -> Result<Option<OwnMessage>, Failure> {
    let Some(topic) = &message.topic else { return Ok(None) };
    let topic = expand_topic(attempt, &attempt.metadata, topic, topic_key)?;
    let payload = match &message.message {
        Some(text) => expand(attempt, &attempt.metadata, text, message_key)?,
        None => Vec::new(),
    };
    let (qos, retain) = (qos(message.qos), message.retain);
    sspc_mqtt::topic::check_name(&topic, "topic")
        .map_err(|error| Failure::new(FailureKind::Request, format!("{topic_key}: {error}")))?;
    Ok(Some(OwnMessage { topic, payload: payload.into(), qos, retain }))
}
