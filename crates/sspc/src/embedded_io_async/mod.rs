//! The async client for devices: streams over a serial line that `embedded-io-async` drivers read
//! and write, on any single-threaded executor; no allocation, no atomics.
//!
//! A [`State`] holds all memory. [`State::split`] gives a [`Handle`], by which tasks open streams,
//! and a [`Runner`], whose [`run`](Runner::run) some task calls for ever.
//!
//! ```
//! use sspc::embedded_io_async::{Handle, StreamBuffers, State, Timer};
//! use sspc::{Event, Instant, MuxConfig};
//! # use embedded_io_async::{Read, Write};
//!
//! type Buffers = StreamBuffers<2048, 1361, 128>;
//!
//! async fn report(handle: &Handle<'_, Buffers>) -> Result<(), sspc::embedded_io_async::Error> {
//!     let mut buf = [0; 256];
//!     let stream = handle.open("report").await?;
//!     stream.send(b"21.5 C").await?;
//!     while let Some(event) = stream.next(&mut buf).await {
//!         match event {
//!             Event::Payload { data, .. } => { /* the answer, or a part of it */ }
//!             // The verdict, or what comes in its place.
//!             Event::State {
//!                 state:
//!                     sspc::State::QosAckRemote
//!                     | sspc::State::QosNackRemote
//!                     | sspc::State::Disconnected
//!                     | sspc::State::AllRetriesFailed
//!                     | sspc::State::AuthFailed,
//!                 ..
//!             } => break,
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//!
//! async fn firmware(mut rx: impl Read, mut tx: impl Write, timer: impl Timer) {
//!     // Or in a `StaticCell`, where tasks must be 'static.
//!     let mut state = State::<4, Buffers>::new(MuxConfig::FAST, 0x5eed);
//!     let (handle, mut runner) = state.split();
//!     let (mut read, mut write) = ([0; 64], [0; 1420]);
//!     let line = async {
//!         loop {
//!             // It ends when the driver fails, as UARTs' do at an overrun: begin again.
//!             let _error = runner.run(&mut rx, &mut tx, &timer, &mut read, &mut write).await;
//!             // A driver that fails again and again keeps nobody else from running.
//!             timer.sleep_until(timer.now().plus_millis(10)).await;
//!         }
//!     };
//!     # let select = |_, _| async {};
//!     select(report(&handle), line).await;
//! }
//! ```
//!
//! # Back-pressure
//!
//! What comes for a stream waits in its [`StreamBuffers`] until the task takes it. With the
//! default window, a half of that, a proxy that honours credit never sends more than fits in messages
//! of 8 bytes or more, and a task that takes its time stops nobody else. Shorter ones take 8 bytes
//! each beside their own. If more comes than fits, the runner stops to read the
//! line until the task makes room: nothing is lost, but all wait, and a proxy that gets no answer
//! in the meantime takes the link for lost.
//!
//! # Cancel safety
//!
//! Any future may be dropped at any time, and no event and no byte is lost by that:
//! - [`Stream::next`], [`Stream::write`] and [`Handle::link_change`] have done all or nothing;
//! - [`Handle::open`] closes the stream again;
//! - [`Stream::send`] has done all or nothing as long as the message fits the stream's buffer; one
//!   that is longer and was sent in part is broken off ([`Stream::abandon`]), so that nobody takes
//!   the part for the whole;
//! - [`Runner::run`] loses what its buffers hold, and with it the link; called again, it begins with
//!   the handshake, and the streams live on as after any other loss of the link.

mod buffers;
#[cfg(feature = "arq")]
mod packets;
mod queue;
mod runner;
mod stream;
#[cfg(all(test, feature = "std"))]
mod tests;

use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};

use sspc_mux::Priority;
use sspc_wire::{Instant, State as StreamState};

use crate::client::{Client, Slot, StreamId};
use crate::config::Config;
use crate::error::{MetadataError, NoRoom, NoSlot};
use crate::event::{Event, Fault};
use crate::name::{Name, NameError};
pub use buffers::{BufferSet, StreamBuffers};
use buffers::{StreamQueue, wake};
pub use runner::{LineError, Runner};
pub use stream::Stream;

/// A clock, and a way to wait for it.
pub trait Timer {
    /// What time it is.
    fn now(&self) -> Instant;

