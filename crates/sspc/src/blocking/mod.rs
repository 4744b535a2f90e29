//! The client for programs without an executor: one [`Stream`], calls that block.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sspc::Address;
//! use sspc::blocking::{Event, State, Stream};
//!
//! # fn get() -> Result<(), sspc::Error> {
//! let mut stream = Stream::open(&Address::default(), "mintest")?;
//! stream.connect();
//! while let Some(event) = stream.next(Some(Duration::from_secs(10)))? {
//!     match event {
//!         Event::Payload { data, .. } => println!("{} bytes", data.len()),
//!         // The verdict, or what comes in its place.
//!         Event::State {
//!             state:
//!                 state @ (State::QosAckRemote
//!                 | State::QosNackRemote
//!                 | State::Disconnected
//!                 | State::AllRetriesFailed
//!                 | State::AuthFailed
//!                 | State::UpstreamLinkRetry),
//!             ..
//!         } => {
//!             println!("it ended with {state}");
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! stream.close();
//! # Ok(())
//! # }
//! ```

mod socket;

use std::io;
use std::string::{String, ToString};
use std::thread;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use crate::engine::{LinkAction, Tx};
use crate::error::MetadataError;
use crate::event::Event as Borrowed;
pub use crate::host::{Error, Event, Options};
use crate::inbox::Inbox;
use crate::name::Name;
use crate::outbox::Chunk;
pub use crate::{Flags, State, Timeout};
use socket::Socket;
pub use sspc_address::{Address, AddressError};
use sspc_line::Line;
use sspc_wire::Instant;

/// Events that are kept while a message is sent, before the socket is no longer read.
const KEPT_MAX: usize = 256;
/// How long one write may block before the socket is read again.
const WRITE_SLICE: Duration = Duration::from_millis(20);
/// How long a stream that is closed may take to tell the proxy.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// How long a write may make no progress where the proxy may wait for us to read and the events are
/// as many as are kept.
const FULL_LIMIT: Duration = Duration::from_secs(3);
/// The least size of the buffers.
const BUF_MIN: usize = 4096;

/// One stream over a socket of its own. It does something only while one of its methods runs;
/// dropping it closes the socket, which ends the stream at the proxy.
#[derive(Debug)]
pub struct Stream {
    engine: crate::Stream<Vec<u8>>,
    address: Address,
    options: Options,
    socket: Option<Socket>,
    /// The serial line, once it is open; kept while there is no channel, so that it stays up.
    line: Option<Line>,
    start: std::time::Instant,
    opened: bool,
    connected: bool,
    /// How often a connection was lost.
    losses: u32,
    /// A message was begun on this connection and not ended.
    message_open: bool,
    /// A message was cut, and nobody was told.
    cut: bool,
    /// The message that was begun last got its verdict.
    answered: bool,
    /// Since the last message was begun the proxy gave up connecting.
    failed: Option<State>,
    inbox: Inbox,
    /// What was read and not decoded: the bytes from `input_at` to `input_end`.
    input: Vec<u8>,
    input_at: usize,
    input_end: usize,
    /// There was no room for all events that the input and the engine have.
    has_more: bool,
    /// What is to be written: the bytes from `output_at` to `output_end`.
    output: Vec<u8>,
    output_at: usize,
    output_end: usize,
}

impl Stream {
    /// Opens a stream, and waits until the proxy has created it.
    ///
    /// # Errors
    /// The name can be no streamtype's, no proxy listens, or it refused or broke the protocol.
    pub fn open(address: &Address, streamtype: &str) -> Result<Self, Error> {
        Self::open_with(address, streamtype, Options::default())
    }

    /// Opens a stream. With [`Options::keep_trying`] it does not wait: events tell how it goes.
    ///
    /// # Errors
    /// As [`Stream::open`].
    pub fn open_with(address: &Address, streamtype: &str, options: Options) -> Result<Self, Error> {
        let name = Name::new(streamtype)?;
        let storage = vec![0; options.metadata_size];
        let buffer = options.buffer.max(BUF_MIN);
        let mut stream = Self {
            engine: crate::Stream::new(name, options.config_of_stream(address), storage),
            address: address.clone(),
            opened: options.keep_trying,
            options,
            socket: None,
            line: None,
            start: std::time::Instant::now(),
            connected: false,
            losses: 0,
            message_open: false,
            cut: false,
            answered: false,
            failed: None,
            inbox: Inbox::default(),
            input: vec![0; buffer],
            input_at: 0,
            input_end: 0,
            has_more: false,
            output: vec![0; buffer],
            output_at: 0,
            output_end: 0,
        };
        while !stream.opened {
            stream.drive_once(&mut |_| None, None)?;
        }
        Ok(stream)
    }

