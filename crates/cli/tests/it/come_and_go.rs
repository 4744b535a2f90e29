//! Clients that come, work, stall and vanish, with reloads in between: when all have left, the proxy
//! holds what it held before them.
//!
//! With the other tests it takes some seconds; `SSPC_SOAK_SECONDS` makes it a soak.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::SplitMix64;
use sspc::tokio::{Client, Event, State};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, PayloadHead, Piece, Streamtype, ToProxy};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::origin::{HELLO, MESSAGES, Origin};
use crate::support::{Proxy, random_address, signal, sspc};

/// Clients in a cycle.
const CLIENTS: u64 = 180;
/// Cycles before memory counts: pools and allocators fill.
const WARM_UP: u64 = 2;
/// Cycles whose memory counts, at least.
const CYCLES_MIN: usize = 2;
/// How long those stay who stall.
const STALL: Duration = Duration::from_millis(600);
/// Nothing here takes as long.
const HANGS: Duration = Duration::from_secs(60);
/// By how much memory differs for no reason but the allocator's.
const RESIDENT_SLACK_KIB: usize = 4 * 1024;

/// What a process holds.
#[derive(Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident_kib: usize,
}

impl Held {
    fn of(proxy: &Proxy) -> Self {
        let process = format!("/proc/{}", proxy.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
            threads: value("Threads:"),
            resident_kib: value("VmRSS:"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, threads, resident_kib } = self;
        write!(f, "{descriptors} descriptors, {threads} threads, {resident_kib} KiB")
    }
}

/// Waits until the proxy holds no more of this than before.
fn settle(proxy: &Proxy, before: &Held, what: fn(&Held) -> usize) -> Held {
    let start = Instant::now();
    loop {
        let held = Held::of(proxy);
        if what(&held) <= what(before) {
            return held;
        }
        assert!(start.elapsed() < HANGS, "the proxy holds {held}; before its clients: {before}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_proxy_holds_no_more_after_its_clients_than_before_them() {
    let seconds = std::env::var("SSPC_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(0, |text| text.parse().expect("a number of seconds"));
    let address = random_address();
    let mut proxy = start(&address);
    let ready = proxy.wait_for("ready");
    let (_, tcp) = ready.rsplit_once(", ").unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Once it has done this, nothing of it is still on its way up.
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("reloaded");
    let (start, before) = (Instant::now(), Held::of(&proxy));
    eprintln!("before: {before}");
    let mut resident = Vec::new();
    for cycle in 0.. {
        let is_over = start.elapsed() > Duration::from_secs(seconds);
        if is_over && resident.len() >= CYCLES_MIN {
            break;
        }
        runtime.block_on(clients(cycle, [&address, tcp], &mut proxy));
        let held = settle(&proxy, &before, |held| held.descriptors);
        eprintln!("cycle {cycle}, after {} s: {held}", start.elapsed().as_secs());
        if cycle >= WARM_UP {
            resident.push(held.resident_kib);
        }
    }
    // Threads for what would block stay for some seconds.
    let after = settle(&proxy, &before, |held| held.threads);
    eprintln!("after: {after}");
    // Not one number alone: they go up and down by chance.
    let third = resident.len().div_ceil(3);
    let most = resident[..third].iter().max().unwrap();
    let least = resident[resident.len() - third..].iter().min().unwrap();
    assert!(*least <= most + RESIDENT_SLACK_KIB, "memory grows, KiB: {resident:?}");
}

/// A proxy at this address, and over TCP.
fn start(address: &str) -> Proxy {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("policy.json"), origin.policy()).unwrap();
    let over = format!(
        r#"{{"s": [{{"any2": {{"endpoint": "127.0.0.1", "port": {}, "protocol": "h2",
           "opportunistic": true, "http_url": "${{path}}", "metadata": [{{"path": ""}}]}}}}]}}"#,
        origin.address.port()
    );
    std::fs::write(path("over.json"), over).unwrap();
    let mut command = sspc(&["proxy", "--listen", address, "--listen", "tcp:127.0.0.1:0"]);
    command.args(["--policy", &path("policy.json"), "--overlay", &path("over.json")]);
    // So that each cycle is short.
    command.args(["--timeout", "keep_warm=0.3"]);
    Proxy::spawn(command, address, dir)
}