    /// Returns at this time or later.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;
}

impl<T: Timer> Timer for &T {
    fn now(&self) -> Instant {
        T::now(self)
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        T::sleep_until(self, at)
    }
}

/// All memory of up to `N` streams over one line; `M` is [`StreamBuffers`].
#[derive(Debug)]
pub struct State<const N: usize, M> {
    shared: RefCell<Shared<[Slot<M>; N]>>,
}

impl<const N: usize, const RX: usize, const TX: usize, const META: usize>
    State<N, StreamBuffers<RX, TX, META>>
{
    /// A line that wants its link as soon as it runs. The seed is for jitter: give each device
    /// another one.
    pub const fn new(config: sspc_mux::Config, seed: u32) -> Self {
        let slots = [const { Slot::vacant(StreamBuffers::EMPTY) }; N];
        Self {
            shared: RefCell::new(Shared {
                now: Instant::ZERO,
                runner: None,
                changes: 0,
                busy: false,
                is_up: false,
                link: None,
                clock: None,
                client: Client::new(config, seed, slots),
            }),
        }
    }

    /// The two halves: what opens streams, and what moves their bytes.
    pub fn split(
        &mut self,
    ) -> (Handle<'_, StreamBuffers<RX, TX, META>>, Runner<'_, StreamBuffers<RX, TX, META>>) {
        (Handle { shared: &self.shared }, Runner { shared: &self.shared })
    }
}

/// What handles and runner have in common.
#[derive(Debug)]
struct Shared<S: ?Sized> {
    /// The time, as the runner saw it last.
    now: Instant,
    runner: Option<Waker>,
    /// Counts what the runner has to look at.
    changes: u32,
    /// An event is on its way to its stream's buffers: no other may be taken.
    busy: bool,
    is_up: bool,
    /// Who waits for the link to change.
    link: Option<Waker>,
    /// The proxy's wall clock, in µs since 1970, and when it was so.
    clock: Option<(Instant, u64)>,
    client: Client<S>,
}

type Cell<M> = RefCell<Shared<[Slot<M>]>>;

impl<M: BufferSet> Shared<[Slot<M>]> {
    /// Writes what is to be sent next, now.
    fn transmit(&mut self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let now = self.now;
        self.client.transmit_from(now, out, &mut |_, engine, buffers, buf| {
            let parts = buffers.parts();
            let (queue, tx) = (parts.queue, parts.tx);
            let mut source = |buf: &mut [u8]| queue.fill(tx, buf);
            engine.transmit(now, buf, parts.metadata, &mut source)
        })
    }

    /// The runner has something to do.
    fn change(&mut self) {
        self.changes = self.changes.wrapping_add(1);
        wake(&mut self.runner);
    }
}

/// Opens streams; any number of tasks of the executor may have a copy.
#[derive(Debug)]
pub struct Handle<'d, M> {
    shared: &'d Cell<M>,
}

impl<M> Clone for Handle<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Handle<'_, M> {}

