//! Bytes that show any loss, repetition or exchange, at any length.

use std::sync::LazyLock;

use bytes::Bytes;

/// A prime, so that it is no multiple of anyone's buffer: what is lost or doubled by buffers shows.
const PERIOD: usize = 1_000_003;

static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(2 * PERIOD);
    while bytes.len() < PERIOD {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(PERIOD);
    bytes.extend_from_within(..);
    bytes.into()
});

/// Up to a million bytes of the content, from any offset.
pub(crate) fn piece(offset: u64, length: usize) -> Bytes {
    assert!(length <= PERIOD);
    let start = usize::try_from(offset % PERIOD as u64).unwrap();
    BYTES.slice(start..start + length)
}

/// The first bytes of the content.
pub(crate) fn whole(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let next = (length - bytes.len()).min(PERIOD);
        bytes.extend_from_slice(&piece(bytes.len() as u64, next));
    }
    bytes
}

/// Whether these are the content's bytes at this offset.
pub(crate) fn matches(offset: u64, bytes: &[u8]) -> bool {
    let mut at = offset;
    bytes.chunks(PERIOD).all(|chunk| {
        let same = piece(at, chunk.len()) == chunk;
        at += chunk.len() as u64;
        same
    })
}
