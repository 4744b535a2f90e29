//! What a proxy has done, in numbers. A new number is one entry of the list below, and the place
//! that counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::onward::{FailureKind, Whose};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What a proxy has done since it was made; a snapshot.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// [`Counters`] as they count.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $(pub(crate) $name: Count,)+
        }

        impl Counts {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.read(),)+ }
            }
        }
    };
}

counters! {
    /// Sessions that are open now: links with or without a stream.
    sessions_open,
    /// Sessions that were ever opened.
    sessions_total,
    /// Sessions that were turned away because a limit was reached.
    over_limit,
    /// Streams that were refused with CREATE_RESULT 1.
    refused,
    /// Links that were closed because of what the client sent.
    protocol_errors,
    /// Accepts that failed.
    accept_errors,
    /// Attempts to connect onward.
    attempts,
    /// Attempts that failed or were cut off because of the remote peer or the network; a websocket
    /// or raw connection that the peer ended in the ordinary way counts too.
    failures_upstream,
    /// Attempts that failed because of what the client set or sent.
    failures_client,
    /// Attempts that failed because of what the policy asks for.
    failures_policy,
    /// Attempts that failed because of this proxy or its machine.
    failures_local,
    /// Bytes of payload that came from clients.
    bytes_from_clients,
    /// Bytes of payload that went to clients.
    bytes_to_clients,
    /// System messages of clients and of the proxy that were given to all who wanted them.
    smd_messages,
    /// System messages of clients that were refused because they were too long or too short.
    smd_refused,
    /// How often a client lost a system message because it did not read in time.
    smd_lost,
    /// Bytes that wait in the proxy now, with what the waiting itself takes;
    /// [`Limits::memory`](crate::Limits::memory) bounds them.
    memory_held,
    /// Lines whose link is up now.
    links_up,
    /// How often a line's link was lost.
    link_losses,
    /// Channels of lines that were closed because more came on them than could be held.
    overflows,
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

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// An attempt is over without a complete transaction.
    pub(crate) fn attempt_failed(&self, kind: FailureKind) {
        match kind.whose() {
            Whose::Upstream => self.failures_upstream.add(1),
            Whose::Client => self.failures_client.add(1),
            Whose::Policy => self.failures_policy.add(1),
            Whose::Local => self.failures_local.add(1),
        }
    }
}