    /// The streamtype.
    pub fn streamtype(&self) -> &str {
        self.engine.streamtype().as_str()
    }

    /// The stream's state, which may be ahead of the events that were taken; `None` before
    /// CREATING.
    pub const fn state(&self) -> Option<State> {
        self.engine.state()
    }

    /// True while payload can flow.
    pub const fn is_connected(&self) -> bool {
        self.engine.is_connected()
    }

    /// True while the stream exists at the proxy: not after its link was lost, until it is made
    /// again. It may be ahead of the events that were taken.
    pub const fn is_created(&self) -> bool {
        self.engine.is_created()
    }

    /// True if the proxy said that this streamtype takes no payload, as one of a GET: what is sent
    /// would go nowhere. A proxy says so as it creates the stream; one that is older or another's
    /// does not, so `false` may mean that it is not known.
    pub const fn takes_no_payload(&self) -> bool {
        self.engine.takes_no_payload()
    }

    /// The size of a buffer that the policy advises (`client_buflen`), in bytes; 0 for none.
    pub const fn advised_buffer(&self) -> u32 {
        self.engine.advised_buffer()
    }

    /// The streamtype that the next message belongs to: the stream's own, or the rideshare whose
    /// turn it is. `None` if there was no room for the names.
    pub fn rideshare_name(&self) -> Option<String> {
        self.engine.rideshare_name().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// Asks for the onward connection; nothing if it is there or being made. Like every wish it is
    /// told to the proxy by the next call of [`Stream::next`] or a sending method.
    pub fn connect(&mut self) {
        self.engine.connect();
    }

    /// Sets a value by the policy's name, for the stream's life.
    ///
    /// The proxy hangs up if the policy does not know the name: UPSTREAM_LINK_RETRY comes each
    /// time that it does.
    ///
    /// # Errors
    /// The name or the value is not one that a proxy takes, or [`Options::metadata_size`] is full.
    pub fn set_metadata(
        &mut self,
        name: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MetadataError> {
        self.engine.set_metadata(name, value.as_ref())
    }

    /// Starts or cancels the stream's timeout; it ends with the state TIMEOUT.
    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.engine.set_timeout(timeout);
    }

    /// Lets the remote peer send this many more bytes than [`crate::Config::window`].
    pub fn add_credit(&mut self, bytes: i32) {
        self.engine.add_credit(bytes);
    }

    /// The next event, waiting for it at most this long; `None` after the stream's end.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if nothing happened in that time.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<Event>, Error> {
        let until = self.until(limit);
        loop {
            if let Some(event) = self.inbox.pop() {
                if let Event::Payload { data, .. } = &event {
                    self.engine.consumed(u32::try_from(data.len()).unwrap_or(u32::MAX));
                }
                return Ok(Some(event));
            }
            if self.engine.is_closed() && !self.has_more {
                return Ok(None);
            }
            self.drive_once(&mut |_| None, until)?;
            if self.inbox.len() == 0 && self.is_over(until) {
                return Err(Error::TimedOut);
            }
        }
    }

    /// Sends one whole message, with a length hint; connects if needed, and waits at most this
    /// long until all is written. Events that come meanwhile are kept, up to 256.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and the link is broken and made anew, so that nobody takes a part for
    /// the whole; [`Error::Interrupted`] if the connection was lost after the message began;
    /// [`Error::Answered`] if the remote peer's verdict came before all was sent;
    /// [`Error::Unreachable`] if the proxy gave up connecting; [`Error::EventsWaiting`] if the proxy
    /// sends more events than are kept, so that it has to be read before it takes the message;
    /// [`Error::TakesNoPayload`]; [`Error::Closed`].
    pub fn send_message(&mut self, message: &[u8], limit: Option<Duration>) -> Result<(), Error> {
        let length = u32::try_from(message.len()).ok();
        self.send_chunk(Chunk::new(message, Flags::WHOLE, length), limit)
    }

    /// Sends payload with these flags and no length hint; else as [`Stream::send_message`].
    ///
    /// # Errors
    /// As [`Stream::send_message`]. [`Error::Interrupted`] or [`Error::Answered`] also, once, if
    /// earlier payload of the same message was cut.
    pub fn send(
        &mut self,
        payload: &[u8],
        flags: Flags,
        limit: Option<Duration>,
    ) -> Result<(), Error> {
        if core::mem::take(&mut self.cut) && !flags.contains(Flags::SOM) {
            return Err(self.why_cut());
        }
        self.send_chunk(Chunk::new(payload, flags, None), limit)
    }

