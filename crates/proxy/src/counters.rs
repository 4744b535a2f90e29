//! What a proxy has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a proxy has done since it was made; a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Sessions that are open now: links with or without a stream.
    pub sessions_open: u64,
    /// Sessions that were ever opened.
    pub sessions_total: u64,
    /// Sessions that were turned away because a limit was reached.
    pub over_limit: u64,
    /// Streams that were refused with CREATE_RESULT 1.
    pub refused: u64,
    /// Links that were closed because of what the client sent.
    pub protocol_errors: u64,
    /// Accepts that failed.
    pub accept_errors: u64,
    /// Attempts to connect onward.
    pub attempts: u64,
    /// Bytes of payload that came from clients.
    pub bytes_from_clients: u64,
    /// Bytes of payload that went to clients.
    pub bytes_to_clients: u64,
    /// Lines whose link is up now.
    pub links_up: u64,
    /// How often a line's link was lost.
    pub link_losses: u64,
    /// Channels of lines that were closed because more came on them than could be held.
    pub overflows: u64,
}

/// One of [`Counters`] as it counts.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// [`Counters`] as they count.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sessions_open: Count,
    pub(crate) sessions_total: Count,
    pub(crate) over_limit: Count,
    pub(crate) refused: Count,
    pub(crate) protocol_errors: Count,
    pub(crate) accept_errors: Count,
    pub(crate) attempts: Count,
    pub(crate) bytes_from_clients: Count,
    pub(crate) bytes_to_clients: Count,
    pub(crate) links_up: Count,
    pub(crate) link_losses: Count,
    pub(crate) overflows: Count,
}

impl Counts {
    pub(crate) fn snapshot(&self) -> Counters {
        Counters {
            sessions_open: self.sessions_open.read(),
            sessions_total: self.sessions_total.read(),
            over_limit: self.over_limit.read(),
            refused: self.refused.read(),
            protocol_errors: self.protocol_errors.read(),
            accept_errors: self.accept_errors.read(),
            attempts: self.attempts.read(),
            bytes_from_clients: self.bytes_from_clients.read(),
            bytes_to_clients: self.bytes_to_clients.read(),
            links_up: self.links_up.read(),
            link_losses: self.link_losses.read(),
            overflows: self.overflows.read(),
        }
    }
}
