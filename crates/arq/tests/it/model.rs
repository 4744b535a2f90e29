//! A model check: all that can happen to two ends, step by step, up to a number of faults.
//!
//! The states are those of the code itself, with windows of two or three packets of one byte. A step is
//! one packet sent or arriving, a fault, or the next deadline. Each state that any choice of steps leads to
//! is looked at once, breadth first: no end hears a byte that was not said, twice or out of order,
//! and from each the steps without faults lead to where everything was heard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

mod ends;

use ends::{Kind, Step, World};

/// What is explored.
struct Bounds {
    kinds: [Kind; 2],
    /// How many bytes each end says.
    to_say: [u8; 2],
    faults: u8,
    /// Whether ends restart too; if so the handshake is explored with the rest.
    restarts: bool,
}

/// How a state was reached, and what the steps without faults lead to.
struct Node {
    from: Option<(usize, Step)>,
    next: Next,
}

#[derive(Clone, Copy)]
enum Next {
    /// All was heard, and nothing is to be done.
    Done,
    Node(usize),
}

/// Explores all states; returns how many there are.
fn explore(bounds: &Bounds) -> usize {
    let mut first = World::new(bounds.kinds, bounds.to_say, bounds.faults);
    if !bounds.restarts {
        first.begin_session();
    }
    let mut nodes = vec![Node { from: None, next: Next::Done }];
    let mut text = String::new();
    let mut ids = HashMap::from([(first.fingerprint(&mut text), 0)]);
    let mut frontier = vec![(0, first)];
    while !frontier.is_empty() {
        let mut behind = Vec::new();
        for (id, world) in frontier {
            let steps = world.steps(bounds.restarts);
            // What happens without faults.
            let calm = steps.first().copied().filter(|step| !step.is_fault());
            assert!(calm.is_some() || world.is_heard(), "{}: dead", trace(&nodes, id));
            for step in steps {
                let mut next = world.clone();
                if let Err(fault) = next.take(step) {
                    panic!("{}, {step:?}: {fault}", trace(&nodes, id));
                }
                let new = nodes.len();
                let to = match ids.entry(next.fingerprint(&mut text)) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(place) => {
                        nodes.push(Node { from: Some((id, step)), next: Next::Done });
                        behind.push((new, next));
                        *place.insert(new)
                    }
                };
                if Some(step) == calm {
                    nodes[id].next = Next::Node(to);
                }
            }
        }
        frontier = behind;
    }
    // Whether each is known to end well.
    let mut is_live = vec![false; nodes.len()];
    for start in 0..nodes.len() {
        let (mut at, mut path) = (start, Vec::new());
        while let (false, Next::Node(next)) = (is_live[at], nodes[at].next) {
            path.push(at);
            assert!(path.len() <= nodes.len(), "{}: goes on for ever", trace(&nodes, start));
            at = next;
        }
        path.push(at);
        path.into_iter().for_each(|at| is_live[at] = true);
    }
    nodes.len()
}

/// The steps to a state.
fn trace(nodes: &[Node], mut id: usize) -> String {
    let mut steps = Vec::new();
    while let Some((from, step)) = nodes[id].from {
        steps.push(format!("{step:?}"));
        id = from;
    }
    steps.reverse();
    steps.join(", ")
}

fn check(name: &str, bounds: &Bounds, least: usize) {
    let states = explore(bounds);
    println!("{name}: {states} states");
    assert!(states >= least, "{name}: only {states} states");
}

/// So many faults, and as many more as somebody with more time asks for.
fn faults(least: u8) -> u8 {
    let more = std::env::var("SSPC_MORE_FAULTS").ok().and_then(|more| more.parse::<u8>().ok());
    least + more.unwrap_or(0)
}

#[test]
fn hosts_lose_nothing_whatever_happens() {
    let kinds = [Kind::Host { places: 2 }; 2];
    let bounds = Bounds { kinds, to_say: [2, 1], faults: faults(2), restarts: false };
    check("hosts", &bounds, 100_000);
}

#[test]
fn a_device_loses_nothing_whatever_happens() {
    let kinds = [Kind::Device, Kind::Host { places: 2 }];
    let bounds = Bounds { kinds, to_say: [2, 1], faults: faults(2), restarts: false };
    check("a device that says two bytes", &bounds, 90_000);
    let bounds = Bounds { kinds, to_say: [1, 3], faults: faults(1), restarts: false };
    check("a host that says three to a device", &bounds, 20_000);
}

#[test]
fn ends_without_room_for_early_packets_lose_nothing_whatever_happens() {
    let kinds = [Kind::Host { places: 0 }; 2];
    let bounds = Bounds { kinds, to_say: [3, 1], faults: faults(1), restarts: false };
    check("no early packets", &bounds, 20_000);
}

#[test]
fn datagrams_that_overtake_each_other_are_heard_in_order_whatever_happens() {
    let kinds = [Kind::Radio { places: 2 }; 2];
    let bounds = Bounds { kinds, to_say: [2, 1], faults: faults(2), restarts: false };
    check("datagrams", &bounds, 60_000);
}

#[test]
fn hosts_that_restart_meet_again_whatever_happens() {
    let kinds = [Kind::Host { places: 1 }; 2];
    let bounds = Bounds { kinds, to_say: [1, 1], faults: faults(1), restarts: true };
    check("hosts that restart", &bounds, 20_000);
}

#[test]
fn a_device_and_a_host_that_restart_meet_again_whatever_happens() {
    let kinds = [Kind::Device, Kind::Host { places: 1 }];
    let bounds = Bounds { kinds, to_say: [1, 1], faults: faults(1), restarts: true };
    check("a device or its host that restarts", &bounds, 15_000);
}
