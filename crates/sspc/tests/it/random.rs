//! Any bytes in any cut, and links that break anywhere: no panic, and what the user sees is always
//! a legal sequence.

use proptest::prelude::*;
use sspc::{BUF_MIN, Config, Event, Flags, Instant, LinkAction, Name, State, Stream, Timeout, Tx};
use sspc_sim::vectors::{self, Direction};
use sspc_wire::ToProxyDecoder;

use crate::harness::{Bench, create_result, created, frame, payload, state};

/// Sees to it that states follow one another as the protocol allows.
#[derive(Default)]
struct Judge {
    last: Option<State>,
    creatings: u32,
}

impl Judge {
    fn see(&mut self, event: &Event<'_>) {
        let Event::State { state, .. } = *event else { return };
        // The loss of the link has no other way to be told.
        let lost = self.last == Some(State::QosNackLocal) && state == State::Disconnected;
        assert!(State::may_follow(state, self.last) || lost, "{state} after {:?}", self.last);
        if !state.is_transparent() {
            self.last = Some(state);
        }
        self.creatings += u32::from(state == State::Creating);
        assert!(self.creatings <= 1, "CREATING comes once");
    }
}

/// What the world does to an engine.
#[derive(Clone, Debug)]
enum Step {
    Hear(Vec<u8>),
    LinkUp,
    LinkDown,
    FollowWish,
    Pass(u32),
    Connect,
    Request(Option<u32>),
    Metadata(u8, Vec<u8>),
    Timeout(u32),
    Consumed(u32),
    Credit(i32),
    Transmit(usize),
    Abandon,
    Close,
}

fn any_state() -> impl Strategy<Value = Vec<u8>> {
    (0_u32..24, 0_u32..3).prop_map(|(code, ordinal)| {
        frame(sspc_wire::ToClient::State {
            state: State::from_code(if code > 21 { code + 1000 } else { code }),
            ordinal,
        })
    })
}

/// Bytes that a proxy might send, or something like them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => any_state(),
        2 => Just(created()),
        2 => Just([created(), state(State::Creating)].concat()),
        1 => proptest::collection::vec(prop_oneof![Just(b','), b'a'..b'c'], 0..60)
            .prop_map(|list| create_result(0, &list)),
        1 => (0_u8..3).prop_map(|result| create_result(result, b"")),
        2 => (proptest::collection::vec(any::<u8>(), 0..50), any::<u32>())
            .prop_map(|(data, flags)| payload(&data, Flags::from_bits(flags & !32))),
        1 => any::<i32>().prop_map(|more| frame(sspc_wire::ToClient::TxCredit(more))),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => bytes().prop_map(Step::Hear),
        1 => Just(Step::LinkUp),
        1 => Just(Step::LinkDown),
        6 => Just(Step::FollowWish),
        2 => (0_u32..12_000).prop_map(Step::Pass),
        2 => Just(Step::Connect),
        2 => proptest::option::of(any::<u32>()).prop_map(Step::Request),
        2 => (b'a'..b'e', proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(name, value)| Step::Metadata(name, value)),
        1 => any::<u32>().prop_map(Step::Timeout),
        1 => any::<u32>().prop_map(Step::Consumed),
        1 => any::<i32>().prop_map(Step::Credit),
        3 => (0_usize..600).prop_map(Step::Transmit),
        3 => (0_usize..60).prop_map(Step::Transmit),
        1 => Just(Step::Abandon),
        1 => Just(Step::Close),
    ]
}

