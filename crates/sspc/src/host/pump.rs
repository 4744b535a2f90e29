//! What a driver does between its link and the engine, but for the I/O.

use std::io;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use sspc_address::Address;
use sspc_wire::{Instant, State};

use super::inbox::Inbox;
use super::{Error, Event, Options};
use crate::engine::Tx;
use crate::event::Event as Borrowed;
use crate::stream::Stream;

/// The least size of the buffers; less room than this is not filled with frames.
const BUF_MIN: usize = 4096;

pub(crate) type HostStream = Stream<Vec<u8>>;

/// A buffer that is filled from its front, and then used up.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// What is in it: the bytes from `start` to `end`.
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], start: 0, end: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn content(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    const fn use_up(&mut self, length: usize) {
        self.start += length;
        if self.start >= self.end {
            self.clear();
        }
    }

    const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

/// Where payload comes from.
pub(crate) trait Outgoing {
    /// Asks the stream to send what is there to be sent.
    fn prepare(&mut self, _stream: &mut HostStream, _now: Instant) {}

    /// The source of [`Stream::transmit`].
    fn fill(&mut self, buf: &mut [u8]) -> Option<Tx>;
}

/// Bytes on their way between a link and the engine, and the events that come of them.
///
/// Nothing of what was read is left behind: a driver must not wait for its link while
/// [`Pump::has_more`], but for the application to take events.
#[derive(Debug)]
pub(crate) struct Pump {
    address: Address,
    input: Buffer,
    output: Buffer,
    inbox: Inbox,
    /// So many events may wait for the application.
    events_max: usize,
    /// There was no room for all events that the input and the engine have.
    has_more: bool,
    /// The stream was not created yet and is not to try again.
    fails_fast: bool,
}

impl Pump {
    pub(crate) fn new(address: Address, options: &Options, events_max: usize) -> Self {
        let size = options.buffer.max(BUF_MIN);
        Self {
            address,
            input: Buffer::new(size),
            output: Buffer::new(size),
            inbox: Inbox::default(),
            events_max,
            has_more: false,
            fails_fast: !options.keep_trying,
        }
    }

    /// True if what fails now ends the stream: it was not created yet and is not to try again.
    pub(crate) const fn fails_fast(&self) -> bool {
        self.fails_fast
    }

    // Events.

    /// How many events wait for the application.
    pub(crate) fn events(&self) -> usize {
        self.inbox.len()
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.inbox.pop()
    }

    /// True if events have to be taken before all that was read can be decoded.
    pub(crate) const fn has_more(&self) -> bool {
        self.has_more
    }

    /// True if there are as many events as may wait, and the proxy sent more.
    pub(crate) fn is_full(&self) -> bool {
        self.inbox.len() >= self.events_max && !self.input.is_empty()
    }

    // Input.

    /// Where the next bytes of the link are to be put, nothing while there are some; and what is to
    /// be written.
    pub(crate) fn buffers(&mut self) -> (Option<&mut [u8]>, &[u8]) {
        let input = self.input.is_empty().then_some(&mut self.input.bytes[..]);
        (input, self.output.content())
    }

    /// So many bytes came.
    pub(crate) const fn received(&mut self, length: usize) {
        (self.input.start, self.input.end) = (0, length);
    }

    /// From what was read to events, until enough wait. Calls `seen` after each, with its state if
    /// it is one.
    pub(crate) fn decode(
        &mut self,
        stream: &mut HostStream,
        now: Instant,
        mut seen: impl FnMut(&mut HostStream, Option<State>),
    ) -> Result<(), Error> {
        self.has_more = true;
        // A fault in what came with CREATE_RESULT is one of opening the stream.
        let fails_fast = self.fails_fast;
        while self.inbox.len() < self.events_max {
            let mut input = self.input.content();
            let before = input.len();
            let Some(event) = stream.receive(now, &mut input) else {
                self.input.clear();
                self.has_more = false;
                self.inbox.end_of_input();
                break;
            };
            let behind = input.len();
            let mut state = None;
            match event {
                Borrowed::Refused { result } if fails_fast => {
                    let streamtype = stream.streamtype().to_string();
                    return Err(Error::Refused { streamtype, result });
                }
                Borrowed::Fault(fault) if fails_fast => return Err(Error::Protocol(fault)),
                Borrowed::State { state: new, .. } => {
                    state = Some(new);
                    self.inbox.add(event, behind);
                }
                event => self.inbox.add(event, behind),
            }
            self.input.use_up(before - behind);
            seen(stream, state);
        }
        self.fails_fast &= !stream.is_created();
        Ok(())
    }

    // Output.

    /// What is to be written.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.content()
    }

    /// So many bytes of it were written.
    pub(crate) const fn sent(&mut self, length: usize) {
        self.output.use_up(length);
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn discard_output(&mut self) {
        self.output.clear();
    }

    /// Fills the output with frames if it is empty.
    pub(crate) fn encode(
        &mut self,
        stream: &mut HostStream,
        now: Instant,
        outgoing: &mut impl Outgoing,
    ) {
        if !self.output.is_empty() {
            return;
        }
        let Buffer { bytes, end, .. } = &mut self.output;
        while bytes.len() - *end >= BUF_MIN {
            outgoing.prepare(stream, now);
            let buf = bytes.get_mut(*end..).unwrap_or_default();
            match stream.transmit(now, buf, &mut |buf| outgoing.fill(buf)) {
                Ok(0) => break,
                Ok(length) => *end += length,
                Err(_) if *end > 0 => break,
                Err(too_small) => bytes.resize(too_small.needed.max(BUF_MIN), 0),
            }
        }
    }

    // The link.

    /// There is a new link: what is left of the one before is nothing to it.
    pub(crate) fn link_up(&mut self, stream: &mut HostStream, now: Instant) {
        self.input.clear();
        self.output.clear();
        stream.link_up(now);
    }

    /// The link could not be opened or was lost.
    ///
    /// # Errors
    /// The stream is not to try again.
    pub(crate) fn link_lost(
        &mut self,
        stream: &mut HostStream,
        now: Instant,
        error: io::Error,
    ) -> Result<(), Error> {
        stream.link_down(now);
        if self.fails_fast {
            return Err(Error::NoProxy { address: self.address.clone(), source: error });
        }
        Ok(())
    }
}

/// The link's end, as an error.
pub(crate) fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the proxy closed the connection")
}
