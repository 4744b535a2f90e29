use core::mem;

use sspc_mux::{Instant, Role};
use sspc_wire::{FieldWriter, Random};

use crate::cobs;
use crate::config::{Config, ROOM_MIN};
use crate::packet::{HEAD, Head, Hello, Kind, Seq};
use crate::protection::Protection;
use crate::receive::{KEPT_BYTES, Receiver, Turn};
use crate::send::{PAYLOAD_MAX, Sender, Terms};

/// What a HELLO's check sum begins with: it belongs to no session.
pub(crate) const NO_SESSION: &[u8] = &[];

/// How many HELLOs go beside a session, to a peer that may have restarted.
pub(crate) const HELLOS_BESIDE: u8 = 4;

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
/// keeps what was sent until it is acknowledged: 67 bytes at least.
#[derive(Debug)]
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
    /// When a HELLO is to go.
    hello_at: Instant,
    hello_wait_us: u32,
    /// How many went since the handshake began, without an answer.
    hellos: u8,
    random: Random,
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

/// What a packet layer has done, from its beginning on.
#[cfg(feature = "host")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sent, of all kinds.
    pub packets_out: u64,
    /// Packets of data that were sent again.
    pub resent: u64,
    /// Packets that came whole.
    pub packets_in: u64,
    /// What came and was no packet: harmed on the line, or not from the peer.
    pub damaged: u64,
    /// Packets of data that had come already.
    pub doubled: u64,
    /// Packets of data that came before their turn.
    pub early: u64,
    /// Sessions begun.
    pub sessions: u64,
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
    pub const OVERHEAD: usize = P::BEFORE + HEAD + P::AFTER;

    /// An end that is closed. The seed is for waits and epochs: give each device another one, and each
    /// life of it.
    pub fn new(
        role: Role,
        config: Config,
        seed: u32,
        protection: P,
        storage: R,
        replay: T,
    ) -> Self {
        let hello_max = HEAD + Hello::LENGTH + P::GREETING + 4;
        let packet_max = usize::from(config.packet_max.min(PAYLOAD_MAX)) + Self::OVERHEAD;
        let receiver = Receiver::new(storage, packet_max.max(hello_max) as u16);
        let terms = Terms {
            mru: 1,
            window: 1,
            keeps: false,
            is_datagram: config.datagrams,
            room_min: ROOM_MIN,
            wait_first_us: config.wait_first_us,
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
            hello_at: Instant::NEVER,
            hello_wait_us: 0,
            hellos: 0,
            random: Random::new(seed),
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

    /// The round trip of packets, smoothed, in µs; 0 before the first one.
    pub const fn rtt_us(&self) -> u32 {
        self.sender.rtt_us
    }

    /// How many packets are on their way.
    pub const fn in_flight(&self) -> u8 {
        self.sender.in_flight()
    }

    /// What it has done so far.
    #[cfg(feature = "host")]
    pub const fn counters(&self) -> Counters {
        Counters { resent: self.sender.resent, ..self.counters }
    }

    /// What protects the packets.
    pub const fn protection(&self) -> &P {
        &self.protection
    }

    /// Begins to look for the peer.
    pub fn open(&mut self, now: Instant) {
        self.state = State::Greeting;
        self.peer_epoch = 0;
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
        self.sender.clear();
        self.receiver.clear();
    }

    /// When to call [`transmit`](Self::transmit) at the latest, even if there is nothing to send.
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
        let packet = self.receiver.packet_mut(length);
        if self.state == State::Open && length >= Self::OVERHEAD && self.protection.open(packet) {
            return self.take_sealed(now, length);
        }
        if let Some(hello) = self.parse_hello(length) {
            return self.take_hello(now, hello);
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
    fn take_sealed(&mut self, now: Instant, length: usize) -> Taken {
        let payload_at = P::BEFORE + HEAD;
        let payload_length = length - Self::OVERHEAD;
        let head = self.receiver.bytes(P::BEFORE, HEAD).first_chunk().copied();
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
        self.sender.acknowledge(now, &self.terms, head.ack, head.nak, kept);
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

    fn parse_hello(&mut self, length: usize) -> Option<(Hello, usize)> {
        let (packet, sum) = self.receiver.bytes(0, length).split_last_chunk::<4>()?;
        if self.protection.crc32(NO_SESSION, packet).to_le_bytes() != *sum {
            return None;
        }
        let (head, payload) = packet.split_first_chunk::<HEAD>()?;
        let is_hello = Head::parse(*head)?.kind == Kind::Hello;
        Some((Hello::parse(payload).filter(|_| is_hello)?, payload.len()))
    }

    fn take_hello(&mut self, now: Instant, (hello, length): (Hello, usize)) -> Taken {
        if self.state == State::Closed {
            self.open(now);
        }
        if hello.epoch == self.epoch || hello.encrypted != P::ENCRYPTS {
            // This side's own, or none with whom there is a common way.
            return Taken::Nothing;
        }
        let is_answer = hello.echo == self.epoch;
        let (common, rest) = self.receiver.bytes(HEAD, length).split_at(Hello::LENGTH.min(length));
        if !self.protection.check(self.role, common, rest, is_answer) {
            return Taken::Nothing;
        }
        if is_answer && self.is_current && hello.epoch == self.peer_epoch {
            // It has not heard that it was heard.
            if !hello.ready {
                self.hello_at = now;
            }
            return Taken::Nothing;
        }
        if !is_answer && self.is_current {
            if hello.echo != 0 {
                // Meant for another life of this side, and late: a peer that restarted knows of none.
                return Taken::Nothing;
            }
            // A peer that restarted. Until it has proved to be there the session stays.
            self.begin_handshake(now);
        }
        self.peer_epoch = hello.epoch;
        self.hello_at = if hello.ready { self.hello_at } else { now };
        if !is_answer {
            return Taken::Nothing;
        }
        self.start_session(hello);
        if hello.ready {
            self.hello_at = Instant::NEVER;
        }
        Taken::Opened
    }

    fn begin_handshake(&mut self, now: Instant) {
        let chance = self.random.below(u32::MAX) ^ now.as_micros() as u32;
        self.epoch = chance.max(1);
        self.is_current = false;
        (self.hello_wait_us, self.hellos) = (0, 0);
        self.protection.begin(self.epoch);
    }

    fn start_session(&mut self, hello: Hello) {
        let (client, proxy) = match self.role {
            Role::Client => (self.epoch, self.peer_epoch),
            Role::Proxy => (self.peer_epoch, self.epoch),
        };
        self.protection.start(self.role, client, proxy);
        self.state = State::Open;
        self.is_current = true;
        self.terms.mru = hello.mru.min(self.config.packet_max);
        self.terms.window = hello.window;
        self.terms.keeps = hello.keeps;
        self.sender.clear();
        self.receiver.clear();
        #[cfg(feature = "host")]
        {
            self.counters.sessions += 1;
        }
    }

    /// Does what the time has come for. True if the session is over, or the handshake, because nobody
    /// answered.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
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
        if self.hello_at <= now {
            return self.write_hello(now, out);
        }
        if self.state != State::Open {
            return 0;
        }
        let ack_is_due = self.receiver.ack_at <= now;
        let says_kept = self.receiver.keeps() && self.receiver.misses();
        if ack_is_due && says_kept {
            return self.write_ack(now, out);
        }
        let mut fill = |room: &mut [u8]| {
            let mut length = 0;
            while room.len() - length >= usize::from(ROOM_MIN) {
                let most = room.len() - length;
                let written = room.get_mut(length..).map_or(0, &mut *source).min(most);
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
                let length = put(out, P::BEFORE, head, payload, P::AFTER);
                self.seal(out, length)
            }
            None if ack_is_due => self.write_ack(now, out),
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
        let length = put(out, P::BEFORE, head, kept.get(..length).unwrap_or_default(), P::AFTER);
        self.seal(out, length)
    }

    fn note_acknowledged(&mut self, now: Instant) {
        let repeat_us = match self.sender.rtt_us {
            0 => self.config.wait_first_us,
            rtt_us => rtt_us.max(1000),
        };
        self.receiver.acknowledged(now, repeat_us);
    }

    fn write_hello(&mut self, now: Instant, out: &mut [u8]) -> usize {
        // With each one that is not answered the wait grows.
        let is_known = self.is_current;
        self.hello_wait_us = self.hello_wait_us.saturating_mul(2);
        self.hello_wait_us =
            self.hello_wait_us.max(self.config.wait_first_us / 4).min(self.config.wait_max_us);
        self.hellos = self.hellos.saturating_add(1);
        let is_enough = self.state == State::Open && self.hellos > HELLOS_BESIDE;
        self.hello_at = if is_known || is_enough {
            Instant::NEVER
        } else {
            let us = self.hello_wait_us - self.random.below(self.hello_wait_us / 4);
            Instant::from_micros(now.as_micros() + u64::from(us))
        };
        let hello = Hello {
            keeps: self.receiver.keeps(),
            ready: is_known,
            encrypted: P::ENCRYPTS,
            mru: self.receiver.packet_max() - Self::OVERHEAD as u16,
            window: self.receiver.window(),
            epoch: self.epoch,
            echo: self.peer_epoch,
        };
        let head =
            Head { kind: Kind::Hello, seq: Seq::ZERO, ack: Seq::ZERO, nak: false, probe: false };
        let mut common = [0; Hello::LENGTH];
        hello.write(&mut FieldWriter::new(&mut common));
        let length = put(out, 0, head, &common, P::GREETING + 4);
        let rest_at = HEAD + Hello::LENGTH;
        let rest = out.get_mut(rest_at..rest_at + P::GREETING).unwrap_or_default();
        let greeting = self.protection.greet(self.role, &common, self.peer_epoch != 0, rest);
        let length = length - P::GREETING + greeting.min(P::GREETING);
        if let Some((packet, sum)) =
            out.get_mut(..length).and_then(|packet| packet.split_last_chunk_mut::<4>())
        {
            *sum = self.protection.crc32(NO_SESSION, packet).to_le_bytes();
        }
        // The delimiter before it ends what noise began.
        self.finish(out, length, !self.config.datagrams)
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

/// Puts a packet at the front of `out`, between so many bytes of other use; returns how long it is with
/// them.
fn put(out: &mut [u8], before: usize, head: Head, payload: &[u8], after: usize) -> usize {
    let mut to = FieldWriter::new(out);
    to.skip(before);
    to.bytes(&head.bytes());
    to.bytes(payload);
    before + HEAD + payload.len() + after
}
