//! The proxy as a whole: it listens, serves, drains.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sspc_policy::Policy;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, info, info_span, warn};

use crate::address::ListenAddress;
use crate::config::Config;
use crate::counters::{Counters, Counts};
use crate::line::{self, LineLog};
use crate::listen::{self, Bound, ListenError, Socket};
use crate::onward::{self, Onward, OnwardConfig};
use crate::session::{self, Surroundings};

/// A Secure Streams proxy.
///
/// Give it addresses with [`Proxy::listen`], or sockets of your own with [`Proxy::adopt_unix`] and
/// [`Proxy::adopt_tcp`], keep a [`Handle`], then [`Proxy::run`] it.
///
/// ```
/// use sspc_policy::Policy;
/// use sspc_proxy::{Config, Proxy};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut proxy = Proxy::new(Config::new(Policy::builtin()))?;
/// let address = proxy.listen(&"tcp:127.0.0.1:0".parse()?)?;
/// println!("ready at {address}");
/// proxy.run(async { /* until a signal comes */ }).await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listeners: Vec<Bound>,
}

/// A hold on a running [`Proxy`], usable from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    config: Config,
    policy: Mutex<Arc<Policy>>,
    onward: Arc<Onward>,
    pub(crate) counts: Arc<Counts>,
    peers: Mutex<HashMap<Peer, usize>>,
    next_id: AtomicU64,
    pub(crate) sessions: TaskTracker,
    /// Lines, which outlive their sessions by what is still to be sent.
    pub(crate) lines: TaskTracker,
    /// Nothing more is accepted.
    pub(crate) stopping: CancellationToken,
    /// No new transactions; idle streams end.
    draining: CancellationToken,
    /// Every stream ends now.
    closing: CancellationToken,
}

/// A proxy cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set the proxy up: {0}")]
pub struct SetupError(String);

/// Whom a limit is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    Process(i32),
    Address(IpAddr),
    /// A line or a link that is no socket, by its number.
    Line(u64),
    Unknown,
}

impl Proxy {
    /// A proxy that listens nowhere yet.
    ///
    /// # Errors
    /// The configuration holds what TLS cannot use.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        let onward = Onward::new(onward_config(&config));
        Ok(Self {
            shared: Arc::new(Shared {
                policy: Mutex::new(Arc::clone(&config.policy)),
                onward,
                config,
                counts: Arc::default(),
                peers: Mutex::default(),
                next_id: AtomicU64::new(1),
                sessions: TaskTracker::new(),
                lines: TaskTracker::new(),
                stopping: CancellationToken::new(),
                draining: CancellationToken::new(),
                closing: CancellationToken::new(),
            }),
            listeners: Vec::new(),
        })
    }

    /// Binds an address, at once, and returns it with the port that was free if it asked for any.
    ///
    /// A socket file that a dead process left is replaced. The file is removed when the proxy ends.
    /// A serial port must be there now; later it may vanish and come back.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(&mut self, address: &ListenAddress) -> Result<ListenAddress, ListenError> {
        let limits = &self.shared.config.limits;
        let channel_buffer = usize::try_from(limits.channel_buffer).unwrap_or(usize::MAX);
        let mut log = LineLog::new(line::name(address), Arc::clone(&self.shared.counts));
        let bound = listen::bind(address, channel_buffer, move |event| log.note(&event))?;
        Ok(self.keep(bound))
    }

    /// Takes over a Unix socket that listens already, for instance one that systemd passed on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn adopt_unix(&mut self, socket: UnixListener) -> Result<ListenAddress, ListenError> {
        let address = listen::unix_address(&socket);
        let bound = listen::adopt_unix(socket, address, None)?;
        Ok(self.keep(bound))
    }

    /// Takes over a TCP socket that listens already, for instance one that systemd passed on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn adopt_tcp(&mut self, socket: TcpListener) -> Result<ListenAddress, ListenError> {
        let bound = listen::adopt_tcp(socket)?;
        Ok(self.keep(bound))
    }

    fn keep(&mut self, bound: Bound) -> ListenAddress {
        let address = bound.address.clone();
        self.listeners.push(bound);
        address
    }

    /// Where the proxy listens.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listeners.iter().map(|bound| &bound.address)
    }

    /// A hold on this proxy.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Serves until `shutdown` is ready, then stops to listen, lets running transactions finish
    /// for [`Timeouts::drain`](crate::Timeouts::drain), and ends what remains: its clients see
    /// DISCONNECTED if they were connected, then DESTROYING.
    ///
    /// To be called in a tokio runtime with I/O and time enabled.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { shared, listeners } = self;
        let accepting = TaskTracker::new();
        for bound in listeners {
            let address = bound.address.clone();
            let serve = accept_all(Arc::clone(&shared), bound);
            accepting.spawn(serve.instrument(info_span!("listener", %address)));
        }
        accepting.close();
        shutdown.await;

        shared.stopping.cancel();
        accepting.wait().await;
        shared.draining.cancel();
        shared.sessions.close();
        let drained = pin!(shared.sessions.wait());
        if tokio::time::timeout(shared.config.timeouts.drain, drained).await.is_err() {
            info!(sessions = shared.sessions.len(), "time to drain is over, ending the rest");
            shared.closing.cancel();
            shared.sessions.wait().await;
        }
        // What the last sessions wrote is still to be sent.
        shared.lines.close();
        let _ = tokio::time::timeout(shared.config.timeouts.flush, shared.lines.wait()).await;
    }
}

