//! The broker's bytes as packets.

use crate::wire::{Reader, Varint};
use crate::{AckKind, BrokerLimits, DecodeError, MessageHead, Packet, Qos, Reason, Version, topic};

/// The most that is gathered of a packet, in bytes: the head of a message, or all of any other packet.
pub const HEAD_MAX: usize = 128 * 1024;

/// Turns bytes into packets; see [`Decoder::decode`].
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    /// What has come of a packet's first byte, its length and its head.
    gathered: Vec<u8>,
    /// Bytes of payload that are still to come.
    payload: usize,
}

impl Decoder {
    /// At the beginning of a connection.
    pub const fn new(version: Version) -> Self {
        Self { version, gathered: Vec::new(), payload: 0 }
    }

    /// The next packet or piece of payload in `input`; `None` if there is none yet, and then all of
    /// `input` was taken.
    ///
    /// # Errors
    /// The broker broke a rule. Nothing that follows means anything.
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Packet<'a>>, DecodeError> {
        if self.payload > 0 {
            let (bytes, rest) = input.split_at(self.payload.min(input.len()));
            if bytes.is_empty() {
                return Ok(None);
            }
            *input = rest;
            self.payload -= bytes.len();
            return Ok(Some(Packet::Payload { bytes, last: self.payload == 0 }));
        }
        loop {
            let missing = match self.missing()? {
                0 => break,
                missing => missing,
            };
            if input.is_empty() {
                return Ok(None);
            }
            let (bytes, rest) = input.split_at(missing.min(input.len()));
            self.gathered.extend_from_slice(bytes);
            *input = rest;
        }
        let packet = self.packet()?;
        // A large head is rare.
        if self.gathered.capacity() > 1024 {
            self.gathered = Vec::new();
        }
        self.gathered.clear();
        if let Packet::Publish(head) = &packet {
            self.payload = head.length;
        }
        Ok(Some(packet))
    }

    /// How many bytes are to be gathered at least before more can be said; 0 if all is there.
    fn missing(&self) -> Result<usize, DecodeError> {
        let Some((first, after)) = self.gathered.split_first() else { return Ok(1) };
        let name = name(*first, self.version)?;
        let (length, prefix) = match Varint::of(after) {
            Varint::Partial => return Ok(1),
            Varint::Bad => return Err(DecodeError::Length),
            Varint::Whole(length, bytes) => (length, 1 + bytes),
        };
        let body = self.gathered.get(prefix..).unwrap_or_default();
        let wanted = if first >> 4 == PUBLISH {
            let wanted = publish_head_size(body, *first, self.version)?;
            if wanted > length {
                return Err(DecodeError::Size(name));
            }
            wanted
        } else {
            length
        };
        if wanted > HEAD_MAX {
            return Err(DecodeError::TooLarge(name));
        }
        Ok(wanted.saturating_sub(body.len()))
    }

    fn packet(&self) -> Result<Packet<'static>, DecodeError> {
        let mut all = Reader(&self.gathered);
        let first = all.u8().ok_or(DecodeError::Length)?;
        let name = name(first, self.version)?;
        let length = all.varint().ok_or(DecodeError::Length)?;
        let body = Body { name, version: self.version, reader: all };
        match first >> 4 {
            PUBLISH => body.publish(first, length),
            2 => body.connack(),
            kind @ 4..=7 => body.ack(kind),
            9 => body.suback(),
            11 => body.unsuback(),
            13 => body.end(Packet::PingResp),
            14 => body.disconnect(),
            kind => Err(DecodeError::Type(kind)),
        }
    }
}

const PUBLISH: u8 = 3;

/// The name of a packet with this first byte, whose flags are checked.
fn name(first: u8, version: Version) -> Result<&'static str, DecodeError> {
    let (packet, expected) = match (first >> 4, version) {
        (2, _) => ("CONNACK", 0),
        (PUBLISH, _) => {
            let flags = first & 0xf;
            let qos = flags >> 1 & 3;
            let is_bad = qos == 3 || qos == 0 && flags & 8 != 0;
            let packet = "PUBLISH";
            return if is_bad { Err(DecodeError::Flags { packet, flags }) } else { Ok(packet) };
        }
        (4, _) => ("PUBACK", 0),
        (5, _) => ("PUBREC", 0),
        (6, _) => ("PUBREL", 2),
        (7, _) => ("PUBCOMP", 0),
        (9, _) => ("SUBACK", 0),
        (11, _) => ("UNSUBACK", 0),
        (13, _) => ("PINGRESP", 0),
        (14, Version::V5) => ("DISCONNECT", 0),
        (kind, _) => return Err(DecodeError::Type(kind)),
    };
    match first & 0xf {
        flags if flags == expected => Ok(packet),
        flags => Err(DecodeError::Flags { packet, flags }),
    }
}

