//! Runs one stream: moves bytes between the socket, the engine and the application's queues.

use std::boxed::Box;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::string::ToString;
use std::sync::Arc;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use ::tokio::sync::mpsc::error::TrySendError;
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::sleep_until;
use sspc_wire::{Flags, State};

use super::conn::{Conn, ProxyTarget};
use super::shared::{Cut, Shared};
use crate::engine::LinkAction;
use crate::event::Event as Borrowed;
use crate::host::{Error, Event, Options};
use crate::inbox::Inbox;
use crate::outbox::Chunk;

/// Events that wait for the application before the socket is no longer read.
pub(super) const EVENTS_MAX: usize = 16;
/// How long a stream that is closed may take to send what it was given.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// Less room than this is not filled with frames.
const BUF_MIN: usize = 4096;

/// From the application's senders.
#[derive(Debug)]
pub(super) enum Command {
    Send {
        /// Which message, so that what is left of a broken one can be told from the next.
        message: u64,
        chunk: Chunk<Vec<u8>>,
    },
    /// The sender of this message went away in its middle.
    Abandon(u64),
}

enum Link {
    Down,
    Opening(Pin<Box<dyn Future<Output = io::Result<Conn>> + Send>>),
    Up(Conn),
}

/// Runs a stream; nothing moves unless the future of [`Driver::run`] is polled.
#[must_use = "a stream does nothing unless its driver runs"]
pub struct Driver {
    shared: Arc<Shared>,
    target: ProxyTarget,
    options: Options,
    link: Link,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Told once the stream was created.
    opened: Option<oneshot::Sender<()>>,
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
    /// The link takes no more, and why; until when what it still has is read.
    write_failed: Option<(io::Error, ::tokio::time::Instant)>,
    /// What goes out next, and the message that it is part of.
    chunk: Option<(u64, Chunk<Vec<u8>>)>,
    /// The message that began to be sent on this connection and has not ended.
    message_open: Option<u64>,
    /// The remote peer gave its verdict on that one.
    answered: bool,
    connected: bool,
    close_at: Option<::tokio::time::Instant>,
}

