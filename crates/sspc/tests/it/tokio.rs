//! The tokio client over real sockets, against a scripted proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sspc::tokio::{Client, Event, StreamHandle};
use sspc::{Address, Config, Error, Flags, Options, State, Timeout};

use crate::harness::{create_result, created, state};
use crate::peer::{Listener, abstract_name};

/// Events up to this one, as text.
async fn until(stream: &mut StreamHandle, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event| event != last) {
        seen.push(text(stream.next().await.unwrap()));
    }
    seen
}

/// The payload up to the end of a message.
async fn receive(stream: &mut StreamHandle) -> Vec<u8> {
    let mut received = Vec::new();
    while let Some(event) = stream.next().await {
        if let Event::Payload { data, flags, .. } = event {
            received.extend_from_slice(&data);
            if flags.contains(Flags::EOM) {
                break;
            }
        }
    }
    received
}

fn text(event: Event) -> String {
    match event {
        Event::State { state: State::UpstreamLinkRetry, .. } => "UPSTREAM_LINK_RETRY".into(),
        Event::State { state, .. } => state.to_string(),
        Event::Payload { data, flags, .. } if data.len() > 32 => {
            format!("{} bytes {flags}", data.len())
        }
        Event::Payload { data, flags, .. } => format!("{:?} {flags}", String::from_utf8(data)),
        Event::Metadata { name, value } => format!("{name}={}", String::from_utf8_lossy(&value)),
        Event::Refused { result } => format!("refused {result}"),
        Event::Fault(fault) => fault.to_string(),
        other => format!("{other:?}"),
    }
}

/// Options that try again soon.
fn patient() -> Options {
    let mut options = Options::default();
    options.keep_trying = true;
    options.config.backoff_ms = &[5];
    options
}

/// A whole transaction, wherever the proxy listens.
async fn transaction(listener: Listener, address: Address) {
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.expect("STREAMTYPE mintest 4194304").await;
        peer.say(&[create_result(0, b",mintest"), state(State::Creating)].concat()).await;
        peer.expect("TIMEOUT Millis(5000)").await;
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
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    assert_eq!(stream.state(), Some(State::Creating));
    stream.set_timeout(Timeout::Millis(5000));
    stream.set_metadata("q", "x").unwrap();
    stream.send_message("ping").await.unwrap();
    let seen = until(&mut stream, "DISCONNECTED").await;
    let pong = "Ok(\"pong\") SOM|EOM";
    let states = ["CREATING", "CONNECTING", "CONNECTED", pong, "QOS_ACK_REMOTE", "DISCONNECTED"];
    assert_eq!(seen, states);
    stream.close().await;
    proxy.await.unwrap();
}

#[tokio::test]
async fn over_an_abstract_name() {
    let (listener, address) = Listener::new();
    transaction(listener, address).await;
}

#[tokio::test]
async fn over_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = Listener::at_path(&folder.path().join("proxy"));
    transaction(listener, address).await;
}

#[tokio::test]
async fn over_tcp() {
    let (listener, address) = Listener::at_port().await;
    transaction(listener, address).await;
}

#[tokio::test]
async fn where_there_is_no_proxy_open_says_so() {
    let address: Address = format!("uds:@{}", abstract_name()).parse().unwrap();
    let error = Client::new(address.clone()).open("mintest").await.unwrap_err();
    let Error::NoProxy { address: at, .. } = &error else { panic!("{error}") };
    assert_eq!(*at, address);
    assert!(error.to_string().starts_with(&format!("no proxy at {address}: ")), "{error}");
}

#[tokio::test]
async fn where_it_keeps_trying_a_proxy_may_come_later() {
    let name = abstract_name();
    let address = format!("uds:@{name}").parse().unwrap();
    let mut stream = Client::with_options(address, patient()).open("mintest").await.unwrap();
    assert_eq!(text(stream.next().await.unwrap()), "UPSTREAM_LINK_RETRY");
    let (listener, _) = Listener::at_name(&name);
    let proxy = tokio::spawn(async move {
        listener.accept().await.create().await;
    });
    until(&mut stream, "CREATING").await;
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_refused_streamtype_is_an_error() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.expect("STREAMTYPE nosuch 4194304").await;
        peer.say(&create_result(1, b"")).await;
        peer.expect_end().await;
    });
    let error = Client::new(address).open("nosuch").await.unwrap_err();
    let Error::Refused { streamtype, result: 1 } = &error else { panic!("{error}") };
    assert_eq!(streamtype, "nosuch");
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_fault_right_behind_the_creation_is_an_error_of_opening() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.hear().await.unwrap();
        peer.say(&[create_result(0, b",mintest"), state(State::Connected)].concat()).await;
        peer.expect_end().await;
    });
    let error = Client::new(address.clone()).open("mintest").await.unwrap_err();
    let Error::Protocol(fault) = &error else { panic!("{error}") };
    assert!(fault.to_string().contains("CONNECTED"), "{fault}");
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_name_that_no_streamtype_has_is_an_error() {
    let error = Client::default().open(&"x".repeat(32)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no streamtype can have this name: the name has 32 bytes, of 31 that a proxy takes"
    );
}

