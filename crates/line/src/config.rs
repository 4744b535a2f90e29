//! How one end of a line is run.

use sspc_address::{LineFraming, Profile, SerialAddress};
use sspc_arq::{Choice, Config as ArqConfig};
use sspc_mux::Config;

/// How one end of a line is run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LineConfig {
    /// The mux's part.
    pub mux: Config,
    /// Whether bytes go in packets that lose nothing. Default plain, for what is no line.
    pub framing: Choice,
    /// The packets' part.
    pub packets: ArqConfig,
    /// Where random numbers start; give each end another one.
    pub seed: u32,
    /// Bytes kept of a channel whose reader is behind. When more come, that channel is closed: the
    /// others cannot wait for it, and a peer that honours credit never sends so much. Default 1 MiB.
    pub unread_max: usize,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            mux: Config::DEFAULT,
            framing: Choice::Plain,
            packets: ArqConfig::DEFAULT,
            seed: std::process::id() ^ 0x6c69_6e65,
            unread_max: 1 << 20,
        }
    }
}

impl LineConfig {
    /// Room for the longest thing that is written at once.
    pub(crate) fn output_size(&self) -> usize {
        let longest = self.mux.frame_max.max(self.packets.packet_max);
        usize::from(longest) + 128
    }

    /// The configuration for this port.
    pub fn for_port(address: &SerialAddress) -> Self {
        let mux = match address.profile {
            Profile::Default => Config::DEFAULT,
            Profile::Fast => Config::FAST,
        };
        let framing = match address.framing {
            LineFraming::Auto => Choice::Auto,
            LineFraming::Plain => Choice::Plain,
            LineFraming::Reliable => Choice::Reliable,
        };
        Self { framing, ..Self::for_rate(mux, address.baud) }
    }

    /// The configuration for a line of so many bit/s.
    pub(crate) fn for_rate(mux: Config, baud: u32) -> Self {
        let mux = mux.for_line(baud);
        // A packet holds the line as a frame does.
        let longest = mux.frame_max.max(sspc_mux::TRANSMIT_MIN as u16);
        let packets = ArqConfig::DEFAULT;
        let packets = ArqConfig { packet_max: packets.packet_max.min(longest), ..packets };
        Self { mux, packets: packets.for_line(baud), ..Self::default() }
    }
}
