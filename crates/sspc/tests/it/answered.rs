//! A verdict finishes a message, sent or not; only a loss without one leaves it wanted.
//!
//! A proxy that wrote CONNECTED, a verdict and DISCONNECTED in one go made the client ask for the
//! connection again: a request that was answered before its payload began to go out was made twice.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sspc::embedded_io_async::Handle;
use sspc::tokio::{Client, Event, StreamHandle};
use sspc::{Config, Error, Flags, MuxConfig, Name, Priority, Slot, State};
use sspc_sim::{Link, LinkConfig};
use tokio::task::yield_now;

use crate::blocking::{LIMIT, proxy};
use crate::embedded_async::{Buffers, with_proxy};
use crate::harness::{Bench, payload, state};
use crate::peer::{Listener, Peer};
use crate::world::{Proxy, World};

use State::{Connected, Connecting, Disconnected, Poll, QosAckRemote, QosNackRemote};

const ALL: [State; 12] = [
    Poll,
    Connecting,
    Connected,
    QosAckRemote,
    QosNackRemote,
    Disconnected,
    State::Unreachable,
    State::AuthFailed,
    State::AllRetriesFailed,
    State::Timeout,
    State::QosAckLocal,
    State::User(1000),
];

/// Calls `f` with all legal sequences of states up to this length.
fn sequences(states: &mut Vec<State>, last: State, length: usize, f: &mut dyn FnMut(&[State])) {
    if !states.is_empty() {
        f(states);
    }
    if states.len() == length {
        return;
    }
    for next in ALL {
        if State::may_follow(next, Some(last)) {
            states.push(next);
            sequences(states, if next.is_transparent() { last } else { next }, length, f);
            states.pop();
        }
    }
}

/// What an application asks for that wants its message sent.
fn again(bench: &mut Bench, event: &str) {
    if event == "DISCONNECTED" && bench.stream.is_tx_requested() {
        bench.stream.request_tx(bench.now);
    }
}

/// Whether the message that was asked for has its verdict after these states.
fn finishes(states: &[State]) -> bool {
    #[derive(PartialEq)]
    enum Asked {
        No,
        /// ONWARD_CONNECT is not sent before all of the states were heard.
        Again,
        Yes,
    }
    let (mut asked, mut is_finished) = (Asked::Yes, false);
    for to in states {
        match to {
            Connected => asked = Asked::Yes,
            // The proxy goes on by itself.
            Connecting | Poll if asked == Asked::No => asked = Asked::Yes,
            Disconnected if is_finished => asked = Asked::No,
            Disconnected => asked = Asked::Again,
            QosAckRemote | QosNackRemote if asked == Asked::Yes => {
                (asked, is_finished) = (Asked::No, true);
            }
            State::Unreachable | State::AuthFailed | State::AllRetriesFailed
                if asked == Asked::Yes =>
            {
                asked = Asked::No;
            }
            _ => {}
        }
    }
    is_finished
}

#[test]
fn in_all_orders_in_which_states_can_come_together() {
    let mut count = 0;
    sequences(&mut Vec::new(), State::Creating, 5, &mut |states| {
        let mut bench = Bench::created(Config::DEFAULT);
        bench.react = again;
        bench.messages = vec![b"ping".to_vec()];
        let now = bench.now;
        bench.stream.request_tx_len(now, 4);
        bench.settle();
        assert_eq!(bench.frames(), ["LENGTH 4", "ONWARD_CONNECT"]);
        bench.hear(&states.iter().flat_map(|to| state(*to)).collect::<Vec<_>>());
        let sent = bench.frames();
        let is_finished = finishes(states);
        let said = |what: &str| sent.iter().filter(|frame| frame.starts_with(what)).count();
        let (hints, connects, messages) = (said("LENGTH"), said("ONWARD_CONNECT"), said("TX"));
        if is_finished {
            assert_eq!((hints, connects, messages), (0, 0, 0), "after {states:?}: {sent:?}");
            assert!(!bench.stream.is_tx_requested(), "after {states:?}");
        } else if bench.stream.is_connected() {
            assert_eq!((connects, messages), (0, 1), "after {states:?}: {sent:?}");
        } else {
            assert!(bench.stream.is_tx_requested(), "after {states:?}");
            let last = |state| states.iter().rposition(|to| *to == state);
            let lost = last(Disconnected).is_some() && last(Disconnected) > last(Connected);
            assert_eq!((connects, messages), (usize::from(lost), 0), "after {states:?}: {sent:?}");
        }
        count += 1;
    });
    assert!(count > 1000, "{count}");
}

