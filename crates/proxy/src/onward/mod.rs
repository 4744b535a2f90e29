//! Onward connections: what fulfils a stream at the remote peer.
//!
//! A session starts one [`Attempt`] at a time and gets back an [`AttemptHandle`]: a bounded queue of
//! [`Event`]s from the peer and a bounded queue of [`TxChunk`]s towards it. The attempt is a task
//! that knows its protocol and nothing of clients; the session knows clients and no protocol.
//! A full queue stops the side that fills it, so a slow client stops its own server and no other.
//! Dropping [`AttemptHandle`] ends the attempt and gives a shared connection back to the pool.

mod attempt;
pub(crate) mod connect;
pub(crate) mod cookies;
mod fair;
pub(crate) mod http;
mod mqtt;
pub(crate) mod own;
mod plan;
mod raw;
#[cfg(test)]
mod tests;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use sspc_policy::{Protocol, Target};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::Instrument as _;

use self::attempt::queue;
pub(crate) use self::attempt::queue::EventReceiver;
pub(crate) use self::attempt::queue::{EventSender, SessionGone};
pub(crate) use self::attempt::{
    Attempt, BusRights, End, Event, Failure, FailureKind, MessageSettings, PAYLOAD_EVENT_MAX,
    Takes, TxChunk, Whose,
};
pub(crate) use self::connect::NameFiles;
#[cfg(test)]
pub(crate) use self::connect::NameServer;
pub(crate) use self::connect::Perf;
use self::connect::{Alpn, Caller, Connector, Reach, Resolver, Route, Transport};
pub use self::connect::{ClientCert, ClientCertError};
#[cfg(feature = "http3")]
use self::connect::{QuicLink, QuicSettings};
use self::cookies::Cookies;
pub use self::cookies::KeptCookies;
use self::http::{h1, h2, h3};
pub(crate) use self::plan::Planned;
use crate::allow_to::AllowTo;
use crate::config::{Credentials, DeviceCredentials, Limits, Sharing, Timeouts};
use crate::descriptors::{Descriptor, Descriptors, REMEDY};
use crate::identity::Identity;
use crate::memory::Memory;
use crate::observe::{Connection, Observer};
use crate::smd::{self, Smd};
use crate::ways_out::WaysOut;

/// What holds for all onward connections of a proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct OnwardConfig {
    pub(crate) memory: Arc<Memory>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// What the policy's `http_*_header` keys put into requests.
    pub(crate) credentials: Credentials,
    pub(crate) sharing: Sharing,
    pub(crate) descriptors: Arc<Descriptors>,
    /// Where clients may lead streams to although it is not public.
    pub(crate) allow_to: Vec<AllowTo>,
    /// Through which servers connections go out.
    pub(crate) ways_out: WaysOut,
    /// Where the system says how names are looked up.
    pub(crate) names: NameFiles,
    /// The message bus, if clients may use it.
    pub(crate) smd: Option<Smd>,
    /// Who sees connections, if somebody does.
    pub(crate) observer: Option<Arc<Observer>>,
}

impl OnwardConfig {
    /// The way of an attempt to its target.
    fn route(&self, attempt: &Attempt, target: &Target) -> Route {
        let client = match self.sharing {
            Sharing::Client => Some(attempt.client.clone()),
            Sharing::Everyone => None,
        };
        let is_clients = target.host_from_client && !attempt.stream.allow_private;
        let reach = if is_clients { Reach::Client } else { Reach::Policy };
        let credentials = self.credentials.get();
        let stream = &attempt.stream;
        Route::new(client, target.address.clone(), target.tls, reach, stream, &credentials)
    }
}

/// All onward connections of a proxy; shared by its sessions.
#[derive(Debug)]
pub(crate) struct Onward {
    config: OnwardConfig,
    connector: Connector,
    cookies: Cookies,
    h1: h1::Pool,
    h2: h2::Pool,
    h3: h3::Pool,
    mqtt: mqtt::Pool,
    tokens: http::auth::oauth2::Tokens,
}

/// While a connection waits for a descriptor.
const CLOSE_IDLE_EVERY: Duration = Duration::from_millis(100);

