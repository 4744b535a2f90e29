//! Packets for the broker.

use crate::topic::{check_filter, check_name};
use crate::wire::{is_text, put_binary, put_varint};
use crate::{EncodeError, Qos, Version};

/// What a connection begins with.
#[derive(Clone, Debug, Default)]
pub struct Connect<'a> {
    /// The edition.
    pub version: Version,
    /// The client id.
    pub client_id: &'a [u8],
    /// The user's name, if there is one.
    pub user: Option<&'a [u8]>,
    /// The password; sent only with a user's name.
    pub password: Option<&'a [u8]>,
    /// The broker may end the connection after one and a half times this without a packet of ours, s;
    /// 0 for never.
    pub keep_alive_s: u16,
    /// Begin without the session that the broker has kept. Otherwise it keeps one when the connection
    /// ends.
    pub clean: bool,
    /// What the broker is to publish if the connection ends without a goodbye.
    pub will: Option<Will<'a>>,
}

/// A message that the broker publishes for us.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Where.
    pub topic: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// Its quality of service.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
}

/// For how long a broker of 5 keeps a session that is not [clean](Connect::clean): as in 3.1.1, until
/// a packet says otherwise.
const SESSION_EXPIRY_NEVER: u32 = u32::MAX;

/// A whole packet: its first byte, its length, and what `body` wrote.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(first);
    put_varint(body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

pub(crate) fn connect(connect: &Connect<'_>) -> Result<Vec<u8>, EncodeError> {
    let Connect { version, client_id, user, password, keep_alive_s, clean, will } = connect;
    let password = password.filter(|_| user.is_some());
    check_text(client_id, "client id")?;
    check_text(user.unwrap_or_default(), "user name")?;
    check_length(password.unwrap_or_default(), "password")?;
    if let Some(will) = will {
        check_name(will.topic, "topic of the will")?;
        check_length(will.payload, "message of the will")?;
    }
    let bit = |set: bool, at: u8| u8::from(set) << at;
    let will_flags = will.map_or(0, |will| 4 | will.qos.number() << 3 | bit(will.retain, 5));
    let flags = bit(*clean, 1) | will_flags | bit(password.is_some(), 6) | bit(user.is_some(), 7);
    let level = match version {
        Version::V3 => 4,
        Version::V5 => 5,
    };
    let mut body = Vec::new();
    put_binary(b"MQTT", &mut body);
    body.extend_from_slice(&[level, flags]);
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    if *version == Version::V5 {
        let mut properties = Vec::new();
        if !clean {
            properties.push(0x11);
            properties.extend_from_slice(&SESSION_EXPIRY_NEVER.to_be_bytes());
        }
        put_varint(properties.len(), &mut body);
        body.extend_from_slice(&properties);
    }
    put_binary(client_id, &mut body);
    if let Some(will) = will {
        if *version == Version::V5 {
            body.push(0);
        }
        put_binary(will.topic, &mut body);
        put_binary(will.payload, &mut body);
    }
    for field in [*user, password].into_iter().flatten() {
        put_binary(field, &mut body);
    }
    Ok(packet(0x10, &body))
}

/// All of a PUBLISH but its payload, of which there are `length` bytes. The topic was checked.
pub(crate) fn publish_head(
    version: Version,
    topic: &[u8],
    id: Option<u16>,
    flags: u8,
    length: usize,
) -> Vec<u8> {
    let mut variable = Vec::with_capacity(topic.len() + 5);
    put_binary(topic, &mut variable);
    if let Some(id) = id {
        variable.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        variable.push(0);
    }
    let mut out = Vec::with_capacity(variable.len() + 5);
    out.push(0x30 | flags);
    put_varint(variable.len() + length, &mut out);
    out.extend_from_slice(&variable);
    out
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP that says that all is well.
pub(crate) fn ack(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

pub(crate) fn subscribe(
    version: Version,
    id: u16,
    filter: &[u8],
    qos: Qos,
    subscription: Option<u32>,
) -> Result<Vec<u8>, EncodeError> {
    check_filter(filter)?;
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        let mut properties = Vec::new();
        if let Some(subscription) = subscription {
            properties.push(0x0b);
            put_varint(usize::try_from(subscription).unwrap_or(1), &mut properties);
        }
        put_varint(properties.len(), &mut body);
        body.extend_from_slice(&properties);
    }
    put_binary(filter, &mut body);
    body.push(qos.number());
    Ok(packet(0x82, &body))
}

/// The filter was subscribed to, so it is good.
pub(crate) fn unsubscribe(version: Version, id: u16, filter: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    put_binary(filter, &mut body);
    packet(0xa2, &body)
}

pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
/// Goodbye: in 5 its reason, 0, is left out.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

fn check_text(text: &[u8], field: &'static str) -> Result<(), EncodeError> {
    check_length(text, field)?;
    if is_text(text) { Ok(()) } else { Err(EncodeError::NotText(field)) }
}

fn check_length(bytes: &[u8], field: &'static str) -> Result<(), EncodeError> {
    if bytes.len() > usize::from(u16::MAX) { Err(EncodeError::TooLong(field)) } else { Ok(()) }
}
