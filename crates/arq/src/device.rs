//! Framing and packets in one, for devices: some 3 KiB of code, and 64 bytes of RAM beside the buffers.
//!
//! The wire is that of [`Framing`](crate::Framing), and so is the way in which two ends find out what
//! both know. What is simpler: packets that come before their turn are not kept; after a loss all
//! packets from the lost one on are sent again (go-back-N); packets are as long as there is room for them,
//! however bad the line is; there are no datagrams.

mod handshake;
mod packets;

use core::mem;

use sspc_mux::{Instant, Mux, PACKETS, TRANSMIT_MIN};
use sspc_wire::Random;
use sspc_wire::mux_type::{PING, RESET_TRANSPORT};

use crate::cobs::{Unstuffed, Unstuffer};
use crate::config::Config;
use crate::framing::{Choice, Input, PACKETS_BYTE, mark_ping};
use crate::packet::HEAD;
use crate::protection::Protection;
#[cfg(feature = "psk")]
use crate::protection::Refusal;
use crate::timer::Timer;

/// The longest wait for an answer, in µs, unless the first one or a round trip is longer.
const WAIT_MAX_US: u32 = Config::DEFAULT.wait_max_us;

/// A wait grows no further than by a factor of 2^5.
const DOUBLED_MAX: u8 = 5;

/// So many waits without an answer mean that nobody is there.
const WAITS_MAX: u8 = Config::DEFAULT.waits_max;

/// In front of a packet in the replay buffer: its length.
const RECORD: usize = 1;

/// What stands between a client and its line on a device: packets, nothing, or whichever of both the
/// peer knows. [`Framing`](crate::Framing) is the same for hosts, which have room for more.
///
/// `P` protects packets. `R` is what they come into: the longest payload, which the peer learns,
/// and [`OVERHEAD`](Self::OVERHEAD). `T` keeps what was sent until it is acknowledged:
/// [`REPLAY_MIN`](Self::REPLAY_MIN) bytes at least; one round trip's worth keeps the line busy.
///
/// # The loop
///
/// As that of the client, with this in between: call [`receive`](Self::receive), with the bytes that came
/// or none, until it returns `None`, and do with the client what it says; transmit through
/// [`transmit`](Self::transmit), whose source is the client; wait until the earlier one of both
/// deadlines.
#[derive(Clone, Debug)]
pub struct DeviceFraming<P, R, T> {
    line: Line,
    protection: P,
    storage: R,
    replay: T,
    #[cfg(feature = "psk")]
    refusal: Option<Refusal>,
}

/// All but the buffers. Bytes stand first: what is near the front costs the least code to get at.
#[derive(Clone, Debug)]
#[repr(C)]
struct Line {
    state: State,
    choice: Choice,
    /// How many HELLOs went without an answer.
    hellos: u8,
    /// Of the last PING of the peer that was seen to speak of packets: the last byte of its time.
    seen: u8,
    /// How many bytes of a plain PING came, with its RESET_TRANSPORT; [`PLAIN`] more if a whole one came
    /// since the last packet.
    ping: u8,
    unstuffer: Unstuffer,
    /// The packet that is expected, and the oldest one that is not acknowledged: modulo 256, of which the
    /// wire has the lowest bits.
    expected: u8,
    base: u8,
    /// How many packets are not acknowledged, and how many of them are not to be sent again.
    in_flight: u8,
    cursor: u8,
    /// How many acknowledgements from the oldest packet on until the one whose round trip is measured has
    /// its; 0 if there is none.
    timed: u8,
    /// How often the time for an answer ran out.
    silences: u8,
    /// How often the peer is still to be asked for the expected packet, and [`ASKED`].
    damaged: u8,
    /// What the peer takes: packets, and bytes of payload in each.
    window: u8,
    mru: u8,
    /// How much of a packet has come; more than fits if it is too long.
    length: u16,
    /// How much of the replay buffer is in use, and where in it the packet is that is sent next.
    tail: u16,
    cursor_at: u16,
    /// How long to wait for an answer before a round trip was measured.
    wait_ms: u16,
    /// When the packet whose round trip is measured was sent, or else packets were sent again.
    timed_us: u32,
    /// The longest of the last round trips; 0 before the first.
    rtt_us: u32,
    hello_at: Timer,
    resend_at: Timer,
    ack_at: Timer,
    /// Of this side, in the handshake that is under way or was the last.
    epoch: u32,
    /// Of the peer in the same; 0 if it was not heard.
    peer_epoch: u32,
    random: Random,
}

/// Of [`Line::damaged`]: the peer was asked often enough, until something whole comes.
const ASKED: u8 = 1;

