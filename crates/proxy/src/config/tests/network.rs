//! Lines over a network: TCP connections with keys, whose proxy speaks first.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::support::ms_since;
use crate::{Config, ListenAddress, Proxy};

struct Site {
    port: u16,
    _folder: TempDir,
}

impl Site {
    fn new(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        std::fs::write(&keys, format!("pump {}", "11".repeat(32))).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut proxy = Proxy::new(config).unwrap();
        let address = format!("tcp:127.0.0.1:0?keys={}", keys.display());
        let ListenAddress::Network(address) = proxy.listen(&address.parse().unwrap()).unwrap()
        else {
            panic!()
        };
        tokio::spawn(proxy.run(pending()));
        Self { port: address.port, _folder: folder }
    }

    /// From a host of this number.
    async fn connect(&self, host: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(IpAddr::from([127, 0, 0, host]), 0)).unwrap();
        socket.connect(([127, 0, 0, 1], self.port).into()).await.unwrap()
    }
}

/// How many connections are greeted.
async fn greeted(site: Site, hosts: impl IntoIterator<Item = u8>) -> u64 {
    let (mut greeted, mut links) = (0, Vec::new());
    for host in hosts {
        let mut link = site.connect(host).await;
        greeted += u64::from(link.read(&mut [0; 256]).await.is_ok_and(|length| length > 0));
        links.push(link);
    }
    greeted
}

pub(super) async fn lines_of_many_hosts(config: Config) -> u64 {
    let asked = config.limits.lines as u8 + 3;
    greeted(Site::new(config), 1..=asked).await
}

pub(super) async fn lines_of_one_host(config: Config) -> u64 {
    let asked = config.limits.lines_per_client + 3;
    greeted(Site::new(config), vec![1; asked]).await
}

/// Until one is given up that never proves to have a key.
pub(super) async fn silence_before_the_link(config: Config) -> u64 {
    let site = Site::new(config);
    let mut link = site.connect(1).await;
    let start = Instant::now();
    while link.read(&mut [0; 256]).await.is_ok_and(|length| length > 0) {}
    ms_since(start)
}
