//! The guides: their numbers are those of the code, and their examples end whatever happens.

#[allow(unreachable_pub, reason = "they are as a reader copies them")]
mod echo;
#[allow(unreachable_pub, reason = "the same")]
mod keep_line;
#[allow(unreachable_pub, reason = "the same")]
mod page;
#[allow(unreachable_pub, reason = "the same")]
mod report;
#[allow(unreachable_pub, reason = "the same")]
mod tell;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use embedded_io_adapters::tokio_1::FromTokio;
use embedded_io_async::{ErrorKind, ErrorType, Read};
use sspc::embedded_io_async::{State as Lines, StreamBuffers};
use sspc::tokio::Client;
use sspc::{Address, Config, Flags, MuxConfig, Options, State};

use crate::blocking::proxy;
use crate::embedded_async::{self, Clock, with_proxy};
use crate::harness::{payload, state};
use crate::peer::{Listener, Peer};
use crate::world::Proxy;

use State::{
    AllRetriesFailed, AuthFailed, Connected, Connecting, Destroying, Disconnected, Poll,
    QosAckRemote, QosNackRemote, Unreachable,
};

const GUIDE: &str = include_str!("../../../../docs/client.md");
const README: &str = include_str!("../../../../README.md");

/// More than any example takes, less than a test may hang.
const LIMIT: Duration = Duration::from_secs(20);

#[track_caller]
fn says(row: &str) {
    assert!(GUIDE.lines().any(|line| line.starts_with(row)), "docs/client.md has no line {row}");
}

#[test]
fn the_table_of_the_configuration_tells_the_defaults() {
    let (device, host) = (Config::DEFAULT, Config::HOST);
    assert_eq!(device.window, Config::UNLIMITED);
    says(&format!("| `window` | unlimited | {} |", host.window));
    says(&format!("| `honour_credit` | {} | {} |", device.honour_credit, host.honour_credit));
    says(&format!("| `frame_payload` | {} | {} |", device.frame_payload, host.frame_payload));
    says(&format!(
        "| `frame_payload_managed` | {} | {} |",
        device.frame_payload_managed, host.frame_payload_managed
    ));
    says(&format!("| `handshake_ms` | {} | {} |", device.handshake_ms, host.handshake_ms));
    let [waits, host_waits] = [&device, &host]
        .map(|config| config.backoff_ms.iter().map(u32::to_string).collect::<Vec<_>>().join(", "));
    says(&format!("| `backoff_ms` | {waits} | {host_waits} |"));
    let longest = host.backoff_ms.iter().max().unwrap() * (100 + u32::from(host.jitter_percent));
    assert!(longest < 200_000, "a stream on a host is back within 2 s of its proxy");
    says(&format!("| `jitter_percent` | {} | {} |", device.jitter_percent, host.jitter_percent));
    says(&format!("| `reconnect` | {} | {} |", device.reconnect, host.reconnect));
    let storage = Options::default().metadata_size;
    says(&format!(
        "| metadata value | 1 byte to what fits the storage (`metadata_size`, {storage} bytes on hosts) |"
    ));
}

#[test]
fn the_examples_are_those_that_are_run_here() {
    let page = include_str!("guide/page.rs");
    assert!(README.contains(page), "README.md has another example than {page}");
    for example in [
        include_str!("guide/report.rs"),
        include_str!("guide/echo.rs"),
        include_str!("guide/tell.rs"),
        include_str!("guide/keep_line.rs"),
    ] {
        assert!(GUIDE.contains(example), "docs/client.md has another example than {example}");
    }
}

/// How it goes with a server, whether that is well, and what the proxy says of it.
fn ways() -> Vec<(&'static str, bool, Vec<u8>)> {
    let answer = payload(b"answer", Flags::WHOLE);
    let states = |states: &[State]| states.iter().flat_map(|to| state(*to)).collect::<Vec<_>>();
    let connected = states(&[Connecting, Connected]);
    let with = |verdict| [&connected[..], &answer, &states(&[verdict, Disconnected])].concat();
    vec![
        ("it answers", true, with(QosAckRemote)),
        ("a 404", false, [&connected[..], &states(&[QosNackRemote, Disconnected])].concat()),
        ("a 404 after a POLL", false, [&state(Poll)[..], &with(QosNackRemote)].concat()),
        ("it refuses", false, states(&[Connecting, Unreachable, AllRetriesFailed])),
        (
            "it refuses again and again",
            false,
            states(&[Connecting, Unreachable, Connecting, Unreachable, State::Timeout]),
        ),
        ("its certificate is wrong", false, states(&[Connecting, AuthFailed])),
        ("it hangs up", false, states(&[Connecting, Connected, Disconnected])),
        ("the proxy ends the stream", false, states(&[Connecting, Destroying])),
    ]
}

async fn serve(mut peer: Peer, says: &[u8]) {
    peer.create().await;
    while let Some(heard) = peer.hear().await {
        if heard == "ONWARD_CONNECT" {
            peer.say(says).await;
        }
    }
}

