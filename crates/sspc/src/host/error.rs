use core::fmt;
use std::io;
use std::string::String;

use sspc_address::Address;
use sspc_wire::State;

use crate::error::MetadataError;
use crate::event::Fault;
use crate::name::NameError;

/// Why an operation on a stream failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No streamtype can have this name.
    Name(NameError),
    /// A metadata value cannot be set.
    Metadata(MetadataError),
    /// No proxy listens at the address.
    NoProxy {
        /// Where it was sought.
        address: Address,
        /// Why it could not be reached.
        source: io::Error,
    },
    /// The proxy does not know the streamtype or does not give it.
    Refused {
        /// The streamtype.
        streamtype: String,
        /// The CREATE_RESULT, not 0.
        result: u8,
    },
    /// The proxy broke the protocol or was silent.
    Protocol(Fault),
    /// The onward connection or the link was lost in the middle of this message.
    Interrupted,
    /// The proxy said that this streamtype takes no payload, as one of a GET. Nothing was sent.
    TakesNoPayload,
    /// The remote peer gave its verdict, which is among the events, before the message was sent
    /// whole. What was left of it is not sent.
    Answered,
    /// The proxy could not make the onward connection that the message was to go over.
    Unreachable {
        /// The state that says so.
        state: State,
    },
    /// No message can be so long.
    TooLong {
        /// What it has, in bytes.
        length: usize,
        /// What it may have, in bytes.
        max: usize,
    },
    /// The message is not as long as was said when it began.
    Length {
        /// What was said, in bytes.
        said: u32,
        /// What was written, in bytes.
        written: u64,
    },
    /// More events came while a message was sent than the blocking client keeps. They are to be
    /// taken before the next message; what had begun to be sent is broken off.
    EventsWaiting,
    /// The stream is closed.
    Closed,
    /// The time given is over.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "no streamtype can have this name: {error}"),
            Self::Metadata(error) => error.fmt(f),
            Self::NoProxy { address, source } => {
                write!(f, "no proxy at {address}: {source}; is it running, and at this address?")
            }
            Self::TooLong { length, max } => {
                write!(f, "a message of {length} bytes is too long: at most {max} are allowed")
            }
            Self::Refused { streamtype, result } if streamtype == sspc_wire::smd::STREAMTYPE => {
                write!(
                    f,
                    "the proxy has no system messages for clients (result {result}); does it run with \
                     --no-smd?"
                )
            }
            Self::Refused { streamtype, result } => write!(
                f,
                "the proxy refused the streamtype \"{}\" (result {result}); is it in its policy?",
                streamtype.escape_debug()
            ),
            Self::Protocol(fault) => fault.fmt(f),
            Self::Interrupted => f.write_str("the connection was lost in the middle of a message"),
            Self::TakesNoPayload => f.write_str("this streamtype takes no payload"),
            Self::Answered => f.write_str("the message was answered before it was sent whole"),
            Self::Unreachable { state } => {
                write!(f, "the proxy could not connect to the remote peer: {state}")
            }
            Self::Length { said, written } => {
                write!(f, "the message was to have {said} bytes and has {written}")
            }
            Self::EventsWaiting => {
                f.write_str("too many events came while a message was sent; take them first")
            }
            Self::Closed => f.write_str("the stream is closed"),
            Self::TimedOut => f.write_str("the time given is over"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::Metadata(error) => Some(error),
            Self::NoProxy { source, .. } => Some(source),
            Self::Protocol(fault) => Some(fault),
            Self::Refused { .. }
            | Self::Interrupted
            | Self::TakesNoPayload
            | Self::Answered
            | Self::Unreachable { .. }
            | Self::TooLong { .. }
            | Self::Length { .. }
            | Self::EventsWaiting
            | Self::Closed
            | Self::TimedOut => None,
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<MetadataError> for Error {
    fn from(error: MetadataError) -> Self {
        Self::Metadata(error)
    }
}
