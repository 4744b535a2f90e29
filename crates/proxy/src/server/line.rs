//! Lines, whose channels are links, and byte pipes that are neither sockets nor serial ports.

use std::future::Future;
use std::io;
use std::sync::Arc;

use sspc_line::{Datagrams, Line, LineConfig, LineEvent, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, info, warn};

use super::Handle;
use super::shared::Shared;
use crate::counters::Counts;
use crate::identity::Identity;
use crate::observe::LineWatch;
use crate::session::{AnyPipe, LineEnd, Peer};
use sspc_address::{Carrier, ListenAddress, NetworkAddress};

/// What logs call a line: its port without the settings.
pub(crate) fn name(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Serial(port) => format!("serial:{}", port.path.display()),
        ListenAddress::Network(network) => {
            NetworkAddress::new(network.carrier, &*network.host, network.port).to_string()
        }
        ListenAddress::Tls(tls) => {
            NetworkAddress::new(Carrier::Tcp, &*tls.host, tls.port).to_string()
        }
        other => other.to_string(),
    }
}

/// Says what happens to a line, and counts it.
#[derive(Debug)]
pub(crate) struct LineLog {
    line: String,
    counts: Arc<Counts>,
    watch: Option<Arc<LineWatch>>,
    is_up: bool,
}

impl LineLog {
    /// Where observers see the line.
    pub(crate) fn watch(&self) -> Option<Arc<LineWatch>> {
        self.watch.clone()
    }

    pub(crate) fn note(&mut self, event: &LineEvent) {
        self.count(event);
        if let Some(watch) = &self.watch {
            watch.note(event);
        }
        let (line, kind) = (&self.line, event.label());
        match event {
            _ if event.is_fault() => warn!(client = %line, kind, "{event}"),
            LineEvent::RoundTrip { .. } | LineEvent::PeerClock { .. } => {
                debug!(client = %line, "{event}");
            }
            _ => info!(client = %line, kind, "{event}"),
        }
    }

    fn count(&mut self, event: &LineEvent) {
        match event {
            LineEvent::Up { .. } => {
                self.is_up = true;
                self.counts.links_up.add(1);
            }
            LineEvent::Down { .. } => {
                self.go_down();
                self.counts.link_losses.add(1);
            }
            LineEvent::Overflow { .. } => self.counts.overflows.add(1),
            _ => {}
        }
    }

    fn go_down(&mut self) {
        if std::mem::take(&mut self.is_up) {
            self.counts.links_up.take(1);
        }
    }
}

impl Drop for LineLog {
    fn drop(&mut self) {
        self.go_down();
    }
}

/// Serves the channels of a serial port until the proxy stops, and leaves what is to be seen to
/// after that to a task among `shared.lines`.
pub(crate) async fn accept_port(shared: &Arc<Shared>, line: Line, name: &str) {
    let client = by_line(shared, name);
    let sessions = accept_channels(shared, &line, client).await;
    shared.lines.spawn(async move {
        sessions.wait().await;
        // The port's thread has its last bytes to send, which the line's last user waits for.
        let _ = tokio::task::spawn_blocking(move || drop(line)).await;
    });
}

/// Whom the clients of a line count as that is the only one of its kind, and what is at its end.
fn by_line(shared: &Shared, name: &str) -> impl Fn(&Line) -> (Identity, LineEnd) + use<> {
    let (number, name) = (shared.next_id(), Arc::<str>::from(name));
    let port = Arc::from(name.strip_prefix("serial:").unwrap_or(&name));
    move |line| {
        let device = line.device();
        let name = match &device {
            Some(device) => format!("{name} device {device:?}").into(),
            None => Arc::clone(&name),
        };
        let client = Identity::Line { number, name: Arc::clone(&name) };
        (client, LineEnd { name, port: Some(Arc::clone(&port)), address: None, device })
    }
}

/// Serves the channels of a line until it ends or the proxy stops; the sessions that are left.
/// `client` says whose a channel is, and what is at the line's end.
pub(super) async fn accept_channels(
    shared: &Arc<Shared>,
    line: &Line,
    client: impl Fn(&Line) -> (Identity, LineEnd),
) -> TaskTracker {
    let sessions = TaskTracker::new();
    let stopping = &shared.stopping;
    while let Some(Some(channel)) = stopping.run_until_cancelled(line.accept()).await {
        let index = channel.index().unwrap_or_default();
        let (client, line) = client(line);
        let peer = Peer::Channel { client, line: line.into(), channel: index };
        let Some(mut open) = shared.admit(peer) else { continue };
        open.line = Some(sessions.token());
        open.serve_on_shard(move || Ok(channel.into_split()));
    }
    line.close();
    sessions.close();
    sessions
}

impl Shared {
    /// What logs and counts the events of a line that is the only one of its kind.
    pub(crate) fn line_log(&self, line: String) -> LineLog {
        let watch = self.observer.as_ref().map(|observer| observer.lines().begin(&line).into());
        LineLog { line, counts: Arc::clone(&self.counts), watch, is_up: false }
    }
}

