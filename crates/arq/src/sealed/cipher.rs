//! What encrypts packets.

use core::hint::black_box;

use chacha20::cipher::{KeyIvInit, StreamCipherCore};
use chacha20::{ChaChaCore, R20, variants::Ietf};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};

use super::secret::Key;

/// How long a tag is, in bytes.
pub(super) const TAG: usize = 16;

/// Authenticated encryption in place, with a key of 32 bytes, a nonce of 12 and a tag of 16. A chip
/// that has it in hardware plugs it in here; both ends need the same.
///
/// No key is used with the same nonce twice.
pub trait Aead {
    /// Its number in HELLO: 1 is ChaCha20-Poly1305, 2 AES-256-GCM, 3 AES-256-CCM; 4 and 5 are these with
    /// AES-128 and the first 16 bytes of the key. Others are free from 128 on.
    const SUITE: u8;

    /// Encrypts, and returns the tag.
    fn seal(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8]) -> [u8; 16];

    /// Decrypts if the tag is right. False if it is not; nothing of `text` is used then.
    fn open(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8], tag: &[u8; 16]) -> bool;
}

/// ChaCha20-Poly1305 of RFC 8439, computed by the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChaCha20Poly1305;

impl Aead for ChaCha20Poly1305 {
    const SUITE: u8 = 1;

    fn seal(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8]) -> [u8; 16] {
        let mut tag = [0; TAG];
        run(key, nonce, text, &mut tag, false);
        tag
    }

    fn open(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8], tag: &[u8; 16]) -> bool {
        run(key, nonce, text, &mut { *tag }, true)
    }
}

// Both ciphers put together here as RFC 8439, 2.8 has it, without additional data: crate
// chacha20poly1305 is larger by a KiB on devices, as it also does what packets do not need.

type Stream = ChaChaCore<R20, Ietf>;

/// Encrypts and makes the tag; or checks it, and decrypts if it is right.
#[inline(never)]
fn run(
    key: &[u8; 32],
    nonce: &[u8; 12],
    text: &mut [u8],
    tag: &mut [u8; TAG],
    opens: bool,
) -> bool {
    let mut stream = Stream::new(key.into(), nonce.into());
    // The key of the MAC is the first block's beginning.
    let mut block = chacha20::cipher::Block::<Stream>::from([0; 64]);
    stream.write_keystream_block(&mut block);
    let mac_key = block.first_chunk().copied().unwrap_or([0; 32]);
    let mut mac = Poly1305::new(&mac_key.into());
    if !opens {
        apply(&mut stream, text);
    }
    for piece in text.chunks(TAG) {
        let mut block = [0; TAG];
        for (to, from) in block.iter_mut().zip(piece) {
            *to = *from;
        }
        mac.update(&[block.into()]);
    }
    // None of additional data.
    mac.update(&[(u128::from(text.len() as u32) << 64).to_le_bytes().into()]);
    let sum = mac.finalize().into();
    if !opens {
        *tag = sum;
    } else if is_same(&sum, tag) {
        apply(&mut stream, text);
    } else {
        return false;
    }
    true
}

#[inline(never)]
fn apply(stream: &mut Stream, text: &mut [u8]) {
    for piece in text.chunks_mut(64) {
        let mut block = chacha20::cipher::Block::<Stream>::from([0; 64]);
        stream.write_keystream_block(&mut block);
        for (byte, with) in piece.iter_mut().zip(&block) {
            *byte ^= with;
        }
    }
}

/// Compares what nobody is to learn byte by byte: how long it takes does not depend on where they differ.
#[inline(never)]
pub(super) fn is_same(one: &[u8; TAG], other: &[u8; TAG]) -> bool {
    let mut differ = 0;
    for (one, other) in one.iter().zip(other) {
        // The compiler is not to know what it is so far.
        differ = black_box(differ | one ^ other);
    }
    differ == 0
}

/// The nonce of a packet: its whole counter.
pub(super) fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(to) = nonce.last_chunk_mut() {
        *to = counter.to_be_bytes();
    }
    nonce
}

/// The key behind this one. Who learns that does not learn this.
pub(super) fn next_key(key: &Key) -> Key {
    super::secret::expand(key, [super::LABEL, b"next", &[], &[]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8; 114] =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
tip for the future, sunscreen would be it.";

    /// RFC 8439, 2.8.2: its key, nonce, text and what that is encrypted. Its tag is over additional data
    /// too, of which there is none here; `tests/it` compares tags with another library's.
    #[test]
    fn packets_are_encrypted_as_rfc_8439_has_it() {
        let key = core::array::from_fn(|at| 0x80 + at as u8);
        let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
        let mut text = *TEXT;
        let tag = ChaCha20Poly1305.seal(&key, &nonce, &mut text);
        let right = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58\
fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116";
        let hex: std::string::String = text.iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert_eq!(hex, right);
        assert!(ChaCha20Poly1305.open(&key, &nonce, &mut text, &tag));
        assert_eq!(text, *TEXT);
    }

    #[test]
    fn a_nonce_is_the_whole_counter() {
        assert_eq!(nonce(0x0102_0304_0506_0708), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
