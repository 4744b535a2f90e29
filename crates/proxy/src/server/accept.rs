//! From listening sockets and lines to sessions.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::bind::{Bound, Socket};
use super::line;
use super::shared::Shared;
use crate::session::Peer;

/// The pause after an accept failed for want of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn accept_all(shared: Arc<Shared>, bound: Bound) {
    let stop = &shared.stopping;
    let Bound { socket, file: _file, address } = bound;
    let result = match socket {
        Socket::Unix(socket) => match tokio::net::UnixListener::from_std(socket) {
            Ok(socket) => stop.run_until_cancelled(accept_unix(&shared, socket)).await,
            Err(error) => Some(error),
        },
        Socket::Tcp(socket) => match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => stop.run_until_cancelled(accept_tcp(&shared, socket)).await,
            Err(error) => Some(error),
        },
        Socket::Line(line) => {
            line::accept_port(&shared, line, &line::name(&address)).await;
            None
        }
    };
    if let Some(error) = result {
        tracing::error!(%error, "cannot listen any more");
    }
}

async fn accept_unix(shared: &Arc<Shared>, socket: tokio::net::UnixListener) -> io::Error {
    loop {
        match socket.accept().await {
            Ok((link, _)) => {
                let peer = match link.peer_cred() {
                    Ok(peer) => Peer::Process { pid: peer.pid(), uid: peer.uid() },
                    Err(_) => Peer::Unknown,
                };
                let Some(open) = shared.admit(peer) else { continue };
                let (reader, writer) = link.into_split();
                open.serve(reader, writer);
            }
            Err(error) => shared.accept_failed(&error).await,
        }
    }
}

async fn accept_tcp(shared: &Arc<Shared>, socket: tokio::net::TcpListener) -> io::Error {
    loop {
        match socket.accept().await {
            Ok((link, peer)) => {
                let Some(open) = shared.admit(Peer::Address(peer)) else { continue };
                // Frames are small and each matters: waiting to fill a packet only delays them.
                if let Err(error) = link.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let (reader, writer) = link.into_split();
                open.serve(reader, writer);
            }
            Err(error) => shared.accept_failed(&error).await,
        }
    }
}

impl Shared {
    /// Says so and waits a little: without descriptors or memory the next accept would fail too.
    async fn accept_failed(&self, error: &io::Error) {
        self.counts.accept_errors.add(1);
        warn!(%error, "accept failed");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
