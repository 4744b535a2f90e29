//! What is on its way: kept until it is acknowledged, sent again where it was lost.
//!
//! Packets stand in the replay buffer one behind the other, each behind a [`Record`] of four bytes,
//! from the oldest that is not acknowledged to the newest. None is cut by the buffer's end: what does
//! not fit there begins at its start.
//!
//! # When a packet counts as lost
//!
//! Each transmission has a number. An acknowledgement, of one packet or of those before it, shows that
//! its first transmission came through, or a later one; on a line, where nothing overtakes, whatever was
//! sent before the first and is not acknowledged is lost. So a loss is known as soon as the line can
//! tell, and a packet that is lost twice is as quick to be sent three times. A peer that asks for its next packet without having
//! anything behind it gets that one again, once a round trip. When nothing comes at all the timeout
//! sends the oldest again, and asks for an answer.

use sspc_wire::Instant;

use crate::packet::{Seq, WINDOW_MAX};

/// How long a packet's record is.
pub(crate) const RECORD: usize = 4;

/// In a record's first byte: the packet is to be sent again; the peer has it, though not those
/// before it; the rest of the buffer is unused.
const LOST: u8 = 0x80;
const KEPT: u8 = 0x40;
const WRAP: u8 = 0xff;

/// The longest payload that a record can say.
pub(crate) const PAYLOAD_MAX: u16 = 0x0fff;

/// The least wait for an answer, in µs, on top of the round trip and of the time for which an
/// acknowledgement may wait.
const PATIENCE_MIN_US: u32 = 4000;

/// How many bytes a packet costs on a line beside its payload.
const COST: u32 = 8;

/// As many bytes without a fault are assumed before the first one, so that one is no storm.
const CALM: u32 = 64 * 1024;

/// Beyond so many faults the older half counts half.
const FAULTS_MAX: u16 = 32;

/// What precedes a packet in the replay buffer.
#[derive(Clone, Copy, Debug)]
struct Record {
    flags: u8,
    length: u16,
    /// Of its first transmission, which alone an acknowledgement proves.
    first_order: u8,
    /// Of its last one.
    order: u8,
}

impl Record {
    const fn parse([first, second, first_order, order]: [u8; RECORD]) -> Self {
        let length = u16::from_be_bytes([first & 0x0f, second]);
        Self { flags: first & !0x0f, length, first_order, order }
    }

    const fn bytes(self) -> [u8; RECORD] {
        let [high, low] = self.length.to_be_bytes();
        [high | self.flags, low, self.first_order, self.order]
    }
}

/// How a sender does its work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Of the peer: the longest payload that it takes, how many packets, and whether it keeps those that
    /// come before their turn.
    pub(crate) mru: u16,
    pub(crate) window: u8,
    pub(crate) keeps: bool,
    /// The way may reorder packets, and loses them whatever their length.
    pub(crate) is_datagram: bool,
    /// The shortest room that the source can use.
    pub(crate) room_min: u16,
    /// The wait for an answer before a round trip was measured, and the longest, in µs.
    pub(crate) wait_first_us: u32,
    /// How long the peer may wait before it acknowledges.
    pub(crate) ack_delay_us: u32,
    pub(crate) wait_max_us: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Sender<T> {
    replay: T,
    /// Where the oldest record is, and where the next one begins.
    head: u16,
    tail: u16,
    base: Seq,
    next: Seq,
    /// Of the last transmission.
    order: u8,
    /// Of the last one that is known to have come through, while packets are on their way.
    newest: Option<u8>,
    /// How many records are [`LOST`].
    lost: u8,
    /// How often the timeout has come since something was acknowledged.
    pub(crate) silences: u8,
    /// When the oldest packet is sent again, unless something comes.
    pub(crate) resend_at: Instant,
    /// The packet whose round trip is measured, and when it was sent, in µs modulo 2^32.
    timed: Option<Seq>,
    timed_us: u32,
    /// Smoothed, and how much it varies; 0 before the first.
    pub(crate) rtt_us: u32,
    varies_us: u32,
    /// Until when what the peer misses is not sent again, in µs modulo 2^32.
    calm_until_us: u32,
    /// The packet for which that holds.
    calm_for: Option<Seq>,
    /// How many bytes went, and how many faults there were among them.
    bytes: u32,
    faults: u16,
    /// How often packets were sent again, modulo 2^32.
    #[cfg(feature = "host")]
    pub(crate) resent: u64,
    /// How often the peer has acknowledged packets, modulo 2^64.
    #[cfg(feature = "host")]
    pub(crate) acked: u64,
}

