//! What is derived from what: HMAC and HKDF with SHA-256.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

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
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Without the bytes.
impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// HMAC-SHA256 over the parts, to be finished or compared.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // No length of a key is refused.
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => Hmac::<Sha256>::new(&Default::default()),
    };
    for part in parts {
        mac.update(part);
    }
    mac
}

/// HMAC-SHA256 over the parts.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; HASH]> {
    Zeroizing::new(mac(key, parts).finalize().into_bytes().into())
}

/// HKDF-Extract of RFC 5869, with a salt of two parts and together up to 32 bytes.
pub(super) fn extract([first, second]: [&[u8]; 2], secret: &[u8]) -> Zeroizing<[u8; HASH]> {
    let mut salt = [0; HASH];
    for (to, from) in salt.iter_mut().zip(first.iter().chain(second)) {
        *to = *from;
    }
    // HMAC takes what a short key lacks for zeros.
    hmac(&salt, &[secret])
}

/// The same from a secret of two parts.
#[cfg(feature = "x25519")]
pub(super) fn extract_both(salt: [&[u8]; 2], parts: [&[u8]; 2]) -> Zeroizing<[u8; HASH]> {
    let mut whole = [0; HASH];
    for (to, from) in whole.iter_mut().zip(salt.into_iter().flatten()) {
        *to = *from;
    }
    hmac(&whole, &parts)
}

/// HKDF-Expand of RFC 5869, to the length of one hash.
pub(super) fn expand(prk: &[u8; HASH], [a, b, c, d]: [&[u8]; 4]) -> Key {
    Key(*hmac(prk, &[a, b, c, d, &[1]]))
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
        for cut in 0..salt.len() {
            let (first, second) = salt.split_at(cut);
            let prk = extract([first, second], &ikm);
            let right = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5";
            assert_eq!(*prk, hex(right));
            let (a, b) = info.split_at(cut % info.len());
            let key = expand(&prk, [a, &[], b, &[]]);
            let right = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
            assert_eq!(*key.bytes(), hex(right));
        }
        let prk = extract([&[], &[]], &ikm);
        let right = "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04";
        assert_eq!(*prk, hex(right));
        let key = expand(&prk, [&[]; 4]);
        let right = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(*key.bytes(), hex(right));
    }

    #[test]
    fn a_key_is_not_in_its_debug_text() {
        assert_eq!(std::format!("{:?}", Key::new([7; 32])), "Key(..)");
    }
}