impl Handle {
    /// Replaces the policy: new streams use it, those that exist keep theirs.
    pub fn reload(&self, policy: impl Into<Arc<Policy>>) {
        *lock(&self.shared.policy) = policy.into();
    }

    /// The policy that new streams use.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&lock(&self.shared.policy))
    }

    /// What the proxy has done so far.
    pub fn counters(&self) -> Counters {
        self.shared.counts.snapshot()
    }
}

fn onward_config(config: &Config) -> OnwardConfig {
    let Config { limits, timeouts, blobs, .. } = config;
    OnwardConfig {
        connect_timeout: timeouts.connect,
        response_timeout: timeouts.response,
        body_idle_timeout: timeouts.body_idle,
        keep_warm: timeouts.keep_warm,
        h2_streams_max: limits.h2_streams,
        h2_stream_window: limits.h2_stream_window,
        blobs: onward::Blobs {
            auth: blobs.auth.clone(),
            dsn: blobs.serial_number.clone(),
            fwv: blobs.firmware_version.clone(),
            devtype: blobs.device_type.clone(),
        },
    }
}

/// A lock whose holder panicked guards plain data: it is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pause after an accept failed for want of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn accept_all(shared: Arc<Shared>, bound: Bound) {
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
                let peer = link.peer_cred().ok();
                let pid = peer.and_then(|peer| peer.pid());
                let key = pid.map_or(Peer::Unknown, Peer::Process);
                let Some(open) = shared.admit(key) else { continue };
                let span = info_span!(
                    "session",
                    id = open.id,
                    pid,
                    uid = peer.map(|peer| peer.uid()),
                    streamtype = tracing::field::Empty,
                );
                let (reader, writer) = link.into_split();
                shared.spawn(open, reader, writer, span);
            }
            Err(error) => shared.accept_failed(&error).await,
        }
    }
}

async fn accept_tcp(shared: &Arc<Shared>, socket: tokio::net::TcpListener) -> io::Error {
    loop {
        match socket.accept().await {
            Ok((link, peer)) => {
                let Some(open) = shared.admit(Peer::Address(peer.ip())) else { continue };
                // Frames are small and each matters: waiting to fill a packet only delays them.
                if let Err(error) = link.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let span =
                    info_span!("session", id = open.id, %peer, streamtype = tracing::field::Empty);
                let (reader, writer) = link.into_split();
                shared.spawn(open, reader, writer, span);
            }
            Err(error) => shared.accept_failed(&error).await,
        }
    }
}

/// A session's place among the counted ones; given back when dropped.
pub(crate) struct Admission {
    pub(crate) id: u64,
    peer: Peer,
    /// Held for its drop: the line of the session waits for it.
    pub(crate) line: Option<TaskTrackerToken>,
    shared: Arc<Shared>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.counts.sessions_open.take(1);
        if let Entry::Occupied(mut entry) = lock(&self.shared.peers).entry(self.peer) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Shared {
    /// A place for a session of `peer`, unless a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer) -> Option<Admission> {
        let limits = &self.config.limits;
        let mut peers = lock(&self.peers);
        let all: usize = peers.values().sum();
        let own = peers.get(&peer).copied().unwrap_or(0);
        if all >= limits.sessions || own >= limits.sessions_per_peer {
            drop(peers);
            self.counts.over_limit.add(1);
            if all >= limits.sessions {
                warn!(?peer, limit = limits.sessions, "turned away: too many sessions");
            } else {
                let limit = limits.sessions_per_peer;
                warn!(?peer, limit, "turned away: too many sessions of this peer");
            }
            return None;
        }
        peers.insert(peer, own + 1);
        self.counts.sessions_open.add(1);
        self.counts.sessions_total.add(1);
        Some(Admission { id: self.next_id(), peer, line: None, shared: Arc::clone(self) })
    }

    /// A number that no session or line had.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Serves one link, in a task.
    pub(crate) fn spawn<R, W>(
        &self,
        open: Admission,
        reader: R,
        writer: W,
        span: tracing::Span,
    ) -> JoinHandle<()>
    where
        R: session::LinkReader,
        W: session::LinkWriter,
    {
        let surroundings = Surroundings {
            policy: Arc::clone(&lock(&self.policy)),
            dialer: Arc::clone(&self.onward),
            counts: Arc::clone(&self.counts),
            limits: self.config.limits.clone(),
            timeouts: self.config.timeouts.clone(),
            draining: self.draining.clone(),
            closing: self.closing.clone(),
        };
        let task = async move {
            session::run(surroundings, reader, writer).await;
            drop(open);
        };
        self.sessions.spawn(task.instrument(span))
    }

    /// Says so and waits a little: without descriptors or memory the next accept would fail too.
    async fn accept_failed(&self, error: &io::Error) {
        self.counts.accept_errors.add(1);
        warn!(%error, "accept failed");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
