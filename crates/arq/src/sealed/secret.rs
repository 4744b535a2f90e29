//! What is derived from what: HMAC and HKDF with SHA-256.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// How long what HMAC-SHA256 makes is, in bytes.
pub(super) const HASH: usize = 32;

/// 32 bytes that both ends know and nobody else. They are wiped when they are dropped.
#[derive(Clone)]
pub struct Key([u8; HASH]);

impl Key {
    /// How long it is, in bytes.
    pub const LENGTH: usize = HASH;

    /// From bytes of chance: a password is no key.
    pub const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; HASH] {
        &self.0
    }
}

impl Drop for Key {
    // Many places: a call is shorter than what it does.
    #[inline(never)]
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

/// Without the bytes.
impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// How many bytes SHA-256 takes at once.
const BLOCK: usize = 64;

/// SHA-256 over a block made of a key, and what is behind that. What sha2 and hmac make of the same
/// functions is larger by half a KiB on devices, as it takes keys of any length and is done with any hash.
struct Hash {
    state: [u32; 8],
    block: [u8; BLOCK],
    /// How many bytes went in.
    length: u32,
}

impl Hash {
    /// What SHA-256 begins with: FIPS 180-4, 5.3.3.
    const FIRST: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    /// Begins with a block of `pad`, with the key in it.
    fn new(key: &[u8; HASH], pad: u8) -> Self {
        let mut hash = Self { state: Self::FIRST, block: [0; BLOCK], length: 0 };
        for at in 0..BLOCK {
            hash.push(key.get(at).copied().unwrap_or_default() ^ pad);
        }
        hash
    }

    #[inline(never)]
    fn push(&mut self, byte: u8) {
        let at = self.length as usize % BLOCK;
        self.block[at] = byte;
        self.length += 1;
        if at == BLOCK - 1 {
            compress256(&mut self.state, &[self.block]);
        }
    }

    #[inline(never)]
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(*byte);
        }
    }

    #[inline(never)]
    fn finish(&mut self, out: &mut Key) {
        let bits = u64::from(self.length) * 8;
        self.push(0x80);
        while self.length as usize % BLOCK != BLOCK - 8 {
            self.push(0);
        }
        self.update(&bits.to_be_bytes());
        for (to, word) in out.0.chunks_exact_mut(4).zip(self.state) {
            to.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// HMAC-SHA256 of RFC 2104 over the parts, together less than 2^28 bytes.
#[inline(never)]
pub(crate) fn hmac(key: &[u8; HASH], parts: &[&[u8]]) -> Key {
    let mut out = Key([0; HASH]);
    let mut inner = Hash::new(key, 0x36);
    for part in parts {
        inner.update(part);
    }
    inner.finish(&mut out);
    let mut outer = Hash::new(key, 0x5c);
    outer.update(&out.0);
    outer.finish(&mut out);
    out
}

/// HKDF-Extract of RFC 5869, from a secret of two parts. A salt that is shorter ends with zeros.
pub(super) fn extract(salt: &[u8; HASH], secret: [&[u8]; 2]) -> Key {
    hmac(salt, &secret)
}

/// HKDF-Expand of RFC 5869, to the length of one hash.
pub(super) fn expand(prk: &Key, [a, b, c, d]: [&[u8]; 4]) -> Key {
    hmac(&prk.0, &[a, b, c, d, &[1]])
}

/// How long the nonce of each end is, in bytes.
pub(super) const NONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }

    /// RFC 5869, A.1 and A.3, of whose output one hash is taken.
    #[test]
    fn keys_are_derived_as_rfc_5869_has_it() {
        let ikm = [0x0b; 22];
        let salt: [u8; 13] = core::array::from_fn(|at| at as u8);
        let info: [u8; 10] = core::array::from_fn(|at| 0xf0 + at as u8);
        let mut padded = [0; HASH];
        padded[..13].copy_from_slice(&salt);
        for cut in 0..info.len() {
            let (first, second) = ikm.split_at(cut);
            let prk = extract(&padded, [first, second]);
            let right = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5";
            assert_eq!(*prk.bytes(), hex(right));
            let (a, b) = info.split_at(cut);
            let key = expand(&prk, [a, &[], b, &[]]);
            let right = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
            assert_eq!(*key.bytes(), hex(right));
        }
        let prk = extract(&[0; HASH], [&[], &ikm]);
        let right = "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04";
        assert_eq!(*prk.bytes(), hex(right));
        let key = expand(&prk, [&[]; 4]);
        let right = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(*key.bytes(), hex(right));
    }

    /// Another implementation makes the same of texts of each length, in two parts.
    #[test]
    fn macs_are_those_of_rfc_2104() {
        let text: [u8; 300] = core::array::from_fn(|at| at as u8);
        for length in 0..=text.len() {
            let (text, key) = (&text[..length], [length as u8; HASH]);
            let (first, second) = text.split_at(length / 3);
            let right = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
            let right = aws_lc_rs::hmac::sign(&right, text);
            assert_eq!(hmac(&key, &[first, second]).bytes(), right.as_ref(), "{length} bytes");
        }
    }

    #[test]
    fn a_key_is_not_in_its_debug_text() {
        assert_eq!(std::format!("{:?}", Key::new([7; 32])), "Key(..)");
    }
}
