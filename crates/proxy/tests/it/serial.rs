//! Serial lines, which are pseudo-terminals here, with our client's engine at their other ends.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sspc::tokio::{Client as Device, Event, StreamHandle};
use sspc::{Options, State};
use sspc_policy::Policy;
use sspc_proxy::{Config, ListenAddress, ListenError, Proxy};
use sspc_sim::{Cable, Rng};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::*;

/// Finds out soon that the other end is gone. A busy machine may be taken for a dead one.
const FAST: &str = "?baud=2000000&profile=fast";
/// Takes no busy machine for a dead one.
const PATIENT: &str = "?baud=2000000";

/// A proxy with a serial port, and the port at the cable's other end.
struct Site {
    serving: Serving,
    cables: Vec<Cable>,
    settings: Vec<&'static str>,
    _folders: Vec<TempDir>,
}

impl Site {
    fn new(policy_text: &str, settings: &[&'static str]) -> Self {
        Self::of(Proxy::new(Config::new(policy(policy_text))).unwrap(), settings)
    }

    fn of(mut proxy: Proxy, settings: &[&'static str]) -> Self {
        let (mut cables, mut folders) = (Vec::new(), Vec::new());
        for settings in settings {
            let folder = tempfile::tempdir().unwrap();
            let cable = Cable::new(folder.path()).unwrap();
            let address = address(&cable.port(1), settings);
            assert_eq!(proxy.listen(&address).unwrap(), address);
            cables.push(cable);
            folders.push(folder);
        }
        let serving = Serving::run(proxy, tempfile::tempdir().unwrap());
        Self { serving, cables, settings: settings.to_vec(), _folders: folders }
    }

    fn device(&self, line: usize) -> Device {
        let mut options = Options::default();
        options.keep_trying = true;
        options.config.backoff_ms = &[20, 50, 100];
        let port = format!("serial:{}{}", self.cables[line].port(0).display(), self.settings[line]);
        Device::with_options(port.parse().unwrap(), options)
    }
}

fn address(port: &Path, settings: &str) -> ListenAddress {
    format!("serial:{}{settings}", port.display()).parse().unwrap()
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// A server of a pattern, as long as the path says.
pub(crate) async fn patterns() -> u16 {
    server(|mut link| async move {
        let (head, _) = request(&mut link).await;
        let path = head.split(' ').nth(1).unwrap();
        let length = path.trim_start_matches('/').parse().unwrap();
        // The client may have gone.
        let _ = link.write_all(&response(200, "", &pattern(length))).await;
    })
    .await
}

pub(crate) fn get(port: u16, length: usize) -> String {
    format!(
        r#"{{"s": [{{"get": {{"endpoint": "127.0.0.1", "port": {port}, "http_url": "{length}",
            "opportunistic": true}}}}]}}"#
    )
}

pub(crate) async fn until(stream: &mut StreamHandle, wanted: State) {
    while !matches!(stream.next().await.unwrap(), Event::State { state, .. } if state == wanted) {}
}

