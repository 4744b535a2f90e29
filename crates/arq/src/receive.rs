//! What comes: out of its stuffing into the packet buffer, checked, in order.
//!
//! The buffer given begins with room for one packet. What it has beyond that are places for packets that
//! come before their turn, if there are any: then the peer sends again only what is missing.

use sspc_wire::Instant;
use sspc_wire::mux_type::{PING, RESET_TRANSPORT};

use crate::cobs::{Unstuffed, Unstuffer};
use crate::packet::{Seq, WINDOW_MAX};

/// The most packets that come before an acknowledgement is sent.
const UNACKNOWLEDGED_MAX: u8 = 2;

/// How many bytes of an ACK's payload say which packets are kept.
pub(crate) const KEPT_BYTES: usize = WINDOW_MAX as usize / 8;

/// How often a peer is asked for a packet that came to harm, as what asks it may come to harm too. Not
/// for ever: noise on a line where nothing is missing ends with that.
pub(crate) const ASK: u8 = 2;
pub(crate) const ASKED: u8 = u8::MAX;

/// How many bytes a PING's time has behind the first.
const PING_REST: u8 = 7;

/// How long a kept packet's record is: its length.
const RECORD: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Receiver<R> {
    storage: R,
    /// How long the longest packet is, with its head and check sum.
    packet_max: u16,
    /// How many packets can be kept before their turn.
    places: u8,
    /// How many packets may be on their way at most.
    window_max: u8,
    unstuffer: Unstuffer,
    /// How much of the packet has come; more than fits if it is too long.
    length: u16,
    /// The number of the packet whose turn it is.
    pub(crate) expected: Seq,
    /// Bit 0 is that of the packet behind the expected one.
    kept: u32,
    /// How many packets are not acknowledged yet.
    unacknowledged: u8,
    /// How often the peer is still to be asked for the expected packet, because something came that was
    /// not it; [`ASKED`] if it was asked often enough, and nothing whole has come since.
    damaged: u8,
    /// The last two bytes that came.
    last: [u8; 2],
    /// How many bytes of the time in a plain PING are still to come, the second one, and whether all came.
    ping_left: u8,
    ping_second: u8,
    pub(crate) plain_ping: Option<u8>,
    /// Something has come whole.
    pub(crate) has_heard: bool,
    /// When an acknowledgement must go.
    pub(crate) ack_at: Instant,
}

/// What became of a packet of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is the one that was expected.
    Now,
    /// It waits for those before it.
    Kept,
    /// It came before its turn, and there is no place for it.
    TooEarly,
    /// It had come already.
    Again,
}

impl<R: AsRef<[u8]> + AsMut<[u8]>> Receiver<R> {
    /// The longest packet, with its head and check sum, is as long as the storage or `packet_max`.
    pub(crate) fn new(storage: R, packet_max: u16, window_max: u8) -> Self {
        let size = storage.as_ref().len();
        let packet_max = usize::from(packet_max).min(size);
        let places = ((size - packet_max) / (packet_max + RECORD)).min(usize::from(WINDOW_MAX));
        // A power of two, so that numbers that follow one another have places of their own where the
        // numbers wrap too.
        let places = if places == 0 { 0 } else { 1 << places.ilog2() };
        Self {
            storage,
            packet_max: packet_max as u16,
            places,
            window_max,
            unstuffer: Unstuffer::new(),
            length: 0,
            expected: Seq::ZERO,
            kept: 0,
            unacknowledged: 0,
            damaged: 0,
            last: [0; 2],
            ping_left: 0,
            ping_second: 0,
            plain_ping: None,
            has_heard: false,
            ack_at: Instant::NEVER,
        }
    }

    pub(crate) const fn packet_max(&self) -> u16 {
        self.packet_max
    }

    /// True if packets are kept that come before their turn.
    pub(crate) const fn keeps(&self) -> bool {
        self.places > 0
    }

    /// How many packets may be on their way to here.
    pub(crate) fn window(&self) -> u8 {
        if self.keeps() { self.window_max.min(self.places + 1) } else { self.window_max }
    }

    /// Begins with the first packet. What is in the middle of coming goes on.
    pub(crate) const fn clear(&mut self) {
        self.expected = Seq::ZERO;
        self.kept = 0;
        self.unacknowledged = 0;
        self.damaged = 0;
        self.ack_at = Instant::NEVER;
    }

