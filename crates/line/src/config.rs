//! How one end of a line is run.

use sspc_address::{Carrier, ForwardSecrecy, LineAddress, LineFraming, Profile, SerialAddress};
use sspc_arq::{Choice, Config as ArqConfig};
use sspc_mux::Config;

use crate::keys::{LineKeys, chance};

/// The longest datagram that goes over UDP: what any path carries, as RFC 9000, 14 has it.
pub(crate) const UDP_DATAGRAM_MAX: u16 = 1200;

/// What a packet adds to its payload when it is encrypted: counter, head and tag.
const SEALED_OVERHEAD: u16 = 20;

/// The mux over a network: packets may have to be sent more than once before they arrive.
const NETWORK_MUX: Config =
    Config { pong_ms: 8000, retry_max_ms: 4000, channel_ms: 8000, ..Config::DEFAULT };

/// How one end of a line is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LineConfig {
    /// The mux's part.
    pub mux: Config,
    /// Whether bytes go in packets that lose nothing. Default plain, for what is no line.
    pub framing: Choice,
    /// The packets' part.
    pub packets: ArqConfig,
    /// The longest payload of a packet while more than one channel is open: what one sends waits behind
    /// the others' packet. Default: no limit of its own.
    pub shared_packet_max: u16,
    /// The keys of this end: packets are encrypted, whatever the framing says, and no other peer is
    /// spoken to.
    pub keys: Option<LineKeys>,
    /// With keys: whether they alone open what was recorded. Default: not with a peer that offers
    /// forward secrecy.
    pub forward_secrecy: ForwardSecrecy,
    /// Where random numbers start; give each end another one. Default: drawn by the system.
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
            shared_packet_max: u16::MAX,
            keys: None,
            forward_secrecy: ForwardSecrecy::Auto,
            seed: seed(),
            unread_max: 1 << 20,
        }
    }
}

/// Another one for each line.
fn seed() -> u32 {
    let drawn = chance().ok().and_then(|bytes| bytes.first_chunk().copied());
    drawn.map_or_else(std::process::id, u32::from_ne_bytes)
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

    /// The configuration for a line at this address.
    pub fn for_line(address: &LineAddress) -> Self {
        match address {
            LineAddress::Serial(address) => Self::for_port(address),
            LineAddress::Network(address) => Self::for_network(address.carrier),
        }
    }

    /// The configuration for a way that carries datagrams of at most `longest` bytes, encrypted or not:
    /// for `Line::over_datagrams`. It suits a radio that loses a fifth of them, as an answer may take
    /// 20 s; a lower [`pong_ms`](Config::pong_ms) finds a dead link sooner where fewer are lost.
    pub fn datagrams(longest: u16) -> Self {
        let packets = ArqConfig::datagrams(longest.saturating_sub(SEALED_OVERHEAD));
        let mux = Config { pong_ms: 20_000, ..NETWORK_MUX };
        Self { framing: Choice::Reliable, packets, mux, ..Self::default() }
    }

    /// The configuration for a line over a network.
    pub fn for_network(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Udp => Self { mux: NETWORK_MUX, ..Self::datagrams(UDP_DATAGRAM_MAX) },
            Carrier::Tcp => {
                // TCP sends again what was lost, and is not to be asked for it too soon.
                let packets = ArqConfig {
                    wait_first_us: 1_000_000,
                    wait_max_us: 3_000_000,
                    ..ArqConfig::DEFAULT
                };
                Self { framing: Choice::Reliable, packets, mux: NETWORK_MUX, ..Self::default() }
            }
        }
    }

    /// The configuration for a line of so many bit/s.
    pub(crate) fn for_rate(mux: Config, baud: u32) -> Self {
        let mux = mux.for_line(baud);
        // A packet holds the line as a frame does.
        let longest = mux.frame_max.max(sspc_mux::TRANSMIT_MIN as u16);
        let packets = ArqConfig::DEFAULT;
        let packets = ArqConfig { packet_max: packets.packet_max.min(longest), ..packets };
        let shared_packet_max = packets.for_line(baud).packet_max;
        Self { mux, packets: packets.with_waits_for(baud), shared_packet_max, ..Self::default() }
    }
}