/// How long the head of a PUBLISH is, as far as `body` tells: at least one byte more than `body` if
/// it does not tell all.
fn publish_head_size(body: &[u8], first: u8, version: Version) -> Result<usize, DecodeError> {
    let Some(topic) = Reader(body).u16() else { return Ok(2) };
    let id = if first & 6 == 0 { 0 } else { 2 };
    let fixed = 2 + usize::from(topic) + id;
    if version == Version::V3 {
        return Ok(fixed);
    }
    match Varint::of(body.get(fixed..).unwrap_or_default()) {
        Varint::Partial => Ok(body.len().max(fixed) + 1),
        Varint::Bad => Err(DecodeError::Length),
        Varint::Whole(properties, bytes) => Ok(fixed + bytes + properties),
    }
}

/// The fields of one packet.
struct Body<'a> {
    name: &'static str,
    version: Version,
    reader: Reader<'a>,
}

impl Body<'_> {
    fn bad(&self, field: &'static str) -> DecodeError {
        DecodeError::Field { packet: self.name, field }
    }

    fn short(&self) -> DecodeError {
        DecodeError::Size(self.name)
    }

    /// `packet`, if nothing more is there.
    fn end(self, packet: Packet<'static>) -> Result<Packet<'static>, DecodeError> {
        if self.reader.is_empty() { Ok(packet) } else { Err(self.short()) }
    }

    fn id(&mut self) -> Result<u16, DecodeError> {
        match self.reader.u16().ok_or_else(|| self.short())? {
            0 => Err(self.bad("packet identifier: 0")),
            id => Ok(id),
        }
    }

    /// The reason and the properties that may be left out at the end.
    fn reason_at_end(&mut self) -> Result<Reason, DecodeError> {
        if self.version == Version::V3 || self.reader.is_empty() {
            return Ok(Reason::new(0, self.version));
        }
        let code = self.reader.u8().ok_or_else(|| self.short())?;
        if !self.reader.is_empty() {
            self.properties(|_| {})?;
        }
        Ok(Reason::new(code, self.version))
    }

    fn connack(mut self) -> Result<Packet<'static>, DecodeError> {
        let flags = self.reader.u8().ok_or_else(|| self.short())?;
        let code = self.reader.u8().ok_or_else(|| self.short())?;
        let session_present = flags == 1;
        if flags > 1 || session_present && code != 0 {
            return Err(self.bad("session-present flag"));
        }
        let is_known = match self.version {
            Version::V3 => code <= 5,
            Version::V5 => code == 0 || code >= 0x80,
        };
        if !is_known {
            return Err(self.bad("return code"));
        }
        let mut limits = BrokerLimits::default();
        let mut is_bad = None;
        if self.version == Version::V5 {
            self.properties(|property| match property {
                Property::ReceiveMaximum(0) => is_bad = Some("receive maximum: 0"),
                Property::ReceiveMaximum(number) => limits.receive_maximum = number,
                Property::PacketMax(0) => is_bad = Some("maximum packet size: 0"),
                Property::PacketMax(bytes) => {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    limits.packet_max = limits.packet_max.min(bytes);
                }
                Property::QosMax(qos) => limits.qos_max = qos,
                Property::Retain(retain) => limits.retain = retain,
                Property::SubscriptionIds(allowed) => limits.subscription_ids = allowed,
                Property::KeepAlive(seconds) => limits.keep_alive_s = Some(seconds),
                _ => {}
            })?;
        }
        if let Some(field) = is_bad {
            return Err(self.bad(field));
        }
        let reason = Reason::new(code, self.version);
        self.end(Packet::ConnAck { session_present, reason, limits })
    }

    fn publish(mut self, first: u8, length: usize) -> Result<Packet<'static>, DecodeError> {
        let begin = self.reader.0.len();
        let qos = Qos::from_number(first >> 1 & 3).unwrap_or_default();
        let topic = self.reader.binary().ok_or_else(|| self.short())?;
        topic::check_name(topic, "topic").map_err(|_| self.bad("topic"))?;
        let topic = topic.to_vec();
        let id = if qos == Qos::AtMostOnce { 0 } else { self.id()? };
        let mut subscriptions = Vec::new();
        let mut has_alias = false;
        if self.version == Version::V5 {
            self.properties(|property| match property {
                Property::SubscriptionId(id) => subscriptions.push(id),
                Property::TopicAlias => has_alias = true,
                _ => {}
            })?;
        }
        if has_alias {
            return Err(self.bad("topic alias: none was allowed"));
        }
        if subscriptions.contains(&0) {
            return Err(self.bad("subscription identifier: 0"));
        }
        let head = begin - self.reader.0.len();
        let length = length.checked_sub(head).ok_or_else(|| self.short())?;
        let (dup, retain) = (first & 8 != 0, first & 1 != 0);
        self.end(Packet::Publish(MessageHead {
            topic,
            qos,
            id,
            dup,
            retain,
            length,
            subscriptions,
        }))
    }

    fn ack(mut self, kind: u8) -> Result<Packet<'static>, DecodeError> {
        let id = self.id()?;
        let reason = self.reason_at_end()?;
        let kind = match kind {
            4 => AckKind::PubAck,
            5 => AckKind::PubRec,
            6 => AckKind::PubRel,
            _ => AckKind::PubComp,
        };
        self.end(Packet::Ack { kind, id, reason })
    }

    fn suback(mut self) -> Result<Packet<'static>, DecodeError> {
        let id = self.id()?;
        if self.version == Version::V5 {
            self.properties(|_| {})?;
        }
        let code = self.reader.u8().ok_or_else(|| self.short())?;
        let is_known = code <= 2 || code == 0x80 || code > 0x80 && self.version == Version::V5;
        if !is_known {
            return Err(self.bad("return code"));
        }
        let reason = Reason::new(code, self.version);
        self.end(Packet::SubAck { id, reason })
    }

    fn unsuback(mut self) -> Result<Packet<'static>, DecodeError> {
        let id = self.id()?;
        if self.version == Version::V5 {
            self.properties(|_| {})?;
            self.reader.u8().ok_or_else(|| self.short())?;
        }
        self.end(Packet::UnsubAck { id })
    }

    fn disconnect(mut self) -> Result<Packet<'static>, DecodeError> {
        let reason = self.reason_at_end()?;
        self.end(Packet::Disconnect { reason })
    }

    /// Reads properties with their length before them, and gives each of those that matter.
    fn properties(&mut self, mut each: impl FnMut(Property)) -> Result<(), DecodeError> {
        let length = self.reader.varint().ok_or_else(|| self.short())?;
        let mut reader = Reader(self.reader.take(length).ok_or_else(|| self.short())?);
        let mut seen = 0_u64;
        while !reader.is_empty() {
            let id = reader.u8().unwrap_or_default();
            let property = property(id, &mut reader).ok_or_else(|| self.bad("property"))?;
            let may_repeat = matches!(property, Property::SubscriptionId(_)) || id == USER_PROPERTY;
            // Known ones are below 64.
            let bit = 1_u64.checked_shl(id.into()).unwrap_or_default();
            if seen & bit != 0 && !may_repeat {
                return Err(self.bad("property: it is there twice"));
            }
            seen |= bit;
            each(property);
        }
        Ok(())
    }
}

