//! One accepted link: one stream, one task.

#![allow(dead_code, reason = "the session is on its way")]

mod link;

use std::sync::Arc;

use sspc_policy::Policy;
use tokio_util::sync::CancellationToken;

pub(crate) use self::link::{LinkReader, LinkWriter};
use crate::config::{Limits, Timeouts};
use crate::counters::Counts;
use crate::onward::Onward;

/// What a session has of its proxy.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) policy: Arc<Policy>,
    pub(crate) onward: Arc<Onward>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// The stream ends as soon as it is idle.
    pub(crate) draining: CancellationToken,
    /// The stream ends now.
    pub(crate) closing: CancellationToken,
}

/// Serves one link until it ends.
pub(crate) async fn run<R: LinkReader, W: LinkWriter>(
    _surroundings: Surroundings,
    _reader: R,
    _writer: W,
) {
}
