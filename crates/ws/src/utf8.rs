//! UTF-8 checked as it comes (RFC 6455 §8.1), in pieces that may cut a character.

use core::str;

/// Holds the bytes of a character that is not complete yet: at most three.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Utf8 {
    partial: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// Checks the next bytes; `false` as soon as no continuation could make them UTF-8.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return true };
            bytes = rest;
            self.partial[self.len] = byte;
            self.len += 1;
            match str::from_utf8(&self.partial[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                // Incomplete, so under four bytes: there is room for one more.
                Err(_) => {}
            }
        }
        match str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let tail = &bytes[error.valid_up_to()..];
                self.len = tail.len();
                self.partial[..tail.len()].copy_from_slice(tail);
                true
            }
        }
    }

    /// Whether the text may end here.
    pub(crate) fn is_complete(self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8;

    fn accepts(bytes: &[u8], chunk: usize) -> bool {
        let mut utf8 = Utf8::default();
        bytes.chunks(chunk).all(|chunk| utf8.push(chunk)) && utf8.is_complete()
    }

    #[test]
    fn agrees_with_the_standard_library_at_every_chunk_size() {
        let samples: &[&[u8]] = &[
            b"",
            b"plain",
            "κόσμε, 水, 🦀, \u{10ffff}".as_bytes(),
            b"\xce",                 // ends inside a character
            b"a\xe6\xb0",            // the same, three bytes long
            b"\xf0\x9f\xa6",         // the same, four bytes long
            b"\xc0\xaf",             // longer than needed
            b"\xe0\x80\xaf",         // longer than needed
            b"\xed\xa0\x80",         // a surrogate
            b"\xf4\x90\x80\x80",     // past the last code point
            b"\xf5\x80\x80\x80",     // never a first byte
            b"\x80",                 // continues nothing
            b"ok\xf0\x9f\xa6x",      // cut short by another character
            b"\xce\xbaok\xff\xceok", // good, then bad
        ];
        for sample in samples {
            for chunk in 1..=sample.len().max(1) {
                let expected = core::str::from_utf8(sample).is_ok();
                assert_eq!(accepts(sample, chunk), expected, "{sample:x?} by {chunk}");
            }
        }
    }

    /// A peer must be told as soon as its text cannot become valid, not at the message's end.
    #[test]
    fn refuses_at_the_first_byte_that_is_wrong() {
        let mut utf8 = Utf8::default();
        assert!(utf8.push(b"\xed"));
        assert!(!utf8.push(b"\xa0"));
    }
}
