//! The origin, the proxy, the policy, and the two ways from the client to the proxy: a serial line
//! and a Unix socket.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sspc::Address;
use sspc::line::{Line, LineConfig, LineEvent, Role, SerialAddress};
use sspc::tokio::{Client, Options};
use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, Proxy};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::origin::{Connection, Origin, lock};
use crate::cable::{BITS_SERIAL, Cable, Change, End, Impairments, Pty, Wire};

/// The line's rate, in bits per second.
const BAUD: u32 = 2_000_000;

/// What the line can carry in one direction, in bytes per second: 8N1 sends ten bits for each.
pub(super) const LINE_RATE: u32 = BAUD / BITS_SERIAL;

/// Bytes of the transfer over the line: two seconds of it.
pub(super) const DOWNLOAD: u64 = 384 * 1024;

/// The priority of the ticker's messages on the line; all else has 0.
pub(super) const TICKER_PRIORITY: u8 = 5;

/// Everything that the demo needs, running.
pub(super) struct Testbed {
    /// The client that uses the Unix socket.
    pub(super) on_socket: Client,
    /// The wire between the client's serial port and the proxy's.
    pub(super) cable: Cable,
    /// The client's serial port.
    port: SerialAddress,
    proxy_port: SerialAddress,
    origin: Origin,
    streamtypes: usize,
    proxy: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Testbed {
    /// Starts everything, on ports and names of its own.
    pub(super) async fn start(mebibytes: u32) -> anyhow::Result<Self> {
        let origin = Origin::start().await?;
        let source = Source::new("demo policy", policy(&origin, mebibytes));
        let parsed = Policy::parse(&source).map_err(|report| anyhow::anyhow!("{report}"))?;
        let streamtypes = parsed.policy.streamtypes.len();
        let mut proxy = Proxy::new(Config::new(parsed.policy))?;
        let name = format!("sspc-demo-{:08x}", rand::random::<u32>());
        proxy.listen(&format!("uds:@{name}").parse()?)?;
        let (cable, port, proxy_port) = make_cable()?;
        proxy.listen(&proxy_port.to_string().parse()?)?;
        let (stop, stopped) = oneshot::channel();
        let proxy = tokio::spawn(proxy.run(async {
            let _ = stopped.await;
        }));
        let on_socket = Client::new(Address::Abstract(name));
        Ok(Self { on_socket, cable, port, proxy_port, origin, streamtypes, proxy, stop })
    }

    /// Opens the client's serial port; the line runs until it and its clients are dropped.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub(super) fn open_line(
        &self,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> std::io::Result<Line> {
        Line::open(&self.port, Role::Client, observer)
    }

    /// The client whose streams are channels of this line.
    pub(super) fn client_on(&self, line: &Line) -> Client {
        let mut options = Options::default();
        // The line may be down when a stream is opened.
        options.keep_trying = true;
        Client::over(line.clone(), &self.port.to_string(), options)
    }

    /// The client's serial port.
    pub(super) fn port(&self) -> String {
        self.port.to_string()
    }

    /// How long one packet of a long transfer holds the line.
    pub(super) fn packet_time(&self) -> Duration {
        Duration::from_secs(1) * u32::from(LineConfig::for_port(&self.port).packets.packet_max)
            / LINE_RATE
    }

    /// Flips so many bytes of a million on the cable, and loses as many.
    pub(super) fn make_noise(&self, ppm: u32) {
        for name in ["flip", "drop"] {
            if let Ok(change) = Change::parse(name, &ppm.to_string()) {
                self.cable.change(change);
            }
        }
    }

    /// How many bytes came to harm on the cable so far.
    pub(super) fn harm(&self) -> u64 {
        self.cable.counts().iter().map(|counts| counts.flipped + counts.dropped).sum()
    }

    /// Who talks to whom, in a few lines.
    pub(super) fn picture(&self) -> Vec<String> {
        let (http, https) = (self.origin.clear.port(), self.origin.tls.port());
        let streamtypes = format!("has the policy, {} names", self.streamtypes);
        let [port, proxy_port] =
            [&self.port, &self.proxy_port].map(|port| port.path.display().to_string());
        let line =
            |client: &str, proxy: &str, origin: &str| format!("  {client:<37}{proxy:<26}{origin}");
        let (serial, tcp) = (" serial line, 2 Mbaud ", " TCP, TLS ");
        vec![
            format!("  client {serial:═^28}► proxy {tcp:─^18}► origin"),
            line("knows names", &streamtypes, &format!("http  :{http}")),
            line("no HTTP, no TLS, no network", "does HTTP and TLS", &format!("https :{https}")),
            line(&port, &proxy_port, "on 127.0.0.1"),
        ]
    }

    /// The origin's connections so far, and the requests that each has carried.
    pub(super) fn connections(&self) -> Usage {
        let connections = self.origin.connections();
        let requests = |c: &Connection| c.requests.load(Ordering::Relaxed);
        Usage { requests: connections.iter().map(|c| (c.number, requests(c))).collect() }
    }

    /// What the origin saw since: `1 new connection, h2, TLS 1.3`.
    pub(super) fn used_since(&self, before: &Usage) -> Vec<Used> {
        let mut used = Vec::new();
        for connection in self.origin.connections() {
            let old = before.requests.get(&connection.number);
            let requests =
                connection.requests.load(Ordering::Relaxed) - old.copied().unwrap_or_default();
            if requests > 0 {
                used.push(Used {
                    new: old.is_none(),
                    requests,
                    protocol: *lock(&connection.protocol),
                    tls: connection.tls,
                    deflate: lock(&connection.deflate).is_some(),
                });
            }
        }
        used
    }

    /// When the origin sent this message of the newest ticker.
    pub(super) fn tick_sent(&self, number: u64) -> Option<Instant> {
        let connections = self.origin.connections();
        let ticker = connections.iter().rev().find(|c| !lock(&c.ticks).is_empty())?;
        lock(&ticker.ticks).get(usize::try_from(number).ok()?).copied()
    }

    /// Ends the proxy as SIGTERM would.
    pub(super) async fn shut_down(self) {
        let _ = self.stop.send(());
        // It was asked to, and everything that matters was said.
        let _ = self.proxy.await;
    }
}

/// A serial line made of two pseudo-terminals, and the addresses of its ends: the client's, the
/// proxy's.
fn make_cable() -> anyhow::Result<(Cable, SerialAddress, SerialAddress)> {
    let [client, proxy] = [Pty::new()?, Pty::new()?];
    let address = |pty: &Pty| {
        format!("serial:{}?baud={BAUD}&profile=fast", pty.name().display()).parse::<SerialAddress>()
    };
    let (port, proxy_port) = (address(&client)?, address(&proxy)?);
    let impairments = Impairments { rate: Some(BAUD.into()), ..Impairments::default() };
    let wire = Wire::new(0, [impairments; 2], BITS_SERIAL);
    // The lines notice its end.
    let cable = Cable::start(End::Pty(client), End::Pty(proxy), wire, None, |_| {})?;
    Ok((cable, port, proxy_port))
}

/// The origin's connections at some moment: their requests by their number.
pub(super) struct Usage {
    requests: HashMap<usize, u64>,
}

/// How one connection of the origin was used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) new: bool,
    pub(super) requests: u64,
    pub(super) protocol: &'static str,
    pub(super) tls: Option<&'static str>,
    pub(super) deflate: bool,
}

