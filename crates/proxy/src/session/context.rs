//! What a session has of its proxy.

use std::sync::Arc;

use sspc_policy::Policy;
use tokio_util::sync::CancellationToken;

use super::close_reason::Excess;
use super::peer::Peer;
use crate::access::Gate;
use crate::config::{Limits, Timeouts};
use crate::counters::Counts;
use crate::memory::Memory;
use crate::observe::Observer;

/// What a session has of its proxy.
#[derive(Clone, Debug)]
pub(crate) struct SessionContext<D> {
    /// The session's number, for logs.
    pub(crate) id: u64,
    pub(crate) peer: Peer,
    /// Why the stream is refused whatever its name is.
    pub(crate) excess: Option<Excess>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) starter: D,
    pub(crate) observer: Option<Arc<Observer>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// The stream ends as soon as nothing runs.
    pub(crate) draining: CancellationToken,
    /// The stream ends now.
    pub(crate) closing: CancellationToken,
}
