//! Links that fail: how long the client waits, and what its user hears.

use sspc::{Config, Flags, State};

use crate::harness::{Bench, create_result, created, payload, state};

/// Waits without a random part.
const STEADY: Config = Config { jitter_percent: 0, ..Config::DEFAULT };

#[test]
fn a_proxy_that_does_not_answer_is_dropped_after_3_s() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.open();
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus_millis(3000)));
    bench.pass(2999);
    assert!(bench.up);
    bench.pass(1);
    assert!(!bench.up);
    let expected = ["fault: the proxy did not answer in time", "UPSTREAM_LINK_RETRY 3000"];
    assert_eq!(bench.events(), expected);
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus_millis(250)));
}

#[test]
fn failed_attempts_tell_the_time_and_wait_longer() {
    let mut bench = Bench::new("mintest", STEADY);
    let mut tried = 0;
    for wait in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
        bench.open();
        bench.cut();
        let expected = match tried {
            0 => "UPSTREAM_LINK_RETRY".into(),
            ms => format!("UPSTREAM_LINK_RETRY {ms}"),
        };
        assert_eq!(bench.events(), [expected]);
        bench.pass(wait - 1);
        assert_eq!(bench.stream.poll_link(bench.now), None);
        bench.pass(1);
        tried += wait;
    }
}

#[test]
fn waits_begin_anew_after_a_link_that_held() {
    let mut bench = Bench::created(STEADY);
    for wait in [250, 500, 1000] {
        bench.cut();
        assert_eq!(bench.stream.deadline(), Some(bench.now.plus_millis(wait)), "it flaps");
        bench.pass(wait);
        bench.open();
        bench.hear(&created());
    }
    bench.pass(10_000);
    bench.cut();
    let wait = bench.stream.deadline().unwrap().millis_since(bench.now);
    assert_eq!(wait, 2000, "it held, but nothing came of it");
    for progress in
        [state(State::Connecting), state(State::User(1500)), payload(b"x", Flags::WHOLE)]
    {
        bench.pass(wait);
        bench.open();
        bench.hear(&[created(), state(State::Creating), progress].concat());
        bench.pass(10_000);
        bench.cut();
        assert_eq!(bench.stream.deadline(), Some(bench.now.plus_millis(250)));
    }
}

#[test]
fn each_time_that_the_proxy_hangs_up_is_told() {
    // As deployed proxies do over metadata that their policy does not declare: the link comes up
    // each time, so no attempt fails, and the user saw CREATING and then nothing for ever.
    let mut bench = Bench::created(STEADY);
    bench.stream.set_metadata("typo", b"x").unwrap();
    bench.stream.connect();
    bench.settle();
    for wait in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
        bench.cut();
        assert_eq!(bench.events(), ["UPSTREAM_LINK_RETRY"]);
        assert_eq!(bench.stream.state(), Some(State::Creating), "it leaves the state as it is");
        bench.pass(wait - 1);
        assert_eq!(bench.stream.poll_link(bench.now), None);
        bench.pass(1);
        bench.open();
        bench.hear(&[created(), state(State::Creating)].concat());
        assert_eq!(bench.frames().last().unwrap(), "ONWARD_CONNECT");
    }
    bench.stream.close();
    bench.hear(&[]);
    assert_eq!(bench.events(), ["DESTROYING"], "the application itself closed it");
}

#[test]
fn a_link_that_is_not_to_be_made_again_stays_lost() {
    let mut bench = Bench::connected(Config { backoff_ms: Config::NEVER, ..Config::DEFAULT });
    bench.cut();
    assert_eq!(bench.events(), ["DISCONNECTED", "UPSTREAM_LINK_RETRY"]);
    assert!(!bench.stream.is_created());
    bench.pass(u32::MAX - 1);
    assert_eq!(bench.stream.poll_link(bench.now), None);
    assert_eq!(bench.events(), [""; 0]);
}

#[test]
fn jitter_makes_waits_longer_and_different() {
    let waits = |seed| {
        let mut bench = Bench::new("mintest", Config { seed, ..Config::DEFAULT });
        (0..20)
            .map(|_| {
                bench.pass(20_000);
                bench.open();
                bench.cut();
                bench.stream.deadline().unwrap().millis_since(bench.now)
            })
            .skip(6)
            .collect::<Vec<_>>()
    };
    let (one, other) = (waits(1), waits(2));
    assert!(one.iter().all(|wait| (10_000..=13_000).contains(wait)), "{one:?}");
    assert!(one.iter().max() > one.iter().min().map(|wait| wait + 500).as_ref(), "{one:?}");
    assert_ne!(one, other);
    assert_eq!(one, waits(1), "the same seed gives the same waits");
}

/// Of 200 processes in a row all came back within 2 ms of each other: their seeds differed in low bits
/// only.
#[test]
fn neighbours_do_not_come_back_in_step() {
    let mut waits: Vec<_> = (0..200)
        .map(|pid| {
            let seed = (1_000_000 + pid) ^ 0x9e37_79b9;
            let mut bench = Bench::created(Config { seed, ..Config::HOST });
            bench.cut();
            bench.stream.deadline().unwrap().millis_since(bench.now)
        })
        .collect();
    waits.sort_unstable();
    assert!((250..=325).contains(&waits[0]) && (250..=325).contains(&waits[199]), "{waits:?}");
    // In any 15 ms of the 75 there are some 40 of them.
    for begin in (250..325).step_by(15) {
        let count = waits.iter().filter(|wait| (begin..begin + 15).contains(*wait)).count();
        assert!((20..=60).contains(&count), "{count} of 200 from {begin} ms on: {waits:?}");
    }
}

#[test]
fn a_refused_stream_is_asked_for_again() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.open();
    bench.hear(&create_result(1, b""));
    assert_eq!(bench.events(), ["refused 1"]);
    assert!(!bench.up);
    bench.pass(250);
    bench.open();
    bench.hear(&[created(), state(State::Creating)].concat());
    assert_eq!(bench.events(), ["CREATING"]);
}
