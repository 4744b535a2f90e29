//! Everything that can be set about a proxy, with its defaults.

use std::sync::Arc;
use std::time::Duration;

use sspc_line::LineConfig;
use sspc_policy::{Policy, StreamType};

mod knobs;

use self::knobs::knobs;
pub use self::knobs::{Knob, KnobError};
use crate::access::AccessRules;
use crate::allow_to::AllowTo;
pub(crate) use crate::credentials::Credentials;
pub use crate::credentials::DeviceCredentials;
use crate::onward::{KeptCookies, NameFiles};
use crate::smd::SmdBridge;
use crate::ways_out::WaysOut;

/// What a [`Proxy`](crate::Proxy) is made from.
///
/// ```
/// use sspc_policy::Policy;
/// use sspc_proxy::Config;
///
/// let mut config = Config::new(Policy::builtin());
/// config.limits.sessions = 100;
/// config.credentials.auth = "token".into();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The policy that streams are created by; [`Handle::reload`](crate::Handle::reload) replaces
    /// it.
    pub policy: Arc<Policy>,
    /// How much clients may take.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What the device knows and clients never see.
    pub credentials: DeviceCredentials,
    /// What servers asked the clients of an earlier proxy to send back, for `http_cookies`;
    /// [`Handle::cookies`](crate::Handle::cookies) gives it. At most `limits.cookie_jars` servers and
    /// clients of it are taken. Default: none.
    pub cookies: KeptCookies,
    /// Who may use a connection that is open already.
    pub sharing: Sharing,
    /// Where clients may lead streams to although it is not public. What the policy writes itself it
    /// may reach in any case. Default: nowhere.
    pub allow_to: Vec<AllowTo>,
    /// Through which servers connections go out. Default: through none.
    pub ways_out: WaysOut,
    /// Which clients are served, and what they may do; [`Handle::set_access`](crate::Handle::set_access) replaces it.
    /// Default: at sockets without a file the proxy's own user and root, elsewhere all who can connect.
    pub access: AccessRules,
    /// Whether clients may exchange system messages, by streams of the streamtype `_lws_smd`. Default:
    /// true.
    pub smd: bool,
    /// Where system messages are exchanged with other proxies. Default: nowhere.
    pub smd_bridge: Option<SmdBridge>,
    /// Whether to look for captive portals with the policy's streamtype `captive_portal_detect`, at
    /// start and when somebody asks on the bus. Default: no.
    pub find_portals: bool,
    /// How many threads serve streams: one for each processor is the most that is of use. Default 0: the
    /// threads of the caller's runtime do.
    pub threads: usize,
    /// Whether [`Handle::observed`](crate::Handle::observed) shows sessions, transactions, connections and
    /// failures. It costs some hundred bytes a stream. Default: false.
    pub observe: bool,
    /// Where the system says how names are looked up; tests have files of their own.
    pub(crate) names: NameFiles,
}

/// Who may use an onward connection that another stream opened.
///
/// A server that ends a connection because of one request ends all that is on it, and some servers
/// limit what one connection may do. So strangers do not share by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// Streams of one client: of one user of this machine, one host, or one line. The default.
    #[default]
    Client,
    /// All streams. It takes the fewest connections; for clients that trust each other.
    Everyone,
}

