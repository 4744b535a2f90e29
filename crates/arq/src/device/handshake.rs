//! HELLO.

use sspc_mux::Role;
use sspc_wire::FieldWriter;

use super::{DeviceFraming, NOTHING, RESET, State, Taken};
use crate::arq::handshake::{HELLOS_BESIDE, NO_SESSION};
use crate::cobs;
use crate::packet::{HEAD, Head, Hello, WINDOW_MAX};
use crate::protection::{Protection, Refusal};
use crate::timer::Timer;

impl<P, R, T> DeviceFraming<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// How long a HELLO is at most.
    const HELLO: usize = HEAD + Hello::LENGTH + P::GREETING_MAX + 4;

    pub(super) fn open(&mut self, now_us: u32) {
        self.line.state = State::Greeting;
        self.line.peer_epoch = 0;
        self.begin_handshake(now_us);
    }

    fn begin_handshake(&mut self, now_us: u32) {
        self.line.epoch = (self.line.random.below(u32::MAX) ^ now_us).max(1);
        self.line.hellos = 0;
        self.line.hello_at = Timer::at(now_us, 0);
        self.protection.begin(self.line.epoch);
    }

    /// Sends a HELLO: a peer that does not know the session may be there.
    pub(super) fn renew(&mut self, now_us: u32) {
        if self.line.state == State::Open {
            self.line.state = State::Renewing;
            self.begin_handshake(now_us);
        }
        self.line.hello_at = Timer::at(now_us, 0);
    }

    pub(super) fn take_hello(&mut self, now_us: u32, hello: Hello, length: usize) -> Taken {
        let mut taken = NOTHING;
        if self.line.state == State::Plain {
            self.open(now_us);
            taken = RESET;
        }
        if hello.epoch == self.line.epoch {
            // This side's own.
            return taken;
        }
        let encrypts = self.protection.encrypts();
        if hello.encrypted != encrypts {
            self.refuse(if encrypts { Refusal::PeerDoesNot } else { Refusal::PeerEncrypts });
            return taken;
        }
        let is_answer = hello.echo == self.line.epoch;
        let is_open = self.line.state == State::Open;
        if !is_answer && hello.echo != 0 && (encrypts || is_open) {
            // Meant for another life of this side, and late; nor can anybody tell now who sent it.
            return taken;
        }
        let greeting = self.storage.as_ref().get(HEAD..HEAD + length).unwrap_or_default();
        let (common, rest) = greeting.split_at(Hello::LENGTH.min(greeting.len()));
        if let Err(refusal) = self.protection.check(Role::Client, common, rest, is_answer) {
            self.refuse(refusal);
            return taken;
        }
        if is_open {
            if is_answer && hello.epoch == self.line.peer_epoch {
                // It has not heard that it was heard.
                if !hello.ready {
                    self.line.hello_at = Timer::at(now_us, 0);
                }
                return taken;
            }
            // A peer that restarted. No epoch is that of two sessions.
            self.renew(now_us);
        }
        let is_agreed = hello.echo == self.line.epoch;
        self.line.peer_epoch = hello.epoch;
        if !(hello.ready && is_agreed) {
            self.line.hello_at = Timer::at(now_us, 0);
        }
        if is_agreed {
            self.start_session(hello);
            taken = RESET;
        }
        taken
    }

    fn refuse(&mut self, _refusal: Refusal) {
        #[cfg(feature = "psk")]
        if !self.is_open() {
            self.refusal = Some(_refusal);
        }
    }

    fn start_session(&mut self, hello: Hello) {
        self.protection.start(Role::Client, self.line.epoch, self.line.peer_epoch, true);
        #[cfg(feature = "psk")]
        {
            self.refusal = None;
        }
        self.line.state = State::Open;
        if hello.ready {
            self.line.hello_at = Timer::NEVER;
        }
        let line = &mut self.line;
        line.window = hello.window.min(WINDOW_MAX);
        line.mru = hello.mru.min(u8::MAX.into()) as u8;
        (line.expected, line.base, line.in_flight, line.cursor) = (0, 0, 0, 0);
        (line.timed, line.silences, line.damaged) = (0, 0, 0);
        (line.tail, line.cursor_at) = (0, 0);
        (line.resend_at, line.ack_at) = (Timer::NEVER, Timer::NEVER);
    }

    pub(super) fn write_hello(&mut self, now_us: u32, out: &mut [u8]) -> usize {
        let is_known = self.line.state == State::Open;
        let us = self.backed_off_us(self.first_wait_us() / 4, self.line.hellos);
        let us = us - self.line.random.below(us / 4);
        self.line.hellos = self.line.hellos.saturating_add(1);
        self.line.hello_at = Timer::at(now_us, us);
        if is_known || self.line.state == State::Renewing && self.line.hellos > HELLOS_BESIDE {
            self.line.hello_at = Timer::NEVER;
        }
        let hello = Hello {
            keeps: false,
            ready: is_known,
            encrypted: self.protection.encrypts(),
            mru: self.payload_max() as u16,
            window: WINDOW_MAX,
            epoch: self.line.epoch,
            echo: self.line.peer_epoch,
        };
        // The delimiter before it ends what noise began.
        let Some((first, out)) = out.split_first_mut() else { return 0 };
        *first = cobs::DELIMITER;
        let Some(packet) = out.get_mut(1..=Self::HELLO) else { return 0 };
        let mut to = FieldWriter::new(packet);
        to.u16(u16::from_be_bytes(Head::HELLO.bytes()));
        hello.write(&mut to);
        let mut length = Self::HELLO;
        if P::GREETING_MAX > 0 {
            let (common, rest) = packet.split_at_mut((HEAD + Hello::LENGTH).min(packet.len()));
            let common = common.get(HEAD..).unwrap_or_default();
            let greeting = rest.get_mut(..P::GREETING_MAX).unwrap_or_default();
            let is_answer = self.line.peer_epoch != 0;
            let said = self.protection.greet(Role::Client, common, is_answer, greeting);
            length = length - P::GREETING_MAX + said.min(P::GREETING_MAX);
        }
        if let Some((packet, sum)) =
            packet.get_mut(..length).and_then(|packet| packet.split_last_chunk_mut::<4>())
        {
            *sum = self.protection.crc32(NO_SESSION, packet).to_le_bytes();
        }
        let Some(stuffed) = out.get_mut(..length + 2) else { return 0 };
        1 + cobs::stuff_short(stuffed)
    }
}
