//! Link supervision: is there a peer, and do bytes pass both ways.
//!
//! ```text
//!                 PONG with the time of the last PING, or PONGACK after a PONG
//!        Down ────────────────────────────────────────────────────────────────► Up ◄──────┐
//!          ▲                                                                     │         │
//!          │  RESET_TRANSPORT, lost framing,                  the time for PING  │  PONG,  │
//!          │  no index left, reset                                     has come  │ PONGACK │
//!          ├───────────────────────────────────────────────────────────┬─────────┤         │
//!          │  no PONG in time, on a host to two PINGs                  │         ▼         │
//!          └───────────────────────────────────────────────────────────┴───── Probing ─────┘
//! ```
//!
//! A peer that sees RESET_TRANSPORT goes down. So that the one who sent it is never up with it
//! still under way, only answers count that can no more be overtaken by it: the PONG to the last
//! PING sent, and the PONGACK to a PONG that was sent after the last RESET_TRANSPORT.
//!
//! When an end restarts while the other is in the middle of a frame, its RESET_TRANSPORT may be taken
//! for that frame's last byte. So a PING that belongs to one says so in its time
//! ([`WHILE_DOWN`]), which an end that is up takes for the RESET_TRANSPORT that it missed. Other
//! peers have no use for the time but to send it back.

use sspc_wire::mux_type::{PING, PONG, PONGACK, RESET_TRANSPORT};
use sspc_wire::{FieldWriter, Instant, Random};

use crate::config::{Config, Role};

/// Set in the time of a PING that is sent while the link is down. No clock gets there in 1,141 years.
const WHILE_DOWN: u64 = 1 << 55;

/// The bit of the time in a PING that says that its sender speaks in packets, if the peer does: for a
/// layer below the mux, which sets it in what the mux sends while the link is down. No clock gets there
/// in 570 years.
pub const PACKETS: u64 = 1 << 54;

/// Whether this end notices that its own PING comes back, and sends a second one before it gives up. A
/// device has no room for that.
pub(crate) const FOR_HOST: bool = cfg!(feature = "host");

/// The bit of a PING's time that says which end sent it: a peer's is never taken for this end's own,
/// even if both clocks agree to the µs.
const ROLE_BIT: u64 = FOR_HOST as u64;

/// True for a PING that a peer sent behind RESET_TRANSPORT.
pub(crate) const fn is_of_reset(sent_us: u64) -> bool {
    sent_us & WHILE_DOWN != 0
}

/// Where the link stands. All states have a time in common, [`Link::at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is none. At the time RESET_TRANSPORT and PING become due.
    Down,
    /// At the time PING becomes due.
    Up,
    /// PING is due or sent. Until the time proof of life must come, or else on a host another PING is
    /// due: one byte that is harmed in either is no dead peer.
    Probing,
    /// The second PING is due or sent, with the time of the first.
    ProbingAgain,
}

#[derive(Debug)]
pub(crate) struct Link {
    state: State,
    at: Instant,
    ping_due: bool,
    /// The second PING was given more time, as this end came late.
    #[cfg(feature = "host")]
    is_last_chance: bool,
    /// The wait behind the next attempt to bring the link up, in ms, if it is within the bounds.
    wait_ms: u32,
    pong_due: bool,
    pongack_due: bool,
    /// A PING was sent and not answered, and a PONG.
    pinged: bool,
    ponged: bool,
    /// The time in the peer's last PING.
    heard_us: u64,
    /// The time in the last PING sent, with [`ROLE_BIT`], without [`WHILE_DOWN`] and [`PACKETS`].
    pinged_us: u64,
    /// When the last PONG was sent, in µs modulo 2^32.
    ponged_us: u32,
    random: Random,
    /// What to add to the caller's clock to have µs since 1970.
    unix_offset_us: u64,
    /// Of the last round trip.
    pub(crate) rtt_us: u32,
}

