use core::fmt;

/// Which channel, by its index on the wire. Free indices are used again: a handle means one
/// channel from its opening to its [`Event::Closed`], [`Event::Refused`] or `close`, or to the
/// link's [`Event::LinkDown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u8);

impl Channel {
    /// The channel with this index.
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The index.
    pub const fn index(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who sends first: a channel of a higher level passes all of lower ones at the next frame. Equals
/// take turns. Every sixth frame goes to the channel whose turn it is among all, so that none
/// starves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(u8);

impl Priority {
    /// What waits for all others.
    pub const LOWEST: Self = Self(0);
    /// What waits for no other.
    pub const HIGHEST: Self = Self(7);

    /// A level from 0 to 7; a higher one counts as 7.
    pub const fn new(level: u8) -> Self {
        Self(if level > Self::HIGHEST.0 { Self::HIGHEST.0 } else { level })
    }

    /// The level, 0 to 7.
    pub const fn level(self) -> u8 {
        self.0
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes pass in both directions; channels can be opened.
    LinkUp {
        /// The round trip of the handshake, in µs.
        rtt_us: u32,
    },
    /// The link is lost and with it all channels, for which no more events come.
    LinkDown {
        /// How that was noticed.
        why: LinkLoss,
    },
    /// This side's own PING came back: there is no peer, but a loopback plug, or TX joined to RX.
    /// Comes for each PING while the link is down; the link does not come up that way. Only with
    /// the feature `host`.
    Echo,
    /// A PING of this side was answered while the link was up.
    RoundTrip {
        /// µs from the PING to its PONG.
        rtt_us: u32,
    },
    /// The peer's wall clock, at the moment when it wrote this. A peer that does not know the time
    /// sends one of long ago.
    PeerClock {
        /// µs since 1970.
        unix_us: u64,
    },
    /// The peer wants to open this channel: answer with `accept` or `refuse`.
    ChannelRequested {
        /// The channel.
        channel: Channel,
    },
    /// The peer accepted; bytes may be sent.
    Opened {
        /// The channel.
        channel: Channel,
    },
    /// The channel could not be opened. After [`Refusal::NoAnswer`] open another one at once.
    Refused {
        /// The channel that it would have been.
        channel: Channel,
        /// Why.
        why: Refusal,
    },
    /// The peer closed the channel, or gave up waiting for the answer to its request.
    Closed {
        /// The channel that was.
        channel: Channel,
    },
    /// The next bytes of the channel's stream; where they are cut means nothing.
    Data {
        /// The channel.
        channel: Channel,
        /// The bytes, never none.
        piece: &'a [u8],
    },
}

/// How the loss of the link was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkLoss {
    /// No PONG came in time.
    // From 1 on, so that none is 0: see `Mux::idle`.
    NoPong = 1,
    /// What came was no frame: bytes were lost, or changed.
    Framing,
    /// The peer sent RESET_TRANSPORT: it restarted, or lost trust itself.
    PeerReset,
    /// This side's own PING came back. Only with the feature `host`.
    Echo,
    /// No index is left: the peer did not answer the closing of so many channels.
    NoIndexLeft,
    /// `reset` was called.
    Asked,
}

impl fmt::Display for LinkLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPong => "the peer does not answer",
            Self::Framing => "what came was no frame",
            Self::PeerReset => "the peer reset the link",
            Self::Echo => "the line answers with its own bytes",
            Self::NoIndexLeft => "no channel index is left",
            Self::Asked => "reset from this side",
        })
    }
}

/// Why a channel could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer does not want it.
    ByPeer,
    /// The peer gave no answer in time: it believes that the index is in use.
    NoAnswer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByPeer => "the peer refused the channel",
            Self::NoAnswer => "the peer did not answer the request for a channel",
        })
    }
}
