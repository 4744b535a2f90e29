use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sspc_address::Address;
use sspc_line::Priority;
use sspc_wire::limits::PAYLOAD_SAFE;

use crate::config::Config;

/// The largest window on a line: more would not make it faster, and be in the way of others. As
/// messages of one byte each it is still less than the line keeps for a program that is behind.
const LINE_WINDOW: u32 = 48 * 1024;

/// How a stream is opened and run on a host.
///
/// ```
/// let mut options = sspc::Options::default();
/// options.keep_trying = true; // the proxy may start later than this program
/// options.config.window = 64 * 1024;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The engine's part.
    pub config: Config,
    /// Where there is no proxy, wait for one instead of failing to open.
    pub keep_trying: bool,
    /// How long the socket may take to connect, or the serial line to come up and give a channel.
    pub connect_timeout: Duration,
    /// The room for metadata that the application sets, in bytes.
    pub metadata_size: usize,
    /// How many bytes are read from and written to the link at a time.
    pub buffer: usize,
    /// On a serial line: who sends first. A stream of a higher level passes those of lower ones at
    /// the next frame.
    pub priority: Priority,
}

impl Options {
    /// The engine's part for one more stream: streams of one process do not try again in step. On
    /// a line that others share its frames are short, and the proxy is not far ahead of it.
    pub(crate) fn config_of_stream(&self, address: &Address) -> Config {
        static STREAMS: AtomicU32 = AtomicU32::new(0);
        let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
        let seed = self.config.seed ^ stream.wrapping_mul(0x9e37_79b9);
        let config = Config { seed, ..self.config };
        match address {
            Address::Abstract(_) | Address::Path(_) | Address::Tcp { .. } | Address::Tls(_) => {
                config
            }
            Address::Serial(_) | Address::Network(_) | Address::Own { .. } => Config {
                window: config.window.min(LINE_WINDOW),
                frame_payload: config.frame_payload.min(PAYLOAD_SAFE as u16),
                frame_payload_managed: config.frame_payload_managed.min(PAYLOAD_SAFE as u16),
                ..config
            },
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        let pid = std::process::id();
        Self {
            config: Config { pid, seed: pid ^ 0x9e37_79b9, ..Config::HOST },
            keep_trying: false,
            connect_timeout: Duration::from_secs(3),
            metadata_size: 16 * 1024,
            buffer: 64 * 1024,
            priority: Priority::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use sspc_line::LineConfig;
    use sspc_wire::limits::{FRAME_HEAD, PAYLOAD_FIXED};

    use super::*;

    /// 64 KiB as messages of one byte were 1.3 MiB with their heads, and cost a slow program its
    /// channel.
    #[test]
    fn a_window_of_messages_of_one_byte_fits_what_a_line_keeps() {
        let frame = FRAME_HEAD + PAYLOAD_FIXED + 1;
        assert!(LINE_WINDOW as usize * frame < LineConfig::default().unread_max);
    }
}
