pub(crate) mod handshake;

use core::mem;

use sspc_mux::{Instant, Role};
use sspc_wire::{FieldWriter, Random};

use crate::cobs;
use crate::config::{Config, ROOM_MIN};
#[cfg(feature = "host")]
use crate::counters::Counters;
use crate::packet::{DATAGRAM_WINDOW_MAX, HEAD, Head, Hello, Kind, Seq, WINDOW_MAX};
#[cfg(any(feature = "host", feature = "psk"))]
use crate::protection::Refusal;
use crate::protection::{Order, Protection};
use crate::receive::{KEPT_BYTES, Receiver, Turn};
use crate::send::{PAYLOAD_MAX, Sender, Terms};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received<'a> {
    /// A session has begun: what was sent before is forgotten, on both sides.
    Opened,
    /// The next bytes from the peer, in order, each once.
    Data(&'a [u8]),
}

/// One end of a reliable byte stream in packets, without its I/O: bytes and time go in; bytes and the
/// next deadline come out.
///
/// `P` protects packets: [`Checked`](crate::Checked), or with a key `Sealed`. `R` is what packets come
/// into: room for one at least, and for each one beyond that another that may come before its turn. `T`
/// keeps what was sent until it is acknowledged: 68 bytes at least.
#[derive(Clone, Debug)]
pub struct Arq<P, R, T> {
    role: Role,
    config: Config,
    protection: P,
    state: State,
    receiver: Receiver<R>,
    sender: Sender<T>,
    /// Of the peer.
    terms: Terms,
    /// Of this side, in the handshake that is under way or was the last.
    epoch: u32,
    /// Of the peer in the same; 0 if it was not heard.
    peer_epoch: u32,
    /// The session is the one of these two epochs.
    is_current: bool,
    /// The peer's epoch in the session; 0 if there is none.
    session_peer: u32,
    /// When a HELLO is to go, and whether that time has come; the same for an acknowledgement is the
    /// receiver's.
    hello_at: Instant,
    hello_due: bool,
    ack_due: bool,
    hello_wait_us: u32,
    /// How many went since the handshake began, without an answer.
    hellos: u8,
    random: Random,
    #[cfg(any(feature = "host", feature = "psk"))]
    refusal: Option<Refusal>,
    #[cfg(feature = "host")]
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing goes.
    Closed,
    /// HELLO goes.
    Greeting,
    /// Data flows.
    Open,
}

/// What a packet was.
enum Taken {
    Nothing,
    Opened,
    /// Where its payload is in the receiver's storage, and how long.
    Data(usize, usize),
}