#[test]
fn a_verdict_on_the_message_before_leaves_the_next_one_wanted() {
    let mut bench = Bench::connected(Config::DEFAULT);
    bench.messages = vec![b"one".to_vec()];
    let now = bench.now;
    bench.stream.request_tx_len(now, 3);
    bench.settle();
    assert_eq!(bench.frames(), ["LENGTH 3", "TX 3 SOM|EOM"]);
    // No payload for the next one yet, and its verdict is not this one.
    bench.stream.request_tx_len(now, 4);
    bench.react = again;
    bench.hear(&[state(QosAckRemote), state(Disconnected)].concat());
    assert!(bench.stream.is_tx_requested());
    assert_eq!(bench.frames(), ["LENGTH 4", "ONWARD_CONNECT"]);
    bench.hear(&[state(Connecting), state(Connected), state(QosNackRemote)].concat());
    assert!(!bench.stream.is_tx_requested());
    assert_eq!(bench.frames(), [""; 0]);
}

/// What a proxy may say to one request that it answers early, and where it may be cut in two.
fn answers() -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for verdict in [QosAckRemote, QosNackRemote] {
        for polls in [false, true] {
            for body in [false, true] {
                for ends in [false, true] {
                    let mut frames = vec![state(Connecting), state(Connected), state(verdict)];
                    if body {
                        frames.insert(2, payload(b"no", Flags::WHOLE));
                    }
                    if polls {
                        frames.insert(0, state(Poll));
                    }
                    if ends {
                        frames.push(state(Disconnected));
                    }
                    all.push(frames);
                }
            }
        }
    }
    all
}

/// No second request is made after the first one was answered.
async fn expect_no_more(mut peer: Peer, what: &str) {
    let mut messages = 0;
    while let Some(heard) = peer.hear().await {
        match heard.as_str() {
            "DESTROYING" => {}
            "message, 4 in all" => messages += 1,
            heard => panic!("{heard} after {what}"),
        }
    }
    assert!(messages <= 1, "{messages} messages after {what}");
}

async fn answer(peer: &mut Peer, frames: &[Vec<u8>], cut: usize) {
    peer.create().await;
    peer.expect("LENGTH 4").await;
    peer.expect("ONWARD_CONNECT").await;
    let (first, second) = frames.split_at(cut);
    peer.say(&first.concat()).await;
    for _ in 0..20 {
        yield_now().await;
    }
    peer.say(&second.concat()).await;
}

async fn next_state(stream: &mut StreamHandle) -> State {
    loop {
        if let Event::State { state, .. } = stream.next().await.unwrap() {
            return state;
        }
    }
}

/// True if this is the last state that the proxy says.
fn is_end(state: State, disconnects: bool) -> bool {
    match state {
        QosAckRemote | QosNackRemote => !disconnects,
        state => state == Disconnected,
    }
}

#[tokio::test]
async fn tokio_makes_no_answered_request_again() {
    for frames in answers() {
        for cut in 0..frames.len() {
            let ((listener, address), frames) = (Listener::new(), frames.clone());
            let ends = frames.last() == Some(&state(Disconnected));
            let proxy = tokio::spawn(async move {
                let mut peer = listener.accept().await;
                answer(&mut peer, &frames, cut).await;
                expect_no_more(peer, &format!("cut {cut} of {frames:x?}")).await;
            });
            let mut stream = Client::new(address).open("mintest").await.unwrap();
            stream.send_message("ping").await.unwrap();
            loop {
                if is_end(next_state(&mut stream).await, ends) {
                    break;
                }
            }
            stream.close().await;
            proxy.await.unwrap();
        }
    }
}

#[tokio::test]
async fn tokio_sends_a_message_again_that_only_lost_its_connection() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        let lost = [state(Connecting), state(Connected), state(Disconnected)];
        answer(&mut peer, &lost, 0).await;
        peer.expect("LENGTH 4").await;
        peer.connect().await;
        peer.expect("message, 4 in all").await;
        peer.say(&[state(QosAckRemote), state(Disconnected)].concat()).await;
        expect_no_more(peer, "the message").await;
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    stream.send_message("ping").await.unwrap();
    while next_state(&mut stream).await != QosAckRemote {}
    stream.close().await;
    proxy.await.unwrap();
}

