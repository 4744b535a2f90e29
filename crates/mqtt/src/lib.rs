//! MQTT 3.1.1 and 5, the client's side, sans-IO, streaming inside a message.
//!
//! Other codecs hand out whole packets, so a broker decides how much memory they take: up to 256 MiB
//! for one message. This one hands out a message's [head](MessageHead), and then its payload piece by
//! piece as it comes. What is held meanwhile is the head of one packet, at most [`HEAD_MAX`] bytes.
//!
//! - [`Session`]: one connection. Bytes of the broker in, [`Event`]s and bytes for the broker out. It
//!   knows which packet answers which, what waits for an answer, when that is sent again and given up,
//!   and when to ping.
//! - [`Decoder`]: the broker's bytes as [`Packet`]s, every rule of the standard checked.
//! - [`topic`]: what names and filters may be, and which match.
//!
//! The crate does no I/O, reads no clock and draws no random numbers.
//!
//! ```
//! use std::time::Instant;
//! use sspc_mqtt::{Connect, Event, Message, Qos, Session, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let connect = Connect { client_id: b"me", clean: true, ..Connect::default() };
//! let mut session = Session::new(&connect, Settings::default(), now)?;
//! session.advance(session.waiting(), now);
//!
//! // The broker accepts.
//! let mut input: &[u8] = &[0x20, 2, 0, 0];
//! let event = session.receive(&mut input, now)?;
//! assert!(matches!(event, Some(Event::Connected { session_present: false })));
//!
//! let message = Message { topic: b"lamp", payload: "on".into(), qos: Qos::AtLeastOnce, retain: false };
//! session.publish(7, message)?;
//! session.advance(12, now);
//! let mut input: &[u8] = &[0x40, 2, 0, 1];
//! let event = session.receive(&mut input, now)?;
//! assert!(matches!(event, Some(Event::Published { token: 7, .. })));
//! # Ok(())
//! # }
//! ```

mod decode;
mod encode;
mod error;
mod packet;
mod reason;
mod session;
pub mod topic;
mod wire;

pub use decode::{Decoder, HEAD_MAX};
pub use encode::{Connect, Will};
pub use error::{DecodeError, EncodeError, PublishError, SessionError};
pub use packet::{AckKind, BrokerLimits, MessageHead, Packet};
pub use reason::Reason;
pub use session::{Event, Message, Outcome, Session, Settings};

/// Which edition of the standard a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3.1.1, protocol level 4.
    #[default]
    V3,
    /// 5, protocol level 5.
    V5,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0: sent, and that is all.
    #[default]
    AtMostOnce,
    /// 1: acknowledged, and sent again if it is not.
    AtLeastOnce,
    /// 2: acknowledged so that no copy is taken for another message.
    ExactlyOnce,
}

impl Qos {
    /// The level for a number, if it is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }

    /// Its number, 0 to 2.
    pub const fn number(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        }
    }
}
