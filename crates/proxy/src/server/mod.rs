//! The proxy as a whole: it listens, serves, drains.

mod accept;
mod admission;
mod bind;
mod line;
mod listener;
mod network;
mod shards;
mod shared;
mod tcp;
pub(crate) mod tls;

use std::future::Future;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sspc_policy::Policy;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, warn, warn_span};

pub use self::bind::ListenError;
use self::bind::{Bound, Socket};
pub use self::listener::{Accepted, Listener};
use self::shards::Shards;
pub(crate) use self::shared::Shared;
pub(crate) use self::shared::lock;
use crate::access::AccessRules;
use crate::config::{Config, DeviceCredentials};
use crate::counters::Counters;
use crate::onward::KeptCookies;
use crate::smd::Smd;
use sspc_address::ListenAddress;
use sspc_wire::smd::Classes;

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

/// A proxy cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set the proxy up: {0}")]
pub struct SetupError(String);

impl Proxy {
    /// A proxy that listens nowhere yet.
    ///
    /// # Errors
    /// The configuration names what the policy does not have, or the system gives no more threads.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        let bridge = config.smd_bridge.as_ref();
        if let Some(missing) = bridge.and_then(|bridge| bridge.missing(&config.policy)) {
            return Err(SetupError(missing));
        }
        let shards = Shards::start(config.threads)
            .map_err(|error| SetupError(format!("cannot start threads: {error}")))?;
        Ok(Self { shared: Arc::new(Shared::new(config, shards)), listeners: Vec::new() })
    }

    /// Binds an address, at once, and returns it with the port that was free if it asked for any.
    ///
    /// A socket file that a dead process left is replaced. The file is removed when the proxy ends.
    /// A serial port must be there now; later it may vanish and come back. The files of TLS are read now.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(&mut self, address: &ListenAddress) -> Result<ListenAddress, ListenError> {
        let mut log = self.shared.line_log(line::name(address));
        let watch = log.watch();
        let limits = &self.shared.config.limits;
        let bound = bind::bind(address, limits, move |event| log.note(&event))?;
        if let (Some(watch), Socket::Line(line)) = (watch, &bound.socket) {
            watch.monitor(line.monitor());
        }
        Ok(self.keep(bound))
    }

    /// Takes over a Unix socket that listens already, for instance one that systemd passed on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn adopt_unix(&mut self, socket: UnixListener) -> Result<ListenAddress, ListenError> {
        let address = bind::unix_address(&socket);
        let bound = bind::adopt_unix(socket, address, None)?;
        Ok(self.keep(bound))
    }

    /// Takes over a TCP socket that listens already, for instance one that systemd passed on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn adopt_tcp(&mut self, socket: TcpListener) -> Result<ListenAddress, ListenError> {
        let bound = bind::adopt_tcp(socket)?;
        Ok(self.keep(bound))
    }

    fn keep(&mut self, bound: Bound) -> ListenAddress {
        let address = bound.address.clone();
        if let ListenAddress::Tcp { host, .. } = &address
            && host.parse::<IpAddr>().is_ok_and(|ip| !ip.to_canonical().is_loopback())
        {
            warn!(
                "{address} has no TLS: everyone on the network may open streams, read what passes and \
                 change it"
            );
        }
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

    /// Serves until `shutdown` is ready, then stops to listen and closes the links of idle streams at
    /// once, as if the proxy had died, so that their clients find the next proxy. A WebSocket or a raw
    /// connection is left as soon as no message is under way on it; transactions may finish for
    /// [`Timeouts::drain`](crate::Timeouts::drain), then what remains is ended. Clients hear
    /// DISCONNECTED if they were connected; none hears DESTROYING.
    ///
    /// To be called in a tokio runtime with I/O and time enabled.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { shared, listeners } = self;
        shared.log_quota();
        shared.listens(listeners.iter().map(|bound| bound.address.to_string()).collect());
        let accepting = TaskTracker::new();
        for (turn, bound) in listeners.into_iter().enumerate() {
            let address = line::name(&bound.address);
            let serve = accept::accept_all(Arc::clone(&shared), bound);
            let serve = serve.instrument(warn_span!("listener", %address));
            shared.shards.spawn(shared.shards.by_turns(turn), &accepting, serve);
        }
        if shared.config.find_portals {
            let watching = crate::portal::watch(Arc::clone(&shared));
            accepting.spawn(shared.stopping.clone().run_until_cancelled_owned(watching));
        }
        if shared.bridge.is_some() {
            let (stopping, shared) = (shared.stopping.clone(), Arc::clone(&shared));
            accepting.spawn(stopping.run_until_cancelled_owned(async move {
                if let Some(bridge) = &shared.bridge {
                    bridge.run(&shared.smd).await;
                }
            }));
        }
        accepting.close();
        shared.smd.publish_state(r#"{"state":"OPERATIONAL"}"#);
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
        shared.shards.stop().await;
    }
}

impl Handle {
    /// Replaces the policy: new streams use it, those that exist keep theirs. Clients hear of it as a
    /// system message.
    pub fn reload(&self, policy: impl Into<Arc<Policy>>) {
        *lock(&self.shared.policy) = policy.into();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let text = format!(r#"{{"policy":"updated","ts":{now}}}"#);
        // So short a message is never refused.
        let _ = self.smd().publish(Classes::SYSTEM_STATE, text);
    }

    /// The bus for system messages among the proxy and its clients. The proxy may use it although
    /// clients may not.
    pub fn smd(&self) -> Smd {
        self.shared.smd.clone()
    }

    /// Replaces who may do what: streams that are created from now on are created by it, those that exist keep
    /// theirs.
    pub fn set_access(&self, access: AccessRules) {
        self.shared.gate.set_rules(access);
    }

    /// Replaces the device's credentials: each transaction that begins from now on uses these.
    pub fn set_credentials(&self, credentials: DeviceCredentials) {
        if let Some(bridge) = &self.shared.bridge {
            bridge.set_credentials(&credentials);
        }
        self.shared.onward.set_credentials(credentials);
    }

    /// What servers asked clients to send back and is to outlive the proxy, for [`Config::cookies`] of the
    /// next one. Also after [`Proxy::run`] has ended.
    pub fn cookies(&self) -> KeptCookies {
        self.shared.onward.cookies().kept()
    }

    /// Waits until [`Handle::cookies`] may give others than before; for one caller at a time.
    pub async fn cookies_changed(&self) {
        self.shared.onward.cookies().changed().await;
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
