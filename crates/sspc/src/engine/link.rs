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

use super::{ConnectIntent, Engine, Hint, LinkState, Pending};
use sspc_wire::Instant;

/// Where the link stands; see [`Engine::link_at`] for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It is gone for good. The first, so that it is 0: see [`crate::Slot::vacant`].
    Closed,
    /// There is none; it is to be opened at the time.
    Down,
    /// The caller was asked to open it.
    Opening,
    /// It is up; STREAMTYPE is to be sent.
    Greeting,
    /// STREAMTYPE was sent; CREATE_RESULT must come until the time.
    Asking,
    /// The stream exists at the proxy.
    Created,
    /// DESTROYING is to be sent.
    Closing,
    /// It is to be dropped; the caller is to be asked to.
    Dropping,
    /// The caller was asked to drop it.
    Dropped,
}

/// What the caller is to do with the link; it answers with `link_up` or `link_down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Open it.
    Open,
    /// Close it, or stop opening it. What was transmitted before is still to be written.
    Drop,
}

impl Engine {
    pub(crate) fn poll_link(&mut self, now: Instant) -> Option<LinkAction> {
        match self.link {
            Link::Down if now >= self.link_at => {
                self.begin_trying(now);
                self.link = Link::Opening;
                Some(LinkAction::Open)
            }
            Link::Dropping => {
                self.link = Link::Dropped;
                Some(LinkAction::Drop)
            }
            Link::Down
            | Link::Opening
            | Link::Greeting
            | Link::Asking
            | Link::Created
            | Link::Closing
            | Link::Dropped
            | Link::Closed => None,
        }
    }

    /// [`Instant::NEVER`] for none.
    pub(crate) const fn deadline(&self) -> Instant {
        match self.link {
            Link::Down | Link::Greeting | Link::Asking => self.link_at,
            Link::Opening
            | Link::Created
            | Link::Closing
            | Link::Dropping
            | Link::Dropped
            | Link::Closed => Instant::NEVER,
        }
    }

    /// The link is to be dropped.
    pub(super) const fn drop_link(&mut self) {
        self.link = Link::Dropping;
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.link, Link::Greeting | Link::Asking) && now >= self.link_at {
            self.tell(Pending::NO_ANSWER);
            self.tell_retry(now);
            self.lose(now);
            self.drop_link();
        }
    }

    pub(crate) fn link_up(&mut self, now: Instant) {
        match self.link {
            Link::Down | Link::Opening => {}
            _ if !self.lives => return,
            // The caller did not say that the former link is gone.
            _ => self.lose_and_tell(now),
        }
        self.begin_trying(now);
        self.link = Link::Greeting;
        self.link_at = now.plus_millis(self.config.handshake_ms);
    }

    /// The ms tried are counted from the first attempt.
    fn begin_trying(&mut self, now: Instant) {
        if !self.tried {
            self.tried = true;
            self.since = now;
        }
    }

    pub(crate) fn link_down(&mut self, now: Instant) {
        match self.link {
            Link::Down | Link::Closed => return,
            Link::Opening | Link::Greeting | Link::Asking => {
                self.tell_retry(now);
                self.lose(now);
            }
            Link::Created | Link::Closing => self.lose_and_tell(now),
            // What drops the link has told its reason.
            Link::Dropping | Link::Dropped => {}
        }
        if !self.lives {
            self.link = Link::Closed;
        } else {
            self.link = Link::Down;
            self.link_at = now.plus_millis(self.next_wait());
        }
    }

    /// The wait before the next attempt in ms, longer each time until the table's end.
    fn next_wait(&mut self) -> u32 {
        let table = self.config.backoff_ms.unwrap_or_default();
        let last = table.last().copied().unwrap_or(1000);
        let wait = table.get(usize::from(self.attempts)).copied().unwrap_or(last);
        self.attempts = self.attempts.saturating_add(1);
        let most = wait.saturating_mul(u32::from(self.config.jitter_percent)) / 100;
        wait.saturating_add(self.random.below(most))
    }

    pub(crate) fn close(&mut self) {
        if !self.lives {
            return;
        }
        self.end();
        self.tell(Pending::DESTROYING);
        self.link = match self.link {
            Link::Down | Link::Closed => Link::Closed,
            Link::Created => Link::Closing,
            Link::Opening | Link::Greeting | Link::Asking | Link::Closing | Link::Dropping => {
                Link::Dropping
            }
            Link::Dropped => Link::Dropped,
        };
    }

    /// The link is to be dropped and made again, with the stream. The application, which wants it
    /// so, hears of the connection alone.
    pub(crate) fn abandon(&mut self, now: Instant) {
        self.tx_wanted = false;
        self.hint = Hint::None;
        if self.is_created() {
            self.lose(now);
            self.intent = ConnectIntent::Idle;
            self.drop_link();
        }
    }

    /// What the proxy ended goes on.
    pub(crate) fn revive(&mut self, now: Instant) {
        self.lives = true;
        if self.link == Link::Closed {
            self.link = Link::Dropped;
            self.link_down(now);
        }
        self.lose(now);
        self.tell(Pending::DISCONNECTED);
        if self.asked {
            self.intent = ConnectIntent::Wanted;
        }
    }

    /// The stream's life is over, but for what is left to be told and sent.
    pub(super) fn end(&mut self) {
        self.lives = false;
        self.pending = 0;
        self.connected = false;
        self.tx_wanted = false;
        self.intent = ConnectIntent::Idle;
    }

    /// Loses the link against the application's will. If the stream was there the application
    /// hears of it even if the next attempt succeeds: a proxy may hang up again and again over
    /// what it is sent.
    pub(super) fn lose_and_tell(&mut self, now: Instant) {
        let was_created = self.is_created();
        self.lose(now);
        if was_created {
            self.tell_retry(now);
        }
    }

    /// The stream is no longer at the proxy, or never was; what it had to know is to be sent again.
    pub(super) fn lose(&mut self, now: Instant) {
        if self.is_created() {
            // A link that held for a while and was of use starts the waits over; one that flaps,
            // or whose proxy hangs up before anything comes of the stream, does not.
            let calm_ms =
                self.config.backoff_ms.and_then(<[u32]>::last).copied().unwrap_or_default();
            if self.link_state.progressed && now >= self.since.plus_millis(calm_ms) {
                self.attempts = 0;
            }
            self.since = now;
            self.tried = true;
        }
        if self.connected {
            self.tell(Pending::DISCONNECTED);
        }
        self.disconnected();
        if matches!(
            self.intent,
            ConnectIntent::Asked | ConnectIntent::Used | ConnectIntent::Retrying
        ) {
            self.intent =
                if self.config.reconnect { ConnectIntent::Wanted } else { ConnectIntent::Idle };
        }
        self.timeout_pending = self.timeout.is_some();
        self.metadata.link_lost();
        self.link_state = LinkState::NEW;
    }

    /// The stream exists at the proxy.
    pub(super) fn created(&mut self, now: Instant) {
        self.link = Link::Created;
        self.since = now;
        self.tried = false;
        #[cfg(feature = "std")]
        if self.config.smd_classes.is_some() {
            self.add_credit(self.config.window as i32);
        }
    }

    fn tell_retry(&mut self, now: Instant) {
        self.pending_ordinal = now.millis_since(self.since);
        self.tell(Pending::RETRY);
    }
}