#[tokio::test]
async fn bytes_that_are_no_frame_are_an_error() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.hear().await.unwrap();
        peer.say(b"HTTP/1.1 400 Bad Request\r\n").await;
        peer.expect_end().await;
    });
    let error = Client::new(address).open("mintest").await.unwrap_err();
    assert_eq!(error.to_string(), "the proxy sent no valid frame: unknown frame type 0x48");
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_lost_link_comes_back_with_the_stream() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("METADATA q=x").await;
        peer.connect().await;
        drop(peer);
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("METADATA q=x").await;
        peer.connect().await;
        peer.expect("DESTROYING").await;
        peer.expect_end().await;
    });
    let mut options = patient();
    options.keep_trying = false;
    let mut stream = Client::with_options(address, options).open("mintest").await.unwrap();
    stream.set_metadata("q", "x").unwrap();
    stream.connect();
    let first = until(&mut stream, "DISCONNECTED").await;
    assert_eq!(first, ["CREATING", "CONNECTING", "CONNECTED", "DISCONNECTED"]);
    let again = ["UPSTREAM_LINK_RETRY", "CONNECTING", "CONNECTED"];
    assert_eq!(until(&mut stream, "CONNECTED").await, again);
    stream.close().await;
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_lost_link_can_be_told_from_a_lost_connection() {
    let (listener, address) = Listener::new();
    let (cut, when_cut) = tokio::sync::oneshot::channel();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        peer.say_state(State::Disconnected).await;
        peer.connect().await;
        when_cut.await.unwrap();
    });
    let mut options = Options::default();
    options.config.backoff_ms = Config::NEVER;
    let mut stream = Client::with_options(address, options).open("mintest").await.unwrap();
    stream.connect();
    until(&mut stream, "DISCONNECTED").await;
    assert!(stream.is_created());
    stream.connect();
    until(&mut stream, "CONNECTED").await;
    cut.send(()).unwrap();
    until(&mut stream, "DISCONNECTED").await;
    assert!(!stream.is_created());
    until(&mut stream, "UPSTREAM_LINK_RETRY").await;
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_body_in_parts_is_one_message() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("LENGTH 300000").await;
        peer.connect().await;
        peer.expect("message, 300000 in all").await;
        peer.expect("message, 300006 in all").await;
        peer.say_state(State::QosAckRemote).await;
        peer.expect("DESTROYING").await;
        assert!(peer.body.starts_with(&[b'a'; 100_000]));
        assert!(peer.body.ends_with(b"second"));
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    let mut body = stream.body(Some(300_000)).await.unwrap();
    let sender = stream.sender();
    let second = tokio::spawn(async move {
        // It waits for the first to end.
        let mut body = sender.body(None).await.unwrap();
        body.write("sec").await.unwrap();
        body.write("ond").await.unwrap();
        body.finish().await.unwrap();
    });
    for letter in [b'a', b'b', b'c'] {
        body.write(vec![letter; 100_000]).await.unwrap();
    }
    body.finish().await.unwrap();
    second.await.unwrap();
    until(&mut stream, "QOS_ACK_REMOTE").await;
    stream.close().await;
    proxy.await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_not_ended_breaks_the_link() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        peer.expect_end().await;
        assert_eq!(peer.body, b"part");
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("LENGTH 5").await;
        peer.connect().await;
        peer.expect("message, 5 in all").await;
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    let mut body = stream.body(None).await.unwrap();
    body.write("part").await.unwrap();
    until(&mut stream, "CONNECTED").await;
    drop(body);
    assert_eq!(until(&mut stream, "DISCONNECTED").await, ["DISCONNECTED"]);
    stream.send_message("whole").await.unwrap();
    proxy.await.unwrap();
}

#[tokio::test]
async fn the_rest_of_an_interrupted_message_is_not_sent() {
    assert!(matches!(interrupted(false).await, Error::Interrupted));
    assert!(matches!(interrupted(true).await, Error::Answered));
}