    /// Tells the proxy to destroy the stream, and closes the link: after 3 s whether or not the
    /// proxy has read that.
    pub fn close(mut self) {
        self.engine.close();
        let until = self.until(Some(CLOSE_LIMIT));
        while !self.engine.is_closed() && !self.is_over(until) {
            if self.drive_once(&mut |_| None, until).is_err() {
                break;
            }
            while self.inbox.pop().is_some() {}
        }
    }

    fn send_chunk(&mut self, chunk: Chunk<&[u8]>, limit: Option<Duration>) -> Result<(), Error> {
        if self.engine.takes_no_payload() {
            return Err(Error::TakesNoPayload);
        }
        let until = self.until(limit);
        let mut chunk = Some(chunk);
        match chunk.as_ref().and_then(|chunk| chunk.length) {
            Some(length) => self.engine.request_tx_len(self.now(), length),
            None => self.engine.request_tx(self.now()),
        }
        let mut begun = self.message_open;
        let mut losses = self.losses;
        self.failed = None;
        self.answered &= begun;
        let mut progress_at = std::time::Instant::now();
        while chunk.is_some() || self.output_at < self.output_end {
            let before = (begun, self.output_at, self.output_end);
            let mut source = |buf: &mut [u8]| {
                let tx = chunk.as_mut()?.fill(buf);
                begun = true;
                if !tx.more {
                    chunk = None;
                }
                Some(tx)
            };
            self.drive_once(&mut source, until)?;
            if self.engine.has_ended() {
                return Err(Error::Closed);
            }
            if self.engine.takes_no_payload() {
                // It was not known before; what the link was asked for is forgotten with it.
                self.engine.abandon(self.now());
                return Err(Error::TakesNoPayload);
            }
            if chunk.is_some() && !self.engine.is_tx_requested() {
                let ends = chunk.is_some_and(|chunk| chunk.ends());
                self.cut = !ends;
                return Err(Error::Answered);
            }
            if losses != self.losses {
                if begun {
                    self.cut = false;
                    return Err(self.why_cut());
                }
                // It waits for the next connection.
                losses = self.losses;
                self.engine.request_tx(self.now());
            }
            if let Some(state) = self.failed {
                self.engine.abandon(self.now());
                return Err(Error::Unreachable { state });
            }
            if self.is_over(until) {
                self.engine.abandon(self.now());
                return Err(Error::TimedOut);
            }
            if before != (begun, self.output_at, self.output_end) || !self.is_full() {
                progress_at = std::time::Instant::now();
            } else if self.output_at == self.output_end || progress_at.elapsed() > FULL_LIMIT {
                // Nothing goes on unless the application takes events.
                if begun {
                    self.engine.abandon(self.now());
                }
                return Err(Error::EventsWaiting);
            }
        }
        Ok(())
    }

    const fn why_cut(&self) -> Error {
        if self.answered { Error::Answered } else { Error::Interrupted }
    }

    /// True if the proxy sent more events than are kept.
    fn is_full(&self) -> bool {
        self.inbox.len() >= KEPT_MAX && self.input_at < self.input_end
    }

    /// Does what can be done, and if that is nothing waits for something to happen.
    fn drive_once(
        &mut self,
        source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>,
        until: Option<std::time::Instant>,
    ) -> Result<(), Error> {
        let had = self.inbox.len();
        let losses = self.losses;
        loop {
            self.decode()?;
            if losses != self.losses {
                // What the caller sends may be the rest of a message that is lost.
                return Ok(());
            }
            self.encode(source);
            if !self.follow_link_action()? {
                break;
            }
        }
        let pending = self.output_at < self.output_end;
        let now = std::time::Instant::now();
        let mut limit = until.map(|until| until.saturating_duration_since(now));
        if let Some(deadline) = self.engine.deadline() {
            let wait = Duration::from_micros(deadline.micros_since(self.now()));
            limit = Some(limit.map_or(wait, |limit| limit.min(wait)));
        }
        let mut failed = None;
        let Some(socket) = &mut self.socket else {
            if self.inbox.len() == had && !self.engine.is_closed() {
                thread::sleep(limit.unwrap_or(WRITE_SLICE));
            }
            return Ok(());
        };
        if pending {
            let rest = self.output.get(self.output_at..self.output_end).unwrap_or_default();
            let slice = limit.unwrap_or(WRITE_SLICE).min(WRITE_SLICE);
            match socket.write(rest, slice) {
                Ok(Some(length)) => {
                    self.output_at += length;
                    return Ok(());
                }
                // The proxy may wait for us to read.
                Ok(None) => limit = Some(Duration::ZERO),
                Err(error) => {
                    // What the proxy wrote before it hung up may still be read.
                    failed = Some(error);
                    limit = Some(Duration::ZERO);
                }
            }
        } else if self.inbox.len() > had {
            return Ok(());
        }
        if self.input_at < self.input_end {
            if failed.is_some() {
                // The application has to take events first.
                thread::sleep(WRITE_SLICE);
            }
        } else {
            match socket.read(&mut self.input, limit) {
                Ok(None) => {
                    if let Some(error) = failed {
                        return self.link_lost(error);
                    }
                }
                Ok(Some(0)) => {
                    let text = "the proxy closed the connection";
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                    return self.link_lost(error);
                }
                Ok(Some(length)) => (self.input_at, self.input_end) = (0, length),
                Err(error) => return self.link_lost(error),
            }
            self.decode()?;
        }
        Ok(())
    }

