use core::future::poll_fn;
use core::task::{Context, Poll};

use sspc_mux::Priority;
use sspc_wire::{Flags, State, Timeout};

use super::buffers::{BufferSet, wake};
use super::{Cell, Error, Shared, creation};
use crate::client::{Slot, StreamId};
use crate::event::Event;

/// One stream. Dropping it closes it.
///
/// One task may wait for events while another one sends; not two for the same.
#[derive(Debug)]
pub struct Stream<'d, M: BufferSet> {
    shared: &'d Cell<M>,
    id: StreamId,
}

impl<'d, M: BufferSet> Stream<'d, M> {
    pub(super) const fn new(shared: &'d Cell<M>, id: StreamId) -> Self {
        Self { shared, id }
    }

    /// Which slot it has.
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// The state that the proxy's last event told, taken or not: [`crate::Stream::state`].
    pub fn state(&self) -> Option<State> {
        self.shared.borrow().client.stream(self.id)?.state()
    }

    /// True while there is an onward connection: [`crate::Stream::is_connected`].
    pub fn is_connected(&self) -> bool {
        let shared = self.shared.borrow();
        shared.client.stream(self.id).is_some_and(crate::Stream::is_connected)
    }

    /// True while the stream exists at the proxy.
    pub fn is_created(&self) -> bool {
        let shared = self.shared.borrow();
        shared.client.stream(self.id).is_some_and(crate::Stream::is_created)
    }

