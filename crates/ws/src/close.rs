//! Close codes and the payload of a close frame (RFC 6455 §5.5.1, §7.4).

use core::fmt;

use crate::error::DecodeError;
use crate::event::ControlPayload;

/// A close code that may stand in a close frame (RFC 6455 §7.4, and the IANA registry).
///
/// Codes that only exist inside a program (1005, 1006, 1015) and those that nobody has
/// registered cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away: a server shuts down, a user leaves.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of framing.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: data that does not fit the message's kind, for instance text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message against the endpoint's policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big for the endpoint.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client cannot do without.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint failed for a reason of its own.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code, if it may stand in a close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// The payload of a close frame that has one: a code, and a reason for people to read.
#[derive(Clone, PartialEq, Eq)]
pub struct CloseFrame {
    code: CloseCode,
    /// Code and reason as they came; the reason was checked to be UTF-8.
    payload: ControlPayload,
}

impl CloseFrame {
    pub(crate) fn parse(payload: ControlPayload) -> Result<Option<Self>, DecodeError> {
        let (code, reason) = match payload.as_bytes() {
            [] => return Ok(None),
            [_] => return Err(DecodeError::CloseTooShort),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        let code = CloseCode::new(code).ok_or(DecodeError::CloseCode(code))?;
        if core::str::from_utf8(reason).is_err() {
            return Err(DecodeError::InvalidUtf8);
        }
        Ok(Some(Self { code, payload }))
    }

    /// Why the peer closes.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The peer's words about it, up to 123 bytes; often empty.
    pub fn reason(&self) -> &str {
        self.payload
            .as_bytes()
            .get(2..)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl fmt::Debug for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseFrame")
            .field("code", &self.code.0)
            .field("reason", &self.reason())
            .finish()
    }
}
