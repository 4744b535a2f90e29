//! What servers see of the knobs for cookies.

use sspc_wire::{Piece, State, ToProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::support::{Client, Origin, Seen, proxy};
use crate::{Config, Proxy};

/// What each cookie of [`cookie`] takes in a jar.
const COOKIE: usize = 100;

fn cookie(number: usize) -> String {
    let name = format!("c{number:02}");
    let rest = COOKIE - name.len() - "=; ".len() - "/".len();
    format!("{name}={}", "v".repeat(rest))
}

struct World {
    origin: Origin,
    client: Client<DuplexStream>,
    _proxy: Proxy,
}

impl World {
    async fn new(config: Config) -> Self {
        let origin = Origin::new();
        let settings = r#""http_cookies": true, "metadata": [{"host": "host:"}]"#;
        let proxy = proxy(config, &origin.settings(settings));
        let (mut client, _) = Client::over_pipe(&proxy, 4096);
        client.create(7, "s").await;
        client.until(Seen::State(State::Creating)).await;
        Self { origin, client, _proxy: proxy }
    }

    /// The bytes of the cookies of a request to this host, as a jar counts them; then the server
    /// sets these.
    async fn ask(&mut self, host: &str, cookies: &[String]) -> usize {
        let value = Piece::whole(host.as_bytes()).unwrap();
        self.client.send(ToProxy::Metadata { name: b"host", value }).await;
        self.client.send(ToProxy::OnwardConnect).await;
        let mut link = self.origin.accept().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(link.read_buf(&mut head).await.unwrap() > 0, "the head is cut");
        }
        let lines: String =
            cookies.iter().map(|cookie| format!("set-cookie: {cookie}\r\n")).collect();
        let answer =
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n{lines}\r\n");
        link.write_all(answer.as_bytes()).await.unwrap();
        self.client.until(Seen::State(State::Disconnected)).await;
        let head = String::from_utf8(head).unwrap();
        let sent = head.lines().find_map(|line| line.strip_prefix("Cookie: "));
        sent.map_or(0, |sent| sent.split("; ").map(|one| one.len() + "; ".len() + "/".len()).sum())
    }
}

pub(super) async fn cookies_of_a_server(config: Config) -> u64 {
    let mut world = World::new(config).await;
    let many: Vec<_> = (0..64).map(cookie).collect();
    assert_eq!(world.ask("h", &many).await, 0);
    world.ask("h", &[]).await as u64
}

/// How many servers get their cookies back after some more than that have set some.
pub(super) async fn servers_with_cookies(config: Config) -> u64 {
    let servers = (config.limits.cookie_jars + 5).min(2_000);
    let mut world = World::new(config).await;
    for server in 0..servers {
        world.ask(&format!("h{server}"), &[cookie(0)]).await;
    }
    let mut found = 0;
    for server in 0..servers {
        found += u64::from(world.ask(&format!("h{server}"), &[]).await > 0);
    }
    found
}
