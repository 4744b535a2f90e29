//! What stands between the mux and the line: packets, or nothing.

use std::sync::Arc;

use sspc_address::ForwardSecrecy;
use sspc_arq::{Arq, ChaCha20Poly1305, Checked, Either, Framing, Input, Refusal, Sealed, SoftCrc};
use sspc_mux::{Instant, LinkLoss, Role, TRANSMIT_MIN};

use super::LineState;
use crate::config::LineConfig;
use crate::event::{LineEvent, Refused};
use crate::keys::{LineKeys, SeededKeys};

/// The layer of a host: packets that come before their turn wait for those before them.
pub(super) type Packets = Framing<Protection, Vec<u8>, Vec<u8>>;

/// Check sums, or with keys encryption.
type Protection = Either<Checked<SoftCrc>, Sealed<SoftCrc, ChaCha20Poly1305, LineKeys>>;

/// How many packets may be on their way to here, and how many of the longest from here.
const PLACES: usize = 32;

pub(super) fn layer(role: Role, config: &LineConfig, keys: Option<SeededKeys>) -> Packets {
    let packet = usize::from(config.packets.packet_max) + 32;
    // What is never used is never written, and takes no memory.
    let (storage, replay) = (vec![0; packet * (PLACES + 1)], vec![0; packet * PLACES]);
    let protection = match keys {
        Some(SeededKeys { keys, chance }) => {
            let sealed = Sealed::new(SoftCrc, ChaCha20Poly1305, keys, chance);
            Either::That(sealed.with_forward_secrecy(match config.forward_secrecy {
                ForwardSecrecy::Auto => sspc_arq::ForwardSecrecy::Auto,
                ForwardSecrecy::Required => sspc_arq::ForwardSecrecy::Required,
                ForwardSecrecy::Off => sspc_arq::ForwardSecrecy::Off,
            }))
        }
        None => Either::This(Checked::new(SoftCrc)),
    };
    // Two ends that draw the same numbers take each other for an echo.
    let seed = config.seed ^ role as u32;
    let arq = Arq::new(role, config.packets, seed, protection, storage, replay);
    Framing::new(config.framing, arq)
}

/// How much goes into one packet of a line that several channels share.
///
/// What is short may be urgent, and arrives when its whole packet has. So behind a short beginning goes
/// what is short too, and only a little of what is long.
#[derive(Clone, Copy)]
pub(super) struct PacketRoom {
    most: usize,
    used: usize,
    begins_short: bool,
}

impl PacketRoom {
    /// For a packet with at most so many bytes.
    pub(super) fn new(most: u16) -> Self {
        Self { most: usize::from(most).max(TRANSMIT_MIN), used: 0, begins_short: false }
    }

    /// The most that may be written now; 0 when the packet is to go.
    pub(super) fn left(self) -> usize {
        let left = self.most.saturating_sub(self.used);
        let left = if self.begins_short { left.min(self.short_max()) } else { left };
        if left < TRANSMIT_MIN { 0 } else { left }
    }

    /// So many bytes were written, where there was room for so many.
    pub(super) fn took(&mut self, written: usize, room: usize) {
        if self.used == 0 {
            self.begins_short = written < self.short_max();
        }
        let is_cut = self.begins_short && written == room;
        self.used = if is_cut { self.most } else { self.used + written };
    }

    fn short_max(self) -> usize {
        (self.most / 4).max(TRANSMIT_MIN)
    }
}

impl LineState {
    /// True if the line carries packets, or is about to.
    pub(crate) const fn in_packets(&self) -> bool {
        self.status.in_packets
    }

    /// The longest payload of a packet, if channels share them.
    pub(crate) fn shared_packet_max(&self) -> Option<u16> {
        (self.in_packets() && self.is_shared()).then_some(self.shared_packet_max)
    }

    /// How often something was sent again, here or there, as far as it shows.
    pub(super) const fn repairs(&self) -> u64 {
        let packets = &self.status.packets;
        packets.resent + packets.damaged + packets.early
    }