impl<P, R, T> Arq<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// How many bytes the longest packet needs of the storage that packets come into, beside its
    /// payload.
    pub const OVERHEAD: usize = HEAD + P::AROUND_MAX;

    /// An end that is closed. The seed is for waits and epochs: give each device another one, and each
    /// life of it. The longest HELLO has to fit into the storage: 19 bytes, encrypted 85, with forward
    /// secrecy 118.
    pub fn new(
        role: Role,
        config: Config,
        seed: u32,
        protection: P,
        storage: R,
        replay: T,
    ) -> Self {
        let hello_max = HEAD + Hello::LENGTH + P::GREETING_MAX + 4;
        let around = HEAD + protection.before() + protection.after();
        let packet_max = usize::from(config.packet_max.min(PAYLOAD_MAX)) + around;
        let receiver =
            Receiver::new(storage, packet_max.max(hello_max) as u16, window_max(&config));
        let terms = Terms {
            mru: 1,
            window: 1,
            keeps: false,
            is_datagram: config.datagrams,
            room_min: ROOM_MIN,
            wait_first_us: config.wait_first_us,
            ack_delay_us: config.ack_delay_us,
            wait_max_us: config.wait_max_us,
        };
        Self {
            role,
            config,
            protection,
            state: State::Closed,
            receiver,
            sender: Sender::new(replay),
            terms,
            epoch: 0,
            peer_epoch: 0,
            is_current: false,
            session_peer: 0,
            hello_at: Instant::NEVER,
            hello_due: false,
            ack_due: false,
            hello_wait_us: 0,
            hellos: 0,
            random: Random::new(seed),
            #[cfg(any(feature = "host", feature = "psk"))]
            refusal: None,
            #[cfg(feature = "host")]
            counters: Counters::default(),
        }
    }

    /// True while data flows.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True after [`close`](Self::close), or if nobody answered.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// True if a peer was heard in the handshake that is under way or was the last.
    #[cfg(feature = "host")]
    pub const fn has_heard(&self) -> bool {
        self.peer_epoch != 0
    }

    /// True if it takes datagrams: [`receive_datagram`](Self::receive_datagram).
    pub const fn takes_datagrams(&self) -> bool {
        self.config.datagrams
    }

    /// The round trip of packets, smoothed, in µs; 0 before the first one.
    pub const fn rtt_us(&self) -> u32 {
        self.sender.rtt_us
    }

    /// How often the peer has acknowledged packets so far: what is sent gets there, and what comes back
    /// gets here.
    #[cfg(feature = "host")]
    pub const fn acknowledgements(&self) -> u64 {
        self.sender.acked
    }

    /// How many packets are on their way.
    pub const fn in_flight(&self) -> u8 {
        self.sender.in_flight()
    }

    /// What it has done so far.
    #[cfg(feature = "host")]
    pub const fn counters(&self) -> Counters {
        Counters { resent: self.sender.resent, rtt_us: self.sender.rtt_us, ..self.counters }
    }

    /// Why there is no session, if a peer was heard since the last one that there is none with.
    #[cfg(any(feature = "host", feature = "psk"))]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// What protects the packets.
    pub const fn protection(&self) -> &P {
        &self.protection
    }

    /// Begins to look for the peer.
    pub fn open(&mut self, now: Instant) {
        self.state = State::Greeting;
        (self.peer_epoch, self.session_peer) = (0, 0);
        self.sender.clear();
        self.begin_handshake(now);
        self.hello_at = now;
    }

    /// Sends a HELLO: a peer that does not know the session may be there. Until it has proved to be the
    /// session stays.
    pub(crate) fn greet(&mut self, now: Instant) {
        if self.is_current {
            self.begin_handshake(now);
        }
        self.hello_at = now;
    }

    /// The second byte of the time in a PING of a plain peer, if one came, and whether a packet came
    /// since this was asked last.
    pub(crate) fn take_plain_ping(&mut self) -> (Option<u8>, bool) {
        (self.receiver.plain_ping.take(), mem::take(&mut self.receiver.has_heard))
    }

    /// Ends the session, if there is one, and sends nothing any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.is_current = false;
        self.hello_at = Instant::NEVER;
        (self.hello_due, self.ack_due) = (false, false);
        self.sender.clear();
        self.receiver.clear();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest, and
    /// [`transmit`](Self::transmit) after it.
    pub fn deadline(&self) -> Option<Instant> {
        let at = match self.state {
            State::Closed => Instant::NEVER,
            State::Greeting => self.hello_at,
            State::Open => self.hello_at.min(self.sender.resend_at).min(self.receiver.ack_at),
        };
        if at == Instant::NEVER { None } else { Some(at) }
    }

    /// Takes bytes that came off the front of `input`, up to the next thing that happened. Until it
    /// returns `None`, there is more.
    pub fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Option<Received<'_>> {
        let (at, length) = loop {
            if let Some(kept) = self.receiver.next_kept() {
                break kept;
            }
            let length = self.receiver.next_packet(input)?;
            match self.take(now, length) {
                Taken::Nothing => {}
                Taken::Opened => return Some(Received::Opened),
                Taken::Data(at, length) => break (at, length),
            }
        };
        Some(Received::Data(self.receiver.bytes(at, length)))
    }

    /// Takes a datagram that came, or goes on with one: until it returns `None`, call it again, with
    /// nothing.
    pub fn receive_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<Received<'_>> {
        if !datagram.is_empty() {
            let length = self.receiver.put_datagram(datagram);
            match self.take(now, length) {
                Taken::Nothing => {}
                Taken::Opened => return Some(Received::Opened),
                Taken::Data(at, length) => {
                    return Some(Received::Data(self.receiver.bytes(at, length)));
                }
            }
        }
        let (at, length) = self.receiver.next_kept()?;
        Some(Received::Data(self.receiver.bytes(at, length)))
    }

    fn take(&mut self, now: Instant, length: usize) -> Taken {
        // First, because what was tried to be opened may be spoilt.
        if let Some(hello) = self.parse_hello(length) {
            return self.take_hello(now, hello);
        }
        if self.state == State::Open && length >= self.around() {
            let packet = self.receiver.packet_mut(length);
            if let Some(order) = self.protection.open(packet) {
                return self.take_sealed(now, length, order);
            }
        }
        #[cfg(feature = "host")]
        if self.state != State::Closed {
            self.counters.damaged += 1;
        }
        if self.state == State::Open && !self.config.datagrams {
            self.receiver.miss(now);
        }
        Taken::Nothing
    }

    /// Takes a packet of this session.
    fn take_sealed(&mut self, now: Instant, length: usize, order: Order) -> Taken {
        let payload_at = self.protection.before() + HEAD;
        let payload_length = length - self.around();
        let head = self.receiver.bytes(self.protection.before(), HEAD).first_chunk().copied();
        let Some(head) = head.and_then(Head::parse) else { return Taken::Nothing };
        #[cfg(feature = "host")]
        {
            self.counters.packets_in += 1;
        }
        self.receiver.hear();
        self.sender.silences = 0;
        let mut kept = [0; KEPT_BYTES];
        let mut kept_length = 0;
        if head.kind == Kind::Ack {
            kept_length = payload_length.min(KEPT_BYTES);
            let from = self.receiver.bytes(payload_at, kept_length);
            for (to, from) in kept.iter_mut().zip(from) {
                *to = *from;
            }
        }
        let kept = kept.get(..kept_length).unwrap_or_default();
        if order == Order::Newest {
            self.sender.acknowledge(now, &self.terms, head.ack, head.nak, kept);
        }
        if head.kind != Kind::Data {
            if head.probe {
                self.receiver.acknowledge(now, true, 0);
            }
            return Taken::Nothing;
        }
        let turn = self.receiver.receive(head.seq, payload_at, payload_length);
        #[cfg(feature = "host")]
        match turn {
            Turn::Now => {}
            Turn::Kept | Turn::TooEarly => self.counters.early += 1,
            Turn::Again => self.counters.doubled += 1,
        }
        if turn == Turn::TooEarly {
            self.receiver.miss(now);
        }
        let at_once = head.probe || turn != Turn::Now;
        self.receiver.acknowledge(now, at_once, self.config.ack_delay_us);
        match turn {
            Turn::Now if payload_length > 0 => Taken::Data(payload_at, payload_length),
            _ => Taken::Nothing,
        }
    }

    /// How many bytes of a packet are not payload.
    fn around(&self) -> usize {
        self.protection.before() + HEAD + self.protection.after()
    }

    /// Does what the time has come for. True if the session is over, or the handshake, because nobody
    /// answered.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.hello_at <= now {
            self.hello_at = Instant::NEVER;
            self.hello_due = true;
        }
        if self.receiver.ack_at <= now {
            self.receiver.ack_at = Instant::NEVER;
            self.ack_due = true;
        }
        match self.state {
            State::Closed => false,
            State::Greeting if self.hellos <= self.config.waits_max => false,
            State::Open
                if !self.sender.handle_timeout(now, &self.terms)
                    || self.sender.silences <= self.config.waits_max =>
            {
                false
            }
            State::Greeting | State::Open => {
                self.close();
                true
            }
        }
    }

    /// Writes the next packet into `out`, and returns how long it is; 0 if nothing is to be sent now.
    /// `source` writes bytes into the room that it is given, and returns their number; it is asked until
    /// it gives none or the packet is full. `out` has the same length each time, enough for the longest
    /// packet: [`out_min`](Self::out_min).
    pub fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        self.handle_timeout(now);
        if self.state == State::Closed || out.len() < self.out_min() {
            return 0;
        }
        if self.hello_due {
            return self.write_hello(now, out);
        }
        if self.state != State::Open {
            return 0;
        }
        let says_kept = self.receiver.keeps() && self.receiver.misses();
        if self.ack_due && says_kept {
            return self.write_ack(now, out);
        }
        let mut fill = |room: &mut [u8]| {
            let mut length = 0;
            while room.len() - length >= usize::from(ROOM_MIN) {
                let part = room.get_mut(length..).unwrap_or_default();
                let left = part.len();
                let written = source(part).min(left);
                if written == 0 {
                    break;
                }
                length += written;
            }
            length
        };
        match self.sender.next_packet(now, &self.terms, &mut fill) {
            Some(packet) => {
                let head = Head {
                    kind: Kind::Data,
                    seq: packet.seq,
                    ack: self.receiver.expected,
                    nak: self.receiver.nak(),
                    probe: packet.probe,
                };
                self.note_acknowledged(now);
                let payload = self.sender.payload(packet);
                let length =
                    put(out, self.protection.before(), head, payload, self.protection.after());
                self.seal(out, length)
            }
            None if self.ack_due => self.write_ack(now, out),
            None => 0,
        }
    }

    /// How long the buffer for [`transmit`](Self::transmit) must be.
    pub fn out_min(&self) -> usize {
        let longest = usize::from(self.receiver.packet_max());
        // With a delimiter before it.
        longest + cobs::overhead(longest) + 1
    }

    fn write_ack(&mut self, now: Instant, out: &mut [u8]) -> usize {
        let head = Head {
            kind: Kind::Ack,
            seq: Seq::ZERO,
            ack: self.receiver.expected,
            nak: self.receiver.nak(),
            probe: false,
        };
        let kept = self.receiver.kept();
        let length = kept.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.note_acknowledged(now);
        let kept = kept.get(..length).unwrap_or_default();
        let length = put(out, self.protection.before(), head, kept, self.protection.after());
        self.seal(out, length)
    }

    fn note_acknowledged(&mut self, now: Instant) {
        let repeat_us = match self.sender.rtt_us {
            0 => self.config.wait_first_us,
            rtt_us => rtt_us.max(1000),
        };
        self.receiver.acknowledged(now, repeat_us);
        self.ack_due = false;
    }

    fn seal(&mut self, out: &mut [u8], length: usize) -> usize {
        if let Some(packet) = out.get_mut(..length) {
            self.protection.seal(packet);
        }
        self.finish(out, length, false)
    }

    /// Stuffs the packet at the front of `out` if that is to be.
    fn finish(&mut self, out: &mut [u8], length: usize, delimiter_first: bool) -> usize {
        #[cfg(feature = "host")]
        {
            self.counters.packets_out += 1;
        }
        if self.config.datagrams {
            return length;
        }
        let first = usize::from(delimiter_first);
        let end = first + cobs::overhead(length) + length;
        let Some(room) = out.get_mut(..end) else { return 0 };
        room.copy_within(..length, end - length);
        if let (true, Some(byte)) = (delimiter_first, room.first_mut()) {
            *byte = cobs::DELIMITER;
        }
        let stuffed = room.get_mut(first..).and_then(|room| cobs::stuff(room, room.len() - length));
        first + stuffed.unwrap_or(0)
    }
}

/// How many packets may be on their way.
pub(crate) const fn window_max(config: &Config) -> u8 {
    if config.datagrams { DATAGRAM_WINDOW_MAX } else { WINDOW_MAX }
}

/// Puts a packet at the front of `out`, between so many bytes of other use; returns how long it is with
/// them.
fn put(out: &mut [u8], before: usize, head: Head, payload: &[u8], after: usize) -> usize {
    let mut to = FieldWriter::new(out);
    to.skip(before);
    to.bytes(&head.bytes());
    to.bytes(payload);
    before + HEAD + payload.len() + after
}
