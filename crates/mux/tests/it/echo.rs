//! A line that sends back what it is given: a loopback plug, or TX joined to RX.
//!
//! An end took such a line for a peer: its PING came back and was answered, the answer came back,
//! and the link was up.

use std::collections::VecDeque;

use sspc_mux::{Config, LinkLoss, Role};

use crate::support::{Bench, Seen};

/// Sends what the end says back to it, so much later and in pieces of so many bytes.
struct Plug {
    latency_us: u64,
    chunk: usize,
    under_way: VecDeque<(u64, Vec<u8>)>,
}

impl Plug {
    fn new(latency_us: u64, chunk: usize) -> Self {
        Self { latency_us, chunk, under_way: VecDeque::new() }
    }

    /// All that happens in so many ms.
    fn run_ms(&mut self, bench: &mut Bench, ms: u64) -> Vec<Seen> {
        let (end_us, mut events) = (bench.now_us + ms * 1000, Vec::new());
        for _ in 0..100_000 {
            while self.under_way.front().is_some_and(|(at_us, _)| *at_us <= bench.now_us) {
                let (_, bytes) = self.under_way.pop_front().unwrap();
                for chunk in bytes.chunks(self.chunk) {
                    events.extend(bench.hear(chunk));
                }
            }
            events.extend(bench.due());
            let sent = bench.sent();
            if !sent.is_empty() {
                self.under_way.push_back((bench.now_us + self.latency_us, sent));
            }
            let arrival = self.under_way.front().map_or(u64::MAX, |(at_us, _)| *at_us);
            let deadline = bench.mux.deadline().map_or(u64::MAX, |at| at.as_micros());
            bench.now_us = arrival.min(deadline).min(end_us).max(bench.now_us);
            if bench.now_us == end_us {
                return events;
            }
        }
        panic!("a live-lock");
    }
}

const ROLES: [Role; 2] = [Role::Client, Role::Proxy];

#[test]
fn a_line_that_answers_with_its_own_bytes_never_comes_up_and_is_told() {
    for role in ROLES {
        for config in [Config::DEFAULT, Config::FAST] {
            // Up to the shortest wait between two PINGs, and far longer.
            for latency_us in [0, 1, 999, 30_000, 250_000, 1_000_000, 3_000_000] {
                for chunk in [1, 3, 100] {
                    let mut bench = Bench::new(role, config);
                    let events = Plug::new(latency_us, chunk).run_ms(&mut bench, 60_000);
                    let what = format!("{role:?}, {latency_us} µs, {chunk}: {events:?}");
                    assert!(events.iter().all(|event| *event == Seen::Echo), "{what}");
                    let shortest_us = u64::from(config.retry_first_ms) * 750;
                    assert!(latency_us >= shortest_us || events.len() >= 10, "{what}");
                    assert!(!bench.mux.is_up(), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_link_that_is_joined_to_itself_is_lost_and_says_why() {
    for role in ROLES {
        let mut bench = Bench::up(role, Config::DEFAULT);
        let mut plug = Plug::new(1000, 100);
        let events = plug.run_ms(&mut bench, 15_000);
        let [Seen::Down(LinkLoss::Echo), rest @ ..] = &events[..] else { panic!("{events:?}") };
        assert!(rest.len() > 1 && rest.iter().all(|event| *event == Seen::Echo), "{events:?}");
        // And is back as soon as there is a peer.
        bench.now_us = bench.mux.deadline().unwrap().as_micros();
        bench.handshake();
    }
}

/// Two ends that were started at the same moment, with the same random numbers, say the same at the
/// same times.
#[test]
fn a_peer_with_the_same_clock_is_no_echo() {
    for latency_us in [0, 1, 1000] {
        let mut ends = ROLES.map(|role| Bench::new(role, Config::DEFAULT));
        for round in 0..4 {
            let said = ends.each_mut().map(Bench::sent);
            for (end, heard) in ends.iter_mut().zip(said.iter().rev()) {
                end.now_us += latency_us;
                let events = end.hear(heard);
                assert!(!events.contains(&Seen::Echo), "{round}: {events:?}");
            }
        }
        for end in &ends {
            assert!(end.mux.is_up());
            assert!(u64::from(end.mux.rtt_us()) <= 2 * latency_us + 1, "{}", end.mux.rtt_us());
        }
    }
}
