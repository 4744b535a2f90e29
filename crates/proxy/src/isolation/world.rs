//! The proxy, its policy and the servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sspc_policy::{Policy, Source};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex, split};
use tokio::time::{sleep, timeout};

use super::origin;
use crate::server::Shared;
use crate::session::{AnyPipe, Peer};
use crate::{Config, Proxy};

/// Bytes that a link holds each way.
const LINK: usize = 4096;
/// How long the proxy may take to forget clients that are gone.
const FORGET_MAX: Duration = Duration::from_secs(60);

/// One proxy and all that is around it.
#[derive(Clone)]
pub(super) struct World {
    shared: Arc<Shared>,
    /// The servers' sockets are in it.
    folder: Arc<TempDir>,
}

/// Streamtypes by name, with the server and the settings of each.
pub(super) const STREAMTYPES: [(&str, &str, &str); 12] = [
    ("get", "h1", r#""protocol": "h1", "http_url": "/hello""#),
    ("get2", "h2", r#""protocol": "h2", "http_url": "/hello?${query}""#),
    ("long2", "h2", r#""protocol": "h2", "http_url": "/long""#),
    ("late2", "h2", r#""protocol": "h2", "http_url": "/late""#),
    ("post", "h1", r#""protocol": "h1", "http_method": "POST", "http_url": "/echo""#),
    ("post2", "h2", r#""protocol": "h2", "http_method": "POST", "http_url": "/echo""#),
    ("ws", "ws", r#""protocol": "ws", "ws_binary": true, "http_url": "/""#),
    ("raw", "raw", r#""protocol": "raw""#),
    ("nobody", "nobody", r#""protocol": "h1", "http_url": "/""#),
    ("evil", "evil", r#""protocol": "h1", "http_url": "/""#),
    ("evil2", "evil", r#""protocol": "h2", "http_url": "/""#),
    ("evil-ws", "evil", r#""protocol": "ws", "http_url": "/""#),
];

fn policy(folder: &Path) -> Policy {
    let streamtypes = STREAMTYPES.map(|(name, server, settings)| {
        let path = folder.join(server);
        format!(
            r#"{{"{name}": {{"endpoint": "+{}", "retry": "soon", "opportunistic": true, {settings},
            "metadata": [{{"query": ""}}, {{"note": "x-note"}}, {{"server": "server:"}}]}}}}"#,
            path.display()
        )
    });
    let text = format!(
        r#"{{"retry": [{{"soon": {{"backoff": [100, 200], "conceal": 1, "jitterpc": 0}}}}],
        "s": [{}]}}"#,
        streamtypes.join(",")
    );
    Policy::parse(&Source::new("test", &text)).expect("the policy is right").policy
}

impl World {
    /// A proxy with these changes to its configuration.
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        origin::start(folder.path());
        let mut config = Config::new(policy(folder.path()));
        // A hostile client can use up what is its own.
        config.limits.sessions_per_client = 30;
        change(&mut config);
        let proxy = Proxy::new(config).unwrap();
        Self { shared: proxy.handle().shared, folder: Arc::new(folder) }
    }

    /// A link of this client; one beyond its quota is refused.
    pub(super) fn link(&self, peer: Peer) -> DuplexStream {
        self.link_through(peer, |near| near)
    }

    /// The same, with something between the link and the proxy.
    pub(super) fn link_through<L>(
        &self,
        peer: Peer,
        wrap: impl FnOnce(DuplexStream) -> L,
    ) -> DuplexStream
    where
        L: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        let (far, near) = duplex(LINK);
        let (reader, writer) = split(wrap(near));
        if let Some(place) = self.shared.admit(peer) {
            place.serve(AnyPipe(reader), AnyPipe(writer));
        }
        far
    }

    /// No server takes a connection from here on.
    pub(super) fn remove_servers(&self) {
        for (_, server, _) in STREAMTYPES {
            // Streamtypes share servers.
            let _ = std::fs::remove_file(self.folder.path().join(server));
        }
    }

    /// All clients are gone: the proxy forgets them.
    pub(super) async fn end(&self) {
        let forget = async {
            while self.shared.counts.snapshot().sessions_open > 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(FORGET_MAX, forget).await.expect("no session outlives its client");
    }
}
