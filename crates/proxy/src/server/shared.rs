//! What all parts of a proxy share: its state, and how it drains.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sspc_policy::Policy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admitted;
use super::shards::Shards;
use super::tls::Handshakes;
use crate::access::Gate;
use crate::config::Config;
use crate::counters::Counts;
use crate::descriptors::Descriptors;
use crate::memory::Memory;
use crate::observe::Observer;
use crate::onward::{Onward, OnwardConfig};
use crate::smd::{Bounds, Bridge, Smd};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) policy: Mutex<Arc<Policy>>,
    pub(crate) onward: Arc<Onward>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) admitted: Mutex<Admitted>,
    /// Strangers over TLS.
    pub(crate) handshakes: Mutex<Handshakes>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) smd: Smd,
    /// To the buses of other proxies.
    pub(crate) bridge: Option<Bridge>,
    pub(crate) shards: Shards,
    /// Who may do what.
    pub(crate) gate: Arc<Gate>,
    /// Sees what happens, if the configuration asks for it.
    pub(crate) observer: Option<Arc<Observer>>,
    /// Where the proxy listens, once it does.
    listening: OnceLock<Vec<String>>,
    next_id: AtomicU64,
    pub(crate) sessions: TaskTracker,
    /// Lines, which outlive their sessions by what is still to be sent.
    pub(crate) lines: TaskTracker,
    /// Nothing more is accepted.
    pub(crate) stopping: CancellationToken,
    /// No new transactions; idle streams end.
    pub(crate) draining: CancellationToken,
    /// Every stream ends now.
    pub(crate) closing: CancellationToken,
}

impl Shared {
    pub(crate) fn new(config: Config, shards: Shards) -> Self {
        let counts = Arc::<Counts>::default();
        let memory = Memory::new(config.limits.memory.resolve(), Arc::clone(&counts));
        let bounds = Bounds {
            queue: config.limits.smd_queue,
            ttl: config.timeouts.smd_ttl,
            rate: config.limits.smd_rate,
        };
        let smd = Smd::new(bounds, Arc::clone(&counts));
        let gate = Gate::new(config.access.clone());
        let observer = config.observe.then(Observer::new);
        let onward = OnwardConfig {
            memory: Arc::clone(&memory),
            limits: config.limits.clone(),
            timeouts: config.timeouts.clone(),
            credentials: config.credentials.clone().into(),
            sharing: config.sharing,
            descriptors: Arc::default(),
            allow_to: config.allow_to.clone(),
            ways_out: config.ways_out.clone(),
            names: config.names.clone(),
            smd: config.smd.then(|| smd.clone()),
            observer: observer.clone(),
        };
        let bridge = config
            .smd_bridge
            .clone()
            .map(|settings| Bridge::new(settings, &onward, &config.policy));
        let onward = Onward::new(onward);
        onward.cookies().restore(config.cookies.clone());
        Self {
            policy: Mutex::new(Arc::clone(&config.policy)),
            onward,
            config,
            admitted: Mutex::default(),
            handshakes: Mutex::default(),
            counts,
            memory,
            smd,
            bridge,
            shards,
            gate,
            observer,
            listening: OnceLock::new(),
            next_id: AtomicU64::new(1),
            sessions: TaskTracker::new(),
            lines: TaskTracker::new(),
            stopping: CancellationToken::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        }
    }

    /// The process's descriptors.
    pub(crate) fn descriptors(&self) -> &Arc<Descriptors> {
        self.onward.descriptors()
    }

    /// It listens there from now on.
    pub(super) fn listens(&self, addresses: Vec<String>) {
        // A proxy runs once.
        let _ = self.listening.set(addresses);
    }

    /// Where it listens; nowhere before it runs.
    pub(crate) fn listening(&self) -> Vec<String> {
        self.listening.get().cloned().unwrap_or_default()
    }

    /// Whether it takes clients.
    pub(crate) fn is_accepting(&self) -> bool {
        self.listening.get().is_some() && !self.stopping.is_cancelled()
    }

    /// A number that no session or line had.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// A lock whose holder panicked guards plain data: it is as good as before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
