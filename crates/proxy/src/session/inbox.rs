//! Payload on its way from the client to the remote peer.

use std::collections::VecDeque;

use sspc_wire::Flags;

use crate::onward::Chunk;

/// What a waiting chunk costs beside its payload, in bytes: a flood of tiny ones is bounded too.
const CHUNK_COST: usize = 64;

/// Payload that waits for the running attempt to take it.
///
/// When a transaction ends, what is left of it goes, and so does what still comes of a message
/// that it took in part, or that it waited for and that is on its way: that belongs to nothing any
/// more, and must not begin another transaction.
#[derive(Debug)]
pub(crate) struct Inbox {
    chunks: VecDeque<Chunk>,
    cost: usize,
    at: Place,
    /// The transaction waits for a message of which nothing has come.
    awaited: bool,
    dropping: Dropping,
    /// Bytes that left since the last [`Inbox::left`].
    left: usize,
}

/// Where in the client's payload the last chunk ended.
#[derive(Debug)]
struct Place {
    in_message: bool,
    in_frame: bool,
}

/// What is thrown away as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropping {
    Nothing,
    RestOfFrame,
    RestOfMessage,
    /// The next one, from its beginning.
    Message,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            cost: 0,
            at: Place { in_message: false, in_frame: false },
            awaited: false,
            dropping: Dropping::Nothing,
            left: 0,
        }
    }

    /// Takes a chunk, unless it belongs to a message that is being thrown away: then false.
    /// `ends_frame` tells whether more of the same frame is to come.
    pub(crate) fn push(&mut self, chunk: Chunk, ends_frame: bool) -> bool {
        let starts = chunk.flags.contains(Flags::SOM);
        let ends = chunk.flags.contains(Flags::EOM);
        self.at.in_message = !ends && (starts || self.at.in_message);
        self.at.in_frame = !ends_frame;
        self.awaited = false;
        let dropped = match self.dropping {
            Dropping::Nothing => false,
            Dropping::Message => {
                self.dropping = if ends { Dropping::Nothing } else { Dropping::RestOfMessage };
                true
            }
            _ if starts => {
                self.dropping = Dropping::Nothing;
                false
            }
            Dropping::RestOfFrame => {
                if ends_frame || ends {
                    self.dropping = Dropping::Nothing;
                }
                true
            }
            Dropping::RestOfMessage => {
                if ends {
                    self.dropping = Dropping::Nothing;
                }
                true
            }
        };
        if dropped {
            self.left += chunk.bytes.len();
            return false;
        }
        self.cost += chunk.bytes.len() + CHUNK_COST;
        self.chunks.push_back(chunk);
        true
    }

    /// The next chunk.
    pub(crate) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.cost -= chunk.bytes.len() + CHUNK_COST;
        self.left += chunk.bytes.len();
        Some(chunk)
    }

    /// A transaction that takes one message has begun: unless the message is here, the client sends
    /// it now.
    pub(crate) fn await_message(&mut self) {
        self.awaited = self.chunks.is_empty() && !self.at.in_message;
    }

    /// Throws away what waits, and what is still to come of a message or frame cut by that.
    pub(crate) fn discard(&mut self) {
        while self.pop().is_some() {}
        self.dropping = match self.at {
            _ if std::mem::take(&mut self.awaited) => Dropping::Message,
            Place { in_message: true, .. } => Dropping::RestOfMessage,
            Place { in_frame: true, .. } => Dropping::RestOfFrame,
            _ => Dropping::Nothing,
        };
    }

    /// The client began something new: what comes now is wanted.
    pub(crate) fn begin(&mut self) {
        self.dropping = Dropping::Nothing;
        self.awaited = false;
        self.at.in_message = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What waits, in bytes, with what the waiting itself costs.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Bytes of payload that left, taken or thrown away, since the last call.
    pub(crate) fn left(&mut self) -> usize {
        std::mem::take(&mut self.left)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn push(inbox: &mut Inbox, text: &'static str, flags: Flags, ends_frame: bool) -> bool {
        inbox.push(Chunk { bytes: Bytes::from_static(text.as_bytes()), flags }, ends_frame)
    }

    fn drain(inbox: &mut Inbox) -> Vec<Bytes> {
        std::iter::from_fn(|| inbox.pop()).map(|chunk| chunk.bytes).collect()
    }

    #[test]
    fn what_is_left_of_an_ended_transaction_goes_with_the_rest_of_its_message() {
        let mut inbox = Inbox::new();
        assert!(push(&mut inbox, "one ", Flags::SOM, true));
        inbox.discard();
        assert!(!push(&mut inbox, "message ", Flags::NONE, true));
        assert!(!push(&mut inbox, "whole", Flags::EOM, true));
        assert!(push(&mut inbox, "next", Flags::WHOLE, true));
        assert_eq!(drain(&mut inbox), ["next"]);
        assert_eq!(inbox.left(), 21);
        assert_eq!(inbox.cost(), 0);
    }

    #[test]
    fn a_new_message_is_wanted_even_if_the_old_one_never_ended() {
        let mut inbox = Inbox::new();
        push(&mut inbox, "old", Flags::SOM, true);
        inbox.discard();
        assert!(push(&mut inbox, "new", Flags::SOM, true));
        assert!(push(&mut inbox, "er", Flags::EOM, true));
        assert_eq!(drain(&mut inbox), ["new", "er"]);
    }

    #[test]
    fn a_message_that_comes_too_late_for_its_transaction_begins_no_other() {
        let mut inbox = Inbox::new();
        inbox.await_message();
        inbox.discard();
        assert!(!push(&mut inbox, "too ", Flags::SOM, true));
        assert!(!push(&mut inbox, "late", Flags::EOM, true));
        assert!(push(&mut inbox, "next", Flags::WHOLE, true));
        inbox.await_message();
        inbox.discard();
        inbox.begin();
        assert!(push(&mut inbox, "asked for", Flags::WHOLE, true));
        assert_eq!(drain(&mut inbox), ["asked for"]);
        assert_eq!(inbox.left(), 21);
    }

    #[test]
    fn a_message_that_came_is_awaited_no_more() {
        let mut inbox = Inbox::new();
        inbox.await_message();
        assert!(push(&mut inbox, "in time", Flags::WHOLE, true));
        inbox.pop();
        inbox.discard();
        assert!(push(&mut inbox, "next", Flags::WHOLE, true));

        inbox.await_message();
        inbox.discard();
        assert!(push(&mut inbox, "and next", Flags::WHOLE, true), "it waited already");
    }

    #[test]
    fn a_frame_cut_by_the_end_of_its_transaction_does_not_begin_the_next() {
        let mut inbox = Inbox::new();
        push(&mut inbox, "first half", Flags::NONE, false);
        inbox.discard();
        assert!(!push(&mut inbox, "second half", Flags::NONE, true));
        assert!(push(&mut inbox, "next frame", Flags::NONE, true));
        assert_eq!(drain(&mut inbox), ["next frame"]);
    }

    #[test]
    fn what_comes_while_idle_is_kept() {
        let mut inbox = Inbox::new();
        push(&mut inbox, "whole", Flags::WHOLE, true);
        inbox.discard();
        assert!(push(&mut inbox, "no flags", Flags::NONE, true));
        assert_eq!(drain(&mut inbox), ["no flags"]);
    }

    #[test]
    fn asking_to_connect_begins_anew() {
        let mut inbox = Inbox::new();
        push(&mut inbox, "cut", Flags::SOM, true);
        inbox.discard();
        inbox.begin();
        assert!(push(&mut inbox, "no flags", Flags::NONE, true));
    }

    #[test]
    fn tiny_chunks_cost_more_than_their_bytes() {
        let mut inbox = Inbox::new();
        for _ in 0..1000 {
            push(&mut inbox, "x", Flags::NONE, true);
        }
        assert_eq!(inbox.cost(), 65_000);
    }
}
