//! A wire between two ends: bytes go in, and come out later, changed, or not at all.
//!
//! It knows no clock and no file: each call says what time it is, and chance follows from a seed.

use std::collections::VecDeque;
use std::time::Duration;

use sspc_wire::Direction;

use super::impairment::{Change, Impairments};
use crate::splitmix::SplitMix64;

/// The bytes of a line with a rate that wait to be sent, as time: what a port's driver would hold.
const QUEUE_TIME: Duration = Duration::from_millis(20);
/// A sender is asked for more when no more than this is left of them.
const QUEUE_TIME_LOW: Duration = Duration::from_millis(10);
/// Bytes that are under way at most: a line that is longer or an end that is slower holds the
/// sender up.
const IN_FLIGHT_MAX: usize = 1 << 20;
/// With a rate, bytes arrive together that were sent within this time, but this many always: a
/// port's driver would not wake up for fewer.
const BATCH_TIME: Duration = Duration::from_millis(1);
const BATCH_MIN: usize = 16;

/// Bits on the wire for a byte of 8N1: a start bit and a stop bit more.
pub(crate) const BITS_SERIAL: u32 = 10;
/// Bits on the wire for a byte of a socket.
pub(crate) const BITS_SOCKET: u32 = 8;

/// What happened in one direction, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Taken from the sender.
    pub(crate) sent: u64,
    /// Given to the receiver, damaged or not.
    pub(crate) passed: u64,
    /// With a flipped bit.
    pub(crate) flipped: u64,
    /// Lost to noise.
    pub(crate) dropped: u64,
    /// That came twice.
    pub(crate) doubled: u64,
    /// In bursts.
    pub(crate) burst: u64,
    /// Under way when the wire was cut, or sent while it was.
    pub(crate) cut: u64,
    /// That arrived where no program listened.
    pub(crate) unheard: u64,
}

impl Counts {
    /// Counts of two wires together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            passed: self.passed + other.passed,
            flipped: self.flipped + other.flipped,
            dropped: self.dropped + other.dropped,
            doubled: self.doubled + other.doubled,
            burst: self.burst + other.burst,
            cut: self.cut + other.cut,
            unheard: self.unheard + other.unheard,
        }
    }
}

/// Both directions.
///
/// Times are since any start, and never go back. [`Wire::send`] what an end sends, as far as there
/// is [`Wire::room`]; give the other end what has [`Wire::arrived`] and [`Wire::take`] that away;
/// come back at [`Wire::next_event`].
#[derive(Debug)]
pub(crate) struct Wire {
    bits_per_byte: u32,
    is_cut: bool,
    /// To the proxy, to the client.
    ways: [OneWay; 2],
}

impl Wire {
    /// A wire that is whole, with nothing under way; `impairments` are those to the proxy, to the client.
    pub(crate) fn new(seed: u64, impairments: [Impairments; 2], bits_per_byte: u32) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut way = |impairments| OneWay::new(impairments, &mut random);
        Self { bits_per_byte, is_cut: false, ways: impairments.map(&mut way) }
    }

    /// How many bytes may be sent now.
    pub(crate) fn room(&self, direction: Direction, now: Duration) -> usize {
        let way = self.way(direction);
        if way.room_at().is_some_and(|at| now < at) {
            return 0;
        }
        let room = IN_FLIGHT_MAX.saturating_sub(way.in_flight_bytes);
        let free = QUEUE_TIME.saturating_sub(way.free_at.saturating_sub(now));
        match way.impairments.rate {
            Some(rate) => room.min(self.bytes_in(free, rate).max(1)),
            None => room,
        }
    }

    /// Sends; the caller asks for [`Wire::room`] before.
    pub(crate) fn send(&mut self, direction: Direction, now: Duration, bytes: &[u8]) {
        let bits_per_byte = self.bits_per_byte;
        let batch = match self.way(direction).impairments.rate {
            Some(rate) => self.bytes_in(BATCH_TIME, rate).max(BATCH_MIN),
            None => bytes.len().max(1),
        };
        let is_cut = self.is_cut;
        let way = self.way_mut(direction);
        way.counts.sent += bytes.len() as u64;
        for part in bytes.chunks(batch) {
            way.occupy(part.len(), bits_per_byte, now);
            match is_cut {
                true => way.counts.cut += part.len() as u64,
                false => way.pass(part),
            }
        }
    }

    /// The sender will send nothing more.
    pub(crate) fn end(&mut self, direction: Direction, now: Duration) {
        let way = self.way_mut(direction);
        way.free_at = way.free_at.max(now);
        way.ends_at = Some(way.last_at.max(way.free_at.saturating_add(way.impairments.delay)));
    }

    /// Bytes that the receiver can have; the next ones when these are taken.
    pub(crate) fn arrived(&self, direction: Direction, now: Duration) -> &[u8] {
        match self.way(direction).in_flight.front() {
            Some(first) if first.at <= now => first.bytes.get(first.taken..).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The receiver has had this many of the bytes that arrived.
    pub(crate) fn take(&mut self, direction: Direction, count: usize) {
        let way = self.way_mut(direction);
        way.remove(count);
        way.counts.passed += count as u64;
    }

    /// No program listened to this many of the bytes that arrived.
    pub(crate) fn miss(&mut self, direction: Direction, count: usize) {
        let way = self.way_mut(direction);
        way.remove(count);
        way.counts.unheard += count as u64;
    }

    /// Whether everything has arrived and been taken, and nothing more will.
    pub(crate) fn has_ended(&self, direction: Direction, now: Duration) -> bool {
        let way = self.way(direction);
        way.in_flight.is_empty() && way.ends_at.is_some_and(|at| at <= now)
    }

    /// When bytes or an end next arrive, or there is room again.
    pub(crate) fn next_event(&self, now: Duration) -> Option<Duration> {
        let events = self.ways.iter().flat_map(|way| {
            let arrival = way.in_flight.front().map(|first| first.at);
            [arrival, way.ends_at, way.room_at()]
        });
        events.flatten().filter(|at| *at > now).min()
    }

    /// Loses what is under way, and all that is sent until [`Wire::restore`].
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
        for way in &mut self.ways {
            way.counts.cut += way.in_flight_bytes as u64;
            way.in_flight_bytes = 0;
            way.in_flight.clear();
            way.burst_left = 0;
        }
    }

    pub(crate) fn restore(&mut self) {
        self.is_cut = false;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// For what is sent from now on.
    pub(crate) fn change(&mut self, change: Change) {
        for direction in Direction::BOTH {
            if change.is_for(direction) {
                change.apply(&mut self.way_mut(direction).impairments);
            }
        }
    }

    /// To the proxy, to the client.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        Direction::BOTH.map(|direction| self.way(direction).counts)
    }

    /// Bytes that pass in a time.
    fn bytes_in(&self, time: Duration, rate: u64) -> usize {
        let bits = time.as_nanos() * u128::from(rate) / 1_000_000_000;
        usize::try_from(bits / u128::from(self.bits_per_byte)).unwrap_or(usize::MAX)
    }

    fn way(&self, direction: Direction) -> &OneWay {
        let [to_proxy, to_client] = &self.ways;
        match direction {
            Direction::ToProxy => to_proxy,
            Direction::ToClient => to_client,
        }
    }

    fn way_mut(&mut self, direction: Direction) -> &mut OneWay {
        let [to_proxy, to_client] = &mut self.ways;
        match direction {
            Direction::ToProxy => to_proxy,
            Direction::ToClient => to_client,
        }
    }
}

