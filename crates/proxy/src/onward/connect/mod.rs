//! From a route to a connected transport: names, sockets, TLS.

mod chain;
mod client_cert;
mod explain;
mod notes;
mod perf;
#[cfg(feature = "http3")]
mod quic;
mod read_out;
mod resolve;
mod route;
mod scope;
mod tcp;
mod tls;
mod transport;
mod verifier;
pub(crate) mod via;

use std::time::Duration;

use tokio::time::{Instant, timeout};

pub(crate) use self::chain::{in_words, names};
pub(crate) use self::client_cert::Presented;
pub use self::client_cert::{ClientCert, ClientCertError};
use self::perf::Dns;
pub(crate) use self::perf::Perf;
#[cfg(feature = "http3")]
pub(crate) use self::quic::{QuicLink, QuicSettings, refused_later};
pub(crate) use self::read_out::ReadOut;
#[cfg(test)]
pub(crate) use self::resolve::tests::server::NameServer;
pub(crate) use self::resolve::{NameFiles, Resolver};
pub(crate) use self::route::{Caller, Route, Trust};
pub(crate) use self::scope::{Reach, Scope};
pub(crate) use self::tcp::permitted;
pub(crate) use self::tls::Alpn;
#[cfg(test)]
pub(crate) use self::transport::Socket;
pub(crate) use self::transport::Transport;
use crate::allow_to::AllowTo;
use crate::descriptors::Descriptor;
use crate::onward::{Failure, FailureKind};
use crate::ways_out::WaysOut;

/// Opens transports.
#[derive(Debug)]
pub(crate) struct Connector {
    tcp: tcp::TcpConnector,
    tls: tls::Tls,
    /// From the first packet of a connection to the end of its TLS handshake.
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(
        limit: Duration,
        resolver: Resolver,
        allow_to: Vec<AllowTo>,
        ways_out: WaysOut,
    ) -> Self {
        let tcp = tcp::TcpConnector::new(resolver, allow_to, ways_out);
        Self { tcp, tls: tls::Tls::new(), limit }
    }

    /// A fresh transport to a peer, encrypted if the route asks for it.
    pub(crate) async fn connect(
        &self,
        descriptor: Descriptor,
        route: &Route,
        caller: &Caller,
        alpn: Alpn,
        perf: &mut Perf,
    ) -> Result<Transport, Failure> {
        if let Some(presented @ Presented { cert: None, .. }) = &route.client_cert {
            let why = format!("TLS with {route}: the policy wants {presented}");
            return Err(Failure::new(FailureKind::Local, why));
        }
        let limit = self.limit;
        let connecting = async {
            let socket = self.tcp.connect(descriptor, route, caller, perf).await?;
            let Some(trust) = &route.tls else { return Ok(Transport::Clear(socket)) };
            let start = Instant::now();
            let transport = self.tls.handshake(socket, route, trust, alpn).await;
            perf.tls = start.elapsed();
            transport
        };
        match timeout(limit, connecting).await {
            Ok(result) => result,
            Err(_) if perf.dns_is_silent() => {
                perf.dns_missed(limit, Dns::Unreachable);
                let seconds = limit.as_secs_f32();
                Err(Failure::new(
                    FailureKind::NoDns,
                    format!("cannot resolve the name of {route}: no answer within {seconds} s"),
                ))
            }
            Err(_) => {
                let seconds = limit.as_secs_f32();
                Err(Failure::new(
                    FailureKind::Connect,
                    format!("cannot connect to {route}: nothing within {seconds} s"),
                ))
            }
        }
    }
}
