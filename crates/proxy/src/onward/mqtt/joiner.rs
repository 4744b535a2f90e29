//! The client's pieces as whole messages: MQTT announces a message's length before its payload.

use std::sync::Arc;

use bytes::Bytes;
use sspc_wire::Flags;

use crate::memory::{Account, Held, Way};
use crate::onward::{MessageSettings, TxChunk};

/// Joins pieces up to EOM, or to the length that the client announced.
#[derive(Debug)]
pub(super) struct Joiner {
    account: Arc<Account>,
    max: usize,
    state: State,
    /// The flags of the client's messages made no sense, and it was logged.
    complained: bool,
}

#[derive(Debug)]
enum State {
    Between {
        /// A message had its announced length before its EOM came, which may still come.
        eom_may_follow: bool,
    },
    Within {
        settings: Option<Arc<MessageSettings>>,
        payload: Payload,
    },
    /// In a message that was refused; so many of its announced bytes are missing.
    Refused {
        missing: Option<usize>,
    },
}

#[derive(Debug)]
enum Payload {
    /// One piece as it came.
    Piece(Bytes),
    Joined(Vec<u8>, Held),
}

/// What a piece came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Its message goes on, or it is none.
    More,
    /// Its message is whole.
    Message { settings: Option<Arc<MessageSettings>>, payload: Bytes },
    /// Its message is longer than messages may be. The rest of it is thrown away.
    TooLong,
}

impl Joiner {
    /// For messages of at most `max` bytes.
    pub(super) fn new(account: Arc<Account>, max: usize) -> Self {
        let state = State::Between { eom_may_follow: false };
        Self { account, max, state, complained: false }
    }

    /// True if a message has begun and not ended.
    pub(super) fn is_within(&self) -> bool {
        matches!(self.state, State::Within { .. })
    }

    /// Throws away what has come of a message, and what is still to come.
    pub(super) fn refuse(&mut self) {
        if let State::Within { settings, payload } = &self.state {
            let missing = hint(settings.as_deref()).map(|hint| hint.saturating_sub(payload.len()));
            self.state = State::Refused { missing };
        }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, chunk: TxChunk) -> Step {
        let TxChunk { bytes, flags, settings } = chunk;
        let (starts, ends) = (flags.contains(Flags::SOM), flags.contains(Flags::EOM));
        match &mut self.state {
            State::Between { eom_may_follow } => {
                let is_late_end = std::mem::take(eom_may_follow) && ends && !starts;
                if is_late_end && bytes.is_empty() {
                    return Step::More;
                }
                self.state = State::Within { settings, payload: Payload::Piece(bytes) };
            }
            State::Within { payload, .. } => {
                if starts && !self.complained {
                    self.complained = true;
                    tracing::warn!(
                        "the client's flags: a message begins inside a message; taken for its \
                         continuation; logged once"
                    );
                }
                payload.join(&bytes, &self.account);
            }
            State::Refused { missing } => {
                if let Some(missing) = missing {
                    *missing = missing.saturating_sub(bytes.len());
                }
                if ends || *missing == Some(0) {
                    self.state = State::Between { eom_may_follow: !ends };
                }
                return Step::More;
            }
        }
        self.settle(ends)
    }

    /// What the message is at after a piece of it.
    fn settle(&mut self, ends: bool) -> Step {
        let State::Within { settings, payload } = &mut self.state else { return Step::More };
        let hint = hint(settings.as_deref());
        let is_whole = ends || hint.is_some_and(|hint| payload.len() >= hint);
        let length = if is_whole { payload.len() } else { payload.len().max(hint.unwrap_or(0)) };
        if length > self.max {
            let missing = hint.map(|hint| hint.saturating_sub(payload.len()));
            self.state = match is_whole {
                true => State::Between { eom_may_follow: !ends },
                false => State::Refused { missing },
            };
            return Step::TooLong;
        }
        if !is_whole {
            return Step::More;
        }
        let settings = settings.take();
        let payload = payload.take(&self.account);
        self.state = State::Between { eom_may_follow: !ends };
        Step::Message { settings, payload }
    }
}

fn hint(settings: Option<&MessageSettings>) -> Option<usize> {
    usize::try_from(settings?.length_hint?).ok()
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Payload::Piece(bytes) => bytes.len(),
            Payload::Joined(bytes, _) => bytes.len(),
        }
    }

    fn join(&mut self, more: &[u8], account: &Arc<Account>) {
        if let Payload::Piece(first) = self {
            let bytes = first.to_vec();
            let held = account.hold(Way::Onward, bytes.capacity());
            *self = Payload::Joined(bytes, held);
        }
        if let Payload::Joined(bytes, held) = self {
            bytes.extend_from_slice(more);
            held.set(bytes.capacity());
        }
    }

    /// What was joined, charged until nobody needs it any more.
    fn take(&mut self, account: &Arc<Account>) -> Bytes {
        match std::mem::replace(self, Payload::Piece(Bytes::new())) {
            Payload::Piece(bytes) => bytes,
            Payload::Joined(bytes, _held) => {
                let size = bytes.capacity();
                account.attach(Way::Onward, bytes.into(), size)
            }
        }
    }
}
