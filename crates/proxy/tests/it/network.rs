//! Lines over a network: devices at `udp:` and, with keys, at `tcp:` addresses, on loopback.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sspc::tokio::{Classes, Client as Device, StreamHandle};
use sspc::{Options, State};
use sspc_proxy::{Config, Counters, ListenAddress, Proxy};
use sspc_sim::Rng;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::serial::{WHOLE, fetch, fetch_at_last, get, pattern, patterns, settle, until};
use crate::smd::{joined, next};
use crate::support::*;

/// Longer than anything takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy that devices reach over a network, with keys for `pump` and `lamp`.
struct Site {
    serving: Serving,
    addresses: Vec<SocketAddr>,
    folder: TempDir,
}

impl Site {
    /// At these carriers, `udp` or `tcp`, with keys.
    async fn new(carriers: &[&str], length: usize, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder, "table", &["pump", "lamp"]);
        let listen = |carrier: &&str| format!("{carrier}:127.0.0.1:0?keys={}", keys.display());
        let at: Vec<_> = carriers.iter().map(listen).collect();
        Self::at(&at, length, folder, change).await
    }

    async fn at(
        listen: &[String],
        length: usize,
        folder: TempDir,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::new(policy(&get(patterns().await, length)));
        change(&mut config);
        let mut proxy = Proxy::new(config).unwrap();
        let mut addresses = Vec::new();
        for text in listen {
            let ListenAddress::Network(address) = proxy.listen(&text.parse().unwrap()).unwrap()
            else {
                panic!("{text}")
            };
            addresses
                .push((address.host.parse::<std::net::IpAddr>().unwrap(), address.port).into());
        }
        let serving = Serving::run(proxy, tempfile::tempdir().unwrap());
        Self { serving, addresses, folder }
    }

    /// A device with this id and its key, whose datagrams go by way of `at`.
    fn device(&self, carrier: &str, at: SocketAddr, id: &str) -> Device {
        let keys = keys(&self.folder, &format!("{id}.key"), &[id]);
        device(&format!("{carrier}:{at}?keys={}", keys.display()))
    }

    fn counters(&self) -> Counters {
        self.serving.handle.counters()
    }
}

fn device(address: &str) -> Device {
    let mut options = Options::default();
    options.connect_timeout = PATIENCE;
    options.config.backoff_ms = &[20, 50, 100];
    Device::with_options(address.parse().unwrap(), options)
}

/// A stream of the device, created.
async fn open(device: &Device) -> StreamHandle {
    let mut stream = timeout(PATIENCE, device.open("get")).await.expect("no link").unwrap();
    until(&mut stream, State::Creating).await;
    stream
}

/// A file of the keys of these devices.
fn keys(folder: &TempDir, name: &str, ids: &[&str]) -> PathBuf {
    let key = |id: &&str| {
        let digits: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{id} {digits:0<64}\n")
    };
    let text: String = ids.iter().map(key).collect();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Stands between a device and the proxy, and loses, doubles and reorders what passes.
struct Relay {
    /// Where the device finds it.
    address: SocketAddr,
    /// What the device sent first.
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Where the proxy sees it.
    upstream: Arc<Mutex<Arc<UdpSocket>>>,
    proxy: SocketAddr,
}

impl Relay {
    async fn new(proxy: SocketAddr, lost: u64, seed: u64) -> Self {
        let downstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let upstream = Arc::new(Mutex::new(Self::upstream(proxy).await));
        let relay = Self {
            address: downstream.local_addr().unwrap(),
            recorded: Arc::default(),
            upstream: Arc::clone(&upstream),
            proxy,
        };
        let recorded = Arc::clone(&relay.recorded);
        tokio::spawn(async move {
            let (mut device, mut late) = (None, [None, None]);
            let (mut up, mut down, mut rng) = ([0; 2048], [0; 2048], Rng::new(seed));
            loop {
                let out = Arc::clone(&upstream.lock().unwrap());
                let (way, datagram) = tokio::select! {
                    came = downstream.recv_from(&mut up) => {
                        let (length, from) = came.unwrap();
                        device = Some(from);
                        let mut recorded = recorded.lock().unwrap();
                        if recorded.len() < 6 {
                            recorded.push(up[..length].to_vec());
                        }
                        (0, up[..length].to_vec())
                    }
                    Ok(length) = out.recv(&mut down) => (1, down[..length].to_vec()),
                    // Another one may be in its place by now.
                    () = sleep(Duration::from_millis(50)) => continue,
                };
                let mut sent = Vec::new();
                match rng.below(1000) {
                    chance if chance < lost => {}
                    chance if chance < lost + 20 => sent = vec![datagram.clone(), datagram],
                    chance if chance < lost + 50 => late[way] = Some(datagram),
                    _ => sent = [Some(datagram), late[way].take()].into_iter().flatten().collect(),
                }
                for datagram in sent {
                    match (way, device) {
                        (0, _) => _ = out.send(&datagram).await,
                        (_, Some(device)) => _ = downstream.send_to(&datagram, device).await,
                        _ => {}
                    }
                }
            }
        });
        relay
    }

    async fn upstream(proxy: SocketAddr) -> Arc<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(proxy).await.unwrap();
        Arc::new(socket)
    }

    /// From now on the proxy sees another address, as behind a NAT that forgot.
    async fn move_on(&self) {
        *self.upstream.lock().unwrap() = Self::upstream(self.proxy).await;
    }
}