/// What runs the attempts of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Http,
    Ws,
    Mqtt,
    Raw,
    Smd,
}

impl Runner {
    /// `None` if this proxy does not speak the protocol.
    fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::H1 | Protocol::H2 | Protocol::H3 => Some(Runner::Http),
            Protocol::Ws => Some(Runner::Ws),
            Protocol::Mqtt => Some(Runner::Mqtt),
            Protocol::Raw => Some(Runner::Raw),
            Protocol::Smd => Some(Runner::Smd),
            _ => None,
        }
    }
}

impl Onward {
    /// No connections yet.
    pub(crate) fn new(config: OnwardConfig) -> Arc<Self> {
        let (names, limits) = (config.names.clone(), config.limits.clone());
        let resolver = Resolver::new(names, limits, Arc::clone(&config.descriptors));
        Arc::new(Self {
            cookies: Cookies::new(&config.limits),
            h1: h1::Pool::new(config.timeouts.keep_warm),
            h2: h2::Pool::default(),
            h3: h3::Pool::default(),
            mqtt: mqtt::Pool::default(),
            tokens: http::auth::oauth2::Tokens::default(),
            connector: Connector::new(
                config.timeouts.connect,
                resolver,
                config.allow_to.clone(),
                config.ways_out.clone(),
            ),
            config,
        })
    }

    /// Connections that are made from now on use these.
    pub(crate) fn set_credentials(&self, credentials: DeviceCredentials) {
        self.config.credentials.set(credentials);
    }

    /// What servers asked to get back.
    pub(crate) fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// True if clients may use the message bus.
    pub(crate) fn has_smd(&self) -> bool {
        self.config.smd.is_some()
    }

    /// Where connections get theirs from.
    pub(crate) fn descriptors(&self) -> &Arc<Descriptors> {
        &self.config.descriptors
    }

    /// True if attempts of this protocol can do more than fail.
    pub(crate) fn supports(protocol: Protocol) -> bool {
        Runner::of(protocol).is_some()
    }

    /// Starts an attempt. Must be called within a tokio runtime.
    pub(crate) fn start(self: &Arc<Self>, attempt: Attempt) -> AttemptHandle {
        let buflen = self.config.limits.buffer_of(&attempt.stream);
        let account = Arc::clone(&attempt.account);
        let (output, events) = match Runner::of(attempt.stream.protocol) {
            // Messages wait on the bus.
            Some(Runner::Smd) => queue::queue_of(1, buflen, account),
            _ => queue::queue(buflen, account),
        };
        let (body, chunks) = mpsc::channel((buflen / CHUNK_USUAL).clamp(CHUNKS_MIN, CHUNKS_MAX));
        let onward = Arc::clone(self);
        let running = async move {
            let end = onward.run(&attempt, &output, chunks).await;
            // Nobody to tell is nothing to report.
            let _ = output.event(Event::Ended(end)).await;
        };
        // What it logs says whose it is.
        let task = tokio::spawn(running.in_current_span());
        AttemptHandle { events, body, task: task.abort_handle() }
    }

    /// A fresh transport to a peer, encrypted if the route asks for it.
    async fn connect(
        &self,
        route: &Route,
        caller: &Caller,
        alpn: Alpn,
        perf: &mut Perf,
    ) -> Result<Transport, Failure> {
        let descriptor = self.descriptor(route).await?;
        let mut transport = self.connector.connect(descriptor, route, caller, alpn, perf).await?;
        let protocol = match (alpn, transport.alpn()) {
            (Alpn::H2, None) => "h2",
            (_, Some(b"h2")) => "h2",
            (Alpn::AwsMqtt, _) => "mqtt",
            (Alpn::Raw, _) => "raw",
            _ => "h1",
        };
        if let Some(connection) = self.opened(route, protocol, perf) {
            transport.set_observed(connection);
        }
        Ok(transport)
    }

    /// What was opened for one protocol is used for another one, which observers see.
    fn speaks(&self, perf: &Perf, protocol: &'static str) {
        if let (Some(observer), Some(connection)) = (&self.config.observer, perf.connection) {
            observer.connections().speaks(connection, protocol);
        }
    }

