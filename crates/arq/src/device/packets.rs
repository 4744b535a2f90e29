//! The packets of a line.

use sspc_mux::TRANSMIT_MIN;
use sspc_wire::FieldWriter;

use super::{ASKED, DeviceFraming, NOTHING, RECORD, Taken};
use crate::arq::handshake::NO_SESSION;
use crate::cobs;
use crate::config::Config;
use crate::packet::{HEAD, Hello, Kind, SEQS, WINDOW_MAX};
use crate::protection::Protection;
use crate::timer::Timer;

/// How long an acknowledgement may wait for data to ride on, in µs.
const ACK_DELAY_US: u32 = Config::DEFAULT.ack_delay_us;

/// How much longer than twice a round trip an answer may take, in µs.
const PATIENCE_US: u32 = 8000;

/// The longest round trip that is measured, in µs.
const RTT_MAX_US: u32 = 1 << 24;

/// Of [`Line::damaged`](super::Line::damaged): the peer is to be asked twice.
const ASK: u8 = ASKED + 2;

impl<P, R, T> DeviceFraming<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// What came between two delimiters, which may be no packet.
    #[inline(never)]
    pub(super) fn take_packet(&mut self, now_us: u32, length: usize) -> Taken {
        let is_open = self.is_open();
        let around = self.around();
        let packet = self.storage.as_mut().get_mut(..length).unwrap_or_default();
        // HELLO first, because what was tried to be opened may be spoilt.
        if let Some((packet, sum)) = packet.split_last_chunk::<4>() {
            const IS_HELLO: u8 = Kind::Hello as u8;
            if let [IS_HELLO, 0, said @ ..] = packet {
                if self.protection.crc32(NO_SESSION, packet).to_le_bytes() == *sum {
                    if let Some(hello) = Hello::parse(said) {
                        return self.take_hello(now_us, hello, length - HEAD - 4);
                    }
                }
            }
        }
        if is_open && length >= around && self.protection.open_next(packet) {
            return self.take_sealed(now_us, length - around);
        }
        if is_open {
            self.miss(now_us);
        }
        NOTHING
    }

    /// A packet is missing, or came to harm.
    fn miss(&mut self, now_us: u32) {
        let line = &mut self.line;
        if line.damaged == 0 {
            line.damaged = ASK;
            line.ack_at = Timer::at(now_us, 0);
        }
    }

    /// A packet of this line.
    #[inline(never)]
    fn take_sealed(&mut self, now_us: u32, length: usize) -> Taken {
        let head = self
            .storage
            .as_ref()
            .get(self.protection.before()..)
            .and_then(|bytes| bytes.first_chunk());
        let Some(&[first, second]) = head else { return NOTHING };
        self.line.ping = 0;
        self.line.silences = 0;
        if self.line.damaged == ASKED {
            self.line.damaged = 0;
        }
        let kind = first & 3;
        // What an ACK says of packets that are kept says that the one before them is missing.
        let is_missing = second & 2 != 0 || kind == Kind::Ack as u8 && length > 0;
        self.acknowledge(now_us, second >> 2, is_missing);
        let mut taken = NOTHING;
        let mut wait_us = 0;
        if kind == Kind::Data as u8 {
            let ahead = (first >> 2).wrapping_sub(self.line.expected) % SEQS;
            if ahead == 0 {
                self.line.expected = self.line.expected.wrapping_add(1);
                self.line.damaged = 0;
                taken = length;
                // The second one is acknowledged at once.
                if self.line.ack_at == Timer::NEVER && second & 1 == 0 {
                    wait_us = ACK_DELAY_US;
                }
            } else if ahead < WINDOW_MAX {
                self.miss(now_us);
            }
        } else if second & 1 == 0 {
            return NOTHING;
        }
        self.line.ack_at = Timer::at(now_us, wait_us);
        taken
    }

    /// The peer has all packets before `ack`, and maybe asks for that one.
    fn acknowledge(&mut self, now_us: u32, ack: u8, is_missing: bool) {
        let line = &mut self.line;
        let replay = self.replay.as_mut();
        let count = ack.wrapping_sub(line.base) % SEQS;
        if count > line.in_flight {
            // Late, and overtaken by what was heard already.
            return;
        }
        let passed_us = now_us.wrapping_sub(line.timed_us);
        if count > 0 {
            if line.timed > 0 && line.timed <= count {
                // Of round trips that vary the long ones count.
                let rtt_us = line.rtt_us;
                line.rtt_us = (rtt_us - rtt_us / 8).max(passed_us.min(RTT_MAX_US) | 1);
            }
            line.timed = line.timed.saturating_sub(count);
            // Some may have been to be sent again.
            line.cursor = line.cursor.saturating_sub(count);
            line.base = line.base.wrapping_add(count);
            line.in_flight -= count;
            let mut at = 0;
            for _ in 0..count {
                at += RECORD + record(replay, at);
            }
            line.tail = line.tail.saturating_sub(at as u16);
            line.cursor_at = line.cursor_at.saturating_sub(at as u16);
            // By hand: `copy_within` brings a panic along.
            for to in 0..line.tail.into() {
                let byte = replay.get(to + at).copied().unwrap_or_default();
                if let Some(to) = replay.get_mut(to) {
                    *to = byte;
                }
            }
            line.resend_at = Timer::NEVER;
        }
        // Once a round trip.
        let is_calm = line.timed == 0 && passed_us < line.rtt_us;
        if is_missing && line.cursor == line.in_flight && !is_calm {
            self.go_back(now_us);
        }
        self.wait(now_us);
    }

    /// Sends again all that is not acknowledged.
    #[inline(never)]
    pub(super) fn go_back(&mut self, now_us: u32) {
        let line = &mut self.line;
        (line.cursor, line.cursor_at) = (0, 0);
        (line.timed, line.timed_us) = (0, now_us);
    }

    /// Sets when all is sent again, unless it is set or there is nothing.
    fn wait(&mut self, now_us: u32) {
        if self.line.resend_at == Timer::NEVER && self.line.in_flight > 0 {
            self.line.resend_at = Timer::at(now_us, self.wait_us());
        }
    }

    /// How long to wait for an answer.
    pub(super) fn wait_us(&self) -> u32 {
        let rtt_us = self.line.rtt_us;
        let us = if rtt_us == 0 { self.first_wait_us() } else { 2 * rtt_us + PATIENCE_US };
        self.backed_off_us(us, self.line.silences)
    }

    /// Writes the next packet: one that was lost, a new one, or an acknowledgement.
    pub(super) fn write_next(
        &mut self,
        now_us: u32,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let is_again = self.line.cursor != self.line.in_flight;
        let mut first = Kind::Ack as u8;
        let (mut at, mut length) = (0, 0);
        let mut second = self.line.expected << 2;
        if is_again || self.append(now_us, out.len(), source) {
            at = usize::from(self.line.cursor_at);
            length = record(self.replay.as_ref(), at);
            at += RECORD;
            self.line.cursor_at = (at + length) as u16;
            first = self.line.base.wrapping_add(self.line.cursor) << 2 | Kind::Data as u8;
            self.line.cursor += 1;
            self.wait(now_us);
            // Without more room nothing more goes before an answer.
            if self.line.cursor == self.line.in_flight && (is_again || self.room() < TRANSMIT_MIN) {
                second |= 1;
            }
        } else if !self.line.ack_at.is_due(now_us) {
            return 0;
        }
        self.line.ack_at = Timer::NEVER;
        if self.line.damaged > ASKED {
            second |= 2;
            self.line.damaged -= 1;
            if self.line.damaged > ASKED {
                self.line.ack_at = Timer::at(now_us, self.wait_us());
            }
        }
        let Some(stuffed) = out.get_mut(..self.around() + length + 2) else { return 0 };
        let [_, packet @ .., _] = stuffed else { return 0 };
        let mut to = FieldWriter::new(packet);
        to.skip(self.protection.before());
        to.u8(first);
        to.u8(second);
        to.bytes(self.replay.as_ref().get(at..at + length).unwrap_or_default());
        self.protection.seal(packet);
        cobs::stuff_short(stuffed)
    }

    /// How much payload the replay buffer has room for.
    fn room(&self) -> usize {
        self.replay.as_ref().len().saturating_sub(usize::from(self.line.tail) + RECORD)
    }

    /// Puts what the source has to send behind what is in the replay buffer, as a packet of its own.
    fn append(
        &mut self,
        now_us: u32,
        out: usize,
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> bool {
        let fits = out.min(cobs::SHORT_MAX + 2).saturating_sub(self.around() + 2);
        let room = self.room().min(fits).min(self.line.mru.into());
        let line = &mut self.line;
        if line.in_flight >= line.window {
            return false;
        }
        let free = self.replay.as_mut().get_mut(line.tail.into()..).unwrap_or_default();
        let Some((record, free)) = free.split_first_mut() else { return false };
        let mut length = 0;
        while let Some(body) = free.get_mut(length..room) {
            if body.len() < TRANSMIT_MIN {
                break;
            }
            let written = source(body);
            if written == 0 {
                break;
            }
            length += written;
        }
        if length == 0 {
            return false;
        }
        *record = length as u8;
        line.tail += (RECORD + length) as u16;
        line.in_flight += 1;
        if line.timed == 0 {
            (line.timed, line.timed_us) = (line.in_flight, now_us);
        }
        true
    }
}

/// The length of the packet whose record is here.
fn record(replay: &[u8], at: usize) -> usize {
    replay.get(at).map_or(0, |length| usize::from(*length))
}
