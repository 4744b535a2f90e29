//! Which way bytes go.

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Client to proxy.
    ToProxy,
    /// Proxy to client.
    ToClient,
}

impl Direction {
    /// First to the proxy, then to the client.
    pub(crate) const BOTH: [Self; 2] = [Self::ToProxy, Self::ToClient];

    /// The direction of a stream whose frame begins with this byte.
    pub(crate) fn guess(frame: u8) -> Option<Self> {
        match frame {
            0xaa..=0xb3 => Some(Self::ToProxy),
            0x55..=0x5b => Some(Self::ToClient),
            _ => None,
        }
    }
}