impl Link {
    pub(crate) const fn new(seed: u32) -> Self {
        let mut link = Self::idle();
        link.start(seed);
        link
    }

    /// One that does nothing before it is started: all zeros.
    pub(crate) const fn idle() -> Self {
        Self {
            state: State::Down,
            at: Instant::ZERO,
            ping_due: false,
            #[cfg(feature = "host")]
            is_last_chance: false,
            wait_ms: 0,
            pong_due: false,
            pongack_due: false,
            pinged: false,
            ponged: false,
            heard_us: 0,
            pinged_us: 0,
            ponged_us: 0,
            random: Random::new(0),
            unix_offset_us: 0,
            rtt_us: 0,
        }
    }

    pub(crate) const fn start(&mut self, seed: u32) {
        self.random = Random::new(seed);
        self.go_down();
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state != State::Down
    }

    /// True if this is the time in the last PING, which was not answered yet.
    pub(crate) fn is_last_ping(&self, us: u64) -> bool {
        self.pinged && self.pinged_us == us & !(WHILE_DOWN | PACKETS)
    }

    /// The time in the last PING, if it was not answered yet.
    pub(crate) const fn unanswered_ping(&self) -> Option<u64> {
        if self.pinged { Some(self.pinged_us) } else { None }
    }

    pub(crate) const fn set_unix_time(&mut self, now: Instant, unix_us: u64) {
        self.unix_offset_us = unix_us.wrapping_sub(now.as_micros());
    }

    /// The time in the peer's last PING.
    pub(crate) const fn peer_ping_us(&self) -> u64 {
        self.heard_us
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.at
    }

    /// Makes a PING due now.
    pub(crate) fn ping(&mut self, now: Instant, config: &Config) {
        match self.state {
            State::Down => self.at = Instant::NEVER,
            // Counted from now, not from the time that was planned: after a sleep of the whole
            // machine nobody could have sent it.
            State::Up => {
                let wait_ms = if FOR_HOST { config.pong_ms / 2 } else { config.pong_ms };
                self.set(State::Probing, now.plus_millis(wait_ms));
                if FOR_HOST {
                    self.pinged = false;
                }
            }
            State::Probing | State::ProbingAgain => return,
        }
        self.ping_due = true;
    }

    const fn set(&mut self, state: State, at: Instant) {
        self.state = state;
        self.at = at;
    }

