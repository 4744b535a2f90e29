use core::task::Waker;

use sspc_wire::{Flags, State};

use super::queue::Queue;
use crate::engine::Tx;
use crate::event::Event;

/// The memory of one stream: `RX` bytes for events that wait for the application, `TX` for payload
/// that waits for the line, `META` for the metadata that the application sets.
///
/// `RX` must hold twice the window, so that the line does not have to wait for the application: each
/// message, or piece of a longer one, takes 8 bytes beside its own. If messages of fewer than 8 bytes
/// come, or many that are empty, take 9 times the window for the same. `TX` is best as long as a frame.
#[derive(Debug)]
pub struct StreamBuffers<const RX: usize, const TX: usize, const META: usize> {
    pub(super) queue: StreamQueue,
    rx: [u8; RX],
    tx: [u8; TX],
    metadata: [u8; META],
}

impl<const RX: usize, const TX: usize, const META: usize> StreamBuffers<RX, TX, META> {
    pub(super) const EMPTY: Self = {
        assert!(RX >= 128, "a stream needs 128 bytes for its events");
        assert!(TX >= 1, "a stream needs room for a byte that it sends");
        Self { queue: StreamQueue::new(), rx: [0; RX], tx: [0; TX], metadata: [0; META] }
    };
}

impl<const RX: usize, const TX: usize, const META: usize> AsRef<[u8]>
    for StreamBuffers<RX, TX, META>
{
    fn as_ref(&self) -> &[u8] {
        &self.metadata
    }
}

impl<const RX: usize, const TX: usize, const META: usize> AsMut<[u8]>
    for StreamBuffers<RX, TX, META>
{
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.metadata
    }
}

/// The parts of [`StreamBuffers`].
#[derive(Debug)]
pub struct Parts<'s> {
    pub(super) queue: &'s mut StreamQueue,
    pub(super) rx: &'s mut [u8],
    pub(super) tx: &'s mut [u8],
    pub(super) metadata: &'s [u8],
}

/// [`StreamBuffers`] of any size.
pub trait BufferSet: AsRef<[u8]> + AsMut<[u8]> + sealed::Sealed {
    /// The window that a stream of this size has if nothing else is said, in bytes.
    const WINDOW: u32;

    /// For this module alone.
    #[doc(hidden)]
    fn parts(&mut self) -> Parts<'_>;
}

impl<const RX: usize, const TX: usize, const META: usize> BufferSet
    for StreamBuffers<RX, TX, META>
{
    const WINDOW: u32 = (RX / 2) as u32;

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            queue: &mut self.queue,
            rx: &mut self.rx,
            tx: &mut self.tx,
            metadata: &self.metadata,
        }
    }
}

impl<const RX: usize, const TX: usize, const META: usize> sealed::Sealed
    for StreamBuffers<RX, TX, META>
{
}

mod sealed {
    pub trait Sealed {}
}

/// A run of a message's bytes in the buffer.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    length: usize,
    sent: usize,
    flags: Flags,
}

/// What is in a stream's buffers, and who waits for it.
#[derive(Debug)]
pub(super) struct StreamQueue {
    pub(super) events: Queue,
    chunk: Option<Chunk>,
    /// A message has begun to go out and its end was not written.
    message_open: bool,
    /// It was cut off by the loss of the connection or answered before it began; its writer is
    /// still to be told.
    broken: bool,
    /// A handle to the stream exists.
    pub(super) owned: bool,
    /// The application took DESTROYING.
    pub(super) over: bool,
    pub(super) receiver: Option<Waker>,
    pub(super) sender: Option<Waker>,
}

impl StreamQueue {
    pub(super) const fn new() -> Self {
        Self {
            events: Queue::new(),
            chunk: None,
            message_open: false,
            broken: false,
            owned: false,
            over: false,
            receiver: None,
            sender: None,
        }
    }

    /// True if the chunk before is still to be sent.
    pub(super) const fn is_full(&self) -> bool {
        self.chunk.is_some()
    }

    /// True if the message that goes on was cut off; told once.
    pub(super) fn take_broken(&mut self, flags: Flags) -> bool {
        core::mem::take(&mut self.broken) && !flags.contains(Flags::SOM)
    }

    /// Takes what fits of a run of a message's bytes; returns how many.
    pub(super) fn write(&mut self, tx: &mut [u8], data: &[u8], flags: Flags) -> usize {
        let length = data.len().min(tx.len());
        tx.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        let is_last = length == data.len();
        let ends = Flags::EOM | Flags::RELATED_END;
        let flags = if is_last { flags } else { flags.without(ends) };
        self.chunk = Some(Chunk { length, sent: 0, flags });
        length
    }

    /// The source of the stream's frames.
    pub(super) fn fill(&mut self, tx: &[u8], buf: &mut [u8]) -> Option<Tx> {
        let chunk = self.chunk.as_mut()?;
        let left = tx.get(chunk.sent..chunk.length).unwrap_or_default();
        let len = left.len().min(buf.len());
        buf.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        let mut flags = chunk.flags;
        if chunk.sent > 0 {
            flags = flags.without(Flags::SOM | Flags::POLL | Flags::RELATED_START);
        }
        chunk.sent += len;
        let more = len < left.len();
        if more {
            flags = flags.without(Flags::EOM | Flags::RELATED_END);
        } else {
            self.chunk = None;
            wake(&mut self.sender);
        }
        self.message_open = !flags.contains(Flags::EOM);
        Some(Tx { len, flags, more })
    }

    /// What has begun to be sent is not sent further.
    pub(super) fn break_off(&mut self) {
        if self.message_open {
            self.message_open = false;
            let rest = self.chunk.take();
            self.broken = rest.is_none_or(|chunk| !chunk.flags.contains(Flags::EOM));
            wake(&mut self.sender);
        }
    }

    /// The message was answered before it began: it is not sent.
    pub(super) fn answered(&mut self) {
        let rest = self.chunk.take();
        self.broken = rest.is_some_and(|chunk| !chunk.flags.contains(Flags::EOM));
        wake(&mut self.sender);
    }

    /// What was to be sent and was not is forgotten, with its message.
    pub(super) fn discard(&mut self) {
        self.chunk = None;
        self.message_open = false;
        self.broken = false;
        wake(&mut self.sender);
    }

    /// Does what an event means for the sending half.
    pub(super) fn notice(&mut self, event: &Event<'_>) {
        if let Event::State {
            state:
                State::Disconnected
                | State::Unreachable
                | State::AuthFailed
                | State::AllRetriesFailed
                | State::Destroying,
            ..
        } = event
        {
            self.break_off();
        }
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