/// What woke the driver.
enum Woken {
    EventsTaken,
    Opened(io::Result<Conn>),
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Command(Option<Command>),
    Deserted,
    DrainOver,
    Other,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        target: ProxyTarget,
        options: Options,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        opened: oneshot::Sender<()>,
    ) -> Self {
        let buffer = options.buffer.max(BUF_MIN);
        Self {
            shared,
            target,
            options,
            link: Link::Down,
            commands,
            events,
            opened: Some(opened),
            inbox: Inbox::default(),
            input: vec![0; buffer],
            input_at: 0,
            input_end: 0,
            has_more: false,
            output: vec![0; buffer],
            output_at: 0,
            output_end: 0,
            write_failed: None,
            chunk: None,
            message_open: None,
            answered: false,
            connected: false,
            close_at: None,
        }
    }

    /// Runs until the stream is closed, or its handle dropped.
    ///
    /// # Errors
    /// Without [`Options::keep_trying`]: the stream could not be opened.
    pub async fn run(mut self) -> Result<(), Error> {
        loop {
            loop {
                self.close_if_due();
                self.decode()?;
                self.encode();
                if !self.follow_link_actions() {
                    break;
                }
            }
            self.hand_on();
            if self.inbox.len() == 0 {
                // Nothing that can be waited for comes of what is read already.
                if self.has_more {
                    continue;
                }
                if self.shared.lock().stream.is_closed() {
                    return Ok(());
                }
            }
            match self.wait().await {
                Woken::EventsTaken | Woken::Other => {}
                Woken::Deserted => self.shared.lock().stream.close(),
                Woken::Command(Some(Command::Send { message, chunk })) => self.take(message, chunk),
                Woken::Command(Some(Command::Abandon(message))) => self.abandon(message),
                Woken::Command(None) => {}
                Woken::Opened(Ok(conn)) => {
                    self.link = Link::Up(conn);
                    self.write_failed = None;
                    self.input_end = self.input_at;
                    self.output_end = self.output_at;
                    let now = self.shared.now();
                    self.shared.lock().stream.link_up(now);
                }
                Woken::Opened(Err(error)) => self.link_lost(error)?,
                Woken::Written(Err(error)) => {
                    // What the proxy wrote before it hung up may still be read.
                    let limit = ::tokio::time::Instant::now() + CLOSE_LIMIT;
                    self.write_failed = Some((error, limit));
                    self.output_end = self.output_at;
                }
                Woken::DrainOver => {
                    if let Some((error, _)) = self.write_failed.take() {
                        self.link_lost(error)?;
                    }
                }
                Woken::Read(Ok(0)) => {
                    let text = "the proxy closed the connection";
                    self.link_lost(io::Error::new(io::ErrorKind::UnexpectedEof, text))?;
                }
                Woken::Read(Err(error)) => self.link_lost(error)?,
                Woken::Read(Ok(length)) => (self.input_at, self.input_end) = (0, length),
                Woken::Written(Ok(length)) => self.output_at += length,
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let deadline = {
            let inner = self.shared.lock();
            let engine = inner.stream.deadline().map(|moment| self.shared.at(moment));
            engine.into_iter().chain(self.close_at).min()
        };
        let (opening, conn) = match &mut self.link {
            Link::Down => (None, None),
            Link::Opening(opening) => (Some(opening), None),
            Link::Up(conn) => (None, Some(&*conn)),
        };
        let drained_by = self.write_failed.as_ref().map(|(_, limit)| *limit);
        let idle = self.inbox.len() == 0 && self.input_at == self.input_end;
        let output = self.output.get(self.output_at..self.output_end).unwrap_or_default();
        ::tokio::select! {
            Ok(_) = self.events.reserve(), if self.inbox.len() > 0 => Woken::EventsTaken,
            Some(done) = maybe(opening) => Woken::Opened(done),
            Some(done) = maybe(conn.filter(|_| idle).map(|c| c.read(&mut self.input))) => {
                Woken::Read(done)
            }
            Some(done) = maybe(conn.filter(|_| !output.is_empty()).map(|c| c.write(output))) => {
                Woken::Written(done)
            }
            command = self.commands.recv(), if self.chunk.is_none() && !self.commands.is_closed() => {
                Woken::Command(command)
            }
            () = self.events.closed(), if !self.shared.lock().stream.has_ended() => {
                Woken::Deserted
            }
            Some(()) = maybe(drained_by.map(sleep_until)) => Woken::DrainOver,
            () = self.shared.changed.notified() => Woken::Other,
            Some(()) = maybe(deadline.map(sleep_until)) => Woken::Other,
        }
    }

    /// Does what the engine wants done with the link; true if it wanted anything.
    fn follow_link_actions(&mut self) -> bool {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        inner.stream.handle_timeout(now);
        let action = inner.stream.poll_link(now);
        match action {
            None => return false,
            Some(LinkAction::Open) => {
                let opening = Conn::open(self.target.clone(), self.options.clone());
                self.link = Link::Opening(Box::pin(opening));
            }
            Some(LinkAction::Drop) => {
                if let Link::Up(conn) = &self.link {
                    // What does not fit the socket's buffer is told by its closing.
                    let rest = self.output.get(self.output_at..self.output_end);
                    let _ = conn.try_write(rest.unwrap_or_default());
                }
                self.link = Link::Down;
                self.write_failed = None;
                inner.stream.link_down(now);
            }
        }
        drop(inner);
        self.note_connection();
        true
    }

    /// Closes the stream when the application wants that and nothing is left to send, or when the
    /// time for it is over.
    fn close_if_due(&mut self) {
        let mut inner = self.shared.lock();
        let ended = inner.stream.has_ended();
        if !ended && !inner.closing {
            return;
        }
        let limit = ::tokio::time::Instant::now() + CLOSE_LIMIT;
        let over = ::tokio::time::Instant::now() >= *self.close_at.get_or_insert(limit);
        let sent =
            self.chunk.is_none() && self.commands.is_empty() && self.output_at == self.output_end;
        if over || sent || !inner.stream.is_connected() {
            inner.stream.close();
        }
        if over {
            self.link = Link::Down;
            self.write_failed = None;
            inner.stream.link_down(self.shared.now());
            self.close_at = None;
        }
    }

    fn link_lost(&mut self, error: io::Error) -> Result<(), Error> {
        self.link = Link::Down;
        self.write_failed = None;
        let now = self.shared.now();
        self.shared.lock().stream.link_down(now);
        self.note_connection();
        if self.fails_fast() {
            return Err(Error::NoProxy { address: self.target.address.clone(), source: error });
        }
        Ok(())
    }

    /// True while the stream was not opened and is not to try again.
    const fn fails_fast(&self) -> bool {
        self.opened.is_some() && !self.options.keep_trying
    }

    /// From what was read to events, until enough wait for the application.
    fn decode(&mut self) -> Result<(), Error> {
        let now = self.shared.now();
        self.has_more = true;
        while self.inbox.len() < EVENTS_MAX {
            let mut inner = self.shared.lock();
            let mut input = self.input.get(self.input_at..self.input_end).unwrap_or_default();
            let Some(event) = inner.stream.receive(now, &mut input) else {
                self.input_at = self.input_end;
                self.has_more = false;
                self.inbox.end_of_input();
                break;
            };
            self.input_at = self.input_end - input.len();
            match event {
                Borrowed::Refused { result } if self.fails_fast() => {
                    let streamtype = inner.stream.streamtype().to_string();
                    return Err(Error::Refused { streamtype, result });
                }
                Borrowed::Fault(fault) if self.fails_fast() => return Err(Error::Protocol(fault)),
                event => self.inbox.add(event, input.len()),
            }
            if let Borrowed::State { state: State::QosAckRemote | State::QosNackRemote, .. } = event
            {
                self.answered = self.message_open.is_some();
                if !inner.stream.is_tx_requested() {
                    if let Some((message, _)) = self.chunk.take() {
                        inner.cut = Some(Cut { message, answered: true });
                    }
                }
            }
            let connected = inner.stream.is_connected();
            drop(inner);
            if connected != self.connected {
                self.note_connection();
            }
        }
        // Behind all that came with it, which may say that the streamtype takes no payload.
        if self.opened.is_some() && self.shared.lock().stream.is_created() {
            if let Some(opened) = self.opened.take() {
                let _ = opened.send(());
            }
        }
        Ok(())
    }

    /// Looks whether the connection came or went.
    fn note_connection(&mut self) {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        let connected = inner.stream.is_connected();
        if self.connected && !connected {
            if let Some(message) = self.message_open.take() {
                inner.cut = Some(Cut { message, answered: self.answered });
                self.chunk = self.chunk.take().filter(|(of, _)| *of != message);
            }
            if self.chunk.is_some() {
                // It had not begun: it waits for the next connection.
                inner.stream.request_tx(now);
            }
        }
        self.connected = connected;
    }

    /// Fills the output with frames if it is empty.
    fn encode(&mut self) {
        if self.output_at < self.output_end || self.write_failed.is_some() {
            return;
        }
        (self.output_at, self.output_end) = (0, 0);
        let now = self.shared.now();
        while self.output.len() - self.output_end >= BUF_MIN {
            if self.chunk.is_none() {
                match self.commands.try_recv() {
                    Ok(Command::Send { message, chunk }) => self.take(message, chunk),
                    Ok(Command::Abandon(message)) => self.abandon(message),
                    Err(_) => {}
                }
            }
            let mut inner = self.shared.lock();
            let Self { chunk, message_open, answered, output, .. } = self;
            let mut source = |buf: &mut [u8]| {
                let (message, from) = chunk.as_mut()?;
                let tx = from.fill(buf);
                if tx.flags.contains(Flags::SOM) {
                    *answered = false;
                }
                *message_open = Some(*message).filter(|_| !tx.flags.contains(Flags::EOM));
                if !tx.more {
                    *chunk = None;
                }
                Some(tx)
            };
            let buf = output.get_mut(self.output_end..).unwrap_or_default();
            match inner.stream.transmit(now, buf, &mut source) {
                Ok(0) => break,
                Ok(length) => self.output_end += length,
                Err(_) if self.output_end > 0 => break,
                Err(no_room) => self.output.resize(no_room.needed.max(BUF_MIN), 0),
            }
        }
    }

    fn take(&mut self, message: u64, chunk: Chunk<Vec<u8>>) {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        if inner.why_cut(message).is_some() {
            return;
        }
        match chunk.length {
            Some(length) => inner.stream.request_tx_len(now, length),
            None => inner.stream.request_tx(now),
        }
        self.chunk = Some((message, chunk));
    }

    fn abandon(&mut self, message: u64) {
        if self.message_open == Some(message) {
            let now = self.shared.now();
            self.shared.lock().stream.abandon(now);
            self.note_connection();
        }
    }

    /// Gives events to the application as far as it takes them.
    fn hand_on(&mut self) {
        while self.inbox.len() > 0 {
            match self.events.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.inbox.pop() {
                        permit.send(event);
                    }
                }
                Err(TrySendError::Full(())) => break,
                // Nobody will ever take them.
                Err(TrySendError::Closed(())) => drop(self.inbox.pop()),
            }
        }
    }
}

/// Waits for the future if there is one, else for ever.
async fn maybe<F: Future>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => pending().await,
    }
}
