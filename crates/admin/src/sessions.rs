//! Which sessions are shown, in which order, and how fast they are.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Instant;

use serde::Serialize;
use sspc_proxy::view::{SessionView, TransactionView};

use crate::query::{Query, Sort};

/// A session, with what is known of it by looking twice.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) session: SessionView,
    /// Bytes a second of payload from the client and to it since the look before; absent at the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
}

/// Sessions that were asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Rows {
    /// How many there are.
    pub(crate) total: usize,
    /// How many of them are asked for, of which `rows` has the first.
    pub(crate) matching: usize,
    pub(crate) rows: Vec<Row>,
}

/// Remembers how much had passed at the last look.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Option<(Instant, HashMap<u64, u64>)>,
}

impl Rates {
    /// How fast each session is, and remembers how far it is now.
    fn look(&mut self, sessions: &[SessionView]) -> HashMap<u64, u64> {
        let now = Instant::now();
        let so_far = sessions.iter().map(|session| (session.id, passed(session))).collect();
        let last = self.last.replace((now, so_far));
        let Some((at, last)) = last else { return HashMap::new() };
        let seconds = now.duration_since(at).as_secs_f64().max(0.001);
        let rate = |session: &SessionView| {
            // What came since the stream was created did so between the looks.
            let before = last.get(&session.id).copied().unwrap_or_default();
            let bytes = passed(session).saturating_sub(before);
            (session.id, (bytes as f64 / seconds) as u64)
        };
        sessions.iter().map(rate).collect()
    }
}

fn passed(session: &SessionView) -> u64 {
    session.from_client.saturating_add(session.to_client)
}

/// The sessions that the query asks for.
pub(crate) fn select(sessions: Vec<SessionView>, query: &Query, rates: Option<&mut Rates>) -> Rows {
    let total = sessions.len();
    let rates = rates.map(|rates| rates.look(&sessions)).unwrap_or_default();
    let mut rows: Vec<_> = sessions
        .into_iter()
        .filter(|session| session.id > query.after && is_asked_for(session, query))
        .map(|session| Row { rate: rates.get(&session.id).copied(), session })
        .collect();
    let matching = rows.len();
    rows.sort_by(|a, b| {
        let order = compare(a, b, query.sort);
        let order = if query.is_descending { order.reverse() } else { order };
        order.then(a.session.id.cmp(&b.session.id))
    });
    rows.truncate(query.limit);
    Rows { total, matching, rows }
}

fn compare(a: &Row, b: &Row, sort: Sort) -> Ordering {
    let (one, other) = (&a.session, &b.session);
    match sort {
        Sort::Age => one.id.cmp(&other.id),
        Sort::Client => (&one.client, &one.peer).cmp(&(&other.client, &other.peer)),
        Sort::Streamtype => one.streamtype.cmp(&other.streamtype),
        Sort::State => one.state.cmp(&other.state),
        Sort::Bytes => passed(one).cmp(&passed(other)),
        Sort::Rate => a.rate.cmp(&b.rate),
        Sort::Error => error_of(one).cmp(&error_of(other)),
    }
}

/// The last error's kind and status.
fn error_of(session: &SessionView) -> Option<(Option<&'static str>, Option<u16>)> {
    session.last_error.as_ref().map(|error| (error.outcome, error.status))
}

fn is_asked_for(session: &SessionView, query: &Query) -> bool {
    is_client(&session.client, &session.peer, query)
        && query.streamtype.as_ref().is_none_or(|name| *name == session.streamtype)
        && query.state.as_ref().is_none_or(|state| *state == session.state)
        && query.text.as_ref().is_none_or(|text| has_text(session, text))
}

fn is_client(client: &str, peer: &str, query: &Query) -> bool {
    query.client.as_ref().is_none_or(|part| {
        client.to_lowercase().contains(&**part) || peer.to_lowercase().contains(&**part)
    })
}

/// Whether a part of what is shown of the session is this, in lower case.
fn has_text(session: &SessionView, text: &str) -> bool {
    let mut shown = vec![
        &*session.client,
        &*session.peer,
        &*session.streamtype,
        &*session.protocol,
        &*session.state,
    ];
    for transaction in [&session.transaction, &session.last_error].into_iter().flatten() {
        shown.extend(transaction.endpoint.as_deref());
        shown.extend(transaction.outcome);
        shown.extend(transaction.why.as_deref());
    }
    shown.iter().any(|shown| shown.to_lowercase().contains(text))
}

/// Whether a transaction is one that the query asks for.
pub(crate) fn has_transaction(transaction: &TransactionView, query: &Query) -> bool {
    is_client(&transaction.client, &transaction.peer, query)
        && query.streamtype.as_ref().is_none_or(|name| *name == transaction.streamtype)
}
