//! The blocking client for devices: streams over a serial line that `embedded-io` drivers read and
//! write, called from a bare main loop; no allocation, no interrupts of its own.
//!
//! ```
//! use sspc::embedded_io::{Handler, Line, Next};
//! use sspc::{
//!     Client, ClientEvent, Config, Event, Flags, Instant, MuxConfig, Name, Priority, Slot, State,
//!     StreamId, Tx,
//! };
//! # use embedded_io::{Read, ReadReady, Write};
//!
//! const REPORT: StreamId = StreamId::new(0);
//! type Slots = [Slot<[u8; 128]>; 1];
//!
//! struct App {
//!     is_over: bool,
//! }
//!
//! impl Handler<Slots> for App {
//!     fn event(&mut self, client: &mut Client<Slots>, now: Instant, event: ClientEvent<'_>) {
//!         let ClientEvent::Stream { event, .. } = event else { return };
//!         match event {
//!             Event::State { state: State::Creating, .. } => client.request_tx_len(REPORT, now, 5),
//!             // The verdict, or what comes in its place.
//!             Event::State {
//!                 state:
//!                     State::QosAckRemote
//!                     | State::QosNackRemote
//!                     | State::Disconnected
//!                     | State::AllRetriesFailed
//!                     | State::AuthFailed,
//!                 ..
//!             } => self.is_over = true,
//!             _ => {}
//!         }
//!     }
//!
//!     fn source(&mut self, _: StreamId, buf: &mut [u8]) -> Option<Tx> {
//!         buf.get_mut(..5)?.copy_from_slice(b"21.5C");
//!         Some(Tx { len: 5, flags: Flags::WHOLE, more: false })
//!     }
//! }
//!
//! fn firmware(uart: impl Read + Write + ReadReady, clock: impl FnMut() -> Instant) {
//!     let slots = [Slot::new(Name::literal("report"), Config::DEFAULT, Priority::LOWEST, [0; 128])];
//!     let client = Client::new(MuxConfig::FAST, 0x5eed, slots);
//!     let mut line = Line::<_, _, _>::new(uart, clock, client);
//!     let mut app = App { is_over: false };
//!     while !app.is_over {
//!         match line.poll(&mut app) {
//!             Ok(Next::Now) => {}
//!             // Until a byte comes or it is time.
//!             Ok(Next::At(_) | Next::OnBytes) => { /* wfi() */ }
//!             Err(_) => line.client().reset(),
//!         }
//!     }
//! }
//! ```

use core::fmt;

use ::embedded_io::{Read, ReadReady, Write};
use sspc_wire::Instant;
use sspc_wire::limits::NAME_RECEIVED_MAX;

use crate::TRANSMIT_MIN;
use crate::client::{Client, ClientEvent, Slots, StreamId};
use crate::engine::Tx;
use crate::event::Event;
use crate::layer::{Came, Layer, Plain};

/// How many bytes are read at once.
const READ: usize = 64;

/// What the application does with its streams.
pub trait Handler<S: Slots> {
    /// Something happened. Commands may be given to the client.
    fn event(&mut self, client: &mut Client<S>, now: Instant, event: ClientEvent<'_>);

    /// Puts a piece of a stream's message in the buffer and describes it, or returns `None` if there is
    /// none after all: see [`crate::Stream::transmit`].
    fn source(&mut self, id: StreamId, buf: &mut [u8]) -> Option<Tx>;
}

/// When [`Line::poll`] is to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    Now,
    /// When bytes came, after a command, or at this time.
    At(Instant),
    /// When bytes came or after a command.
    OnBytes,
}

/// The line is lost, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError<E> {
    /// It cannot be read or written. The bytes that were to be are lost: when the line is well again,
    /// [`Client::reset`] starts over at once; without it the loss is found out in a while.
    Io(E),
    /// It has come to its end.
    Closed,
}

