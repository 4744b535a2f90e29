//! What was negotiated for permessage-deflate (RFC 7692 §7.1).

use core::fmt;

use crate::Role;

/// The base-2 logarithm of a DEFLATE window: 8 (256 bytes) to 15 (32 KiB), RFC 7692 §7.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 8 bits, 256 bytes. See [`DeflateParams`] about compressing with it.
    pub const MIN: Self = Self(8);
    /// 9 bits, 512 bytes: the smallest window that every implementation can use.
    pub const COMMON_MIN: Self = Self(9);
    /// 15 bits, 32 KiB: what holds if nothing is said.
    pub const MAX: Self = Self(15);

    /// `bits`, if it is 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            8..=15 => Some(Self(bits)),
            _ => None,
        }
    }

    /// The number of bits, 8 to 15.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// As the value of a parameter: a decimal without leading zeros (RFC 7692 §7.1.2.1).
    pub(crate) fn parse(value: &str) -> Option<Self> {
        match value.as_bytes() {
            [digit @ b'8'..=b'9'] => Some(Self(digit - b'0')),
            [b'1', digit @ b'0'..=b'5'] => Some(Self(10 + digit - b'0')),
            _ => None,
        }
    }
}

impl Default for WindowBits {
    fn default() -> Self {
        Self::MAX
    }
}

impl fmt::Display for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The terms of permessage-deflate that both sides keep to (RFC 7692 §7.1).
///
/// The default is what an answer without parameters means: 32 KiB windows, kept from message to
/// message.
///
/// A sender whose own window is agreed to be 8 bits sends its messages uncompressed, which
/// RFC 7692 §6 allows at any time: no library of the zlib family can compress raw DEFLATE with
/// that window. Receiving works with every window.
///
/// What a connection holds between messages depends on the terms: about 360 KiB if context is kept
/// in both directions with 15 bits, 230 KiB with 9 (nearly all of it the compressor's tables),
/// and nothing where no context is kept and what the last message needed was
/// [released](crate::Encoder::release), or nothing was compressed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeflateParams {
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// How far back the server's compressed data may refer.
    pub server_max_window_bits: WindowBits,
    /// How far back the client's compressed data may refer.
    pub client_max_window_bits: WindowBits,
}

/// The terms for one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) keep_context: bool,
    pub(crate) window: WindowBits,
}

impl DeflateParams {
    /// The terms for what `role` sends.
    pub(crate) fn sent_by(&self, role: Role) -> Direction {
        match role {
            Role::Client => Direction {
                keep_context: !self.client_no_context_takeover,
                window: self.client_max_window_bits,
            },
            Role::Server => Direction {
                keep_context: !self.server_no_context_takeover,
                window: self.server_max_window_bits,
            },
        }
    }

    /// The terms for what `role` receives.
    pub(crate) fn received_by(&self, role: Role) -> Direction {
        self.sent_by(match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        })
    }
}
