//! Which connections there are, who waits for one, and which peers turned out to have no h2.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sspc_policy::Validity;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::{self, ConnectionSettings, Shared, Slot};
use crate::onward::connect::{Alpn, Caller, Perf, Route};
use crate::onward::http::h1;
use crate::onward::http::occupancy::{self, IDLE_MAX, Wanted};
use crate::onward::http::remembered::{Remembered, WITHOUT_FOR};
use crate::onward::{Failure, FailureKind, Onward};

/// How long a clear peer may take to show that it speaks h2, before http/1.1 is tried.
const PRIOR_KNOWLEDGE_MAX: Duration = Duration::from_secs(3);

/// How the opening of a connection went.
#[derive(Clone, Debug)]
enum Outcome {
    /// There is a new connection; these are its measurements.
    Open(Perf),
    Http1,
    Failed(Failure),
}

#[derive(Debug, Default)]
struct Entry {
    connections: Vec<Arc<Shared>>,
    /// Set while a connection is being opened, for those who want it.
    opening: Option<Weak<watch::Sender<Option<Outcome>>>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.opening.is_none()
    }
}

/// All h2 connections.
#[derive(Debug)]
pub(crate) struct Pool {
    entries: Mutex<HashMap<Route, Entry>>,
    no_h2: Remembered<()>,
    /// Peers that have h2, and no websockets over it.
    no_websocket: Remembered<()>,
    /// See [`IDLE_MAX`].
    pub(crate) idle_max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            no_h2: Remembered::default(),
            no_websocket: Remembered::default(),
            idle_max: IDLE_MAX,
        }
    }
}

enum Step {
    Slot(Slot),
    Wait(watch::Receiver<Option<Outcome>>),
}

impl Pool {
    fn entries(&self) -> MutexGuard<'_, HashMap<Route, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this peer was found to have no h2 a short while ago.
    pub(crate) fn is_http1(&self, route: &Route) -> bool {
        self.no_h2.holds(route)
    }

    /// Uses http/1.1 with this peer for a while.
    pub(crate) fn remember_http1(&self, route: &Route) {
        self.no_h2.remember(route, (), WITHOUT_FOR);
    }

    /// Whether this peer was found to have no websockets over h2 a short while ago.
    pub(crate) fn has_no_websocket(&self, route: &Route) -> bool {
        self.no_websocket.holds(route)
    }

    /// Asks this peer for websockets over http/1.1 for a while.
    pub(crate) fn remember_no_websocket(&self, route: &Route) {
        self.no_websocket.remember(route, (), WITHOUT_FOR);
    }

    /// A place on a connection, but not on those of `avoid`; opens one if it has to. `None` if the
    /// peer speaks http/1.1 only.
    pub(crate) async fn acquire(
        &self,
        onward: &Arc<Onward>,
        wanted: Wanted<'_>,
        avoid: &[Slot],
        perf: &mut Perf,
    ) -> Result<Option<Slot>, Failure> {
        let route = wanted.route;
        if wanted.alone && !self.is_http1(route) {
            return self.open_alone(onward, wanted, perf).await;
        }
        // Each turn someone gets a place on what was opened, so that turns end; unless the peer
        // closes what it has just accepted.
        let patience = onward.config.timeouts.connect.saturating_mul(2);
        let turns = async {
            loop {
                if self.is_http1(route) {
                    return Ok(None);
                }
                let mut opening = match self.step(onward, wanted, avoid) {
                    Step::Slot(mut slot) => {
                        if super::stream::is_open(&mut slot.sender).await {
                            return Ok(Some(slot));
                        }
                        slot.connection().occupancy.retire();
                        continue;
                    }
                    Step::Wait(opening) => opening,
                };
                let outcome = match opening.wait_for(Option::is_some).await {
                    Ok(outcome) => outcome.clone(),
                    Err(_) => None,
                };
                match outcome {
                    Some(Outcome::Open(measured)) => *perf = measured,
                    Some(Outcome::Http1) => return Ok(None),
                    Some(Outcome::Failed(failure)) => return Err(failure),
                    None => {
                        return Err(Failure::new(
                            FailureKind::Internal,
                            "opening the connection was given up",
                        ));
                    }
                }
            }
        };
        match timeout(patience, turns).await {
            Ok(result) => result,
            Err(_) => {
                Err(Failure::new(FailureKind::Closed, format!("{route}: no h2 connection lasts")))
            }
        }
    }

    /// A place on a connection that takes no other stream.
    async fn open_alone(
        &self,
        onward: &Arc<Onward>,
        wanted: Wanted<'_>,
        perf: &mut Perf,
    ) -> Result<Option<Slot>, Failure> {
        let Wanted { route, caller, validity, .. } = wanted;
        let (connection, measured) = self.open(onward, route, caller, validity).await?;
        *perf = measured;
        let Some(connection) = connection else { return Ok(None) };
        let slot = connection.slot();
        connection.occupancy.retire();
        slot.map(Some).ok_or_else(|| {
            Failure::new(FailureKind::Closed, format!("{route}: no h2 connection lasts"))
        })
    }

