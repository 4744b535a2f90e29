//! Connections that go out through real proxies: microsocks and tinyproxy.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sspc_proxy::Via;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::nginx::{self, SMALL};
use crate::user::PATIENCE;
use crate::world::{Streamtype, WAYS, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const FAILED: &str = "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED";

/// A running server and what it logs; it ends when dropped.
struct Server {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Server {
    /// Starts it at a port that is free, and waits until it accepts.
    async fn start(command: impl Fn(&TempDir, u16) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let comes_up = async {
            loop {
                let held = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = held.local_addr().unwrap().port();
                drop(held);
                let log = File::create(folder.path().join("log")).unwrap();
                let mut command = command(&folder, port);
                command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
                let mut child = command.spawn().expect("scripts/install-tools test installs it");
                // Somebody else may have got the port: then it ends.
                while child.try_wait().unwrap().is_none() {
                    if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                        return (child, port);
                    }
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let (child, port) = timeout(PATIENCE, comes_up).await.expect("it does not come up");
        Self { folder, child, port }
    }

    async fn socks() -> Self {
        Self::start(|_, port| {
            let mut command = Command::new("microsocks");
            command.args(["-i", "127.0.0.1", "-u", "gate", "-P", "k:e@eper", "-p"]);
            command.arg(port.to_string());
            command
        })
        .await
    }

    async fn http() -> Self {
        Self::start(|folder, port| {
            let config = folder.path().join("tinyproxy.conf");
            let text = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\n\
                 BasicAuth gate keeper\n"
            );
            fs::write(&config, text).unwrap();
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(config);
            command
        })
        .await
    }

    /// How many lines of its log have this text.
    fn count(&self, text: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_policy_leads_everything_through_its_socks5_proxy() {
    let server = Server::socks().await;
    let world = World::start().await;
    let mut before = world.open_at("h1", "small.txt").await;
    assert_eq!(before.get().await, OK);
    assert_eq!(server.count("connected to"), 0);
    world.reload_via(&format!("gate:k:e@eper@127.0.0.1:{}", server.port));
    for (count, way) in WAYS.iter().enumerate() {
        let mut user = world.open_at(way, "small.txt").await;
        assert_eq!(user.get().await, OK, "{way}");
        assert_eq!(user.messages[0].data, SMALL, "{way}");
        assert_eq!(server.count("connected to localhost"), count + 1, "{way}: not by another way");
    }
    world.reload_via(&format!("gate:wrong@127.0.0.1:{}", server.port));
    assert_eq!(world.open_at("h1", "small.txt").await.get().await, FAILED);
    let port = server.port;
    drop(server);
    world.reload_via(&format!("gate:k:e@eper@127.0.0.1:{port}"));
    assert_eq!(world.open_at("h1-tls", "small.txt").await.get().await, FAILED, "never past it");
}

#[tokio::test]
async fn an_http_proxy_connects_to_any_server() {
    let server = Server::http().await;
    let via = |login: &str| format!("http://{login}@127.0.0.1:{}", server.port).parse::<Via>();
    for (login, expected) in [("gate:keeper", OK), ("gate:wrong", FAILED)] {
        let configure = |config: &mut sspc_proxy::Config| {
            config.ways_out.all = Some(via(login).unwrap());
        };
        let options = nginx::Options::default();
        let world = World::custom(options, configure, |_, _| Vec::new()).await;
        for way in WAYS {
            let mut user = world.open_at(way, "small.txt").await;
            assert_eq!(user.get().await, expected, "{way} {login}");
        }
    }
    assert_eq!(server.count("CONNECT localhost:"), 2 * WAYS.len());
}

/// What its addresses are, only the proxy knows.
#[tokio::test]
async fn a_name_that_a_client_chooses_is_not_asked_for() {
    let server = Server::socks().await;
    let via = format!("socks5://gate:k:e@eper@127.0.0.1:{}", server.port);
    for (allowed, expected) in [(false, FAILED), (true, OK)] {
        let configure = |config: &mut sspc_proxy::Config| {
            config.ways_out.all = Some(via.parse().unwrap());
            if allowed {
                config.allow_to.push("localhost".parse().unwrap());
            }
        };
        let world = World::custom(nginx::Options::default(), configure, |ports, _| {
            let anywhere = Streamtype::at_host("anywhere", "${host}", ports.clear);
            vec![anywhere.path("small.txt").with(r#""metadata": [{"host": ""}]"#).opportunistic()]
        })
        .await;
        let mut user = world.open("anywhere").await;
        user.set_metadata("host", "localhost").unwrap();
        assert_eq!(user.get().await, expected);
        assert_eq!(server.count("connected to"), usize::from(allowed));
    }
}
