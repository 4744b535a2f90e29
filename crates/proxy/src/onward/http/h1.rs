//! http/1.1: connections that carry one exchange at a time and are kept for the next one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::runtime;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::exchange::{Carrier, Download, Exchange, NoResponse, Pump, Retryability};
use super::head;
use super::upload::RequestBody;
use crate::onward::FailureKind;
use crate::onward::connect::{ReadOut, Route, Scope, Transport};
use crate::onward::fair::gives_way;

/// Most bytes of a response's headers.
const HEADERS_MAX: usize = head::RESPONSE_MAX as usize;
/// Most headers of a response. Bytes are what bounds them: so many fit only if they say nothing. With
/// much more the map that holds them would be full, and hyper panic.
const HEADERS_COUNT_MAX: usize = 16 * 1024;
/// Most idle connections to one peer.
const IDLE_MAX_PER_ROUTE: usize = 64;
/// Most idle connections of all clients together.
const IDLE_MAX: usize = 512;
/// A connection that was given back needs a moment until it is ready again.
const SETTLE_MAX: Duration = Duration::from_millis(100);

/// How http/1.1 is spoken, also to ask for a websocket.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        // Servers on small devices have been seen to compare header names by case.
        .title_case_headers(true)
        .max_buf_size(HEADERS_MAX)
        .max_header_size(HEADERS_MAX)
        .max_headers(HEADERS_COUNT_MAX);
    builder
}

/// A connection that is in use. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What it leads to: it can be used for nothing else.
    route: Route,
    peer: Scope,
    sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    /// Where the driver runs: what is used elsewhere has to wake another thread for all that passes.
    home: runtime::Id,
    /// Whether it was kept from an earlier exchange.
    reused: bool,
    /// The number by which observers know it.
    observed: Option<u64>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Speaks http/1.1 on a fresh transport.
    pub(crate) async fn open(transport: Transport, route: Route) -> Result<Self, String> {
        let (peer, observed) = (transport.peer(), transport.observed());
        let (sender, connection) = builder()
            .handshake(TokioIo::new(ReadOut::new(transport)))
            .await
            .map_err(|error| describe(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = describe(&error), "h1 connection");
            }
        });
        let (driver, home) = (driver.abort_handle(), runtime::Handle::current().id());
        Ok(Self { route, peer, sender, driver, home, reused: false, observed })
    }

    /// What the peer's address is.
    pub(crate) const fn peer(&self) -> Scope {
        self.peer
    }

    /// The number by which observers know it.
    pub(crate) const fn observed(&self) -> Option<u64> {
        self.observed
    }

    /// Waits until the exchange is over in both directions and all of it went out, or until the
    /// connection is gone.
    pub(crate) async fn idle_or_closed(&mut self) {
        // An error says that it is closed.
        let _ = self.sender.ready().await;
    }

    /// Sends a request.
    pub(crate) fn exchange(mut self, request: Request<RequestBody>) -> Exchange {
        let reused = self.reused;
        let response = self.sender.try_send_request(request);
        let response = async move {
            match response.await {
                // The peer gave up waiting for a request just as this one came: it answers none.
                Ok(response) if reused && response.status() == StatusCode::REQUEST_TIMEOUT => {
                    let kind = FailureKind::Closed;
                    let why = "the idle connection ended with 408".to_owned();
                    Err(NoResponse { kind, why, retryability: Retryability::Always })
                }
                Ok(response) => Ok(response.map(|body| Download::H1 { body, trailers: None })),
                Err(mut error) => {
                    let retryability = match error.take_message() {
                        Some(_) if reused => Retryability::Always,
                        None if reused && is_hangup(error.error()) => Retryability::IfIdempotent,
                        _ => Retryability::Never,
                    };
                    let kind = kind_of(error.error());
                    Err(NoResponse { kind, why: describe(error.error()), retryability })
                }
            }
        };
        Exchange {
            response: Box::pin(response),
            pump: Pump::none(),
            credit: None,
            carrier: Carrier::H1(self),
        }
    }
}

/// Whether the connection ended before the first byte of the response.
fn is_hangup(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || io
}

/// What went wrong with a connection.
pub(crate) fn kind_of(error: &hyper::Error) -> FailureKind {
    if error.is_parse() { FailureKind::Protocol } else { FailureKind::Closed }
}

