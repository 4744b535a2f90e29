//! Payload that waits, in no more memory than it needs.

use bytes::Bytes;

/// Small pieces are joined into one of up to so many bytes.
pub(crate) const JOIN_MAX: usize = 16 * 1024;
/// What one that grows gets at least.
const GROWTH_MIN: usize = 64;

/// Payload that waits.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// In the buffer that it was read into, of which it is most.
    AsRead {
        bytes: Bytes,
        /// What that buffer takes, in bytes.
        buffer: usize,
    },
    /// In memory of its own, to which more can be added.
    Joined(Vec<u8>),
}

impl Waiting {
    /// A copy.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Self::Joined(bytes.to_vec())
    }

    /// This payload, which lies in a buffer of that size, or a copy if it would keep much more than
    /// itself.
    pub(crate) fn of(bytes: Bytes, buffer: usize) -> Self {
        if is_most(bytes.len(), buffer) {
            Self::AsRead { bytes, buffer }
        } else {
            Self::copy_of(&bytes)
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::AsRead { bytes, .. } => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    /// How much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::AsRead { buffer, .. } => *buffer,
            Self::Joined(bytes) => bytes.capacity(),
        }
    }

    /// Adds a copy of as much as there is room for; the rest.
    pub(crate) fn join<'a>(&mut self, more: &'a [u8]) -> &'a [u8] {
        let Self::Joined(bytes) = self else { return more };
        let room = JOIN_MAX.saturating_sub(bytes.len());
        let (more, rest) = more.split_at(more.len().min(room));
        if bytes.capacity() - bytes.len() < more.len() {
            // So that many small ones are not moved each time.
            let growth = (3 * bytes.len()).max(GROWTH_MIN).min(room);
            bytes.reserve_exact(growth.max(more.len()));
        }
        bytes.extend_from_slice(more);
        rest
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::AsRead { bytes, .. } => bytes,
            Self::Joined(bytes) => bytes.into(),
        }
    }
}

/// True if so many bytes are at least half of a buffer.
pub(crate) fn is_most(length: usize, buffer: usize) -> bool {
    length >= buffer.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_bytes_are_joined_and_take_little_more_than_themselves() {
        let mut waiting = Waiting::copy_of(b"x");
        let mut length = 1;
        while waiting.join(b"x").is_empty() {
            length += 1;
            assert!(waiting.size() <= 4 * length + GROWTH_MIN, "{} for {length}", waiting.size());
        }
        assert_eq!((length, waiting.len()), (JOIN_MAX, JOIN_MAX));
        assert_eq!(waiting.into_bytes(), vec![b'x'; JOIN_MAX]);

        let mut waiting = Waiting::copy_of(&[b'x'; JOIN_MAX - 2]);
        assert_eq!(waiting.join(b"yyz"), b"z");
        assert_eq!((waiting.len(), waiting.size()), (JOIN_MAX, JOIN_MAX));
    }

    /// One small piece of a large buffer kept all of it.
    #[test]
    fn what_waits_takes_no_more_than_twice_its_length() {
        let buffer = Bytes::from(vec![1; 64 * 1024]);
        for length in [1, 1024, 20_000, 32_767, 32_768, 65_536] {
            let waiting = Waiting::of(buffer.slice(..length), buffer.len());
            assert!(waiting.size() <= 2 * length, "{} for {length}", waiting.size());
            assert_eq!(waiting.into_bytes(), buffer.slice(..length));
        }
    }
}
