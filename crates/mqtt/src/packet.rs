//! What brokers send.

use crate::{Qos, Reason};

/// A packet of the broker, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// The answer to CONNECT.
    ConnAck {
        /// The broker has kept the session.
        session_present: bool,
        /// Whether it accepts.
        reason: Reason,
        /// What it allows.
        limits: BrokerLimits,
    },
    /// The head of a message; its payload follows in pieces if `length` is not 0.
    Publish(MessageHead),
    /// A piece of the payload of the message that was begun last.
    Payload {
        /// The piece, never empty.
        bytes: &'a [u8],
        /// Nothing more of it is to come.
        last: bool,
    },
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack {
        /// Which of them.
        kind: AckKind,
        /// The packet identifier.
        id: u16,
        /// Always success in 3.1.1.
        reason: Reason,
    },
    /// The answer to a SUBSCRIBE, which had one filter.
    SubAck {
        /// The packet identifier.
        id: u16,
        /// The quality of service that was granted, or why there is none.
        reason: Reason,
    },
    /// The answer to UNSUBSCRIBE.
    UnsubAck {
        /// The packet identifier.
        id: u16,
    },
    /// The answer to a ping.
    PingResp,
    /// The broker says goodbye; 5 only.
    Disconnect {
        /// Why.
        reason: Reason,
    },
}

/// The packets that move a message on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// A message of quality of service 1 has come.
    PubAck,
    /// One of 2 has come.
    PubRec,
    /// That it has come was heard.
    PubRel,
    /// And that was heard too.
    PubComp,
}

/// All of a message but its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// Where it was published.
    pub topic: Vec<u8>,
    /// Its quality of service.
    pub qos: Qos,
    /// The packet identifier; 0 with [`Qos::AtMostOnce`].
    pub id: u16,
    /// It may be a copy.
    pub dup: bool,
    /// The broker had kept it.
    pub retain: bool,
    /// Bytes of payload that follow.
    pub length: usize,
    /// The identifiers of the subscriptions that it comes for; 5 only, and only if the broker says.
    pub subscriptions: Vec<u32>,
}

/// What a broker of 5 allows; one of 3.1.1 says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerLimits {
    /// Messages of quality of service 1 and 2 at a time.
    pub receive_maximum: u16,
    /// The largest packet, bytes.
    pub packet_max: usize,
    /// The highest quality of service.
    pub qos_max: Qos,
    /// Whether it keeps retained messages.
    pub retain: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_ids: bool,
    /// The keep-alive to use instead of the one that was asked for, s.
    pub keep_alive_s: Option<u16>,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            packet_max: crate::wire::VARINT_MAX,
            qos_max: Qos::ExactlyOnce,
            retain: true,
            subscription_ids: true,
            keep_alive_s: None,
        }
    }
}
