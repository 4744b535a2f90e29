//! The origin, the proxy, the policy between them, and the client's address.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sspc::Address;
use sspc::tokio::Client;
use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, Proxy};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::origin::{Connection, Origin, lock};

/// Everything that the demo needs, running.
pub(super) struct Stage {
    pub(super) client: Client,
    origin: Origin,
    streamtypes: usize,
    proxy: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Stage {
    /// Starts everything, on ports and names that nobody else has.
    pub(super) async fn set(mebibytes: u32) -> anyhow::Result<Self> {
        let origin = Origin::start().await?;
        let source = Source::new("demo policy", policy(&origin, mebibytes));
        let parsed = Policy::parse(&source).map_err(|report| anyhow::anyhow!("{report}"))?;
        let streamtypes = parsed.policy.streamtypes.len();
        let mut proxy = Proxy::new(Config::new(parsed.policy))?;
        let name = format!("sspc-demo-{:08x}", rand::random::<u32>());
        proxy.listen(&format!("uds:@{name}").parse()?)?;
        let (stop, stopped) = oneshot::channel();
        let proxy = tokio::spawn(proxy.run(async {
            let _ = stopped.await;
        }));
        Ok(Self { client: Client::new(Address::Abstract(name)), origin, streamtypes, proxy, stop })
    }

    /// Who talks to whom, in a few lines.
    pub(super) fn picture(&self) -> Vec<String> {
        let proxy = self.client.address();
        let (http, https) = (self.origin.clear.port(), self.origin.tls.port());
        let streamtypes = format!("has the policy, {} names", self.streamtypes);
        vec![
            "  client ─────── Unix socket ───────► proxy ───── TCP, TLS ─────► origin".into(),
            format!("  knows names                         {streamtypes:<28}http  :{http}"),
            format!(
                "  no HTTP, no TLS                     {:<28}https :{https}",
                "does HTTP and TLS"
            ),
            format!("  {:<36}{:<28}on 127.0.0.1", proxy.to_string(), "trusts the origin's CA"),
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

    /// Ends the proxy as SIGTERM would.
    pub(super) async fn strike(self) {
        let _ = self.stop.send(());
        // It was asked to, and everything that matters was said.
        let _ = self.proxy.await;
    }
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
fn policy(origin: &Origin, mebibytes: u32) -> String {
    let (http, https) = (origin.clear.port(), origin.tls.port());
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
    {{"hello_h1": {{"endpoint": "127.0.0.1", "port": {http}, "protocol": "h1",
      "http_url": "hello", "opportunistic": true, "retry": "default",
      "metadata": [{{"mime": "content-type"}}]}}}},
    {{"hello_h2": {{{tls}, "protocol": "h2",
      "http_url": "hello", "opportunistic": true, "retry": "default",
      "metadata": [{{"mime": "content-type"}}]}}}},
    {{"upload": {{{tls}, "protocol": "h2", "http_method": "POST",
      "http_url": "upload", "opportunistic": true, "retry": "default"}}}},
    {{"ticker": {{{tls}, "protocol": "ws",
      "http_url": "ticker", "opportunistic": true, "retry": "default"}}}},
    {{"together": {{{tls}, "protocol": "h2",
      "http_url": "together", "opportunistic": true, "retry": "default"}}}},
    {{"big": {{{tls}, "protocol": "h2",
      "http_url": "big/{mebibytes}", "opportunistic": true, "retry": "default"}}}}
  ]
}}
"#
    )
}
