//! Masking (RFC 6455 §5.3): XOR with a key of four bytes, over and over.

/// A mask key and where in it the next byte of payload falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Rotated so that its first byte belongs to the next byte of payload.
    key: [u8; 4],
}

impl Mask {
    pub(crate) fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// Masks or unmasks the next bytes of the payload.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.key;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        // Words, because byte by byte this loop would be what limits a fast link.
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.key.iter().cycle()) {
            *byte ^= key;
        }
        self.skip(bytes.len());
    }

    /// Moves on over `len` bytes of payload.
    pub(crate) fn skip(&mut self, len: usize) {
        self.key.rotate_left(len % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn words_and_cuts_give_the_same_as_the_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
        for cut in 0..=plain.len() {
            let mut bytes = plain.clone();
            let mut mask = Mask::new(key);
            let (head, tail) = bytes.split_at_mut(cut);
            mask.apply(head);
            mask.apply(tail);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }
}
