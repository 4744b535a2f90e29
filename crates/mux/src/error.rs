use core::fmt;

/// Why `open` opened nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenError {
    /// The link is down.
    LinkDown,
    /// All channels are in use. If some are so only because the peer did not answer their closing,
    /// the link is reset: a `LinkDown` event follows.
    NoneFree,
    /// A proxy opens no channels.
    ProxyNeverOpens,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LinkDown => "the link is down",
            Self::NoneFree => "all channels are in use",
            Self::ProxyNeverOpens => "a proxy opens no channels",
        })
    }
}

impl core::error::Error for OpenError {}

/// There is no such request any more: the peer withdrew it, or the link was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NotRequested;

impl fmt::Display for NotRequested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer does not ask for this channel")
    }
}

impl core::error::Error for NotRequested {}

/// The output buffer is too short; nothing was written and nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a mux needs an output buffer of {} bytes or more", crate::TRANSMIT_MIN)
    }
}

impl core::error::Error for NoRoom {}
