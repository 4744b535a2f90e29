//! Bytes that wait, because the peer may have restarted in the middle of a frame.
//!
//! A peer that is killed leaves its last frame without an end, and the one that is started in its
//! place sends RESET_TRANSPORT and PING at once. By the length in the frame's head they are the
//! channel's bytes. The silence behind them tells the difference: a peer that sends a frame goes on,
//! a peer that restarted waits for an answer. So bytes that look like a restart, within a frame and
//! at the end of all that came, wait for what comes next. Nothing is late because of that, since the
//! frame has not ended.

use std::mem::take;

use sspc_mux::Instant;

/// RESET_TRANSPORT, and a PING whose time is below 2^56 µs.
const RESTART: [u8; 3] = [0xf9, 0xf6, 0];
/// The same to the end of the PING.
const RESTART_LENGTH: usize = 10;
/// A peer that is not answered sends them again.
const RESTARTS_MAX: usize = 4;

/// The bytes that wait, if any do.
#[derive(Debug, Default)]
pub(crate) struct RestartGuard {
    bytes: Vec<u8>,
    since: Instant,
}

impl RestartGuard {
    /// Where the end of the input begins that may be a restart, or several, the last of which may be
    /// cut; the input's length if there is none.
    pub(crate) fn start(input: &[u8]) -> usize {
        let earliest = input.len().saturating_sub(RESTARTS_MAX * RESTART_LENGTH);
        let looks = |tail: &[u8]| {
            let is_right = |(at, byte): (usize, &u8)| {
                RESTART.get(at % RESTART_LENGTH).is_none_or(|expected| expected == byte)
            };
            tail.iter().enumerate().all(is_right)
        };
        (earliest..input.len())
            .find(|at| input.get(*at..).is_some_and(looks))
            .unwrap_or(input.len())
    }

    /// Lets these bytes wait from now on.
    pub(crate) fn hold(&mut self, now: Instant, bytes: &[u8]) {
        *self = Self { bytes: bytes.to_vec(), since: now };
    }

    /// The bytes that wait, which do so no longer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        take(&mut self.bytes)
    }

    /// Until when they wait for more to come; `None` if there are none.
    pub(crate) fn until(&self, stall_ms: u32) -> Option<Instant> {
        if self.bytes.is_empty() { None } else { Some(self.since.plus_millis(stall_ms)) }
    }

    /// The bytes, if they have waited long enough, and when they are to be taken as received: a whole
    /// restart now, behind the silence by which the mux knows it; all else as if it had not waited.
    pub(crate) fn release(&mut self, now: Instant, stall_ms: u32) -> Option<(Instant, Vec<u8>)> {
        if self.until(stall_ms)? > now {
            return None;
        }
        let bytes = self.take();
        let is_whole = bytes.len().is_multiple_of(RESTART_LENGTH);
        Some((if is_whole { now } else { self.since }, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_found_at_the_end_alone() {
        let restart = [0xf9, 0xf6, 0, 0x80, 1, 2, 3, 4, 5, 6];
        assert_eq!(RestartGuard::start(&[]), 0);
        assert_eq!(RestartGuard::start(b"hello"), 5);
        for end in 1..=restart.len() {
            assert_eq!(RestartGuard::start(&[b"hello", &restart[..end]].concat()), 5);
            assert_eq!(RestartGuard::start(&[b"hello", &restart[..], &restart[..end]].concat()), 5);
        }
        assert_eq!(RestartGuard::start(&[&restart[..], b"hello"].concat()), 15);
        // The time may have the bytes of another one.
        assert_eq!(RestartGuard::start(&[0xf9, 0xf6, 0, 0xf9, 0xf6, 0]), 0);
        assert_eq!(RestartGuard::start(&restart.repeat(5)), 10);
    }
}