/// Clients of all kinds, for as long as the slowest of them needs, and reloads meanwhile.
async fn clients(cycle: u64, addresses: [&str; 2], proxy: &mut Proxy) {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let rng = SplitMix64::seed_from_u64(cycle * CLIENTS + number);
        let address = addresses[number as usize % 2].to_owned();
        // Each kind over both.
        let kind = number / 2 % KINDS;
        clients.spawn(async move {
            let done = timeout(HANGS, client(&address, kind, rng)).await;
            assert!(done.is_ok(), "a client of kind {kind} hangs at {address}");
        });
    }
    for _ in 0..2 {
        sleep(STALL / 3).await;
        signal(&proxy.child, Signal::SIGHUP);
        proxy.wait_for("reloaded");
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

const KINDS: u64 = 9;

async fn client(address: &str, kind: u64, mut rng: SplitMix64) {
    sleep(Duration::from_millis(rng.random_range(0..1000))).await;
    match kind {
        0 => assert_eq!(fetch(address, "any", "hello").await, HELLO),
        1 => assert_eq!(fetch(address, "any2", "hello").await, HELLO),
        2 => assert_eq!(fetch(address, "any2", "zeros/200000").await.len(), 200_000),
        3 => upload(address).await,
        4 => assert_eq!(fetch(address, "messages", "").await, MESSAGES.concat().as_bytes()),
        5 => stall(address, if rng.random() { "any" } else { "any2" }).await,
        6 => vanish(address, ["any", "any2", "silent", "upload", "messages"], &mut rng).await,
        7 => vanish(address, ["refused", "cut", "missing", "once", "unknown"], &mut rng).await,
        _ => {
            let mut noise = [0; 300];
            rng.fill(&mut noise);
            send_and_leave(address, &noise).await;
        }
    }
}

/// What there is at this path.
async fn fetch(address: &str, streamtype: &str, path: &str) -> Vec<u8> {
    let client = Client::new(address.parse().unwrap());
    let mut stream = client.open(streamtype).await.unwrap();
    if !path.is_empty() {
        stream.set_metadata("path", path).unwrap();
    }
    stream.connect();
    let mut body = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => body.extend(data),
            // The first is how a page ends, the second how a websocket does; the last is wrong.
            Event::State {
                state: State::QosAckRemote | State::Disconnected | State::AllRetriesFailed,
                ..
            } => break,
            _ => {}
        }
    }
    stream.close().await;
    body
}

async fn upload(address: &str) {
    let client = Client::new(address.parse().unwrap());
    let mut stream = client.open("upload").await.unwrap();
    stream.send_message(vec![b'u'; 100_000]).await.unwrap();
    let mut length = 0;
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => length += data.len(),
            Event::State { state: State::QosAckRemote, .. } => break,
            _ => {}
        }
    }
    assert!(length > 100_000, "{length}");
    stream.close().await;
}

// Those below do not do as they should, so they have only a socket.

trait Link: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Link for T {}

async fn link(address: &str) -> Box<dyn Link> {
    match address.split_once(':').unwrap() {
        ("uds", name) => Box::new(UnixStream::connect(name.replacen('@', "\0", 1)).await.unwrap()),
        (_, address) => Box::new(TcpStream::connect(address).await.unwrap()),
    }
}

/// The frames of a stream that connects and sends.
fn frames(name: &str, path: &str) -> Vec<u8> {
    let (pid, tx_credit, name) = (1, CREDIT_UNLIMITED, name.as_bytes());
    let payload = [b'p'; 1000];
    let frames = [
        ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name }),
        ToProxy::Metadata { name: b"path", value: Piece::whole(path.as_bytes()).unwrap() },
        ToProxy::OnwardConnect,
        ToProxy::Payload {
            head: PayloadHead::new(Flags::SOM),
            rideshare: None,
            piece: Piece::whole(&payload).unwrap(),
        },
    ];
    let mut bytes = Vec::new();
    for frame in frames {
        let mut room = [0; 2048];
        let length = frame.encode(&mut room).unwrap();
        bytes.extend_from_slice(&room[..length]);
    }
    bytes
}

/// Begins a long download, reads little of it, and leaves in the middle.
async fn stall(address: &str, streamtype: &str) {
    let mut link = link(address).await;
    link.write_all(&frames(streamtype, "zeros/100000000")).await.unwrap();
    link.read_exact(&mut [0; 4096]).await.unwrap();
    sleep(STALL).await;
}

/// Leaves before all is sent, or when it is.
async fn vanish(address: &str, streamtypes: [&str; 5], rng: &mut SplitMix64) {
    let bytes = frames(streamtypes[rng.random_range(0..5)], "zeros/10000000");
    let sent = rng.random_range(0..=bytes.len() * 2).min(bytes.len());
    send_and_leave(address, &bytes[..sent]).await;
}

async fn send_and_leave(address: &str, bytes: &[u8]) {
    let mut link = link(address).await;
    // The proxy may have had enough.
    let _ = link.write_all(bytes).await;
    sleep(Duration::from_millis(200)).await;
}
