//! Packets that no broker may send.

use std::time::Instant;

use sspc_mqtt::Version::{V3, V5};
use sspc_mqtt::{Connect, Session, SessionError, Settings, Version};

/// What the broker accepts a connection with.
fn accepted(version: Version) -> Vec<u8> {
    match version {
        V3 => vec![0x20, 2, 0, 0],
        V5 => vec![0x20, 3, 0, 0, 0],
    }
}

/// The error that these bytes of the broker end a session with, in pieces of this size.
fn error_of(version: Version, sent: &[u8], size: usize) -> Option<SessionError> {
    let now = Instant::now();
    let connect = Connect { version, client_id: b"c", clean: true, ..Connect::default() };
    let mut session = Session::new(&connect, Settings::default(), now).unwrap();
    session.advance(session.waiting(), now);
    for piece in sent.chunks(size) {
        let mut input = piece;
        loop {
            match session.receive(&mut input, now) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Some(error),
            }
        }
        assert!(input.is_empty(), "a session that wants more has taken all");
    }
    None
}

/// What is wrong, the edition, whether the connection is accepted before, the bytes, and how the
/// error's text ends.
const BROKEN: &[(&str, Version, bool, &[u8], &str)] = &[
    ("a type that does not exist", V3, true, &[0x00, 0], "type 0, which brokers do not send"),
    ("a type of edition 5", V3, true, &[0xf0, 0], "type 15, which brokers do not send"),
    ("AUTH that was not asked for", V5, true, &[0xf0, 0], "type 15, which brokers do not send"),
    ("CONNECT", V3, true, &[0x10, 0], "type 1, which brokers do not send"),
    ("SUBSCRIBE", V3, true, &[0x82, 0], "type 8, which brokers do not send"),
    ("UNSUBSCRIBE", V5, true, &[0xa2, 0], "type 10, which brokers do not send"),
    ("PINGREQ", V3, true, &[0xc0, 0], "type 12, which brokers do not send"),
    ("DISCONNECT of a broker of 3.1.1", V3, true, &[0xe0, 0], "type 14, which brokers do not send"),
    ("a message first", V3, false, &[0x30, 3, 0, 1, b't'], "its first packet is no CONNACK"),
    ("a ping's answer first", V5, false, &[0xd0, 0], "its first packet is no CONNACK"),
    ("a second CONNACK", V3, true, &[0x20, 2, 0, 0], "a second CONNACK"),
    ("CONNACK with flags", V3, false, &[0x21, 2, 0, 0], "a CONNACK with the flags 0x1"),
    ("CONNACK too short", V3, false, &[0x20, 1, 0], "whose length does not fit what is in it"),
    ("CONNACK too long", V3, false, &[0x20, 3, 0, 0, 0], "whose length does not fit what is in it"),
    (
        "a flag of CONNACK that does not exist",
        V3,
        false,
        &[0x20, 2, 2, 0],
        "bad session-present flag",
    ),
    ("a session and a refusal", V3, false, &[0x20, 2, 1, 5], "bad session-present flag"),
    (
        "a session after a clean start",
        V3,
        false,
        &[0x20, 2, 1, 0],
        "a session that was not asked for",
    ),
    ("a return code that does not exist", V3, false, &[0x20, 2, 0, 6], "bad return code"),
    ("a reason that does not exist", V5, false, &[0x20, 3, 0, 1, 0], "bad return code"),
    (
        "a length of five bytes",
        V3,
        true,
        &[0x30, 0x80, 0x80, 0x80, 0x80, 1],
        "as the standard has it",
    ),
    ("a length longer than it needs", V3, true, &[0xd0, 0x80, 0], "as the standard has it"),
    (
        "quality of service 3",
        V3,
        true,
        &[0x36, 5, 0, 1, b't', 0, 1],
        "a PUBLISH with the flags 0x6",
    ),
    ("a copy at quality of service 0", V3, true, &[0x38, 3, 0, 1, b't'], "with the flags 0x8"),
    (
        "a message shorter than its topic",
        V3,
        true,
        &[0x30, 3, 0, 9, b't'],
        "does not fit what is in it",
    ),
    (
        "a message too short for its identifier",
        V3,
        true,
        &[0x32, 4, 0, 1, b't', 0],
        "does not fit what is in it",
    ),
    (
        "a message with identifier 0",
        V3,
        true,
        &[0x32, 5, 0, 1, b't', 0, 0],
        "bad packet identifier: 0",
    ),
    ("a message to no topic", V3, true, &[0x30, 2, 0, 0], "bad topic"),
    ("a message to a filter", V3, true, &[0x30, 3, 0, 1, b'#'], "bad topic"),
    ("a topic with NUL", V3, true, &[0x30, 3, 0, 1, 0], "bad topic"),
    ("a topic that is not UTF-8", V3, true, &[0x30, 3, 0, 1, 0xff], "bad topic"),
    (
        "a topic alias, of which none is allowed",
        V5,
        true,
        &[0x30, 7, 0, 1, b't', 3, 0x23, 0, 1],
        "none was allowed",
    ),
    (
        "properties longer than the message",
        V5,
        true,
        &[0x30, 4, 0, 1, b't', 9],
        "does not fit what is in it",
    ),
    ("a property that does not exist", V5, true, &[0x30, 5, 0, 1, b't', 1, 0x7f], "bad property"),
    ("half a property", V5, true, &[0x30, 5, 0, 1, b't', 1, 0x02], "bad property"),
    (
        "a property twice",
        V5,
        true,
        &[0x30, 8, 0, 1, b't', 4, 0x01, 0, 0x01, 0],
        "it is there twice",
    ),
    (
        "a flag that is neither 0 nor 1",
        V5,
        true,
        &[0x30, 6, 0, 1, b't', 2, 0x01, 2],
        "bad property",
    ),
    ("subscription identifier 0", V5, true, &[0x30, 6, 0, 1, b't', 2, 0x0b, 0], "identifier: 0"),
    ("a receive maximum of 0", V5, false, &[0x20, 6, 0, 0, 3, 0x21, 0, 0], "receive maximum: 0"),
    (
        "a maximum packet size of 0",
        V5,
        false,
        &[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0],
        "packet size: 0",
    ),
    ("PUBACK with identifier 0", V3, true, &[0x40, 2, 0, 0], "bad packet identifier: 0"),
    ("PUBACK too long", V3, true, &[0x40, 3, 0, 1, 0], "does not fit what is in it"),
    ("PUBREL without its flags", V3, true, &[0x60, 2, 0, 1], "a PUBREL with the flags 0x0"),
    ("PUBREC with flags", V5, true, &[0x52, 2, 0, 1], "a PUBREC with the flags 0x2"),
    (
        "SUBACK for what was not asked",
        V3,
        true,
        &[0x90, 3, 0, 1, 0],
        "a SUBACK for what was not asked",
    ),
    ("SUBACK without a code", V3, true, &[0x90, 2, 0, 1], "does not fit what is in it"),
    ("SUBACK with two", V3, true, &[0x90, 4, 0, 1, 0, 0], "does not fit what is in it"),
    ("SUBACK with a code that does not exist", V3, true, &[0x90, 3, 0, 1, 3], "bad return code"),
    (
        "UNSUBACK for what was not asked",
        V3,
        true,
        &[0xb0, 2, 0, 1],
        "an UNSUBACK for what was not asked",
    ),
    ("a ping's answer with a body", V3, true, &[0xd0, 1, 0], "does not fit what is in it"),
];

