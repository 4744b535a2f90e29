//! The packets of a session.

use sspc_mux::TRANSMIT_MIN;
use sspc_wire::FieldWriter;

use super::{DeviceFraming, RECORD, Taken, WAIT_MAX_US};
use crate::arq::NO_SESSION;
use crate::cobs;
use crate::config::Config;
use crate::packet::{HEAD, Head, Hello, Kind, Seq, WINDOW_MAX};
use crate::protection::Protection;
use crate::receive::{ASK, ASKED};
use crate::timer::Timer;

/// How long an acknowledgement may wait for data to ride on, in µs.
const ACK_DELAY_US: u32 = Config::DEFAULT.ack_delay_us;

/// How much longer than twice a round trip an answer may take, in µs.
const PATIENCE_US: u32 = 4000;

/// The longest round trip that is measured, in µs.
const RTT_MAX_US: u32 = 1 << 24;

/// A wait grows no further than by a factor of 2^5.
const DOUBLED_MAX: u8 = 5;

impl<P, R, T> DeviceFraming<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// What came between two delimiters, which may be no packet.
    pub(super) fn take_packet(&mut self, now_us: u32, length: usize) -> Taken {
        let is_open = self.is_open();
        let packet = self.storage.as_mut().get_mut(..length).unwrap_or_default();
        if is_open && packet.len() >= Self::OVERHEAD && self.protection.open(packet) {
            return self.take_sealed(now_us, length - Self::OVERHEAD);
        }
        if let Some((packet, sum)) = packet.split_last_chunk::<4>() {
            if self.protection.crc32(NO_SESSION, packet).to_le_bytes() == *sum {
                if let Some(hello) = packet.get(HEAD..).and_then(Hello::parse) {
                    if packet.first() == Some(&(Kind::Hello as u8)) {
                        return self.take_hello(now_us, hello, length - HEAD - 4);
                    }
                }
            }
        }
        if is_open {
            self.miss(now_us);
        }
        Taken::Nothing
    }

    /// A packet is missing, or came to harm.
    fn miss(&mut self, now_us: u32) {
        if self.damaged == 0 {
            self.damaged = ASK;
            self.ack_at = Timer::at(now_us, 0);
        }
    }

    /// A packet of this session.
    fn take_sealed(&mut self, now_us: u32, length: usize) -> Taken {
        let head = self.storage.as_ref().get(P::BEFORE..).and_then(|bytes| bytes.first_chunk());
        let Some(head) = head.copied().and_then(Head::parse) else { return Taken::Nothing };
        (self.ping, self.silences) = (0, 0);
        if self.damaged == ASKED {
            self.damaged = 0;
        }
        let is_data = head.kind == Kind::Data;
        // What an ACK says of packets that are kept says that the one before them is missing.
        self.acknowledge(now_us, head.ack, head.nak || !is_data && length > 0);
        let mut taken = Taken::Nothing;
        let mut at_once = head.probe;
        if is_data {
            let ahead = head.seq.since(self.expected);
            if ahead == 0 {
                self.expected = self.expected.plus(1);
                self.damaged = 0;
                if length > 0 {
                    taken = Taken::Data(length);
                }
            } else if ahead < WINDOW_MAX {
                self.miss(now_us);
            }
            // The second one is acknowledged at once.
            at_once |= ahead != 0 || self.ack_at != Timer::NEVER;
            self.ack_at = Timer::at(now_us, ACK_DELAY_US);
        }
        if at_once {
            self.ack_at = Timer::at(now_us, 0);
        }
        taken
    }

    /// The peer has all packets before `ack`, and maybe asks for that one.
    fn acknowledge(&mut self, now_us: u32, ack: Seq, is_missing: bool) {
        if ack.since(self.base) > self.next.since(self.base) {
            // Late, and overtaken by what was heard already.
            return;
        }
        if self.base != ack {
            let mut at = 0;
            while self.base != ack {
                if self.base == self.timed {
                    // As RFC 6298 has it.
                    let rtt_us = now_us.wrapping_sub(self.timed_us).clamp(1, RTT_MAX_US);
                    let before = if self.rtt_us == 0 { rtt_us } else { self.rtt_us };
                    self.rtt_us = (before - before / 8 + rtt_us / 8).max(1);
                    self.timed = Seq::NONE;
                }
                if self.base == self.cursor {
                    // It was to be sent again.
                    (self.cursor, self.cursor_at) = (ack, 0);
                }
                at += RECORD + self.record(at);
                self.base = self.base.plus(1);
            }
            let tail = usize::from(self.tail);
            if let Some(used) = self.replay.as_mut().get_mut(..tail) {
                if at <= tail {
                    used.copy_within(at.., 0);
                }
            }
            self.tail -= at as u16;
            self.cursor_at = self.cursor_at.saturating_sub(at as u16);
            self.resend_at = Timer::NEVER;
            if self.base != self.next {
                self.resend_at = Timer::at(now_us, self.wait_us());
            }
        }
        // Once a round trip.
        let is_calm = self.timed == Seq::NONE && now_us.wrapping_sub(self.timed_us) < self.rtt_us;
        if is_missing && self.cursor == self.next && !is_calm {
            self.go_back(now_us);
        }
    }

    /// Sends again all that is not acknowledged.
    pub(super) fn go_back(&mut self, now_us: u32) {
        (self.cursor, self.cursor_at) = (self.base, 0);
        (self.timed, self.timed_us) = (Seq::NONE, now_us);
    }

    /// How long to wait for an answer.
    pub(super) fn wait_us(&self) -> u32 {
        let first_us = self.first_wait_us();
        let us = if self.rtt_us == 0 { first_us } else { 2 * self.rtt_us + PATIENCE_US };
        (us << self.silences.min(DOUBLED_MAX)).min(us.max(first_us.max(WAIT_MAX_US)))
    }

    /// The length of the packet whose record is here.
    fn record(&self, at: usize) -> usize {
        let bytes = self.replay.as_ref().get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes).into())
    }

    /// Writes the next packet: one that was lost, a new one, or an acknowledgement.
    pub(super) fn write_next(
        &mut self,
        now_us: u32,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let is_again = self.cursor != self.next;
        let (mut kind, mut probe, mut at, mut length) = (Kind::Ack, false, 0, 0);
        let seq = self.cursor;
        if is_again || self.append(now_us, out.len(), source) {
            at = usize::from(self.cursor_at);
            length = self.record(at);
            at += RECORD;
            self.cursor_at = (at + length) as u16;
            self.cursor = seq.plus(1);
            if self.resend_at == Timer::NEVER {
                self.resend_at = Timer::at(now_us, self.wait_us());
            }
            kind = Kind::Data;
            // Without more room nothing more goes before an answer.
            probe = self.cursor == self.next && (is_again || self.room() < TRANSMIT_MIN);
        } else if !self.ack_at.is_due(now_us) {
            return 0;
        }
        let mut nak = false;
        self.ack_at = Timer::NEVER;
        if self.damaged != 0 && self.damaged != ASKED {
            nak = true;
            self.damaged -= 1;
            if self.damaged == 0 {
                self.damaged = ASKED;
            } else {
                self.ack_at = Timer::at(now_us, self.wait_us() / 2);
            }
        }
        let head = Head { kind, seq, ack: self.expected, nak, probe };
        let whole = Self::OVERHEAD + length;
        let from = cobs::overhead(whole);
        let Some(out) = out.get_mut(..from + whole) else { return 0 };
        let mut to = FieldWriter::new(out);
        to.skip(from + P::BEFORE);
        to.bytes(&head.bytes());
        to.bytes(self.replay.as_ref().get(at..at + length).unwrap_or_default());
        self.protection.seal(out.get_mut(from..).unwrap_or_default());
        cobs::stuff(out, from).unwrap_or(0)
    }

    /// How much payload the replay buffer has room for.
    fn room(&self) -> usize {
        self.replay.as_ref().len().saturating_sub(usize::from(self.tail) + RECORD)
    }

    /// Puts what the source has to send behind what is in the replay buffer, as a packet of its own.
    fn append(
        &mut self,
        now_us: u32,
        out: usize,
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> bool {
        if self.next.since(self.base) >= self.window {
            return false;
        }
        let fits = out.saturating_sub(Self::OVERHEAD + cobs::overhead(out));
        let room = self.room().min(self.mru.into()).min(fits);
        let at = usize::from(self.tail);
        let Some(bytes) = self.replay.as_mut().get_mut(at..) else { return false };
        let Some((record, bytes)) = bytes.split_first_chunk_mut::<RECORD>() else { return false };
        let mut length = 0;
        while let Some(body) = bytes.get_mut(length..room) {
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
        *record = (length as u16).to_le_bytes();
        self.tail += (RECORD + length) as u16;
        if self.timed == Seq::NONE {
            (self.timed, self.timed_us) = (self.next, now_us);
        }
        self.next = self.next.plus(1);
        true
    }
}
