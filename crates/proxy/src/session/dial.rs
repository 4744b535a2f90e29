//! What a session needs of the onward side.

use std::future::Future;
use std::sync::Arc;

use sspc_policy::Protocol;
use tokio::sync::mpsc;

use crate::onward::{Attempt, Chunk, Event, Events, Onward, Running};

/// Starts attempts.
pub(crate) trait Dialer: Clone + Send + Sync + 'static {
    /// A running attempt; dropping it ends it.
    type Call: Call;

    /// True if attempts of this protocol can do more than fail.
    fn supports(&self, protocol: Protocol) -> bool;

    /// Starts one.
    fn start(&self, attempt: Attempt) -> Self::Call;
}

/// A running attempt.
pub(crate) trait Call: Send {
    type Events: EventQueue;

    /// Its two queues: what the peer reports and what goes to it.
    fn queues(&mut self) -> (&mut Self::Events, &mpsc::Sender<Chunk>);
}

/// What a running attempt reports.
pub(crate) trait EventQueue: Send {
    /// The next event; `None` after the last. Nothing is lost if the call is cancelled.
    fn recv(&mut self) -> impl Future<Output = Option<Event>> + Send;

    /// The next event if it is there already.
    fn try_recv(&mut self) -> Option<Event>;
}

impl Dialer for Arc<Onward> {
    type Call = Running;

    fn supports(&self, protocol: Protocol) -> bool {
        matches!(protocol, Protocol::H1 | Protocol::H2 | Protocol::Ws | Protocol::Raw)
    }

    fn start(&self, attempt: Attempt) -> Running {
        Onward::start(self, attempt)
    }
}

impl Call for Running {
    type Events = Events;

    fn queues(&mut self) -> (&mut Events, &mpsc::Sender<Chunk>) {
        (&mut self.events, &self.body)
    }
}

impl EventQueue for Events {
    fn recv(&mut self) -> impl Future<Output = Option<Event>> + Send {
        Events::recv(self)
    }

    fn try_recv(&mut self) -> Option<Event> {
        Events::try_recv(self)
    }
}