    /// All that was given to packets has arrived, as far as is known.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_arrived(&self) -> bool {
        self.packets.as_ref().is_none_or(|packets| packets.arq().in_flight() == 0)
    }

    /// Whether packets are encrypted, and for which device.
    pub(super) fn device_of(packets: &Packets) -> Option<Arc<str>> {
        match packets.arq().protection() {
            Either::That(sealed) => Some(String::from_utf8_lossy(sealed.peer_id()).into()),
            Either::This(_) => None,
        }
    }

    /// The shared key and what was recorded do not give the session's keys.
    fn secrecy_of(packets: &Packets) -> bool {
        matches!(packets.arq().protection(), Either::That(sealed) if sealed.has_forward_secrecy())
    }

    /// Takes bytes that came, or none.
    pub(super) fn feed(&mut self, now: Instant, mut input: &[u8]) {
        let Some(mut packets) = self.packets.take() else { return };
        let before = packets.arq().acknowledgements();
        while let Some(came) = packets.receive(now, &mut input, &self.mux) {
            match came {
                Input::Bytes(bytes) => self.feed_mux(now, bytes),
                Input::Reset => {
                    // A session that ends did so for want of answers.
                    self.status.in_packets = packets.in_packets();
                    self.device = Self::device_of(&packets);
                    self.forward_secrecy = Self::secrecy_of(&packets);
                    self.status.packets = packets.arq().counters();
                    let is_over = packets.arq().is_closed() && !packets.in_packets();
                    self.reset_mux(
                        now,
                        if is_over { LinkLoss::NoPong } else { LinkLoss::PeerReset },
                    );
                }
            }
        }
        if packets.arq().acknowledgements() != before {
            self.mux.peer_answered(now);
        }
        self.status.in_packets = packets.in_packets();
        self.status.packets = packets.arq().counters();
        let encrypts = matches!(packets.arq().protection(), Either::That(_));
        let met_plain = packets.take_refused();
        let refusal = match packets.arq().refusal() {
            Some(why) => Some(Refused::Packets(why)),
            None if met_plain && encrypts => Some(Refused::Packets(Refusal::PeerDoesNot)),
            None => met_plain.then_some(Refused::Plain),
        };
        self.packets = Some(packets);
        // Each reason once, until the link is up.
        if let Some(why) = refusal.filter(|why| self.status.refused != Some(*why)) {
            self.status.refused = Some(why);
            self.events.push_back(LineEvent::Refused { why });
        }
    }

    /// What carries the mux has begun again.
    fn reset_mux(&mut self, now: Instant, why: LinkLoss) {
        self.mux.reset();
        let mut nothing: &[u8] = &[];
        while let Some(event) = self.mux.receive(now, &mut nothing) {
            self.handle_event(match event {
                sspc_mux::Event::LinkDown { .. } => sspc_mux::Event::LinkDown { why },
                event => event,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes into one packet of at most 512 bytes, of frames of these lengths in turn; one that does
    /// not fit is cut.
    fn packet(frames: &[usize]) -> Vec<usize> {
        let (mut packet, mut went) = (PacketRoom::new(512), Vec::new());
        for frame in frames {
            let room = packet.left();
            if room == 0 {
                break;
            }
            packet.took((*frame).min(room), room);
            went.push((*frame).min(room));
        }
        went
    }

    #[test]
    fn behind_what_is_short_goes_little_of_what_is_long() {
        assert_eq!(packet(&[67, 1380, 1380]), [67, 128]);
        assert_eq!(packet(&[9, 67, 1380]), [9, 67, 128]);
    }

    #[test]
    fn frames_share_a_packet_as_long_as_they_fit() {
        assert_eq!(packet(&[1380, 67]), [512]);
        assert_eq!(packet(&[200, 1380, 67]), [200, 312]);
        assert_eq!(packet(&[67; 20]), [67, 67, 67, 67, 67, 67, 67]);
    }

    #[test]
    fn the_shortest_packets_take_what_the_mux_needs() {
        let mut packet = PacketRoom::new(1);
        assert_eq!(packet.left(), TRANSMIT_MIN);
        packet.took(10, TRANSMIT_MIN);
        assert_eq!(packet.left(), 0);
    }
}
