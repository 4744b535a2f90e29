//! What passes between the codec and its user.

use core::fmt;

use crate::close::CloseFrame;

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Whether a message is UTF-8 text or arbitrary bytes (RFC 6455 §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8. A piece may end inside a character; the message as a whole never does.
    Text,
    /// Any bytes.
    Binary,
}

/// A part of one message. Pieces of different messages never interleave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The kind of the whole message, the same on each of its pieces.
    pub kind: MessageKind,
    /// The message begins with this piece.
    pub first: bool,
    /// The message ends with this piece.
    pub last: bool,
    /// The message's next bytes. May be empty, on a last piece only when the decoder made it.
    pub bytes: &'a [u8],
}

/// What the peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The next part of a message.
    Data(Piece<'a>),
    /// A ping: answer with [`Encoder::pong`](crate::Encoder::pong) and the same payload.
    Ping(ControlPayload),
    /// A pong, solicited or not.
    Pong(ControlPayload),
    /// The peer closes (RFC 6455 §5.5.1): answer with [`Encoder::close`](crate::Encoder::close)
    /// unless a close was already sent. `None` if it gave no code (1005 of RFC 6455 §7.4.1).
    /// Nothing comes after it.
    Close(Option<CloseFrame>),
}

/// The payload of a control frame: up to [`MAX_CONTROL_PAYLOAD`] bytes, held in place.
#[derive(Clone)]
pub struct ControlPayload {
    bytes: [u8; MAX_CONTROL_PAYLOAD],
    len: u8,
}

impl ControlPayload {
    pub(crate) const EMPTY: Self = Self { bytes: [0; MAX_CONTROL_PAYLOAD], len: 0 };

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Appends what fits of `bytes`, and gives the place where it now lies.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> &mut [u8] {
        let start = usize::from(self.len);
        let end = MAX_CONTROL_PAYLOAD.min(start + bytes.len());
        let place = &mut self.bytes[start..end];
        place.copy_from_slice(&bytes[..end - start]);
        self.len = end as u8;
        place
    }
}

impl AsRef<[u8]> for ControlPayload {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlPayload(\"{}\")", self.as_bytes().escape_ascii())
    }
}

impl PartialEq for ControlPayload {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ControlPayload {}