/// The demo's policy, as one would write it for this origin.
pub(super) fn policy(origin: &Origin, mebibytes: u32) -> String {
    let (http, https) = (origin.clear.port(), origin.tls.port());
    let big = u64::from(mebibytes) << 20;
    let authority = STANDARD.encode(&origin.authority);
    let tls = format!(
        r#""endpoint": "127.0.0.1", "port": {https}, "tls": true, "tls_trust_store": "demo""#
    );
    format!(
        r#"{{
  "retry": [{{"default": {{"backoff": [100, 200], "conceal": 2}}}}],
  "certs": [{{"authority": "{authority}"}}],
  "trust_stores": [{{"name": "demo", "stack": ["authority"]}}],
  "s": [
    {{"page": {{{tls}, "protocol": "h2",
      "http_url": "hello", "opportunistic": true, "retry": "default",
      "metadata": [{{"mime": "content-type"}}]}}}},
    {{"upload": {{{tls}, "protocol": "h2", "http_method": "POST",
      "http_url": "upload", "opportunistic": true, "retry": "default"}}}},
    {{"ticker": {{{tls}, "protocol": "ws", "attr_priority": {TICKER_PRIORITY},
      "http_url": "ticker", "opportunistic": true, "retry": "default"}}}},
    {{"download": {{{tls}, "protocol": "h2",
      "http_url": "pattern/{DOWNLOAD}", "opportunistic": true, "retry": "default"}}}},
    {{"plain": {{"endpoint": "127.0.0.1", "port": {http}, "protocol": "h1",
      "http_url": "hello", "opportunistic": true, "retry": "default",
      "metadata": [{{"mime": "content-type"}}]}}}},
    {{"together": {{{tls}, "protocol": "h2",
      "http_url": "together", "opportunistic": true, "retry": "default"}}}},
    {{"big": {{{tls}, "protocol": "h2",
      "http_url": "pattern/{big}", "opportunistic": true, "retry": "default"}}}}
  ]
}}
"#
    )
}
