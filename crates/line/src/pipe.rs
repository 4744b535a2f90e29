//! One channel, between those who use it and the mux.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use sspc_mux::{Channel, LinkLoss, Priority};

/// Bytes that a channel's writer may be ahead of the line.
pub(crate) const OUTBOX_MAX: usize = 8 * 1024;

/// Where a channel's life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be asked for as soon as the link is up.
    Wanted(Priority),
    /// The peer was asked.
    Asked(Channel, Priority),
    /// Bytes pass.
    Open(Channel),
    /// To be closed when the outbox is empty.
    Closing(Channel),
    /// It is over.
    Ended(End),
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// This side closed it.
    Here,
    /// The peer closed it.
    Peer,
    /// The peer did not want it.
    Refused,
    /// All channels are in use.
    NoneFree,
    /// The link was lost.
    Link(LinkLoss),
    /// The reader was too far behind.
    Overflow,
    /// The line was closed.
    Line,
}

impl End {
    pub(crate) fn error(self) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, ResourceBusy};
        match self {
            Self::Here => io::Error::new(BrokenPipe, "the channel was closed"),
            Self::Peer => io::Error::new(BrokenPipe, "the peer closed the channel"),
            Self::Refused => io::Error::new(ConnectionRefused, "the peer refused the channel"),
            Self::NoneFree => io::Error::new(ResourceBusy, "all channels of the line are in use"),
            Self::Link(why) => {
                io::Error::new(ConnectionReset, format!("the serial link was lost: {why}"))
            }
            Self::Overflow => io::Error::new(
                ConnectionReset,
                "the channel was closed because its reader was too far behind",
            ),
            Self::Line => io::Error::new(BrokenPipe, "the line was closed"),
        }
    }
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) phase: Phase,
    pub(crate) inbox: VecDeque<u8>,
    pub(crate) outbox: VecDeque<u8>,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// The one that waits for the end without reading.
    pub(crate) watcher: Option<Waker>,
    /// How many of its two halves are in use.
    pub(crate) halves: u8,
    /// Its index on the wire, the last one if it had several.
    pub(crate) index: Option<u8>,
}

impl Pipe {
    pub(crate) const fn new(phase: Phase) -> Self {
        Self {
            phase,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            reader: None,
            writer: None,
            watcher: None,
            halves: 2,
            index: None,
        }
    }

    pub(crate) fn end(&mut self, end: End) {
        self.phase = Phase::Ended(end);
        self.outbox = VecDeque::new();
        self.wake_reader();
        self.wake_writer();
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    pub(crate) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// The next bytes for the reader; 0 if there are none.
    pub(crate) fn take(&mut self, room: &mut [u8]) -> usize {
        let taken = copy_front(&self.inbox, room);
        self.inbox.drain(..taken);
        if self.inbox.is_empty() && self.inbox.capacity() > OUTBOX_MAX {
            self.inbox = VecDeque::new();
        }
        taken
    }

    /// The next bytes for the line; 0 if there are none.
    pub(crate) fn give(&mut self, room: &mut [u8]) -> usize {
        let given = copy_front(&self.outbox, room);
        self.outbox.drain(..given);
        if self.outbox.len() <= OUTBOX_MAX / 2 {
            self.wake_writer();
        }
        given
    }
}

/// Copies from the front as much as there is and fits.
fn copy_front(queue: &VecDeque<u8>, room: &mut [u8]) -> usize {
    let mut copied = 0;
    for part in <[_; 2]>::from(queue.as_slices()) {
        let rest = room.get_mut(copied..).unwrap_or_default();
        let length = part.len().min(rest.len());
        if let (Some(rest), Some(part)) = (rest.get_mut(..length), part.get(..length)) {
            rest.copy_from_slice(part);
        }
        copied += length;
    }
    copied
}