    /// What observers see of a connection that was opened.
    fn opened(&self, route: &Route, protocol: &'static str, perf: &mut Perf) -> Option<Connection> {
        let all = self.config.observer.as_ref()?.connections();
        let client = route.client.as_ref().map(Identity::to_string);
        let (endpoint, address) = (route.to_string(), perf.peer.clone());
        let connection = all.opened(endpoint, address, route.tls.is_some(), protocol, client);
        perf.connection = Some(connection.id());
        Some(connection)
    }

    /// A fresh connection of QUIC.
    #[cfg(feature = "http3")]
    async fn connect_quic(
        &self,
        route: &Route,
        caller: &Caller,
        settings: QuicSettings,
        perf: &mut Perf,
    ) -> Result<QuicLink, Failure> {
        let descriptor = self.descriptor(route).await?;
        let connected =
            self.connector.connect_quic(descriptor, route, caller, settings, perf).await;
        let mut link = connected?;
        link.descriptor.connection = self.opened(route, "h3", perf);
        Ok(link)
    }

    /// A descriptor for a connection. If there is none, connections that nobody uses are closed.
    async fn descriptor(&self, route: &Route) -> Result<Descriptor, Failure> {
        let descriptors = &self.config.descriptors;
        let client = route.client.as_ref();
        if let Some(descriptor) = descriptors.try_take(client) {
            return Ok(descriptor);
        }
        let waiting = async {
            loop {
                self.h1.close_idle();
                self.h2.close_idle();
                self.h3.close_idle();
                // Meanwhile others may become idle.
                if let Ok(descriptor) = timeout(CLOSE_IDLE_EVERY, descriptors.take(client)).await {
                    return descriptor;
                }
            }
        };
        timeout(self.config.timeouts.connect, waiting).await.map_err(|_| {
            let limit = descriptors.budget().limit;
            let why = format!(
                "no descriptor is left to connect to {route}: the process may open {limit}; {REMEDY}"
            );
            Failure::new(FailureKind::Local, why)
        })
    }

    async fn run(
        self: &Arc<Self>,
        attempt: &Attempt,
        out: &EventSender,
        chunks: mpsc::Receiver<TxChunk>,
    ) -> End {
        let protocol = attempt.stream.protocol;
        match Runner::of(protocol) {
            Some(Runner::Http) => http::run(self, attempt, out, chunks).await,
            Some(Runner::Ws) => ws::run(self, attempt, out, chunks).await,
            Some(Runner::Mqtt) => mqtt::run(self, attempt, out, chunks).await,
            Some(Runner::Raw) => raw::run(self, attempt, out, chunks).await,
            Some(Runner::Smd) => match &self.config.smd {
                Some(bus) => smd::run(bus, attempt, out, chunks).await,
                None => {
                    let why = "this proxy distributes no system messages";
                    End::Failed(Failure::new(FailureKind::Policy, why))
                }
            },
            None => {
                let why = format!("this proxy does not speak {protocol}");
                End::Failed(Failure::new(FailureKind::Policy, why))
            }
        }
    }
}

/// How long a peer that we leave may take for its part of the end: to take our goodbye, and to close
/// its side after it. What it still sends meanwhile reaches the client.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a chunk usually holds, bytes: `proxy_buflen` over this is how many may wait.
const CHUNK_USUAL: usize = 4096;
const CHUNKS_MIN: usize = 2;
const CHUNKS_MAX: usize = 256;

/// A running attempt. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct AttemptHandle {
    /// What happens, in order; [`Event::Ended`] is the last.
    pub(crate) events: EventReceiver,
    /// Payload to the peer. It closes as soon as the attempt takes no more: at once for methods
    /// without a body, else when the body is complete or the attempt over. What cannot be sent
    /// then is to be discarded. Dropping it before EOM cuts the message short. An attempt that
    /// goes on until either side leaves then sends what it has, says goodbye and ends.
    pub(crate) body: mpsc::Sender<TxChunk>,
    task: AbortHandle,
}

impl Drop for AttemptHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
