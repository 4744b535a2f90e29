//! A transaction as its attempt shows it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::session::Session;
use super::streamtypes::StreamtypeCounts;
use super::trace::TraceContext;
use super::view::{TimesView, TransactionView};
use super::{micros, now};
use crate::onward::{FailureKind, Perf};

/// How a transaction ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Acked,
    Nacked,
    /// The client or the proxy ended it.
    Left,
    Failed {
        kind: FailureKind,
        why: String,
    },
}

/// What an attempt writes and observers read.
#[derive(Debug)]
pub(super) struct Transaction {
    id: u64,
    began_at: u64,
    began: Instant,
    /// What the session had passed then, from the client and to it.
    passed: (u64, u64),
    /// A response has a first byte; other protocols are connected.
    pub(super) is_http: bool,
    details: Mutex<Details>,
}

#[derive(Debug, Default)]
struct Details {
    /// Which trace it belongs to.
    trace: Option<TraceContext>,
    /// The span that is the client's.
    parent: Option<u64>,
    endpoint: Option<String>,
    status: Option<u16>,
    connection: Option<u64>,
    reused: Option<bool>,
    dns: Duration,
    connect: Duration,
    tls: Duration,
    /// From the beginning on.
    requested: Option<Duration>,
    first_byte: Option<Duration>,
    total: Option<Duration>,
    outcome: Option<Outcome>,
}

impl Transaction {
    pub(super) fn new(id: u64, passed: (u64, u64), is_http: bool) -> Self {
        Self {
            id,
            began_at: now(),
            began: Instant::now(),
            passed,
            is_http,
            details: Mutex::new(Details {
                trace: Some(TraceContext::fresh(true)),
                ..Details::default()
            }),
        }
    }

    fn details(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connection(&self) -> Option<u64> {
        self.details().connection
    }

    /// The peer is there, or gets the request.
    pub(super) fn connected(&self) {
        if !self.is_http {
            self.details().first_byte.get_or_insert_with(|| self.began.elapsed());
        }
    }

    pub(super) fn end(&self, outcome: Outcome) {
        let mut details = self.details();
        details.total = Some(self.began.elapsed());
        details.outcome = Some(outcome);
    }

    /// Counts how long it took.
    pub(super) fn count(&self, streamtype: &StreamtypeCounts) {
        let details = self.details();
        if let Some(first_byte) = details.first_byte {
            streamtype.first_byte.add(first_byte);
        }
        streamtype.total.add(details.total.unwrap_or_default());
    }

    pub(super) fn view(&self, session: &Session) -> TransactionView {
        let (from_client, to_client) = session.passed();
        let details = self.details();
        let (outcome, whose, why) = match &details.outcome {
            None => (None, None, None),
            Some(Outcome::Acked) => (Some("acked"), None, None),
            Some(Outcome::Nacked) => (Some("nacked"), None, None),
            Some(Outcome::Left) => (Some("left"), None, None),
            Some(Outcome::Failed { kind: FailureKind::SessionGone, .. }) => {
                (Some("left"), None, None)
            }
            // For what goes on until somebody leaves that is the ordinary end.
            Some(Outcome::Failed { kind: FailureKind::Closed, why })
                if !self.is_http && details.first_byte.is_some() =>
            {
                (Some("closed"), None, Some(why.clone()))
            }
            Some(Outcome::Failed { kind, why }) => {
                (Some(kind.label()), Some(kind.whose().label()), Some(why.clone()))
            }
        };
        TransactionView {
            id: self.id,
            session: session.id,
            client: session.peer.identity().to_string(),
            peer: session.peer.to_string(),
            streamtype: session.streamtype.name.clone(),
            protocol: session.streamtype.protocol.clone(),
            endpoint: details.endpoint.clone(),
            status: details.status,
            outcome,
            whose,
            why,
            began_at: self.began_at,
            from_client: from_client.saturating_sub(self.passed.0),
            to_client: to_client.saturating_sub(self.passed.1),
            connection: details.connection,
            reused: details.reused,
            times: details.times(self.began.elapsed()),
            trace_id: details.trace.map_or(0, |trace| trace.trace),
            span_id: details.trace.map_or(0, |trace| trace.span),
            parent_span_id: details.parent,
        }
    }
}

impl Details {
    fn times(&self, so_far: Duration) -> TimesView {
        let total = self.total.unwrap_or(so_far);
        let ready = self.requested.or(self.first_byte).unwrap_or(total);
        let queue = ready.saturating_sub(self.dns + self.connect + self.tls);
        TimesView {
            queue_us: micros(queue),
            dns_us: micros(self.dns),
            connect_us: micros(self.connect),
            tls_us: micros(self.tls),
            first_byte_us: micros(self.first_byte.unwrap_or_default()),
            total_us: micros(total),
        }
    }
}

/// What an attempt writes about its transaction; nothing if nobody observes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Option<Arc<Transaction>>);

impl Record {
    pub(super) const fn new(transaction: Arc<Transaction>) -> Self {
        Self(Some(transaction))
    }

    fn change(&self, change: impl FnOnce(&mut Details, Duration)) {
        if let Some(transaction) = &self.0 {
            change(&mut transaction.details(), transaction.began.elapsed());
        }
    }

    /// What its request says about the trace that it belongs to: the one of this header, if it says
    /// something, or one that begins here.
    pub(crate) fn traceparent(&self, given: Option<&str>) -> TraceContext {
        let given = given.and_then(TraceContext::parse);
        let Some(transaction) = &self.0 else {
            return given.unwrap_or_else(|| TraceContext::fresh(false));
        };
        let mut details = transaction.details();
        if let Some(client) = given {
            (details.trace, details.parent) = (Some(client.child(true)), Some(client.span));
        }
        *details.trace.get_or_insert_with(|| TraceContext::fresh(true))
    }

    /// Where it leads.
    pub(crate) fn leads_to(&self, endpoint: &impl ToString) {
        self.change(|details, _| details.endpoint = Some(endpoint.to_string()));
    }

    /// There is a connection, or none came about; what was measured of it is empty if it was there before.
    pub(crate) fn connected(&self, perf: &Perf) {
        self.change(|details, so_far| {
            (details.dns, details.connect, details.tls) = perf.times();
            details.connection = perf.connection.or(details.connection);
            details.reused = Some(perf.is_reused());
            details.requested = Some(so_far);
        });
    }

    /// Its request goes out on a connection that was there before.
    pub(crate) fn reuses(&self, connection: Option<u64>) {
        self.change(|details, so_far| {
            (details.connection, details.reused) = (connection, Some(true));
            details.requested = Some(so_far);
        });
    }

    /// The head of the response is there.
    pub(crate) fn responded(&self, status: u16) {
        self.change(|details, so_far| {
            details.status = Some(status);
            details.first_byte = Some(so_far);
        });
    }
}
