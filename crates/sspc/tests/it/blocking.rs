//! The blocking client over real sockets, against a scripted proxy in a thread of its own.

use std::future::Future;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sspc::blocking::{Event, Stream};
use sspc::{Address, Error, Flags, Options, State, Timeout};

use crate::harness::{create_result, state};
use crate::peer::{Listener, abstract_name};

/// More than any step takes, less than a test may hang.
pub(crate) const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// Runs a proxy; returns where it listens.
pub(crate) fn proxy<F>(
    script: impl FnOnce(Listener) -> F + Send + 'static,
) -> (Address, JoinHandle<()>)
where
    F: Future<Output = ()>,
{
    let (told, address) = std::sync::mpsc::channel();
    let proxy = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (listener, address) = Listener::new();
            told.send(address).unwrap();
            script(listener).await;
        });
    });
    (address.recv().unwrap(), proxy)
}

/// States up to this one; payload is counted.
fn until(stream: &mut Stream, last: State) -> (Vec<State>, usize) {
    let (mut seen, mut bytes) = (Vec::new(), 0);
    while seen.last() != Some(&last) {
        match stream.next(LIMIT).unwrap().unwrap() {
            Event::State { state: State::UpstreamLinkRetry, .. } => {}
            Event::State { state, .. } => seen.push(state),
            Event::Payload { data, .. } => bytes += data.len(),
            other => panic!("{other:?}"),
        }
    }
    (seen, bytes)
}

#[test]
fn a_transaction() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("TIMEOUT Policy").await;
        peer.expect("METADATA q=x").await;
        peer.expect("LENGTH 4").await;
        peer.connect().await;
        peer.expect("message, 4 in all").await;
        peer.say_payload(b"pong", Flags::WHOLE).await;
        peer.say_state(State::QosAckRemote).await;
        peer.say_state(State::Disconnected).await;
        peer.expect("DESTROYING").await;
        peer.expect_end().await;
    });
    let mut stream = Stream::open(&address, "mintest").unwrap();
    stream.set_timeout(Timeout::Policy);
    stream.set_metadata("q", "x").unwrap();
    stream.send_message(b"ping", LIMIT).unwrap();
    let (seen, bytes) = until(&mut stream, State::Disconnected);
    let states = ["CREATING", "CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"];
    assert_eq!(seen.iter().map(|state| state.name()).collect::<Vec<_>>(), states);
    assert_eq!(bytes, 4);
    stream.close();
    proxy.join().unwrap();
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    let address: Address = format!("uds:@{}", abstract_name()).parse().unwrap();
    let error = Stream::open(&address, "mintest").unwrap_err();
    assert!(matches!(error, Error::NoProxy { .. }), "{error}");
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.hear().await.unwrap();
        peer.say(&create_result(1, b"")).await;
        peer.expect_end().await;
    });
    let error = Stream::open(&address, "nosuch").unwrap_err();
    assert!(matches!(error, Error::Refused { result: 1, .. }), "{error}");
    proxy.join().unwrap();
}

#[test]
fn nothing_happens_until_the_limit() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect_end().await;
    });
    let mut stream = Stream::open(&address, "mintest").unwrap();
    until(&mut stream, State::Creating);
    let error = stream.next(Some(Duration::from_millis(5))).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error}");
    drop(stream);
    proxy.join().unwrap();
}

#[test]
fn large_transfers_both_ways_at_once_are_whole() {
    const SIZE: usize = 8 << 20;
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect(&format!("LENGTH {SIZE}")).await;
        peer.connect().await;
        // It does not read before it has written more than the socket holds.
        for _ in 0..1000 {
            peer.say_payload(&[7; 1380], Flags::NONE).await;
        }
        peer.expect(&format!("message, {SIZE} in all")).await;
        assert!(peer.body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        peer.say_state(State::QosAckRemote).await;
        peer.expect_end().await;
    });
    let mut stream = Stream::open(&address, "mintest").unwrap();
    let body = (0..SIZE).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    stream.send_message(&body, LIMIT).unwrap();
    assert_eq!(until(&mut stream, State::QosAckRemote).1, 1_380_000);
    drop(stream);
    proxy.join().unwrap();
}

#[test]
fn a_lost_connection_is_told_to_who_sends() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        peer.expect("message, 0 in all").await;
        let lost = [state(State::Disconnected), state(State::Connecting), state(State::Connected)];
        peer.say(&lost.concat()).await;
        peer.expect("message, 5 in all").await;
        assert_eq!(peer.body, b"again");
        peer.expect_end().await;
    });
    let mut stream = Stream::open(&address, "mintest").unwrap();
    stream.send(b"", Flags::WHOLE, LIMIT).unwrap();
    stream.send(b"", Flags::SOM, LIMIT).unwrap();
    until(&mut stream, State::Disconnected);
    until(&mut stream, State::Connected);
    let error = stream.send(b"rest", Flags::EOM, LIMIT).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    stream.send(b"again", Flags::WHOLE, LIMIT).unwrap();
    drop(stream);
    proxy.join().unwrap();
}

#[test]
fn a_peer_that_cannot_be_reached_is_told_to_who_sends() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("LENGTH 4").await;
        peer.expect("ONWARD_CONNECT").await;
        use State::{AllRetriesFailed, Connecting, Unreachable};
        peer.say(&[Connecting, Unreachable, AllRetriesFailed].map(state).concat()).await;
        peer.expect_end().await;
    });
    let mut stream = Stream::open(&address, "mintest").unwrap();
    let error = stream.send_message(b"ping", LIMIT).unwrap_err();
    assert!(matches!(error, Error::Unreachable { state: State::AllRetriesFailed }), "{error}");
    stream.close();
    proxy.join().unwrap();
}

#[test]
fn a_proxy_that_goes_may_come_back() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        drop(peer);
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        peer.expect("DESTROYING").await;
    });
    let mut options = Options::default();
    options.config.backoff_ms = &[5];
    let mut stream = Stream::open_with(&address, "mintest", options).unwrap();
    stream.connect();
    until(&mut stream, State::Disconnected);
    assert_eq!(until(&mut stream, State::Connected).0, [State::Connecting, State::Connected]);
    stream.close();
    proxy.join().unwrap();
}

/// A send spun for ever where the events that are kept left no room for CONNECTED.
#[test]
fn more_events_than_are_kept_end_a_send() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("LENGTH 4").await;
        peer.expect("ONWARD_CONNECT").await;
        let events: Vec<u8> = (0..300).flat_map(|n| state(State::User(1000 + n))).collect();
        peer.say(&events).await;
        peer.say(&[state(State::Connecting), state(State::Connected)].concat()).await;
        peer.expect("LENGTH 4").await;
        peer.expect("message, 4 in all").await;
        peer.expect("DESTROYING").await;
        peer.expect_end().await;
    });
    let mut stream = Stream::open(&address, "mintest").unwrap();
    let error = stream.send_message(b"ping", None).unwrap_err();
    assert!(matches!(error, Error::EventsWaiting), "{error}");
    until(&mut stream, State::Connected);
    stream.send_message(b"ping", LIMIT).unwrap();
    stream.close();
    proxy.join().unwrap();
}