    /// What is due by now becomes due. True if the peer has not answered in time.
    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config) -> bool {
        if now < self.at {
            return false;
        }
        if FOR_HOST && self.state == State::Probing {
            self.set(State::ProbingAgain, now.plus_millis(config.pong_ms.div_ceil(2)));
            #[cfg(feature = "host")]
            {
                self.is_last_chance = false;
            }
            self.ping_due = true;
            return false;
        }
        #[cfg(feature = "host")]
        if self.was_late(now, config) {
            return false;
        }
        self.ping(now, config);
        self.is_up() && now >= self.at
    }

    /// Gives the peer more time, once, if this end comes too late to know whether it answered in time: what
    /// came meanwhile may not be read yet.
    #[cfg(feature = "host")]
    fn was_late(&mut self, now: Instant, config: &Config) -> bool {
        let is_late = self.state == State::ProbingAgain
            && !self.is_last_chance
            && now > self.at.plus_millis(config.pong_ms / 8);
        if is_late {
            self.is_last_chance = true;
            self.at = now.plus_millis(config.pong_ms.div_ceil(2));
        }
        is_late
    }

    /// The peer need not answer its last PING before the time for that has passed once more.
    #[cfg(feature = "host")]
    pub(crate) fn peer_answered(&mut self, now: Instant, config: &Config) {
        if self.state == State::ProbingAgain {
            self.at = now.plus_millis(config.pong_ms);
        }
    }

    /// Goes down, to begin the handshake at once.
    pub(crate) const fn go_down(&mut self) {
        self.set(State::Down, Instant::NEVER);
        self.ping_due = true;
        self.wait_ms = 0;
        self.pong_due = false;
        self.pongack_due = false;
        self.pinged = false;
        self.ponged = false;
    }

    /// Leaves the handshake to the peer for a while.
    pub(crate) fn leave_to_peer(&mut self, now: Instant, config: &Config) {
        self.ping_due = false;
        self.at = self.retry_at(now, config);
    }

    pub(crate) fn receive_ping(&mut self, now: Instant, sent_us: u64, config: &Config) {
        if self.state == State::Down {
            // The peer's handshake is under way: a RESET_TRANSPORT of ours would break it.
            self.wait_ms = 0;
            let at = self.retry_at(now, config);
            if self.at < at {
                self.at = at;
            }
        }
        self.pong_due = true;
        self.heard_us = sent_us;
    }

    /// The round trip in µs, if it is proof of life.
    pub(crate) fn receive_pong(
        &mut self,
        now: Instant,
        echo_us: u64,
        config: &Config,
    ) -> Option<u32> {
        if !self.is_last_ping(echo_us) {
            return None;
        }
        self.pinged = false;
        self.pongack_due = true;
        Some(self.proof(now, (echo_us & !ROLE_BIT) as u32, config))
    }

    /// The same.
    pub(crate) fn receive_pongack(&mut self, now: Instant, config: &Config) -> Option<u32> {
        if !self.ponged {
            return None;
        }
        self.ponged = false;
        Some(self.proof(now, self.ponged_us, config))
    }

    /// Bytes pass both ways, by the answer to what was sent at a time in µs modulo 2^32.
    fn proof(&mut self, now: Instant, sent_us: u32, config: &Config) -> u32 {
        let at = now.plus_millis(self.shortened(config.ping_ms));
        self.set(State::Up, at);
        self.ping_due = false;
        self.rtt_us = (now.as_micros() as u32).wrapping_sub(sent_us);
        self.rtt_us
    }

    /// Writes what is due into a buffer of [`crate::TRANSMIT_MIN`] bytes or more.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        role: Role,
        config: &Config,
        out: &mut FieldWriter<'_>,
    ) {
        let sent_us = now.as_micros();
        self.handle_timeout(now, config);
        if self.ping_due {
            self.ping_due = false;
            // A PONG to either of two PINGs is proof of life.
            let is_second = FOR_HOST && self.state == State::ProbingAgain && self.pinged;
            if !is_second {
                self.pinged_us = sent_us & !ROLE_BIT | role as u64 & ROLE_BIT;
            }
            self.pinged = true;
            let mut ping_us = self.pinged_us;
            if self.state == State::Down {
                self.ponged = false;
                self.at = self.retry_at(now, config);
                // It is no longer than the configuration's longest.
                self.wait_ms = self.wait_ms.wrapping_mul(2);
                ping_us |= WHILE_DOWN;
                out.u8(RESET_TRANSPORT);
            }
            out.u8(PING);
            out.u64(ping_us);
        }
        if self.pong_due {
            self.pong_due = false;
            self.ponged = true;
            self.ponged_us = sent_us as u32;
            out.u8(PONG);
            out.u64(self.heard_us);
            out.u64(sent_us);
        }
        if self.pongack_due {
            self.pongack_due = false;
            out.u8(PONGACK);
            out.u64(sent_us.wrapping_add(self.unix_offset_us));
        }
    }

    /// When the next attempt is due.
    fn retry_at(&mut self, now: Instant, config: &Config) -> Instant {
        self.wait_ms = self.wait_ms.max(config.retry_first_ms).min(config.retry_max_ms);
        now.plus_millis(self.shortened(self.wait_ms))
    }

    /// Up to a quarter less, by chance.
    fn shortened(&mut self, ms: u32) -> u32 {
        ms - self.random.below(ms / 4)
    }
}
