//! Server-sent events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;
use sspc_proxy::view::TransactionView;
use sspc_proxy::{Missed, TransactionFeed};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::api;
use crate::query::Query;
use crate::server::Side;
use crate::sessions::{Rates, has_transaction};

/// How often the page gets a snapshot.
const EVERY: Duration = Duration::from_secs(1);
/// Transactions in one snapshot: the latest.
const TRANSACTIONS_SHOWN: usize = 50;
/// How often a reader hears something though nothing happens, so that one that is gone shows.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Bytes {
    // JSON has no line breaks; what cannot be written is left out.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// How many were missed.
#[derive(Serialize)]
struct MissedView {
    missed: u64,
}

/// `/api/v1/transactions`: each as it ends, until the proxy is gone.
pub(crate) fn transactions(
    side: &Side,
    query: Query,
    slot: OwnedSemaphorePermit,
) -> impl Stream<Item = Bytes> + use<> {
    let mut alive = interval(KEEP_ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (side.observed.transactions(), alive, query, slot);
    stream::unfold(state, |(mut feed, mut alive, query, slot)| async {
        let next = loop {
            tokio::select! {
                next = feed.next() => match next? {
                    Ok(transaction) if has_transaction(&transaction, &query) => {
                        break event("transaction", &*transaction);
                    }
                    Ok(_) => {}
                    Err(Missed(missed)) => break event("missed", &MissedView { missed }),
                },
                _ = alive.tick() => break Bytes::from_static(b": \n\n"),
            }
        };
        Some((next, (feed, alive, query, slot)))
    })
}

/// What follows a proxy for the page.
struct Snapshots {
    side: Arc<Side>,
    query: Query,
    feed: TransactionFeed,
    rates: Rates,
    every: Interval,
    _slot: OwnedSemaphorePermit,
}

/// `/api/v1/events`: a snapshot each second, until the proxy is gone.
///
/// One is made when the reader takes it: one that takes none costs nothing.
pub(crate) fn snapshots(
    side: &Arc<Side>,
    query: Query,
    slot: OwnedSemaphorePermit,
) -> impl Stream<Item = Bytes> + use<> {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let snapshots = Snapshots {
        side: Arc::clone(side),
        query,
        feed: side.observed.transactions(),
        rates: Rates::default(),
        every,
        _slot: slot,
    };
    stream::unfold(snapshots, |mut snapshots| async {
        let next = snapshots.next().await?;
        Some((next, snapshots))
    })
}

impl Snapshots {
    async fn next(&mut self) -> Option<Bytes> {
        let mut latest = VecDeque::<Arc<TransactionView>>::new();
        let mut left_out = 0;
        loop {
            tokio::select! {
                biased;
                _ = self.every.tick() => break,
                next = self.feed.next() => match next? {
                    Ok(transaction) => {
                        if has_transaction(&transaction, &self.query) {
                            latest.push_back(transaction);
                        }
                        if latest.len() > TRANSACTIONS_SHOWN {
                            latest.pop_front();
                            left_out += 1;
                        }
                    }
                    Err(Missed(missed)) => left_out += missed,
                },
            }
        }
        let (side, query, rates) = (&self.side, &self.query, &mut self.rates);
        Some(event("snapshot", &api::snapshot(side, query, rates, latest.into(), left_out)))
    }
}