/// Waits for what comes by itself.
pub(crate) async fn settle(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// A whole transaction: its states and its body.
pub(crate) async fn fetch(stream: &mut StreamHandle) -> (Vec<State>, Vec<u8>) {
    let (mut states, mut body) = (Vec::new(), Vec::new());
    stream.connect();
    while states.last() != Some(&State::Disconnected) {
        match stream.next().await.unwrap() {
            Event::State { state, .. } => states.push(state),
            Event::Payload { data, .. } => body.extend_from_slice(&data),
            _ => {}
        }
    }
    (states, body)
}

/// Fetches until a whole transaction passes: what is lost with a link may be asked for again.
pub(crate) async fn fetch_at_last(stream: &mut StreamHandle, length: usize) {
    while fetch(stream).await.1 != pattern(length) {}
}

pub(crate) const WHOLE: [State; 4] =
    [State::Connecting, State::Connected, State::QosAckRemote, State::Disconnected];

#[tokio::test]
async fn a_get_passes_over_a_line() {
    let site = Site::new(&get(patterns().await, 300_000), &[PATIENT]);
    let mut stream = site.device(0).open("get").await.unwrap();
    until(&mut stream, State::Creating).await;
    for _ in 0..2 {
        let (states, body) = fetch(&mut stream).await;
        assert_eq!(states, WHOLE);
        assert!(body == pattern(300_000));
    }
    let counters = site.serving.handle.counters();
    assert_eq!((counters.links_up, counters.link_losses), (1, 0));
    assert_eq!((counters.sessions_open, counters.sessions_total), (1, 1));
    assert_eq!(counters.bytes_to_clients, 600_000);
    stream.close().await;
    settle(|| site.serving.handle.counters().sessions_open == 0).await;
}

#[tokio::test]
async fn each_line_has_its_own_streams() {
    let site = Site::new(&get(patterns().await, 50_000), &[FAST, PATIENT]);
    let mut streams = Vec::new();
    for line in [0, 1, 0, 1, 0, 1] {
        streams.push(site.device(line).open("get").await.unwrap());
    }
    let fetches = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            until(&mut stream, State::Creating).await;
            fetch_at_last(&mut stream, 50_000).await;
            stream
        })
    });
    let fetches: Vec<_> = fetches.collect();
    let mut streams = Vec::new();
    for fetch in fetches {
        streams.push(fetch.await.unwrap());
    }
    // One of them is lost, and the other does not notice.
    site.cables[0].cut();
    until(&mut streams[0], State::UpstreamLinkRetry).await;
    let (states, body) = fetch(&mut streams[1]).await;
    assert_eq!((states, body.len()), (WHOLE.to_vec(), 50_000));
}

