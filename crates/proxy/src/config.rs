//! Everything that can be set about a proxy, with its defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_line::LineConfig;
use sspc_policy::{Policy, StreamType};

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
    /// Who may use a connection that is open already.
    pub sharing: Sharing,
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
            sharing: Sharing::default(),
        }
    }
}

/// How much clients may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sessions at a time. Default 16,384.
    pub sessions: usize,
    /// Sessions at a time of one client process, of one address over TCP, or of one line. Default
    /// 4,096.
    pub sessions_per_peer: usize,
    /// Bytes of payload held in each direction of a stream whose policy gives no `proxy_buflen`.
    /// Default 64 KiB.
    pub stream_buffer: u32,
    /// Bytes of payload that a client may send ahead while its stream has no connection, or while
    /// it gave no credit for what comes back; beyond it the link is not read until that changes.
    /// At least twice the stream's buffer holds in any case. Default 256 KiB.
    pub ahead_buffer: u32,
    /// Bytes kept of a line's channel whose session takes none. When more come the channel is
    /// closed, since the line's others cannot wait for it; clients that honour credit never send so
    /// much. Default 256 KiB.
    pub channel_buffer: u32,
    /// Streams that share one h2 connection at a time; the peer may allow fewer. Default 250.
    pub h2_streams: usize,
    /// Bytes that an h2 peer may send on a stream ahead of what its client takes. Default 256
    /// KiB; more is faster over a long way, and as much memory may wait in each stalled stream.
    pub h2_stream_window: u32,
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 16_384,
            sessions_per_peer: 4_096,
            stream_buffer: 64 * 1024,
            ahead_buffer: 256 * 1024,
            channel_buffer: 256 * 1024,
            h2_streams: 250,
            h2_stream_window: 256 * 1024,
        }
    }
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From a link's beginning to its STREAMTYPE. Default 3 s.
    pub streamtype: Duration,
    /// From the first packet of an onward connection to the end of its TLS handshake. Default 20 s.
    pub connect: Duration,
    /// From the end of a request to the headers of its response. Default 15 s.
    pub response: Duration,
    /// Between two pieces of a response's body. Default 30 s.
    pub body_idle: Duration,
    /// How long a connection that no stream uses is kept for the next one. Default 5 s.
    pub keep_warm: Duration,
    /// The longest Retry-After of a peer that is believed. Default 1 h.
    pub retry_after_max: Duration,
    /// How long transactions may go on once the proxy shuts down. Default 5 s.
    pub drain: Duration,
    /// How long a client may take to read the last frames of its stream. Default 1 s.
    pub flush: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            streamtype: Duration::from_secs(3),
            connect: Duration::from_secs(20),
            response: Duration::from_secs(15),
            body_idle: Duration::from_secs(30),
            keep_warm: Duration::from_secs(5),
            retry_after_max: Duration::from_secs(3600),
            drain: Duration::from_secs(5),
            flush: Duration::from_secs(1),
        }
    }
}

/// Values of the device that policies refer to by header names; clients never see them. Empty ones
/// are not set.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceCredentials {
    /// For `http_auth_header`, behind the preamble: the credential.
    pub auth: Bytes,
    /// For `http_dsn_header`: the device's serial number.
    pub serial_number: Bytes,
    /// For `http_fwv_header`: the firmware's version.
    pub firmware_version: Bytes,
    /// For `http_devtype_header`: the device's type.
    pub device_type: Bytes,
}

/// Sizes only: these are secrets.
impl fmt::Debug for DeviceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCredentials")
            .field("auth", &self.auth.len())
            .field("serial_number", &self.serial_number.len())
            .field("firmware_version", &self.firmware_version.len())
            .field("device_type", &self.device_type.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
