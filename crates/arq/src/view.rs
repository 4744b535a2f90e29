//! What passes on a line, for those between its ends who show it: which of it is packets, whether they
//! are whole, and the bytes of the mux inside, in order and each once.
//!
//! The sum of a packet begins with four bytes that only its session knows. HELLO says which two epochs
//! they are made of; and two packets of one session, whole and not the same, show what their sums begin with even
//! if no HELLO was seen.

mod session;
mod way;

use std::collections::VecDeque;
use std::vec::Vec;

use sspc_wire::Direction;

use crate::packet::Hello;
use session::Known;
use way::Way;

/// Sees a line's bytes in both directions, or in one, from any moment on.
///
/// Call [`feed`](Self::feed) with what passes, and then [`next_seen`](Self::next_seen) until there is nothing more.
#[derive(Debug, Default)]
pub struct Onlooker {
    known: Known,
    /// To the proxy, to the client.
    ways: [Way; 2],
    seen: VecDeque<Seen>,
}

/// Something that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// Bytes that are in no packet.
    Plain(Vec<u8>),
    /// The packet that the next item is about, without its stuffing and with its sum; only from
    /// [`Onlooker::with_packets`]. Of one that is damaged, what came of it.
    Unstuffed(Vec<u8>),
    /// An end says what it is, whole.
    Hello(HelloSeen),
    /// The packets from here on are those of another session, in this direction: the mux begins again.
    Session {
        /// The first packets of the session were not seen.
        joined: bool,
    },
    /// A packet that is whole.
    Packet(PacketSeen),
    /// The next bytes of the mux in this direction.
    Bytes(Vec<u8>),
    /// Packets are missing that the peer has: there is a gap in what [`Bytes`](Self::Bytes) bring.
    Gap,
    /// What has the form of a packet. Whether it is whole cannot be said, as nothing is known of its
    /// session.
    Unchecked(PacketSeen),
    /// A packet, maybe whole, that only its receiver can read.
    Encrypted {
        /// Of the payload.
        length: usize,
    },
    /// What was no packet, or is none any more.
    Damaged {
        /// With the delimiter, as it was on the line.
        length: usize,
    },
    /// The line's bytes end in the middle of a packet.
    Cut {
        /// How much of it came.
        length: usize,
    },
    /// The sender speaks without packets from here on: the mux begins again.
    PlainAgain,
}

/// What a HELLO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloSeen {
    /// It keeps packets that come before their turn.
    pub keeps: bool,
    /// It has heard the peer.
    pub ready: bool,
    /// It encrypts.
    pub encrypted: bool,
    /// The longest payload that it takes.
    pub mru: u16,
    /// How many packets it lets be on their way.
    pub window: u8,
    /// Of its sender's life.
    pub epoch: u32,
    /// The epoch of the peer that was heard; 0 if none was.
    pub echo: u32,
}

impl From<Hello> for HelloSeen {
    fn from(hello: Hello) -> Self {
        let Hello { keeps, ready, encrypted, mru, window, epoch, echo } = hello;
        Self { keeps, ready, encrypted, mru, window, epoch, echo }
    }
}

/// A packet's head, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketSeen {
    /// Of packets with data, their number. Others have none.
    pub seq: Option<u8>,
    /// The number that its sender expects next.
    pub ack: u8,
    /// Its sender misses that packet.
    pub nak: bool,
    /// Its sender wants an answer at once.
    pub probe: bool,
    /// The length of the data.
    pub length: usize,
    /// The numbers of the packets behind the missing one that the sender has.
    pub kept: Vec<u8>,
    /// Whether it is its turn.
    pub turn: TurnSeen,
}

/// Whether a packet came when it was its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnSeen {
    /// It was, or it has no data.
    Now,
    /// It waits for those before it.
    Early,
    /// It came before.
    Again,
}

impl Onlooker {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that also gives the bytes of each packet: [`Seen::Unstuffed`] in front of what is said of it.
    pub fn with_packets() -> Self {
        let mut onlooker = Self::default();
        onlooker.ways.iter_mut().for_each(Way::give_packets);
        onlooker
    }

    /// Bytes that passed. Those of a line of which only one direction is seen may have none.
    pub fn feed(&mut self, direction: Option<Direction>, bytes: &[u8]) {
        let [to_proxy, to_client] = &mut self.ways;
        let (way, other) = match direction {
            Some(Direction::ToClient) => (to_client, to_proxy),
            Some(Direction::ToProxy) | None => (to_proxy, to_client),
        };
        for byte in bytes {
            if let Some(ack) = way.push(*byte, direction, &mut self.known, &mut self.seen) {
                other.acknowledged(ack);
            }
        }
        way.flush(&mut self.seen);
    }

    /// No more bytes come in this direction.
    pub fn finish(&mut self, direction: Option<Direction>) {
        let [to_proxy, to_client] = &mut self.ways;
        let way = if direction == Some(Direction::ToClient) { to_client } else { to_proxy };
        way.finish(&mut self.seen);
    }

    /// What is to be said of the bytes that were fed last.
    pub fn next_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }
}