/// Of [`Line::ping`].
const PLAIN: u8 = 4;

/// Where the line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It carries the plain mux.
    Plain,
    /// HELLO goes, and nothing else.
    Greeting,
    /// Data flows, and HELLO goes: the peer may have restarted.
    Renewing,
    /// Data flows.
    Open,
}

/// How much payload a byte or packet brought; or one of these.
type Taken = usize;
const NOTHING: Taken = 0;
const RESET: Taken = usize::MAX;

impl<P: Protection, R, T> DeviceFraming<P, R, T> {
    /// How many bytes of the storage that packets come into are not for payload.
    pub const OVERHEAD: usize = HEAD + P::AROUND_MAX;

    /// The least that keeps what was sent.
    pub const REPLAY_MIN: usize = TRANSMIT_MIN + RECORD;

    /// A line of which nothing is known yet. Of the config only the first wait counts: what is kept and
    /// what comes is as long as the buffers. The seed is for waits and epochs: give each device
    /// another one, and each life of it. With forward secrecy the storage is 86 bytes long at least: a
    /// proxy's HELLO has to fit into it.
    pub const fn new(
        choice: Choice,
        config: &Config,
        seed: u32,
        protection: P,
        storage: R,
        replay: T,
    ) -> Self {
        Self {
            line: Line {
                state: State::Plain,
                choice,
                hellos: 0,
                seen: 0,
                ping: 0,
                unstuffer: Unstuffer::new(),
                expected: 0,
                base: 0,
                in_flight: 0,
                cursor: 0,
                timed: 0,
                silences: 0,
                damaged: 0,
                window: 0,
                mru: 0,
                length: 0,
                tail: 0,
                cursor_at: 0,
                wait_ms: (config.wait_first_us / 1000) as u16,
                timed_us: 0,
                rtt_us: 0,
                hello_at: Timer::NEVER,
                resend_at: Timer::NEVER,
                ack_at: Timer::NEVER,
                epoch: 0,
                peer_epoch: 0,
                random: Random::new(seed),
            },
            protection,
            storage,
            replay,
            #[cfg(feature = "psk")]
            refusal: None,
        }
    }

    /// How many bytes of payload come at once at most.
    pub fn payload_max(&self) -> usize
    where
        R: AsRef<[u8]>,
    {
        self.storage.as_ref().len().saturating_sub(self.around())
    }

    /// True if the line carries packets, or is about to.
    pub fn in_packets(&self) -> bool {
        self.line.state != State::Plain
    }

    /// The round trip of packets, smoothed, in µs; 0 before the first one.
    pub const fn rtt_us(&self) -> u32 {
        self.line.rtt_us
    }

    /// Begins again, as when the line itself was lost and is back. The client is to be reset too.
    pub const fn reset(&mut self) {
        self.line.state = State::Plain;
    }

    /// When to call [`receive`](Self::receive) and [`transmit`](Self::transmit) at the latest, though
    /// nothing came.
    #[inline(never)]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let now_us = now.as_micros() as u32;
        let mut left_us = self.line.hello_at.left_us(now_us);
        if self.line.state == State::Plain {
            if self.choice() != Choice::Reliable {
                return None;
            }
            left_us = 0;
        }
        if self.is_open() {
            left_us = left_us.min(self.line.resend_at.left_us(now_us));
            left_us = left_us.min(self.line.ack_at.left_us(now_us));
        }
        match left_us {
            u32::MAX => None,
            // The same whenever it is asked.
            0 => Some(Instant::ZERO),
            _ => Some(Instant::from_micros(now.as_micros() + u64::from(left_us))),
        }
    }

    /// Data flows.
    fn is_open(&self) -> bool {
        self.line.state >= State::Renewing
    }

    /// `us`, doubled so many times, but no more than the longest wait, unless it is longer itself.
    #[inline(never)]
    fn backed_off_us(&self, us: u32, times: u8) -> u32 {
        let most_us = us.max(self.first_wait_us()).max(WAIT_MAX_US);
        (us << times.min(DOUBLED_MAX)).min(most_us)
    }

    /// What the line carries. With encryption packets, whatever is chosen: nobody turns that off from
    /// outside.
    fn choice(&self) -> Choice {
        if self.protection.encrypts() { Choice::Reliable } else { self.line.choice }
    }

    /// How many bytes of a packet are not payload.
    fn around(&self) -> usize {
        self.protection.before() + HEAD + self.protection.after()
    }

    /// Why there is no session, if a peer was heard since the last one that there is none with.
    #[cfg(feature = "psk")]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// What protects the packets.
    pub const fn protection(&self) -> &P {
        &self.protection
    }

    fn first_wait_us(&self) -> u32 {
        u32::from(self.line.wait_ms) * 1000
    }
}

