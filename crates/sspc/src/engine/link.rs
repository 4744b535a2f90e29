//! The link's life: when it is to be opened, that it must answer, how it is lost.
//!
//! ```text
//!            poll_link: Open          link_up               CREATE_RESULT 0
//!   Down ───────────────────► Opening ───────► Greeting ───────────────────► Created
//!    ▲ ▲         link_down       │  link_down     │                             │
//!    │ └─────────────────────────┴────────────────┴─────────────────────────────┤
//!    │                             fault, refusal, no answer, the proxy's       │
//!    │ link_down                   DESTROYING                                   │
//!    └──────────── Dropping ◄────────────────────────────────────────────────── ┤
//!                     ▲  DESTROYING sent                                 close  │
//!                     └──────────────────── Closing ◄───────────────────────────┘
//! ```
//!
//! An ended stream goes to Closed where another goes to Down.

use super::{Code, Engine, Hint, Onward, Pending};
use sspc_wire::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// There is none; it is to be opened at this time.
    Down { retry_at: Instant },
    /// The caller was asked to open it.
    Opening,
    /// It is up; CREATE_RESULT must come until this time.
    Greeting { until: Instant, streamtype_sent: bool },
    /// The stream exists at the proxy.
    Created,
    /// DESTROYING is to be sent.
    Closing,
    /// It is to be dropped; the caller was asked to or not.
    Dropping { asked: bool },
    /// It is gone for good.
    Closed,
}

/// What the caller is to do with the link; it answers with `link_up` or `link_down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkWish {
    /// Open it.
    Open,
    /// Close it, or stop opening it. What was transmitted before is still to be written.
    Drop,
}

/// The waits between attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    random: u32,
    attempt: u8,
}

impl Backoff {
    pub(super) const fn new(seed: u32) -> Self {
        // Xorshift never leaves 0.
        Self { random: if seed == 0 { 1 } else { seed }, attempt: 0 }
    }

    /// The next wait in ms, longer each time until the table's end.
    fn next(&mut self, table: &[u32], jitter_percent: u8) -> u32 {
        let last = table.last().copied().unwrap_or(1000);
        let wait = table.get(usize::from(self.attempt)).copied().unwrap_or(last);
        self.attempt = self.attempt.saturating_add(1);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let most = wait.saturating_mul(u32::from(jitter_percent)) / 100;
        let extra = (u64::from(most) * u64::from(self.random)) >> 32;
        wait.saturating_add(extra as u32)
    }
}