fn drain(stream: &mut Stream<[u8; 128]>, judge: &mut Judge, now: Instant, mut input: &[u8]) {
    while let Some(event) = stream.receive(now, &mut input) {
        judge.see(&event);
    }
    assert!(input.is_empty(), "all is taken");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_the_user_sees_legal_states(
        steps in proptest::collection::vec(step(), 0..80),
        cut in 1_usize..9,
        window in prop_oneof![Just(Config::UNLIMITED), 0_u32..100],
    ) {
        let config = Config { window, ..Config::DEFAULT };
        let mut stream = Stream::new(Name::literal("mintest"), config, [0; 128]);
        let mut judge = Judge::default();
        let mut wire = ToProxyDecoder::new();
        let mut now = Instant::from_millis(1);
        for step in steps {
            match step {
                Step::Hear(bytes) => {
                    for piece in bytes.chunks(cut) {
                        drain(&mut stream, &mut judge, now, piece);
                    }
                }
                Step::LinkUp => {
                    wire.reset();
                    stream.link_up(now);
                }
                Step::LinkDown => stream.link_down(now),
                Step::FollowWish => match stream.poll_link(now) {
                    Some(LinkAction::Open) => {
                        wire.reset();
                        stream.link_up(now);
                    }
                    Some(LinkAction::Drop) => stream.link_down(now),
                    None => {}
                },
                Step::Pass(ms) => {
                    now = now.plus_millis(ms);
                    stream.handle_timeout(now);
                }
                Step::Connect => stream.connect(),
                Step::Request(Some(length)) => stream.request_tx_len(now, length),
                Step::Request(None) => stream.request_tx(now),
                Step::Metadata(name, value) => {
                    let name = [name];
                    let name = std::str::from_utf8(&name).unwrap();
                    let set = stream.set_metadata(name, &value);
                    prop_assert!(!value.is_empty() || set.is_err());
                }
                Step::Timeout(ms) => stream.set_timeout(Timeout::from_wire(ms)),
                Step::Consumed(bytes) => drop(stream.consumed(bytes)),
                Step::Credit(bytes) => stream.add_credit(bytes),
                Step::Transmit(size) => {
                    let mut buf = vec![0; size];
                    let mut source = |buf: &mut [u8]| {
                        let flags = Flags::from_bits(buf.len() as u32);
                        Some(Tx { len: buf.len() * 2, flags, more: buf.len() % 3 > 0 })
                    };
                    match stream.transmit(now, &mut buf, &mut source) {
                        Ok(length) => {
                            prop_assert!(length <= size);
                            let mut sent = &buf[..length];
                            while wire.next(&mut sent).unwrap().is_some() {}
                        }
                        Err(error) => prop_assert!(error.needed == BUF_MIN && size < BUF_MIN),
                    }
                }
                Step::Abandon => stream.abandon(now),
                Step::Close => stream.close(),
            }
            // Some steps are followed by others before anybody looks for events.
            if cut % 2 == 0 {
                drain(&mut stream, &mut judge, now, &[]);
            }
        }
        drain(&mut stream, &mut judge, now, &[]);
    }

    #[test]
    fn any_bytes_at_all_end_in_a_fault_or_in_nothing(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 1_usize..50,
    ) {
        let mut bench = Bench::created(Config::DEFAULT);
        for piece in bytes.chunks(cut) {
            bench.hear(piece);
        }
    }
}

/// Plays a recording whose link breaks after `cut` bytes of the proxy, and then once more without.
fn play_cut(name: &str, streamtype: &str, react: fn(&mut Bench, &str), cut: usize) {
    let bytes = vectors::joined(name, 0, Direction::ToClient);
    let mut bench = Bench::new(streamtype, Config { jitter_percent: 0, ..Config::DEFAULT });
    bench.react = react;
    bench.open();
    bench.hear(&bytes[..cut]);
    let connected = bench.stream.is_connected();
    let asked = bench.frames().contains(&"ONWARD_CONNECT".to_string());
    let over = bench.seen.iter().any(|event| event.starts_with("QOS") || event == "DISCONNECTED");
    let before = bench.seen.len();
    bench.cut();
    let told = &bench.seen[before..];
    let lost: &[_] = match connected {
        true => &["DISCONNECTED", "UPSTREAM_LINK_RETRY"],
        false => &["UPSTREAM_LINK_RETRY"],
    };
    assert_eq!(told, lost, "{name} cut at {cut}: {:?}", bench.seen);
    assert!(!bench.stream.is_connected());
    bench.pass(250);
    bench.open();
    let before = bench.received.len();
    for piece in bytes.chunks(20) {
        bench.hear(piece);
    }
    let frames = bench.frames();
    assert!(frames[0].starts_with("STREAMTYPE"));
    let again = frames.contains(&"ONWARD_CONNECT".to_string());
    if asked {
        assert_eq!(again, !over, "{name} cut at {cut}: {frames:?}");
    }
    let mut judge = Judge::default();
    for text in &bench.seen {
        let known = (1..=20).map(State::from_code).find(|state| state.name() == text);
        if let Some(state) = known {
            judge.see(&Event::State { state, ordinal: 0 });
        }
    }
    assert_eq!(judge.creatings, 1);
    let whole = vectors_payload(&bytes);
    assert!(bench.received[before..] == whole[..], "{name} cut at {cut}: payload is whole");
}

fn vectors_payload(bytes: &[u8]) -> Vec<u8> {
    let mut bench = Bench::new("mintest", Config::DEFAULT);
    bench.open();
    bench.hear(bytes);
    bench.received
}

#[test]
fn the_link_may_break_at_each_byte() {
    fn react(bench: &mut Bench, event: &str) {
        if event == "CREATING" {
            bench.stream.set_metadata("a", b"1").unwrap();
            bench.stream.connect();
        }
    }
    for (name, streamtype) in [
        ("uds_h1_get", "sx-hello_world"),
        ("uds_h2_get", "mintest"),
        ("uds_h1_500", "st500"),
        ("uds_h1_user_state", "respmap"),
        ("uds_ws_echo", "sx_ws_echo"),
        ("uds_refused", "refused"),
    ] {
        for cut in 0..vectors::joined(name, 0, Direction::ToClient).len() {
            play_cut(name, streamtype, react, cut);
        }
    }
}
