//! HELLO.

use sspc_mux::Role;
use sspc_wire::FieldWriter;

use super::{DeviceFraming, State, Taken, WAIT_MAX_US};
use crate::arq::{HELLOS_BESIDE, NO_SESSION};
use crate::cobs;
use crate::packet::{HEAD, Hello, Kind, Seq, WINDOW_MAX};
use crate::protection::Protection;
use crate::timer::Timer;

impl<P, R, T> DeviceFraming<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// How long a HELLO is at most.
    const HELLO: usize = HEAD + Hello::LENGTH + P::GREETING + 4;

    pub(super) fn open(&mut self, now_us: u32) {
        self.state = State::Greeting;
        self.peer_epoch = 0;
        self.begin_handshake(now_us);
    }

    fn begin_handshake(&mut self, now_us: u32) {
        self.epoch = (self.random.below(u32::MAX) ^ now_us).max(1);
        self.hellos = 0;
        self.hello_at = Timer::at(now_us, 0);
        self.protection.begin(self.epoch);
    }

    /// Sends a HELLO: a peer that does not know the session may be there.
    pub(super) fn renew(&mut self, now_us: u32) {
        if self.state == State::Open {
            self.state = State::Renewing;
            self.begin_handshake(now_us);
        }
        self.hello_at = Timer::at(now_us, 0);
    }

    pub(super) fn take_hello(&mut self, now_us: u32, hello: Hello, length: usize) -> Taken {
        let mut taken = Taken::Nothing;
        if self.state == State::Plain {
            self.open(now_us);
            taken = Taken::Reset;
        }
        if hello.epoch == self.epoch || hello.encrypted != P::ENCRYPTS {
            // This side's own, or none with whom there is a common way.
            return taken;
        }
        let is_answer = hello.echo == self.epoch;
        let greeting = self.storage.as_ref().get(HEAD..HEAD + length).unwrap_or_default();
        let (common, rest) = greeting.split_at(Hello::LENGTH.min(greeting.len()));
        if !self.protection.check(Role::Client, common, rest, is_answer) {
            return taken;
        }
        if self.state == State::Open {
            if is_answer && hello.epoch == self.peer_epoch {
                // It has not heard that it was heard.
                if !hello.ready {
                    self.hello_at = Timer::at(now_us, 0);
                }
                return taken;
            }
            if !is_answer {
                if hello.echo != 0 {
                    // Meant for another life of this side, and late.
                    return taken;
                }
                self.renew(now_us);
            }
        }
        self.peer_epoch = hello.epoch;
        if !hello.ready {
            self.hello_at = Timer::at(now_us, 0);
        }
        if is_answer {
            self.start_session(hello);
            taken = Taken::Reset;
        }
        taken
    }

    fn start_session(&mut self, hello: Hello) {
        self.protection.start(Role::Client, self.epoch, self.peer_epoch);
        self.state = State::Open;
        (self.mru, self.window) = (hello.mru, hello.window.min(WINDOW_MAX));
        if hello.ready {
            self.hello_at = Timer::NEVER;
        }
        (self.resend_at, self.ack_at) = (Timer::NEVER, Timer::NEVER);
        (self.tail, self.cursor_at) = (0, 0);
        (self.expected, self.base) = (Seq::ZERO, Seq::ZERO);
        (self.cursor, self.next) = (Seq::ZERO, Seq::ZERO);
        self.timed = Seq::NONE;
        (self.silences, self.damaged) = (0, 0);
    }

    pub(super) fn write_hello(&mut self, now_us: u32, out: &mut [u8]) -> usize {
        let is_known = self.state == State::Open;
        let first_us = self.first_wait_us();
        let us = ((first_us / 4) << self.hellos.min(5)).min(WAIT_MAX_US.max(first_us));
        self.hellos = self.hellos.saturating_add(1);
        let us = us - self.random.below(us / 4);
        self.hello_at = Timer::at(now_us, us);
        if is_known || self.state == State::Renewing && self.hellos > HELLOS_BESIDE {
            self.hello_at = Timer::NEVER;
        }
        let hello = Hello {
            keeps: false,
            ready: is_known,
            encrypted: P::ENCRYPTS,
            mru: self.storage.as_ref().len().saturating_sub(Self::OVERHEAD) as u16,
            window: WINDOW_MAX,
            epoch: self.epoch,
            echo: self.peer_epoch,
        };
        // The delimiter before it ends what noise began.
        let Some((first, out)) = out.split_first_mut() else { return 0 };
        *first = cobs::DELIMITER;
        let from = const { cobs::overhead(Self::HELLO) };
        let Some(packet) = out.get_mut(from..from + Self::HELLO) else { return 0 };
        let mut to = FieldWriter::new(packet);
        to.u8(Kind::Hello as u8);
        to.u8(0);
        hello.write(&mut to);
        let Some((_, said)) = packet.split_first_chunk_mut::<HEAD>() else { return 0 };
        let Some((common, rest)) = said.split_first_chunk_mut::<{ Hello::LENGTH }>() else {
            return 0;
        };
        let greeting = rest.get_mut(..P::GREETING).unwrap_or_default();
        let length = self.protection.greet(Role::Client, common, self.peer_epoch != 0, greeting);
        let end = from + Self::HELLO - P::GREETING + length.min(P::GREETING);
        let Some(out) = out.get_mut(..end) else { return 0 };
        if let Some((packet, sum)) =
            out.get_mut(from..).and_then(|packet| packet.split_last_chunk_mut::<4>())
        {
            *sum = self.protection.crc32(NO_SESSION, packet).to_le_bytes();
        }
        1 + cobs::stuff(out, from).unwrap_or(0)
    }
}
