//! Connections of QUIC (RFC 9000), each with a socket of its own.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    AsyncTimer, AsyncUdpSocket, ClientConfig, ConnectionError, Endpoint, EndpointConfig, Runtime,
    TokioRuntime, TransportConfig, VarInt,
};
use rustls::AlertDescription;
use sspc_policy::{Address, Validity};
use tokio::time::Instant;

use super::client_cert::Presented;
use super::explain::refused;
use super::notes::{Notebook, Notes};
use super::perf::Perf;
use super::route::{Caller, Route};
use super::scope::Scope;
use super::tcp::race;
use super::{Alpn, Connector};
use crate::descriptors::Descriptor;
use crate::observe::Connection;
use crate::onward::{Failure, FailureKind};

/// After this much silence at most a server is asked whether it is there, whatever the policy says:
/// servers end what is silent for half a minute, with all requests that are on it.
const PING_MAX: Duration = Duration::from_secs(15);
/// After this much a connection is lost, if the policy does not say.
const HANGUP_USUAL: Duration = Duration::from_secs(60);
/// Most bytes that wait to be sent or acknowledged.
const SEND_WINDOW: u64 = 1024 * 1024;
/// Streams that a server may open beside the three of h3 (RFC 9114 §6.2).
const ASIDE_MAX: u32 = 16;

/// What holds for a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuicSettings {
    pub(crate) streams_max: usize,
    /// Bytes on the way for a stream.
    pub(crate) window: u32,
    pub(crate) validity: Option<Validity>,
}

impl QuicSettings {
    fn transport(&self) -> TransportConfig {
        let streams = u32::try_from(self.streams_max).unwrap_or(u32::MAX).saturating_add(1);
        let mut transport = TransportConfig::default();
        let hangup = self.validity.map_or(HANGUP_USUAL, |validity| validity.hangup);
        let ping = self.validity.and_then(|validity| validity.ping).unwrap_or(PING_MAX);
        let ping = ping.min(PING_MAX).min(hangup / 2);
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(ASIDE_MAX))
            .stream_receive_window(VarInt::from_u32(self.window.max(1)))
            .receive_window(VarInt::from_u32(self.window.max(1).saturating_mul(streams)))
            .send_window(SEND_WINDOW)
            .datagram_receive_buffer_size(None)
            .keep_alive_interval(Some(ping))
            // Too long for QUIC is for ever.
            .max_idle_timeout(hangup.try_into().ok());
        transport
    }
}

/// A connection, its socket and the right to that.
pub(crate) struct QuicLink {
    pub(crate) connection: quinn::Connection,
    pub(crate) endpoint: Endpoint,
    pub(crate) descriptor: Descriptor,
}

impl QuicLink {
    /// What the peer's address is.
    pub(crate) fn peer(&self) -> Scope {
        Scope::of(self.connection.remote_address().ip())
    }

    /// The number by which observers know it.
    pub(crate) fn observed(&self) -> Option<u64> {
        self.descriptor.connection.as_ref().map(Connection::id)
    }
}

/// Why a server at an address was not connected to.
struct NoQuic {
    kind: FailureKind,
    why: String,
}

impl fmt::Display for NoQuic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<io::Error> for NoQuic {
    fn from(error: io::Error) -> Self {
        Self { kind: FailureKind::Connect, why: error.to_string() }
    }
}

impl Connector {
    /// Whether a server can be reached by QUIC at all: it has to be encrypted, and proxies take
    /// connections of TCP alone.
    pub(crate) fn has_quic(&self, route: &Route) -> bool {
        let is_network = matches!(route.address, Address::Tcp { .. });
        is_network && route.tls.is_some() && !self.tcp.goes_via(route)
    }

