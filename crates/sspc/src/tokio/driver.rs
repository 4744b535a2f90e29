//! Runs one stream: moves bytes between the socket, the engine and the application's queues.

use std::boxed::Box;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use ::tokio::sync::mpsc::error::TrySendError;
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{Instant as TokioInstant, sleep_until};

use super::conn::{Conn, ProxyTarget};
use super::sending::{Command, FromSenders, Sending};
use super::shared::{Inner, Shared};
use crate::engine::LinkAction;
use crate::host::{CLOSE_LIMIT, Error, Event, Options, Pump, hung_up};

/// Events that wait for the application before the socket is no longer read.
pub(super) const EVENTS_MAX: usize = 16;

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
    events: mpsc::Sender<Event>,
    /// Told once the stream was created.
    opened: Option<oneshot::Sender<()>>,
    pump: Pump,
    sending: Sending,
    /// The link takes no more, and why; until when what it still has is read.
    write_failed: Option<(io::Error, TokioInstant)>,
    close_at: Option<TokioInstant>,
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
        Self {
            shared,
            pump: Pump::new(target.address.clone(), &options, EVENTS_MAX),
            target,
            options,
            link: Link::Down,
            events,
            opened: Some(opened),
            sending: Sending::new(commands),
            write_failed: None,
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
            if self.pump.events() == 0 {
                // Nothing that can be waited for comes of what is read already.
                if self.pump.has_more() {
                    continue;
                }
                if self.shared.lock().stream.is_closed() {
                    return Ok(());
                }
            }
            match self.wait().await {
                Woken::EventsTaken | Woken::Other | Woken::Command(None) => {}
                Woken::Deserted => self.shared.lock().stream.close(),
                Woken::Command(Some(command)) => {
                    let now = self.shared.now();
                    let Inner { stream, cut, .. } = &mut *self.shared.lock();
                    self.sending.apply(stream, cut, now, command);
                }
                Woken::Opened(Ok(conn)) => {
                    self.set_link(Link::Up(conn));
                    let now = self.shared.now();
                    self.pump.link_up(&mut self.shared.lock().stream, now);
                }
                Woken::Written(Err(error)) => {
                    // What the proxy wrote before it hung up may still be read.
                    self.write_failed = Some((error, TokioInstant::now() + CLOSE_LIMIT));
                    self.pump.discard_output();
                }
                Woken::DrainOver => {
                    if let Some((error, _)) = self.write_failed.take() {
                        self.link_lost(error)?;
                    }
                }
                Woken::Read(Ok(0)) => self.link_lost(hung_up())?,
                Woken::Opened(Err(error)) | Woken::Read(Err(error)) => self.link_lost(error)?,
                Woken::Read(Ok(length)) => self.pump.received(length),
                Woken::Written(Ok(length)) => self.pump.sent(length),
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
        let events_wait = self.pump.events() > 0;
        let (input, output) = self.pump.buffers();
        let read = conn.zip(input.filter(|_| !events_wait));
        ::tokio::select! {
            Ok(_) = self.events.reserve(), if events_wait => Woken::EventsTaken,
            Some(done) = maybe(opening) => Woken::Opened(done),
            Some(done) = maybe(read.map(|(conn, buf)| conn.read(buf))) => Woken::Read(done),
            Some(done) = maybe(conn.filter(|_| !output.is_empty()).map(|c| c.write(output))) => {
                Woken::Written(done)
            }
            command = self.sending.command(), if self.sending.wants_command() => {
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
        let action = {
            let mut inner = self.shared.lock();
            inner.stream.handle_timeout(now);
            inner.stream.poll_link(now)
        };
        match action {
            None => return false,
            Some(LinkAction::Open) => {
                let opening = Conn::open(self.target.clone(), self.options.clone());
                self.set_link(Link::Opening(Box::pin(opening)));
            }
            Some(LinkAction::Drop) => {
                if let Link::Up(conn) = &self.link {
                    // The socket's closing says the rest, where its buffer is full.
                    let _ = conn.try_write(self.pump.output());
                }
                self.set_link(Link::Down);
                self.shared.lock().stream.link_down(now);
            }
        }
        self.note();
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
        let now = TokioInstant::now();
        let over = now >= *self.close_at.get_or_insert(now + CLOSE_LIMIT);
        let sent = self.sending.is_done() && self.pump.output().is_empty();
        if over || sent || !inner.stream.is_connected() {
            inner.stream.close();
        }
        if over {
            inner.stream.link_down(self.shared.now());
            drop(inner);
            self.set_link(Link::Down);
            self.close_at = None;
        }
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
        self.write_failed = None;
    }

    fn link_lost(&mut self, error: io::Error) -> Result<(), Error> {
        self.set_link(Link::Down);
        let now = self.shared.now();
        let lost = self.pump.link_lost(&mut self.shared.lock().stream, now, error);
        self.note();
        lost
    }

    /// From what was read to events, until enough wait for the application.
    fn decode(&mut self) -> Result<(), Error> {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        let (Inner { stream, cut, .. }, sending) = (&mut *inner, &mut self.sending);
        self.pump.decode(stream, now, |stream, state| sending.note(stream, cut, now, state))?;
        // Behind all that came with it, which may say that the streamtype takes no payload.
        if stream.is_created() {
            if let Some(opened) = self.opened.take() {
                let _ = opened.send(());
            }
        }
        Ok(())
    }

    /// Looks what became of the link.
    fn note(&mut self) {
        let now = self.shared.now();
        let Inner { stream, cut, .. } = &mut *self.shared.lock();
        self.sending.note(stream, cut, now, None);
    }

    /// Fills the output with frames if it is empty.
    fn encode(&mut self) {
        if self.write_failed.is_some() {
            return;
        }
        let now = self.shared.now();
        let Inner { stream, cut, .. } = &mut *self.shared.lock();
        let sending = &mut self.sending;
        self.pump.encode(stream, now, &mut FromSenders { sending, cut });
    }

    /// Gives events to the application as far as it takes them.
    fn hand_on(&mut self) {
        while self.pump.events() > 0 {
            match self.events.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.pump.pop() {
                        permit.send(event);
                    }
                }
                Err(TrySendError::Full(())) => break,
                // Nobody will ever take them.
                Err(TrySendError::Closed(())) => drop(self.pump.pop()),
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
