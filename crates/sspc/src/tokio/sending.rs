//! What the application gave to send, on its way to the engine.

use std::vec::Vec;

use ::tokio::sync::mpsc;
use sspc_wire::{Flags, Instant, State};

use super::shared::Cut;
use crate::engine::Tx;
use crate::host::{Chunk, HostStream, Outgoing};

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

/// Where the messages of a stream stand.
#[derive(Debug)]
pub(super) struct Sending {
    commands: mpsc::Receiver<Command>,
    /// What goes out next, and the message that it is part of.
    chunk: Option<(u64, Chunk<Vec<u8>>)>,
    /// The message that began to be sent on this connection and has not ended.
    message_open: Option<u64>,
    /// The remote peer gave its verdict on that one.
    answered: bool,
    connected: bool,
}

impl Sending {
    pub(super) const fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self { commands, chunk: None, message_open: None, answered: false, connected: false }
    }

    /// True if all that was given is with the engine.
    pub(super) fn is_done(&self) -> bool {
        self.chunk.is_none() && self.commands.is_empty()
    }

    /// Waits for the next command; `None` if there is no more to come. To be called only if one
    /// [is wanted](Self::wants_command). Cancel safe.
    pub(super) async fn command(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    pub(super) fn wants_command(&self) -> bool {
        self.chunk.is_none() && !self.commands.is_closed()
    }

    pub(super) fn apply(
        &mut self,
        stream: &mut HostStream,
        cut: &mut Option<Cut>,
        now: Instant,
        command: Command,
    ) {
        match command {
            Command::Send { message, .. } if cut.is_some_and(|cut| cut.message == message) => {}
            Command::Send { message, chunk } => {
                match chunk.length {
                    Some(length) => stream.request_tx_len(now, length),
                    None => stream.request_tx(now),
                }
                self.chunk = Some((message, chunk));
            }
            Command::Abandon(message) => {
                if self.message_open == Some(message) {
                    stream.abandon(now);
                    self.note(stream, cut, now, None);
                }
            }
        }
    }

    /// Looks what a state, or the loss of a link, means for what is to be sent.
    pub(super) fn note(
        &mut self,
        stream: &mut HostStream,
        cut: &mut Option<Cut>,
        now: Instant,
        state: Option<State>,
    ) {
        if let Some(State::QosAckRemote | State::QosNackRemote) = state {
            self.answered = self.message_open.is_some();
            if !stream.is_tx_requested() {
                if let Some((message, _)) = self.chunk.take() {
                    *cut = Some(Cut { message, answered: true });
                }
            }
        }
        let connected = stream.is_connected();
        if self.connected && !connected {
            if let Some(message) = self.message_open.take() {
                *cut = Some(Cut { message, answered: self.answered });
                self.chunk = self.chunk.take().filter(|(of, _)| *of != message);
            }
            if self.chunk.is_some() {
                // It had not begun: it waits for the next connection.
                stream.request_tx(now);
            }
        }
        self.connected = connected;
    }
}

/// What is to be sent, with the stream that it belongs to.
pub(super) struct FromSenders<'s> {
    pub(super) sending: &'s mut Sending,
    pub(super) cut: &'s mut Option<Cut>,
}

impl Outgoing for FromSenders<'_> {
    fn prepare(&mut self, stream: &mut HostStream, now: Instant) {
        if self.sending.chunk.is_none() {
            if let Ok(command) = self.sending.commands.try_recv() {
                self.sending.apply(stream, self.cut, now, command);
            }
        }
    }

    fn fill(&mut self, buf: &mut [u8]) -> Option<Tx> {
        let Sending { chunk, message_open, answered, .. } = &mut *self.sending;
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
    }
}
