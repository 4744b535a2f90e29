use core::fmt;

use sspc_mux::{Channel, Priority};
use sspc_wire::Instant;
use sspc_wire::limits::MUX_CHANNELS_MAX;

use crate::config::Config;
use crate::name::Name;
use crate::stream::Stream;

/// A mux has no more channels at a time.
const SLOTS_MAX: usize = MUX_CHANNELS_MAX;

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

/// Room for one stream of a [`crate::Client`], and what the client knows about it.
///
/// `B` is the storage for the stream's metadata, as [`Stream`] has it.
#[derive(Debug)]
#[repr(C)]
pub struct Slot<B> {
    /// The one that it has or that was asked for.
    pub(super) channel: Option<Channel>,
    /// It is to get one as soon as the link is up.
    pub(super) waits: bool,
    /// When the attempt to get one counts as failed, while that is to come.
    pub(super) waits_until: Instant,
    pub(super) is_timed: bool,
    pub(super) priority: Priority,
    pub(super) stream: Stream<B>,
}

impl<B> Slot<B> {
    /// With a stream that wants its channel at once.
    pub const fn new(streamtype: Name, config: Config, priority: Priority, storage: B) -> Self {
        Self::with(Stream::new(streamtype, config, storage), priority)
    }

    /// Without a stream, for [`crate::Client::open`].
    pub const fn vacant(storage: B) -> Self {
        Self::with(Stream::vacant(storage), Priority::LOWEST)
    }

    const fn with(stream: Stream<B>, priority: Priority) -> Self {
        Self {
            stream,
            channel: None,
            waits: false,
            waits_until: Instant::ZERO,
            is_timed: false,
            priority,
        }
    }

    /// True if the slot may be given to another stream.
    pub(super) const fn is_free(&self) -> bool {
        self.stream.is_closed() && !self.stream.has_event() && self.channel.is_none()
    }

    /// When something is to be asked of the link or told; [`Instant::NEVER`] for none.
    pub(super) fn wakes_at(&self) -> Instant {
        if self.stream.has_event() {
            Instant::ZERO
        } else {
            let waits_until = if self.is_timed { self.waits_until } else { Instant::NEVER };
            waits_until.min(self.stream.wakes_at())
        }
    }

    /// There is no channel any more, nor is one waited for.
    pub(super) const fn has_none(&mut self) {
        self.channel = None;
        self.waits = false;
        self.is_timed = false;
    }
}

/// What a [`crate::Client`] keeps its streams in: `[Slot<B>; N]`, `&mut [Slot<B>]`, a `Vec` with
/// feature `std`; no more than 253. On a device, whose mux has 32 channels, the others wait for one.
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
        self.get(..SLOTS_MAX).unwrap_or(self)
    }

    fn slots_mut(&mut self) -> &mut [Slot<B>] {
        let used = self.len().min(SLOTS_MAX);
        self.get_mut(..used).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, const N: usize> Slots for [Slot<B>; N] {
    type Storage = B;

    fn slots(&self) -> &[Slot<B>] {
        const { assert!(N <= SLOTS_MAX, "a client has 253 streams at most") }
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
        self.as_slice().slots()
    }

    fn slots_mut(&mut self) -> &mut [Slot<B>] {
        self.as_mut_slice().slots_mut()
    }
}