/// Sends these from so many ports, and checks that nothing that comes back is longer.
async fn attack(proxy: SocketAddr, ports: usize, datagrams: &[Vec<u8>]) {
    let mut rng = Rng::new(9);
    for _ in 0..ports / 500 {
        let mut sockets = Vec::new();
        for _ in 0..500 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let noise: Vec<u8> = (0..1 + rng.below(1400)).map(|_| rng.below(256) as u8).collect();
            let recorded = &datagrams[rng.below(datagrams.len() as u64) as usize];
            let datagram = if rng.below(3) == 0 { &noise } else { recorded };
            // The proxy's queue may be full.
            let _ = socket.send_to(datagram, proxy).await;
            sockets.push((socket, datagram.len()));
            // It has its turn.
            tokio::task::yield_now().await;
        }
        for (socket, sent) in &sockets {
            let mut room = [0; 2048];
            let mut answered = 0;
            while let Ok(length) = socket.try_recv(&mut room) {
                answered += length;
            }
            assert!(answered <= *sent, "{answered} bytes for {sent}");
        }
    }
}

/// Two devices, whose datagrams are lost, doubled and reordered, and one who has no key but what the
/// others said, and 10,000 ports. There is a place for one more device, which strangers cannot take.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_touch_no_device_and_take_no_place() {
    let length = 400_000;
    let site = Site::new(&["udp"], length, |config| config.limits.lines = 3).await;
    let proxy = site.addresses[0];
    let relays = [Relay::new(proxy, 50, 1).await, Relay::new(proxy, 50, 2).await];
    let mut streams = Vec::new();
    for (relay, id) in relays.iter().zip(["pump", "lamp"]) {
        let device = site.device("udp", relay.address, id);
        let stream = open(&device).await;
        streams.push((device, stream));
    }
    let mut said = Vec::new();
    for relay in &relays {
        said.extend(relay.recorded.lock().unwrap().clone());
    }
    let attacking = tokio::spawn(async move { attack(proxy, 10_000, &said).await });
    let mut fetching = Vec::new();
    for (device, mut stream) in streams {
        fetching.push(tokio::spawn(async move {
            let (states, body) = timeout(PATIENCE, fetch(&mut stream)).await.expect("it stalls");
            assert_eq!(states, WHOLE);
            assert!(body == pattern(length), "bytes came wrong");
            (device, stream)
        }));
    }
    let mut devices = Vec::new();
    for fetching in fetching {
        devices.push(fetching.await.unwrap());
    }
    attacking.await.unwrap();
    // A stranger with a wrong key, and one that nobody knows.
    for (id, key) in [("pump", "lamp"), ("door", "door")] {
        let text = std::fs::read_to_string(keys(&site.folder, "key", &[key])).unwrap();
        let wrong = site.folder.path().join("wrong");
        std::fs::write(&wrong, text.replace(&format!("{key} "), &format!("{id} "))).unwrap();
        std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut options = Options::default();
        options.connect_timeout = Duration::from_millis(700);
        let address = format!("udp:{proxy}?keys={}", wrong.display());
        let refused = Device::with_options(address.parse().unwrap(), options).open("get").await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("it has another key for this device, or none"), "{refused}");
    }
    let counters = site.counters();
    assert_eq!((counters.links_up, counters.link_losses, counters.over_limit), (2, 0, 0));
    assert_eq!(counters.sessions_total, 2);

    let third =
        device(&format!("udp:{proxy}?keys={}", site.folder.path().join("lamp.key").display()));
    let mut stream = open(&third).await;
    assert!(timeout(PATIENCE, fetch(&mut stream)).await.unwrap().1 == pattern(length));
    assert_eq!(site.counters().links_up, 3);
}

