//! Which connections there are, and who may share one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Instrument as _;

use super::core::Joining;
use super::driver;
use super::kept::Kept;
use super::link::{Link, Place};
use super::params::{Key, Params};
use crate::onward::connect::Caller;
use crate::onward::{Failure, Onward};

/// Sessions of brokers that are remembered while there is no connection.
const LEFT_MAX: usize = 64;

/// What a connection leaves for the next one of the same client id.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Subscriptions that the broker keeps.
    pub(super) kept: Kept,
    /// Messages that it may send again, and that came already.
    pub(super) received: Vec<u16>,
}

/// All connections to brokers.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    links: Mutex<HashMap<Key, Vec<Arc<Link>>>>,
    left: Mutex<HashMap<Key, Left>>,
}

enum Step {
    Place(Place),
    /// Another connection with this client id has to end first.
    Wait(Arc<Link>),
}

impl Pool {
    fn links(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Link>>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, HashMap<Key, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on a connection; begins to open one if it has to.
    pub(super) async fn join(
        &self,
        onward: &Arc<Onward>,
        params: &Params,
        caller: &Caller,
        joining: impl Fn() -> Joining,
    ) -> Result<Place, Failure> {
        loop {
            match self.step(onward, params, caller, &joining)? {
                Step::Place(place) => return Ok(place),
                Step::Wait(link) => {
                    link.ended().await;
                    // Its driver is about to take it out.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn step(
        &self,
        onward: &Arc<Onward>,
        params: &Params,
        caller: &Caller,
        joining: impl Fn() -> Joining,
    ) -> Result<Step, Failure> {
        let mut links = self.links();
        let known = links.entry(params.key.clone()).or_default();
        let has_own_id = params.key.client_id.is_some();
        for link in known.iter() {
            let is_met = params.is_met_by(&link.params);
            if !is_met && !has_own_id {
                continue;
            }
            if let Some(place) = link.join(joining()) {
                if !is_met {
                    tracing::warn!(
                        "the will, birth or keep-alive of this streamtype is not used: another stream \
                         opened the connection with its own, and the broker takes one connection for \
                         the client id of this device"
                    );
                }
                return Ok(Step::Place(place));
            }
            if has_own_id {
                return Ok(Step::Wait(Arc::clone(link)));
            }
        }
        let left = self.left().remove(&params.key).filter(|_| !params.clean).unwrap_or_default();
        let opened = Link::new(params.clone(), left, &onward.config);
        let link = match opened {
            Ok(link) => link,
            Err(failure) => {
                if known.is_empty() {
                    links.remove(&params.key);
                }
                return Err(failure);
            }
        };
        known.push(Arc::clone(&link));
        drop(links);
        let place = link.join(joining());
        let driver = driver::run(Arc::clone(onward), Arc::clone(&link), caller.clone());
        tokio::spawn(driver.in_current_span());
        match place {
            Some(place) => Ok(Step::Place(place)),
            None => Ok(Step::Wait(link)),
        }
    }

    /// A connection is over, and left this behind.
    pub(super) fn remove(&self, link: &Arc<Link>, left: Left) {
        let key = &link.params.key;
        if !link.params.clean {
            let mut all = self.left();
            if all.len() >= LEFT_MAX
                && let Some(other) = all.keys().next().cloned()
            {
                all.remove(&other);
            }
            all.insert(key.clone(), left);
        }
        let mut links = self.links();
        if let Some(known) = links.get_mut(key) {
            known.retain(|other| !Arc::ptr_eq(other, link));
            if known.is_empty() {
                links.remove(key);
            }
        }
    }
}