enum Property {
    ReceiveMaximum(u16),
    PacketMax(u32),
    QosMax(Qos),
    Retain(bool),
    SubscriptionIds(bool),
    KeepAlive(u16),
    SubscriptionId(u32),
    TopicAlias,
    Other,
}

const USER_PROPERTY: u8 = 0x26;

/// One property (2.2.2.2 of edition 5); `None` if it does not exist or is not whole.
fn property(id: u8, reader: &mut Reader<'_>) -> Option<Property> {
    let flag = |byte: u8| (byte <= 1).then_some(byte == 1);
    Some(match id {
        0x01 | 0x17 | 0x19 | 0x28 | 0x2a => {
            flag(reader.u8()?)?;
            Property::Other
        }
        0x24 => {
            Property::QosMax(Qos::from_number(reader.u8()?).filter(|qos| *qos < Qos::ExactlyOnce)?)
        }
        0x25 => Property::Retain(flag(reader.u8()?)?),
        0x29 => Property::SubscriptionIds(flag(reader.u8()?)?),
        0x13 => Property::KeepAlive(reader.u16()?),
        0x21 => Property::ReceiveMaximum(reader.u16()?),
        0x22 => {
            reader.u16()?;
            Property::Other
        }
        0x23 => {
            reader.u16()?;
            Property::TopicAlias
        }
        0x02 | 0x11 | 0x18 => {
            reader.u32()?;
            Property::Other
        }
        0x27 => Property::PacketMax(reader.u32()?),
        0x0b => Property::SubscriptionId(u32::try_from(reader.varint()?).ok()?),
        0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => {
            reader.text()?;
            Property::Other
        }
        0x09 | 0x16 => {
            reader.binary()?;
            Property::Other
        }
        USER_PROPERTY => {
            reader.text()?;
            reader.text()?;
            Property::Other
        }
        _ => return None,
    })
}
