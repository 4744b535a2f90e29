//! What is written to a port, and when: soon enough that the wire is never idle, and no sooner.

use std::time::Duration;

use sspc_mux::Instant;
use sspc_wire::mux_type::PING;

use crate::config::LineConfig;
use crate::pacer::{Pacer, Probe};
use crate::state::LineState;

/// How far a port is given what to send ahead of what it has sent: so long this end may take to wake up
/// before the wire is idle, and so long the next frame waits. What the system keeps beyond that, on a
/// pseudo-terminal 12 KiB, would be in the way of what is urgent.
const AHEAD: Duration = Duration::from_millis(10);
/// The same where the next frame may be another channel's than the last.
const AHEAD_OF_OTHERS: Duration = Duration::from_millis(3);
/// Bytes of a PING.
const PING_LENGTH: usize = 9;

/// The bytes to be written next, and the pace at which they are.
#[derive(Debug)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// What of them is still to be written.
    at: usize,
    end: usize,
    /// What it is written to does not say by itself when it has enough.
    is_paced: bool,
    pacer: Pacer,
    /// The longest frame, and the longest packet.
    frame_max: u16,
    packet_max: u16,
    /// How far ahead the port is given what to send.
    ahead: Duration,
    /// By how much more this end was late.
    slack: Duration,
}

impl Output {
    /// For a port of this rate, or a socket, which takes no more than it can send soon.
    pub(crate) fn new(baud: Option<u32>, config: &LineConfig) -> Self {
        let bytes = vec![0; config.output_size()];
        let pacer = Pacer::new(baud.unwrap_or(1), config.mux.frame_max);
        let (frame_max, packet_max) = (config.mux.frame_max, config.packets.packet_max);
        Self {
            bytes,
            at: 0,
            end: 0,
            is_paced: baud.is_some(),
            pacer,
            frame_max,
            packet_max,
            ahead: AHEAD,
            slack: Duration::ZERO,
        }
    }

    /// The bytes to be written now.
    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    /// All is written, and the port is about to need more.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.at == self.end && !(self.is_paced && self.pacer.ahead(now) > self.ahead)
    }

    /// Takes frames from the line if it is due.
    pub(crate) fn fill(&mut self, now: Instant, line: &mut LineState) {
        if !self.is_due(now) {
            return;
        }
        if !self.is_paced {
            (self.at, self.end) = (0, line.transmit(now, &mut self.bytes));
            return;
        }
        let shared_max = line.shared_packet_max().unwrap_or(self.packet_max);
        let packet_max = self.packet_max.min(shared_max);
        self.pacer.set_frame_max(if line.in_packets() { packet_max } else { self.frame_max });
        if self.pacer.wants_ping() {
            line.measure(now);
        }
        let had_more = self.end > 0;
        (self.at, self.end) = (0, line.transmit(now, &mut self.bytes));
        self.choose_ahead(now, had_more && self.end > 0, line.is_shared());
        // While the link is up it comes first; else it is behind RESET_TRANSPORT. In a packet it is
        // anywhere.
        let ping_ends_at = match line.take_packed_ping() {
            true => Some(self.end),
            false => (self.pending().first() == Some(&PING)).then_some(PING_LENGTH),
        };
        if let Some(length) = ping_ends_at {
            self.pacer.pinging(now, length);
            line.pinging();
        }
    }

    /// Chooses how far ahead the port is given what to send from now on: for a while a little more, if
    /// the wire was idle although there was something to send.
    fn choose_ahead(&mut self, now: Instant, is_flowing: bool, is_shared: bool) {
        let late = if is_flowing { self.pacer.idle(now) } else { Duration::ZERO };
        self.slack = (self.slack - self.slack / 256 + late).min(AHEAD - AHEAD_OF_OTHERS);
        self.ahead = if is_shared { AHEAD_OF_OTHERS + self.slack } else { AHEAD };
    }

    /// So many bytes were given to the port.
    pub(crate) fn wrote(&mut self, now: Instant, length: usize) {
        self.at += length;
        if self.is_paced {
            self.pacer.wrote(now, length);
        }
    }

    /// Takes what the line heard about the wire.
    pub(crate) fn learn(&mut self, line: &mut LineState) {
        match line.take_probe().filter(|_| self.is_paced) {
            Some(Probe::Answered(answer)) => self.pacer.answered(answer),
            Some(Probe::Repaired) => self.pacer.repaired(),
            Some(Probe::Lost) => self.pacer.restart(),
            None => {}
        }
    }

    /// In what time to fill it again, if there may be more to send; `None` while some is to be written.
    pub(crate) fn refill_in(&self, now: Instant) -> Option<Duration> {
        let is_written = self.at == self.end;
        let too_early = self.pacer.ahead(now).saturating_sub(self.ahead);
        let may_have_more = self.end > 0 || !too_early.is_zero();
        (may_have_more && is_written).then_some(too_early)
    }

    /// The port is gone, and what was to be written to it.
    pub(crate) fn clear(&mut self) {
        (self.at, self.end) = (0, 0);
        self.pacer.restart();
    }
}

#[cfg(test)]
mod tests;