impl<'d, M: BufferSet> Handle<'d, M> {
    /// Opens a stream, and waits until the proxy has created it; however long it takes, if there is
    /// no link.
    ///
    /// # Errors
    /// The name is none, no slot is free, or the proxy refuses the streamtype or breaks the
    /// protocol.
    pub async fn open(&self, streamtype: &str) -> Result<Stream<'d, M>, Error> {
        let config = Config { window: M::WINDOW, ..Config::DEFAULT };
        let stream = self.start(streamtype, config, Priority::LOWEST)?;
        stream.created().await?;
        Ok(stream)
    }

    /// Opens a stream and waits for nothing: events tell how it goes.
    ///
    /// # Errors
    /// The name is none, or no slot is free.
    pub fn start(
        &self,
        streamtype: &str,
        config: Config,
        priority: Priority,
    ) -> Result<Stream<'d, M>, Error> {
        let name = Name::new(streamtype).map_err(Error::Name)?;
        let mut shared = self.shared.borrow_mut();
        let id = shared.client.open(name, config, priority).map_err(|NoSlot| Error::NoSlot)?;
        if let Some(buffers) = shared.client.storage(id) {
            let queue = buffers.parts().queue;
            *queue = StreamQueue::new();
            queue.owned = true;
        }
        shared.change();
        Ok(Stream::new(self.shared, id))
    }

    /// True while there is a proxy at the other end of the line.
    pub fn is_up(&self) -> bool {
        self.shared.borrow().is_up
    }

    /// Waits until [`is_up`](Self::is_up) is something else; returns what. For one task at a time.
    pub async fn link_change(&self) -> bool {
        let before = self.is_up();
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            if shared.is_up != before {
                return Poll::Ready(shared.is_up);
            }
            shared.link = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The last round trip on the line, in µs; 0 before the first one.
    pub fn rtt_us(&self) -> u32 {
        self.shared.borrow().client.mux().rtt_us()
    }

    /// What time it is by the proxy's wall clock, in µs since 1970; `None` before it told.
    pub fn unix_us(&self, now: Instant) -> Option<u64> {
        let (at, unix_us) = self.shared.borrow().clock?;
        Some(unix_us.saturating_add(now.micros_since(at)))
    }

    /// Tells the proxy what time it is by the wall clock of this device, in µs since 1970.
    pub fn set_unix_time(&self, now: Instant, unix_us: u64) {
        self.shared.borrow_mut().client.set_unix_time(now, unix_us);
    }

    /// Makes a PING due now.
    pub fn ping(&self) {
        let mut shared = self.shared.borrow_mut();
        let now = shared.now;
        shared.client.ping(now);
        shared.change();
    }

    /// Ends all channels and begins with the handshake again.
    pub fn reset(&self) {
        let mut shared = self.shared.borrow_mut();
        shared.client.reset();
        shared.change();
    }
}

/// What the application asked for cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The name is none that a proxy takes.
    Name(NameError),
    /// Each slot has a stream.
    NoSlot,
    /// The proxy does not give this streamtype.
    Refused {
        /// The CREATE_RESULT, not 0.
        result: u8,
    },
    /// The proxy broke the protocol or was silent.
    Fault(Fault),
    /// The value cannot be set.
    Metadata(MetadataError),
    /// The message was cut off: its connection was lost, or it was answered before it was sent.
    Interrupted,
    /// The proxy said that this streamtype takes no payload, as one of a GET. Nothing was sent.
    TakesNoPayload,
    /// The stream's life is over.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::NoSlot => NoSlot.fmt(f),
            Self::Refused { result } => write!(f, "the proxy refuses the streamtype ({result})"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Metadata(error) => error.fmt(f),
            Self::Interrupted => f.write_str("the connection was lost inside the message"),
            Self::TakesNoPayload => f.write_str("the streamtype takes no payload"),
            Self::Closed => f.write_str("the stream is closed"),
        }
    }
}

impl core::error::Error for Error {}

/// What an event means to who waits for the stream's creation.
fn creation(event: Option<Event<'_>>) -> Option<Result<(), Error>> {
    match event {
        None => Some(Err(Error::Closed)),
        Some(Event::State { state: StreamState::Creating, .. }) => Some(Ok(())),
        Some(Event::Refused { result }) => Some(Err(Error::Refused { result })),
        Some(Event::Fault(fault)) => Some(Err(Error::Fault(fault))),
        Some(_) => None,
    }
}

/// Puts an event of a stream in its buffers; what did not fit comes back.
fn deliver<'e, M: BufferSet>(
    shared: &mut Shared<[Slot<M>]>,
    id: StreamId,
    event: Event<'e>,
) -> Option<Event<'e>> {
    let mut is_unsent = false;
    let left = shared.client.with_name(id, event, |buffers, event, name| {
        let parts = buffers.parts();
        parts.queue.notice(&event);
        if !parts.queue.owned {
            return None;
        }
        is_unsent = parts.queue.is_full();
        let left = parts.queue.events.push(parts.rx, event, name);
        wake(&mut parts.queue.receiver);
        left
    });
    match event {
        Event::State { state: StreamState::Disconnected, .. } if is_unsent => {
            // A message that had not begun goes with the next connection.
            let now = shared.now;
            shared.client.request_tx(id, now);
        }
        Event::State { state: StreamState::QosAckRemote | StreamState::QosNackRemote, .. }
            if is_unsent && !shared.client.is_tx_requested(id) =>
        {
            if let Some(buffers) = shared.client.storage(id) {
                buffers.parts().queue.answered();
            }
        }
        _ => {}
    }
    left
}
