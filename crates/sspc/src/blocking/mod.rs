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

mod sending;
mod smd;
mod socket;

use std::io;
use std::string::String;
use std::thread;
use std::time::{Duration, Instant as StdInstant};
use std::vec;
use std::vec::Vec;

use crate::engine::LinkAction;
use crate::error::MetadataError;
use crate::host::{CLOSE_LIMIT, Chunk, Pump, hung_up};
pub use crate::host::{Error, Event, Options, SmdMessage};
use crate::name::Name;
pub use crate::{Flags, State, Timeout};
use sending::{Sending, Source};
pub use smd::Smd;
use socket::Socket;
pub use sspc_address::{Address, AddressError};
use sspc_line::Line;
use sspc_wire::Instant;
pub use sspc_wire::smd::Classes;

/// Events that are kept while a message is sent, before the socket is no longer read.
const EVENTS_MAX: usize = 256;
/// How long one write may block before the socket is read again.
const WRITE_SLICE: Duration = Duration::from_millis(20);
/// How long a write may make no progress where the proxy may wait for us to read and the events are
/// as many as are kept.
const FULL_LIMIT: Duration = Duration::from_secs(3);

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
    start: StdInstant,
    pump: Pump,
    sending: Sending,
    /// How many bytes the socket took.
    written: u64,
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
        let mut stream = Self {
            engine: crate::Stream::new(name, options.config_of_stream(address), storage),
            address: address.clone(),
            pump: Pump::new(address.clone(), &options, EVENTS_MAX),
            options,
            socket: None,
            line: None,
            start: StdInstant::now(),
            sending: Sending::default(),
            written: 0,
        };
        while stream.pump.fails_fast() {
            stream.drive_once(&mut Source::nothing(), None)?;
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
        let until = until(limit);
        loop {
            if let Some(event) = self.pump.pop() {
                if let Event::Payload { data, .. } = &event {
                    self.engine.consumed(u32::try_from(data.len()).unwrap_or(u32::MAX));
                }
                return Ok(Some(event));
            }
            if self.engine.is_closed() && !self.pump.has_more() {
                return Ok(None);
            }
            self.drive_once(&mut Source::nothing(), until)?;
            if self.pump.events() == 0 && is_over(until) {
                return Err(Error::TimedOut);
            }
        }
    }

    /// Sends one whole message, with a length hint; connects if needed, and waits at most this
    /// long until all is written. Events that come meanwhile are kept, up to 256.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and the link is broken and made again, so that nobody takes a part for
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
        self.sending.check_cut(flags)?;
        self.send_chunk(Chunk::new(payload, flags, None), limit)
    }

    /// Tells the proxy to destroy the stream, and closes the link: after 3 s whether or not the
    /// proxy has read that.
    pub fn close(mut self) {
        self.engine.close();
        let until = until(Some(CLOSE_LIMIT));
        while !self.engine.is_closed() && !is_over(until) {
            if self.drive_once(&mut Source::nothing(), until).is_err() {
                break;
            }
            while self.pump.pop().is_some() {}
        }
    }

    fn send_chunk(&mut self, chunk: Chunk<&[u8]>, limit: Option<Duration>) -> Result<(), Error> {
        if self.engine.takes_no_payload() {
            return Err(Error::TakesNoPayload);
        }
        let until = until(limit);
        match chunk.length {
            Some(length) => self.engine.request_tx_len(self.now(), length),
            None => self.engine.request_tx(self.now()),
        }
        let goes_on = !chunk.ends();
        let mut source = Source { chunk: Some(chunk), begun: self.sending.message_open };
        let mut losses = self.sending.losses;
        self.sending.begin();
        let mut progress_at = StdInstant::now();
        while source.chunk.is_some() || !self.pump.output().is_empty() {
            let before = (source.begun, self.written);
            self.drive_once(&mut source, until)?;
            if self.engine.has_ended() {
                return Err(Error::Closed);
            }
            if self.engine.takes_no_payload() {
                // It was not known before; what the link was asked for is forgotten with it.
                self.engine.abandon(self.now());
                return Err(Error::TakesNoPayload);
            }
            if source.chunk.is_some() && !self.engine.is_tx_requested() {
                return Err(self.sending.answered_early(goes_on));
            }
            if losses != self.sending.losses {
                if source.begun {
                    return Err(self.sending.told_cut());
                }
                // It waits for the next connection.
                losses = self.sending.losses;
                self.engine.request_tx(self.now());
            }
            if let Some(state) = self.sending.failed {
                self.engine.abandon(self.now());
                return Err(Error::Unreachable { state });
            }
            if is_over(until) {
                self.engine.abandon(self.now());
                return Err(Error::TimedOut);
            }
            if before != (source.begun, self.written) || !self.pump.is_full() {
                progress_at = StdInstant::now();
            } else if self.pump.output().is_empty() || progress_at.elapsed() > FULL_LIMIT {
                // Nothing goes on unless the application takes events.
                if source.begun {
                    self.engine.abandon(self.now());
                }
                return Err(Error::EventsWaiting);
            }
        }
        Ok(())
    }

    /// Does what can be done, and if that is nothing waits for something to happen.
    fn drive_once(
        &mut self,
        source: &mut Source<'_>,
        until: Option<StdInstant>,
    ) -> Result<(), Error> {
        let had = self.pump.events();
        let losses = self.sending.losses;
        loop {
            self.decode()?;
            if losses != self.sending.losses {
                // What the caller sends may be the rest of a message that is lost.
                return Ok(());
            }
            let now = self.now();
            self.pump.encode(&mut self.engine, now, source);
            self.sending.note_sent(&self.engine);
            if !self.follow_link_action()? {
                break;
            }
        }
        let mut limit = until.map(|until| until.saturating_duration_since(StdInstant::now()));
        if let Some(deadline) = self.engine.deadline() {
            let wait = Duration::from_micros(deadline.micros_since(self.now()));
            limit = Some(limit.map_or(wait, |limit| limit.min(wait)));
        }
        let came = self.pump.events() > had;
        let Some(socket) = &mut self.socket else {
            if !came && !self.engine.is_closed() {
                thread::sleep(limit.unwrap_or(WRITE_SLICE));
            }
            return Ok(());
        };
        let (input, output) = self.pump.buffers();
        let mut failed = None;
        if !output.is_empty() {
            let slice = limit.unwrap_or(WRITE_SLICE).min(WRITE_SLICE);
            // The proxy may wait for us to read.
            limit = Some(Duration::ZERO);
            match socket.write(output, slice) {
                Ok(Some(length)) => {
                    self.pump.sent(length);
                    self.written += length as u64;
                    return Ok(());
                }
                Ok(None) => {}
                // What the proxy wrote before it hung up may still be read.
                Err(error) => failed = Some(error),
            }
        } else if came {
            return Ok(());
        }
        let Some(input) = input else {
            if failed.is_some() {
                // The application has to take events first.
                thread::sleep(WRITE_SLICE);
            }
            return Ok(());
        };
        match (socket.read(input, limit), failed) {
            (Ok(None), None) => Ok(()),
            (Ok(Some(0)), _) => self.link_lost(hung_up()),
            (Ok(Some(length)), _) => {
                self.pump.received(length);
                self.decode()
            }
            (Ok(None), Some(error)) | (Err(error), _) => self.link_lost(error),
        }
    }

    /// Does what the engine wants done with the link; true if it wanted anything.
    fn follow_link_action(&mut self) -> Result<bool, Error> {
        let now = self.now();
        self.engine.handle_timeout(now);
        match self.engine.poll_link(now) {
            None => return Ok(false),
            Some(LinkAction::Open) => {
                match Socket::open(&self.address, &self.options, &mut self.line) {
                    Ok(socket) => {
                        self.socket = Some(socket);
                        let now = self.now();
                        self.pump.link_up(&mut self.engine, now);
                    }
                    Err(error) => self.link_lost(error)?,
                }
            }
            Some(LinkAction::Drop) => {
                if let Some(mut socket) = self.socket.take() {
                    // The socket's closing says the rest, where its buffer is full.
                    let _ = socket.write(self.pump.output(), WRITE_SLICE);
                }
                self.engine.link_down(now);
            }
        }
        Ok(true)
    }

    fn link_lost(&mut self, error: io::Error) -> Result<(), Error> {
        self.socket = None;
        let now = self.now();
        self.pump.link_lost(&mut self.engine, now, error)
    }

    /// From what was read to events, until enough are kept.
    fn decode(&mut self) -> Result<(), Error> {
        let (now, sending) = (self.now(), &mut self.sending);
        self.pump.decode(&mut self.engine, now, |stream, state| sending.note(stream, state))?;
        self.sending.note(&self.engine, None);
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

fn until(limit: Option<Duration>) -> Option<StdInstant> {
    limit.and_then(|limit| StdInstant::now().checked_add(limit))
}

fn is_over(until: Option<StdInstant>) -> bool {
    until.is_some_and(|until| StdInstant::now() >= until)
}
