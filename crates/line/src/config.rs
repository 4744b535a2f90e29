//! How one end of a line is run.

use sspc_address::{Profile, SerialAddress};
use sspc_mux::Config;

/// How one end of a line is run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LineConfig {
    /// The mux's part.
    pub mux: Config,
    /// Where random numbers start; give each end another one.
    pub seed: u32,
    /// Bytes kept of a channel whose reader is behind. When more come, that channel is closed: the
    /// others cannot wait for it, and a peer that honours credit never sends so much. Default 1 MiB.
    pub unread_max: usize,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self { mux: Config::DEFAULT, seed: std::process::id() ^ 0x6c69_6e65, unread_max: 1 << 20 }
    }
}

impl LineConfig {
    /// The configuration for this port.
    pub fn for_port(address: &SerialAddress) -> Self {
        let mux = match address.profile {
            Profile::Default => Config::DEFAULT,
            Profile::Fast => Config::FAST,
        };
        Self { mux: mux.for_line(address.baud), ..Self::default() }
    }
}
