//! Errors, by whose fault: the peer's bytes ([`DecodeError`], [`HandshakeError`]) or our caller's
//! use ([`EncodeError`], [`DecodeError::NoScratch`]).

use thiserror::Error;

use crate::close::CloseCode;

/// Why the peer's bytes cannot be decoded. The connection must be failed (RFC 6455 §7.1.7): send
/// a close with [`close_code`](Self::close_code), then drop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A reserved bit is set that no negotiated extension gives a meaning (RFC 6455 §5.2), or
    /// RSV1 on a frame that is not the first of a message (RFC 7692 §6).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// An opcode that is reserved (RFC 6455 §5.2).
    #[error("reserved opcode 0x{0:x}")]
    Opcode(u8),
    /// A control frame without FIN (RFC 6455 §5.5).
    #[error("control frame in fragments")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (RFC 6455 §5.5).
    #[error("control frame of more than 125 bytes")]
    ControlTooLong,
    /// A client sent a frame unmasked (RFC 6455 §5.1).
    #[error("frame of a client is not masked")]
    NotMasked,
    /// A server sent a frame masked (RFC 6455 §5.1).
    #[error("frame of a server is masked")]
    Masked,
    /// A payload length in more bytes than it needs (RFC 6455 §5.2).
    #[error("payload length is not in its shortest form")]
    LengthNotShortest,
    /// A 64-bit payload length with its top bit set (RFC 6455 §5.2).
    #[error("payload length of 2^63 or more")]
    LengthTooLarge,
    /// A continuation frame outside of a message (RFC 6455 §5.4).
    #[error("continuation of no message")]
    NothingToContinue,
    /// A new message inside a message that has not ended (RFC 6455 §5.4).
    #[error("new message inside a message")]
    MessageInsideMessage,
    /// A close frame with a payload of one byte (RFC 6455 §5.5.1).
    #[error("close frame with half a code")]
    CloseTooShort,
    /// A close frame with a code that must not be sent (RFC 6455 §7.4).
    #[error("close frame with code {0}, which must not be sent")]
    CloseCode(u16),
    /// A text message or the reason of a close that is not UTF-8 (RFC 6455 §8.1).
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that is not DEFLATE, or ends inside a block (RFC 7692 §7.2.2).
    #[error("compressed data is invalid")]
    InvalidDeflate,
    /// Misuse by the caller: the scratch buffer is empty where it is needed. Nothing is lost:
    /// call again with a buffer.
    #[error("scratch buffer is empty")]
    NoScratch,
}

impl DecodeError {
    /// The code to close the connection with (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_DATA,
            Self::NoScratch => CloseCode::INTERNAL_ERROR,
            Self::ReservedBit
            | Self::Opcode(_)
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::NotMasked
            | Self::Masked
            | Self::LengthNotShortest
            | Self::LengthTooLarge
            | Self::NothingToContinue
            | Self::MessageInsideMessage
            | Self::CloseTooShort
            | Self::CloseCode(_) => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Why a frame cannot be sent. Nothing was written, and the encoder is as before the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A piece that is not first, outside of a message.
    #[error("piece continues no message")]
    NothingToContinue,
    /// A first piece before the last piece of the message before.
    #[error("new message inside a message")]
    MessageInsideMessage,
    /// More than 125 bytes in a ping or pong, or a reason of more than 123 in a close.
    #[error("control frame of more than 125 bytes")]
    ControlTooLong,
    /// A close was sent; nothing may follow it (RFC 6455 §5.5.1).
    #[error("a close was already sent")]
    Closed,
    /// The compressor refused. Not known to happen; give the connection up.
    #[error("compressor failed")]
    Deflate,
}

/// Why a server's answer to the offer of extensions must be refused (RFC 6455 §4.1, RFC 7692 §7.1).
/// The client must fail the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// An extension that was not offered, or one accepted twice.
    #[error("server accepted an extension that was not offered")]
    ExtensionNotOffered,
    /// A parameter that permessage-deflate does not have.
    #[error("unknown parameter of permessage-deflate")]
    UnknownParameter,
    /// The same parameter twice.
    #[error("parameter {0} stands twice")]
    Duplicate(&'static str),
    /// A value where none belongs, none where one belongs, or one that is not 8 to 15.
    #[error("parameter {0} has an invalid value")]
    InvalidValue(&'static str),
    /// A parameter that a server may only use if it was offered.
    #[error("parameter {0} was not offered")]
    NotOffered(&'static str),
    /// A parameter that was offered as a condition and is not in the answer.
    #[error("parameter {0} was asked for and is missing")]
    Missing(&'static str),
    /// A window larger than the one offered.
    #[error("parameter {0} is larger than offered")]
    WindowTooLarge(&'static str),
}
