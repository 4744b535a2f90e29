//! One direction of a line.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::vec::Vec;

use sspc_wire::Direction;
use sspc_wire::mux_type::{CHANNEL_REQ, PING, RESET_TRANSPORT};

use super::session::{Known, Start};
use super::{HelloSeen, PacketSeen, Seen, TurnSeen};
use crate::arq::handshake::NO_SESSION;
use crate::cobs::{DELIMITER, Unstuffed, Unstuffer};
use crate::crc::{Crc32, SoftCrc};
use crate::packet::{HEAD, Head, Hello, Kind, Seq, WINDOW_MAX};
use crate::receive::KEPT_BYTES;
use crate::send::PAYLOAD_MAX;

/// The longest packet: with its head, and with a check sum or what encryption adds.
const PACKET_MAX: usize = PAYLOAD_MAX as usize + 32;

/// What encryption takes of a packet.
const ENCRYPTED: usize = 20;

/// A line that was quiet before a HELLO: its delimiter, and how what follows begins.
const HELLO_START: [u8; 3] = [DELIMITER, 2, Kind::Hello as u8];

/// The longest HELLO on the line, with room for what later versions add.
const HELLO_MAX: usize = 256;

/// So many bytes at most are held back until it is known what they are.
const HELD_MAX: usize = 2 * (PACKET_MAX + 32);

/// How a PING begins that is in no packet: behind a RESET_TRANSPORT, or with a time below 2^48 µs.
const PLAIN_PINGS: [[u8; 3]; 2] = [[RESET_TRANSPORT, PING, 0], [PING, 0, 0]];

/// What passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Carries {
    /// Nothing is known yet.
    #[default]
    Unknown,
    Plain,
    Packets,
}

#[derive(Debug)]
pub(super) struct Way {
    carries: Carries,
    unstuffer: Unstuffer,
    /// The packet so far, without its stuffing, up to what is too long.
    packet: Vec<u8>,
    /// How many bytes it has on the line.
    length: usize,
    /// The last two bytes.
    last: [u8; 2],
    /// May be the beginning of packets, or plain.
    held: Vec<u8>,
    /// The delimiter in front of what is held was passed on as plain.
    passed_zero: bool,
    plain: Vec<u8>,
    session: Option<Session>,
    /// What the last packet that is of no known session begins with if it is whole, and that packet.
    unproved: Option<(Start, Vec<u8>)>,
    /// The bytes of packets are wanted.
    gives_packets: bool,
}

#[derive(Debug)]
struct Session {
    start: Start,
    /// Which one; none of which no HELLO was seen.
    id: Option<u32>,
    /// The number of the packet whose turn it is, once that is known.
    expected: Option<Seq>,
    /// What came before its turn, by number.
    kept: BTreeMap<u8, Vec<u8>>,
    /// What the peer expects, as far as it said so.
    peer_expects: Option<Seq>,
}

/// What a packet says to the other direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    session: Option<u32>,
    ack: Seq,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            carries: Carries::Unknown,
            unstuffer: Unstuffer::new(),
            packet: Vec::new(),
            length: 0,
            last: [0; 2],
            held: Vec::new(),
            passed_zero: false,
            plain: Vec::new(),
            session: None,
            unproved: None,
            gives_packets: false,
        }
    }
}

impl Way {
    pub(super) fn give_packets(&mut self) {
        self.gives_packets = true;
    }

    /// The bytes of the packet that comes next, if they are wanted.
    fn give(&self, packet: &[u8], seen: &mut VecDeque<Seen>) {
        if self.gives_packets {
            seen.push_back(Seen::Unstuffed(packet.to_vec()));
        }
    }

