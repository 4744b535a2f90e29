//! What a session says and when.

use std::time::Instant;

use sspc_mqtt::{
    Connect, Event, Message, Outcome, PublishError, Qos, Session, SessionError, Settings, Version,
    Will,
};

use crate::broker::{connected, receive, seconds, written};

fn message(qos: Qos) -> Message<'static> {
    Message { topic: b"t", payload: "p".into(), qos, retain: false }
}

fn published(token: u64, outcome: Outcome) -> Event<'static> {
    Event::Published { token, outcome }
}

#[test]
fn connect_is_as_the_standard_has_it() {
    let connect = Connect {
        client_id: b"id",
        user: Some(b"user"),
        password: Some(b"secret"),
        keep_alive_s: 60,
        clean: true,
        will: Some(Will { topic: b"w", payload: b"bye", qos: Qos::AtLeastOnce, retain: true }),
        version: Version::V3,
    };
    let mut session = Session::new(&connect, Settings::default(), Instant::now()).unwrap();
    let sent = written(&mut session, Instant::now());
    let expected =
        b"\x00\x04MQTT\x04\xee\x00\x3c\x00\x02id\x00\x01w\x00\x03bye\x00\x04user\x00\x06secret";
    assert_eq!((sent[0].first, &sent[0].body[..]), (0x10, &expected[..]));

    let connect = Connect { version: Version::V5, clean: false, user: None, ..connect };
    let mut session = Session::new(&connect, Settings::default(), Instant::now()).unwrap();
    let sent = written(&mut session, Instant::now());
    // No password without a user; the session is kept until it is asked for.
    let expected =
        b"\x00\x04MQTT\x05\x2c\x00\x3c\x05\x11\xff\xff\xff\xff\x00\x02id\x00\x00\x01w\x00\x03bye";
    assert_eq!((sent[0].first, &sent[0].body[..]), (0x10, &expected[..]));
}

#[test]
fn what_is_not_acknowledged_is_sent_again_three_times_and_then_given_up() {
    let start = Instant::now();
    for (qos, first, copy) in [(Qos::AtLeastOnce, 0x32, 0x3a), (Qos::ExactlyOnce, 0x34, 0x3c)] {
        let mut session = connected(Version::V3, Settings::default(), start);
        session.publish(1, message(qos)).unwrap();
        assert_eq!(written(&mut session, start)[0].first, first);
        for n in 1..=3 {
            let due = start + seconds(3 * n);
            assert_eq!(session.deadline(), Some(due));
            session.handle_deadline(due).unwrap();
            let sent = written(&mut session, due);
            assert_eq!((sent.len(), sent[0].first), (1, copy));
            assert_eq!(session.poll_event(), None);
        }
        session.handle_deadline(start + seconds(12)).unwrap();
        assert_eq!(session.poll_event(), Some(published(1, Outcome::Unanswered)));
        assert_eq!(session.deadline(), None);
        // An answer that comes too late is none.
        assert_eq!(receive(&mut session, &[0x40, 2, 0, 1], start), []);
    }
}

#[test]
fn edition_5_sends_nothing_again_and_waits_as_long() {
    let start = Instant::now();
    let mut session = connected(Version::V5, Settings::default(), start);
    session.publish(1, message(Qos::AtLeastOnce)).unwrap();
    written(&mut session, start);
    for n in 1..=3 {
        session.handle_deadline(start + seconds(3 * n)).unwrap();
        assert_eq!(written(&mut session, start), []);
        assert_eq!(session.poll_event(), None);
    }
    session.handle_deadline(start + seconds(12)).unwrap();
    assert_eq!(session.poll_event(), Some(published(1, Outcome::Unanswered)));
}

/// The time was counted from when it was given, so that a long message over a slow way was sent twice.
#[test]
fn the_time_counts_from_when_the_message_is_written() {
    let start = Instant::now();
    let mut session = connected(Version::V3, Settings::default(), start);
    let long = Message { payload: vec![0; 100_000].into(), ..message(Qos::AtLeastOnce) };
    session.publish(1, long).unwrap();
    session.advance(99_999, start + seconds(60));
    assert_eq!(session.deadline(), None);
    session.advance(session.waiting(), start + seconds(61));
    assert_eq!(session.deadline(), Some(start + seconds(64)));
}