/// Counts the connections that are open to a server that says nothing after its head.
async fn silent(open: Arc<AtomicUsize>) -> u16 {
    server(move |mut link: TcpStream| {
        let open = Arc::clone(&open);
        async move {
            let _ = request(&mut link).await;
            open.fetch_add(1, Ordering::SeqCst);
            link.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc").await.unwrap();
            let _ = link.read(&mut [0; 8]).await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn a_cut_cable_ends_the_onward_connection_and_streams_go_on_after_it() {
    let open = Arc::new(AtomicUsize::new(0));
    let site = Site::new(&get(silent(Arc::clone(&open)).await, 1), &[FAST]);
    let mut stream = site.device(0).open("get").await.unwrap();
    stream.connect();
    for _ in 0..3 {
        until(&mut stream, State::Connected).await;
        while !matches!(stream.next().await.unwrap(), Event::Payload { data, .. } if data == b"abc")
        {
        }
        site.cables[0].cut();
        until(&mut stream, State::Disconnected).await;
        settle(|| open.load(Ordering::SeqCst) == 0).await;
        site.cables[0].restore();
        // The stream is made again, and connected again as its application had asked.
    }
    until(&mut stream, State::Connected).await;
    let counters = site.serving.handle.counters();
    assert!(counters.link_losses >= 3, "{counters:?}");
    assert_eq!((counters.links_up, counters.protocol_errors), (1, 0));
}

#[tokio::test]
async fn a_port_that_is_unplugged_may_come_back() {
    let site = Site::new(&get(patterns().await, 5000), &[FAST]);
    let mut stream = site.device(0).open("get").await.unwrap();
    until(&mut stream, State::Creating).await;
    for side in [1, 0, 1] {
        fetch_at_last(&mut stream, 5000).await;
        let cable = &site.cables[0];
        cable.unplug(side).unwrap();
        until(&mut stream, State::UpstreamLinkRetry).await;
        settle(|| site.serving.handle.counters().sessions_open == 0).await;
        cable.plug(side).unwrap();
        settle(|| stream.is_created()).await;
    }
    fetch_at_last(&mut stream, 5000).await;
}

#[tokio::test]
async fn a_shutdown_lets_a_transaction_on_a_line_finish() {
    let site = Site::new(&get(patterns().await, 400_000), &[PATIENT]);
    let mut stream = site.device(0).open("get").await.unwrap();
    until(&mut stream, State::Creating).await;
    stream.connect();
    until(&mut stream, State::Connected).await;
    let stopped = tokio::spawn(site.serving.stop());
    let mut body = Vec::new();
    loop {
        match stream.next().await.unwrap() {
            Event::Payload { data, .. } => body.extend_from_slice(&data),
            Event::State { state: State::Disconnected, .. } => break,
            _ => {}
        }
    }
    assert!(body == pattern(400_000));
    stopped.await.unwrap();
}

#[tokio::test]
async fn more_streams_than_one_line_may_have_are_turned_away() {
    let mut config = Config::new(policy(&get(1, 1)));
    config.limits.sessions_per_client = 2;
    let site = Site::of(Proxy::new(config).unwrap(), &[PATIENT]);
    let device = site.device(0);
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(device.open("get").await.unwrap());
    }
    settle(|| site.serving.handle.counters().over_limit > 0).await;
    drop(streams);
}

#[test]
fn what_cannot_be_opened_is_told_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = Proxy::new(Config::new(Policy::builtin())).unwrap();
    let mut refusal = |path: &Path| proxy.listen(&address(path, PATIENT)).unwrap_err();
    let missing = refusal(&folder.path().join("ttyUSB9"));
    assert!(missing.to_string().contains("is the adapter plugged in?"), "{missing}");
    assert!(missing.to_string().starts_with("cannot listen at serial:/"), "{missing}");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "keep me").unwrap();
    let wrong = refusal(&file);
    assert!(wrong.to_string().contains("it is not a serial port"), "{wrong}");
    let cable = Cable::new(folder.path()).unwrap();
    let mut second = Proxy::new(Config::new(Policy::builtin())).unwrap();
    second.listen(&address(&cable.port(0), PATIENT)).unwrap();
    let taken = refusal(&cable.port(0));
    assert!(matches!(taken, ListenError::InUse { .. }), "{taken}");
    assert_eq!(proxy.addresses().count(), 0);
    // It is free again when its proxy is gone.
    drop(second);
    proxy.listen(&address(&cable.port(0), PATIENT)).unwrap();
}

/// Whatever comes on a line, it harms nobody else and the line itself only while it comes.
#[tokio::test]
async fn noise_on_one_line_leaves_the_other_alone() {
    const NOISE: usize = 1_000_000;
    let site = Site::new(&get(patterns().await, 20_000), &[FAST, PATIENT]);
    let over = Arc::new(Mutex::new(false));
    let mut good = site.device(1).open("get").await.unwrap();
    until(&mut good, State::Creating).await;
    let mut port =
        std::fs::File::options().read(true).write(true).open(site.cables[0].port(0)).unwrap();
    let mut sink = port.try_clone().unwrap();
    let done = Arc::clone(&over);
    let noise = tokio::task::spawn_blocking(move || {
        let mut rng = Rng::new(0x5eed);
        for _ in 0..NOISE / 100 {
            let mut bytes = [0; 100];
            bytes.fill_with(|| rng.below(256) as u8);
            // Often enough what looks like the mux, so that not all of it is skipped as noise.
            for _ in 0..8 {
                bytes[rng.below(100) as usize] = 0xf0 + rng.below(10) as u8;
            }
            port.write_all(&bytes).unwrap();
        }
        *done.lock().unwrap() = true;
    });
    // Nothing is to pile up on the way back.
    std::thread::spawn(move || while matches!(sink.read(&mut [0; 4096]), Ok(1..)) {});
    let mut rounds = 0;
    while rounds < 3 || !*over.lock().unwrap() {
        let (states, body) = fetch(&mut good).await;
        assert_eq!(states, WHOLE);
        assert!(body == pattern(20_000));
        rounds += 1;
    }
    noise.await.unwrap();
    let counters = site.serving.handle.counters();
    assert!(counters.links_up >= 1, "{counters:?}");
    // Unplugged and plugged: the source of the noise is gone.
    site.cables[0].unplug(0).unwrap();
    site.cables[0].plug(0).unwrap();
    let mut stream = site.device(0).open("get").await.unwrap();
    fetch_at_last(&mut stream, 20_000).await;
}
