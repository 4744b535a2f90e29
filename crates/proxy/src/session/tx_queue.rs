//! Payload on its way from the client to the remote peer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use sspc_wire::Flags;

use crate::onward::{MessageSettings, TxChunk};
use crate::payload::Waiting;

/// What a waiting chunk takes beside its payload, in bytes: its place in the queue, and what the
/// allocator and the account keep of it.
pub(crate) const CHUNK_COST: usize = 128;

/// Payload that waits for the running attempt to take it.
///
/// When a transaction ends, what is left of it goes, and so does what still comes of a message
/// that it took in part, or that it waited for and that is on its way: that belongs to nothing any
/// more, and must not begin another transaction.
///
/// A message that begins inside another shows that its client broke the other one off: it began
/// that before it heard that the connection was gone. The two must not become one.
///
/// Small pieces of a message that wait one behind the other are joined.
#[derive(Debug)]
pub(crate) struct TxQueue {
    chunks: VecDeque<Chunk>,
    cost: usize,
    at: Position,
    /// How many of the chunks, the last ones, are of a message that has not ended.
    open: usize,
    /// The transaction has taken chunks of that message.
    open_taken: bool,
    /// A transaction is over: what comes may have been sent for that one.
    after_loss: bool,
    /// The client puts SOM inside its messages at any time, so that it tells nothing.
    careless: bool,
    /// The transaction waits for a message of which nothing has come.
    awaited: bool,
    dropping: Dropping,
    /// Bytes that left since the last [`TxQueue::left`].
    left: usize,
}

/// Where in the client's payload the last chunk ended.
#[derive(Debug)]
struct Position {
    in_message: bool,
    in_frame: bool,
}

#[derive(Debug)]
struct Chunk {
    payload: Waiting,
    flags: Flags,
    settings: Option<Arc<MessageSettings>>,
}

impl Chunk {
    fn cost(&self) -> usize {
        let settings = self.settings.as_ref().map_or(0, |settings| settings.held.bytes());
        self.payload.size() + settings + CHUNK_COST
    }

    /// Adds payload behind if it is more of the same message; what is left, `None` if all of it was
    /// added.
    fn join<'a>(&mut self, payload: &'a [u8], flags: Flags) -> Option<&'a [u8]> {
        const ENDS: Flags = Flags::from_bits(Flags::EOM.bits() | Flags::RELATED_END.bits());
        let ended = self.flags & ENDS != Flags::NONE;
        if ended || flags.without(Flags::EOM) != Flags::NONE {
            return Some(payload);
        }
        let rest = self.payload.join(payload);
        if !rest.is_empty() {
            return Some(rest);
        }
        self.flags |= flags;
        None
    }
}

/// A piece of payload as it came.
#[derive(Clone, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same if it can be kept where it is, and the size of the buffer there.
    pub(crate) shared: Option<(Bytes, usize)>,
    pub(crate) flags: Flags,
    /// Nothing more of the same frame is to come.
    pub(crate) ends_frame: bool,
    /// For the message that it begins, if such are wanted.
    pub(crate) settings: Option<Arc<MessageSettings>>,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Kept,
    /// It belongs to a message that is being thrown away.
    Dropped,
    /// It begins a message inside one that the transaction has taken in part: that transaction
    /// cannot go on, nor can this message be part of it.
    Breaks,
}

/// What is thrown away as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropping {
    Nothing,
    RestOfFrame,
    RestOfMessage,
    /// The next one, from its beginning.
    Message,
    /// Everything.
    All,
}