impl Config {
    /// A proxy of this policy with every other setting at its default.
    pub fn new(policy: impl Into<Arc<Policy>>) -> Self {
        Self {
            policy: policy.into(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            credentials: DeviceCredentials::default(),
            cookies: KeptCookies::default(),
            sharing: Sharing::default(),
            allow_to: Vec::new(),
            ways_out: WaysOut::default(),
            access: AccessRules::default(),
            smd: true,
            smd_bridge: None,
            find_portals: false,
            threads: 0,
            observe: false,
            names: NameFiles::default(),
        }
    }
}

knobs! {
/// How much clients may take.
pub struct Limits("limit") {
    /// Sessions at a time; fewer if the process may not open descriptors enough for them.
    pub sessions: usize = Count(16_384),
    /// Sessions at a time of one client: of one user of the machine, of one host over TCP, or of one
    /// line.
    pub sessions_per_client: usize = Count(4_096),
    /// Lines at a time: peers at `udp:` addresses, and connections at `tcp:` addresses with keys. An idle
    /// one over UDP takes 40 KiB of memory, and at most 128 KiB more wait for it.
    pub lines: usize = Count(1_024),
    /// Of these, lines of one device; without keys, or before it has proved to have one, of one host.
    pub lines_per_client: usize = Count(64),
    /// TLS handshakes of clients at a time, at most an eighth of `sessions`. Who comes while there are so
    /// many is turned away, and has to try again.
    pub handshakes: usize = Count(256),
    /// Of these, handshakes of one host, at most half of all.
    pub handshakes_per_client: usize = Count(64),
    /// Bytes of payload held in each direction of a stream whose policy gives no `proxy_buflen`.
    pub stream_buffer: u32 = Bytes(64 * 1024),
    /// Bytes of payload that a client may send ahead while its stream has no connection, or while
    /// it gave no credit for what comes back; beyond it the link is not read until that changes.
    /// At least twice the stream's buffer holds in any case.
    pub ahead_buffer: u32 = Bytes(256 * 1024),
    /// Bytes kept of a line's channel whose session takes none. When more come the channel is
    /// closed, since the line's others cannot wait for it; clients that honour credit never send so
    /// much.
    pub channel_buffer: u32 = Bytes(256 * 1024),
    /// Bytes of a request's path and headers together. Servers end the connection at a length of
    /// their own, many of them from 8 KiB on.
    pub request_head: u32 = Bytes(16 * 1024),
    /// Bytes of cookies that are kept of one server for one client, for `http_cookies`; the oldest go
    /// first.
    pub cookies: u32 = Bytes(8 * 1024),
    /// Servers of which cookies are kept, counted for each client, all clients together. The client
    /// that has the most of them loses the one that was used least recently.
    pub cookie_jars: usize = Count(1_024),
    /// Streams that share one connection of h2 or h3 at a time; the peer may allow fewer.
    pub h2_streams: usize = Count(250),
    /// Bytes that a peer of h2 or h3 may send on a stream ahead of what its client takes. More is faster over
    /// a long way, and as much memory may wait in each stalled stream.
    pub h2_stream_window: u32 = Bytes(256 * 1024),
    /// Bytes of a message that a client may publish with mqtt: it is sent when all of it is here.
    pub mqtt_message: u32 = Bytes(1024 * 1024),
    /// Bytes that an mqtt broker may send a stream ahead of what its client takes; beyond it the
    /// connection, which a client's streams share, is not read.
    pub mqtt_stream_window: u32 = Bytes(256 * 1024),
    /// System messages that wait for each client that wants them. In a full queue the oldest is lost of
    /// who has most of them there.
    pub smd_queue: usize = Count(40),
    /// System messages a second that one client may send; more wait for their turn.
    pub smd_rate: usize = Count(200),
    /// Names that are looked up at a time, each with two sockets; fewer if the process may not open
    /// descriptors enough for them.
    pub lookups: usize = Count(128),
    /// Names that are looked up at a time for one client, at most half of all; its others wait, and
    /// hold up nobody else's.
    pub lookups_per_client: usize = Count(16),
    /// Bytes that may wait in the proxy, all streams together. A client that holds more than a quarter
    /// of what nobody holds is not read from, nor are its servers, except that each stream may always
    /// hold 16 KiB each way. A percentage is one of the machine's memory, or of what the process's
    /// control group may take.
    pub memory: MemoryBound = Memory(MemoryBound::Percent(25)),
}
}

/// How much memory may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryBound {
    /// So many bytes.
    Bytes(usize),
    /// So much, in percent, of the machine's memory, or of what the process's control group may
    /// take if that is less.
    Percent(u8),
}

impl Limits {
    /// Bytes of payload held in each direction of a stream of this type: what its policy says, or
    /// else as many as any stream's, but no fewer than it is to hold before reading stops.
    pub(crate) fn buffer_of(&self, streamtype: &StreamType) -> usize {
        let stop = streamtype.proxy_rxflow_on_above.unwrap_or(0);
        let bytes = streamtype.proxy_buflen.unwrap_or(self.stream_buffer.max(stop));
        usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
    }

    /// This line's configuration within the limits.
    pub(crate) fn limit_line(&self, mut config: LineConfig) -> LineConfig {
        config.unread_max = usize::try_from(self.channel_buffer).unwrap_or(usize::MAX);
        config
    }
}

knobs! {
/// How long things may take.
pub struct Timeouts("timeout") {
    /// From a link's beginning to its STREAMTYPE.
    pub streamtype: Duration = Time(Duration::from_secs(3)),
    /// How long a client's TLS handshake may take.
    pub handshake: Duration = Time(Duration::from_secs(10)),
    /// From the first packet of an onward connection to the end of its TLS handshake.
    pub connect: Duration = Time(Duration::from_secs(20)),
    /// From the end of a request to the headers of its response.
    pub response: Duration = Time(Duration::from_secs(15)),
    /// Between two pieces of a response's body.
    pub body_idle: Duration = Time(Duration::from_secs(30)),
    /// How long a connection that no stream uses is kept for the next one.
    pub keep_warm: Duration = Time(Duration::from_secs(5)),
    /// From a message to an mqtt broker to its acknowledgement. Then it is sent again, three times with
    /// MQTT 3.1.1, which 5 forbids; after four times this without an answer its client hears
    /// QOS_NACK_REMOTE.
    pub mqtt_ack: Duration = Time(Duration::from_secs(3)),
    /// How long a system message waits for a client that does not read, before that client loses it.
    pub smd_ttl: Duration = Time(Duration::from_secs(2)),
    /// The longest Retry-After of a peer that is believed.
    pub retry_after_max: Duration = Time(Duration::from_secs(3600)),
    /// How long transactions may go on once the proxy shuts down.
    pub drain: Duration = Time(Duration::from_secs(5)),
    /// How long a client may take to read the last frames of its stream.
    pub flush: Duration = Time(Duration::from_secs(1)),
    /// How long a peer at a `udp:` address, or at a `tcp:` address with keys, may be without a link
    /// before it is given up.
    pub link: Duration = Time(Duration::from_secs(10)),
    /// How long a TCP client may leave all that TCP sends it unanswered, for instance without power,
    /// before its session ends.
    pub client_gone: Duration = Time(Duration::from_secs(60)),
}
}

#[cfg(test)]
mod tests;
