//! Who is on a connection that streams share, and whether it takes more: the same for h2 and h3.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sspc_policy::Validity;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::identity::Identity;
use crate::onward::connect::{Caller, Route};
use crate::onward::fair::gives_way;

/// Idle connections of a pool that may be there while another one is opened, of all clients together.
pub(super) const IDLE_MAX: usize = 512;
/// How long a connection that is not needed any more may take to say goodbye.
pub(super) const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long a fresh connection waits for its first stream beyond what idle ones do.
const ARRIVAL_MAX: Duration = Duration::from_secs(1);
/// Streams that are ever on a connection: h2 has numbers for no more than twice as many.
const SERVED_MAX: u64 = 1 << 29;

/// What a place on a connection is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) route: &'a Route,
    pub(crate) caller: &'a Caller,
    pub(crate) validity: Option<Validity>,
    /// Whether it has to be on a connection that nobody else uses.
    pub(crate) alone: bool,
}

/// The streams that are on a connection. `S` is what sends their requests.
pub(super) struct Occupancy<S> {
    state: Mutex<State<S>>,
    /// The connection's task has to look at its deadline again.
    changed: Notify,
}

struct State<S> {
    /// `None` once no more streams are taken.
    sender: Option<S>,
    /// Streams on it,
    active: usize,
    /// and how many there may be.
    streams_max: usize,
    /// Streams that were ever on it.
    served: u64,
    idle_since: Instant,
}

impl<S> fmt::Debug for Occupancy<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Occupancy")
            .field("active", &state.active)
            .field("streams_max", &state.streams_max)
            .field("retired", &state.sender.is_none())
            .finish_non_exhaustive()
    }
}

impl<S> Occupancy<S> {
    /// That of a fresh connection, whose first stream may take a moment to come.
    pub(super) fn new(sender: S, streams_max: usize) -> Self {
        let state = State {
            sender: Some(sender),
            active: 0,
            streams_max,
            served: 0,
            idle_since: Instant::now() + ARRIVAL_MAX,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if there is one: what is to send its request. It must [leave](Self::leave).
    pub(super) fn enter(&self) -> Option<S>
    where
        S: Clone,
    {
        let mut state = self.lock();
        if state.active >= state.streams_max {
            return None;
        }
        let sender = state.sender.clone()?;
        state.active += 1;
        state.served += 1;
        if state.served >= SERVED_MAX {
            state.sender = None;
        }
        Some(sender)
    }

    /// A stream that had a place is over.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.active = state.active.saturating_sub(1);
        if state.active == 0 {
            state.idle_since = Instant::now();
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The peer says how many streams it takes.
    pub(super) fn set_streams_max(&self, streams_max: usize) {
        self.lock().streams_max = streams_max;
    }

    /// There was no stream for one that has a place: the peer takes no more than there are beside it.
    #[cfg(feature = "http3")]
    pub(super) fn is_one_too_many(&self) {
        let mut state = self.lock();
        state.streams_max = state.active.saturating_sub(1).max(1);
    }

    /// Takes no more streams; those that are on it go on.
    pub(super) fn retire(&self) {
        self.lock().sender = None;
        self.changed.notify_one();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.lock().sender.is_none()
    }

    /// Whether it has no streams and gets no more.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.sender.is_none() && state.active == 0
    }

    /// Whether more than one stream was ever on it: then what ends it may have nothing to do with
    /// the latest.
    pub(super) fn is_shared(&self) -> bool {
        self.lock().served > 1
    }

    /// Makes it end now if nobody uses it.
    pub(super) fn close_if_idle(&self) {
        if self.retire_if_idle(Duration::ZERO) {
            self.changed.notify_one();
        }
    }

    /// Takes no more streams if it has been idle for so long; whether it has.
    pub(super) fn retire_if_idle(&self, keep: Duration) -> bool {
        let mut state = self.lock();
        let idle = state.idle_deadline(keep).is_some_and(|at| at <= Instant::now());
        if idle {
            state.sender = None;
        }
        idle
    }

    /// When it has been idle for so long; `None` if it is in use, or for ever is not too long.
    pub(super) fn idle_deadline(&self, keep: Duration) -> Option<Instant> {
        self.lock().idle_deadline(keep)
    }

    /// Something happened that may change the deadline, or end the connection.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl<S> State<S> {
    fn idle_deadline(&self, keep: Duration) -> Option<Instant> {
        if self.active > 0 { None } else { self.idle_since.checked_add(keep) }
    }
}

/// At that time; never if there is none.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Ends one of the connections that are idle if these are too many.
pub(super) fn make_room<'a, S: 'a>(
    connections: impl Iterator<Item = (&'a Option<Identity>, &'a Occupancy<S>)>,
    idle_max: usize,
) {
    let idle = connections.filter_map(|(client, occupancy)| {
        let state = occupancy.lock();
        let idle = state.active == 0 && state.sender.is_some();
        idle.then_some((client, state.idle_since, occupancy))
    });
    let idle: Vec<_> = idle.collect();
    if idle.len() > idle_max
        && let Some(occupancy) = gives_way(idle.into_iter())
    {
        occupancy.retire();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_stream_on_and_a_fresh_one_a_little_later() {
        let begun = Instant::now();
        let occupancy = Occupancy::new((), 2);
        assert_eq!(occupancy.idle_deadline(KEEP), Some(begun + ARRIVAL_MAX + KEEP));
        assert!(occupancy.enter().is_some() && !occupancy.is_shared());
        assert!(occupancy.enter().is_some() && occupancy.is_shared());
        assert!(occupancy.enter().is_none());
        occupancy.leave();
        assert_eq!(occupancy.idle_deadline(KEEP), None);
        assert!(!occupancy.retire_if_idle(Duration::ZERO));
        tokio::time::advance(KEEP).await;
        occupancy.leave();
        occupancy.changed().await;
        assert_eq!(occupancy.idle_deadline(KEEP), Some(begun + 2 * KEEP));
        assert_eq!(occupancy.idle_deadline(Duration::MAX), None);
        tokio::time::advance(KEEP).await;
        assert!(occupancy.retire_if_idle(KEEP) && occupancy.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_retired_takes_no_more_and_is_over_when_the_last_stream_is() {
        let occupancy = Occupancy::new((), 9);
        assert!(occupancy.enter().is_some());
        occupancy.close_if_idle();
        assert!(!occupancy.is_retired());
        occupancy.retire();
        assert!(occupancy.is_retired() && !occupancy.is_over() && occupancy.enter().is_none());
        occupancy.leave();
        assert!(occupancy.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_idle_connections_one_goes_and_none_that_is_in_use() {
        let used = Occupancy::new((), 1);
        assert!(used.enter().is_some());
        tokio::time::advance(KEEP).await;
        let idle = [Occupancy::new((), 1), Occupancy::new((), 1)];
        let all = || std::iter::once(&used).chain(&idle).map(|occupancy| (&None, occupancy));
        make_room(all(), 2);
        assert!(all().all(|(_, occupancy)| !occupancy.is_retired()));
        make_room(all(), 1);
        assert!(!used.is_retired());
        assert_eq!(idle.iter().filter(|occupancy| occupancy.is_retired()).count(), 1);
        // One that is on its way out does not count.
        make_room(all(), 1);
        assert_eq!(idle.iter().filter(|occupancy| occupancy.is_retired()).count(), 1);
    }
}