/// The error of a writer whose connection ends within its message, with a verdict or without.
async fn interrupted(with_verdict: bool) -> Error {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        while peer.body.is_empty() {
            tokio::select! {
                heard = peer.hear() => panic!("{heard:?}"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
        if with_verdict {
            peer.say_state(State::QosNackRemote).await;
        }
        peer.say_state(State::Disconnected).await;
        peer.expect("LENGTH 4").await;
        peer.body.clear();
        peer.connect().await;
        peer.expect("message, 4 in all").await;
        assert_eq!(peer.body, b"next");
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    let mut body = stream.body(None).await.unwrap();
    body.write("first").await.unwrap();
    until(&mut stream, "DISCONNECTED").await;
    let error = loop {
        match body.write("more").await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    drop(body);
    stream.send_message("next").await.unwrap();
    proxy.await.unwrap();
    error
}

#[tokio::test]
async fn a_limited_window_is_topped_up_as_the_application_takes_payload() {
    const SIZE: usize = 2_000_000;
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.expect("STREAMTYPE mintest 100000").await;
        peer.say(&[created(), state(State::Creating)].concat()).await;
        peer.connect().await;
        let (mut credit, mut left) = (100_000, SIZE);
        while left > 0 {
            let now = left.min(credit).min(10_000);
            if now == 0 {
                let more = peer.hear().await.unwrap();
                credit += more.strip_prefix("CREDIT ").unwrap().parse::<usize>().unwrap();
                continue;
            }
            peer.say_payload(&vec![7; now], Flags::NONE).await;
            (credit, left) = (credit - now, left - now);
        }
        peer.say_payload(&[], Flags::EOM).await;
        peer
    });
    let mut options = Options::default();
    options.config.window = 100_000;
    let mut stream = Client::with_options(address, options).open("mintest").await.unwrap();
    stream.connect();
    assert_eq!(receive(&mut stream).await.len(), SIZE);
    drop(proxy.await.unwrap());
}

#[tokio::test]
async fn a_slow_application_stops_the_socket() {
    const SIZE: usize = 64 << 20;
    let (listener, address) = Listener::new();
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        for _ in 0..SIZE / 16_384 {
            peer.say_payload(&[7; 16_384], Flags::NONE).await;
            counter.fetch_add(16_384, Ordering::Relaxed);
        }
        peer.say_payload(&[], Flags::EOM).await;
        peer
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    stream.connect();
    until(&mut stream, "CONNECTED").await;
    let mut before = usize::MAX;
    while before != passed.load(Ordering::Relaxed) {
        before = passed.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(before < 8 << 20, "{before} bytes passed though nobody took any");
    assert_eq!(receive(&mut stream).await.len(), SIZE);
    drop(proxy.await.unwrap());
}

#[tokio::test]
async fn large_transfers_both_ways_are_whole() {
    const SIZE: usize = 16 << 20;
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect(&format!("LENGTH {SIZE}")).await;
        peer.connect().await;
        peer.expect(&format!("message, {SIZE} in all")).await;
        let body = std::mem::take(&mut peer.body);
        for piece in body.chunks(1380) {
            peer.say_payload(piece, Flags::NONE).await;
        }
        peer.say_payload(&[], Flags::EOM).await;
        peer
    });
    let body = (0..SIZE).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    stream.send_message(body.clone()).await.unwrap();
    let received = receive(&mut stream).await;
    assert!(received == body, "{} bytes came", received.len());
    drop(proxy.await.unwrap());
}

#[tokio::test]
async fn a_dropped_handle_closes_the_stream() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.expect("DESTROYING").await;
        peer.expect_end().await;
    });
    let stream = Client::new(address).open("mintest").await.unwrap();
    let sender = stream.sender();
    drop(stream);
    proxy.await.unwrap();
    let closed = loop {
        match sender.send_message("late").await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(closed, Error::Closed), "{closed}");
}

#[tokio::test]
async fn close_ends_though_the_proxy_does_not_read() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.connect().await;
        peer
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    stream.send(vec![0; 8 << 20], Flags::WHOLE).await.unwrap();
    until(&mut stream, "CONNECTED").await;
    stream.close().await;
    drop(proxy.await.unwrap());
}

#[tokio::test]
async fn the_driver_runs_where_its_owner_wants() {
    let (listener, address) = Listener::new();
    let (mut stream, driver) = Client::new(address).split("mintest").unwrap();
    let proxy = async move {
        let mut peer = listener.accept().await;
        peer.create().await;
        peer.say_state(State::Destroying).await;
        peer.expect_end().await;
    };
    let application = async move {
        let mut seen = Vec::new();
        while let Some(event) = stream.next().await {
            seen.push(text(event));
        }
        seen
    };
    let (ran, seen, ()) = tokio::join!(driver.run(), application, proxy);
    ran.unwrap();
    assert_eq!(seen, ["CREATING", "DESTROYING"]);
}

/// What the proxy had written was lost where the client noticed by a write that it hung up.
#[tokio::test]
async fn the_last_words_of_a_proxy_that_hangs_up_arrive() {
    for _ in 0..20 {
        let (listener, address) = Listener::new();
        let proxy = tokio::spawn(async move {
            let mut peer = listener.accept().await;
            peer.create().await;
            peer.expect("LENGTH 1000000").await;
            peer.connect().await;
            peer.say_payload(b"no more", Flags::WHOLE).await;
            peer.say_state(State::QosNackRemote).await;
        });
        let mut options = Options::default();
        options.config.backoff_ms = Config::NEVER;
        let mut stream = Client::with_options(address, options).open("mintest").await.unwrap();
        stream.send_message(vec![1; 1_000_000]).await.unwrap();
        let seen = until(&mut stream, "UPSTREAM_LINK_RETRY").await;
        let answer = "Ok(\"no more\") SOM|EOM";
        let states = ["CREATING", "CONNECTING", "CONNECTED", answer, "QOS_NACK_REMOTE"];
        assert_eq!(seen[..5], states);
        proxy.await.unwrap();
    }
}
