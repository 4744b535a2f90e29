//! A shared connection: who is on it, and the task that keeps it going.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use sspc_policy::Validity;
use tokio::time::{Instant, timeout};

use super::describe;
use super::paced::{Gate, Paced};
use super::peer_io::{Heard, PeerIo};
use super::small_frames::SmallFrames;
use crate::memory::{LOOK_AGAIN, Memory};
use crate::onward::connect::{Scope, Transport};
use crate::onward::http::head;
use crate::onward::http::occupancy::{GOODBYE_MAX, Occupancy, until};

/// Most bytes of a stream's data that wait for the socket.
const SEND_BUFFER_MAX: usize = 64 * 1024;
/// Streams of a connection that are broken off before it takes no more. Servers end a connection, and
/// all that is on it, after some number of them: those seen after 20 at once, or after 500.
const BROKEN_OFF_MAX: u32 = 16;
/// How long data may still come for a stream that was broken off; after that it is a fault of the
/// peer.
const LATE_DATA_MAX: Duration = Duration::from_secs(30);

type Io = h2::client::Connection<Paced, Bytes>;

/// A connection that streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) occupancy: Occupancy<SendRequest<Bytes>>,
    /// Streams that ended before their exchange was over.
    broken_off: AtomicU32,
    /// What the peer may send on a stream ahead of its client, bytes.
    window: u32,
    heard: Arc<Heard>,
    small_frames: SmallFrames,
    peer: Scope,
    /// The number by which observers know it.
    observed: Option<u64>,
    gate: Arc<Gate>,
}

/// A stream's place on a connection.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    pub(crate) sender: SendRequest<Bytes>,
    /// Whether the peer has a request that is not over.
    under_way: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.under_way {
            let before = self.shared.broken_off.fetch_add(1, Ordering::Relaxed);
            if before + 1 >= BROKEN_OFF_MAX {
                self.shared.occupancy.retire();
            }
        }
        self.shared.occupancy.leave();
    }
}

impl Slot {
    /// Whether this is a place on that connection.
    pub(crate) fn is_on(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(crate) fn connection(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.shared.heard
    }

    /// The request goes out.
    pub(crate) fn begin(&mut self) {
        self.under_way = true;
    }

    /// The exchange is over in both directions, or the peer ended it.
    pub(crate) fn over(mut self) -> Self {
        self.under_way = false;
        self
    }

    /// Whether the connection may be read.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.shared.gate)
    }

    /// How much credit the peer gets at a time, bytes. If each small piece of data gave a small
    /// credit, a peer at its limit would answer with a small piece again, and so on for ever.
    pub(crate) fn credit_batch(&self) -> usize {
        usize::try_from(self.shared.window / 4).unwrap_or(usize::MAX).max(1)
    }
}

impl Shared {
    /// What the connection may still send in small frames.
    pub(crate) const fn small_frames(&self) -> &SmallFrames {
        &self.small_frames
    }

    /// A place, if there is one.
    pub(crate) fn slot(self: &Arc<Self>) -> Option<Slot> {
        let sender = self.occupancy.enter()?;
        Some(Slot { shared: Arc::clone(self), sender, under_way: false })
    }

    /// The number by which observers know it.
    pub(crate) const fn observed(&self) -> Option<u64> {
        self.observed
    }

    /// What the peer's address is.
    pub(crate) const fn peer(&self) -> Scope {
        self.peer
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }
}

/// How long a connection is kept, and how its life is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) streams_max: usize,
    /// Bytes on the way for a stream.
    pub(crate) window: u32,
    pub(crate) keep: Duration,
    pub(crate) validity: Option<Validity>,
}

/// The largest window (RFC 9113 §6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

impl ConnectionSettings {
    /// Streams and the connection's window: room for the windows of all streams and one more, so
    /// that none can starve another. Large windows leave room for fewer streams.
    fn limits(&self) -> (usize, u32) {
        let window = self.window.clamp(1, WINDOW_MAX / 2);
        let room = WINDOW_MAX / window - 1;
        let streams = u32::try_from(self.streams_max).unwrap_or(u32::MAX).clamp(1, room);
        (usize::try_from(streams).unwrap_or(usize::MAX), (streams + 1) * window)
    }
}

/// Speaks h2 on a fresh transport, and returns when the peer's settings are known: before that nobody
/// knows how many streams it allows, nor whether a clear peer speaks h2 at all. The error says why
/// there is no connection.
///
/// `at_end` is called when the connection is gone.
pub(crate) async fn open(
    transport: Transport,
    settings: ConnectionSettings,
    memory: Arc<Memory>,
    at_end: impl FnOnce() + Send + 'static,
) -> Result<Arc<Shared>, String> {
    let (peer, observed) = (transport.peer(), transport.observed());
    let heard = Heard::nothing();
    let gate = Gate::new(memory);
    let io = Paced::new(PeerIo::new(transport, Arc::clone(&heard)), Arc::clone(&gate));
    let (streams_max, connection_window) = settings.limits();
    let (sender, mut connection) = Builder::new()
        .initial_window_size(settings.window.clamp(1, WINDOW_MAX / 2))
        .initial_connection_window_size(connection_window)
        .max_header_list_size(head::RESPONSE_MAX)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        // Data for streams that are forgotten ends the connection, if there is enough of it.
        .max_concurrent_reset_streams(streams_max.saturating_mul(2))
        .reset_stream_duration(LATE_DATA_MAX)
        .initial_max_send_streams(0)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(|error| describe(&error))?;
    let peer_max = settled(&mut connection).await.map_err(|result| match result {
        Ok(()) => "the peer closed instead of speaking h2".to_owned(),
        Err(error) => format!("the peer does not speak h2: {}", describe(&error)),
    })?;
    let shared = Arc::new(Shared {
        occupancy: Occupancy::new(sender, peer_max.min(streams_max)),
        broken_off: AtomicU32::new(0),
        window: settings.window,
        heard,
        small_frames: SmallFrames::new(),
        peer,
        observed,
        gate,
    });
    let pings = connection.ping_pong();
    let driver = Driver { connection, pings, settings, streams_max, shared: Arc::clone(&shared) };
    tokio::spawn(async move {
        driver.run().await;
        at_end();
    });
    Ok(shared)
}