/// Each device counts by itself, and has no more lines than it may.
#[tokio::test]
async fn a_device_has_no_more_lines_than_it_may() {
    let site = Site::new(&["udp", "tcp"], 10, |config| config.limits.lines_per_client = 2).await;
    for (carrier, at) in ["udp", "tcp"].into_iter().zip(&site.addresses) {
        let mut held = Vec::new();
        // Paths of one file, since streams of one address share its line.
        let pump = keys(&site.folder, "pump.key", &["pump"]);
        for copy in 0..2 {
            let path = site.folder.path().join(format!("{carrier}{copy}"));
            std::fs::copy(&pump, &path).unwrap();
            let device = device(&format!("{carrier}:{at}?keys={}", path.display()));
            held.push((open(&device).await, device));
        }
        let mut options = Options::default();
        options.connect_timeout = Duration::from_millis(700);
        let over = format!("{carrier}:{at}?keys={}", pump.display());
        let over = Device::with_options(over.parse().unwrap(), options);
        over.open("get").await.unwrap_err();
        let before = site.counters().over_limit;
        assert!(before > 0);
        let other = site.device(carrier, *at, "lamp");
        open(&other).await;
    }
}

/// The device's session goes on from another address: the proxy does not know it there, and the
/// device finds out that nobody answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_address_changes_is_met_again() {
    let site = Site::new(&["udp"], 50_000, |_| {}).await;
    let relay = Relay::new(site.addresses[0], 0, 3).await;
    let device = site.device("udp", relay.address, "pump");
    let mut stream = open(&device).await;
    assert_eq!(fetch(&mut stream).await.0, WHOLE);
    relay.move_on().await;
    timeout(PATIENCE, fetch_at_last(&mut stream, 50_000)).await.expect("it is not met again");
}

/// As on a serial line: the ends meet again, whichever of them restarts, at any time.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_restarts_is_met_again() {
    for carrier in ["udp", "tcp"] {
        let site = Site::new(&[carrier], 50_000, |_| {}).await;
        let at = site.addresses[0];
        let device = site.device(carrier, at, "pump");
        let mut stream = open(&device).await;
        assert_eq!(fetch(&mut stream).await.0, WHOLE);
        let Site { serving, folder, .. } = site;
        serving.stop().await;
        let listen = format!("{carrier}:{at}?keys={}", folder.path().join("table").display());
        let _again = Site::at(&[listen], 50_000, folder, |_| {}).await;
        let again = timeout(PATIENCE, fetch_at_last(&mut stream, 50_000)).await;
        again.unwrap_or_else(|_| panic!("{carrier}: it is not met again"));
    }
}

/// Without keys it is for this machine alone.
#[tokio::test]
async fn without_keys_a_proxy_listens_for_this_machine_alone() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::at(&["udp:127.0.0.1:0".to_owned()], 100_000, folder, |_| {}).await;
    let mut streams = Vec::new();
    let here = device(&format!("udp:{}", site.addresses[0]));
    for _ in 0..20 {
        streams.push(open(&here).await);
    }
    for stream in &mut streams {
        let (states, body) = fetch(stream).await;
        assert_eq!((states.as_slice(), body == pattern(100_000)), (&WHOLE[..], true));
    }
    assert_eq!(site.counters().links_up, 1, "streams share a line");

    let mut proxy = Proxy::new(Config::new(policy(&get(1, 1)))).unwrap();
    for address in ["udp:0.0.0.0:0", "udp:[::]:0"] {
        let refused = proxy.listen(&address.parse().unwrap()).unwrap_err().to_string();
        let advice = format!("needs keys; write {address}?keys=/path");
        assert!(refused.contains(&advice), "{refused}");
    }
    let refused = device("udp:192.0.2.1:7682").open("get").await.unwrap_err().to_string();
    assert!(refused.contains("write udp:192.0.2.1:7682?keys=/path"), "{refused}");
    let missing = "udp:127.0.0.1:0?keys=/nowhere/keys".parse().unwrap();
    let refused = proxy.listen(&missing).unwrap_err().to_string();
    assert!(refused.contains("cannot read its keys: /nowhere/keys: No such file"), "{refused}");
}

