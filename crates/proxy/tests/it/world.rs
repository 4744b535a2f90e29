//! Everything that a test needs, running: the far end, our proxy in this process, its policy.

use std::path::{Path, PathBuf};

use sspc::Address;
use sspc::tokio::{Client, Options};
use sspc_policy::{Code, Policy, Source};
use sspc_proxy::{Config, Handle, Proxy};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::nginx::{self, Nginx, Ports};
use crate::origin::Origin;
use crate::user::{PATIENCE, User};

/// A streamtype of the test's policy: its settings as JSON, endpoint and trust store included.
#[derive(Clone, Debug)]
pub(crate) struct Streamtype {
    name: String,
    settings: Vec<String>,
}

impl Streamtype {
    /// At a port of this host.
    pub(crate) fn at(name: &str, port: u16) -> Self {
        Self::at_host(name, "localhost", port)
    }

    pub(crate) fn at_host(name: &str, host: &str, port: u16) -> Self {
        let settings = vec![format!(r#""endpoint": "{host}", "port": {port}"#)];
        Self { name: name.to_owned(), settings }
    }

    /// With these settings too, the inside of a JSON object.
    pub(crate) fn with(mut self, settings: &str) -> Self {
        self.settings.push(settings.to_owned());
        self
    }

    pub(crate) fn path(self, path: &str) -> Self {
        self.with(&format!(r#""http_url": "{path}""#))
    }

    /// Over TLS, trusting the test's authority alone.
    pub(crate) fn tls(self) -> Self {
        self.with(r#""tls": true, "tls_trust_store": "test""#)
    }

    pub(crate) fn h2(self) -> Self {
        self.with(r#""protocol": "h2""#)
    }

    pub(crate) fn ws(self) -> Self {
        self.with(r#""protocol": "ws""#)
    }

    pub(crate) fn post(self) -> Self {
        self.with(r#""http_method": "POST""#)
    }

    pub(crate) fn opportunistic(self) -> Self {
        self.with(r#""opportunistic": true"#)
    }

    /// Tried three times in all, quickly.
    pub(crate) fn retrying(self) -> Self {
        self.with(r#""retry": "quick""#)
    }

    fn json(&self) -> String {
        format!("{{\"{}\": {{{}}}}}", self.name, self.settings.join(", "))
    }
}

/// The ways to nginx that transactions take in many tests, as streamtypes whose metadata `path`
/// tells what to get, or with `-post` behind their names what to post to.
pub(crate) const WAYS: [&str; 4] = ["h1", "h1-tls", "h2-tls", "h2-clear"];

fn ways(ports: &Ports) -> Vec<Streamtype> {
    let way = |name: &str, post: bool| {
        let port = match name {
            "h1" => ports.clear,
            "h1-tls" => ports.tls,
            "h2-tls" => ports.h2,
            "h2-clear" => ports.h2c,
            _ => panic!("no way {name}"),
        };
        let full_name = if post { format!("{name}-post") } else { name.to_owned() };
        let mut way = Streamtype::at(&full_name, port)
            .path("${path}")
            .with(r#""metadata": [{"path": ""}]"#)
            .opportunistic();
        if name.ends_with("-tls") {
            way = way.tls();
        }
        if name.starts_with("h2") {
            way = way.h2();
        }
        if post { way.post() } else { way }
    };
    WAYS.iter().flat_map(|name| [way(name, false), way(name, true)]).collect()
}

/// A running proxy and the servers that it can reach.
pub(crate) struct World {
    pub(crate) nginx: Nginx,
    pub(crate) origin: Origin,
    pub(crate) proxy: Handle,
    pub(crate) socket: PathBuf,
    config: Config,
    more: Vec<Address>,
    shutdown: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    _folder: TempDir,
}

impl World {
    /// With the streamtypes of [`WAYS`] only.
    pub(crate) async fn start() -> Self {
        Self::with(|_, _| Vec::new()).await
    }

    /// With streamtypes of the test's own.
    pub(crate) async fn with(own: impl FnOnce(&Ports, &Origin) -> Vec<Streamtype>) -> Self {
        Self::custom(nginx::Options::default(), |_| {}, own).await
    }

    /// With everything of the test's own.
    pub(crate) async fn custom(
        options: nginx::Options,
        configure: impl FnOnce(&mut Config),
        own: impl FnOnce(&Ports, &Origin) -> Vec<Streamtype>,
    ) -> Self {
        // Only the first test of a process sets it up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let origin = Origin::start().await;
        let nginx = Nginx::start(origin.address, options).await;
        let streamtypes = own(&nginx.ports, &origin);
        let mut config = Config::new(policy(&nginx, &streamtypes));
        configure(&mut config);

        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("ss.sock");
        let Serving { handle, more, shutdown, running } = serve(&config, &socket);
        Self {
            nginx,
            origin,
            proxy: handle,
            socket,
            config,
            more,
            shutdown: Some(shutdown),
            running,
            _folder: folder,
        }
    }

    /// Where the proxy listens beside its socket file.
    pub(crate) fn more_addresses(&self) -> &[Address] {
        &self.more
    }

    /// A client of the proxy.
    pub(crate) fn client(&self) -> Client {
        Client::new(Address::Path(self.socket.clone()))
    }

    /// A client of the proxy with settings of its own.
    pub(crate) fn client_with(&self, change: impl FnOnce(&mut Options)) -> Client {
        let mut options = Options::default();
        change(&mut options);
        Client::with_options(Address::Path(self.socket.clone()), options)
    }

    /// A user of a stream of this type.
    pub(crate) async fn open(&self, streamtype: &str) -> User {
        User::open(&self.client(), streamtype).await
    }

    /// A user of a stream of one of the [`WAYS`], to this path.
    pub(crate) async fn open_at(&self, way: &str, path: &str) -> User {
        let user = self.open(way).await;
        user.set_metadata("path", path).unwrap();
        user
    }

    /// Replaces the proxy's policy by one with these streamtypes and [`WAYS`].
    pub(crate) fn reload(&self, streamtypes: &[Streamtype]) {
        self.proxy.reload(policy(&self.nginx, streamtypes));
    }

    /// Replaces it by one with [`WAYS`] that all lead through this SOCKS5 proxy.
    pub(crate) fn reload_via(&self, server: &str) {
        let more = format!(r#""via-socks5": "{server}","#);
        self.proxy.reload(policy_with(&self.nginx, &[], &more));
    }

    /// Asks the proxy to shut down.
    pub(crate) fn shut_down(&mut self) {
        self.shutdown.take();
    }

    /// Shuts the proxy down, and starts another one that listens at the same file.
    pub(crate) async fn restart_proxy(&mut self) {
        self.shut_down();
        let ended = timeout(PATIENCE, &mut self.running).await;
        ended.expect("the proxy goes on").unwrap();
        let Serving { handle, more, shutdown, running } = serve(&self.config, &self.socket);
        self.proxy = handle;
        self.more = more;
        self.shutdown = Some(shutdown);
        self.running = running;
    }

    /// Waits until the proxy has ended.
    pub(crate) async fn ended(self) {
        timeout(PATIENCE, self.running).await.expect("the proxy goes on").unwrap();
    }
}

/// A proxy that runs.
struct Serving {
    handle: Handle,
    more: Vec<Address>,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

fn serve(config: &Config, socket: &Path) -> Serving {
    let mut proxy = Proxy::new(config.clone()).unwrap();
    proxy.listen(&format!("uds:{}", socket.display()).parse().unwrap()).unwrap();
    let unique = format!("uds:@{}", socket.display());
    let more = [unique.as_str(), "tcp:127.0.0.1:0"].map(|address| {
        let bound = proxy.listen(&address.parse().unwrap()).unwrap();
        bound.to_string().parse().unwrap()
    });
    let handle = proxy.handle();
    let (shutdown, asked) = oneshot::channel::<()>();
    let running = tokio::spawn(proxy.run(async {
        // Dropped without a word, the proxy shuts down too.
        let _ = asked.await;
    }));
    Serving { handle, more: more.to_vec(), shutdown, running }
}

fn policy(nginx: &Nginx, streamtypes: &[Streamtype]) -> Policy {
    policy_with(nginx, streamtypes, "")
}

/// With these keys of the document too.
fn policy_with(nginx: &Nginx, streamtypes: &[Streamtype], more: &str) -> Policy {
    let mut all = ways(&nginx.ports);
    all.extend_from_slice(streamtypes);
    let all = all.iter().map(Streamtype::json).collect::<Vec<_>>().join(",\n");
    let authority = &nginx.authority;
    let text = format!(
        r#"{{
            {more}
            "retry": [{{"quick": {{"backoff": [10], "conceal": 2, "jitterpc": 1}}}}],
            "certs": [{{"authority": "{authority}"}}],
            "trust_stores": [{{"name": "test", "stack": ["authority"]}}],
            "s": [{all}]
        }}"#
    );
    let parsed = Policy::parse(&Source::new("test", text))
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
    // Not every test uses all that there is.
    let mut warnings = parsed.warnings.diagnostics().iter();
    assert!(warnings.all(|warning| warning.code == Code::Unused), "{}", parsed.warnings);
    parsed.policy
}