/// hyper's error with its cause, which alone it does not tell.
pub(crate) fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Idle connections by what they can be used for.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Mutex<Shared>>,
    keep: Duration,
    /// See [`IDLE_MAX`].
    idle_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    idle: HashMap<Route, VecDeque<Idle>>,
    count: usize,
    /// Whether the task that ends old connections runs.
    reaping: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(keep: Duration) -> Self {
        Self { shared: Arc::default(), keep, idle_max: IDLE_MAX }
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        let mut shared = Self::lock(&self.shared);
        shared.count = 0;
        let idle = std::mem::take(&mut shared.idle);
        drop(shared);
        drop(idle);
    }

    fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept connection that looks alive, of this thread if there is one; the newest, since the others
    /// may be about to be closed.
    pub(crate) async fn take(&self, route: &Route) -> Option<Connection> {
        loop {
            let mut connection = Self::lock(&self.shared).pop(route)?;
            if connection.sender.is_closed() {
                continue;
            }
            let ready = connection.sender.is_ready()
                || matches!(timeout(SETTLE_MAX, connection.sender.ready()).await, Ok(Ok(())));
            if ready {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is complete in both directions.
    pub(crate) fn give(&self, connection: Connection) {
        if connection.sender.is_closed() || self.keep.is_zero() {
            return;
        }
        let mut shared = Self::lock(&self.shared);
        let queue = shared.idle.entry(connection.route.clone()).or_default();
        queue.push_back(Idle { connection, since: Instant::now() });
        if queue.len() > IDLE_MAX_PER_ROUTE {
            queue.pop_front();
        } else {
            shared.count += 1;
        }
        if shared.count > self.idle_max {
            shared.make_room();
        }
        if !std::mem::replace(&mut shared.reaping, true) {
            tokio::spawn(reap(Arc::downgrade(&self.shared), self.keep));
        }
    }
}

impl Shared {
    fn pop(&mut self, route: &Route) -> Option<Connection> {
        let queue = self.idle.get_mut(route)?;
        let here = runtime::Handle::current().id();
        let newest_here = queue.iter().rposition(|idle| idle.connection.home == here);
        let idle = queue.remove(newest_here.unwrap_or(queue.len().saturating_sub(1)));
        if queue.is_empty() {
            self.idle.remove(route);
        }
        self.count -= usize::from(idle.is_some());
        idle.map(|idle| idle.connection)
    }

    /// Ends one.
    fn make_room(&mut self) {
        let all = self.idle.iter().flat_map(|(route, queue)| {
            queue.iter().map(move |idle| (&route.client, idle.since, route))
        });
        let Some(route) = gives_way(all).cloned() else { return };
        let Some(queue) = self.idle.get_mut(&route) else { return };
        // The oldest of all of a client is the oldest of its route.
        self.count -= usize::from(queue.pop_front().is_some());
        if queue.is_empty() {
            self.idle.remove(&route);
        }
    }

    /// Ends what has been idle for `keep`; returns when the next one will have been.
    fn expire(&mut self, now: Instant, keep: Duration) -> Option<Instant> {
        let mut next = None::<Instant>;
        self.idle.retain(|_, queue| {
            while queue.front().is_some_and(|idle| now.duration_since(idle.since) >= keep) {
                queue.pop_front();
            }
            if let Some(at) = queue.front().and_then(|idle| idle.since.checked_add(keep)) {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            !queue.is_empty()
        });
        self.count = self.idle.values().map(VecDeque::len).sum();
        next
    }
}

/// Ends idle connections in time, until there are none.
async fn reap(shared: Weak<Mutex<Shared>>, keep: Duration) {
    sleep(keep).await;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let next = {
            let mut shared = Pool::lock(&shared);
            let next = shared.expire(Instant::now(), keep);
            shared.reaping = next.is_some();
            next
        };
        drop(shared);
        let Some(next) = next else { return };
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use sspc_policy::Address;
    use tokio::net::UnixStream;

    use super::*;
    use crate::descriptors::Descriptors;
    use crate::identity::Identity;
    use crate::onward::connect::Reach;
    use crate::onward::connect::Socket;

    /// Once the table took nothing more when it was full, so that one client could fill it.
    #[tokio::test]
    async fn a_client_that_fills_the_pool_takes_no_room_from_others() {
        let mut pool = Pool::new(Duration::from_secs(5));
        pool.idle_max = 4;
        let mut servers = Vec::new();
        let mut kept = async |uid, port| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            servers.push(theirs);
            let host = "localhost".to_owned();
            let client = Some(Identity::User(uid));
            let route = Route {
                client,
                address: Address::Tcp { host, port },
                tls: None,
                client_cert: None,
                reach: Reach::Policy,
                way_out: None,
            };
            let descriptor = Arc::new(Descriptors::default()).try_take(None).unwrap();
            let transport = Transport::Clear(Socket::Unix(ours, descriptor));
            pool.give(Connection::open(transport, route.clone()).await.unwrap());
            route
        };
        let stranger = kept(1, 80).await;
        let mut greedy = Vec::new();
        for port in 1..=9 {
            greedy.push(kept(2, port).await);
        }
        let late = kept(3, 80).await;
        for route in [&stranger, &late, &greedy[7], &greedy[8]] {
            assert!(pool.take(route).await.is_some(), "{route:?}");
        }
        for route in &greedy {
            assert!(pool.take(route).await.is_none(), "{route:?}");
        }
        assert_eq!(Pool::lock(&pool.shared).count, 0);
    }
}
