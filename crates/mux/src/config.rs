use sspc_wire::limits::PAYLOAD_SAFE;

/// Which end of the line this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opens channels, and refuses those that the peer wants to open.
    Client = 0,
    /// Accepts channels or refuses them. Only with the feature `host`: without it each end is a client's.
    Proxy = 1,
}

impl Role {
    /// The other one.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Proxy,
            Self::Proxy => Self::Client,
        }
    }
}

/// Everything about a mux that can be chosen. All times are in ms, 1 at least.
///
/// ```
/// use sspc_mux::Config;
/// const CONFIG: Config = Config { ping_ms: 5000, ..Config::DEFAULT }.for_line(115_200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// After the last proof of life a PING is due, at the latest; by chance up to a quarter sooner.
    pub ping_ms: u32,
    /// A PONG must come within this time of the moment when the PING was due, or the link is down.
    pub pong_ms: u32,
    /// The wait before the second PING while the link is down; by chance up to a quarter shorter,
    /// so that two ends cannot stay in lockstep. Each further wait is twice as long.
    pub retry_first_ms: u32,
    /// The longest of these waits. Must be longer than a round trip of the line takes.
    pub retry_max_ms: u32,
    /// How long a CHANNEL_REQ or a CHANNEL_CLOSE waits for its answer, 2 at least; up to a half
    /// longer, because all channels share one timer.
    pub channel_ms: u32,
    /// When no byte came for this long in the middle of a frame, and then a RESET_TRANSPORT seems
    /// to come, the peer restarted and the frame will never end.
    pub stall_ms: u32,
    /// The most bytes of a channel's stream in one MUX frame sent, which is also how long one
    /// channel holds the line: 1 to 65,534. Deployed peers take no more than 2,044.
    pub frame_max: u16,
}

impl Config {
    /// Right beside any deployed peer, on any line.
    pub const DEFAULT: Self = Self {
        ping_ms: 10_000,
        pong_ms: 2000,
        retry_first_ms: 250,
        retry_max_ms: 2000,
        channel_ms: 2000,
        stall_ms: 200,
        frame_max: PAYLOAD_SAFE as u16,
    };

    /// Finds a dead link within 300 ms and has it back within 500 ms after the peer is. For lines
    /// of 1 Mbaud or more whose drivers hold back no more than some 4 KiB of output.
    pub const FAST: Self = Self {
        ping_ms: 100,
        pong_ms: 180,
        retry_first_ms: 50,
        retry_max_ms: 200,
        stall_ms: 50,
        ..Self::DEFAULT
    };

    /// All zeros.
    pub(crate) const IDLE: Self = Self {
        ping_ms: 0,
        pong_ms: 0,
        retry_first_ms: 0,
        retry_max_ms: 0,
        channel_ms: 0,
        stall_ms: 0,
        frame_max: 0,
    };

    /// With each field that is out of its bounds at the nearest value within.
    pub(crate) const fn in_bounds(self) -> Self {
        const fn at_least(least: u32, ms: u32) -> u32 {
            if ms < least { least } else { ms }
        }
        let frame_max = match self.frame_max {
            0 => 1,
            u16::MAX => u16::MAX - 1,
            frame_max => frame_max,
        };
        Self {
            ping_ms: at_least(1, self.ping_ms),
            pong_ms: at_least(1, self.pong_ms),
            retry_first_ms: at_least(1, self.retry_first_ms),
            retry_max_ms: at_least(1, self.retry_max_ms),
            channel_ms: at_least(2, self.channel_ms),
            stall_ms: at_least(1, self.stall_ms),
            frame_max,
        }
    }

    /// The same with frames short enough for a line of so many bit/s: one takes no more than an
    /// eighth of the time in which a PONG must come, since PING and PONG each wait behind one.
    #[must_use]
    pub const fn for_line(self, bits_per_second: u32) -> Self {
        // 8N1: ten bits a byte.
        let fits = bits_per_second as u64 / 10 * self.pong_ms as u64 / 8 / 1000;
        let fits = if fits < 32 { 32 } else { fits };
        let frame_max = if fits < self.frame_max as u64 { fits as u16 } else { self.frame_max };
        Self { frame_max, ..self }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}
