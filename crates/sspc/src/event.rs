use core::fmt;

use sspc_wire::{Flags, FrameError, Piece, State};

/// What happened to a stream; bytes are borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
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
        data: &'a [u8],
        /// SOM and EOM only on the first and last piece of a message.
        flags: Flags,
        /// The streamtype it belongs to, if not the stream's own.
        rideshare: Option<&'a [u8]>,
    },
    /// A piece of a value from the remote peer, by the policy's name for it.
    Metadata {
        /// The policy's name.
        name: &'a [u8],
        /// The value.
        value: Piece<'a>,
    },
    /// A piece of JSON about the onward connection.
    Perf(Piece<'a>),
    /// The proxy does not know the streamtype or does not give it; it is asked again after a wait.
    Refused {
        /// The CREATE_RESULT, not 0.
        result: u8,
    },
    /// The proxy broke the protocol or was silent; the link is dropped, and made again after a wait.
    Fault(Fault),
}

/// How a proxy can fail its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It sent bytes that are no frame.
    Frame(FrameError),
    /// It sent a frame that has no place where it came: before CREATE_RESULT, or a second one.
    Unexpected {
        /// The frame's type on the wire.
        frame: u8,
    },
    /// It reported a state that cannot follow the one before.
    Transition {
        /// The state before.
        from: State,
        /// The state that cannot follow it.
        to: State,
    },
    /// It did not answer STREAMTYPE in time.
    NoAnswer,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "the proxy sent no valid frame: {error}"),
            Self::Unexpected { frame } => {
                let name = match frame {
                    0x55 => "RX_PAYLOAD",
                    0x56 => "CREATE_RESULT",
                    0x57 => "CONNSTATE",
                    0x58 => "TXCR_UPDATE",
                    0x59 => "METADATA",
                    0x5b => "PERF",
                    _ => "a frame",
                };
                write!(f, "the proxy sent {name} where it has no place")
            }
            Self::Transition { from, to } => {
                write!(f, "the proxy reported the state {to}, which cannot follow {from}")
            }
            Self::NoAnswer => f.write_str("the proxy did not answer in time"),
        }
    }
}

impl core::error::Error for Fault {}
