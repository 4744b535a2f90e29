//! Link supervision: is there a peer, and do bytes pass both ways.
//!
//! ```text
//!                 PONG with the time of the last PING, or PONGACK after a PONG
//!        Down ────────────────────────────────────────────────────────────────► Up ◄──────┐
//!          ▲                                                                     │         │
//!          │  RESET_TRANSPORT, lost framing,                  the time for PING  │  PONG,  │
//!          │  no index left, reset                                     has come  │ PONGACK │
//!          ├───────────────────────────────────────────────────────────┬─────────┤         │
//!          │  no PONG in time                                          │         ▼         │
//!          └───────────────────────────────────────────────────────────┴───── Probing ─────┘
//! ```
//!
//! A peer that sees RESET_TRANSPORT goes down. So that the one who sent it is never up with it
//! still under way, only answers count that can no more be overtaken by it: the PONG to the last
//! PING sent, and the PONGACK to a PONG that was sent after the last RESET_TRANSPORT.

use sspc_wire::MuxFrame;

use crate::config::Config;
use crate::put;
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
enum State {
    /// RESET_TRANSPORT and PING are to be sent at this time, or are due. A PING is answered only
    /// behind a RESET_TRANSPORT, or else a peer could be up with channels that this side knows
    /// nothing of.
    Down { retry_at: Instant, is_due: bool, attempt: u8, reset_came: bool },
    /// The next PING is due at this time.
    Up { ping_at: Instant },
    /// The PING is due, or sent; proof of life must come until this time.
    Probing { until: Instant, ping_due: bool },
}

impl State {
    const DOWN_AT_ONCE: Self =
        Self::Down { retry_at: Instant::ZERO, is_due: true, attempt: 0, reset_came: false };
}

/// What proof of life has brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    pub(crate) rtt_us: u32,
    /// The link came up by it.
    pub(crate) is_new: bool,
}

#[derive(Debug)]
pub(crate) struct Link {
    state: State,
    random: u32,
    /// The time in the last PING, until it is answered.
    last_ping: Option<u64>,
    /// The time in the peer's PING that is to be answered.
    pong_due: Option<u64>,
    /// When the last PONG was sent, in µs modulo 2^32, until it is answered.
    ponged_us: Option<u32>,
    pongack_due: bool,
    /// What to add to the caller's clock to have µs since 1970.
    unix_offset_us: u64,
    /// Of the last round trip.
    pub(crate) rtt_us: u32,
}

impl Link {
    pub(crate) const fn new(seed: u32) -> Self {
        Self {
            state: State::DOWN_AT_ONCE,
            // Xorshift never leaves 0.
            random: if seed == 0 { 1 } else { seed },
            last_ping: None,
            pong_due: None,
            ponged_us: None,
            pongack_due: false,
            unix_offset_us: 0,
            rtt_us: 0,
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        !matches!(self.state, State::Down { .. })
    }

    pub(crate) const fn last_ping(&self) -> Option<u64> {
        self.last_ping
    }

    pub(crate) const fn set_unix_time(&mut self, now: Instant, unix_us: u64) {
        self.unix_offset_us = unix_us.wrapping_sub(now.as_micros());
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Down { is_due: true, .. } => None,
            State::Down { retry_at: at, .. }
            | State::Up { ping_at: at }
            | State::Probing { until: at, .. } => Some(at),
        }
    }

    /// Asks for a PING now.
    pub(crate) fn ping(&mut self, now: Instant, config: &Config) {
        match &mut self.state {
            // Counted from now, not from the time that was planned: after a sleep of the whole
            // machine nobody could have sent it.
            State::Up { .. } => {
                let until = now.plus_millis(config.pong_ms.max(1));
                self.state = State::Probing { until, ping_due: true };
            }
            State::Down { is_due, .. } => *is_due = true,
            State::Probing { .. } => {}
        }
    }