impl<P, R, T> DeviceFraming<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Takes bytes that came off the front of `input`, up to the next thing that concerns the client.
    /// Until it returns `None`, there is more, even if the input is used up.
    #[inline(never)]
    pub fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
        mux: &Mux,
    ) -> Option<Input<'s>> {
        let now_us = now.as_micros() as u32;
        let mut taken = self.handle_timeout(now_us, mux.peer_ping_us());
        let came = mem::take(input);
        if self.in_packets() || !mux.is_up() && self.choice() != Choice::Plain {
            let mut rest = came.iter();
            while taken == NOTHING {
                let Some(byte) = rest.next() else { break };
                taken = self.take(now_us, *byte);
            }
            *input = rest.as_slice();
        }
        if taken == RESET {
            return Some(Input::Reset);
        }
        let mut bytes = came;
        if taken != NOTHING {
            let rest =
                self.storage.as_ref().get(self.protection.before() + HEAD..).unwrap_or_default();
            bytes = rest.get(..taken).unwrap_or_default();
        } else if self.in_packets() || came.is_empty() {
            return None;
        }
        Some(Input::Bytes(bytes))
    }

    /// Does what the time has come for, but for what it sends.
    fn handle_timeout(&mut self, now_us: u32, ping_us: u64) -> Taken {
        let is_over = match self.line.state {
            State::Plain => {
                let is_new = ping_us & PACKETS != 0
                    && ping_us as u8 != self.line.seen
                    && self.choice() == Choice::Auto;
                if is_new || self.choice() == Choice::Reliable {
                    self.line.seen = ping_us as u8;
                    self.open(now_us);
                }
                return if is_new { RESET } else { NOTHING };
            }
            State::Greeting => self.line.hellos > WAITS_MAX && self.choice() == Choice::Auto,
            _ => {
                if self.line.resend_at.is_due(now_us) {
                    self.line.silences += 1;
                    self.go_back(now_us);
                    self.line.resend_at = Timer::at(now_us, self.wait_us());
                }
                self.line.silences > WAITS_MAX
            }
        };
        if is_over {
            self.line.state = State::Plain;
            return RESET;
        }
        NOTHING
    }

    fn take(&mut self, now_us: u32, byte: u8) -> Taken {
        // RESET_TRANSPORT, PING and a time whose first byte is 0, which ends what looks like a packet
        // and is none: a plain peer.
        let came = self.line.ping & 3;
        self.line.ping -= came;
        self.line.ping += match (came, byte) {
            (1, PING) => 2,
            (2, 0) => 3,
            (_, RESET_TRANSPORT) => 1,
            _ => 0,
        };
        match self.line.unstuffer.next(byte) {
            Unstuffed::Nothing => {}
            Unstuffed::Byte(byte) => {
                if let Some(to) = self.storage.as_mut().get_mut(usize::from(self.line.length)) {
                    *to = byte;
                }
                self.line.length = self.line.length.saturating_add(1);
            }
            ended => {
                let mut length = usize::from(mem::take(&mut self.line.length));
                if ended == Unstuffed::Broken {
                    length = usize::MAX;
                }
                if length > 0 {
                    return self.take_packet(now_us, length);
                }
            }
        }
        if came == 3 && self.in_packets() {
            // One alone may be noise.
            self.line.ping ^= PLAIN;
            if self.line.ping & PLAIN == 0 {
                if byte & PACKETS_BYTE != 0 {
                    // It knows them: a HELLO is the answer that it waits for.
                    self.renew(now_us);
                } else if self.choice() == Choice::Auto {
                    self.line.state = State::Plain;
                    return RESET;
                }
            }
        }
        NOTHING
    }

    /// Writes what is to be sent next into `out`, and returns how long it is; `source` is what the client
    /// transmits. `out` has the same length each time, as the client's buffer is.
    #[inline(never)]
    pub fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let now_us = now.as_micros() as u32;
        if self.line.state == State::Plain {
            if self.protection.encrypts() {
                // Nothing goes in clear, also before the first call of `receive`.
                return 0;
            }
            let length = source(out);
            if self.choice() == Choice::Auto {
                mark_ping(out);
            }
            length
        } else if self.line.hello_at.is_due(now_us) {
            self.write_hello(now_us, out)
        } else if self.is_open() {
            self.write_next(now_us, out, source)
        } else {
            0
        }
    }
}