#[tokio::test]
async fn the_examples_for_tokio_end_whatever_happens() {
    for (way, is_well, says) in ways() {
        for is_report in [false, true] {
            let (listener, address) = Listener::new();
            let says = says.clone();
            let proxy = tokio::spawn(async move { serve(listener.accept().await, &says).await });
            let client = Client::new(address);
            let run = async {
                if is_report { report::report(&client).await } else { page::page(&client).await }
            };
            let end = tokio::time::timeout(LIMIT, run).await.map_err(|_| format!("hangs: {way}"));
            assert_eq!(end.unwrap().is_ok(), is_well, "{way}");
            proxy.abort();
        }
    }
}

#[tokio::test]
async fn the_example_for_tokio_ends_with_its_proxy() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move { listener.accept().await.create().await });
    let client = Client::new(address);
    let end = tokio::time::timeout(LIMIT, page::page(&client)).await.unwrap();
    assert_eq!(end.unwrap_err().to_string(), "no page: UPSTREAM_LINK_RETRY");
    proxy.await.unwrap();
}

#[test]
fn the_blocking_example_ends_whatever_happens() {
    for (way, is_well, says) in ways() {
        if way == "it refuses again and again" {
            // It waits until its 10 s are over.
            continue;
        }
        // A 404 with a body is an answer to this one.
        let is_well = is_well || way == "a 404 after a POLL";
        let (address, proxy) = proxy(move |listener| async move {
            let mut peer = listener.accept().await;
            peer.create().await;
            let connected = state(Connected);
            let at = says.windows(connected.len()).position(|frame| *frame == connected);
            let (first, answer) = says.split_at(at.map_or(says.len(), |at| at + connected.len()));
            while let Some(heard) = peer.hear().await {
                match heard.as_str() {
                    "ONWARD_CONNECT" => peer.say(first).await,
                    "message, 5 in all" => peer.say(answer).await,
                    _ => {}
                }
            }
        });
        let end = within_limit(move || echo_of(&address, is_well));
        assert!(end, "{way}");
        proxy.join().unwrap();
    }
}

fn echo_of(address: &Address, is_well: bool) -> bool {
    echo::echo(address).is_ok() == is_well
}

/// False if it takes longer.
fn within_limit(run: impl FnOnce() -> bool + Send + 'static) -> bool {
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more if it took too long.
        let _ = done.send(run());
    });
    end.recv_timeout(LIMIT).unwrap_or(false)
}

#[test]
fn the_example_for_devices_ends_whatever_happens() {
    for (way, is_well, says) in ways() {
        let proxy = Rc::new(RefCell::new(Proxy::new(MuxConfig::FAST, 2)));
        proxy.borrow_mut().onward = Some(says);
        with_proxy::<1, _, _>(proxy, async |handle| {
            assert_eq!(tell::tell(handle).await, Ok(is_well), "{way}");
        });
    }
}

/// A driver whose first reads fail, as UARTs' do at an overrun.
struct Overrun<R> {
    inner: R,
    failures: u32,
}

impl<R> ErrorType for Overrun<R> {
    type Error = ErrorKind;
}

impl<R: Read> Read for Overrun<R> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(ErrorKind::Other);
        }
        self.inner.read(buf).await.map_err(|_| ErrorKind::Other)
    }
}

struct TooOften;

impl ErrorType for TooOften {
    type Error = ErrorKind;
}

impl Read for TooOften {
    async fn read(&mut self, _: &mut [u8]) -> Result<usize, ErrorKind> {
        panic!("it is read too often");
    }
}

/// The line was over for good with the first error of its driver.
#[test]
fn the_line_of_the_example_for_devices_outlives_errors_of_its_driver() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio.block_on(async {
        let clock = Clock::new();
        let proxy = Rc::new(RefCell::new(Proxy::new(MuxConfig::FAST, 2)));
        let mut lines = Lines::<1, StreamBuffers<2048, 1361, 128>>::new(MuxConfig::FAST, 1);
        let (handle, runner) = lines.split();
        let (ours, theirs) = tokio::io::duplex(200);
        let (rx, tx) = tokio::io::split(ours);
        let rx = Overrun { inner: FromTokio::new(rx), failures: 20 };
        tokio::select! {
            told = tokio::time::timeout(LIMIT, tell::tell(handle)) => {
                assert_eq!(told, Ok(Ok(true)));
            }
            () = keep_line::keep_line(runner, rx, FromTokio::new(tx), &clock) => {
                panic!("the line is over");
            }
            () = embedded_async::serve(proxy, theirs, &clock) => panic!("the pipe is over"),
        }
    });
}

/// Nothing else ran while a driver failed again and again.
#[test]
fn a_driver_that_always_fails_keeps_nobody_from_running() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio.block_on(async {
        let clock = Clock::new();
        let mut lines = Lines::<1, StreamBuffers<2048, 1361, 128>>::new(MuxConfig::FAST, 1);
        let runner = lines.split().1;
        let rx = Overrun { inner: TooOften, failures: 110 };
        let line = keep_line::keep_line(runner, rx, Vec::new(), &clock);
        assert!(tokio::time::timeout(Duration::from_secs(1), line).await.is_err());
    });
}
