//! What brokers answer, in words.

use std::fmt;

use crate::Version;

/// A return code of 3.1.1 or a reason code of 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    code: u8,
    version: Version,
}

impl Reason {
    /// All is well: also the first of the codes that grant a subscription.
    pub const SUCCESS: Reason = Reason { code: 0, version: Version::V5 };

    pub(crate) const fn new(code: u8, version: Version) -> Self {
        Self { code, version }
    }

    /// The number as it was sent.
    pub const fn code(self) -> u8 {
        self.code
    }

    /// Whether it says no.
    pub const fn is_error(self) -> bool {
        match self.version {
            // CONNACK has its own numbers, SUBACK's refusal is 128.
            Version::V3 => self.code != 0 && self.code != 1 && self.code != 2,
            Version::V5 => self.code >= 0x80,
        }
    }

    /// Whether the broker asks to come back later.
    pub const fn is_busy(self) -> bool {
        match self.version {
            Version::V3 => self.code == 3,
            Version::V5 => matches!(self.code, 0x88 | 0x89 | 0x97 | 0x9f),
        }
    }

    fn text(self) -> Option<&'static str> {
        Some(match (self.version, self.code) {
            (Version::V3, 1) => "it does not speak 3.1.1",
            (Version::V3, 2) => "it does not take the client id",
            (Version::V3, 3) => "it is not available",
            (Version::V3, 4) => "bad user name or password",
            (Version::V3, 5) => "not authorized",
            (Version::V3, 0x80) => "refused",
            (_, 0x00) => "success",
            (_, 0x10) => "nobody subscribes to it",
            (_, 0x80) => "unspecified error",
            (_, 0x81) => "malformed packet",
            (_, 0x82) => "protocol error",
            (_, 0x83) => "error of its own",
            (_, 0x84) => "it does not speak 5",
            (_, 0x85) => "it does not take the client id",
            (_, 0x86) => "bad user name or password",
            (_, 0x87) => "not authorized",
            (_, 0x88) => "it is not available",
            (_, 0x89) => "it is busy",
            (_, 0x8a) => "banned",
            (_, 0x8b) => "it shuts down",
            (_, 0x8c) => "bad authentication method",
            (_, 0x8d) => "keep alive timeout",
            (_, 0x8e) => "another connection has the same client id",
            (_, 0x8f) => "bad topic filter",
            (_, 0x90) => "bad topic name",
            (_, 0x91) => "packet identifier in use",
            (_, 0x92) => "packet identifier not found",
            (_, 0x93) => "more messages at a time than it takes",
            (_, 0x94) => "bad topic alias",
            (_, 0x95) => "packet too large",
            (_, 0x96) => "too many messages",
            (_, 0x97) => "quota exceeded",
            (_, 0x98) => "ended by its administrator",
            (_, 0x99) => "bad payload format",
            (_, 0x9a) => "no retained messages",
            (_, 0x9b) => "no such quality of service",
            (_, 0x9c) => "use another server",
            (_, 0x9d) => "the server has moved",
            (_, 0x9e) => "no shared subscriptions",
            (_, 0x9f) => "too many connections",
            (_, 0xa0) => "connected for as long as allowed",
            (_, 0xa1) => "no subscription identifiers",
            (_, 0xa2) => "no wildcards",
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "{text} (code {})", self.code),
            None => write!(f, "code {}", self.code),
        }
    }
}
