//! From listening sockets and lines to sessions.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::warn;

use sspc_address::ListenAddress;

use super::bind::{Bound, Socket};
use super::line;
use super::network;
use super::shared::Shared;
use super::tcp::{self, TcpReader};
use super::tls;
use crate::descriptors::REMEDY;
use crate::session::Peer;

/// The pause after an accept failed for want of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn accept_all(shared: Arc<Shared>, bound: Bound) {
    let stop = &shared.stopping;
    let Bound { socket, file: _file, address } = bound;
    let result = match socket {
        Socket::Unix(socket) => match UnixListener::from_std(socket) {
            Ok(socket) => {
                let is_abstract = matches!(address, ListenAddress::Abstract { .. });
                stop.run_until_cancelled(accept_unix(&shared, socket, is_abstract)).await
            }
            Err(error) => Some(error),
        },
        Socket::Tcp(socket) => match TcpListener::from_std(socket) {
            Ok(socket) => stop.run_until_cancelled(accept_tcp(&shared, socket)).await,
            Err(error) => Some(error),
        },
        Socket::Tls(socket, config) => match TcpListener::from_std(socket) {
            Ok(socket) => {
                let (number, name) = (shared.next_id(), line::name(&address).into());
                let listener = Arc::new(tls::Listener { acceptor: config.into(), number, name });
                stop.run_until_cancelled(accept_tls(&shared, socket, &listener)).await
            }
            Err(error) => Some(error),
        },
        Socket::Line(line) => {
            line::accept_port(&shared, line, &line::name(&address)).await;
            None
        }
        Socket::Network(socket) => {
            network::accept(&shared, socket, line::name(&address)).await.err()
        }
    };
    if let Some(error) = result {
        tracing::error!(%error, "cannot listen any more");
    }
}

async fn accept_unix(shared: &Arc<Shared>, socket: UnixListener, is_abstract: bool) -> io::Error {
    let mut spare = Spare::new();
    loop {
        match socket.accept().await {
            Ok((link, _)) => {
                let peer = match link.peer_cred() {
                    Ok(peer) => {
                        let (pid, uid, gid) = (peer.pid(), peer.uid(), peer.gid());
                        Peer::Process { pid, uid, gid, is_abstract }
                    }
                    Err(_) => Peer::Unknown,
                };
                let Some(open) = shared.admit(peer) else { continue };
                if open.is_here() {
                    let (reader, writer) = link.into_split();
                    open.serve(reader, writer);
                } else if let Ok(link) = link.into_std() {
                    open.serve_on_shard(move || Ok(UnixStream::from_std(link)?.into_split()));
                }
            }
            Err(error) => {
                let is_away = spare.turn_away(&error, || drop(socket.accept().now_or_never()));
                shared.accept_failed(&error, is_away).await;
            }
        }
    }
}

async fn accept_tcp(shared: &Arc<Shared>, socket: TcpListener) -> io::Error {
    let mut spare = Spare::new();
    loop {
        match socket.accept().await {
            Ok((link, peer)) => {
                let Some(open) = shared.admit(Peer::Address(peer)) else { continue };
                let gone = shared.config.timeouts.client_gone;
                if let Err(error) = tcp::set_up(&link, gone) {
                    tracing::debug!(%error, "cannot set the options of a TCP socket");
                }
                let halves = move |link: TcpStream| {
                    let (reader, writer) = link.into_split();
                    (TcpReader::new(reader, gone), writer)
                };
                if open.is_here() {
                    let (reader, writer) = halves(link);
                    open.serve(reader, writer);
                } else if let Ok(link) = link.into_std() {
                    open.serve_on_shard(move || Ok(halves(TcpStream::from_std(link)?)));
                }
            }
            Err(error) => {
                let is_away = spare.turn_away(&error, || drop(socket.accept().now_or_never()));
                shared.accept_failed(&error, is_away).await;
            }
        }
    }
}

async fn accept_tls(
    shared: &Arc<Shared>,
    socket: TcpListener,
    listener: &Arc<tls::Listener>,
) -> io::Error {
    let mut spare = Spare::new();
    loop {
        match socket.accept().await {
            Ok((link, peer)) => listener.serve(shared, link, peer),
            Err(error) => {
                let is_away = spare.turn_away(&error, || drop(socket.accept().now_or_never()));
                shared.accept_failed(&error, is_away).await;
            }
        }
    }
}

/// A descriptor that is given up when there is no other, to accept a client and close its link: it
/// then knows at once, and does not wait for an answer.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Uses it if the error says that there is no other; whether it did.
    fn turn_away(&mut self, error: &io::Error, accept_and_close: impl FnOnce()) -> bool {
        let is_used = is_out_of_descriptors(error) && self.0.take().is_some();
        if is_used {
            accept_and_close();
        }
        if self.0.is_none() {
            *self = Self::new();
        }
        is_used
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EMFILE | Errno::ENFILE))
}

impl Shared {
    /// Says so and, unless the client is turned away, waits a little: without descriptors or memory
    /// the next accept would fail too.
    async fn accept_failed(&self, error: &io::Error, is_away: bool) {
        self.counts.accept_errors.add(1);
        if is_out_of_descriptors(error) {
            let limit = self.descriptors().budget().limit;
            warn!(%error, "accept failed: the process may open {limit} descriptors; {REMEDY}");
        } else {
            warn!(%error, "accept failed");
        }
        if is_away {
            // Others have their turn.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}