impl Engine {
    pub(crate) fn poll_link(&mut self, now: Instant) -> Option<LinkWish> {
        match self.link {
            Link::Down { retry_at } if now >= retry_at => {
                if self.untried {
                    self.untried = false;
                    self.since = now;
                }
                self.link = Link::Opening;
                Some(LinkWish::Open)
            }
            Link::Dropping { asked: false } => {
                self.link = Link::Dropping { asked: true };
                Some(LinkWish::Drop)
            }
            Link::Down { .. }
            | Link::Opening
            | Link::Greeting { .. }
            | Link::Created
            | Link::Closing
            | Link::Dropping { asked: true }
            | Link::Closed => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.link {
            Link::Down { retry_at } => Some(retry_at),
            Link::Greeting { until, .. } => Some(until),
            Link::Opening
            | Link::Created
            | Link::Closing
            | Link::Dropping { .. }
            | Link::Closed => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, storage: &mut [u8]) {
        if let Link::Greeting { until, .. } = self.link {
            if now >= until {
                self.tell(Pending::NoAnswer);
                self.tell_retry(now);
                self.lose(now, storage);
                self.link = Link::Dropping { asked: false };
            }
        }
    }

    pub(crate) fn link_up(&mut self, now: Instant, storage: &mut [u8]) {
        match self.link {
            Link::Closed | Link::Dropping { .. } | Link::Closing if self.ended => return,
            Link::Down { .. } | Link::Opening => {}
            // The caller did not say that the former link is gone.
            _ => self.lose_and_tell(now, storage),
        }
        if self.untried {
            self.untried = false;
            self.since = now;
        }
        self.decoder.reset();
        let until = now.plus_millis(self.config.handshake_ms);
        self.link = Link::Greeting { until, streamtype_sent: false };
    }

    pub(crate) fn link_down(&mut self, now: Instant, storage: &mut [u8]) {
        match self.link {
            Link::Down { .. } | Link::Closed => return,
            Link::Opening | Link::Greeting { .. } => {
                self.tell_retry(now);
                self.lose(now, storage);
            }
            Link::Created | Link::Closing => self.lose_and_tell(now, storage),
            // What drops the link has told its reason.
            Link::Dropping { .. } => {}
        }
        self.link = if self.ended {
            Link::Closed
        } else {
            let wait = self.backoff.next(self.config.backoff_ms, self.config.jitter_percent);
            Link::Down { retry_at: now.plus_millis(wait) }
        };
    }

    pub(crate) fn close(&mut self) {
        if self.ended {
            return;
        }
        self.end();
        self.tell(Pending::Destroying);
        self.link = match self.link {
            Link::Down { .. } | Link::Closed => Link::Closed,
            Link::Created => Link::Closing,
            Link::Opening | Link::Greeting { .. } | Link::Closing => {
                Link::Dropping { asked: false }
            }
            Link::Dropping { asked } => Link::Dropping { asked },
        };
    }

    /// The link is to be dropped and made anew, with the stream. The application, which wants it
    /// so, is told of the connection alone.
    pub(crate) fn abandon(&mut self, now: Instant, storage: &mut [u8]) {
        self.tx_wanted = false;
        self.hint = Hint::None;
        if self.is_created() {
            self.lose(now, storage);
            self.onward = Onward::Idle;
            self.link = Link::Dropping { asked: false };
        }
    }

    /// The stream's life is over, but for what is left to be told and sent.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.pending = 0;
        self.connected = false;
        self.tx_wanted = false;
        self.onward = Onward::Idle;
    }

    /// Loses the link against the application's will. If the stream was there the application
    /// hears of it even if the next attempt succeeds: a proxy may hang up again and again over
    /// what it is sent.
    pub(super) fn lose_and_tell(&mut self, now: Instant, storage: &mut [u8]) {
        let was_created = self.is_created();
        self.lose(now, storage);
        if was_created {
            self.tell_retry(now);
        }
    }

    /// The stream is no longer at the proxy, or never was; what it had to know is to be sent again.
    pub(super) fn lose(&mut self, now: Instant, storage: &mut [u8]) {
        if self.is_created() {
            // A link that held for a while and was of use begins the waits anew; one that flaps,
            // or whose proxy hangs up before anything comes of the stream, does not.
            let calm_ms = self.config.backoff_ms.last().copied().unwrap_or_default();
            if self.progressed && now.millis_since(self.since) >= calm_ms {
                self.backoff.attempt = 0;
            }
            self.since = now;
            self.untried = false;
        }
        self.progressed = false;
        if self.connected {
            self.tell(Pending::Disconnected);
        }
        self.disconnected();
        self.onward = match self.onward {
            Onward::Idle => Onward::Idle,
            Onward::Wanted => Onward::Wanted,
            Onward::Asked | Onward::Retrying if self.config.reconnect => Onward::Wanted,
            Onward::Asked | Onward::Retrying => Onward::Idle,
        };
        self.peer = Code::NONE;
        self.creating_came = false;
        self.credit_managed = false;
        self.credit = 0;
        self.top_up = 0;
        self.heard = 0;
        self.unconsumed = 0;
        self.consumed = 0;
        self.timeout_pending = self.timeout.is_some();
        self.kept.link_lost(storage);
    }

    /// The stream exists at the proxy.
    pub(super) fn created(&mut self, now: Instant) {
        self.link = Link::Created;
        self.since = now;
        self.untried = true;
    }

    fn tell_retry(&mut self, now: Instant) {
        self.pending_ordinal = now.millis_since(self.since);
        self.tell(Pending::Retry);
    }
}