impl<E: fmt::Display> fmt::Display for LineError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => f.write_str("the line has come to its end"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for LineError<E> {}

/// A client, its line and its clock.
///
/// `OUT` is the size of the buffer to write from: no frame is cut short if it is
/// [`frame_max`](sspc_mux::Config::frame_max) and 40, and it is 64 at least.
///
/// `L` stands between the client and the line: nothing, or packets.
#[derive(Debug)]
pub struct Line<T, C, S, const OUT: usize = 1420, L = Plain> {
    io: T,
    clock: C,
    client: Client<S>,
    layer: L,
    out: [u8; OUT],
    start: usize,
    end: usize,
    is_flushed: bool,
}

impl<T, C, S, const OUT: usize> Line<T, C, S, OUT>
where
    T: Read + Write + ReadReady,
    C: FnMut() -> Instant,
    S: Slots,
{
    /// A line that wants its link as soon as it is polled.
    pub const fn new(io: T, clock: C, client: Client<S>) -> Self {
        Self::with_layer(io, clock, client, Plain)
    }
}

impl<T, C, S, const OUT: usize, L> Line<T, C, S, OUT, L>
where
    T: Read + Write + ReadReady,
    C: FnMut() -> Instant,
    S: Slots,
    L: Layer,
{
    /// The same with something between the client and the line, such as packets.
    pub const fn with_layer(io: T, clock: C, client: Client<S>, layer: L) -> Self {
        const { assert!(OUT >= TRANSMIT_MIN, "a line needs 64 bytes to write from") }
        Self { io, clock, client, layer, out: [0; OUT], start: 0, end: 0, is_flushed: true }
    }

    /// What stands between the client and the line.
    pub const fn layer(&self) -> &L {
        &self.layer
    }

    /// The client, for commands; poll after them.
    pub const fn client(&mut self) -> &mut Client<S> {
        &mut self.client
    }

    /// The line itself.
    pub const fn io(&mut self) -> &mut T {
        &mut self.io
    }

    /// Reads once, does what the time has come for, and writes once; each only if there is
    /// something to read, do or write. It waits only inside the driver's `write`.
    ///
    /// # Errors
    /// The line is lost.
    pub fn poll(&mut self, handler: &mut impl Handler<S>) -> Result<Next, LineError<T::Error>> {
        let mut is_idle = true;
        let mut buf = [0; READ];
        let mut length = 0;
        if self.io.read_ready().map_err(LineError::Io)? {
            length = self.io.read(&mut buf).map_err(LineError::Io)?;
            if length == 0 {
                return Err(LineError::Closed);
            }
            is_idle = false;
        }
        let now = (self.clock)();
        let mut came = buf.get(..length).unwrap_or_default();
        let mut is_all = false;
        while !is_all {
            let mut input: &[u8] = &[];
            match self.layer.receive(now, &mut came, self.client.mux()) {
                Some(Came::Bytes(bytes)) => input = bytes,
                Some(Came::Reset) => self.client.reset(),
                None => is_all = true,
            }
            loop {
                let mut event = self.client.receive_unnamed(now, &mut input);
                if event.is_none() {
                    event = self.client.handle_timeout(now);
                }
                let Some(event) = event else { break };
                let mut name = [0; NAME_RECEIVED_MAX];
                let event = with_name(&self.client, event, &mut name);
                handler.event(&mut self.client, now, event);
            }
        }
        if self.start == self.end {
            let mut source = |id, buf: &mut [u8]| handler.source(id, buf);
            // The buffer is long enough.
            let mut client =
                |out: &mut [u8]| self.client.transmit(now, out, &mut source).unwrap_or(0);
            self.end = self.layer.transmit(now, &mut self.out, &mut client);
            self.start = 0;
        }
        let rest = self.out.get(self.start..self.end).unwrap_or_default();
        if !rest.is_empty() {
            match self.io.write(rest) {
                Ok(written) => self.start = (self.start + written).min(self.end),
                Err(error) => {
                    self.end = self.start;
                    return Err(LineError::Io(error));
                }
            }
            is_idle = false;
            self.is_flushed = false;
        } else if !self.is_flushed {
            self.io.flush().map_err(LineError::Io)?;
            self.is_flushed = true;
        }
        Ok(match self.client.deadline().into_iter().chain(self.layer.deadline(now)).min() {
            _ if !is_idle => Next::Now,
            Some(at) if at <= now => Next::Now,
            Some(at) => Next::At(at),
            None => Next::OnBytes,
        })
    }

    /// Polls, without ever waiting in between, until `is_done`.
    ///
    /// # Errors
    /// The line is lost.
    pub fn run_until<H: Handler<S>>(
        &mut self,
        handler: &mut H,
        mut is_done: impl FnMut(&mut H, &mut Client<S>) -> bool,
    ) -> Result<(), LineError<T::Error>> {
        while !is_done(handler, &mut self.client) {
            self.poll(handler)?;
        }
        Ok(())
    }
}

/// The event with its name, copied out of the client.
fn with_name<'e, S: Slots>(
    client: &Client<S>,
    event: ClientEvent<'e>,
    buf: &'e mut [u8; NAME_RECEIVED_MAX],
) -> ClientEvent<'e> {
    let mut named = event;
    client.put_name(&mut named);
    let name = match named {
        ClientEvent::Stream { event: Event::Metadata { name, .. }, .. } => name,
        ClientEvent::Stream { event: Event::Payload { rideshare: Some(name), .. }, .. } => name,
        _ => &[],
    };
    buf.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    let name = buf.get(..name.len()).unwrap_or_default();
    let mut event = event;
    if let ClientEvent::Stream {
        event: Event::Payload { rideshare: Some(to), .. } | Event::Metadata { name: to, .. },
        ..
    } = &mut event
    {
        *to = name;
    }
    event
}
