use sspc_wire::limits::{CREDIT_UNLIMITED, PAYLOAD_LARGE, PAYLOAD_SAFE};

/// Everything about a stream that can be chosen. All times are in ms.
///
/// ```
/// use sspc::Config;
/// const CONFIG: Config = Config { window: 2048, ..Config::DEFAULT };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The process id that the proxy's log shows; 0 where there are no processes. Below 2^31.
    pub pid: u32,
    /// How many bytes of payload the remote peer may be ahead of what the application consumed;
    /// [`Config::UNLIMITED`] sets no limit. A limit is topped up when the application reports
    /// ([`crate::Stream::consumed`]) that it is done with half of it. STREAMTYPE carries it; for the
    /// streamtype `_lws_smd`, where that field means classes, clear `honour_credit`.
    pub window: u32,
    /// Announce that this client honours the credit it is given and takes large frames. Deployed
    /// proxies take no notice.
    pub honour_credit: bool,
    /// The most payload in a frame to a proxy that does not manage credit: 1 to 65,519 bytes.
    pub frame_payload: u16,
    /// The most payload in a frame to a proxy that does; on a serial line keep it small.
    pub frame_payload_managed: u16,
    /// How long the proxy may take to answer STREAMTYPE before the link is dropped.
    pub handshake_ms: u32,
    /// The waits between attempts to open the link; the last one repeats. [`Config::NEVER`] for a
    /// program that does one thing and ends if its link is lost.
    pub backoff_ms: &'static [u32],
    /// Each wait is made longer by a random part, up to this many percent of it.
    pub jitter_percent: u8,
    /// Where the random numbers start; give each device another one.
    pub seed: u32,
    /// After the link was lost, ask again for the onward connection that the application had
    /// asked for and that was being made or in use.
    pub reconnect: bool,
    /// For the streamtype `_lws_smd`: the bits of the classes that it wants, which STREAMTYPE carries in
    /// place of [`Config::window`]; that is given by TXCR_UPDATE then. The APIs for hosts set it.
    #[cfg(feature = "std")]
    pub smd_classes: Option<u32>,
}

impl Config {
    /// A window without limit.
    pub const UNLIMITED: u32 = CREDIT_UNLIMITED as u32;

    /// For [`Config::backoff_ms`]: a link that was lost or could not be opened is not tried again,
    /// for 49 days.
    pub const NEVER: &'static [u32] = &[u32::MAX];

    /// Right for a small device on any link.
    pub const DEFAULT: Self = Self {
        pid: 0,
        window: Self::UNLIMITED,
        honour_credit: true,
        frame_payload: PAYLOAD_SAFE as u16,
        frame_payload_managed: PAYLOAD_SAFE as u16,
        handshake_ms: 3000,
        backoff_ms: &[250, 500, 1000, 2000, 4000, 8000, 10_000],
        jitter_percent: 30,
        seed: 0x5353_5043,
        reconnect: true,
        #[cfg(feature = "std")]
        smd_classes: None,
    };

    /// Right for a program on a host, over sockets.
    pub const HOST: Self = Self {
        window: 4 << 20,
        // With the random part below 2 s: so soon a stream is back after its proxy, however long that
        // was gone.
        backoff_ms: &[250, 500, 1000, 1500],
        frame_payload: 4061,
        frame_payload_managed: PAYLOAD_LARGE as u16,
        ..Self::DEFAULT
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}
