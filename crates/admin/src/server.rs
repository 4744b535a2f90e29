//! The server: who may look, and how many at a time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use sspc_proxy::{Accepted, AdminAddress, Handle, ListenAddress, ListenError, Listener, Observed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::answer::{Answer, failed};
use crate::routes;
use crate::stall::Stall;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 32;
/// Of these, such as follow what happens.
const FOLLOWERS_MAX: usize = 16;
/// Peers at a time that get the answer that they may not look.
const STRANGERS_MAX: usize = 4;
/// How long a request's head may take, and a connection may be without one.
const HEAD: Duration = Duration::from_secs(10);
/// The longest head, and how much of an answer is gathered for a reader.
const BUFFER_MAX: usize = 16 * 1024;
/// How long a reader may take nothing of an answer.
const STALL: Duration = Duration::from_secs(30);
/// How long a stranger may take to hear that it is one.
const STRANGER: Duration = Duration::from_secs(2);
/// The pause after an accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Warnings of a policy that are shown, and the longest one in bytes.
const WARNINGS_MAX: usize = 50;
const WARNING_MAX: usize = 500;

/// The admin side cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The proxy shows nothing: it was made without [`Config::observe`](sspc_proxy::Config::observe).
    #[error("the proxy is not observed, so there is nothing to show; set Config::observe")]
    NotObserved,
    /// The address cannot be listened at.
    #[error("no admin side: {0}")]
    Listen(#[from] ListenError),
}

/// What is known of the policy beside what the proxy uses of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PolicyView {
    /// Where it comes from.
    pub source: String,
    /// When it was loaded, in milliseconds since 1970.
    pub loaded_at: u64,
    /// How many streamtypes it has.
    pub streamtypes: usize,
    /// What is odd about it: the first 50 warnings, each of at most 500 bytes.
    pub warnings: Vec<String>,
    /// How many warnings there are.
    pub warnings_total: usize,
    /// Why the last attempt to replace it failed, if it did.
    pub last_error: Option<String>,
}

/// Lets a program say what it knows of its policy.
#[derive(Clone, Debug, Default)]
pub struct PolicyWatch(Arc<Mutex<PolicyView>>);

impl PolicyWatch {
    /// A policy was loaded from `source`.
    pub fn loaded(&self, source: &str, warnings: impl IntoIterator<Item = String>) {
        let mut all: Vec<_> = warnings.into_iter().collect();
        let warnings_total = all.len();
        all.truncate(WARNINGS_MAX);
        all.iter_mut().for_each(shorten);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let loaded_at = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        self.change(|view| {
            *view = PolicyView {
                source: source.to_owned(),
                loaded_at,
                streamtypes: 0,
                warnings: all,
                warnings_total,
                last_error: None,
            };
        });
    }

    /// Another policy was to replace it and cannot.
    pub fn failed(&self, why: &str) {
        let mut why = why.to_owned();
        shorten(&mut why);
        self.change(|view| view.last_error = Some(why));
    }

    fn change(&self, change: impl FnOnce(&mut PolicyView)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(WARNING_MAX));
}

/// What the answers come from.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) handle: Handle,
    pub(crate) observed: Observed,
    policy: PolicyWatch,
    followers: Arc<Semaphore>,
}

impl Side {
    pub(crate) fn policy(&self) -> PolicyView {
        let view = self.policy.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        PolicyView { streamtypes: self.handle.policy().streamtypes.len(), ..view }
    }

    /// A place to follow what happens.
    pub(crate) fn follow(&self) -> Result<OwnedSemaphorePermit, Box<Answer>> {
        Arc::clone(&self.followers).try_acquire_owned().map_err(|_| {
            Box::new(failed(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many follow this proxy already",
                &format!("at most {FOLLOWERS_MAX} may follow what happens at a time"),
                "close a page that nobody looks at, and try again",
            ))
        })
    }
}