    /// The next byte.
    pub(super) fn push(
        &mut self,
        byte: u8,
        direction: Option<Direction>,
        known: &mut Known,
        seen: &mut VecDeque<Seen>,
    ) -> Option<Acknowledged> {
        self.hold(byte);
        self.length += 1;
        let unstuffed = self.unstuffer.next(byte);
        let before = self.last;
        self.last = [before[1], byte];
        match unstuffed {
            Unstuffed::Nothing => return None,
            Unstuffed::Byte(byte) if self.packet.len() <= PACKET_MAX => {
                self.packet.push(byte);
                return None;
            }
            Unstuffed::Byte(_) => return None,
            Unstuffed::End | Unstuffed::Broken => {}
        }
        let packet = mem::take(&mut self.packet);
        let length = mem::take(&mut self.length);
        let is_whole = unstuffed == Unstuffed::End && packet.len() <= PACKET_MAX;
        if length == 1 {
            // Only what ends it.
            return None;
        }
        let damaged = if self.gives_packets { packet.clone() } else { Vec::new() };
        let (found, ack) = match is_whole {
            true => self.take(packet, direction, known, seen),
            false => (false, None),
        };
        if found {
            return ack;
        }
        match self.carries {
            Carries::Packets if before == [RESET_TRANSPORT, PING] => {
                self.carries = Carries::Plain;
                self.session = None;
                seen.push_back(Seen::PlainAgain);
                self.plain.extend([RESET_TRANSPORT, PING, byte]);
            }
            Carries::Packets => {
                self.give(&damaged, seen);
                seen.push_back(Seen::Damaged { length });
            }
            Carries::Plain if self.held.len() > 1 => self.release(byte),
            Carries::Plain | Carries::Unknown => {}
        }
        None
    }

    /// Keeps a byte back that may be of a packet, as long as none was seen.
    fn hold(&mut self, byte: u8) {
        match self.carries {
            Carries::Packets => {}
            Carries::Unknown => {
                self.held.push(byte);
                let is_frame = (CHANNEL_REQ..=RESET_TRANSPORT).contains(&byte);
                let is_ping = PLAIN_PINGS.iter().any(|ping| self.held.ends_with(ping));
                if self.held.len() == 1 && is_frame || is_ping || self.held.len() > HELD_MAX {
                    self.carries = Carries::Plain;
                    self.plain.append(&mut self.held);
                }
            }
            Carries::Plain => {
                let start = HELLO_START.get(usize::from(self.passed_zero)..).unwrap_or_default();
                self.held.push(byte);
                let is_start = self.held.iter().zip(start).all(|(a, b)| a == b);
                if !is_start || self.held.len() > HELLO_MAX {
                    self.release(byte);
                }
            }
        }
    }

    /// What is held, the last byte of which is this one, is plain. A delimiter may be the one before a
    /// HELLO.
    fn release(&mut self, last: u8) {
        self.passed_zero = false;
        self.plain.append(&mut self.held);
        if last == DELIMITER {
            self.held.extend(self.plain.pop());
        }
    }

    /// What came since was plain, as far as it is known.
    pub(super) fn flush(&mut self, seen: &mut VecDeque<Seen>) {
        if self.carries == Carries::Plain && self.held == [DELIMITER] {
            // The end of a frame, most often, which does not wait for what comes next.
            self.passed_zero = true;
            self.plain.append(&mut self.held);
        }
        if !self.plain.is_empty() {
            seen.push_back(Seen::Plain(mem::take(&mut self.plain)));
        }
    }

    pub(super) fn finish(&mut self, seen: &mut VecDeque<Seen>) {
        if self.carries != Carries::Packets {
            self.plain.append(&mut self.held);
        }
        self.catch_up(seen);
        self.flush(seen);
        if self.carries == Carries::Packets && self.length > 0 {
            seen.push_back(Seen::Cut { length: self.length });
        }
    }

