//! One channel, between its users and the mux.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use sspc_mux::{Channel, LinkLoss, Priority};

use crate::ahead::Ahead;

/// Bytes that a channel's writer may be ahead of the line.
pub(crate) const UNSENT_MAX: usize = 8 * 1024;

/// What phase of its life a channel is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be asked for as soon as the link is up.
    Queued(Priority),
    /// The peer was asked.
    Requested(Channel, Priority),
    /// Bytes pass.
    Open(Channel),
    /// To be closed when nothing is unsent.
    Closing(Channel),
    /// It is over.
    Ended(ChannelEnd),
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelEnd {
    /// This side closed it.
    ClosedHere,
    /// The peer closed it.
    ClosedByPeer,
    /// The peer did not want it.
    Refused,
    /// All channels are in use.
    NoneFree,
    /// The link was lost.
    Link(LinkLoss),
    /// The reader was too far behind.
    Overflow,
    /// The line was closed.
    LineClosed,
}

impl ChannelEnd {
    pub(crate) fn error(self) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, ResourceBusy};
        match self {
            Self::ClosedHere => io::Error::new(BrokenPipe, "the channel was closed"),
            Self::ClosedByPeer => io::Error::new(BrokenPipe, "the peer closed the channel"),
            Self::Refused => io::Error::new(ConnectionRefused, "the peer refused the channel"),
            Self::NoneFree => io::Error::new(ResourceBusy, "all channels of the line are in use"),
            Self::Link(why) => {
                io::Error::new(ConnectionReset, format!("the serial link was lost: {why}"))
            }
            Self::Overflow => io::Error::new(
                ConnectionReset,
                "the channel was closed because its reader was too far behind",
            ),
            Self::LineClosed => io::Error::new(BrokenPipe, "the line was closed"),
        }
    }
}

/// One channel.
#[derive(Debug)]
pub(crate) struct ChannelState {
    pub(crate) phase: Phase,
    pub(crate) unread: VecDeque<u8>,
    pub(crate) unsent: VecDeque<u8>,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// The one that waits for the end without reading.
    pub(crate) watcher: Option<Waker>,
    /// How many of its two halves are in use.
    pub(crate) halves: u8,
    /// Its index on the wire, the last one if it had several.
    pub(crate) index: Option<u8>,
    pub(crate) ahead: Ahead,
}

impl ChannelState {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            unread: VecDeque::new(),
            unsent: VecDeque::new(),
            reader: None,
            writer: None,
            watcher: None,
            halves: 2,
            index: None,
            ahead: Ahead::default(),
        }
    }

    pub(crate) fn end(&mut self, end: ChannelEnd) {
        self.phase = Phase::Ended(end);
        self.unsent = VecDeque::new();
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
    pub(crate) fn pop_unread(&mut self, buf: &mut [u8]) -> usize {
        let length = copy_front(&self.unread, buf);
        self.unread.drain(..length);
        if self.unread.is_empty() && self.unread.capacity() > UNSENT_MAX {
            self.unread = VecDeque::new();
        }
        length
    }

    /// The next bytes for the line; 0 if there are none, or none may be sent now.
    pub(crate) fn pop_unsent(&mut self, buf: &mut [u8]) -> usize {
        let room = self.ahead.room(self.unsent.len()).min(buf.len());
        let buf = buf.get_mut(..room).unwrap_or_default();
        let length = copy_front(&self.unsent, buf);
        self.unsent.drain(..length);
        if self.unsent.len() <= UNSENT_MAX / 2 {
            self.wake_writer();
        }
        length
    }
}

/// Copies from the front as much as there is and fits.
fn copy_front(queue: &VecDeque<u8>, buf: &mut [u8]) -> usize {
    let mut copied = 0;
    for part in <[_; 2]>::from(queue.as_slices()) {
        let rest = buf.get_mut(copied..).unwrap_or_default();
        let length = part.len().min(rest.len());
        if let (Some(rest), Some(part)) = (rest.get_mut(..length), part.get(..length)) {
            rest.copy_from_slice(part);
        }
        copied += length;
    }
    copied
}
