//! The link is lost at every byte of a session, once in each direction.

use sspc::State;
use sspc_sim::{Cut, Side};

use super::run;
use super::setup::{Losses, Setup, Task};
use State::*;

/// Loses the first link after each byte that arrives, one run each; everything else goes well.
fn lose_everywhere(setup: &Setup, normal: &[State]) {
    let whole = run(setup.clone());
    assert_eq!(whole.states, normal);
    assert_eq!(whole.links, 1);
    let [to_client, to_proxy] = whole.arrived;
    for (side, bytes) in [(Side::A, to_proxy), (Side::B, to_client)] {
        for at in 1..=bytes {
            let losses = Losses::First(Cut::AfterBytes(side, at));
            let outcome = run(Setup { losses, ..setup.clone() });
            let Some(before) = outcome.before_loss else {
                assert_eq!(outcome.states, normal, "lost after byte {at} from {side:?}: too late");
                continue;
            };
            let links = if normal[..before].contains(&QosAckRemote) { 1 } else { 2 };
            assert_eq!(outcome.links, links, "lost after byte {at} from {side:?}");
            assert_eq!(
                outcome.states,
                told(normal, before),
                "lost after byte {at} from {side:?}, told {before} states until then"
            );
        }
    }
}

/// What an application is told whose link is lost when it had been told the first `before` states
/// of those that it is told otherwise.
fn told(normal: &[State], before: usize) -> Vec<State> {
    let (start, rest) = normal.split_at(before);
    let mut told = start.to_vec();
    if start.contains(&Connected) && !start.contains(&Disconnected) {
        told.push(Disconnected);
    }
    told.push(UpstreamLinkRetry);
    if start.contains(&QosAckRemote) {
        told.extend(rest.iter().filter(|state| **state != Disconnected));
        return told;
    }
    let news = |state: &&State| !start.contains(&Creating) || **state != Creating;
    let mut again = normal.iter().filter(news).peekable();
    // POLL after POLL says nothing new.
    again.next_if(|state| start.last() == Some(&Poll) && **state == Poll);
    told.extend(again);
    told
}

#[test]
fn a_response_is_whole_wherever_its_link_is_lost() {
    let setup = Setup::calm(Task::Get, 3000);
    let normal = [Creating, Connecting, Connected, QosAckRemote, Disconnected, Destroying];
    lose_everywhere(&setup, &normal);
}

#[test]
fn an_upload_is_whole_wherever_its_link_is_lost() {
    for hint in [true, false] {
        let setup = Setup::calm(Task::Post { hint }, 800);
        let with_hint =
            [Creating, Poll, Connecting, Connected, QosAckRemote, Disconnected, Destroying];
        let without = [Creating, Connecting, Connected, QosAckRemote, Disconnected, Destroying];
        lose_everywhere(&setup, if hint { &with_hint } else { &without });
    }
}

#[test]
fn an_echo_is_whole_wherever_its_link_is_lost() {
    let setup = Setup { goal: 2, ..Setup::calm(Task::Ws { hint: false }, 400) };
    lose_everywhere(&setup, &[Creating, Connecting, Connected, Destroying]);
}
