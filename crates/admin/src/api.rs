//! What the API's paths answer with.

use serde::Serialize;
use sspc_proxy::Counters;
use sspc_proxy::view::{ConnectionView, FailureView, LineView, ProxyView, TransactionView};

use crate::query::Query;
use crate::server::{PolicyView, Side};
use crate::sessions::{self, Rates, Rows};

/// Most of each kind in one answer that has many kinds.
const LINES_SHOWN: usize = 200;
const CONNECTIONS_SHOWN: usize = 100;
const FAILURES_SHOWN: usize = 100;

/// The proxy at one look.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    proxy: ProxyView,
    ready: bool,
    counters: Counters,
    policy: PolicyView,
    lines: First<LineView>,
}

/// The first of many.
#[derive(Debug, Serialize)]
pub(crate) struct First<T> {
    /// How many there are.
    total: usize,
    rows: Vec<T>,
}

impl<T> First<T> {
    fn new(mut rows: Vec<T>, shown: usize) -> Self {
        let total = rows.len();
        rows.truncate(shown);
        Self { total, rows }
    }
}

/// What the page shows.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    status: Status,
    sessions: Rows,
    connections: First<ConnectionView>,
    failures: First<FailureView>,
    /// The latest that ended since the last look, and how many more did.
    transactions: Vec<std::sync::Arc<TransactionView>>,
    transactions_left_out: u64,
}

/// `/api/v1/status`
pub(crate) fn status(side: &Side) -> Status {
    let proxy = side.observed.proxy();
    let ready = proxy.is_accepting;
    let mut lines = side.observed.lines();
    // Those that are down first: they are what somebody looks for.
    lines.sort_by_key(|line| line.is_up);
    Status {
        proxy,
        ready,
        counters: side.handle.counters(),
        policy: side.policy(),
        lines: First::new(lines, LINES_SHOWN),
    }
}

/// `/api/v1/sessions`
pub(crate) fn sessions(side: &Side, query: &Query) -> Rows {
    sessions::select(side.observed.sessions(), query, None)
}

/// An event of `/api/v1/events`
pub(crate) fn snapshot(
    side: &Side,
    query: &Query,
    rates: &mut Rates,
    transactions: Vec<std::sync::Arc<TransactionView>>,
    transactions_left_out: u64,
) -> Snapshot {
    let mut connections = side.observed.connections();
    // Those with most streams first.
    connections.sort_by_key(|connection| std::cmp::Reverse(connection.sessions.len()));
    Snapshot {
        status: status(side),
        sessions: sessions::select(side.observed.sessions(), query, Some(rates)),
        connections: First::new(connections, CONNECTIONS_SHOWN),
        failures: First::new(side.observed.failures(), FAILURES_SHOWN),
        transactions,
        transactions_left_out,
    }
}
