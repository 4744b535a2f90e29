//! What the APIs for hosts share: owned events, errors, options.

use core::fmt;
use std::io;
use std::string::String;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::vec::Vec;

use sspc_line::Priority;
use sspc_wire::limits::PAYLOAD_SAFE;
use sspc_wire::{Flags, State};

use crate::config::Config;
use crate::error::MetadataError;
use crate::event::Fault;
use crate::name::NameError;
use sspc_address::Address;

/// The largest window on a line: more would not make it faster, and be in the way of others.
const LINE_WINDOW: u32 = 64 * 1024;

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The stream's state changed.
    State {
        /// The new state.
        state: State,
        /// What it says beside its name; for UPSTREAM_LINK_RETRY the ms tried so far, 0
        /// when the link was just lost.
        ordinal: u32,
    },
    /// Payload from the remote peer.
    Payload {
        /// The bytes; may be none, where only the flags matter.
        data: Vec<u8>,
        /// SOM and EOM only on the first and last piece of a message.
        flags: Flags,
        /// The streamtype it belongs to, if not the stream's own.
        rideshare: Option<String>,
    },
    /// A value from the remote peer, by the policy's name for it.
    Metadata {
        /// The policy's name.
        name: String,
        /// The value.
        value: Vec<u8>,
    },
    /// JSON about the onward connection.
    Perf(Vec<u8>),
    /// The proxy does not know the streamtype or does not give it; it is asked again after a wait.
    Refused {
        /// The CREATE_RESULT, not 0.
        result: u8,
    },
    /// The proxy broke the protocol or was silent; the link is dropped, and made anew after a wait.
    Fault(Fault),
}

/// How a stream is opened and run on a host.
///
/// ```
/// let mut options = sspc::Options::default();
/// options.keep_trying = true; // the proxy may start later than this program
/// options.config.window = 64 * 1024;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The engine's part.
    pub config: Config,
    /// Where there is no proxy, wait for one instead of failing to open.
    pub keep_trying: bool,
    /// How long the socket may take to connect, or the serial line to come up and give a channel.
    pub connect_timeout: Duration,
    /// The room for metadata that the application sets, in bytes.
    pub metadata_size: usize,
    /// How many bytes are read from and written to the link at a time.
    pub buffer: usize,
    /// On a serial line: who sends first. A stream of a higher level passes those of lower ones at
    /// the next frame.
    pub priority: Priority,
}

impl Options {
    /// The engine's part for one more stream: streams of one process do not try again in step. On
    /// a line that others share its frames are short, and the proxy is not far ahead of it.
    pub(crate) fn config_of_stream(&self, address: &Address) -> Config {
        static STREAMS: AtomicU32 = AtomicU32::new(0);
        let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
        let seed = self.config.seed ^ stream.wrapping_mul(0x9e37_79b9);
        let config = Config { seed, ..self.config };
        match address {
            Address::Abstract(_) | Address::Path(_) | Address::Tcp { .. } => config,
            Address::Serial(_) | Address::Own { .. } => Config {
                window: config.window.min(LINE_WINDOW),
                frame_payload: config.frame_payload.min(PAYLOAD_SAFE as u16),
                frame_payload_managed: config.frame_payload_managed.min(PAYLOAD_SAFE as u16),
                ..config
            },
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        let pid = std::process::id();
        Self {
            config: Config { pid, seed: pid ^ 0x9e37_79b9, ..Config::HOST },
            keep_trying: false,
            connect_timeout: Duration::from_secs(3),
            metadata_size: 16 * 1024,
            buffer: 64 * 1024,
            priority: Priority::default(),
        }
    }
}

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