    fn step(&self, onward: &Arc<Onward>, wanted: Wanted<'_>, avoid: &[Slot]) -> Step {
        let Wanted { route, caller, validity, .. } = wanted;
        let mut entries = self.entries();
        let entry = entries.entry(route.clone()).or_default();
        entry.connections.retain(|connection| !connection.occupancy.is_retired());
        let found = entry
            .connections
            .iter()
            .filter(|connection| !avoid.iter().any(|slot| slot.is_on(connection)))
            .find_map(|connection| connection.slot());
        if let Some(slot) = found {
            return Step::Slot(slot);
        }
        if let Some(opening) = entry.opening.as_ref().and_then(Weak::upgrade) {
            return Step::Wait(opening.subscribe());
        }
        let announce = Arc::new(watch::Sender::new(None));
        let opening = announce.subscribe();
        entry.opening = Some(Arc::downgrade(&announce));
        make_room(&entries, self.idle_max);
        drop(entries);
        // A task of its own: the stream that asked first may leave, the others still want the connection.
        let onward = Arc::clone(onward);
        let (route, caller) = (route.clone(), caller.clone());
        tokio::spawn(async move {
            let opening = onward.h2.open(&onward, &route, &caller, validity);
            let Some(result) = onward.h2.while_wanted(&route, &announce, opening).await else {
                return;
            };
            let mut entries = onward.h2.entries();
            let entry = entries.entry(route.clone()).or_default();
            entry.opening = None;
            let outcome = match result {
                Ok((Some(connection), perf)) => {
                    entry.connections.push(connection);
                    Outcome::Open(perf)
                }
                Ok((None, _)) => Outcome::Http1,
                Err(failure) => Outcome::Failed(failure),
            };
            if entry.is_empty() {
                entries.remove(&route);
            }
            drop(entries);
            announce.send_replace(Some(outcome));
        });
        Step::Wait(opening)
    }

    /// The result of `opening`, unless all leave who wait for it: then it ends, and may begin again
    /// for the next who wants a connection.
    async fn while_wanted<T>(
        &self,
        route: &Route,
        announce: &watch::Sender<Option<Outcome>>,
        opening: impl Future<Output = T>,
    ) -> Option<T> {
        let mut opening = std::pin::pin!(opening);
        loop {
            tokio::select! {
                biased;
                result = &mut opening => return Some(result),
                () = announce.closed() => {
                    let mut entries = self.entries();
                    if announce.receiver_count() > 0 {
                        continue;
                    }
                    if let Some(entry) = entries.get_mut(route) {
                        entry.opening = None;
                        if entry.is_empty() {
                            entries.remove(route);
                        }
                    }
                    return None;
                }
            }
        }
    }

    /// Opens a connection; `None` if the peer speaks only http/1.1. Then the connection, if it is
    /// of use, is among the idle ones of http/1.1.
    ///
    /// With TLS the peer chooses. On a clear connection we begin with h2 ("prior knowledge"), and
    /// try http/1.1 with a peer that does anything but send its settings, as the policy's `h2`
    /// always could mean. Only when it answers that is it remembered: it may just be restarting.
    async fn open(
        &self,
        onward: &Arc<Onward>,
        route: &Route,
        caller: &Caller,
        validity: Option<Validity>,
    ) -> Result<(Option<Arc<Shared>>, Perf), Failure> {
        let mut perf = Perf::default();
        let transport = onward.connect(route, caller, Alpn::H2, &mut perf).await?;
        let clear = route.tls.is_none();
        if !clear && transport.alpn() != Some(b"h2") {
            self.remember_http1(route);
            if let Ok(connection) = h1::Connection::open(transport, route.clone()).await {
                onward.h1.give(connection);
            }
            return Ok((None, perf));
        }
        let settings = ConnectionSettings {
            streams_max: onward.config.limits.h2_streams,
            window: onward.config.limits.h2_stream_window,
            keep: onward.config.timeouts.keep_warm,
            validity,
        };
        let patience = if clear {
            PRIOR_KNOWLEDGE_MAX.min(onward.config.timeouts.connect)
        } else {
            onward.config.timeouts.connect
        };
        let at_end = {
            let onward = Arc::downgrade(onward);
            let route = route.clone();
            move || {
                if let Some(onward) = onward.upgrade() {
                    onward.h2.forget_retired(&route);
                }
            }
        };
        let memory = Arc::clone(&onward.config.memory);
        let opened = connection::open(transport, settings, memory, at_end);
        match timeout(patience, opened).await {
            Ok(Ok(connection)) => Ok((Some(connection), perf)),
            Ok(Err(error)) if clear => {
                tracing::debug!(%route, error, "falling back to http/1.1");
                Ok((None, perf))
            }
            Ok(Err(error)) => {
                Err(Failure::new(FailureKind::Protocol, format!("h2 with {route}: {error}")))
            }
            Err(_) if clear => Ok((None, perf)),
            Err(_) => Err(Failure::new(
                FailureKind::Silent,
                format!("h2 with {route}: the peer sends no settings"),
            )),
        }
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        for entry in self.entries().values() {
            for connection in &entry.connections {
                connection.occupancy.close_if_idle();
            }
        }
    }

    fn forget_retired(&self, route: &Route) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(route) else { return };
        entry.connections.retain(|connection| !connection.occupancy.is_retired());
        if entry.is_empty() {
            entries.remove(route);
        }
    }
}

/// Ends an idle connection if there are too many.
fn make_room(entries: &HashMap<Route, Entry>, idle_max: usize) {
    // There is seldom more than one of a route.
    if entries.len() <= idle_max {
        return;
    }
    let all = entries.iter().flat_map(|(route, entry)| {
        entry.connections.iter().map(move |connection| (&route.client, &connection.occupancy))
    });
    occupancy::make_room(all, idle_max);
}
