//! A broker's bytes in any cut, for a session with messages and a subscription under way.

use std::time::{Duration, Instant};

use sspc_mqtt::{Connect, Event, Message, Qos, Session, Settings, Version};

/// What a session says, with the payload of each message joined, and what it sends. How much came of a
/// message that a fault ended depends on the cuts, so it is left out.
#[derive(Debug, PartialEq)]
struct Heard {
    told: Vec<String>,
    messages: Vec<Vec<u8>>,
    sent: Vec<u8>,
    error: Option<String>,
}

/// The first byte chooses the edition and how the broker's session stands, the rest is what it sends
/// after its CONNACK, or instead of one.
pub fn mqtt_session(input: &[u8]) {
    let (input, sizes) = crate::cuts::split(input);
    let Some((choice, bytes)) = input.split_first() else { return };
    let whole = hear(*choice, [bytes]);
    assert_eq!(hear(*choice, bytes.chunks(1)), whole);
    assert_eq!(hear(*choice, sspc_sim::frames::cut(bytes, &sizes)), whole);
}

fn hear<'i>(choice: u8, chunks: impl IntoIterator<Item = &'i [u8]>) -> Heard {
    let now = Instant::now();
    let version = if choice & 1 == 0 { Version::V3 } else { Version::V5 };
    let connect = Connect {
        version,
        client_id: b"c",
        clean: choice & 2 == 0,
        keep_alive_s: 9,
        ..Connect::default()
    };
    let mut session = Session::new(&connect, Settings::default(), now).unwrap();
    let mut heard = Heard { told: Vec::new(), messages: Vec::new(), sent: Vec::new(), error: None };
    take_output(&mut session, &mut heard, now);
    if choice & 4 == 0 {
        let connack: &[u8] =
            if version == Version::V3 { &[0x20, 2, 0, 0] } else { &[0x20, 3, 0, 0, 0] };
        let mut input = connack;
        session.receive(&mut input, now).unwrap();
        for (token, qos) in
            [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate()
        {
            let message =
                Message { topic: b"t", payload: vec![0; 5000 * token].into(), qos, retain: false };
            session.publish(token as u64, message).unwrap();
        }
        session.subscribe(b"a/+", Qos::ExactlyOnce, 1).unwrap();
        session.unsubscribe(b"a/+");
        take_output(&mut session, &mut heard, now);
    }
    let mut ended = true;
    for chunk in chunks {
        let mut input = chunk;
        loop {
            match session.receive(&mut input, now) {
                Ok(None) => break,
                Ok(Some(Event::Message(head))) => {
                    assert!(ended, "a message begins when the last has ended");
                    ended = head.length == 0;
                    heard.told.push(format!("{head:?}"));
                    heard.messages.push(Vec::new());
                }
                Ok(Some(Event::Payload { bytes, last })) => {
                    assert!(!ended && !bytes.is_empty());
                    heard.messages.last_mut().unwrap().extend(bytes);
                    ended = last;
                }
                Ok(Some(event)) => heard.told.push(format!("{event:?}")),
                Err(error) => {
                    heard.error = Some(error.to_string());
                    take_output(&mut session, &mut heard, now);
                    return heard;
                }
            }
        }
        assert!(input.is_empty(), "a session that wants more has taken all");
        take_output(&mut session, &mut heard, now);
    }
    // Whatever came, all that waits is sent again or given up.
    let mut later = now;
    for _ in 0..10 {
        let Some(deadline) = session.deadline() else { break };
        later = deadline.max(later) + Duration::from_millis(1);
        if session.handle_deadline(later).is_err() {
            break;
        }
        session.advance(session.waiting(), later);
    }
    heard
}

fn take_output(session: &mut Session, heard: &mut Heard, now: Instant) {
    let before = heard.sent.len();
    heard.sent.extend(session.output().flatten());
    let written = heard.sent.len() - before;
    assert_eq!(written, session.waiting());
    session.advance(written, now);
    while let Some(event) = session.poll_event() {
        heard.told.push(format!("{event:?}"));
    }
    assert_eq!(session.owed(), 0);
}
