//! HELLO: how two ends find each other, and begin a session.

use sspc_mux::{Instant, Role};
use sspc_wire::FieldWriter;

use super::{Arq, State, Taken, put, window_max};
use crate::packet::{HEAD, Head, Hello};
use crate::protection::{Protection, Refusal};

/// What a HELLO's check sum begins with: it belongs to no session.
pub(crate) const NO_SESSION: &[u8] = &[];

/// How many HELLOs go beside a session, to a peer that may have restarted.
pub(crate) const HELLOS_BESIDE: u8 = 4;

impl<P, R, T> Arq<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    pub(super) fn parse_hello(&mut self, length: usize) -> Option<(Hello, usize)> {
        let (packet, sum) = self.receiver.bytes(0, length).split_last_chunk::<4>()?;
        let (head, payload) = packet.split_first_chunk::<HEAD>()?;
        let is_hello = *head == Head::HELLO.bytes()
            && self.protection.crc32(NO_SESSION, packet).to_le_bytes() == *sum;
        Some((Hello::parse(payload).filter(|_| is_hello)?, payload.len()))
    }

    pub(super) fn take_hello(&mut self, now: Instant, (hello, length): (Hello, usize)) -> Taken {
        if self.state == State::Closed {
            self.open(now);
        }
        if hello.epoch == self.epoch {
            // This side's own.
            return Taken::Nothing;
        }
        let encrypts = self.protection.encrypts();
        if hello.encrypted != encrypts {
            self.refuse(if encrypts { Refusal::PeerDoesNot } else { Refusal::PeerEncrypts });
            return Taken::Nothing;
        }
        let is_answer = hello.echo == self.epoch;
        if !is_answer && hello.echo != 0 && (self.is_current || encrypts) {
            // Meant for another life of this side, and late: a peer that restarted knows of none. Nor can
            // anybody tell now who sent it.
            return Taken::Nothing;
        }
        if !is_answer && hello.epoch == self.session_peer {
            // From before the session, and late, or sent again by somebody else.
            return Taken::Nothing;
        }
        let (common, rest) = self.receiver.bytes(HEAD, length).split_at(Hello::LENGTH.min(length));
        if let Err(refusal) = self.protection.check(self.role, common, rest, is_answer) {
            self.refuse(refusal);
            return Taken::Nothing;
        }
        if is_answer && self.is_current && hello.epoch == self.peer_epoch {
            // It has not heard that it was heard.
            if !hello.ready {
                self.hello_at = now;
            }
            return Taken::Nothing;
        }
        if self.is_current {
            // A peer that restarted. Until it has proved to be there the session stays; and no epoch is
            // that of two sessions.
            self.begin_handshake(now);
        }
        let is_agreed = is_answer && hello.echo == self.epoch;
        self.peer_epoch = hello.epoch;
        self.hello_at = if hello.ready && is_agreed { self.hello_at } else { now };
        if !is_agreed {
            return Taken::Nothing;
        }
        self.start_session(hello);
        if hello.ready {
            self.hello_at = Instant::NEVER;
            self.hello_due = false;
        }
        Taken::Opened
    }

    fn refuse(&mut self, _refusal: Refusal) {
        #[cfg(any(feature = "host", feature = "psk"))]
        if self.state != State::Open {
            self.refusal = Some(_refusal);
        }
    }

    pub(super) fn begin_handshake(&mut self, now: Instant) {
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
        self.protection.start(self.role, client, proxy, !self.config.datagrams);
        self.state = State::Open;
        self.is_current = true;
        self.session_peer = self.peer_epoch;
        #[cfg(any(feature = "host", feature = "psk"))]
        {
            self.refusal = None;
        }
        self.terms.mru = hello.mru.min(self.config.packet_max);
        self.terms.window = hello.window.min(window_max(&self.config));
        self.terms.keeps = hello.keeps;
        self.sender.clear();
        self.receiver.clear();
        self.ack_due = false;
        #[cfg(feature = "host")]
        {
            self.counters.sessions += 1;
        }
    }

    pub(super) fn write_hello(&mut self, now: Instant, out: &mut [u8]) -> usize {
        // With each one that is not answered the wait grows.
        let is_known = self.is_current;
        self.hello_wait_us = self.hello_wait_us.saturating_mul(2);
        self.hello_wait_us =
            self.hello_wait_us.max(self.config.wait_first_us / 4).min(self.config.wait_max_us);
        self.hellos = self.hellos.saturating_add(1);
        let is_enough = self.state == State::Open && self.hellos > HELLOS_BESIDE;
        self.hello_due = false;
        self.hello_at = if is_known || is_enough {
            Instant::NEVER
        } else {
            let us = self.hello_wait_us - self.random.below(self.hello_wait_us / 4);
            Instant::from_micros(now.as_micros() + u64::from(us))
        };
        let hello = Hello {
            keeps: self.receiver.keeps(),
            ready: is_known,
            encrypted: self.protection.encrypts(),
            mru: self.receiver.packet_max() - self.around() as u16,
            window: self.receiver.window(),
            epoch: self.epoch,
            echo: self.peer_epoch,
        };
        let mut common = [0; Hello::LENGTH];
        hello.write(&mut FieldWriter::new(&mut common));
        let length = put(out, 0, Head::HELLO, &common, P::GREETING_MAX + 4);
        let rest_at = HEAD + Hello::LENGTH;
        let rest = out.get_mut(rest_at..rest_at + P::GREETING_MAX).unwrap_or_default();
        let greeting = self.protection.greet(self.role, &common, self.peer_epoch != 0, rest);
        let length = length - P::GREETING_MAX + greeting.min(P::GREETING_MAX);
        if let Some((packet, sum)) =
            out.get_mut(..length).and_then(|packet| packet.split_last_chunk_mut::<4>())
        {
            *sum = self.protection.crc32(NO_SESSION, packet).to_le_bytes();
        }
        // The delimiter before it ends what noise began.
        self.finish(out, length, !self.config.datagrams)
    }
}
