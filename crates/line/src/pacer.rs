//! How far what was written to a port is ahead of what it has sent.
//!
//! What waits in the system's buffers is in the way of what is urgent, and a PONG that waits there for
//! too long costs the link. So the next frame is written when the wire is about to need it. When that is
//! follows from the baud rate, which is what both ends were told and not what the wire does: a divisor
//! that is 2 % off fills any buffer in the end. What a PING takes tells the truth. Bytes arrive in
//! order, so a PING whose answer is late had that much in front of it that was thought to be gone.
//!
//! An answer can be late for other reasons, and a pause for nothing costs throughput:
//!
//! - It waited behind what the peer sends. The PONG has the time at which the peer wrote it, by its own
//!   clock; so the way there alone can be compared, but for the frame that the peer had begun.
//! - An end was busy. So of two answers in a row the earlier one counts, and only what is more than they
//!   vary by.

use std::mem::take;
use std::time::Duration;

use sspc_mux::Instant;

/// So many frames are written between two PINGs that measure, while there is something to be learned,
/// and at most.
const FRAMES_BETWEEN: u64 = 3;
const FRAMES_BETWEEN_MAX: u64 = 24;
/// Two clocks drift apart by one part in so many: 100 ppm.
const DRIFT: i64 = 10_000;
/// What an answer may be late by and mean nothing: so long a wake takes on a busy host.
const TOLERANCE_NS: u64 = 4_000_000;
/// The most that a wire is thought to be slower than told.
const SLOWER_MAX_PPM: u64 = 200_000;
const PPM: u64 = 1_000_000;

/// What became of a PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The PONG came.
    Answered(Answer),
    /// The PONG came, but what was lost and sent again meanwhile made it late.
    Repaired,
    /// The link was lost.
    Lost,
}

/// The answer to a PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// When it came.
    pub(crate) at: Instant,
    /// When the peer wrote it, by its own clock, in µs; what it counts from is not known.
    pub(crate) peer_us: u64,
    /// So many bytes came since the PING was written: the peer may have had to finish a frame of them
    /// before it answered.
    pub(crate) behind: u64,
}

/// How far what was written is ahead of what was sent.
#[derive(Debug)]
pub(crate) struct Pacer {
    baud: u64,
    frame_max: u64,
    /// By how much the wire is slower than its baud rate, as far as is known.
    slower_ppm: u64,
    /// When all that was written will have been sent, in ns.
    sent_by_ns: u64,
    /// How many frames are written between two PINGs that measure, and how many bytes until the next.
    frames_between: u64,
    until_ping: u64,
    ping: Ping,
    /// How long it takes to send what was written since the last answer, in ns.
    since_answer_ns: u64,
    least: Option<Least>,
    /// By how much the last answer was late, less what was made of that, and by how much it varies.
    late_ns: u64,
    varies_ns: u64,
}

/// The PING that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    None,
    /// When it was thought to be sent, in ns.
    Sent(u64),
    /// It was sent twice, and which one is answered is not known.
    Twice,
}

/// The least that answers took, from when their PINGs were thought to be sent.
#[derive(Clone, Copy, Debug)]
struct Least {
    round_trip_ns: i64,
    /// Until the peer answered, by its clock: what the two clocks differ by is in it.
    one_way_ns: i64,
    at_ns: u64,
}

impl Pacer {
    pub(crate) fn new(baud: u32, frame_max: u16) -> Self {
        Self::with(baud.max(1).into(), frame_max.into())
    }

    const fn with(baud: u64, frame_max: u64) -> Self {
        Self {
            baud,
            frame_max,
            slower_ppm: 0,
            sent_by_ns: 0,
            frames_between: FRAMES_BETWEEN,
            // The first answer, before there is anything to wait for, is what others are compared with.
            until_ping: 0,
            ping: Ping::None,
            since_answer_ns: 0,
            least: None,
            late_ns: 0,
            varies_ns: 0,
        }
    }

    /// The most bytes that are written as one from now on: a frame, or a packet.
    pub(crate) fn set_frame_max(&mut self, frame_max: u16) {
        self.frame_max = frame_max.into();
    }

