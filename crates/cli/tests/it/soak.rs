//! Everything at once, for long: streams of a program, through a bridge, a bad wire and a proxy,
//! all processes, while one or the other end of the line is killed and started again.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sspc::tokio::{Client, Event, Options, State, StreamHandle};
use sspc::{Address, Config};
use tempfile::TempDir;

use crate::support::line::FAST;
use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, Stderr, random_address, sspc, wait};

const KILLS: usize = 100;
/// Streams that fetch a small page again and again.
const SMALL: usize = 4;
/// No stream needs this long to come back.
const HANGS: Duration = Duration::from_secs(60);

/// A tap between two pseudo-terminals; killed when dropped.
struct Wire {
    child: Child,
    stdin: ChildStdin,
    _stderr: Stderr,
    dir: TempDir,
}

impl Wire {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [device, gateway] =
            ["device", "gateway"].map(|name| format!("pty:{}", dir.path().join(name).display()));
        let mut command = sspc(&["tap", &device, &gateway, "--quiet", "--control", "--seed", "1"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = Stderr::of(&mut child);
        stderr.wait_for("sspc tap: ready");
        Self { stdin: child.stdin.take().unwrap(), child, _stderr: stderr, dir }
    }

    fn end(&self, name: &str) -> String {
        format!("serial:{}{FAST}", self.dir.path().join(name).display())
    }

    fn tell(&mut self, order: &str) {
        self.stdin.write_all(format!("{order}\n").as_bytes()).unwrap();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_bridge(address: &str, wire: &Wire) -> Proxy {
    let device = wire.end("device");
    let command = sspc(&["bridge", "--listen", address, "--proxy", &device]);
    let mut bridge = Proxy::spawn(command, address, tempfile::tempdir().unwrap());
    bridge.wait_for("ready");
    bridge
}

fn kill(process: &mut Proxy) {
    process.child.kill().unwrap();
    wait(&mut process.child);
}

/// What a stream did so far.
#[derive(Default)]
struct Progress {
    /// Pages that came right, or for the large stream connections that brought payload.
    done: AtomicU64,
    /// Flipped bits may reach a stream where nothing but its application can notice.
    noisy: AtomicBool,
}

/// Runs a stream as an application would: connects whenever it is not connected.
async fn live(client: Client, path: String, large: bool, progress: Arc<Progress>) {
    let patience = Duration::from_millis(1500);
    loop {
        let mut stream: StreamHandle = client.open("any").await.unwrap();
        stream.set_metadata("path", &path).unwrap();
        stream.connect();
        let mut page = Vec::new();
        loop {
            let event = match tokio::time::timeout(patience, stream.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) if progress.noisy.load(Ordering::Relaxed) => break,
                Err(_) => continue,
            };
            match event {
                Event::State { state: State::Connected, .. } => page.clear(),
                Event::Payload { data, .. } if large => {
                    if page.is_empty() {
                        progress.done.fetch_add(1, Ordering::Relaxed);
                        page.push(0);
                    }
                    drop(data);
                }
                Event::Payload { data, .. } => page.extend(data),
                Event::State { state: State::QosAckRemote, .. } if page == HELLO => {
                    progress.done.fetch_add(1, Ordering::Relaxed);
                }
                Event::State {
                    state: State::Disconnected | State::Unreachable | State::AllRetriesFailed,
                    ..
                } => stream.connect(),
                _ => {}
            }
        }
    }
}

#[test]
fn every_stream_comes_back_however_often_either_side_is_killed() {
    let mut wire = Wire::start();
    let origin = Origin::start();
    let mut proxy = Proxy::start_at(&origin.policy(), &wire.end("gateway"), &[]);
    let address = random_address();
    let mut bridge = start_bridge(&address, &wire);

    let config = Config { backoff_ms: &[20, 40, 80, 160], ..Config::HOST };
    let mut options = Options::default();
    (options.config, options.keep_trying) = (config, true);
    let address_of_bridge: Address = address.parse().unwrap();
    let client = Client::with_options(address_of_bridge, options);
    let streams: Vec<Arc<Progress>> = (0..=SMALL).map(|_| Arc::default()).collect();
    let theirs = streams.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (index, progress) in theirs.into_iter().enumerate() {
                let large = index == 0;
                let path = if large { "zeros/100000000000" } else { "hello" };
                tokio::spawn(live(client.clone(), path.to_owned(), large, progress));
            }
            std::future::pending::<()>().await;
        });
    });

    for round in 0..KILLS {
        let noisy = round % 10 == 9;
        streams.iter().for_each(|stream| stream.noisy.store(noisy, Ordering::Relaxed));
        match round % 10 {
            3 => wire.tell("cut 20ms"),
            9 => wire.tell("flip 100"),
            _ => {}
        }
        if round % 2 == 0 {
            kill(&mut bridge);
        } else {
            kill(&mut proxy);
        }
        let before: Vec<_> = streams.iter().map(|one| one.done.load(Ordering::Relaxed)).collect();
        if round % 2 == 0 {
            bridge = start_bridge(&address, &wire);
        } else {
            proxy = Proxy::start_at(&origin.policy(), &wire.end("gateway"), &[]);
        }
        if noisy {
            thread::sleep(Duration::from_millis(200));
            wire.tell("flip 0");
        }
        for (index, (stream, before)) in streams.iter().zip(before).enumerate() {
            // A page may have come before the kill and be seen after it.
            let enough = before + if index == 0 { 1 } else { 2 };
            let start = Instant::now();
            while stream.done.load(Ordering::Relaxed) < enough {
                assert!(start.elapsed() < HANGS, "round {round}: stream {index} is not back");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
