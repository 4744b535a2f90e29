//! What a session needs of the onward side.

use std::future::Future;
use std::sync::Arc;

use sspc_policy::Protocol;
use tokio::sync::mpsc;

use super::frame_writer::FrameWriter;
use crate::memory::Account;
use crate::onward::{Attempt, AttemptHandle, Event, EventReceiver, Onward, TxChunk};

/// Starts attempts.
pub(crate) trait AttemptStarter: Clone + Send + Sync + 'static {
    /// A running attempt; dropping it ends it.
    type RunningAttempt: RunningAttempt;

    /// True if attempts of this protocol can do more than fail.
    fn supports(&self, protocol: Protocol) -> bool;

    /// Starts one.
    fn start(&self, attempt: Attempt) -> Self::RunningAttempt;
}

/// A running attempt.
pub(crate) trait RunningAttempt: Send {
    type EventReceiver: EventStream;

    /// Its two queues: what the peer reports and what goes to it.
    fn queues(&mut self) -> (&mut Self::EventReceiver, &mut mpsc::Sender<TxChunk>);

    /// Nothing more goes to the peer. An attempt that goes on until either side leaves says goodbye,
    /// reports what still comes, and ends.
    fn leave(&mut self) {
        let (closed, _) = mpsc::channel(1);
        *self.queues().1 = closed;
    }
}

/// What a running attempt reports.
pub(crate) trait EventStream: Send {
    /// The next event; `None` after the last. Nothing is lost if the call is cancelled.
    fn recv(&mut self) -> impl Future<Output = Option<Event>> + Send;

    /// The next event if it is there already.
    fn try_recv(&mut self) -> Option<Event>;
}

/// What a driver can wait for besides the client; the options are `None` while there is nothing to
/// wait for.
pub(crate) struct Waits<'a, D: AttemptStarter> {
    /// Frames to write.
    pub(crate) frame_writer: &'a mut FrameWriter,
    /// What the running attempt reports, if there is room for it.
    pub(crate) events: Option<&'a mut <D::RunningAttempt as RunningAttempt>::EventReceiver>,
    /// Room for payload, if there is payload.
    pub(crate) body: Option<&'a mpsc::Sender<TxChunk>>,
    /// Memory for what the client sends, if there is none.
    pub(crate) memory: Option<&'a Account>,
}

impl AttemptStarter for Arc<Onward> {
    type RunningAttempt = AttemptHandle;

    fn supports(&self, protocol: Protocol) -> bool {
        Onward::supports(protocol) && (protocol != Protocol::Smd || self.has_smd())
    }

    fn start(&self, attempt: Attempt) -> AttemptHandle {
        Onward::start(self, attempt)
    }
}

impl RunningAttempt for AttemptHandle {
    type EventReceiver = EventReceiver;

    fn queues(&mut self) -> (&mut EventReceiver, &mut mpsc::Sender<TxChunk>) {
        (&mut self.events, &mut self.body)
    }
}

impl EventStream for EventReceiver {
    fn recv(&mut self) -> impl Future<Output = Option<Event>> + Send {
        EventReceiver::recv(self)
    }

    fn try_recv(&mut self) -> Option<Event> {
        EventReceiver::try_recv(self)
    }
}