    /// How far what was written is ahead of what can have been sent.
    pub(crate) fn ahead(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.sent_by_ns.saturating_sub(nanos(now)))
    }

    /// How long ago all that was written was sent.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        Duration::from_nanos(nanos(now).saturating_sub(self.sent_by_ns))
    }

    /// These bytes were given to the port.
    pub(crate) fn wrote(&mut self, now: Instant, bytes: usize) {
        let bytes = bytes as u64;
        let takes_ns = self.time_of(bytes);
        self.since_answer_ns = self.since_answer_ns.saturating_add(takes_ns);
        self.sent_by_ns = self.sent_by_ns.max(nanos(now)).saturating_add(takes_ns);
        self.until_ping = self.until_ping.saturating_sub(bytes);
    }

    /// Whether a PING is to be sent for what it measures.
    pub(crate) fn wants_ping(&self) -> bool {
        self.until_ping == 0 && self.ping == Ping::None
    }

    /// A PING of so many bytes is what will be written next.
    pub(crate) fn pinging(&mut self, now: Instant, bytes: usize) {
        self.until_ping = self.frame_max * self.frames_between;
        let sent_ns = self.sent_by_ns.max(nanos(now)) + self.time_of(bytes as u64);
        self.ping = if self.ping == Ping::None { Ping::Sent(sent_ns) } else { Ping::Twice };
    }

    /// The PING was answered.
    pub(crate) fn answered(&mut self, answer: Answer) {
        let Ping::Sent(sent_ns) = std::mem::replace(&mut self.ping, Ping::None) else { return };
        let late_ns = self.late(sent_ns, answer);
        let falls_ns = self.late_ns.saturating_sub(late_ns);
        self.varies_ns = self.varies_ns - self.varies_ns / 4 + falls_ns / 2;
        let frame_ns = self.time_of(answer.behind.min(self.frame_max));
        let surely_ns = late_ns.min(self.late_ns);
        let wrong_ns = surely_ns.saturating_sub(TOLERANCE_NS + self.varies_ns + frame_ns);
        self.late_ns = late_ns - wrong_ns;
        self.sent_by_ns = self.sent_by_ns.saturating_add(wrong_ns);
        let passed_ns = take(&mut self.since_answer_ns).max(1);
        let wrong_ppm = wrong_ns.saturating_mul(PPM) / passed_ns;
        if wrong_ppm > 0 {
            self.slower_ppm = self.slower_ppm.saturating_add(wrong_ppm / 2).min(SLOWER_MAX_PPM);
            self.frames_between = FRAMES_BETWEEN;
        } else {
            if surely_ns < TOLERANCE_NS {
                // Nothing waits: it may be faster than it seemed.
                self.slower_ppm -= self.slower_ppm.div_ceil(64);
            }
            self.frames_between = (self.frames_between + 1).min(FRAMES_BETWEEN_MAX);
        }
    }

    /// By how much an answer took longer than any before.
    fn late(&mut self, sent_ns: u64, answer: Answer) -> u64 {
        let at_ns = nanos(answer.at);
        let round_trip_ns = at_ns.wrapping_sub(sent_ns).cast_signed();
        // Whatever a peer says its time is.
        let one_way_ns = answer.peer_us.wrapping_mul(1000).wrapping_sub(sent_ns).cast_signed();
        let was = self.least.unwrap_or(Least { round_trip_ns, one_way_ns, at_ns });
        let drift_ns = at_ns.wrapping_sub(was.at_ns).cast_signed() / DRIFT;
        let least = Least {
            round_trip_ns: was.round_trip_ns.min(round_trip_ns),
            one_way_ns: was.one_way_ns.saturating_add(drift_ns).min(one_way_ns),
            at_ns,
        };
        self.least = Some(least);
        let round_trip_ns = round_trip_ns.saturating_sub(least.round_trip_ns);
        let one_way_ns = one_way_ns.saturating_sub(least.one_way_ns);
        round_trip_ns.min(one_way_ns).max(0).cast_unsigned()
    }

    /// The PING was answered, and its answer says nothing about the wire.
    pub(crate) fn repaired(&mut self) {
        self.ping = Ping::None;
    }

    /// The port or the peer may be another one from now on.
    pub(crate) fn restart(&mut self) {
        let sent_by_ns = self.sent_by_ns;
        *self = Self { sent_by_ns, ..Self::with(self.baud, self.frame_max) };
    }

    /// How long the wire takes for so many bytes, of ten bits each: 8N1.
    const fn time_of(&self, bytes: u64) -> u64 {
        bytes * 10_000 * (PPM + self.slower_ppm) / self.baud
    }
}

const fn nanos(at: Instant) -> u64 {
    at.as_micros().saturating_mul(1000)
}
