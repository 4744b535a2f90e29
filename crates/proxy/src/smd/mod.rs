//! System message distribution: a bus among all clients of a proxy, and the proxy itself.
//!
//! A stream of the streamtype `_lws_smd` is an attempt whose peer is the bus ([`run`]). A message goes
//! to all that want its class, its sender included. Who does not take messages in time loses its own,
//! and who sends too many waits, or loses the place of its own in the queues of others: see [`bus`].

mod bridge;
mod bus;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_wire::smd::{Classes, TEXT_MAX};

pub(crate) use self::bridge::Bridge;
pub use self::bridge::{SmdBridge, SmdBridgeError};
use self::bus::{Bus, Member, Sender};
pub(crate) use self::stream::run;
use crate::counters::Counts;
use crate::identity::Identity;

/// The bus of a proxy, for the program that the proxy is part of; see
/// [`Handle::smd`](crate::Handle::smd).
///
/// ```
/// # use sspc_policy::Policy;
/// # use sspc_proxy::{Classes, Config, Proxy};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let proxy = Proxy::new(Config::new(Policy::builtin()))?;
/// let smd = proxy.handle().smd();
/// let mut messages = smd.subscribe(Classes::NETWORK);
/// smd.publish(Classes::NETWORK, r#"{"type":"cpd","result":"OK"}"#)?;
/// assert_eq!(messages.recv().await.text, r#"{"type":"cpd","result":"OK"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Smd(Arc<Bus>);

/// How much may wait on a bus, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Messages that wait for each receiver.
    pub(crate) queue: usize,
    /// How long each of them waits.
    pub(crate) ttl: Duration,
    /// Messages a second of one client.
    pub(crate) rate: usize,
}

/// A message on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmdMessage {
    /// What it belongs to.
    pub class: Classes,
    /// When the proxy got it, in µs of the system's monotonic clock.
    pub timestamp_us: u64,
    /// Normally JSON.
    pub text: Bytes,
}

/// A text of more than 383 bytes cannot be a message: deployed peers would fail at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is too long: at most {TEXT_MAX} are allowed")]
pub struct MessageTooLong(pub usize);

impl Smd {
    pub(crate) fn new(bounds: Bounds, counts: Arc<Counts>) -> Self {
        Self(Arc::new(Bus::new(bounds, counts)))
    }

    /// Gives a message of the proxy to all that want its class.
    ///
    /// # Errors
    /// It is too long.
    pub fn publish(&self, class: Classes, text: impl Into<Bytes>) -> Result<(), MessageTooLong> {
        self.0.publish(Sender::PROXY, class, text.into())
    }

    /// Gives out what the proxy is at. Those that come later and want such messages get the last one
    /// first.
    pub(crate) fn publish_state(&self, text: &'static str) {
        self.0.publish_state(text);
    }

    /// Messages of these classes from now on.
    pub fn subscribe(&self, classes: Classes) -> Subscription {
        Subscription(self.0.join(Sender::PROXY, classes))
    }

    /// A stream of this client joins.
    fn join(&self, client: &Identity, classes: Classes) -> Member {
        self.0.join(self.0.sender(client), classes)
    }
}

impl fmt::Debug for Smd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smd").finish_non_exhaustive()
    }
}

/// Without limits that a test would notice.
#[cfg(test)]
impl Default for Smd {
    fn default() -> Self {
        let bounds = Bounds { queue: 40, ttl: Duration::from_secs(2), rate: 1_000_000 };
        Self::new(bounds, Arc::default())
    }
}

/// Messages of the bus, for the program that the proxy is part of. Dropping it leaves the bus.
#[derive(Debug)]
pub struct Subscription(Member);

impl Subscription {
    /// The next message. Those that nobody takes within 2 s are lost, and so are those beyond 40 that
    /// wait. Cancel safe: no message is lost.
    pub async fn recv(&mut self) -> SmdMessage {
        self.0.recv().await.message()
    }
}
