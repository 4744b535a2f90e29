use sspc_mux::{Instant, Mux, PACKETS};
use sspc_wire::mux_type::{PING, RESET_TRANSPORT};

use crate::arq::{Arq, Received};
use crate::protection::Protection;

/// What a line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Choice {
    /// Packets with a peer that knows them, and the plain mux with any other.
    #[default]
    Auto,
    /// The plain mux.
    Plain,
    /// Packets. A peer that does not know them is not spoken to.
    Reliable,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Bytes for the mux.
    Bytes(&'a [u8]),
    /// The mux is to be [reset](Mux::reset): what carries it has changed, or begun again.
    Reset,
}

/// What stands between a mux and its line: packets, nothing, or whichever of both the peer knows.
///
/// # How two ends find out
///
/// An end that wants to speak in packets says so in the PING that it sends while its link is down
/// ([`PACKETS`]); deployed peers send a PING's time back, and do no more with it. One that hears it
/// begins with HELLO. An end whose link is down listens for HELLO too. So two that know packets
/// speak in packets, whichever of them was there first; and one that meets a plain peer, or again one
/// that restarted, notices its PING among what are no packets.
///
/// # The loop
///
/// As that of the mux, with this in between: call [`receive`](Self::receive), with the bytes that came or
/// none, until it returns `None`, and do with the mux what it says; transmit through
/// [`transmit`](Self::transmit), whose source is the mux; wait until the earlier one of both deadlines.
#[derive(Debug)]
pub struct Framing<P, R, T> {
    choice: Choice,
    in_packets: bool,
    arq: Arq<P, R, T>,
    /// The time in the last PING of the peer that was seen to speak of packets.
    seen_us: u64,
    /// A plain peer was met, and is not to be spoken to.
    refused: bool,
    /// How many PINGs of a plain peer came since the last packet.
    plain_pings: u8,
}

/// So many PINGs of a peer that does not speak in packets mean that it is one: noise can look like one.
const PLAIN_PINGS: u8 = 2;

/// In the second byte of a PING's time: [`PACKETS`].
pub(crate) const PACKETS_BYTE: u8 = (PACKETS >> 48) as u8;

