//! What stands between the mux and the line: packets, or nothing.

use sspc_arq::{Arq, Checked, Framing, Input, SoftCrc};
use sspc_mux::{Instant, LinkLoss, Role};

use super::LineState;
use crate::config::LineConfig;
use crate::event::LineEvent;

/// The layer of a host: packets that come before their turn wait for those before them.
pub(super) type Packets = Framing<Checked<SoftCrc>, Vec<u8>, Vec<u8>>;

/// How many packets may be on their way to here, and how many of the longest from here.
const PLACES: usize = 32;

pub(super) fn layer(role: Role, config: &LineConfig) -> Packets {
    let packet = usize::from(config.packets.packet_max) + 16;
    // What is never used is never written, and takes no memory.
    let (storage, replay) = (vec![0; packet * (PLACES + 1)], vec![0; packet * PLACES]);
    let protection = Checked::new(SoftCrc);
    let arq = Arq::new(role, config.packets, config.seed, protection, storage, replay);
    Framing::new(config.framing, arq)
}

impl LineState {
    /// True if the line carries packets, or is about to.
    pub(crate) const fn in_packets(&self) -> bool {
        self.status.in_packets
    }

    /// Takes bytes that came, or none.
    pub(super) fn feed(&mut self, now: Instant, mut input: &[u8]) {
        let Some(mut packets) = self.packets.take() else { return };
        while let Some(came) = packets.receive(now, &mut input, &self.mux) {
            match came {
                Input::Bytes(bytes) => self.feed_mux(now, bytes),
                Input::Reset => {
                    // A session that ends did so for want of answers.
                    self.status.in_packets = packets.in_packets();
                    let is_over = packets.arq().is_closed() && !packets.in_packets();
                    self.reset_mux(
                        now,
                        if is_over { LinkLoss::NoPong } else { LinkLoss::PeerReset },
                    );
                }
            }
        }
        self.status.in_packets = packets.in_packets();
        self.status.packets = packets.arq().counters();
        let refused = packets.take_refused();
        self.packets = Some(packets);
        if refused && !self.status.plain_peer {
            self.status.plain_peer = true;
            self.events.push_back(LineEvent::PlainPeer);
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