/// One direction.
#[derive(Debug)]
struct OneWay {
    impairments: Impairments,
    /// What happens to bytes. Times have their own random numbers: how bytes are cut into chunks must
    /// not change which of them are damaged.
    noise: SplitMix64,
    timing: SplitMix64,
    in_flight: VecDeque<InFlight>,
    /// The bytes in `chunks`.
    in_flight_bytes: usize,
    /// When all that was sent has left the sender.
    free_at: Duration,
    /// When the last chunk arrives.
    last_at: Duration,
    /// When the end arrives.
    ends_at: Option<Duration>,
    /// Bytes of a burst still to come.
    burst_left: u32,
    counts: Counts,
}

#[derive(Debug)]
struct InFlight {
    at: Duration,
    bytes: Vec<u8>,
    taken: usize,
}

impl OneWay {
    fn new(impairments: Impairments, random: &mut SplitMix64) -> Self {
        Self {
            impairments,
            noise: SplitMix64::new(random.bits()),
            timing: SplitMix64::new(random.bits()),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            free_at: Duration::ZERO,
            last_at: Duration::ZERO,
            ends_at: None,
            burst_left: 0,
            counts: Counts::default(),
        }
    }

    /// When so few bytes wait to be sent that more may come.
    fn room_at(&self) -> Option<Duration> {
        self.impairments.rate.map(|_| self.free_at.saturating_sub(QUEUE_TIME_LOW))
    }

    fn occupy(&mut self, bytes: usize, bits_per_byte: u32, now: Duration) {
        self.free_at = self.free_at.max(now);
        if let Some(rate) = self.impairments.rate {
            let bits = bytes as u64 * u64::from(bits_per_byte);
            let ns = u128::from(bits) * 1_000_000_000 / u128::from(rate.max(1));
            let time = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
            self.free_at = self.free_at.saturating_add(time);
        }
    }

    /// Bytes that have left the sender now.
    fn pass(&mut self, bytes: &[u8]) {
        let bytes = self.corrupt(bytes);
        let jitter = self.impairments.jitter.mul_f64(self.timing.fraction());
        let at = self.free_at.saturating_add(self.impairments.delay).saturating_add(jitter);
        self.last_at = self.last_at.max(at);
        if !bytes.is_empty() {
            self.in_flight_bytes += bytes.len();
            self.in_flight.push_back(InFlight { at: self.last_at, bytes, taken: 0 });
        }
    }

    /// The bytes as they will arrive.
    fn corrupt(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Self { impairments, noise, counts, burst_left, .. } = self;
        if impairments.bursts
            | impairments.drops
            | impairments.flips
            | impairments.doubles
            | *burst_left
            == 0
        {
            return bytes.to_vec();
        }
        let mut heard = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if *burst_left == 0 && noise.happens(impairments.bursts) {
                *burst_left = 1 + noise.below(impairments.burst_longest.into()) as u32;
            }
            if *burst_left > 0 {
                *burst_left -= 1;
                counts.burst += 1;
                heard.push(noise.below(256) as u8);
            } else if noise.happens(impairments.drops) {
                counts.dropped += 1;
            } else if noise.happens(impairments.flips) {
                counts.flipped += 1;
                heard.push(byte ^ (1 << noise.below(8)));
            } else if noise.happens(impairments.doubles) {
                counts.doubled += 1;
                heard.extend([*byte; 2]);
            } else {
                heard.push(*byte);
            }
        }
        heard
    }

    fn remove(&mut self, count: usize) {
        let Some(first) = self.in_flight.front_mut() else { return };
        first.taken += count;
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(count);
        if first.taken >= first.bytes.len() {
            self.in_flight.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