impl<P, R, T> Framing<P, R, T>
where
    P: Protection,
    R: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[u8]> + AsMut<[u8]>,
{
    /// A line of which nothing is known yet. If packets are encrypted the choice is
    /// [`Reliable`](Choice::Reliable), whatever is given: nobody turns encryption off from outside. The
    /// same if packets are datagrams: there is nothing plain then.
    pub fn new(choice: Choice, arq: Arq<P, R, T>) -> Self {
        let is_reliable = arq.protection().encrypts() || arq.takes_datagrams();
        let choice = if is_reliable { Choice::Reliable } else { choice };
        let in_packets = matches!(choice, Choice::Reliable);
        Self { choice, in_packets, arq, seen_us: 0, refused: false, plain_pings: 0 }
    }

    /// The packet layer.
    pub const fn arq(&self) -> &Arq<P, R, T> {
        &self.arq
    }

    /// What the line carries.
    pub const fn choice(&self) -> Choice {
        self.choice
    }

    /// True if the line carries packets, or is about to.
    pub const fn in_packets(&self) -> bool {
        self.in_packets
    }

    /// True once for each time that a peer was met which does not speak in packets, if this end speaks
    /// in nothing else.
    pub fn take_refused(&mut self) -> bool {
        core::mem::take(&mut self.refused)
    }

    /// Begins again, as when the line itself was lost and is back. The mux is to be reset too.
    pub fn reset(&mut self) {
        self.arq.close();
        self.in_packets = self.choice == Choice::Reliable;
    }

    /// When to call [`receive`](Self::receive) and [`transmit`](Self::transmit) at the latest, though
    /// nothing came.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.in_packets, self.arq.is_closed()) {
            (true, true) => Some(Instant::ZERO),
            (true, false) => self.arq.deadline(),
            (false, _) => None,
        }
    }

    /// Takes bytes that came off the front of `input`, up to the next thing that concerns the mux. Until
    /// it returns `None`, there is more, even if the input is used up. Of datagrams `input` is one, whole.
    pub fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
        mux: &Mux,
    ) -> Option<Input<'s>> {
        if self.in_packets {
            let was_closed = self.arq.is_closed();
            self.arq.handle_timeout(now);
            if self.arq.is_closed() {
                // Nobody answered, or nobody was asked yet.
                if self.choice == Choice::Reliable {
                    self.arq.open(now);
                } else {
                    self.in_packets = false;
                }
                if !was_closed || self.choice == Choice::Auto {
                    return Some(Input::Reset);
                }
            }
            if self.is_plain_peer(now) {
                self.arq.close();
                self.in_packets = false;
                return Some(Input::Reset);
            }
        }
        if self.in_packets {
            let received = if self.arq.takes_datagrams() {
                self.arq.receive_datagram(now, core::mem::take(input))
            } else {
                self.arq.receive(now, input)
            };
            return Some(match received? {
                Received::Opened => Input::Reset,
                Received::Data(bytes) => Input::Bytes(bytes),
            });
        }
        if self.choice == Choice::Auto {
            let ping_us = mux.peer_ping_us();
            if ping_us & PACKETS != 0 && ping_us != self.seen_us {
                self.seen_us = ping_us;
                self.arq.open(now);
                self.in_packets = true;
                return Some(Input::Reset);
            }
            if !mux.is_up() && self.scan(now, input) {
                return Some(Input::Reset);
            }
        }
        if input.is_empty() {
            return None;
        }
        Some(Input::Bytes(core::mem::take(input)))
    }

    /// Looks for a HELLO. If there is one it is taken, with what came before it.
    fn scan(&mut self, now: Instant, input: &mut &[u8]) -> bool {
        let mut rest = *input;
        while !rest.is_empty() && self.arq.is_closed() {
            // In short pieces, so that what is behind it is left.
            let (mut piece, behind) = rest.split_at(rest.len().min(16));
            rest = behind;
            let _ = self.arq.receive(now, &mut piece);
        }
        self.in_packets = !self.arq.is_closed();
        if self.in_packets {
            *input = rest;
        }
        self.in_packets
    }

    /// True if the peer is one that restarted, or another, and does not speak in packets.
    fn is_plain_peer(&mut self, now: Instant) -> bool {
        let (ping, heard_packet) = self.arq.take_plain_ping();
        if heard_packet {
            self.plain_pings = 0;
        }
        let Some(second) = ping else { return false };
        let knows_packets = second & PACKETS_BYTE != 0;
        if knows_packets && !self.arq.is_open() {
            // A HELLO is the answer that it waits for.
            self.arq.greet(now);
            return false;
        }
        if self.choice == Choice::Reliable && !self.arq.is_open() {
            // Nothing is lost if it was noise, and deployed peers are slow to send the next one.
            self.refused = true;
            return false;
        }
        self.plain_pings += 1;
        if self.plain_pings < PLAIN_PINGS {
            return false;
        }
        self.plain_pings = 0;
        if knows_packets {
            // One alone may be noise, and a HELLO would end the session with the peer that is there.
            self.arq.greet(now);
            return false;
        }
        self.refused = self.choice == Choice::Reliable;
        !self.refused
    }

    /// Writes what is to be sent next into `out`, and returns how long it is; `source` is what the mux
    /// transmits. `out` has the same length each time:
    /// [`Arq::out_min`](crate::Arq::out_min) at least.
    pub fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        if self.in_packets {
            return self.arq.transmit(now, out, source);
        }
        let length = source(out).min(out.len());
        if self.choice == Choice::Auto {
            mark_ping(out.get_mut(..length).unwrap_or_default());
        }
        length
    }
}

/// Says in what a mux sends while its link is down that there may be packets.
pub(crate) fn mark_ping(sent: &mut [u8]) {
    if let Some([RESET_TRANSPORT, PING, _, second]) = sent.first_chunk_mut::<4>() {
        *second |= PACKETS_BYTE;
    }
}