/// Over TCP each connection is a line; one that has no key is given up, and touches nobody.
#[tokio::test(flavor = "multi_thread")]
async fn devices_at_one_tcp_address_do_not_touch_each_other() {
    let length = 1_000_000;
    let limit = Duration::from_millis(500);
    let site = Site::new(&["tcp"], length, |config| config.timeouts.link = limit).await;
    let at = site.addresses[0];
    // What deployed clients say, and noise.
    let strangers = [b"\xaa\0\x0b\x01\xff\xff\xff\xff\0\0\0\x01get".to_vec(), vec![0x5a; 5000]];
    let mut links = Vec::new();
    for said in &strangers {
        let mut link = TcpStream::connect(at).await.unwrap();
        link.write_all(said).await.unwrap();
        links.push(link);
    }
    let mut fetching = Vec::new();
    for id in ["pump", "lamp"] {
        let device = site.device("tcp", at, id);
        let mut stream = open(&device).await;
        fetching.push(tokio::spawn(async move {
            let (states, body) = timeout(PATIENCE, fetch(&mut stream)).await.expect("it stalls");
            assert_eq!((states.as_slice(), body == pattern(length)), (&WHOLE[..], true));
            (device, stream)
        }));
    }
    for mut link in links {
        let mut said = Vec::new();
        // Greeted, and after a while left: reset, if it said what nobody read.
        let _ = timeout(PATIENCE, link.read_to_end(&mut said)).await.expect("it is kept");
    }
    let mut held = Vec::new();
    for fetching in fetching {
        held.push(fetching.await.unwrap());
    }
    let counters = site.counters();
    assert_eq!((counters.links_up, counters.link_losses, counters.sessions_total), (2, 0, 2));
}

/// A peer that is gone is noticed as on a serial line, and its place is free again.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_gone_is_given_up() {
    let site = Site::new(&["udp"], 1000, |config| {
        config.limits.lines = 1;
        config.timeouts.link = Duration::from_millis(100);
    })
    .await;
    let relay = Relay::new(site.addresses[0], 0, 4).await;
    let device = site.device("udp", relay.address, "pump");
    open(&device).await;
    drop(device);
    settle(|| site.counters().links_up == 0).await;
    let next = site.device("udp", site.addresses[0], "lamp");
    let mut stream = open(&next).await;
    assert_eq!(fetch(&mut stream).await.0.last(), Some(&State::Disconnected));
}

/// Two devices whose datagrams are lost, doubled and reordered hear each other, and each message once
/// and in its turn.
#[tokio::test(flavor = "multi_thread")]
async fn system_messages_cross_lossy_lines() {
    let site = Site::new(&["udp"], 10, |config| config.limits.smd_rate = 100_000).await;
    let mut relays = Vec::new();
    let mut all = Vec::new();
    for (seed, id) in [(1, "pump"), (2, "lamp")] {
        let relay = Relay::new(site.addresses[0], 50, seed).await;
        let device = site.device("udp", relay.address, id);
        all.push(joined(&device, Classes::NETWORK | Classes::SYSTEM_STATE).await);
        relays.push((relay, device));
    }
    for smd in &mut all {
        assert_eq!(next(smd).await, r#"{"state":"OPERATIONAL"}"#);
    }
    let long = "x".repeat(370);
    for turn in 0..50 {
        for sender in 0..all.len() {
            let text = format!("{turn} {sender} {long}");
            all[sender].send(Classes::NETWORK, &text).await.unwrap();
            for smd in &mut all {
                assert_eq!(next(smd).await, text);
            }
        }
    }
    for smd in all {
        smd.close().await;
    }
    settle(|| site.counters().sessions_open == 0).await;
}