    /// Takes bytes off the front of `input`, up to the next delimiter. How long the packet is that it
    /// ends; 0 if it was none; `None` if none has ended yet, or nothing was in it.
    pub(crate) fn next_packet(&mut self, input: &mut &[u8]) -> Option<usize> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.look_for_ping(*byte);
            match self.unstuffer.next(*byte) {
                Unstuffed::Nothing => {}
                Unstuffed::Byte(byte) => self.push(byte),
                ended @ (Unstuffed::End | Unstuffed::Broken) => {
                    let length = usize::from(self.length);
                    self.length = 0;
                    let is_whole =
                        ended == Unstuffed::End && length <= usize::from(self.packet_max);
                    if length > 0 || !is_whole {
                        return Some(if is_whole { length } else { 0 });
                    }
                }
            }
        }
        None
    }

    /// Looks for what a plain peer sends while its link is down: RESET_TRANSPORT, PING, and a time whose
    /// first byte is 0, which ends what looks like a packet and is none.
    const fn look_for_ping(&mut self, byte: u8) {
        match self.ping_left {
            0 if byte == 0 && matches!(self.last, [RESET_TRANSPORT, PING]) => {
                self.ping_left = PING_REST;
            }
            0 => {}
            left => {
                if left == PING_REST {
                    self.ping_second = byte;
                }
                self.ping_left = left - 1;
                if left == 1 {
                    self.plain_ping = Some(self.ping_second);
                }
            }
        }
        self.last = [self.last[1], byte];
    }

    /// Takes a datagram, which is a packet without stuffing; how long it is, 0 if it is too long.
    pub(crate) fn put_datagram(&mut self, datagram: &[u8]) -> usize {
        self.length = 0;
        match self.storage.as_mut().get_mut(..datagram.len()) {
            Some(to) if datagram.len() <= usize::from(self.packet_max) => {
                to.copy_from_slice(datagram);
                datagram.len()
            }
            _ => 0,
        }
    }

    fn push(&mut self, byte: u8) {
        if self.length < self.packet_max {
            if let Some(to) = self.storage.as_mut().get_mut(usize::from(self.length)) {
                *to = byte;
            }
            self.length += 1;
        } else {
            self.length = self.packet_max.saturating_add(1);
        }
    }

    /// The packet that came last.
    pub(crate) fn packet_mut(&mut self, length: usize) -> &mut [u8] {
        self.storage.as_mut().get_mut(..length).unwrap_or_default()
    }

    /// Bytes of the storage.
    pub(crate) fn bytes(&self, at: usize, length: usize) -> &[u8] {
        self.storage.as_ref().get(at..at + length).unwrap_or_default()
    }

    /// A packet of data came, whose payload is `length` bytes at `at`.
    pub(crate) fn receive(&mut self, seq: Seq, at: usize, length: usize) -> Turn {
        let ahead = seq.since(self.expected);
        if ahead == 0 {
            self.advance();
            return Turn::Now;
        }
        if ahead >= self.window_max {
            return Turn::Again;
        }
        let bit = 1 << (ahead - 1);
        if self.kept & bit != 0 {
            return Turn::Again;
        }
        if ahead > self.places {
            return Turn::TooEarly;
        }
        let place = self.place(seq);
        let storage = self.storage.as_mut();
        storage.copy_within(at..at + length, place + RECORD);
        if let Some(record) = storage.get_mut(place..place + RECORD) {
            record.copy_from_slice(&(length as u16).to_be_bytes());
        }
        self.kept |= bit;
        self.damaged = 0;
        Turn::Kept
    }

    /// The packet whose turn has come, if it was kept: where its payload is, and how long.
    pub(crate) fn next_kept(&mut self) -> Option<(usize, usize)> {
        // The bit of the packet that was expected has been shifted out to where it says so.
        if self.kept & Self::TURN == 0 {
            return None;
        }
        let place = self.place(self.expected);
        let record = self.bytes(place, RECORD);
        let length = record.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
        self.advance();
        Some((place + RECORD, usize::from(length)))
    }

    /// Of `kept`: the expected packet is there.
    const TURN: u32 = 1 << 31;

    const fn advance(&mut self) {
        self.expected = self.expected.plus(1);
        let is_next = self.kept & 1 != 0;
        self.kept = (self.kept & !Self::TURN) >> 1 | if is_next { Self::TURN } else { 0 };
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.damaged = 0;
    }

    fn place(&self, seq: Seq) -> usize {
        let packet_max = usize::from(self.packet_max);
        packet_max + usize::from(seq.index(self.places.max(1))) * (packet_max + RECORD)
    }

    /// True if the peer is to be asked for the expected packet: the last thing that came was no packet,
    /// or one for which there is no place. What the packets that are kept show needs no asking.
    pub(crate) const fn nak(&self) -> bool {
        self.is_damaged()
    }

    /// True if a packet is missing.
    pub(crate) const fn misses(&self) -> bool {
        self.is_damaged() || self.kept & !Self::TURN != 0
    }

    /// Which packets behind the expected one are there.
    pub(crate) const fn kept(&self) -> [u8; KEPT_BYTES] {
        (self.kept & !Self::TURN).to_le_bytes()
    }

    const fn is_damaged(&self) -> bool {
        self.damaged != 0 && self.damaged != ASKED
    }

    /// A packet is missing, or came to harm.
    pub(crate) const fn miss(&mut self, now: Instant) {
        if self.damaged == 0 {
            self.damaged = ASK;
            self.ack_at = now;
        }
    }

    /// Something came whole.
    pub(crate) const fn hear(&mut self) {
        if self.damaged == ASKED {
            self.damaged = 0;
        }
        self.ping_left = 0;
        self.plain_ping = None;
        self.has_heard = true;
    }

    /// An acknowledgement is due: at once, or after a while.
    pub(crate) fn acknowledge(&mut self, now: Instant, at_once: bool, delay_us: u32) {
        let is_due = at_once || self.misses() || self.unacknowledged >= UNACKNOWLEDGED_MAX;
        let delay_us = if is_due { 0 } else { delay_us };
        let at = Instant::from_micros(now.as_micros() + u64::from(delay_us));
        self.ack_at = self.ack_at.min(at);
    }

    /// An acknowledgement goes. What is missing is asked for again after `repeat_us`.
    pub(crate) fn acknowledged(&mut self, now: Instant, repeat_us: u32) {
        self.unacknowledged = 0;
        if self.is_damaged() {
            self.damaged -= 1;
            if self.damaged == 0 {
                self.damaged = ASKED;
            }
        }
        self.ack_at = match self.misses() {
            true => Instant::from_micros(now.as_micros() + u64::from(repeat_us)),
            false => Instant::NEVER,
        };
    }
}
