//! Onward connections: what fulfils a stream at the remote peer.
//!
//! A session starts one [`Attempt`] at a time and gets back a [`Running`] one: a bounded queue of
//! [`Event`]s from the peer and a bounded queue of [`Chunk`]s towards it. The attempt is a task
//! that knows its protocol and nothing of clients; the session knows clients and no protocol.
//! A full queue stops whoever fills it, so a slow client stops its own server and no other.
//! Dropping [`Running`] ends the attempt and gives a shared connection back to the pool.

mod body;
mod dial;
mod endpoint;
mod events;
mod exchange;
mod h1;
mod h2;
mod http;
mod link;
mod multipart_in;
mod multipart_out;
mod perf;
mod pinned;
mod raw;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod tls;
mod upload;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_policy::{Protocol, StreamType};
use sspc_wire::Flags;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use self::endpoint::{Route, SocketWishes};
use self::link::Link;
use self::perf::Perf;
use self::tls::Offer;

pub(crate) use events::Events;

/// Limits and credentials that hold for all onward connections of a proxy.
#[derive(Clone, Debug)]
pub(crate) struct OnwardConfig {
    /// From the first packet of a connection to the end of its TLS handshake.
    pub(crate) connect_timeout: Duration,
    /// From the end of the request to the headers of the response.
    pub(crate) response_timeout: Duration,
    /// Silence within a response's body.
    pub(crate) body_idle_timeout: Duration,
    /// How long a connection that no stream uses is kept for the next one.
    pub(crate) keep_warm: Duration,
    /// Most streams bound to one h2 connection at a time; the peer may allow fewer.
    pub(crate) h2_streams_max: usize,
    /// Bytes that an h2 peer may send on a stream ahead of what the client's queue takes. It limits
    /// both what a stalled client costs and what a stream can carry in a round trip.
    pub(crate) h2_stream_window: u32,
    /// What the policy's `http_*_header` keys put into requests.
    pub(crate) blobs: Blobs,
}

impl Default for OnwardConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            response_timeout: Duration::from_secs(15),
            body_idle_timeout: Duration::from_secs(30),
            keep_warm: Duration::from_secs(5),
            h2_streams_max: 250,
            h2_stream_window: 256 * 1024,
            blobs: Blobs::default(),
        }
    }
}

/// The device's credentials; configured in the proxy, never by clients.
#[derive(Clone, Default)]
pub(crate) struct Blobs {
    /// For `http_auth_header`, after the preamble.
    pub(crate) auth: Bytes,
    /// For `http_dsn_header`: the device's serial number.
    pub(crate) dsn: Bytes,
    /// For `http_fwv_header`: the firmware's version.
    pub(crate) fwv: Bytes,
    /// For `http_devtype_header`: the device's type.
    pub(crate) devtype: Bytes,
}

/// Sizes only: these are secrets.
impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs")
            .field("auth", &self.auth.len())
            .field("dsn", &self.dsn.len())
            .field("fwv", &self.fwv.len())
            .field("devtype", &self.devtype.len())
            .finish()
    }
}

/// All onward connections of a proxy; shared by its sessions.
#[derive(Debug)]
pub(crate) struct Onward {
    config: OnwardConfig,
    dialer: dial::Dialer,
    tls: tls::Tls,
    h1: h1::Pool,
    h2: h2::Pool,
}

impl Onward {
    /// No connections yet.
    pub(crate) fn new(config: OnwardConfig) -> Arc<Self> {
        Arc::new(Self {
            h1: h1::Pool::new(config.keep_warm),
            h2: h2::Pool::default(),
            dialer: dial::Dialer::new(),
            tls: tls::Tls::new(),
            config,
        })
    }

    /// Starts an attempt. Must be called within a tokio runtime.
    pub(crate) fn start(self: &Arc<Self>, attempt: Attempt) -> Running {
        let buflen = usize::try_from(attempt.stream.proxy_buflen_bytes()).unwrap_or(usize::MAX);
        let (output, events) = events::queue(buflen);
        let (body, chunks) = mpsc::channel((buflen / CHUNK_USUAL).clamp(CHUNKS_MIN, CHUNKS_MAX));
        let onward = Arc::clone(self);
        let task = tokio::spawn(async move {
            let end = onward.run(&attempt, &output, chunks).await;
            // Nobody to tell is nothing to report.
            let _ = output.event(Event::Ended(end)).await;
        });
        Running { events, body, task: task.abort_handle() }
    }