    /// Does what the engine wants done with the link; true if it wanted anything.
    fn follow_link_action(&mut self) -> Result<bool, Error> {
        self.engine.handle_timeout(self.now());
        match self.engine.poll_link(self.now()) {
            None => return Ok(false),
            Some(LinkAction::Open) => {
                match Socket::open(&self.address, &self.options, &mut self.line) {
                    Ok(socket) => {
                        self.socket = Some(socket);
                        self.input_end = self.input_at;
                        self.output_end = self.output_at;
                        self.engine.link_up(self.now());
                    }
                    Err(error) => self.link_lost(error)?,
                }
            }
            Some(LinkAction::Drop) => {
                let rest = self.output.get(self.output_at..self.output_end).unwrap_or_default();
                if let Some(mut socket) = self.socket.take() {
                    // What does not fit the socket's buffer is told by its closing.
                    let _ = socket.write(rest, WRITE_SLICE);
                }
                self.engine.link_down(self.now());
            }
        }
        Ok(true)
    }

    fn link_lost(&mut self, error: io::Error) -> Result<(), Error> {
        self.socket = None;
        self.engine.link_down(self.now());
        if !self.opened {
            return Err(Error::NoProxy { address: self.address.clone(), source: error });
        }
        Ok(())
    }

    /// From what was read to events, until enough are kept.
    fn decode(&mut self) -> Result<(), Error> {
        let now = self.now();
        self.has_more = true;
        while self.inbox.len() < KEPT_MAX {
            let mut input = self.input.get(self.input_at..self.input_end).unwrap_or_default();
            let Some(event) = self.engine.receive(now, &mut input) else {
                self.input_at = self.input_end;
                self.has_more = false;
                self.inbox.end_of_input();
                break;
            };
            self.input_at = self.input_end - input.len();
            match event {
                Borrowed::State { state, ordinal } => {
                    match state {
                        State::AllRetriesFailed | State::AuthFailed => self.failed = Some(state),
                        State::QosAckRemote | State::QosNackRemote => self.answered = true,
                        _ => {}
                    }
                    self.inbox.add(Borrowed::State { state, ordinal }, input.len());
                }
                Borrowed::Refused { result } if !self.opened => {
                    let streamtype = self.engine.streamtype().to_string();
                    return Err(Error::Refused { streamtype, result });
                }
                Borrowed::Fault(fault) if !self.opened => return Err(Error::Protocol(fault)),
                event => self.inbox.add(event, input.len()),
            }
            self.opened |= self.engine.is_created();
            self.note_connection();
        }
        self.note_connection();
        Ok(())
    }

    /// Looks whether the connection came or went.
    fn note_connection(&mut self) {
        let connected = self.engine.is_connected();
        if self.connected && !connected {
            self.losses = self.losses.wrapping_add(1);
            self.cut |= self.message_open;
            self.message_open = false;
        }
        self.connected = connected;
    }

    /// Fills the output with frames if it is empty.
    fn encode(&mut self, source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>) {
        if self.output_at < self.output_end {
            return;
        }
        (self.output_at, self.output_end) = (0, 0);
        let now = self.now();
        while self.output.len() - self.output_end >= BUF_MIN {
            let buf = self.output.get_mut(self.output_end..).unwrap_or_default();
            match self.engine.transmit(now, buf, source) {
                Ok(0) => break,
                Ok(length) => self.output_end += length,
                Err(_) if self.output_end > 0 => break,
                Err(no_room) => self.output.resize(no_room.needed.max(BUF_MIN), 0),
            }
        }
        let open = self.engine.is_message_open();
        self.answered &= !open || self.message_open;
        self.message_open = open;
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn until(&self, limit: Option<Duration>) -> Option<std::time::Instant> {
        limit.and_then(|limit| std::time::Instant::now().checked_add(limit))
    }

    fn is_over(&self, until: Option<std::time::Instant>) -> bool {
        until.is_some_and(|until| std::time::Instant::now() >= until)
    }
}