/// Waits for the peer's settings; returns how many streams they allow, or how the connection
/// ended.
async fn settled(connection: &mut Io) -> Result<usize, Result<(), h2::Error>> {
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(result) => Poll::Ready(Err(result)),
        Poll::Pending => match connection.max_concurrent_send_streams() {
            0 => Poll::Pending,
            streams => Poll::Ready(Ok(streams)),
        },
    })
    .await
}

/// Keeps a connection going until it ends or nobody needs it.
struct Driver {
    connection: Io,
    pings: Option<PingPong>,
    settings: ConnectionSettings,
    /// Our own limit.
    streams_max: usize,
    shared: Arc<Shared>,
}

impl Driver {
    async fn run(mut self) {
        // The silence that was answered with a ping, by when it began.
        let mut pinged = None::<Instant>;
        loop {
            let wake = self.next_deadline(pinged);
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                result = self.progress() => {
                    self.shared.occupancy.retire();
                    if let Err(error) = result {
                        tracing::debug!(error = describe(&error), "h2 connection");
                    }
                    return;
                }
                () = shared.occupancy.changed() => {
                    if self.shared.occupancy.is_over() {
                        let _ = timeout(GOODBYE_MAX, self.connection).await;
                        return;
                    }
                }
                () = until(wake) => {
                    if self.shared.occupancy.retire_if_idle(self.settings.keep) {
                        // Without senders and streams it says goodbye and ends.
                        let _ = timeout(GOODBYE_MAX, self.connection).await;
                        return;
                    }
                    if !self.check_validity(&mut pinged) {
                        self.shared.occupancy.retire();
                        return;
                    }
                }
            }
        }
    }

    /// Reads and writes; returns when the connection ends.
    async fn progress(&mut self) -> Result<(), h2::Error> {
        let Self { connection, pings, streams_max, shared, .. } = self;
        poll_fn(|cx| {
            let result = Pin::new(&mut *connection).poll(cx);
            // The peer may change its mind about how many streams it takes.
            let peer_max = connection.max_concurrent_send_streams();
            shared.occupancy.set_streams_max(peer_max.min(*streams_max));
            if let Some(pings) = pings {
                // Taking the answer allows the next ping; that it came is noted already.
                let _ = pings.poll_pong(cx);
            }
            result
        })
        .await
    }

    /// Sends a ping if it is time; false if the peer has been silent for too long.
    fn check_validity(&mut self, pinged: &mut Option<Instant>) -> bool {
        let Some(validity) = self.settings.validity else { return true };
        if !self.shared.gate.is_open() {
            // Time in which nobody reads says nothing about the peer.
            self.shared.heard.now();
        }
        let last = self.shared.heard.last_read();
        if last + validity.hangup <= Instant::now() {
            tracing::info!(silent_for = ?last.elapsed(), "h2 peer is silent, dropped");
            return false;
        }
        let due = validity.ping.is_some_and(|ping| last + ping <= Instant::now());
        if due && *pinged != Some(last) {
            *pinged = Some(last);
            if let Some(pings) = &mut self.pings {
                // Fails while another ping is on its way, which does as well.
                let _ = pings.send_ping(Ping::opaque());
            }
        }
        true
    }

    /// When there is something to do though nothing happens.
    fn next_deadline(&self, pinged: Option<Instant>) -> Option<Instant> {
        let idle = self.shared.occupancy.idle_deadline(self.settings.keep);
        let validity = self.settings.validity.map(|validity| {
            let last = self.shared.heard.last_read();
            let ping = validity.ping.filter(|_| pinged != Some(last));
            last + ping.unwrap_or(validity.hangup).min(validity.hangup)
        });
        let closed = (!self.shared.gate.is_open()).then(|| Instant::now() + LOOK_AGAIN);
        [idle, validity, closed].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_window_holds_those_of_all_streams_and_one_more() {
        let limits = |streams_max, window| {
            ConnectionSettings { streams_max, window, keep: Duration::ZERO, validity: None }
                .limits()
        };
        assert_eq!(limits(250, 65_536), (250, 251 * 65_536));
        assert_eq!(limits(0, 65_536), (1, 2 * 65_536));
        assert_eq!(limits(250, 1 << 24), (126, 127 << 24));
        assert_eq!(limits(usize::MAX, u32::MAX), (1, WINDOW_MAX - 1));
    }
}