/// A packet to be sent: its number, and where its payload is in the replay buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) seq: Seq,
    at: u16,
    length: u16,
    /// The peer is to answer at once.
    pub(crate) probe: bool,
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Sender<T> {
    pub(crate) const fn new(replay: T) -> Self {
        Self {
            replay,
            head: 0,
            tail: 0,
            base: Seq::ZERO,
            next: Seq::ZERO,
            order: 0,
            newest: None,
            lost: 0,
            silences: 0,
            resend_at: Instant::NEVER,
            timed: None,
            timed_us: 0,
            rtt_us: 0,
            varies_us: 0,
            calm_until_us: 0,
            calm_for: None,
            bytes: CALM,
            faults: 0,
            #[cfg(feature = "host")]
            resent: 0,
            #[cfg(feature = "host")]
            acked: 0,
        }
    }

    /// Forgets all packets. What was learnt of the line stays.
    pub(crate) fn clear(&mut self) {
        (self.head, self.tail) = (0, 0);
        (self.base, self.next) = (Seq::ZERO, Seq::ZERO);
        (self.lost, self.silences) = (0, 0);
        self.resend_at = Instant::NEVER;
        (self.timed, self.calm_for, self.newest) = (None, None, None);
    }

    /// How many packets are on their way.
    pub(crate) const fn in_flight(&self) -> u8 {
        self.next.since(self.base)
    }

    /// The payload of a packet.
    pub(crate) fn payload(&self, packet: Outgoing) -> &[u8] {
        let at = usize::from(packet.at);
        self.replay.as_ref().get(at..at + usize::from(packet.length)).unwrap_or_default()
    }

    /// The next packet: one that was lost, or a new one, whose payload `source` writes.
    pub(crate) fn next_packet(
        &mut self,
        now: Instant,
        terms: &Terms,
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Option<Outgoing> {
        let now_us = now.as_micros() as u32;
        let packet = match self.next_lost() {
            Some(packet) => {
                if self.timed == Some(packet.seq) {
                    self.timed = None;
                }
                packet
            }
            None => {
                let packet = self.next_new(terms, source)?;
                if self.timed.is_none() {
                    (self.timed, self.timed_us) = (Some(packet.seq), now_us);
                }
                packet
            }
        };
        if self.resend_at == Instant::NEVER {
            self.wait(now, terms);
        }
        Some(packet)
    }

    fn next_lost(&mut self) -> Option<Outgoing> {
        if self.lost == 0 {
            return None;
        }
        let order = self.order.wrapping_add(1);
        let mut found = None;
        self.each(|seq, at, record| {
            if record.flags & LOST == 0 || found.is_some() {
                return;
            }
            record.flags &= !LOST;
            record.order = order;
            found = Some(Outgoing { seq, at, length: record.length, probe: false });
        });
        let mut packet = found?;
        self.order = order;
        self.lost -= 1;
        packet.probe = self.lost == 0;
        #[cfg(feature = "host")]
        {
            self.resent += 1;
        }
        Some(packet)
    }

    fn next_new(
        &mut self,
        terms: &Terms,
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Option<Outgoing> {
        let window = terms.window.min(WINDOW_MAX);
        if self.in_flight() >= window {
            return None;
        }
        let most = terms.mru.min(PAYLOAD_MAX);
        let wanted = if terms.is_datagram { most } else { most.min(self.best_size()) };
        let wanted = wanted.max(terms.room_min.min(most));
        let room = self.make_room(wanted);
        if room < terms.room_min.min(most) {
            return None;
        }
        let at = usize::from(self.tail) + RECORD;
        let body = self.replay.as_mut().get_mut(at..at + usize::from(room.min(wanted)))?;
        let most = body.len();
        let length = source(body).min(most) as u16;
        if length == 0 {
            return None;
        }
        self.order = self.order.wrapping_add(1);
        let record = Record { flags: 0, length, first_order: self.order, order: self.order };
        self.put(self.tail, record.bytes());
        self.tail += RECORD as u16 + length;
        let seq = self.next;
        self.next = seq.plus(1);
        // Without more room nothing more goes before an answer.
        let probe = self.in_flight() >= window || self.room() < terms.room_min;
        Some(Outgoing { seq, at: at as u16, length, probe })
    }

    /// The room for a payload at the buffer's tail, or at its start if there is more of what is wanted.
    fn make_room(&mut self, wanted: u16) -> u16 {
        if self.in_flight() == 0 {
            (self.head, self.tail) = (0, 0);
        }
        let room = self.room_at_tail();
        if room < wanted && self.is_in_front() && self.head > room + RECORD as u16 {
            let at_front = self.head - RECORD as u16;
            if at_front > room {
                if let Some(first) = self.replay.as_mut().get_mut(usize::from(self.tail)) {
                    *first = WRAP;
                }
                self.tail = 0;
                return at_front;
            }
        }
        room
    }

    /// The most room that there is for a payload.
    fn room(&self) -> u16 {
        let at_front = if self.is_in_front() { self.head } else { 0 };
        self.room_at_tail().max(at_front.saturating_sub(RECORD as u16))
    }

    /// The oldest record stands before the newest in the buffer, or there is none.
    const fn is_in_front(&self) -> bool {
        self.tail > self.head || self.in_flight() == 0
    }

    fn room_at_tail(&self) -> u16 {
        let end = if self.is_in_front() { self.size() } else { self.head };
        end.saturating_sub(self.tail).saturating_sub(RECORD as u16)
    }

    fn size(&self) -> u16 {
        u16::try_from(self.replay.as_ref().len()).unwrap_or(u16::MAX)
    }

    /// The payload length at which losses and heads cost the least: with one fault in so many bytes, the
    /// square root of what a head costs times those.
    fn best_size(&self) -> u16 {
        if self.faults == 0 {
            return u16::MAX;
        }
        let square = u64::from(self.bytes) * u64::from(COST) / u64::from(self.faults);
        let mut size = 1u32 << (u64::BITS - square.leading_zeros()).div_ceil(2);
        // Newton's, from above: it falls until it is the root.
        for _ in 0..6 {
            size = ((u64::from(size) + square / u64::from(size.max(1))) / 2) as u32;
        }
        u16::try_from(size).unwrap_or(u16::MAX)
    }

    /// Takes what the peer says of the packets that it has: all before `ack`, and of those behind it the
    /// ones whose bit is set in `kept`.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        terms: &Terms,
        ack: Seq,
        nak: bool,
        kept: &[u8],
    ) {
        let count = ack.since(self.base);
        if count > self.in_flight() {
            // Late, and overtaken by what was heard already.
            return;
        }
        let now_us = now.as_micros() as u32;
        let mut newest = None;
        for _ in 0..count {
            self.forget_oldest(now_us, &mut newest);
        }
        self.mark_kept(now_us, kept, &mut newest);
        if let Some(newest) = newest {
            #[cfg(feature = "host")]
            {
                self.acked = self.acked.wrapping_add(1);
            }
            note(&mut self.newest, newest);
            self.silences = 0;
            self.lose_before(newest, terms);
            if self.in_flight() == 0 {
                self.resend_at = Instant::NEVER;
            } else {
                self.wait(now, terms);
            }
        }
        if nak && self.in_flight() > 0 && !self.is_calm(now_us, ack) {
            if terms.keeps {
                self.lose_first_behind_newest();
            } else {
                self.lose_oldest(false, true);
            }
            self.calm_for = Some(ack);
            self.calm_until_us = now_us.wrapping_add(self.rtt_us + self.varies_us);
        }
    }

    /// The peer has asked for this packet a moment ago.
    fn is_calm(&self, now_us: u32, ack: Seq) -> bool {
        self.calm_for == Some(ack) && (self.calm_until_us.wrapping_sub(now_us) as i32) > 0
    }

    fn forget_oldest(&mut self, now_us: u32, newest: &mut Option<u8>) {
        let at = self.at(self.head);
        let record = Record::parse(self.get(at));
        if record.flags & LOST != 0 {
            self.lost -= 1;
        }
        note(newest, record.first_order);
        self.count(record.length, 0);
        if self.timed == Some(self.base) {
            self.timed = None;
            self.measure(now_us.wrapping_sub(self.timed_us));
        }
        self.head = at + RECORD as u16 + record.length;
        self.base = self.base.plus(1);
    }

    fn mark_kept(&mut self, now_us: u32, kept: &[u8], newest: &mut Option<u8>) {
        if kept.is_empty() {
            return;
        }
        let (base, timed, mut found, mut is_timed) = (self.base, self.timed, 0, false);
        let mut newest_here = *newest;
        self.each(|seq, _, record| {
            // The first bit is that of the packet behind the one that is missing.
            let Some(bit) = seq.since(base).checked_sub(1) else { return };
            let byte = kept.get(usize::from(bit / 8)).copied().unwrap_or_default();
            if byte >> (bit % 8) & 1 == 0 || record.flags & KEPT != 0 {
                return;
            }
            found += u8::from(record.flags & LOST != 0);
            record.flags = KEPT;
            is_timed |= timed == Some(seq);
            note(&mut newest_here, record.first_order);
        });
        self.lost -= found.min(self.lost);
        *newest = newest_here;
        if is_timed {
            self.timed = None;
            self.measure(now_us.wrapping_sub(self.timed_us));
        }
    }

    /// What was sent before this transmission and is not acknowledged is lost.
    fn lose_before(&mut self, newest: u8, terms: &Terms) {
        // Datagrams overtake each other.
        let slack = if terms.is_datagram { 3 } else { 0 };
        let (mut lost, mut bytes) = (0, 0);
        self.each(|_, _, record| {
            let behind = newest.wrapping_sub(record.order) as i8;
            if record.flags == 0 && behind > slack {
                record.flags = LOST;
                lost += 1;
                bytes = record.length;
            }
        });
        self.lost += lost;
        if lost > 0 {
            self.count(bytes, 1);
        }
    }

    /// What came behind the last packet that came through came to harm: the one that was sent next.
    fn lose_first_behind_newest(&mut self) {
        let newest = self.newest.unwrap_or(self.order.wrapping_sub(2 * WINDOW_MAX));
        let mut first = None;
        self.each(|_, _, record| {
            let behind = record.order.wrapping_sub(newest);
            if record.flags == 0 && (behind as i8) > 0 && first.is_none_or(|first| behind < first) {
                first = Some(behind);
            }
        });
        let Some(first) = first else { return };
        self.each(|_, _, record| {
            if record.flags == 0 && record.order.wrapping_sub(newest) == first {
                record.flags = LOST;
            }
        });
        self.lost += 1;
        self.count(0, 1);
    }

    /// The oldest packet is lost, and with it all others if the peer does not keep them. `is_harmed` if the
    /// peer has seen something that came to harm.
    fn lose_oldest(&mut self, peer_keeps: bool, is_harmed: bool) {
        let (base, mut lost) = (self.base, 0);
        self.each(|seq, _, record| {
            if (seq == base || !peer_keeps) && record.flags == 0 {
                record.flags = LOST;
                lost += 1;
            }
        });
        self.lost += lost;
        if lost > 0 && is_harmed {
            self.count(0, 1);
        }
    }

    /// The timeout. True if something is to be sent again.
    pub(crate) fn handle_timeout(&mut self, now: Instant, terms: &Terms) -> bool {
        if now < self.resend_at {
            return false;
        }
        self.silences = self.silences.saturating_add(1);
        self.timed = None;
        // Was it too early, or else no round trip is measured while all is sent twice.
        self.varies_us = self.varies_us.saturating_add(self.rtt_us / 4).min(terms.wait_max_us);
        // One answer that is late says nothing about noise.
        self.lose_oldest(terms.keeps, self.silences > 1);
        self.wait(now, terms);
        true
    }

    /// Waits for an answer from now on.
    fn wait(&mut self, now: Instant, terms: &Terms) {
        let us = match self.rtt_us {
            0 => terms.wait_first_us,
            rtt_us => {
                let patience_us = PATIENCE_MIN_US.max(self.varies_us.saturating_mul(4));
                rtt_us.saturating_add(patience_us).saturating_add(terms.ack_delay_us)
            }
        };
        let us = us.checked_shl(self.silences.into()).unwrap_or(u32::MAX);
        let us = if self.silences > 20 { u32::MAX } else { us };
        let us = us.min(terms.wait_max_us.max(self.rtt_us.saturating_mul(2)));
        self.resend_at = Instant::from_micros(now.as_micros() + u64::from(us));
    }

    fn measure(&mut self, rtt_us: u32) {
        let rtt_us = rtt_us.clamp(1, 60_000_000);
        if self.rtt_us == 0 {
            (self.rtt_us, self.varies_us) = (rtt_us, rtt_us / 2);
        } else {
            // As RFC 6298 has it.
            let off = rtt_us.abs_diff(self.rtt_us);
            self.varies_us = self.varies_us - self.varies_us / 4 + off / 4;
            self.rtt_us = (self.rtt_us - self.rtt_us / 8 + rtt_us / 8).max(1);
        }
    }

    fn count(&mut self, length: u16, faults: u16) {
        self.bytes = self.bytes.saturating_add(u32::from(length) + COST);
        self.faults += faults;
        if self.faults > FAULTS_MAX || self.bytes > 1 << 30 {
            self.bytes /= 2;
            self.faults /= 2;
        }
    }

    /// Calls `f` with each packet's number, the place of its payload and its record.
    fn each(&mut self, mut f: impl FnMut(Seq, u16, &mut Record)) {
        let mut at = self.head;
        for n in 0..self.in_flight() {
            at = self.at(at);
            let mut record = Record::parse(self.get(at));
            f(self.base.plus(n), at + RECORD as u16, &mut record);
            self.put(at, record.bytes());
            at += RECORD as u16 + record.length;
        }
    }

    /// Where the record is that follows what ends at `at`.
    fn at(&self, at: u16) -> u16 {
        match self.replay.as_ref().get(usize::from(at)) {
            Some(&first) if first != WRAP => at,
            _ => 0,
        }
    }

    fn get(&self, at: u16) -> [u8; RECORD] {
        let bytes = self.replay.as_ref().get(usize::from(at)..);
        bytes.and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default()
    }

    fn put(&mut self, at: u16, bytes: [u8; RECORD]) {
        let to = self.replay.as_mut().get_mut(usize::from(at)..);
        if let Some(to) = to.and_then(|to| to.first_chunk_mut()) {
            *to = bytes;
        }
    }
}

/// Notes the later one of two transmissions.
const fn note(newest: &mut Option<u8>, order: u8) {
    match *newest {
        Some(newest) if (newest.wrapping_sub(order) as i8) >= 0 => {}
        _ => *newest = Some(order),
    }
}
