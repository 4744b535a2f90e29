//! What goes into a session and comes out of it.

use std::time::Duration;

use bytes::Bytes;

use crate::packet::MessageHead;
use crate::{Qos, Reason};

/// How patient a session is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// After so long without its acknowledgement a message is sent again (3.1.1 only: 5 forbids it),
    pub ack_timeout: Duration,
    /// so many times; after as long again it is given up.
    pub resends: u32,
    /// After so long without a byte of the broker it is pinged.
    pub ping: Option<Duration>,
    /// After so long it is given up.
    pub hangup: Option<Duration>,
    /// So long it may take to answer a ping that the keep-alive asks for.
    pub ping_answer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            ack_timeout: seconds(3),
            resends: 3,
            ping: None,
            hangup: None,
            ping_answer: seconds(15),
        }
    }
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Where.
    pub topic: &'a [u8],
    /// What.
    pub payload: Bytes,
    /// How sure.
    pub qos: Qos,
    /// Whether the broker keeps it for those who subscribe later.
    pub retain: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written, or acknowledged if its quality of service asks for that.
    Acked,
    /// The broker refuses it; 5 only.
    Refused(Reason),
    /// No acknowledgement came.
    Unanswered,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The broker accepts the connection.
    Connected {
        /// It has kept the session.
        session_present: bool,
    },
    /// A message of ours is done with.
    Published {
        /// What [`Session::publish`](crate::Session::publish) was given.
        token: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A subscription is answered.
    Subscribed {
        /// What [`Session::subscribe`](crate::Session::subscribe) returned.
        id: u16,
        /// Whether it was granted.
        reason: Reason,
    },
    /// A message begins; if its length is not 0, its payload follows.
    Message(MessageHead),
    /// Payload of the message that was begun last.
    Payload {
        /// A piece, never empty.
        bytes: &'a [u8],
        /// Nothing more of the message is to come.
        last: bool,
    },
}
