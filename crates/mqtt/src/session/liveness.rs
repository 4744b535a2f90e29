//! When to ping a broker, and when to give it up.

use std::time::{Duration, Instant};

use super::Settings;

#[derive(Debug)]
pub(super) struct Liveness {
    /// Something is sent at least this often.
    keep_alive: Option<Duration>,
    ping: Option<Duration>,
    hangup: Option<Duration>,
    ping_answer: Duration,
    sent: Instant,
    received: Instant,
    /// When a ping was sent that nothing came after.
    pinged: Option<Instant>,
    reads: bool,
}

/// A broker waits for one and a half times the keep-alive; we send after three quarters of it.
fn keep_alive(seconds: u16) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()) * 3 / 4)
}

impl Liveness {
    pub(super) fn new(settings: &Settings, keep_alive_s: u16, now: Instant) -> Self {
        Self {
            keep_alive: keep_alive(keep_alive_s),
            ping: settings.ping,
            hangup: settings.hangup,
            ping_answer: settings.ping_answer,
            sent: now,
            received: now,
            pinged: None,
            reads: true,
        }
    }

    /// The connection is up.
    pub(super) fn start(&mut self, now: Instant) {
        (self.sent, self.received) = (now, now);
    }

    /// The broker has a keep-alive of its own.
    pub(super) fn keep_alive(&mut self, seconds: u16) {
        self.keep_alive = keep_alive(seconds);
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    pub(super) fn received(&mut self, now: Instant) {
        self.received = now;
        self.pinged = None;
    }

    pub(super) fn set_reading(&mut self, reads: bool, now: Instant) {
        if reads && !self.reads {
            // What it said meanwhile is still to be read.
            self.received = now;
            self.pinged = None;
        }
        self.reads = reads;
    }

    /// When a ping is due: none while one waits for its answer, but for the keep-alive.
    fn ping_at(&self) -> Option<Instant> {
        let silent = self.ping.filter(|_| self.pinged.is_none() && self.reads);
        let silent = silent.and_then(|ping| self.received.checked_add(ping));
        let idle = self.keep_alive.and_then(|idle| self.sent.checked_add(idle));
        [silent, idle].into_iter().flatten().min()
    }

    /// When it is given up, and how long it was silent then.
    fn give_up_at(&self) -> Option<(Instant, Duration)> {
        if !self.reads {
            return None;
        }
        let silent = self.hangup.and_then(|hangup| {
            let at = self.received.checked_add(hangup)?;
            Some((at, hangup))
        });
        let unanswered = self.pinged.and_then(|pinged| {
            let at = pinged.checked_add(self.ping_answer)?;
            Some((at, at.saturating_duration_since(self.received)))
        });
        [silent, unanswered].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.ping_at(), self.give_up_at().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// How long the broker was silent, if it is given up.
    pub(super) fn given_up(&self, now: Instant) -> Option<Duration> {
        self.give_up_at().filter(|(at, _)| *at <= now).map(|(_, silent)| silent)
    }

    /// Whether to ping now; it counts as sent.
    pub(super) fn should_ping(&mut self, now: Instant) -> bool {
        let is_due = self.ping_at().is_some_and(|at| at <= now);
        if is_due {
            self.sent = now;
            self.pinged = self.pinged.or(Some(now));
        }
        is_due
    }
}
