//! TLS on `tcp:` addresses: from an accepted connection to a session.
//!
//! A client is a stranger until its handshake is over. So many of those as [`Limits`](crate::Limits)
//! say may be in one at a time, in all and of one host, and each has a bounded time for it. None of
//! them takes the place of a session.

mod certificate;
mod handshakes;
mod link;
mod setup;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{CertificateError, Error};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{Instrument as _, debug, warn};

pub(crate) use self::certificate::Certificate;
pub(super) use self::handshakes::Handshakes;
use self::link::{Socket, split};
pub(super) use self::setup::load;
use super::shared::Shared;
use super::tcp;
use crate::identity::Identity;
use crate::onward::connect::in_words;
use crate::session::Peer;

/// What a client's TLS may hold back of what was written to it, in bytes.
const BUFFER: usize = 16 * 1024;

/// One address where the proxy listens with TLS.
pub(super) struct Listener {
    pub(super) acceptor: TlsAcceptor,
    /// A number that no other one has.
    pub(super) number: u64,
    /// What logs call the address.
    pub(super) name: Arc<str>,
}

impl Listener {
    /// Serves a connection once its handshake is over, in a task of the caller's runtime.
    pub(super) fn serve(self: &Arc<Self>, shared: &Arc<Shared>, link: TcpStream, peer: SocketAddr) {
        let host = Identity::of_address(peer.ip());
        let Some(place) = shared.admit_handshake(&host) else {
            let kind = "handshake_turned_away";
            warn!(client = %host, kind, "turned away: too many TLS handshakes at a time");
            return;
        };
        if let Err(error) = tcp::set_up(&link, shared.config.timeouts.client_gone) {
            debug!(%error, "cannot set the options of a TCP socket");
        }
        let (listener, stopping) = (Arc::clone(self), shared.stopping.clone());
        let (tracker, shared) = (shared.sessions.clone(), Arc::clone(shared));
        let task = async move {
            let handshake = listener.handshake(&shared, link);
            match stopping.run_until_cancelled(handshake).await {
                Some(Ok(stream)) => listener.welcome(&shared, stream, peer),
                Some(Err(why)) => {
                    let kind = "handshake_failed";
                    warn!(client = %host, kind, "TLS with a client at {peer} failed: {why}");
                }
                None => {}
            }
            drop(place);
        };
        tracker.spawn(task.in_current_span());
    }

    fn handshake<'s>(
        &'s self,
        shared: &'s Shared,
        link: TcpStream,
    ) -> impl Future<Output = Result<TlsStream<Socket>, String>> + 's {
        let limit = shared.config.timeouts.handshake;
        async move {
            match timeout(limit, self.acceptor.accept(Socket::Here(link))).await {
                Ok(done) => done.map_err(|error| explain(&error)),
                Err(_) => Err(format!("its handshake was not over after {limit:?}")),
            }
        }
    }

    /// A session for a client whose handshake is over.
    fn welcome(&self, shared: &Arc<Shared>, mut stream: TlsStream<Socket>, address: SocketAddr) {
        let (_, connection) = stream.get_mut();
        connection.set_buffer_limit(Some(BUFFER));
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let peer = match shown.map(|der| Arc::new(Certificate::of(der))) {
            Some(certificate) => {
                let (listener, at) = (self.number, Arc::clone(&self.name));
                let id = certificate.id().into();
                let client = Identity::Device { listener, address: at, id };
                Peer::Certified { address, client, certificate }
            }
            None => Peer::Address(address),
        };
        let Some(open) = shared.admit(peer) else { return };
        let gone = shared.config.timeouts.client_gone;
        if open.is_here() {
            let (reader, writer) = split(stream, gone);
            open.serve(reader, writer);
            return;
        }
        match stream.get_mut().0.park() {
            Ok(()) => open.serve_on_shard(move || {
                stream.get_mut().0.unpark()?;
                Ok(split(stream, gone))
            }),
            Err(error) => warn!(%error, "cannot move a client to another thread"),
        }
    }
}

/// Why a client's handshake failed.
fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(tls) = inner else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed during the handshake".to_owned(),
            _ => error.to_string(),
        };
    };
    match tls {
        Error::NoCertificatesPresented => {
            "it has no certificate, and the address asks for one (client_ca=)".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate was not issued by one of the file client_ca=".to_owned()
        }
        Error::InvalidCertificate(CertificateError::InvalidPurpose) => {
            "the certificate is not for TLS clients: its extended key usage lacks clientAuth"
                .to_owned()
        }
        Error::InvalidCertificate(error) => in_words(error),
        Error::InvalidMessage(_) => format!("it does not speak TLS ({tls})"),
        Error::AlertReceived(alert) => {
            format!("it refused: {alert:?}; does it trust the proxy's certificate?")
        }
        other => other.to_string(),
    }
}
