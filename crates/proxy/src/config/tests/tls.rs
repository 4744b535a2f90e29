//! Clients that connect to an address with TLS and say nothing.

use std::future::pending;
use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::support::ms_since;
use crate::{Config, ListenAddress, Proxy};

/// The time after which each of so many links is closed.
async fn closed_after(config: Config, links: usize) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let port = serve(config, &folder);
    let links = (0..links).map(|_| async {
        let mut link = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let start = Instant::now();
        while link.read(&mut [0; 256]).await.is_ok_and(|length| length > 0) {}
        ms_since(start)
    });
    join_all(links).await
}

fn serve(config: Config, folder: &TempDir) -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let [crt, pem] = ["crt", "pem"].map(|name| folder.path().join(name));
    std::fs::write(&crt, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pem, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&pem, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut proxy = Proxy::new(config).unwrap();
    let address = format!("tcp:127.0.0.1:0?cert={}&key={}", crt.display(), pem.display());
    let bound = proxy.listen(&address.parse().unwrap()).unwrap();
    let ListenAddress::Tls(address) = bound else { panic!("{bound}") };
    tokio::spawn(proxy.run(pending()));
    address.port
}

/// How many are not turned away at once.
async fn waited_for(config: Config, links: usize) -> u64 {
    let limit = u64::try_from(config.timeouts.handshake.as_millis()).unwrap();
    let closed = closed_after(config, links).await;
    closed.iter().filter(|after| **after >= limit / 2).count() as u64
}

pub(in crate::config) async fn silence_before_the_handshake(config: Config) -> u64 {
    closed_after(config, 1).await.remove(0)
}

/// One host has half of them.
pub(in crate::config) async fn handshakes_of_many_hosts(mut config: Config) -> u64 {
    let links = config.limits.handshakes + 3;
    config.limits.handshakes_per_client = usize::MAX;
    2 * waited_for(config, links).await
}

pub(in crate::config) async fn handshakes_of_one_host(config: Config) -> u64 {
    let links = config.limits.handshakes_per_client + 3;
    waited_for(config, links).await
}
