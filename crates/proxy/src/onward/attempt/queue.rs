//! The queue of events from an attempt to its session, bounded by count and by bytes.

use std::sync::Arc;

use bytes::Bytes;
use sspc_wire::Flags;
use tokio::sync::{Semaphore, mpsc};

use super::{Event, PAYLOAD_EVENT_MAX};
use crate::memory::{Account, Held, Way};

/// Most events that wait, whatever they carry: enough for all that one small response causes.
const EVENTS_MAX: usize = 32;

/// Payload below this is copied out of the buffer that it was read into, rather than keep that: it
/// may be 64 KiB.
const COPY_BELOW: usize = 4096;
/// What an event takes beside its payload, in bytes.
const EVENT_COST: usize = 128;

/// A queue that holds at most `bytes` of payload, but at least one full event.
pub(crate) fn queue(bytes: usize, account: Arc<Account>) -> (EventSender, EventReceiver) {
    queue_of(EVENTS_MAX, bytes, account)
}

/// The same of at most `events`, whatever they carry.
pub(crate) fn queue_of(
    events: usize,
    bytes: usize,
    account: Arc<Account>,
) -> (EventSender, EventReceiver) {
    let bytes = bytes.clamp(PAYLOAD_EVENT_MAX, Semaphore::MAX_PERMITS >> 1);
    let room = Arc::new(Semaphore::new(bytes));
    let (sender, receiver) = mpsc::channel(events);
    (EventSender { sender, room: Arc::clone(&room), account }, EventReceiver { receiver, room })
}

#[derive(Debug)]
struct Queued {
    event: Event,
    /// For payload.
    _held: Option<Held>,
}

/// The session's end of the queue.
#[derive(Debug)]
pub(crate) struct EventReceiver {
    receiver: mpsc::Receiver<Queued>,
    room: Arc<Semaphore>,
}

impl EventReceiver {
    /// The next event; `None` after [`Event::Ended`]. Nothing is lost if the call is cancelled.
    pub(crate) async fn recv(&mut self) -> Option<Event> {
        let queued = self.receiver.recv().await?;
        Some(self.taken(queued))
    }

    /// The next event if one is there already.
    pub(crate) fn try_recv(&mut self) -> Option<Event> {
        let queued = self.receiver.try_recv().ok()?;
        Some(self.taken(queued))
    }

    fn taken(&self, queued: Queued) -> Event {
        if let Event::Payload { bytes, .. } = &queued.event {
            self.room.add_permits(bytes.len());
        }
        queued.event
    }
}

/// The session does not listen any more; the attempt has nobody to work for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionGone;

/// The attempt's end of the queue. Calls wait until there is room.
#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    sender: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    account: Arc<Account>,
}

impl EventSender {
    /// Queues an event that is not payload.
    pub(crate) async fn event(&self, event: Event) -> Result<(), SessionGone> {
        self.sender.send(Queued { event, _held: None }).await.map_err(|_| SessionGone)
    }

    /// Queues an event if there is room for it now.
    pub(crate) fn try_event(&self, event: Event) -> bool {
        self.sender.try_send(Queued { event, _held: None }).is_ok()
    }

    /// Ready once an event would not have to wait, nor the stream's share of memory is used up.
    pub(crate) async fn room(&self) -> Result<(), SessionGone> {
        self.memory().await;
        self.sender.reserve().await.map(drop).map_err(|_| SessionGone)
    }

    /// Queues payload in events of at most [`PAYLOAD_EVENT_MAX`] bytes: SOM and RELATED_START on
    /// the first, EOM and RELATED_END on the last.
    pub(crate) async fn payload(&self, mut bytes: Bytes, flags: Flags) -> Result<(), SessionGone> {
        let last_only = Flags::EOM | Flags::RELATED_END;
        let mut now = flags.without(last_only);
        while bytes.len() > PAYLOAD_EVENT_MAX {
            self.piece(bytes.split_to(PAYLOAD_EVENT_MAX), now).await?;
            now = Flags::NONE;
        }
        self.piece(bytes, now | (flags & last_only)).await
    }

    /// Ready once the peer may be read: the stream's share of the proxy's memory is not used up. To
    /// be waited for before each read.
    pub(crate) async fn memory(&self) {
        self.account.room(Way::Back).await;
    }

    /// What the stream's payload is charged on.
    pub(crate) const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    async fn piece(&self, bytes: Bytes, flags: Flags) -> Result<(), SessionGone> {
        // Pieces fit 32 bits by their limit; the permits return in `EventReceiver::taken`.
        let permits = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.room.acquire_many(permits).await.map_err(|_| SessionGone)?.forget();
        let (bytes, kept) = match bytes.len() {
            length @ ..COPY_BELOW => (Bytes::copy_from_slice(&bytes), length),
            _ => (bytes, PAYLOAD_EVENT_MAX),
        };
        let _held = Some(self.account.hold(Way::Back, kept + EVENT_COST));
        let queued = Queued { event: Event::Payload { bytes, flags }, _held };
        self.sender.send(queued).await.map_err(|_| SessionGone)
    }
}
