//! Where the message that is being sent stands.

use sspc_wire::{Flags, State};

use crate::engine::Tx;
use crate::host::{Chunk, Error, HostStream, Outgoing};

/// What one call gives to send.
#[derive(Debug)]
pub(super) struct Source<'m> {
    /// What of it is not with the engine.
    pub(super) chunk: Option<Chunk<&'m [u8]>>,
    /// Its message has begun to be sent.
    pub(super) begun: bool,
}

impl Source<'_> {
    pub(super) const fn nothing() -> Self {
        Self { chunk: None, begun: false }
    }
}

impl Outgoing for Source<'_> {
    fn fill(&mut self, buf: &mut [u8]) -> Option<Tx> {
        let tx = self.chunk.as_mut()?.fill(buf);
        self.begun = true;
        if !tx.more {
            self.chunk = None;
        }
        Some(tx)
    }
}

/// What became of the connection and of the message on it.
#[derive(Debug, Default)]
pub(super) struct Sending {
    connected: bool,
    /// How often a connection was lost.
    pub(super) losses: u32,
    /// A message was begun on this connection and not ended.
    pub(super) message_open: bool,
    /// A message was cut, and nobody was told.
    cut: bool,
    /// The message that was begun last got its verdict.
    answered: bool,
    /// Since the last message was begun the proxy gave up connecting.
    pub(super) failed: Option<State>,
}

impl Sending {
    /// Payload with these flags is to be sent.
    ///
    /// # Errors
    /// It is the rest of a message that was cut; told once.
    pub(super) fn check_cut(&mut self, flags: Flags) -> Result<(), Error> {
        let goes_on = !flags.contains(Flags::SOM);
        if core::mem::take(&mut self.cut) && goes_on { Err(self.why_cut()) } else { Ok(()) }
    }

    /// A call begins to send.
    pub(super) fn begin(&mut self) {
        self.failed = None;
        self.answered &= self.message_open;
    }

    /// The message was cut; the error for the caller.
    pub(super) const fn told_cut(&mut self) -> Error {
        self.cut = false;
        self.why_cut()
    }

    /// The message was answered before it began; if it goes on, so is the rest of it.
    pub(super) const fn answered_early(&mut self, goes_on: bool) -> Error {
        self.cut = goes_on;
        Error::Answered
    }

    const fn why_cut(&self) -> Error {
        if self.answered { Error::Answered } else { Error::Interrupted }
    }

    /// Looks what a state, or the loss of a link, means for what is sent.
    pub(super) fn note(&mut self, stream: &HostStream, state: Option<State>) {
        match state {
            Some(State::AllRetriesFailed | State::AuthFailed) => self.failed = state,
            Some(State::QosAckRemote | State::QosNackRemote) => self.answered = true,
            _ => {}
        }
        let connected = stream.is_connected();
        if self.connected && !connected {
            self.losses = self.losses.wrapping_add(1);
            self.cut |= self.message_open;
            self.message_open = false;
        }
        self.connected = connected;
    }

    /// Looks whether a message begins or ends with what the engine took.
    pub(super) const fn note_sent(&mut self, stream: &HostStream) {
        let open = stream.is_message_open();
        self.answered &= !open || self.message_open;
        self.message_open = open;
    }
}
