//! Bytes that differ at every position and that both sides can make: a pseudo-random
//! function of the offset. A gap, a repetition or a swap cannot go unnoticed.

use aws_lc_rs::digest;

use crate::splitmix;

/// Writes the pattern's bytes from `offset`, which must be a multiple of 8, into `out`.
pub(super) fn fill(offset: u64, out: &mut [u8]) {
    debug_assert_eq!(offset % 8, 0);
    for (word, chunk) in (offset / 8..).zip(out.chunks_mut(8)) {
        chunk.copy_from_slice(&splitmix::at(word).to_le_bytes()[..chunk.len()]);
    }
}

/// SHA-256 of what is fed to it, and how much that was.
pub(super) struct Hash {
    context: digest::Context,
    len: u64,
}

impl Hash {
    pub(super) fn new() -> Self {
        Self { context: digest::Context::new(&digest::SHA256), len: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.len += bytes.len() as u64;
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// In hex, as `sha256sum` prints it.
    pub(super) fn finish(self) -> String {
        self.context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The hash of the pattern's first `len` bytes.
pub(super) fn hash_of(len: u64) -> String {
    let mut hash = Hash::new();
    let mut block = [0; 8192];
    while hash.len() < len {
        let take = block.len().min(usize::try_from(len - hash.len()).unwrap_or(usize::MAX));
        fill(hash.len(), &mut block[..take]);
        hash.update(&block[..take]);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_same_however_it_is_cut() {
        let mut whole = [0; 4096];
        fill(0, &mut whole);
        for cut in [8, 64, 1000, 4088] {
            let mut parts = [0; 4096];
            let (head, tail) = parts.split_at_mut(cut);
            fill(0, head);
            fill(cut as u64, tail);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_hash_is_sha256() {
        let mut hash = Hash::new();
        hash.update(b"abc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.finish(), expected);
    }
}
