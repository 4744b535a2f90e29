//! A proxy with its admin side, a server, a client, and who looks.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sspc::tokio::{Client, Event, State, StreamHandle};
use sspc_admin::{Admin, AdminAddress, PolicyWatch};
use sspc_policy::Policy;
use sspc_proxy::{Config, Proxy};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes long; what takes this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy and its admin side; ends when dropped.
pub(crate) struct World {
    pub(crate) admin: AdminAddress,
    pub(crate) policy: PolicyWatch,
    client: Client,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    _running: JoinHandle<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::at(&random("admin").parse().unwrap()).await
    }

    pub(crate) async fn at(admin: &AdminAddress) -> Self {
        let port = server();
        let stream = |name: &str, port: u16, more: &str| {
            format!(
                r#"{{"{name}": {{"endpoint": "127.0.0.1", "port": {port}, "opportunistic": true,
                   "protocol": "h1", "http_method": "GET", {more}}}}}"#
            )
        };
        // A port where nobody listens.
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let policy = format!(
            r#"{{"retry": [{{"once": {{"backoff": [1], "conceal": 0}}}}], "s": [{}, {}, {}]}}"#,
            stream("good", port, r#""http_url": "good""#),
            stream("gone", port, r#""http_url": "gone""#),
            stream("nobody", nobody.port(), r#""http_url": "x", "retry": "once""#),
        );
        let policy = Policy::parse(&sspc_policy::Source::new("test", policy)).unwrap().policy;
        let mut config = Config::new(policy);
        config.observe = true;
        let mut proxy = Proxy::new(config).unwrap();
        let address = random("proxy");
        proxy.listen(&address.parse().unwrap()).unwrap();
        let watch = PolicyWatch::default();
        let admin = Admin::bind(admin, proxy.handle()).unwrap().with_policy(watch.clone());
        let at = admin.address().clone();
        tokio::spawn(admin.serve());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(proxy.run(async {
            let _ = stopped.await;
        }));
        let client = Client::new(address.parse().unwrap());
        Self { admin: at, policy: watch, client, stop: Some(stop), _running: running }
    }

    /// A stream of this type, after its first transaction.
    pub(crate) async fn get(&self, streamtype: &str) -> StreamHandle {
        let mut stream = timeout(PATIENCE, self.client.open(streamtype)).await.unwrap().unwrap();
        stream.connect();
        let ended = async {
            loop {
                let event = stream.next().await.unwrap();
                if let Event::State {
                    state:
                        State::QosAckRemote
                        | State::QosNackRemote
                        | State::AllRetriesFailed
                        | State::Disconnected,
                    ..
                } = event
                {
                    break;
                }
            }
        };
        timeout(PATIENCE, ended).await.unwrap();
        stream
    }

    /// What a path answers.
    pub(crate) async fn look(&self, path: &str) -> Answer {
        let (admin, path) = (self.admin.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || ask(&admin, &get(&path, "localhost"))).await.unwrap()
    }

    /// The same, as JSON.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.look(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Looks until it sees something.
    pub(crate) async fn until(&self, path: &str, sees: impl Fn(&Value) -> bool) -> Value {
        let looking = async {
            loop {
                let value = self.json(path).await;
                if sees(&value) {
                    break value;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, looking).await.expect("it is seen in time")
    }
}

/// An address that no other test has.
pub(crate) fn random(what: &str) -> String {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    format!("uds:@sspc-{what}-{:016x}", u64::from_ne_bytes(bytes))
}

pub(crate) fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) trait Link: Read + Write + Send {}
impl<T: Read + Write + Send> Link for T {}

pub(crate) fn connect(admin: &AdminAddress) -> Box<dyn Link> {
    match admin {
        AdminAddress::Abstract(name) => {
            let name = SocketAddr::from_abstract_name(name).unwrap();
            let socket = UnixStream::connect_addr(&name).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(socket)
        }
        AdminAddress::Path(path) => {
            let socket = UnixStream::connect(path).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(socket)
        }
        AdminAddress::Http(at) => {
            let socket = TcpStream::connect(at).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(socket)
        }
    }
}

/// Sends a request, and reads the answer to its end.
pub(crate) fn ask(admin: &AdminAddress, request: &str) -> Answer {
    let mut link = connect(admin);
    link.write_all(request.as_bytes()).unwrap();
    let mut all = String::new();
    link.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Serves `good` with 200, all else with 404.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for link in listener.incoming() {
            let Ok(mut link) = link else { break };
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = link.read(&mut bytes) {
                    let is_good = bytes[..length].starts_with(b"GET /good ");
                    let head = if is_good { "200 OK" } else { "404 Not Found" };
                    let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 5\r\n\r\nhello");
                    if link.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}