/// Lets observers see a line, if there are any.
pub(super) fn show(watch: Option<Arc<LineWatch>>, line: &Line) {
    if let Some(watch) = watch {
        watch.monitor(line.monitor());
    }
}

/// Serves a line of the program's own until it ends, or the proxy stops.
async fn serve(
    shared: &Arc<Shared>,
    line: Line,
    running: impl Future<Output = io::Result<()>>,
    name: &str,
) -> io::Result<()> {
    let accepting = async {
        let client = by_line(shared, name);
        let sessions = accept_channels(shared, &line, client).await;
        sessions.wait().await;
        // Its last user: now the line ends when all is sent.
        drop(line);
    };
    let both = async { tokio::join!(running, accepting).0 };
    shared.lines.track_future(both).await
}

impl Handle {
    /// Serves a line that is not a serial port: any pair of byte pipes that keep bytes in order and
    /// lose none. The [mux](sspc_line) runs on it, so that it carries many streams and its link is
    /// supervised, as on a serial line. `name` is what logs call it. How much is kept of a channel is
    /// [`Limits::channel_buffer`](crate::Limits::channel_buffer), whatever `config` says.
    ///
    /// The future ends when the line does: its reader ends, or one of the two fails, or the proxy
    /// shuts down. Drop it to end the line. The proxy need not [run](crate::Proxy::run): that is
    /// for addresses that it listens at.
    ///
    /// ```
    /// use sspc_policy::Policy;
    /// use sspc_proxy::{Config, LineConfig, Proxy};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let proxy = Proxy::new(Config::new(Policy::builtin()))?;
    /// let (device, line) = tokio::io::duplex(1024);
    /// let (reader, writer) = tokio::io::split(line);
    /// let serving =
    ///     tokio::spawn(proxy.handle().serve_line(reader, writer, LineConfig::default(), "device"));
    /// // The device speaks at the other end, and hangs up.
    /// drop(device);
    /// serving.await??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What reading or writing ended with, unless that was a broken pipe.
    ///
    /// # Panics
    /// The future, outside of a tokio runtime with its timer.
    pub fn serve_line<R, W>(
        &self,
        reader: R,
        writer: W,
        config: LineConfig,
        name: &str,
    ) -> impl Future<Output = io::Result<()>> + Send + use<R, W>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let config = shared.config.limits.limit_line(config);
        let name = name.to_owned();
        async move {
            let mut log = shared.line_log(name.clone());
            let watch = log.watch();
            let observer = move |event| log.note(&event);
            let (line, running) = Line::over(reader, writer, Role::Proxy, config, observer);
            show(watch, &line);
            serve(&shared, line, running, &name).await
        }
    }

    /// Serves a line over whatever carries datagrams: a radio, BLE, a socket that is connected to one
    /// device. Packets below the mux send again what is lost, and with
    /// [`LineConfig::keys`](sspc_line::LineConfig::keys) are encrypted. All else is as with
    /// [`serve_line`](Self::serve_line); docs/transports.md has an example.
    ///
    /// # Errors
    /// What sending or receiving ended with.
    ///
    /// # Panics
    /// The future, outside of a tokio runtime with its timer.
    pub fn serve_datagrams<D>(
        &self,
        datagrams: D,
        config: LineConfig,
        name: &str,
    ) -> impl Future<Output = io::Result<()>> + Send + use<D>
    where
        D: Datagrams + Send + Sync + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let config = shared.config.limits.limit_line(config);
        let name = name.to_owned();
        async move {
            let mut log = shared.line_log(name.clone());
            let watch = log.watch();
            let observer = move |event| log.note(&event);
            let (line, running) = Line::over_datagrams(datagrams, Role::Proxy, config, observer);
            show(watch, &line);
            serve(&shared, line, running, &name).await
        }
    }

    /// Serves one stream on a byte pipe of its own, without a mux: the reader's bytes are the
    /// client's, from STREAMTYPE on. `name` is what logs call it.
    ///
    /// Nobody supervises such a link: the reader must end, or one of the two fail, when the client
    /// is gone. While the stream's remote peer takes no payload the proxy does not read, and
    /// notices only when it writes.
    ///
    /// The future ends with the stream. Drop it to end the stream. As with
    /// [`serve_line`](Self::serve_line), the proxy need not run.
    ///
    /// ```
    /// # use sspc_policy::Policy;
    /// # use sspc_proxy::{Config, Proxy};
    /// # async fn serve(proxy: &Proxy) {
    /// proxy.handle().serve_link(tokio::io::stdin(), tokio::io::stdout(), "parent").await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// The future, outside of a tokio runtime with I/O and time enabled.
    pub fn serve_link<R, W>(
        &self,
        reader: R,
        writer: W,
        name: &str,
    ) -> impl Future<Output = ()> + Send + use<R, W>
    where
        R: AsyncRead + Send + Sync + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let name = Arc::<str>::from(name);
        async move {
            let peer = Peer::Pipe { pipe: shared.next_id(), name };
            let Some(open) = shared.admit(peer) else { return };
            let session = open.serve(AnyPipe(reader), AnyPipe(writer));
            // A session that panicked is over too.
            let _ = AbortOnDropHandle::new(session).await;
        }
    }
}
