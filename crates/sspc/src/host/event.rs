use std::string::String;
use std::vec::Vec;

use sspc_wire::{Flags, State};

use crate::event::Fault;

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
    /// The proxy broke the protocol or was silent; the link is dropped, and made again after a wait.
    Fault(Fault),
}