/// Shows what a proxy does.
///
/// ```
/// use sspc_admin::Admin;
/// use sspc_policy::Policy;
/// use sspc_proxy::{Config, Proxy};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut config = Config::new(Policy::builtin());
/// config.observe = true;
/// let proxy = Proxy::new(config)?;
/// let admin = Admin::bind(&"http:127.0.0.1:0".parse()?, proxy.handle())?;
/// println!("see {}", admin.address());
/// tokio::spawn(admin.serve());
/// proxy.run(async { /* until a signal comes */ }).await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Admin {
    listener: Listener,
    address: AdminAddress,
    side: Arc<Side>,
}

impl Admin {
    /// Listens there, at once. A Unix socket gets mode 0600, and serves root and this process's own user.
    ///
    /// # Errors
    /// See [`AdminError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn bind(address: &AdminAddress, proxy: Handle) -> Result<Self, AdminError> {
        let observed = proxy.observed().ok_or(AdminError::NotObserved)?;
        let listener = Listener::bind(&listen_address(address))?;
        let mut address = address.clone();
        if let (AdminAddress::Http(at), ListenAddress::Tcp { port, .. }) =
            (&mut address, listener.address())
        {
            at.set_port(*port);
        }
        let side = Side {
            handle: proxy,
            observed,
            policy: PolicyWatch::default(),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
        };
        Ok(Self { listener, address, side: Arc::new(side) })
    }

    /// The same, with what the program says of its policy.
    pub fn with_policy(mut self, policy: PolicyWatch) -> Self {
        if let Some(side) = Arc::get_mut(&mut self.side) {
            side.policy = policy;
        }
        self
    }

    /// Where it listens, with the port that was free if it asked for any.
    pub const fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// Serves for as long as it is polled.
    pub async fn serve(self) {
        let Self { listener, address, side } = self;
        let port = match &address {
            AdminAddress::Http(at) => Some(at.port()),
            AdminAddress::Abstract(_) | AdminAddress::Path(_) => None,
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        let mut connections = JoinSet::new();
        loop {
            // Those that are one too many wait until another one goes.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = listener.accept().await;
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok(Accepted::Unix(socket)) if !may_look(&socket) => {
                    let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else { continue };
                    connections.spawn(async move {
                        let _place = place;
                        let _ = timeout(STRANGER, serve(socket, |_| refusal())).await;
                    });
                }
                Ok(accepted) => {
                    let side = Arc::clone(&side);
                    connections.spawn(async move {
                        let _place = place;
                        let answer =
                            |request: &Request<Incoming>| routes::answer(&side, port, request);
                        match accepted {
                            Accepted::Unix(socket) => serve(socket, answer).await,
                            Accepted::Tcp(socket) => serve(socket, answer).await,
                            _ => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "the admin side cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve<S>(socket: S, answer: impl Fn(&Request<Incoming>) -> Answer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(Stall::new(socket, STALL)), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin side ended");
    }
}

/// What a peer hears that may not look.
fn refusal() -> Answer {
    let own = rustix::process::geteuid().as_raw();
    failed(
        StatusCode::FORBIDDEN,
        "you may not look",
        &format!("only root and the proxy's own user, {own}, may"),
        &format!("look as one of them, for instance with sudo -u '#{own}'"),
    )
}

fn listen_address(address: &AdminAddress) -> ListenAddress {
    match address {
        AdminAddress::Abstract(name) => ListenAddress::Abstract { name: name.clone() },
        AdminAddress::Path(path) => {
            ListenAddress::Path { path: path.clone(), mode: Some(0o600), owner: None }
        }
        AdminAddress::Http(at) => {
            ListenAddress::Tcp { host: at.ip().to_string(), port: at.port(), tls_off: false }
        }
    }
}

/// Whether the process at the other end is root's or of this process's user.
fn may_look(socket: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    socket.peer_cred().is_ok_and(|peer| is_allowed(peer.uid(), own))
}

const fn is_allowed(user: u32, own: u32) -> bool {
    user == 0 || user == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_user_may_look() {
        assert!(is_allowed(0, 1000) && is_allowed(1000, 1000) && is_allowed(0, 0));
        assert!(!is_allowed(1001, 1000) && !is_allowed(1000, 0));
    }
}