#[tokio::test]
async fn the_rest_of_an_answered_message_is_refused() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        let frames = [Connecting, Connected, QosNackRemote, Disconnected].map(state);
        answer(&mut peer, &frames, 0).await;
        expect_no_more(peer, "the verdict").await;
    });
    let mut stream = Client::new(address).open("mintest").await.unwrap();
    let mut body = stream.body(Some(4)).await.unwrap();
    body.write("pi").await.unwrap();
    while next_state(&mut stream).await != Disconnected {}
    assert!(matches!(body.write("ng").await, Err(Error::Answered)));
    assert!(matches!(body.finish().await, Err(Error::Length { .. })));
    stream.close().await;
    proxy.await.unwrap();
}

#[test]
fn the_blocking_client_makes_no_answered_request_again() {
    for frames in answers() {
        for cut in 0..frames.len() {
            let text = format!("cut {cut} of {frames:x?}");
            let ends = frames.last() == Some(&state(Disconnected));
            let (what, frames) = (text.clone(), frames.clone());
            let (address, proxy) = proxy(move |listener| async move {
                let mut peer = listener.accept().await;
                answer(&mut peer, &frames, cut).await;
                expect_no_more(peer, &what).await;
            });
            let mut stream = sspc::blocking::Stream::open(&address, "mintest").unwrap();
            match stream.send_message(b"ping", LIMIT) {
                Ok(()) | Err(Error::Answered) => {}
                Err(error) => panic!("{error} after {text}"),
            }
            loop {
                let Event::State { state, .. } = stream.next(LIMIT).unwrap().unwrap() else {
                    continue;
                };
                if is_end(state, ends) {
                    break;
                }
            }
            stream.close();
            proxy.join().unwrap();
        }
    }
}

#[test]
fn the_blocking_client_sends_a_message_again_that_only_lost_its_connection() {
    let (address, proxy) = proxy(|listener| async move {
        let mut peer = listener.accept().await;
        let lost = [state(Connecting), state(Connected), state(Disconnected)];
        answer(&mut peer, &lost, 0).await;
        peer.expect("LENGTH 4").await;
        peer.connect().await;
        peer.expect("message, 4 in all").await;
        peer.expect("DESTROYING").await;
        peer.expect_end().await;
    });
    let mut stream = sspc::blocking::Stream::open(&address, "mintest").unwrap();
    stream.send_message(b"ping", LIMIT).unwrap();
    stream.close();
    proxy.join().unwrap();
}

fn connects(heard: &[String]) -> usize {
    heard.iter().filter(|text| *text == "answered ONWARD_CONNECT").count()
}

#[test]
fn streams_on_one_line_make_no_answered_request_again() {
    for frames in answers() {
        let slot = || {
            let name = Name::literal("answered");
            Slot::new(name, Config::DEFAULT, Priority::LOWEST, vec![0; 100])
        };
        let line = Link::new(1, LinkConfig::serial(2_000_000));
        let mut world = World::new(line, MuxConfig::FAST, vec![slot(), slot(), slot()]);
        world.proxy.onward = Some(frames.concat());
        for slot in 0..3 {
            world.send(slot, b"ping");
        }
        world.run_ms(500);
        assert_eq!(connects(&world.proxy.heard), 3, "{:?}", world.proxy.heard);
    }
}

#[test]
fn embedded_io_async_makes_no_answered_request_again() {
    for script in answers() {
        let proxy = Rc::new(RefCell::new(Proxy::new(MuxConfig::FAST, 2)));
        proxy.borrow_mut().onward = Some(script.concat());
        let heard = with_proxy::<1, _, _>(proxy, async |handle: Handle<'_, Buffers>| {
            let stream = handle.open("answered").await.unwrap();
            stream.send(b"ping").await.unwrap();
            let mut buf = [0; 64];
            loop {
                let event = stream.next(&mut buf).await.unwrap();
                if let sspc::Event::State { state: QosAckRemote | QosNackRemote, .. } = event {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            // A message that is answered leaves its place to the next.
            stream.send(b"pong").await.unwrap();
        });
        let count = connects(&heard);
        assert!(count <= 2, "{heard:?}");
        let begin = heard.iter().position(|text| text.ends_with("ONWARD_CONNECT")).unwrap();
        let hints = heard[begin..].iter().filter(|text| text.contains("LENGTH")).count();
        assert!(hints <= 1, "{heard:?}");
    }
}