    /// A fresh connection to a server; the caller limits the time.
    pub(crate) async fn connect_quic(
        &self,
        descriptor: Descriptor,
        route: &Route,
        caller: &Caller,
        settings: QuicSettings,
        perf: &mut Perf,
    ) -> Result<QuicLink, Failure> {
        let (Address::Tcp { host, port }, Some(trust)) = (&route.address, &route.tls) else {
            let why = format!("{route} is not to be reached by QUIC");
            return Err(Failure::new(FailureKind::Policy, why));
        };
        let failed = |kind, why: &dyn fmt::Display| {
            Failure::new(kind, format!("cannot connect to {route} by QUIC: {why}"))
        };
        let addresses = self.tcp.addresses(route, caller, (host, *port), perf).await?;
        let tls = self.tls.config_of(route, trust, Alpn::H3).await;
        let tls = tls.map_err(|why| failed(FailureKind::Tls, &why))?;
        let crypto = QuicClientConfig::try_from(tls);
        let crypto = crypto.map_err(|error| failed(FailureKind::Internal, &error))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(settings.transport()));
        let start = Instant::now();
        let certificate = AtomicBool::new(false);
        let raced = race(&addresses, descriptor, |address| {
            let (config, certificate) = (config.clone(), &certificate);
            async move {
                let connected = connect(address, config, route).await;
                connected.inspect_err(|error| {
                    certificate.fetch_or(error.kind == FailureKind::Tls, Relaxed);
                })
            }
        });
        let raced = raced.await;
        // The handshake of TLS is a part of it.
        perf.connect = start.elapsed();
        let ((connection, endpoint), descriptor, peer) = raced.map_err(|why| {
            let is_tls = certificate.load(Relaxed);
            failed(if is_tls { FailureKind::Tls } else { FailureKind::Connect }, &why)
        })?;
        perf.peer = peer.ip().to_string();
        Ok(QuicLink { connection, endpoint, descriptor })
    }
}

async fn connect(
    address: SocketAddr,
    config: ClientConfig,
    route: &Route,
) -> Result<(quinn::Connection, Endpoint), NoQuic> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let notebook = Notebook::default();
    let runtime = Noting(notebook.clone());
    let socket = UdpSocket::bind(any)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(runtime))?;
    let connecting = endpoint.connect_with(config, address, route.server_name());
    let connecting = connecting
        .map_err(|error| NoQuic { kind: FailureKind::Connect, why: error.to_string() })?;
    match connecting.await {
        Ok(connection) => Ok((connection, endpoint)),
        Err(error) => Err(explain(error, notebook.take(), route.client_cert.as_ref())),
    }
}

/// Runs quinn's tasks, and keeps what their handshake shows.
#[derive(Debug)]
struct Noting(Notebook);

impl Runtime for Noting {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(self.0.clone().kept_by(future));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}

/// The alert of TLS that an error is.
fn alert_of(error: &ConnectionError) -> Option<AlertDescription> {
    /// Where they begin among the errors of QUIC (RFC 9001 §4.8).
    const ALERTS: u64 = 0x100;
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return None,
    };
    u8::try_from(code.wrapping_sub(ALERTS)).ok().map(AlertDescription::from)
}

/// What TLS has to say of the error of an established connection: a server that demands a certificate
/// refuses a client without one only when the handshake is over for that.
pub(crate) fn refused_later(error: &ConnectionError) -> Option<String> {
    alert_of(error).map(|alert| refused(alert, false, None))
}

/// What went wrong, in the words of somebody who has to put it right.
fn explain(error: ConnectionError, notes: Notes, presented: Option<&Presented>) -> NoQuic {
    match (notes.certificate, alert_of(&error)) {
        (Some(why), _) => NoQuic { kind: FailureKind::Tls, why },
        // It speaks QUIC, but another protocol over it.
        (None, Some(alert @ AlertDescription::NoApplicationProtocol)) => {
            NoQuic { kind: FailureKind::Connect, why: refused(alert, false, None) }
        }
        (None, Some(alert)) => {
            NoQuic { kind: FailureKind::Tls, why: refused(alert, notes.asked_for_ours, presented) }
        }
        (None, None) => NoQuic { kind: FailureKind::Connect, why: error.to_string() },
    }
}
