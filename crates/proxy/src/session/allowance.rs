//! A stream's part of its client's quotas: what it may do, and when it has to wait.

use tokio::time::Instant;

use crate::access::Pass;

/// What the stream may do, and until when it waits.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) pass: Pass,
    /// No payload passes before.
    closed_until: Option<Instant>,
    /// A transaction begins then.
    starts_at: Option<Instant>,
}

impl Allowance {
    pub(super) const fn new(pass: Pass) -> Self {
        Self { pass, closed_until: None, starts_at: None }
    }

    /// Whether payload may pass.
    pub(super) const fn is_open(&self) -> bool {
        self.closed_until.is_none()
    }

    /// So much payload passed.
    pub(super) fn passed(&mut self, bytes: u64) {
        let now = Instant::now();
        let wait = self.pass.take_bytes(now, bytes);
        if !wait.is_zero() {
            self.closed_until = now.checked_add(wait);
        }
    }

    /// Whether a transaction may begin now; if not, [`Allowance::starts`] says when it may.
    pub(super) fn may_start(&mut self) -> bool {
        let now = Instant::now();
        let wait = self.pass.take_request(now);
        self.starts_at = if wait.is_zero() { None } else { now.checked_add(wait) };
        self.starts_at.is_none()
    }

    /// The transaction that waits does not begin.
    pub(super) fn stop(&mut self) {
        self.starts_at = None;
    }

    /// When something has to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.closed_until, self.starts_at].into_iter().flatten().min()
    }

    /// Lets payload pass if it is time; whether a transaction that waited is to be begun.
    pub(super) fn starts(&mut self, now: Instant) -> bool {
        if self.closed_until.is_some_and(|at| at <= now) {
            self.closed_until = None;
        }
        let starts = self.starts_at.is_some_and(|at| at <= now);
        if starts {
            self.starts_at = None;
        }
        starts
    }
}
