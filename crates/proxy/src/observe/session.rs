//! A session as its stream shows it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sspc_policy::StreamType;
use sspc_wire::State;

use super::streamtypes::StreamtypeCounts;
use super::transaction::{Outcome, Record, Transaction};
use super::view::{SessionView, TransactionView};
use super::{Observer, failures, now};
use crate::onward::{End, Event};
use crate::session::Peer;

/// What a stream writes and observers read.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) peer: Peer,
    pub(super) streamtype: Arc<StreamtypeCounts>,
    created_at: u64,
    /// The code of the last state.
    state: AtomicU32,
    from_client: AtomicU64,
    to_client: AtomicU64,
    transactions: AtomicU64,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    running: Option<Arc<Transaction>>,
    /// The last one that ended, if it failed.
    error: Option<Arc<TransactionView>>,
}

impl Session {
    pub(super) fn new(id: u64, peer: Peer, streamtype: Arc<StreamtypeCounts>) -> Self {
        streamtype.begin();
        Self {
            id,
            peer,
            streamtype,
            created_at: now(),
            state: AtomicU32::new(State::Creating.code()),
            from_client: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            latest: Mutex::default(),
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of payload so far, from the client and to it.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.from_client.load(Ordering::Relaxed), self.to_client.load(Ordering::Relaxed))
    }

    /// The transaction that runs on a connection.
    pub(super) fn connection(&self) -> Option<u64> {
        self.latest().running.as_ref()?.connection()
    }

    pub(super) fn view(&self) -> SessionView {
        let (from_client, to_client) = self.passed();
        let latest = self.latest();
        SessionView {
            id: self.id,
            client: self.peer.identity().to_string(),
            peer: self.peer.to_string(),
            streamtype: self.streamtype.name.clone(),
            protocol: self.streamtype.protocol.clone(),
            state: State::from_code(self.state.load(Ordering::Relaxed)).to_string(),
            created_at: self.created_at,
            from_client,
            to_client,
            transactions: self.transactions.load(Ordering::Relaxed),
            transaction: latest.running.as_ref().map(|running| running.view(self)),
            last_error: latest.error.as_deref().cloned(),
        }
    }
}

/// A stream's hold on what observers see of it.
#[derive(Debug)]
pub(crate) struct Watched {
    observer: Arc<Observer>,
    session: Arc<Session>,
    running: Option<Arc<Transaction>>,
    /// What the peer said of the message or the transaction.
    verdict: Option<Outcome>,
}

impl Watched {
    pub(super) const fn new(observer: Arc<Observer>, session: Arc<Session>) -> Self {
        Self { observer, session, running: None, verdict: None }
    }

    /// The client was told this state.
    pub(crate) fn state(&self, state: State) {
        self.session.state.store(state.code(), Ordering::Relaxed);
    }

    /// So many bytes of payload passed so far, from the client and to it.
    pub(crate) fn passed(&self, (from_client, to_client): (u64, u64)) {
        self.session.from_client.store(from_client, Ordering::Relaxed);
        self.session.to_client.store(to_client, Ordering::Relaxed);
    }

    /// A transaction begins; what its attempt writes.
    pub(crate) fn begin(&mut self, stream: &StreamType) -> Record {
        self.end(Outcome::Left);
        let id = self.observer.next_transaction();
        let passed = self.session.passed();
        let transaction = Arc::new(Transaction::new(id, passed, stream.protocol.is_http()));
        self.session.transactions.fetch_add(1, Ordering::Relaxed);
        self.session.latest().running = Some(Arc::clone(&transaction));
        self.running = Some(Arc::clone(&transaction));
        self.verdict = None;
        Record::new(transaction)
    }

    /// The transaction's attempt reports.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Connected { .. } => {
                if let Some(running) = &self.running {
                    running.connected();
                }
            }
            Event::Acked { .. } => self.verdict = Some(Outcome::Acked),
            Event::Nacked { .. } => self.verdict = Some(Outcome::Nacked),
            Event::Ended(End::Complete) => {
                let outcome = self.verdict.take().unwrap_or(Outcome::Acked);
                self.end(outcome);
            }
            Event::Ended(End::Failed(failure)) => {
                self.end(Outcome::Failed { kind: failure.kind, why: failure.why.clone() });
            }
            _ => {}
        }
    }

    /// The transaction that runs, if there is one, is over.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        let Some(running) = self.running.take() else { return };
        let session = &self.session;
        // A request that has its verdict is over, though its client left before its attempt ended.
        let outcome = match (outcome, self.verdict.take()) {
            (Outcome::Left, Some(verdict)) if running.is_http => verdict,
            (outcome, _) => outcome,
        };
        running.end(outcome);
        let view = Arc::new(running.view(session));
        let Some(label) = view.outcome else { return };
        running.count(&session.streamtype);
        session.streamtype.ended(label);
        let is_error = view.whose.is_some() || label == "nacked";
        let mut latest = session.latest();
        latest.running = None;
        latest.error = is_error.then(|| Arc::clone(&view));
        drop(latest);
        if is_error {
            self.observer.failures.add(failures::Seen {
                kind: label,
                whose: view.whose.unwrap_or("upstream"),
                client: view.client.clone(),
                streamtype: Some(view.streamtype.clone()),
                status: view.status,
                why: view.why.clone().unwrap_or_else(|| refusal(&view)),
            });
        }
        // Without followers there is nobody to tell.
        let _ = self.observer.ended.send(view);
    }
}

/// What a verdict that says no means.
fn refusal(view: &TransactionView) -> String {
    let endpoint = view.endpoint.as_deref().unwrap_or("the server");
    match view.status {
        Some(status) => format!("{endpoint} answered with {status}"),
        None => format!("{endpoint} refused the message"),
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(Outcome::Left);
        self.observer.sessions().remove(&self.session.id);
        let (from_client, to_client) = self.session.passed();
        self.session.streamtype.end(from_client, to_client);
    }
}