    /// Takes what stuffing shows to be whole. False if it is no packet.
    fn take(
        &mut self,
        packet: Vec<u8>,
        direction: Option<Direction>,
        known: &mut Known,
        seen: &mut VecDeque<Seen>,
    ) -> (bool, Option<Acknowledged>) {
        if let Some(hello) = hello(&packet) {
            known.hello(direction, hello);
            self.enter(seen);
            self.give(&packet, seen);
            seen.push_back(Seen::Hello(HelloSeen::from(hello)));
            return (true, None);
        }
        let is_packets = self.carries == Carries::Packets;
        if known.encrypted && is_packets && packet.len() >= ENCRYPTED {
            self.give(&packet, seen);
            seen.push_back(Seen::Encrypted { length: packet.len() - ENCRYPTED });
            return (true, None);
        }
        let start = Start::of(&packet);
        let head = packet.first_chunk::<HEAD>().and_then(|head| Head::parse(*head));
        let is_long = packet.len() >= HEAD + 4;
        let head = head.filter(|head| is_long && head.kind != Kind::Hello);
        if let (Some(start), Some(head)) = (start, head) {
            let is_current = self.session.as_ref().is_some_and(|session| session.start == start);
            if !is_current {
                let id = known.find(direction, start);
                let is_same =
                    self.unproved.as_ref().is_some_and(|(s, p)| *s == start && *p != packet);
                if id.is_none() && !is_same {
                    return (self.unproved(start, head, packet, seen), None);
                }
                self.enter(seen);
                let joined = id.is_none();
                let expected = if joined { self.first(head) } else { Some(Seq::ZERO) };
                self.session = Some(Session {
                    start,
                    id,
                    expected,
                    kept: BTreeMap::new(),
                    peer_expects: None,
                });
                seen.push_back(Seen::Session { joined });
            }
            // With the one that proved it, which may be before its turn.
            let earlier = self.unproved.take().filter(|(proof, _)| *proof == start);
            let earlier = earlier.map(|(_, packet)| packet).unwrap_or_default();
            if let Some(head) = earlier.first_chunk::<HEAD>().and_then(|head| Head::parse(*head)) {
                self.take_checked(head, &earlier, seen);
            }
            return (true, self.take_checked(head, &packet, seen));
        }
        (false, None)
    }

    /// The number with which a session goes on of which two packets have come: the earlier one of theirs.
    fn first(&self, second: Head) -> Option<Seq> {
        let first = self.unproved.as_ref().and_then(|(_, packet)| packet.first_chunk::<HEAD>());
        let first = first.and_then(|head| Head::parse(*head));
        let is_data = |head: &Head| head.kind == Kind::Data;
        match (first.filter(is_data), Some(second).filter(is_data)) {
            (Some(first), Some(second)) => {
                let is_in_order = second.seq.since(first.seq) < WINDOW_MAX;
                Some(if is_in_order { first.seq } else { second.seq })
            }
            (first, second) => first.or(second).map(|head| head.seq),
        }
    }

    /// From here on there are packets, if there were none.
    fn enter(&mut self, seen: &mut VecDeque<Seen>) {
        if self.carries != Carries::Packets {
            self.held.clear();
            self.passed_zero = false;
            self.flush(seen);
            self.carries = Carries::Packets;
        }
    }

    /// Takes a packet that is of no known session, whole or not. False if it is not to be shown as one.
    fn unproved(
        &mut self,
        start: Start,
        head: Head,
        packet: Vec<u8>,
        seen: &mut VecDeque<Seen>,
    ) -> bool {
        let is_shown = self.carries == Carries::Packets && self.session.is_none();
        if is_shown {
            self.give(&packet, seen);
            seen.push_back(Seen::Unchecked(packet_seen(head, payload(&packet), TurnSeen::Now)));
        }
        self.unproved = Some((start, packet));
        is_shown
    }

    /// Takes a packet of the session.
    fn take_checked(
        &mut self,
        head: Head,
        packet: &[u8],
        seen: &mut VecDeque<Seen>,
    ) -> Option<Acknowledged> {
        self.catch_up(seen);
        let session = self.session.as_mut()?;
        let payload = payload(packet);
        let ack = Acknowledged { session: session.id, ack: head.ack };
        if head.kind != Kind::Data {
            self.give(packet, seen);
            seen.push_back(Seen::Packet(packet_seen(head, payload, TurnSeen::Now)));
            return Some(ack);
        }
        let expected = *session.expected.get_or_insert(head.seq);
        let expected = session.keep_up(expected, head.seq, seen);
        let ahead = head.seq.since(expected);
        let turn = match ahead {
            0 => TurnSeen::Now,
            _ if ahead >= WINDOW_MAX => TurnSeen::Again,
            _ if session.kept.contains_key(&head.seq.number()) => TurnSeen::Again,
            _ => TurnSeen::Early,
        };
        if self.gives_packets {
            seen.push_back(Seen::Unstuffed(packet.to_vec()));
        }
        seen.push_back(Seen::Packet(packet_seen(head, payload, turn)));
        match turn {
            TurnSeen::Again => {}
            TurnSeen::Early => {
                session.kept.insert(head.seq.number(), payload.to_vec());
            }
            TurnSeen::Now => {
                session.kept.insert(head.seq.number(), payload.to_vec());
                session.deliver(seen);
            }
        }
        Some(ack)
    }

