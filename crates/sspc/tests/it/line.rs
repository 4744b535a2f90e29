//! The clients for hosts over serial lines, which are pseudo-terminals here, against a scripted
//! proxy at the other end.

use std::time::Duration;

use sspc::line::{Line, LineConfig, Role, SerialAddress};
use sspc::tokio::{Client, Event, StreamHandle};
use sspc::{Address, Error, Flags, Options, State};
use sspc_sim::Cable;
use tempfile::TempDir;
use tokio::io::{duplex, split};

use crate::peer::{Listener, Peer};

/// More than any step takes, less than a test may hang.
const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// Two ports with a cable between them; a proxy is at one, clients use the other.
struct Bench {
    cable: Cable,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { cable: Cable::new(folder.path()).unwrap(), _folder: folder }
    }

    fn port(&self, side: usize) -> SerialAddress {
        let path = self.cable.port(side);
        format!("serial:{}?baud=2000000&profile=fast", path.display()).parse().unwrap()
    }

    fn proxy(&self) -> Listener {
        Listener::Line(Line::open(self.port(1), Role::Proxy, |_| {}).unwrap())
    }

    fn address(&self) -> Address {
        Address::Serial(self.port(0))
    }
}

/// Answers one message with another and sees the stream's end.
async fn echo(mut peer: Peer, length: usize) {
    peer.create().await;
    peer.expect(&format!("LENGTH {length}")).await;
    peer.connect().await;
    peer.expect(&format!("message, {length} in all")).await;
    let body = std::mem::take(&mut peer.body);
    for (index, part) in body.chunks(1380).enumerate() {
        let mut flags = if index == 0 { Flags::SOM } else { Flags::NONE };
        if (index + 1) * 1380 >= length {
            flags |= Flags::EOM;
        }
        peer.say_payload(part, flags).await;
    }
    peer.say_state(State::QosAckRemote).await;
    peer.say_state(State::Disconnected).await;
    // The client gives credit as its user takes what came.
    loop {
        match peer.hear().await.unwrap() {
            frame if frame.starts_with("CREDIT") => {}
            frame => break assert_eq!(frame, "DESTROYING"),
        }
    }
    peer.expect_end().await;
}

/// Payload up to the end of a message.
async fn receive(stream: &mut StreamHandle) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        match stream.next().await.unwrap() {
            Event::Payload { data, flags, .. } => {
                received.extend_from_slice(&data);
                if flags.contains(Flags::EOM) {
                    return received;
                }
            }
            Event::State { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn until(stream: &mut StreamHandle, last: State) {
    while !matches!(stream.next().await.unwrap(), Event::State { state, .. } if state == last) {}
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 256) as u8).collect()
}

#[tokio::test]
async fn several_streams_share_a_line() {
    const SIZE: usize = 100_000;
    let bench = Bench::new();
    let proxy = bench.proxy();
    let serving = tokio::spawn(async move {
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..3 {
            streams.spawn(echo(proxy.accept().await, SIZE));
        }
        streams.join_all().await;
    });
    let client = Client::new(bench.address());
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let client = client.clone();
        streams.spawn(async move {
            let mut stream = client.open("mintest").await.unwrap();
            stream.send_message(pattern(SIZE)).await.unwrap();
            assert!(receive(&mut stream).await == pattern(SIZE));
            until(&mut stream, State::Disconnected).await;
            stream.close().await;
        });
    }
    streams.join_all().await;
    serving.await.unwrap();
}

#[tokio::test]
async fn a_cut_cable_is_seen_and_the_stream_comes_back() {
    let bench = Bench::new();
    let proxy = bench.proxy();
    let mut options = Options::default();
    options.config.backoff_ms = &[5];
    let client = Client::with_options(bench.address(), options);
    let (opened, peer) = tokio::join!(client.open("mintest"), async {
        let mut peer = proxy.accept().await;
        peer.create().await;
        peer
    });
    let (mut stream, mut peer) = (opened.unwrap(), peer);
    stream.connect();
    peer.connect().await;
    until(&mut stream, State::Connected).await;
    bench.cable.cut();
    until(&mut stream, State::Disconnected).await;
    until(&mut stream, State::UpstreamLinkRetry).await;
    peer.expect_end().await;
    bench.cable.restore();
    let mut peer = proxy.accept().await;
    peer.create().await;
    peer.connect().await;
    until(&mut stream, State::Connected).await;
    peer.say_payload(b"again", Flags::WHOLE).await;
    assert_eq!(receive(&mut stream).await, b"again");
}

#[tokio::test]
async fn where_nobody_answers_open_says_so() {
    let bench = Bench::new();
    let mut options = Options::default();
    options.connect_timeout = Duration::from_millis(100);
    let client = Client::with_options(bench.address(), options);
    let error = client.open("mintest").await.unwrap_err();
    assert!(matches!(error, Error::NoProxy { .. }), "{error}");
    assert!(error.to_string().contains("nobody answers at the other end"), "{error}");
    let missing: Address = "serial:/dev/nosuchport".parse().unwrap();
    let error = Client::new(missing).open("mintest").await.unwrap_err();
    assert!(error.to_string().contains("is the adapter plugged in?"), "{error}");
}

#[test]
fn without_an_executor() {
    const SIZE: usize = 50_000;
    let bench = Bench::new();
    let proxy = bench.proxy();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { echo(proxy.accept().await, SIZE).await });
    });
    let mut stream = sspc::blocking::Stream::open(&bench.address(), "mintest").unwrap();
    stream.send_message(&pattern(SIZE), LIMIT).unwrap();
    let mut received = Vec::new();
    loop {
        match stream.next(LIMIT).unwrap().unwrap() {
            Event::Payload { data, .. } => received.extend_from_slice(&data),
            Event::State { state: State::Disconnected, .. } => break,
            _ => {}
        }
    }
    assert!(received == pattern(SIZE));
    stream.close();
    serving.join().unwrap();
}

#[tokio::test]
async fn over_a_pipe_of_ones_own() {
    let (here, there) = duplex(512);
    let (reader, writer) = split(here);
    let config = LineConfig::default();
    let (line, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
    tokio::spawn(running);
    let (reader, writer) = split(there);
    let (proxy, running) = Line::over(reader, writer, Role::Proxy, config, |_| {});
    tokio::spawn(running);
    let client = Client::over(line, "a pipe", Options::default());
    assert_eq!(client.address().to_string(), "a pipe");
    let serving = tokio::spawn(async move {
        echo(Listener::Line(proxy.clone()).accept().await, 3000).await;
    });
    let mut stream = client.open("mintest").await.unwrap();
    stream.send_message(pattern(3000)).await.unwrap();
    assert!(receive(&mut stream).await == pattern(3000));
    until(&mut stream, State::Disconnected).await;
    stream.close().await;
    serving.await.unwrap();
}
