//! Which connections there are, and which servers turned out not to be reached by QUIC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use sspc_policy::Address;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::alt_svc::{self, Offer};
use super::connection::{self, Shared, Slot};
use crate::onward::connect::{Perf, QuicSettings, Route};
use crate::onward::http::occupancy::{self, IDLE_MAX, Wanted};
use crate::onward::http::remembered::{Remembered, WITHOUT_FOR};
use crate::onward::{Failure, FailureKind, Onward};

/// How long QUIC may take before h2 is tried: where UDP is blocked, nothing ever answers.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct Entry {
    connections: Mutex<Vec<Arc<Shared>>>,
    /// Held by who opens one; how that failed, if it did.
    opening: AsyncMutex<Option<Failure>>,
}

impl Entry {
    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.occupancy.is_retired());
        connections
    }

    fn slot(&self) -> Option<Slot> {
        self.connections().iter().find_map(|connection| connection.slot())
    }
}

/// All h3 connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    entries: Mutex<HashMap<Route, Arc<Entry>>>,
    without: Remembered<()>,
    /// Ports at which servers offered it.
    offers: Remembered<u16>,
}

impl Pool {
    fn entries(&self) -> MutexGuard<'_, HashMap<Route, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server says of itself in a response's headers.
    pub(crate) fn heard(&self, route: &Route, headers: &HeaderMap) {
        match alt_svc::offer(headers) {
            Some(Offer::H3 { port, time }) => self.offers.remember(route, port, time),
            Some(Offer::Clear) => self.offers.forget(route),
            None => {}
        }
    }

    /// Where a server offered it.
    pub(crate) fn offered(&self, route: &Route) -> Option<Route> {
        let port = self.offers.get(route)?;
        let mut route = route.clone();
        if let Address::Tcp { port: of_route, .. } = &mut route.address {
            *of_route = port;
        }
        Some(route)
    }

    /// A place on a connection; opens one if it has to. `None` if the server is not to be reached by
    /// QUIC, at least not now.
    pub(crate) async fn acquire(
        &self,
        onward: &Arc<Onward>,
        wanted: Wanted<'_>,
        perf: &mut Perf,
    ) -> Result<Option<Slot>, Failure> {
        let Wanted { route, alone, .. } = wanted;
        if !onward.connector.has_quic(route) || self.without.holds(route) {
            return Ok(None);
        }
        let result = if alone {
            self.open(onward, wanted, perf).await.map(|connection| {
                let slot = connection.slot();
                connection.retire();
                slot
            })
        } else {
            self.share(onward, wanted, perf).await
        };
        match result {
            Ok(Some(slot)) => Ok(Some(slot)),
            Ok(None) => {
                Err(Failure::new(FailureKind::Closed, format!("{route}: no h3 connection lasts")))
            }
            Err(failure) if is_of_quic(failure.kind) => {
                tracing::debug!(%route, why = failure.why, "not by QUIC, falling back to h2");
                self.without.remember(route, (), WITHOUT_FOR);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A place beside others. Who comes while a connection is being opened waits for it.
    async fn share(
        &self,
        onward: &Arc<Onward>,
        wanted: Wanted<'_>,
        perf: &mut Perf,
    ) -> Result<Option<Slot>, Failure> {
        let entry = Arc::clone(self.entries().entry(wanted.route.clone()).or_default());
        if let Some(slot) = entry.slot() {
            return Ok(Some(slot));
        }
        let waits = entry.opening.try_lock().is_err();
        let mut opening = entry.opening.lock().await;
        if let Some(slot) = entry.slot() {
            return Ok(Some(slot));
        }
        if let Some(failure) = opening.take()
            && waits
        {
            *opening = Some(failure.clone());
            return Err(failure);
        }
        self.make_room();
        match self.open(onward, wanted, perf).await {
            Ok(connection) => {
                let slot = connection.slot();
                entry.connections().push(connection);
                Ok(slot)
            }
            Err(failure) => {
                *opening = Some(failure.clone());
                drop(opening);
                self.forget_unused();
                Err(failure)
            }
        }
    }

    pub(crate) async fn open(
        &self,
        onward: &Arc<Onward>,
        wanted: Wanted<'_>,
        perf: &mut Perf,
    ) -> Result<Arc<Shared>, Failure> {
        let Wanted { route, caller, validity, .. } = wanted;
        let limits = &onward.config.limits;
        let settings = QuicSettings {
            streams_max: limits.h2_streams,
            window: limits.h2_stream_window,
            validity,
        };
        let opening = async {
            let link = onward.connect_quic(route, caller, settings, perf).await?;
            let at_end = {
                let onward = Arc::downgrade(onward);
                move || {
                    if let Some(onward) = onward.upgrade() {
                        onward.h3.forget_unused();
                    }
                }
            };
            let keep = onward.config.timeouts.keep_warm;
            connection::open(link, limits.h2_streams, keep, at_end).await.map_err(|error| {
                Failure::new(FailureKind::Protocol, format!("h3 with {route}: {error}"))
            })
        };
        let patience = PATIENCE.min(onward.config.timeouts.connect);
        match timeout(patience, opening).await {
            Ok(result) => result,
            Err(_) => {
                let why = format!("h3 with {route}: nothing within {} s", patience.as_secs_f32());
                Err(Failure::new(FailureKind::Connect, why))
            }
        }
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        for entry in self.entries().values() {
            for connection in entry.connections().iter() {
                connection.occupancy.close_if_idle();
            }
        }
    }

    /// Routes that take up room.
    #[cfg(test)]
    pub(crate) fn routes(&self) -> usize {
        self.entries().len()
    }

    /// Entries without connections that nobody looks at go.
    fn forget_unused(&self) {
        self.entries()
            .retain(|_, entry| Arc::strong_count(entry) > 1 || !entry.connections().is_empty());
    }

    /// Ends an idle connection if there are too many, and forgets what is left of openings that were
    /// given up.
    fn make_room(&self) {
        self.forget_unused();
        let entries = self.entries();
        // There is seldom more than one of a route.
        if entries.len() <= IDLE_MAX {
            return;
        }
        let all: Vec<_> = entries
            .iter()
            .flat_map(|(route, entry)| {
                let connections = entry.connections().clone();
                connections.into_iter().map(move |connection| (&route.client, connection))
            })
            .collect();
        let all = all.iter().map(|(client, connection)| (*client, &connection.occupancy));
        occupancy::make_room(all, IDLE_MAX);
    }
}

/// Whether the server may well be reached by TCP.
fn is_of_quic(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Connect | FailureKind::Closed | FailureKind::Silent | FailureKind::Protocol
    )
}