    /// Hears what the peer has.
    pub(super) fn acknowledged(&mut self, by: Acknowledged) {
        if let Some(session) = self.session.as_mut().filter(|session| session.id == by.session) {
            session.peer_expects = Some(by.ack);
        }
    }

    /// Goes on where the peer does, if that is further than here.
    fn catch_up(&mut self, seen: &mut VecDeque<Seen>) {
        let Some(session) = &mut self.session else { return };
        let (Some(to), Some(expected)) = (session.peer_expects.take(), session.expected) else {
            return;
        };
        if to.since(expected) <= WINDOW_MAX {
            session.skip(expected, to, seen);
        }
    }
}

impl Session {
    /// What is expected when this packet has come. If it is further on than its sender could be unless the
    /// peer had what is missing here, that is passed over.
    fn keep_up(&mut self, expected: Seq, seq: Seq, seen: &mut VecDeque<Seen>) -> Seq {
        let ahead = seq.since(expected);
        let kept = self.kept.keys().map(|number| Seq::new(*number).since(expected));
        let furthest = kept.max().unwrap_or(0);
        // From an older one to the furthest there would be more packets than a window has.
        if ahead >= WINDOW_MAX && furthest > 0 && furthest + WINDOW_MAX + 1 > ahead {
            let to = Seq::new(seq.number() + WINDOW_MAX + 1);
            self.skip(expected, to, seen);
        }
        self.expected.unwrap_or(expected)
    }

    /// Passes over what is missing before this packet.
    fn skip(&mut self, expected: Seq, to: Seq, seen: &mut VecDeque<Seen>) {
        for n in 0..to.since(expected) {
            match self.kept.remove(&expected.plus(n).number()) {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => seen.push_back(Seen::Bytes(bytes)),
                None => seen.push_back(Seen::Gap),
            }
        }
        self.expected = Some(to);
        self.deliver(seen);
    }

    /// What it is the turn of.
    fn deliver(&mut self, seen: &mut VecDeque<Seen>) {
        while let Some(expected) = self.expected {
            let Some(bytes) = self.kept.remove(&expected.number()) else { return };
            self.expected = Some(expected.plus(1));
            if !bytes.is_empty() {
                seen.push_back(Seen::Bytes(bytes));
            }
        }
    }
}

/// What is between the head and the check sum.
fn payload(packet: &[u8]) -> &[u8] {
    packet.get(HEAD..packet.len().saturating_sub(4)).unwrap_or_default()
}

fn hello(packet: &[u8]) -> Option<Hello> {
    let (said, sum) = packet.split_last_chunk::<4>()?;
    let (head, payload) = said.split_first_chunk::<HEAD>()?;
    let is_hello =
        *head == Head::HELLO.bytes() && SoftCrc.crc32(NO_SESSION, said).to_le_bytes() == *sum;
    Hello::parse(payload).filter(|_| is_hello)
}

fn packet_seen(head: Head, payload: &[u8], turn: TurnSeen) -> PacketSeen {
    let is_data = head.kind == Kind::Data;
    let kept = if is_data { &[] } else { payload.get(..KEPT_BYTES).unwrap_or(payload) };
    let bits = kept.iter().zip(0u8..).flat_map(|(byte, at)| {
        (0..8).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| at * 8 + bit)
    });
    PacketSeen {
        seq: is_data.then_some(head.seq.number()),
        ack: head.ack.number(),
        nak: head.nak,
        probe: head.probe,
        length: if is_data { payload.len() } else { 0 },
        kept: bits.map(|bit| head.ack.plus(bit + 1).number()).collect(),
        turn,
    }
}
