//! What of a server's bytes reaches the h3 crate: nothing that makes it take memory without a bound,
//! end a body early or panic.
//!
//! The crate gathers every frame but DATA until it is whole, however long the server says it will be;
//! takes an empty DATA frame, and the end of the stream inside of one, for the end of the body. So the
//! heads of frames (RFC 9114 §7.1) are looked at here.

use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use thiserror::Error;

use crate::onward::http::head;

/// Most bytes of a response's headers, as they are encoded and when they are decoded.
pub(super) const HEADERS_MAX: u64 = head::RESPONSE_MAX as u64;
/// Longer than any other frame that a request's stream may carry.
const OTHER_MAX: u64 = 1024;
/// A frame's type and its length, two variable-length integers (RFC 9000 §16).
const HEAD_MAX: usize = 16;

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;

/// Types that mean something, if only that the server is wrong (RFC 9114 §7.2).
const KNOWN: [u64; 8] = [0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09];
const MAX_PUSH_ID: u64 = 0x0d;

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum FrameFault {
    #[error("response headers of {0} bytes, which is more than {HEADERS_MAX}")]
    Headers(u64),
    #[error("a frame of type {kind:#x} with {length} bytes")]
    Other { kind: u64, length: u64 },
    #[error("the stream ended inside of a frame")]
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    /// So many bytes of a frame that is passed on,
    Pass(u64),
    /// or that nobody needs.
    Skip(u64),
}

/// The frames of one stream.
#[derive(Debug)]
pub(super) struct Frames {
    at: At,
    head: [u8; HEAD_MAX],
    head_len: usize,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self { at: At::Head, head: [0; HEAD_MAX], head_len: 0 }
    }

    /// Takes the next bytes, and appends to `out` what is passed on of them.
    pub(super) fn push(
        &mut self,
        mut bytes: Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), FrameFault> {
        while !bytes.is_empty() {
            match self.at {
                At::Head => {
                    self.head[self.head_len] = bytes.get_u8();
                    self.head_len += 1;
                    if let Some((kind, length)) = self.parsed() {
                        self.begin(kind, length, out)?;
                    }
                }
                At::Pass(left) => {
                    let part = bytes.split_to(within(left, bytes.len()));
                    self.at = next(left, part.len(), At::Pass);
                    out.push_back(part);
                }
                At::Skip(left) => {
                    let length = within(left, bytes.len());
                    bytes.advance(length);
                    self.at = next(left, length, At::Skip);
                }
            }
        }
        Ok(())
    }

    /// Whether the stream may end here.
    pub(super) fn end(&self) -> Result<(), FrameFault> {
        match self.at {
            At::Head if self.head_len == 0 => Ok(()),
            _ => Err(FrameFault::Cut),
        }
    }

    /// Type and length, once both are here.
    fn parsed(&self) -> Option<(u64, u64)> {
        let mut head = &self.head[..self.head_len];
        Some((integer(&mut head)?, integer(&mut head)?))
    }

    fn begin(
        &mut self,
        kind: u64,
        length: u64,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), FrameFault> {
        let head = Bytes::copy_from_slice(&self.head[..self.head_len]);
        self.head_len = 0;
        let passes = match kind {
            DATA => length > 0,
            HEADERS if length > HEADERS_MAX => return Err(FrameFault::Headers(length)),
            HEADERS => true,
            _ if !KNOWN.contains(&kind) && kind != MAX_PUSH_ID => false,
            _ if length > OTHER_MAX => return Err(FrameFault::Other { kind, length }),
            _ => true,
        };
        if passes {
            out.push_back(head);
        }
        self.at = next(length, 0, if passes { At::Pass } else { At::Skip });
        Ok(())
    }
}

/// Where the stream is when `taken` of `left` bytes are gone.
fn next(left: u64, taken: usize, at: impl FnOnce(u64) -> At) -> At {
    match left.saturating_sub(taken as u64) {
        0 => At::Head,
        left => at(left),
    }
}

fn within(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

/// A variable-length integer at the front (RFC 9000 §16).
fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let more = (1_usize << (first >> 6)) - 1;
    let (tail, rest) = rest.split_at_checked(more)?;
    *bytes = rest;
    Some(tail.iter().fold(u64::from(first & 0x3f), |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(pieces: &[&[u8]]) -> Result<Vec<u8>, FrameFault> {
        let (mut frames, mut out) = (Frames::new(), VecDeque::new());
        for piece in pieces {
            frames.push(Bytes::copy_from_slice(piece), &mut out)?;
        }
        frames.end()?;
        Ok(out.iter().flatten().copied().collect())
    }

    #[test]
    fn headers_and_data_pass_and_what_means_nothing_does_not() {
        let headers = [1, 2, 0xaa, 0xbb];
        let data = [0, 0x40, 3, 7, 8, 9];
        // A type that is reserved for this (RFC 9114 §7.2.8), empty data, and one of WebTransport.
        let (grease, empty, transport) = ([0x21, 1, 0], [0, 0], [0x40, 0x41, 1, 5]);
        let stream = [&grease[..], &headers, &empty, &data, &transport, &empty, &data].concat();
        let expected = [&headers[..], &data, &data].concat();
        assert_eq!(passed(&[&stream]), Ok(expected.clone()));
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(passed(&single), Ok(expected));
    }

    #[test]
    fn what_would_be_gathered_without_a_bound_is_a_fault() {
        assert_eq!(passed(&[&[1, 0x80, 4, 0, 1]]), Err(FrameFault::Headers(HEADERS_MAX + 1)));
        let most = [0xff; 8];
        assert_eq!(passed(&[&[1], &most]), Err(FrameFault::Headers((1 << 62) - 1)));
        let settings = FrameFault::Other { kind: 4, length: 1025 };
        assert_eq!(passed(&[&[4, 0x44, 1]]), Err(settings));
    }

    #[test]
    fn an_end_inside_of_a_frame_is_a_fault() {
        for stream in [&[0, 3, 1][..], &[0], &[0, 3], &[0x21, 2, 0]] {
            assert_eq!(passed(&[stream]), Err(FrameFault::Cut), "{stream:?}");
        }
        assert_eq!(passed(&[]), Ok(Vec::new()));
    }

    proptest! {
        /// However the bytes are cut, the same passes.
        #[test]
        fn cuts_change_nothing(stream: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(stream.len() + 1);
            let whole = passed(&[&stream]);
            prop_assert_eq!(whole, passed(&[&stream[..at], &stream[at..]]));
        }
    }
}
