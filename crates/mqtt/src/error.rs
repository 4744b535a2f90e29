//! What can go wrong, and whose fault it is.

use std::time::Duration;

use thiserror::Error;

use crate::Reason;

/// What the broker sent is not MQTT.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A type that does not exist, or that only clients send.
    #[error("a packet of type {0}, which brokers do not send")]
    Type(u8),
    /// The flags of a packet's first byte.
    #[error("a {packet} with the flags {flags:#x}")]
    Flags {
        /// The packet's name.
        packet: &'static str,
        /// The lower half of the first byte.
        flags: u8,
    },
    /// A length of more than four bytes, or of more than it needs.
    #[error("a length that is not encoded as the standard has it")]
    Length,
    /// The packet ends before its fields do, or after them.
    #[error("a {0} whose length does not fit what is in it")]
    Size(&'static str),
    /// A field has a value that the standard forbids.
    #[error("a {packet} with a bad {field}")]
    Field {
        /// The packet's name.
        packet: &'static str,
        /// What is wrong in it.
        field: &'static str,
    },
    /// More than a packet's head may take.
    #[error("a {0} of more than {max} bytes before its payload", max = crate::HEAD_MAX)]
    TooLarge(&'static str),
}

/// A packet cannot be made of this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A text or a binary field holds at most 65,535 bytes.
    #[error("the {0} is longer than 65,535 bytes")]
    TooLong(&'static str),
    /// What is text must be UTF-8 without NUL.
    #[error("the {0} is no text: it must be UTF-8 without NUL")]
    NotText(&'static str),
    /// See [`crate::topic::check_name`].
    #[error("the {0} is empty or has a wildcard")]
    Topic(&'static str),
    /// See [`crate::topic::check_filter`].
    #[error(
        "the topic filter is empty, or has a wildcard that is not a whole level or not at its place"
    )]
    Filter,
}

/// A message that cannot be published on this connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Its topic.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A packet holds at most 268,435,455 bytes, and the broker may allow fewer.
    #[error("{bytes} bytes are more than the {max} that the broker takes in a packet")]
    TooLarge {
        /// What the packet would have.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// The broker allows no such quality of service.
    #[error("the broker takes quality of service {0} at most")]
    Qos(u8),
    /// The broker keeps no messages.
    #[error("the broker takes no retained messages")]
    Retain,
    /// All 65,535 packet identifiers are in use.
    #[error("too many messages wait for their acknowledgement")]
    Full,
    /// The connection is not accepted yet, or it is over.
    #[error("the connection is not up")]
    NotConnected,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The broker broke the standard's rules for packets.
    #[error("the broker broke the protocol: {0}")]
    Decode(#[from] DecodeError),
    /// A packet that is good in itself, at a time when it may not come.
    #[error("the broker broke the protocol: {0}")]
    Unexpected(&'static str),
    /// CONNACK with a refusal.
    #[error("the broker refused the connection: {0}")]
    Refused(Reason),
    /// The broker said goodbye, with 5.
    #[error("the broker ended the connection: {0}")]
    Disconnected(Reason),
    /// Nothing came for so long, not even the answer to a ping.
    #[error("the broker was silent for {0:?}")]
    Silent(Duration),
}