    async fn run(
        self: &Arc<Self>,
        attempt: &Attempt,
        out: &events::Output,
        chunks: mpsc::Receiver<Chunk>,
    ) -> End {
        match attempt.stream.protocol {
            Protocol::H1 | Protocol::H2 => http::run(self, attempt, out, chunks).await,
            Protocol::Ws => ws::run(self, attempt, out, chunks).await,
            Protocol::Raw => raw::run(self, attempt, out, chunks).await,
            other => End::Failed(Failure::new(format!("this proxy does not speak {other}"))),
        }
    }

    /// A fresh link to a peer, encrypted if the route asks for it.
    async fn connect(
        &self,
        route: &Route,
        wishes: SocketWishes,
        offer: Offer,
        perf: &mut Perf,
    ) -> Result<Link, Failure> {
        let limit = self.config.connect_timeout;
        let connecting = async {
            let socket = self.dialer.connect(&route.address, wishes, perf).await?;
            let Some(trust) = &route.tls else { return Ok(Link::Clear(socket)) };
            let start = Instant::now();
            let link = self.tls.handshake(socket, route, trust, offer).await;
            perf.tls = start.elapsed();
            link
        };
        match timeout(limit, connecting).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = limit.as_secs_f32();
                Err(Failure::new(format!("cannot connect to {route}: nothing within {seconds} s")))
            }
        }
    }
}

/// What a chunk usually holds, bytes: `proxy_buflen` over this is how many may wait.
const CHUNK_USUAL: usize = 4096;
const CHUNKS_MIN: usize = 2;
const CHUNKS_MAX: usize = 256;

/// A running attempt. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct Running {
    /// What happens, in order; [`Event::Ended`] is the last.
    pub(crate) events: Events,
    /// Payload to the peer. It closes as soon as the attempt takes no more: at once for methods
    /// without a body, else when the body is complete or the attempt over. What cannot be sent
    /// then is to be discarded. Dropping it before EOM cuts the message short.
    pub(crate) body: mpsc::Sender<Chunk>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one connection attempt is made from; values as they are when it starts.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The policy's settings of the stream.
    pub(crate) stream: Arc<StreamType>,
    /// The stream's own settings and those of its rideshare chain, in order; for multipart bodies.
    pub(crate) chain: Vec<Arc<StreamType>>,
    /// The client's metadata by the policy's name.
    pub(crate) metadata: Vec<(String, Bytes)>,
    /// Bytes of payload that the client announced for the next message.
    pub(crate) length_hint: Option<u32>,
}

/// Payload from the client, in the order it came.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The payload; may be empty if it only carries flags.
    pub(crate) bytes: Bytes,
    /// [`Flags::SOM`] and [`Flags::EOM`] tell where a message begins and ends.
    pub(crate) flags: Flags,
}

/// What a running attempt reports, in the order in which the client must hear of it.
#[derive(Debug)]
pub(crate) enum Event {
    /// Response metadata by the policy's name, in the order to send; before what it belongs to.
    Metadata(Vec<(String, Bytes)>),
    /// JSON about how the connection came about; at most one an attempt.
    Perf(String),
    /// A state that the policy's `http_resp_map` makes of the response's status.
    UserState(u32),
    /// The peer takes this many more bytes of payload.
    TxCredit(i32),
    /// Payload can flow; at most one an attempt.
    Connected,
    /// Payload from the peer. Where the end of a message is known, EOM is on its last payload, else
    /// it comes with an empty one.
    Payload {
        /// The payload, at most [`PAYLOAD_EVENT_MAX`] bytes.
        bytes: Bytes,
        /// SOM, EOM and the RELATED pair.
        flags: Flags,
    },
    /// The peer took the message, or the transaction ended well.
    Ack,
    /// The peer refused the message, or the transaction ended badly.
    Nack,
    /// The attempt is over; always the last event.
    Ended(End),
}

/// The most payload in one [`Event::Payload`].
pub(crate) const PAYLOAD_EVENT_MAX: usize = 16 * 1024;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The transaction is complete: Ack or Nack was given.
    Complete,
    /// The connection was Connected and is gone before a transaction was complete; for ws and raw
    /// the ordinary end.
    Lost {
        /// For logs.
        why: String,
    },
    /// The attempt failed before Connected.
    Failed(Failure),
}

/// Why an attempt did not become Connected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    /// For logs: what failed, at which endpoint.
    pub(crate) why: String,
    /// No DNS server answered, as opposed to the name being unknown.
    pub(crate) no_dns: bool,
    /// The least time to wait before the next attempt, from the peer's Retry-After.
    pub(crate) retry_after: Option<Duration>,
}