#[test]
fn once_the_broker_has_it_a_message_is_not_sent_again_but_its_release_is() {
    let start = Instant::now();
    let mut session = connected(Version::V3, Settings::default(), start);
    session.publish(1, message(Qos::ExactlyOnce)).unwrap();
    written(&mut session, start);
    assert_eq!(receive(&mut session, &[0x50, 2, 0, 1], start), []);
    assert_eq!(written(&mut session, start)[0].first, 0x62);
    session.handle_deadline(start + seconds(3)).unwrap();
    assert_eq!(written(&mut session, start + seconds(3))[0].first, 0x62);
    let events = receive(&mut session, &[0x70, 2, 0, 1], start);
    assert_eq!(events, [published(1, Outcome::Acked)]);
}

#[test]
fn a_copy_of_what_came_exactly_once_is_answered_and_not_told() {
    let now = Instant::now();
    let mut session = connected(Version::V3, Settings::default(), now);
    let publish = [0x34, 6, 0, 1, b't', 0, 9, b'x'];
    assert_eq!(receive(&mut session, &publish, now).len(), 1);
    assert_eq!(receive(&mut session, &publish, now), []);
    let sent: Vec<_> = written(&mut session, now).iter().map(|sent| sent.first).collect();
    assert_eq!(sent, [0x50, 0x50]);
    assert_eq!(session.received().collect::<Vec<_>>(), [9]);
    receive(&mut session, &[0x62, 2, 0, 9], now);
    assert_eq!(written(&mut session, now)[0].first, 0x70);
    assert_eq!(receive(&mut session, &publish, now).len(), 1, "it is another one");
}

/// A PUBREC was lost with the connection, and the message comes again on the next.
#[test]
fn a_session_that_is_resumed_knows_what_came() {
    let now = Instant::now();
    for (session_present, expected) in [(1, 0), (0, 1)] {
        let connect = Connect { client_id: b"c", ..Connect::default() };
        let mut session = Session::new(&connect, Settings::default(), now).unwrap();
        session.resume([9]);
        receive(&mut session, &[0x20, 2, session_present, 0], now);
        let events = receive(&mut session, &[0x3c, 6, 0, 1, b't', 0, 9, b'x'], now);
        assert_eq!(events.len(), expected);
    }
}

/// It was taken for a copy when it came again, and its client never got all of it.
#[test]
fn a_message_that_came_in_part_is_to_come_again() {
    let now = Instant::now();
    let mut session = connected(Version::V3, Settings::default(), now);
    let publish = [0x34, 6, 0, 1, b't', 0, 9, b'x'];
    receive(&mut session, &publish, now);
    receive(&mut session, &[0x34, 7, 0, 1, b't', 0, 8, b'x'], now);
    assert_eq!(session.received().collect::<Vec<_>>(), [9]);
    receive(&mut session, b"y", now);
    let mut received: Vec<_> = session.received().collect();
    received.sort_unstable();
    assert_eq!(received, [8, 9]);
    // A copy in part: it came before.
    receive(&mut session, &[0x3c, 6, 0, 1, b't', 0, 9], now);
    assert_eq!(session.received().count(), 2);
}

/// Neither end reads: a ping for each keep-alive was put behind the others for ever.
#[test]
fn one_ping_waits_to_be_written_at_most() {
    let start = Instant::now();
    let connect = Connect { client_id: b"c", clean: true, keep_alive_s: 4, ..Connect::default() };
    let mut session = Session::new(&connect, Settings::default(), start).unwrap();
    written(&mut session, start);
    receive(&mut session, &[0x20, 2, 0, 0], start);
    session.set_reading(false, start);
    for n in 1..=100 {
        session.handle_deadline(start + seconds(3 * n)).unwrap();
    }
    assert_eq!(session.waiting(), 2);
    let now = start + seconds(300);
    assert_eq!(written(&mut session, now)[0].first, 0xc0);
    session.handle_deadline(now + seconds(3)).unwrap();
    assert_eq!(session.waiting(), 2, "the next one");
}