#[test]
fn each_ends_the_session_with_an_error_that_says_what_it_is() {
    assert!(BROKEN.len() >= 24);
    for (what, version, is_accepted, bytes, expected) in BROKEN {
        let mut sent = if *is_accepted { accepted(*version) } else { Vec::new() };
        sent.extend_from_slice(bytes);
        for size in [1, 2, 3, sent.len()] {
            let error = error_of(*version, &sent, size);
            let error = error.unwrap_or_else(|| panic!("{what}: no error")).to_string();
            assert!(error.ends_with(expected), "{what}: {error}");
        }
    }
}

#[test]
fn a_head_that_never_ends_is_refused_before_it_takes_memory() {
    // 128 KiB of properties.
    let mut sent = accepted(V5);
    sent.extend_from_slice(&[0x30, 0x80, 0x80, 0x10, 0, 1, b't', 0x80, 0x80, 0x08]);
    let error = error_of(V5, &sent, 1).unwrap().to_string();
    assert!(error.ends_with("more than 131072 bytes before its payload"), "{error}");
    // A SUBACK of 256 MiB.
    let mut sent = accepted(V3);
    sent.extend_from_slice(&[0x90, 0xff, 0xff, 0xff, 0x7f]);
    let error = error_of(V3, &sent, 1).unwrap().to_string();
    assert!(error.ends_with("more than 131072 bytes before its payload"), "{error}");
}

#[test]
fn refusals_say_why() {
    let error = |version, sent: &[u8]| error_of(version, sent, 1).unwrap().to_string();
    let start = "the broker refused the connection: ";
    for (version, sent, expected) in [
        (V3, &[0x20, 2, 0, 1][..], "it does not speak 3.1.1 (code 1)"),
        (V3, &[0x20, 2, 0, 2], "it does not take the client id (code 2)"),
        (V3, &[0x20, 2, 0, 3], "it is not available (code 3)"),
        (V3, &[0x20, 2, 0, 4], "bad user name or password (code 4)"),
        (V3, &[0x20, 2, 0, 5], "not authorized (code 5)"),
        (V5, &[0x20, 3, 0, 0x86, 0], "bad user name or password (code 134)"),
        (V5, &[0x20, 3, 0, 0x89, 0], "it is busy (code 137)"),
        (V5, &[0x20, 3, 0, 0xb0, 0], "code 176"),
    ] {
        assert_eq!(error(version, sent), format!("{start}{expected}"));
    }
    let mut goodbye = accepted(V5);
    goodbye.extend_from_slice(&[0xe0, 1, 0x8e]);
    assert_eq!(
        error(V5, &goodbye),
        "the broker ended the connection: another connection has the same client id (code 142)"
    );
}