    /// The next event; `None` behind DESTROYING. Payload and values come in pieces as long as
    /// `buf`, with the name that belongs to them in it: 64 bytes are enough. What is taken counts
    /// as consumed. Cancel safe.
    pub async fn next<'r>(&self, buf: &'r mut [u8]) -> Option<Event<'r>> {
        let mut buf = Some(buf);
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            let shared = &mut *shared;
            let Some(buffers) = shared.client.storage(self.id) else { return Poll::Ready(None) };
            let parts = buffers.parts();
            if parts.queue.events.is_empty() {
                if parts.queue.over {
                    return Poll::Ready(None);
                }
                parts.queue.receiver = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let Some(buf) = buf.take() else { return Poll::Ready(None) };
            let event = parts.queue.events.pop(parts.rx, buf);
            match event {
                Some(Event::State { state: State::Destroying, .. }) => parts.queue.over = true,
                Some(Event::Payload { data, .. }) => {
                    shared.client.consumed(self.id, data.len() as u32);
                }
                _ => {}
            }
            shared.change();
            Poll::Ready(event)
        })
        .await
    }

    /// True if the proxy said that the streamtype takes no payload, which it does right behind the
    /// stream's creation: [`crate::Stream::takes_no_payload`].
    pub fn takes_no_payload(&self) -> bool {
        let shared = self.shared.borrow();
        shared.client.stream(self.id).is_some_and(crate::Stream::takes_no_payload)
    }

    /// Takes events until the stream is created.
    pub(super) async fn created(&self) -> Result<(), Error> {
        let mut buf = [0; 64];
        loop {
            if let Some(result) = creation(self.next(&mut buf).await) {
                return result;
            }
        }
    }

    /// Sends a whole message, its length before it (Content-Length over http); connects if needed.
    /// Returns when the last of it is in the stream's buffer. See [cancel safety](super#cancel-safety).
    ///
    /// # Errors
    /// The connection was lost inside the message, the streamtype takes no payload, or the stream's
    /// life is over.
    pub async fn send(&self, message: &[u8]) -> Result<(), Error> {
        let mut whole = Whole { stream: self, is_broken: false };
        let (mut rest, mut flags) = (message, Flags::WHOLE);
        loop {
            let length = u32::try_from(message.len()).ok().filter(|_| !whole.is_broken);
            let taken = poll_fn(|cx| self.poll_write(cx, rest, flags, length)).await;
            rest = match taken {
                Ok(taken) => rest.get(taken..).unwrap_or_default(),
                Err(error) => {
                    whole.is_broken = false;
                    return Err(error);
                }
            };
            whole.is_broken = !rest.is_empty();
            if rest.is_empty() {
                return Ok(());
            }
            flags = flags.without(Flags::SOM);
        }
    }

    /// Sends what fits the stream's buffer of a run of a message's bytes, with SOM on its first and
    /// EOM on its last; returns how many. The flags that end something go with the last byte of
    /// `data` only. Connects if needed; waits for what was written before to be sent. Cancel safe.
    ///
    /// # Errors
    /// The connection was lost inside the message, the streamtype takes no payload, or the stream's
    /// life is over.
    pub async fn write(&self, data: &[u8], flags: Flags) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_write(cx, data, flags, None)).await
    }

    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        flags: Flags,
        length: Option<u32>,
    ) -> Poll<Result<usize, Error>> {
        let mut shared = self.shared.borrow_mut();
        let shared = &mut *shared;
        let stream = shared.client.stream(self.id);
        if stream.is_some_and(crate::Stream::takes_no_payload) {
            return Poll::Ready(Err(Error::TakesNoPayload));
        }
        let ended = stream.is_none_or(crate::Stream::has_ended);
        let Some(buffers) = shared.client.storage(self.id).filter(|_| !ended) else {
            return Poll::Ready(Err(Error::Closed));
        };
        let parts = buffers.parts();
        if parts.queue.take_broken(flags) {
            return Poll::Ready(Err(Error::Interrupted));
        }
        if parts.queue.is_full() {
            parts.queue.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = parts.queue.write(parts.tx, data, flags);
        let now = shared.now;
        match length {
            Some(length) => shared.client.request_tx_len(self.id, now, length),
            None => shared.client.request_tx(self.id, now),
        }
        shared.change();
        Poll::Ready(Ok(taken))
    }

    /// Asks for the onward connection: [`crate::Stream::connect`].
    pub fn connect(&self) {
        self.command(|shared| shared.client.connect(self.id));
    }

    /// Sets a value by the policy's name for it: [`crate::Stream::set_metadata`].
    ///
    /// # Errors
    /// The name or the value is none that a proxy takes, or the storage is full.
    pub fn set_metadata(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        let set = |shared: &mut Shared<[Slot<M>]>| shared.client.set_metadata(self.id, name, value);
        self.command(set).map_err(Error::Metadata)
    }

    /// Starts or cancels the stream's timeout at the proxy: [`crate::Stream::set_timeout`].
    pub fn set_timeout(&self, timeout: Timeout) {
        self.command(|shared| shared.client.set_timeout(self.id, timeout));
    }

    /// Lets the remote peer send this many more bytes: [`crate::Stream::add_credit`].
    pub fn add_credit(&self, bytes: i32) {
        self.command(|shared| shared.client.add_credit(self.id, bytes));
    }

    /// Changes the priority from the next frame on.
    pub fn set_priority(&self, priority: Priority) {
        self.command(|shared| shared.client.set_priority(self.id, priority));
    }

    /// Breaks off what was to be sent: [`crate::Stream::abandon`].
    pub fn abandon(&self) {
        self.command(|shared| {
            let now = shared.now;
            shared.client.abandon(self.id, now);
            if let Some(buffers) = shared.client.storage(self.id) {
                buffers.parts().queue.discard();
            }
        });
    }

    /// Ends the stream's life; events until DESTROYING can still be taken.
    pub fn close(&self) {
        self.command(|shared| shared.client.close(self.id));
    }

    fn command<R>(&self, command: impl FnOnce(&mut Shared<[Slot<M>]>) -> R) -> R {
        let mut shared = self.shared.borrow_mut();
        let result = command(&mut shared);
        shared.change();
        result
    }
}

impl<M: BufferSet> Drop for Stream<'_, M> {
    fn drop(&mut self) {
        self.command(|shared| {
            shared.client.close(self.id);
            if let Some(buffers) = shared.client.storage(self.id) {
                let queue = buffers.parts().queue;
                queue.owned = false;
                queue.discard();
                wake(&mut queue.receiver);
            }
        });
    }
}

/// A message that is to be sent whole or not at all.
struct Whole<'s, 'd, M: BufferSet> {
    stream: &'s Stream<'d, M>,
    /// A part of it went out and another did not.
    is_broken: bool,
}

impl<M: BufferSet> Drop for Whole<'_, '_, M> {
    fn drop(&mut self) {
        if self.is_broken {
            self.stream.abandon();
        }
    }
}
