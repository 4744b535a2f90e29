use core::fmt;

use sspc_mux::{Channel, Priority};
use sspc_wire::Instant;

use crate::config::Config;
use crate::name::Name;
use crate::stream::Stream;

/// Which stream of a [`crate::Client`]: the place of its slot. When the stream's life is over the
/// slot may be given to another stream, which has the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u8);

impl StreamId {
    /// The stream in the slot with this index, from 0.
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The index.
    pub const fn index(self) -> u8 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a stream comes to its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It does not want one.
    None,
    /// It wants one as soon as the link is up. At the time it is told that the attempt failed.
    Waiting { until: Instant },
    /// CHANNEL_REQ is to be sent or was.
    Opening(Channel),
    /// It has one.
    Open(Channel),
}

/// Room for one stream of a [`crate::Client`], and what the client knows about it.
///
/// `B` is the storage for the stream's metadata, as [`Stream`] has it.
#[derive(Debug)]
pub struct Slot<B> {
    pub(super) stream: Stream<B>,
    pub(super) way: Way,
    pub(super) priority: Priority,
}

impl<B> Slot<B> {
    /// With a stream that wants its channel at once.
    pub const fn new(streamtype: Name, config: Config, priority: Priority, storage: B) -> Self {
        Self { stream: Stream::new(streamtype, config, storage), way: Way::None, priority }
    }

    /// Without a stream, for [`crate::Client::open`].
    pub const fn vacant(storage: B) -> Self {
        Self { stream: Stream::vacant(storage), way: Way::None, priority: Priority::LOWEST }
    }

    pub(super) fn channel(&self) -> Option<Channel> {
        match self.way {
            Way::Opening(channel) | Way::Open(channel) => Some(channel),
            Way::None | Way::Waiting { .. } => None,
        }
    }

    /// True if the slot may be given to another stream.
    pub(super) fn is_free(&self) -> bool {
        self.stream.is_closed() && !self.stream.has_event()
    }

    /// Something was asked of the link or waits to be told, at this time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.stream.has_event() {
            return Some(Instant::ZERO);
        }
        match (self.way, self.stream.deadline()) {
            (Way::Waiting { until }, Some(at)) => Some(until.min(at)),
            (Way::Waiting { until }, None) => Some(until),
            (_, at) => at,
        }
    }
}

/// What a [`crate::Client`] keeps its streams in: `[Slot<B>; N]`, `&mut [Slot<B>]`, a `Vec` with
/// feature `std`. Slots behind the first 250 are never used.
pub trait Slots {
    /// The storage of a stream's metadata.
    type Storage: AsRef<[u8]> + AsMut<[u8]>;

    /// The slots.
    fn slots(&self) -> &[Slot<Self::Storage>];

    /// The slots, always the same ones.
    fn slots_mut(&mut self) -> &mut [Slot<Self::Storage>];
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Slots for [Slot<B>] {
    type Storage = B;

    fn slots(&self) -> &[Slot<B>] {
        self
    }

    fn slots_mut(&mut self) -> &mut [Slot<B>] {
        self
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, const N: usize> Slots for [Slot<B>; N] {
    type Storage = B;

    fn slots(&self) -> &[Slot<B>] {
        self
    }

    fn slots_mut(&mut self) -> &mut [Slot<B>] {
        self
    }
}

impl<S: Slots + ?Sized> Slots for &mut S {
    type Storage = S::Storage;

    fn slots(&self) -> &[Slot<S::Storage>] {
        (**self).slots()
    }

    fn slots_mut(&mut self) -> &mut [Slot<S::Storage>] {
        (**self).slots_mut()
    }
}

#[cfg(feature = "std")]
impl<B: AsRef<[u8]> + AsMut<[u8]>> Slots for std::vec::Vec<Slot<B>> {
    type Storage = B;

    fn slots(&self) -> &[Slot<B>] {
        self
    }

    fn slots_mut(&mut self) -> &mut [Slot<B>] {
        self
    }
}
