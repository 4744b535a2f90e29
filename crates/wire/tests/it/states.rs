//! The states: their numbers and names, and the two tables of what may follow what.

use sspc_wire::State;

/// What a receiver takes; the row's state, then all that may follow it beside DESTROYING (7).
const RECEIVED: [(u32, &[u32]); 18] = [
    (1, &[6, 8, 14, 16]),
    (2, &[3, 5, 6, 8, 14]),
    (3, &[3, 5, 6, 8, 9, 14]),
    (4, &[6, 9, 14]),
    (5, &[2, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16]),
    (6, &[2, 3, 4, 5, 6, 8, 9, 10, 11, 14]),
    (8, &[6, 9, 14]),
    (9, &[3, 6, 8, 14]),
    (10, &[2, 6, 10, 11, 14]),
    (11, &[2, 6, 10, 11, 14]),
    (12, &[2, 14]),
    (13, &[2, 14]),
    (14, &[2, 3, 5, 6, 8, 10, 11, 14]),
    (15, &[2, 14, 15]),
    (16, &[2, 14, 15, 16]),
    (19, &[]),
    (20, &[]),
    (21, &[]),
];

/// What our proxy sends, so that every deployed client takes it.
const SENT: [(u32, &[u32]); 9] = [
    (1, &[6, 8, 14]),
    (2, &[6, 8, 14]),
    (3, &[6, 8, 9, 14]),
    (5, &[2, 10, 11, 14]),
    (6, &[2, 3, 5, 14]),
    (8, &[6, 14]),
    (9, &[6, 14]),
    (10, &[2, 14]),
    (11, &[2, 14]),
];

/// Every number that a table speaks of, one without a meaning on either side, and user states.
fn numbers() -> impl Iterator<Item = u32> {
    (0..=21).chain([999, 1000, 1530, u32::MAX])
}

#[test]
fn a_receiver_takes_what_the_table_says_and_nothing_else() {
    for (from, allowed) in RECEIVED {
        for next in numbers() {
            let expected =
                next == 7 || allowed.contains(&next) || [17, 18].contains(&next) || next >= 1000;
            let (next, from) = (State::from_code(next), State::from_code(from));
            assert_eq!(State::may_follow(next, Some(from)), expected, "{next} after {from}");
        }
    }
}

#[test]
fn a_proxy_sends_what_the_table_says_and_nothing_else() {
    for from in (1..=20).filter(|from| *from != 7) {
        let row = SENT.iter().find(|row| row.0 == from);
        let allowed = row.map_or(&[][..], |row| row.1);
        for next in numbers() {
            let expected = next == 7 || allowed.contains(&next) || next >= 1000;
            let (next, from) = (State::from_code(next), State::from_code(from));
            assert_eq!(State::is_safe_after(next, Some(from)), expected, "{next} after {from}");
        }
    }
}

#[test]
fn what_may_be_sent_may_be_received() {
    let currents = || numbers().map(|code| Some(State::from_code(code))).chain([None]);
    for current in currents() {
        for next in numbers().map(State::from_code) {
            let sent = State::is_safe_after(next, current);
            let taken = State::may_follow(next, current);
            assert!(taken || !sent, "{next} after {current:?}");
        }
    }
}

#[test]
fn a_stream_begins_with_creating_and_ends_with_destroying() {
    for next in (0..=20).map(State::from_code) {
        let begins = matches!(next, State::Creating | State::Destroying);
        assert_eq!(State::may_follow(next, None), begins || next.is_transparent(), "{next}");
        assert_eq!(State::is_safe_after(next, None), begins, "{next}");
        let destroying = Some(State::Destroying);
        assert_eq!(State::may_follow(next, destroying), next.is_transparent(), "{next}");
        assert!(!State::is_safe_after(next, destroying), "{next}");
    }
}

#[test]
fn a_state_is_its_number() {
    for code in numbers().chain(2..2000) {
        let state = State::from_code(code);
        assert_eq!(state.code(), code);
        assert_eq!(matches!(state, State::User(_)), code >= 1000);
        assert_eq!(matches!(state, State::Other(_)), code == 0 || (21..1000).contains(&code));
    }
}

#[test]
fn a_state_is_told_by_the_protocols_name() {
    let told = |code| State::from_code(code).to_string();
    assert_eq!(told(1), "CREATING");
    assert_eq!(told(9), "ALL_RETRIES_FAILED");
    assert_eq!(told(20), "SINK_PART");
    assert_eq!(told(1530), "USER(1530)");
    assert_eq!(told(21), "UNKNOWN(21)");
    assert_eq!(State::User(1530).name(), "USER");
}