impl TxQueue {
    pub(crate) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            cost: 0,
            at: Position { in_message: false, in_frame: false },
            open: 0,
            open_taken: false,
            after_loss: false,
            careless: false,
            awaited: false,
            dropping: Dropping::Nothing,
            left: 0,
        }
    }

    /// True if a piece with these flags begins a message.
    pub(crate) fn begins_message(&self, flags: Flags) -> bool {
        flags.contains(Flags::SOM) || !self.at.in_message
    }

    /// Takes a piece, if it is wanted.
    pub(crate) fn push(&mut self, piece: Piece<'_>) -> Pushed {
        let Piece { bytes, shared, flags, ends_frame, settings } = piece;
        let starts = flags.contains(Flags::SOM);
        let ends = flags.contains(Flags::EOM);
        let was_in_message = self.at.in_message;
        self.at.in_message = !ends && (starts || self.at.in_message);
        self.at.in_frame = !ends_frame;
        self.awaited = false;
        let dropped = match self.dropping {
            Dropping::Nothing => false,
            Dropping::All => true,
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
            self.left += bytes.len();
            return Pushed::Dropped;
        }
        if starts && was_in_message {
            self.careless |= !self.after_loss;
            if self.careless {
                // As it was taken so far.
            } else if self.open_taken {
                self.left += bytes.len();
                return Pushed::Breaks;
            } else {
                self.drop_open();
            }
        }
        let payload = match shared {
            Some((bytes, buffer)) => Some(Waiting::AsRead { bytes, buffer }),
            None if settings.is_some() => Some(Waiting::copy_of(bytes)),
            None => self.join(bytes, flags).map(Waiting::copy_of),
        };
        if let Some(payload) = payload {
            let chunk = Chunk { payload, flags, settings };
            self.cost += chunk.cost();
            self.chunks.push_back(chunk);
            self.open += 1;
            if starts {
                self.open_taken = false;
            }
        }
        if !self.at.in_message {
            self.open = 0;
        }
        Pushed::Kept
    }

    /// Adds payload to the chunk that waits last; what is left, `None` if all of it was added.
    fn join<'a>(&mut self, bytes: &'a [u8], flags: Flags) -> Option<&'a [u8]> {
        let Some(last) = self.chunks.back_mut() else { return Some(bytes) };
        self.cost -= last.cost();
        let rest = last.join(bytes, flags);
        self.cost += last.cost();
        rest
    }

    /// Throws away what waits of a message that has not ended.
    fn drop_open(&mut self) {
        for _ in 0..std::mem::take(&mut self.open) {
            if let Some(chunk) = self.chunks.pop_back() {
                self.cost -= chunk.cost();
                self.left += chunk.payload.len();
            }
        }
    }

    /// The next chunk, and how much memory it takes, in bytes.
    pub(crate) fn pop(&mut self) -> Option<(TxChunk, usize)> {
        let chunk = self.chunks.pop_front()?;
        if self.chunks.len() < self.open {
            self.open = self.chunks.len();
            self.open_taken = true;
        }
        let cost = chunk.cost();
        self.cost -= cost;
        self.left += chunk.payload.len();
        let Chunk { payload, flags, settings } = chunk;
        Some((TxChunk { bytes: payload.into_bytes(), flags, settings }, cost))
    }

    /// A transaction that takes one message has begun: unless the message is here, the client sends
    /// it now.
    pub(crate) fn await_message(&mut self) {
        self.awaited = self.chunks.is_empty() && !self.at.in_message;
    }

    /// Throws away what waits, and what is still to come of a message or frame cut by that. With
    /// `until_asked` nothing is wanted before the client asks for a transaction, so that the message
    /// that the transaction waited for is not either.
    pub(crate) fn discard(&mut self, until_asked: bool) {
        while self.pop().is_some() {}
        self.open_taken = false;
        self.dropping = match self.at {
            _ if self.dropping == Dropping::All => Dropping::All,
            _ if std::mem::take(&mut self.awaited) && until_asked => Dropping::Message,
            Position { in_message: true, .. } => Dropping::RestOfMessage,
            Position { in_frame: true, .. } => Dropping::RestOfFrame,
            _ => Dropping::Nothing,
        };
        self.after_loss = true;
    }

    /// Throws away all that comes, until [`TxQueue::begin`] or [`TxQueue::reopen`].
    pub(crate) fn close(&mut self) {
        self.dropping = Dropping::All;
    }

    /// What comes now is wanted again, if the queue is closed.
    pub(crate) fn reopen(&mut self) {
        if self.dropping == Dropping::All {
            self.begin();
        }
    }

    /// The client began something new: what comes now is wanted.
    pub(crate) fn begin(&mut self) {
        if self.after_loss {
            self.drop_open();
            self.at.in_message = false;
        }
        self.dropping = Dropping::Nothing;
        self.awaited = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// True if nothing waits and no message is under way.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.chunks.is_empty() && !self.at.in_message && !self.at.in_frame
    }

    /// How much memory what waits takes, in bytes.
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

    fn pushed(
        tx_queue: &mut TxQueue,
        text: &'static str,
        flags: Flags,
        ends_frame: bool,
    ) -> Pushed {
        let bytes = text.as_bytes();
        tx_queue.push(Piece { bytes, shared: None, flags, ends_frame, settings: None })
    }

    /// Pushes; true if the chunk waits.
    fn push(tx_queue: &mut TxQueue, text: &'static str, flags: Flags, ends_frame: bool) -> bool {
        pushed(tx_queue, text, flags, ends_frame) == Pushed::Kept
    }

    fn drain(tx_queue: &mut TxQueue) -> Vec<Bytes> {
        std::iter::from_fn(|| tx_queue.pop()).map(|(chunk, _)| chunk.bytes).collect()
    }

    #[test]
    fn what_is_left_of_an_ended_transaction_goes_with_the_rest_of_its_message() {
        let mut tx_queue = TxQueue::new();
        assert!(push(&mut tx_queue, "one ", Flags::SOM, true));
        tx_queue.discard(true);
        assert!(!push(&mut tx_queue, "message ", Flags::NONE, true));
        assert!(!push(&mut tx_queue, "whole", Flags::EOM, true));
        assert!(push(&mut tx_queue, "next", Flags::WHOLE, true));
        assert_eq!(drain(&mut tx_queue), ["next"]);
        assert_eq!(tx_queue.left(), 21);
        assert_eq!(tx_queue.cost(), 0);
    }

    #[test]
    fn a_new_message_is_wanted_even_if_the_old_one_never_ended() {
        let mut tx_queue = TxQueue::new();
        push(&mut tx_queue, "old", Flags::SOM, true);
        tx_queue.discard(true);
        assert!(push(&mut tx_queue, "new", Flags::SOM, true));
        assert!(push(&mut tx_queue, "er", Flags::EOM, true));
        assert_eq!(drain(&mut tx_queue), ["newer"]);
    }

    #[test]
    fn a_message_that_comes_too_late_for_its_transaction_begins_no_other() {
        let mut tx_queue = TxQueue::new();
        tx_queue.await_message();
        tx_queue.discard(true);
        assert!(!push(&mut tx_queue, "too ", Flags::SOM, true));
        assert!(!push(&mut tx_queue, "late", Flags::EOM, true));
        assert!(push(&mut tx_queue, "next", Flags::WHOLE, true));
        tx_queue.await_message();
        tx_queue.discard(true);
        tx_queue.begin();
        assert!(push(&mut tx_queue, "asked for", Flags::WHOLE, true));
        assert_eq!(drain(&mut tx_queue), ["asked for"]);
        assert_eq!(tx_queue.left(), 21);
    }

    #[test]
    fn a_message_that_came_is_awaited_no_more() {
        let mut tx_queue = TxQueue::new();
        tx_queue.await_message();
        assert!(push(&mut tx_queue, "in time", Flags::WHOLE, true));
        tx_queue.pop();
        tx_queue.discard(true);
        assert!(push(&mut tx_queue, "next", Flags::WHOLE, true));

        tx_queue.await_message();
        tx_queue.discard(true);
        assert!(push(&mut tx_queue, "and next", Flags::WHOLE, true), "it waited already");
    }

    #[test]
    fn a_frame_cut_by_the_end_of_its_transaction_does_not_begin_the_next() {
        let mut tx_queue = TxQueue::new();
        push(&mut tx_queue, "first half", Flags::NONE, false);
        tx_queue.discard(true);
        assert!(!push(&mut tx_queue, "second half", Flags::NONE, true));
        assert!(push(&mut tx_queue, "next frame", Flags::NONE, true));
        assert_eq!(drain(&mut tx_queue), ["next frame"]);
    }

    #[test]
    fn what_comes_while_idle_is_kept() {
        let mut tx_queue = TxQueue::new();
        push(&mut tx_queue, "whole", Flags::WHOLE, true);
        tx_queue.discard(true);
        assert!(push(&mut tx_queue, "no flags", Flags::NONE, true));
        assert_eq!(drain(&mut tx_queue), ["no flags"]);
    }

    #[test]
    fn asking_to_connect_begins_anew() {
        let mut tx_queue = TxQueue::new();
        push(&mut tx_queue, "cut", Flags::SOM, true);
        tx_queue.discard(true);
        tx_queue.begin();
        assert!(push(&mut tx_queue, "no flags", Flags::NONE, true));
    }

    #[test]
    fn a_message_broken_off_before_it_was_taken_gives_way_to_the_next() {
        let mut tx_queue = TxQueue::new();
        tx_queue.discard(true);
        push(&mut tx_queue, "whole", Flags::WHOLE, true);
        push(&mut tx_queue, "broken ", Flags::SOM, true);
        push(&mut tx_queue, "off", Flags::NONE, true);
        assert!(push(&mut tx_queue, "anew", Flags::WHOLE, true));
        assert_eq!(drain(&mut tx_queue), ["whole", "anew"]);
        assert_eq!((tx_queue.left(), tx_queue.cost()), (19, 0));
    }

    #[test]
    fn a_message_broken_off_after_it_was_taken_breaks_its_transaction() {
        let mut tx_queue = TxQueue::new();
        tx_queue.discard(true);
        push(&mut tx_queue, "sent before the loss was known", Flags::SOM, true);
        tx_queue.pop();
        assert_eq!(pushed(&mut tx_queue, "sent ", Flags::SOM, true), Pushed::Breaks);
        tx_queue.discard(true);
        assert_eq!(pushed(&mut tx_queue, "again", Flags::EOM, true), Pushed::Dropped);
        assert!(push(&mut tx_queue, "next", Flags::WHOLE, true));
        assert_eq!(drain(&mut tx_queue), ["next"]);
    }

    #[test]
    fn a_client_that_flags_carelessly_breaks_nothing() {
        let mut tx_queue = TxQueue::new();
        for _ in 0..2 {
            for _ in 0..3 {
                assert!(push(&mut tx_queue, "starts", Flags::SOM, true));
                tx_queue.pop();
            }
            tx_queue.discard(true);
            tx_queue.begin();
        }
    }

    #[test]
    fn what_comes_while_closed_is_thrown_away() {
        let mut tx_queue = TxQueue::new();
        tx_queue.close();
        assert!(!push(&mut tx_queue, "of the connection before", Flags::WHOLE, true));
        tx_queue.discard(true);
        assert!(!push(&mut tx_queue, "too", Flags::SOM, true));
        tx_queue.begin();
        assert!(push(&mut tx_queue, "asked for", Flags::SOM, true));
        assert_eq!(drain(&mut tx_queue), ["asked for"]);
    }

    #[test]
    fn a_message_that_the_proxys_own_retry_waits_for_is_wanted() {
        let mut tx_queue = TxQueue::new();
        tx_queue.await_message();
        tx_queue.discard(false);
        assert!(push(&mut tx_queue, "not begun before", Flags::WHOLE, true));
    }

    #[test]
    fn tiny_messages_cost_more_than_their_bytes() {
        let mut tx_queue = TxQueue::new();
        for _ in 0..1000 {
            push(&mut tx_queue, "x", Flags::WHOLE, true);
        }
        assert!(tx_queue.cost() >= 128_000);
        while let Some((chunk, cost)) = tx_queue.pop() {
            assert_eq!((&chunk.bytes[..], chunk.flags), (&b"x"[..], Flags::WHOLE));
            assert!(cost > 128);
        }
        assert_eq!(tx_queue.cost(), 0);
    }

    /// Frames of one byte took 100 times their payload.
    #[test]
    fn tiny_pieces_of_a_message_are_joined() {
        let mut tx_queue = TxQueue::new();
        push(&mut tx_queue, "before", Flags::WHOLE, true);
        push(&mut tx_queue, "a", Flags::SOM, true);
        for _ in 0..40_000 {
            push(&mut tx_queue, "b", Flags::NONE, true);
        }
        push(&mut tx_queue, "c", Flags::EOM, true);
        push(&mut tx_queue, "after", Flags::WHOLE, true);
        assert!(tx_queue.cost() < 50_000, "{}", tx_queue.cost());

        let mut chunks = Vec::new();
        while let Some((chunk, _)) = tx_queue.pop() {
            chunks.push((chunk.bytes.len(), chunk.flags));
        }
        let expected = [
            (6, Flags::WHOLE),
            (16_384, Flags::SOM),
            (16_384, Flags::NONE),
            (40_002 - 32_768, Flags::EOM),
            (5, Flags::WHOLE),
        ];
        assert_eq!(chunks, expected);
        assert_eq!((tx_queue.cost(), tx_queue.left()), (0, 40_013));
    }

    #[test]
    fn what_is_joined_is_thrown_away_as_if_it_were_not() {
        let mut tx_queue = TxQueue::new();
        tx_queue.discard(true);
        push(&mut tx_queue, "whole", Flags::WHOLE, true);
        push(&mut tx_queue, "broken ", Flags::SOM, true);
        push(&mut tx_queue, "off ", Flags::NONE, true);
        push(&mut tx_queue, "here", Flags::NONE, true);
        assert!(push(&mut tx_queue, "next", Flags::WHOLE, true));
        assert_eq!(drain(&mut tx_queue), ["whole", "next"]);
        assert_eq!((tx_queue.left(), tx_queue.cost()), (24, 0));
    }
}
