//! Payload of the application on its way to the engine's frames.

use sspc_wire::Flags;

use crate::engine::Tx;

/// A run of a message's bytes, or all of it.
#[derive(Debug)]
pub(crate) struct Chunk<D> {
    data: D,
    flags: Flags,
    /// The whole message's length, on its first chunk, if known.
    pub(crate) length: Option<u32>,
    /// Bytes of `data` that are on their way.
    sent: usize,
}

impl<D: AsRef<[u8]>> Chunk<D> {
    pub(crate) const fn new(data: D, flags: Flags, length: Option<u32>) -> Self {
        Self { data, flags, length, sent: 0 }
    }

    /// True if the message ends with it.
    pub(crate) fn ends(&self) -> bool {
        self.flags.contains(Flags::EOM)
    }

    /// Puts what fits in the room; the chunk is over when `more` is false.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) -> Tx {
        let left = self.data.as_ref().get(self.sent..).unwrap_or_default();
        let (now, later) = left.split_at_checked(buf.len()).unwrap_or((left, &[]));
        if let Some(buf) = buf.get_mut(..now.len()) {
            buf.copy_from_slice(now);
        }
        let mut flags = self.flags;
        if self.sent > 0 {
            flags = flags.without(Flags::SOM | Flags::POLL | Flags::RELATED_START);
        }
        if !later.is_empty() {
            flags = flags.without(Flags::EOM | Flags::RELATED_END);
        }
        self.sent += now.len();
        Tx { len: now.len(), flags, more: !later.is_empty() }
    }
}
