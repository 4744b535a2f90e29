use sspc_mux::LinkLoss;

use super::StreamId;
use crate::event::Event;

/// What a [`crate::Client`] has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// There is a proxy at the other end of the line.
    LinkUp {
        /// The round trip of the handshake, in µs.
        rtt_us: u32,
    },
    /// The proxy is gone, and all streams are lost to it; each has its own events about that.
    LinkDown {
        /// How this was found out.
        why: LinkLoss,
    },
    /// The proxy answered a PING.
    RoundTrip {
        /// µs from PING to PONG.
        rtt_us: u32,
    },
    /// The proxy's wall clock, at the moment when it wrote this. One that does not know the time
    /// sends one of long ago.
    PeerClock {
        /// µs since 1970.
        unix_us: u64,
    },
    /// Something happened to a stream.
    Stream {
        /// The stream.
        id: StreamId,
        /// What happened.
        event: Event<'a>,
    },
}
