//! Bytes that wait, because a peer may have begun anew in the middle of a frame.
//!
//! A peer that is killed leaves its last frame without an end, and the one that is started in its
//! place sends RESET_TRANSPORT and PING at once. By the length in the frame's head they are the
//! channel's bytes. What tells them apart is the silence behind them: whoever sends a frame goes
//! on, whoever began anew waits for an answer. So bytes that look like that, within a frame and at
//! the end of all that came, wait for what comes next. Nothing is later for it, as the frame has
//! not ended.

use sspc_mux::Instant;

/// RESET_TRANSPORT, and a PING whose time is below 2^56 µs.
const START: [u8; 3] = [0xf9, 0xf6, 0];
/// The same to the end of the PING.
const START_LENGTH: usize = 10;
/// A peer that is not answered sends them again.
const STARTS_MAX: usize = 4;

/// What waits, from when on.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) since: Instant,
}

/// True if the last start is whole.
pub(crate) fn is_start(held: &[u8]) -> bool {
    held.len().is_multiple_of(START_LENGTH)
}

/// Where at the end of the bytes a peer's start begins, or several, the last of which may not have
/// come to its end; their length if there is none.
pub(crate) fn start_at_end(bytes: &[u8]) -> usize {
    let earliest = bytes.len().saturating_sub(STARTS_MAX * START_LENGTH);
    let looks = |tail: &[u8]| {
        let is_right = |(at, byte): (usize, &u8)| {
            START.get(at % START_LENGTH).is_none_or(|expected| expected == byte)
        };
        tail.iter().enumerate().all(is_right)
    };
    (earliest..bytes.len()).find(|at| bytes.get(*at..).is_some_and(looks)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_found_at_the_end_alone() {
        let start = [0xf9, 0xf6, 0, 0x80, 1, 2, 3, 4, 5, 6];
        assert_eq!(start_at_end(&[]), 0);
        assert_eq!(start_at_end(b"hello"), 5);
        for end in 1..=start.len() {
            assert_eq!(start_at_end(&[b"hello", &start[..end]].concat()), 5);
            assert_eq!(start_at_end(&[b"hello", &start[..], &start[..end]].concat()), 5);
        }
        assert_eq!(start_at_end(&[&start[..], b"hello"].concat()), 15);
        // The time may have the bytes of another start.
        assert_eq!(start_at_end(&[0xf9, 0xf6, 0, 0xf9, 0xf6, 0]), 0);
        assert_eq!(start_at_end(&start.repeat(5)), 10);
    }
}