    /// What is due by now becomes due. True if the peer has not answered in time.
    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config) -> bool {
        match self.state {
            State::Up { ping_at: at } | State::Down { retry_at: at, .. } => {
                // Called early, it does nothing.
                if now >= at {
                    self.ping(now, config);
                }
                false
            }
            State::Probing { until, .. } => now >= until,
        }
    }

    /// Goes down, to begin the handshake at once.
    pub(crate) const fn go_down(&mut self) {
        self.state = State::DOWN_AT_ONCE;
        self.last_ping = None;
        self.pong_due = None;
        self.ponged_us = None;
        self.pongack_due = false;
    }

    /// Goes down, if it was up, but leaves the handshake to the peer for a while.
    pub(crate) fn receive_reset(&mut self, now: Instant, config: &Config) {
        if let State::Down { reset_came, .. } = &mut self.state {
            *reset_came = true;
            return;
        }
        self.go_down();
        let retry_at = now.plus_millis(self.wait(0, config));
        self.state = State::Down { retry_at, is_due: false, attempt: 0, reset_came: true };
    }

    pub(crate) fn receive_ping(&mut self, now: Instant, sent_us: u64, config: &Config) {
        let later = now.plus_millis(self.wait(0, config));
        match &mut self.state {
            State::Down { reset_came: false, .. } => return,
            State::Down { retry_at, attempt, .. } => {
                // The peer's handshake is under way: a RESET_TRANSPORT of ours would break it.
                *retry_at = later.max(*retry_at);
                *attempt = 0;
            }
            State::Up { .. } | State::Probing { .. } => {}
        }
        self.pong_due = Some(sent_us);
    }

    pub(crate) fn receive_pong(
        &mut self,
        now: Instant,
        echo_us: u64,
        config: &Config,
    ) -> Option<Proof> {
        if self.last_ping != Some(echo_us) {
            return None;
        }
        self.last_ping = None;
        self.pongack_due = true;
        let rtt_us = now.micros_since(Instant::from_micros(echo_us));
        Some(self.proof(now, rtt_us, config))
    }

    pub(crate) fn receive_pongack(&mut self, now: Instant, config: &Config) -> Option<Proof> {
        let sent_us = self.ponged_us.take()?;
        let rtt_us = (now.as_micros() as u32).wrapping_sub(sent_us);
        Some(self.proof(now, rtt_us, config))
    }

    fn proof(&mut self, now: Instant, rtt_us: u32, config: &Config) -> Proof {
        let is_new = !self.is_up();
        self.rtt_us = rtt_us;
        self.state = State::Up { ping_at: now.plus_millis(self.shortened(config.ping_ms)) };
        Proof { rtt_us, is_new }
    }

    /// Writes what is due into a buffer of [`crate::TRANSMIT_MIN`] bytes or more.
    pub(crate) fn transmit(&mut self, now: Instant, config: &Config, out: &mut [u8]) -> usize {
        let mut used = 0;
        self.handle_timeout(now, config);
        let ping = MuxFrame::Ping { sent_us: now.as_micros() };
        match self.state {
            State::Down { is_due: true, attempt, reset_came, .. } => {
                put(out, &mut used, &MuxFrame::Reset);
                put(out, &mut used, &ping);
                self.last_ping = Some(now.as_micros());
                self.ponged_us = None;
                let retry_at = now.plus_millis(self.wait(attempt, config));
                let attempt = attempt.saturating_add(1);
                self.state = State::Down { retry_at, is_due: false, attempt, reset_came };
            }
            State::Probing { until, ping_due: true } => {
                put(out, &mut used, &ping);
                self.last_ping = Some(now.as_micros());
                self.state = State::Probing { until, ping_due: false };
            }
            State::Down { .. } | State::Up { .. } | State::Probing { ping_due: false, .. } => {}
        }
        if let Some(echo_us) = self.pong_due.take() {
            put(out, &mut used, &MuxFrame::Pong { echo_us, sent_us: now.as_micros() });
            self.ponged_us = Some(now.as_micros() as u32);
        }
        if self.pongack_due {
            self.pongack_due = false;
            let unix_us = now.as_micros().wrapping_add(self.unix_offset_us);
            put(out, &mut used, &MuxFrame::PongAck { unix_us });
        }
        used
    }

    /// The wait after an attempt, in ms.
    fn wait(&mut self, attempt: u8, config: &Config) -> u32 {
        let longest = config.retry_max_ms;
        let wait = config.retry_first_ms.checked_shl(u32::from(attempt.min(16)));
        self.shortened(wait.unwrap_or(longest).min(longest))
    }

    /// Up to a quarter less, by chance, but never 0.
    fn shortened(&mut self, ms: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let less = (u64::from(ms / 4) * u64::from(self.random)) >> 32;
        (ms - less as u32).max(1)
    }
}