#[test]
fn a_broker_of_5_may_refuse_a_message_and_set_limits() {
    let now = Instant::now();
    let connect =
        Connect { version: Version::V5, client_id: b"c", clean: true, ..Connect::default() };
    let mut session = Session::new(&connect, Settings::default(), now).unwrap();
    assert_eq!(session.publish(1, message(Qos::AtMostOnce)), Err(PublishError::NotConnected));
    // Quality of service 1 at most, nothing retained, packets of 20 bytes, 7 at a time, keep-alive 5.
    let properties = [0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 20, 0x21, 0, 7, 0x13, 0, 5];
    let connack = [&[0x20, 18, 0, 0, 15], &properties[..]].concat();
    receive(&mut session, &connack, now);
    written(&mut session, now);
    assert_eq!(session.limits().receive_maximum, 7);
    assert_eq!(session.publish(1, message(Qos::ExactlyOnce)), Err(PublishError::Qos(1)));
    let retained = Message { retain: true, ..message(Qos::AtMostOnce) };
    assert_eq!(session.publish(1, retained), Err(PublishError::Retain));
    let long = Message { payload: "0123456789".into(), ..message(Qos::AtMostOnce) };
    assert_eq!(session.publish(1, long), Err(PublishError::TooLarge { bytes: 21, max: 20 }));
    session.publish(2, message(Qos::AtLeastOnce)).unwrap();
    written(&mut session, now);
    let events = receive(&mut session, &[0x40, 3, 0, 1, 0x87], now);
    let [Event::Published { token: 2, outcome: Outcome::Refused(reason) }] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(reason.to_string(), "not authorized (code 135)");
    session.handle_deadline(now + seconds(4)).unwrap();
    assert_eq!(written(&mut session, now)[0].first, 0xc0, "a ping, by the broker's keep-alive");
}

#[test]
fn silence_is_pinged_and_then_given_up_unless_nobody_reads() {
    let start = Instant::now();
    let settings =
        Settings { ping: Some(seconds(10)), hangup: Some(seconds(25)), ..Settings::default() };
    let mut session = connected(Version::V3, settings, start);
    assert_eq!(session.deadline(), Some(start + seconds(10)));
    session.handle_deadline(start + seconds(10)).unwrap();
    assert_eq!(written(&mut session, start + seconds(10))[0].first, 0xc0);
    receive(&mut session, &[0xd0, 0], start + seconds(11));
    assert_eq!(session.deadline(), Some(start + seconds(21)));
    session.handle_deadline(start + seconds(21)).unwrap();
    written(&mut session, start + seconds(21));
    let mut slow = connected(Version::V3, settings, start);
    assert_eq!(
        session.handle_deadline(start + seconds(36)),
        Err(SessionError::Silent(seconds(25)))
    );

    slow.set_reading(false, start + seconds(5));
    assert_eq!(slow.deadline(), None);
    slow.set_reading(true, start + seconds(1_000));
    slow.handle_deadline(start + seconds(1_000)).unwrap();
    assert_eq!(slow.deadline(), Some(start + seconds(1_010)));
}

#[test]
fn the_keep_alive_is_kept_and_its_answer_waited_for() {
    let start = Instant::now();
    let connect = Connect { client_id: b"c", clean: true, keep_alive_s: 20, ..Connect::default() };
    let mut session = Session::new(&connect, Settings::default(), start).unwrap();
    assert_eq!(session.deadline(), None, "nothing is due before the broker accepts");
    written(&mut session, start);
    receive(&mut session, &[0x20, 2, 0, 0], start);
    session.handle_deadline(start + seconds(15)).unwrap();
    assert_eq!(written(&mut session, start + seconds(15))[0].first, 0xc0);
    session.handle_deadline(start + seconds(29)).unwrap();
    assert_eq!(
        session.handle_deadline(start + seconds(30)),
        Err(SessionError::Silent(seconds(30)))
    );
}

#[test]
fn nothing_follows_a_goodbye() {
    let now = Instant::now();
    let mut session = connected(Version::V3, Settings::default(), now);
    session.disconnect();
    receive(&mut session, &[0x32, 5, 0, 1, b't', 0, 9], now);
    assert_eq!(session.publish(1, message(Qos::AtMostOnce)), Err(PublishError::NotConnected));
    session.disconnect();
    let sent: Vec<_> = written(&mut session, now).iter().map(|sent| sent.first).collect();
    assert_eq!(sent, [0xe0]);
}

/// Identifiers came from a counter, whose first was 0.
#[test]
fn identifiers_are_never_0_and_never_used_twice_at_a_time() {
    let now = Instant::now();
    let mut session = connected(Version::V3, Settings::default(), now);
    session.publish(0, message(Qos::AtLeastOnce)).unwrap();
    let first = written(&mut session, now)[0].message().1.unwrap();
    assert_eq!(first, 1);
    for token in 1..200_000 {
        session.publish(token, message(Qos::AtLeastOnce)).unwrap();
        let id = written(&mut session, now)[0].message().1.unwrap();
        assert!(id != 0 && id != first);
        let [high, low] = id.to_be_bytes();
        let events = receive(&mut session, &[0x40, 2, high, low], now);
        assert_eq!(events, [published(token, Outcome::Acked)]);
    }
}
