//! What must come, byte for byte.

use sspc::Flags;

use super::origin::price;
use super::pattern::{self, Hash};

/// Checks payload as it comes.
pub(super) enum Expect {
    /// Exactly these bytes, as one message.
    Bytes { expected: Vec<u8>, at: usize },
    /// This many bytes of the pattern, and their hash.
    Pattern { len: u64, hash: Hash, expected: String, block: Vec<u8> },
    /// Prices of the ticker, in order, without end.
    Prices { seen: u64, message: Vec<u8> },
}

/// What the payload was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// Bytes of a body, right.
    Bytes,
    /// Part of a short message.
    Part,
    /// The end of a short message, right; its text.
    Message(String),
}

impl Expect {
    pub(super) fn bytes(expected: impl Into<Vec<u8>>) -> Self {
        Self::Bytes { expected: expected.into(), at: 0 }
    }

    pub(super) fn pattern(len: u64) -> Self {
        let expected = pattern::hash_of(len);
        Self::Pattern { len, hash: Hash::new(), expected, block: Vec::new() }
    }

    pub(super) fn prices() -> Self {
        Self::Prices { seen: 0, message: Vec::new() }
    }

    /// All comes again from the beginning.
    pub(super) fn restart(&mut self) {
        match self {
            Self::Bytes { at, .. } => *at = 0,
            Self::Pattern { hash, .. } => *hash = Hash::new(),
            Self::Prices { seen, message } => {
                *seen = 0;
                message.clear();
            }
        }
    }

    /// Takes the next payload; the error says what differs.
    pub(super) fn feed(&mut self, data: &[u8], flags: Flags) -> Result<Checked, String> {
        match self {
            Self::Bytes { expected, at } => {
                let end = *at + data.len();
                if expected.get(*at..end) != Some(data) {
                    return Err(format!("payload differs within bytes {} to {end}", *at));
                }
                *at = end;
                Ok(Checked::Bytes)
            }
            Self::Pattern { len, hash, block, .. } => {
                // The pattern is made in words: begin at the word that the data begins in.
                let start = hash.len() - hash.len() % 8;
                let skip = (hash.len() - start) as usize;
                block.resize(skip + data.len(), 0);
                pattern::fill(start, block);
                if hash.len() + data.len() as u64 > *len {
                    return Err(format!("more than the {len} bytes that were expected"));
                }
                if block.get(skip..) != Some(data) {
                    return Err(format!("payload differs after byte {}", hash.len()));
                }
                hash.update(data);
                Ok(Checked::Bytes)
            }
            Self::Prices { seen, message } => {
                message.extend_from_slice(data);
                if !flags.contains(Flags::EOM) {
                    return Ok(Checked::Part);
                }
                let expected = price(*seen);
                if *message != expected.as_bytes() {
                    let came = message.escape_ascii();
                    return Err(format!("message {seen} is {came}, and not {expected}"));
                }
                message.clear();
                *seen += 1;
                Ok(Checked::Message(expected))
            }
        }
    }

    /// Whether everything came; gives the hash of a pattern.
    pub(super) fn complete(self) -> Result<Option<String>, String> {
        match self {
            Self::Bytes { expected, at } if at == expected.len() => Ok(None),
            Self::Bytes { expected, at } => Err(format!("{at} of {} bytes came", expected.len())),
            Self::Pattern { len, hash, expected, .. } => {
                let came = hash.len();
                let hash = hash.finish();
                if came != len {
                    Err(format!("{came} of {len} bytes came"))
                } else if hash != expected {
                    Err(format!("the SHA-256 is {hash}, and not {expected}"))
                } else {
                    Ok(Some(hash))
                }
            }
            Self::Prices { .. } => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_bytes_in_any_cut_are_right_and_others_are_not() {
        let mut expect = Expect::bytes(*b"hello");
        assert_eq!(expect.feed(b"he", Flags::SOM), Ok(Checked::Bytes));
        expect.restart();
        assert_eq!(expect.feed(b"hel", Flags::SOM), Ok(Checked::Bytes));
        assert_eq!(expect.feed(b"lo", Flags::EOM), Ok(Checked::Bytes));
        assert_eq!(expect.complete(), Ok(None));

        let mut wrong = Expect::bytes(*b"hello");
        assert!(wrong.feed(b"hallo", Flags::WHOLE).is_err());
        let mut long = Expect::bytes(*b"hello");
        assert!(long.feed(b"hello!", Flags::WHOLE).is_err());
        let mut short = Expect::bytes(*b"hello");
        assert_eq!(short.feed(b"hell", Flags::WHOLE), Ok(Checked::Bytes));
        assert!(short.complete().is_err());
    }

    #[test]
    fn one_wrong_byte_in_the_pattern_is_noticed_wherever_it_is_cut() {
        let mut data = vec![0; 1_000];
        pattern::fill(0, &mut data);
        for cut in [1, 7, 8, 500, 999] {
            let mut expect = Expect::pattern(1_000);
            for part in data.chunks(cut) {
                expect.feed(part, Flags::NONE).unwrap();
            }
            assert!(expect.complete().unwrap().is_some());
        }
        data[777] ^= 1;
        let mut expect = Expect::pattern(1_000);
        assert!(data.chunks(10).any(|part| expect.feed(part, Flags::NONE).is_err()));
    }

    #[test]
    fn prices_must_come_whole_and_in_order() {
        let mut expect = Expect::prices();
        let (first, second) = (price(0), price(1));
        let (head, tail) = first.as_bytes().split_at(5);
        assert_eq!(expect.feed(head, Flags::SOM), Ok(Checked::Part));
        assert_eq!(expect.feed(tail, Flags::EOM), Ok(Checked::Message(first.clone())));
        assert_eq!(
            expect.feed(second.as_bytes(), Flags::WHOLE),
            Ok(Checked::Message(second.clone()))
        );
        expect.restart();
        assert_eq!(expect.feed(first.as_bytes(), Flags::WHOLE), Ok(Checked::Message(first)));
        let mut wrong = Expect::prices();
        assert!(wrong.feed(second.as_bytes(), Flags::WHOLE).is_err());
    }
}
