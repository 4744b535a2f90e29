//! What programs see through a [`Handle`].

use std::collections::HashMap;

use super::view::{ConnectionView, FailureView, LineView, ProxyView, SessionView, StreamtypeView};
use super::{Observer, TransactionFeed, now};
use crate::server::Handle;

/// What an observed proxy shows; see [`Config::observe`](crate::Config::observe).
///
/// All of it is as it is at the moment of the call, in plain data.
#[derive(Clone, Debug)]
pub struct Observed {
    handle: Handle,
    observer: std::sync::Arc<Observer>,
}

impl Handle {
    /// What the proxy shows of itself; `None` without [`Config::observe`](crate::Config::observe).
    ///
    /// ```
    /// use sspc_policy::Policy;
    /// use sspc_proxy::{Config, Proxy};
    ///
    /// let mut config = Config::new(Policy::builtin());
    /// config.observe = true;
    /// let proxy = Proxy::new(config)?;
    /// let observed = proxy.handle().observed().expect("it is observed");
    /// assert_eq!(observed.sessions().len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observed(&self) -> Option<Observed> {
        let observer = self.shared.observer.clone()?;
        Some(Observed { handle: self.clone(), observer })
    }
}

impl Observed {
    pub(super) const fn observer(&self) -> &std::sync::Arc<Observer> {
        &self.observer
    }

    /// The proxy as a whole.
    pub fn proxy(&self) -> ProxyView {
        let shared = &self.handle.shared;
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        ProxyView {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started_at: self.observer.started_at,
            now: now(),
            is_accepting: shared.is_accepting(),
            listeners: shared.listening(),
            sessions: shared.counts.sessions_open.read(),
            sessions_max: size(shared.sessions_max()),
            memory_held: shared.counts.memory_held.read(),
            memory_max: size(shared.memory.bound()),
            streamtypes: self.handle.policy().streamtypes.len(),
        }
    }

    /// Sessions that have a stream, the oldest first.
    pub fn sessions(&self) -> Vec<SessionView> {
        let sessions: Vec<_> = self.observer.sessions().values().cloned().collect();
        let mut views: Vec<_> = sessions.iter().map(|session| session.view()).collect();
        views.sort_by_key(|session| session.id);
        views
    }

    /// The session of this number.
    pub fn session(&self, id: u64) -> Option<SessionView> {
        let session = self.observer.sessions().get(&id).cloned();
        session.map(|session| session.view())
    }

    /// Lines that are served.
    pub fn lines(&self) -> Vec<LineView> {
        self.observer.lines.view()
    }

    /// Onward connections that are open, the oldest first, and whose transactions run on them.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let mut views = self.observer.connections.view();
        let sessions: Vec<_> = self.observer.sessions().values().cloned().collect();
        let mut users = HashMap::<u64, Vec<u64>>::new();
        for session in sessions {
            if let Some(connection) = session.connection() {
                users.entry(connection).or_default().push(session.id);
            }
        }
        for view in &mut views {
            view.sessions = users.remove(&view.id).unwrap_or_default();
            view.sessions.sort_unstable();
        }
        views
    }

    /// Recent failures, the latest first; those of one kind, client and streamtype are one.
    pub fn failures(&self) -> Vec<FailureView> {
        self.observer.failures.view()
    }

    /// What streams did, by streamtype.
    pub fn streamtypes(&self) -> Vec<StreamtypeView> {
        let mut views = self.observer.streamtypes.view();
        let mut live = HashMap::<(&str, &str), (u64, u64)>::new();
        let sessions: Vec<_> = self.observer.sessions().values().cloned().collect();
        for session in &sessions {
            let streamtype = &session.streamtype;
            let sum = live.entry((&streamtype.name, &streamtype.protocol)).or_default();
            let (from_client, to_client) = session.passed();
            *sum = (sum.0 + from_client, sum.1 + to_client);
        }
        for view in &mut views {
            if let Some((from, to)) = live.get(&(&*view.streamtype, &*view.protocol)) {
                view.from_clients += from;
                view.to_clients += to;
            }
        }
        views
    }

    /// Transactions as they end, from now on.
    pub fn transactions(&self) -> TransactionFeed {
        TransactionFeed::new(self.observer.ended.subscribe())
    }
}
