//! Packets of clients, as a broker reads them: written without the crate's own code.

use std::time::{Duration, Instant};

use sspc_mqtt::{Connect, Event, Session, Settings, Version};

/// A packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    pub(crate) fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    /// The topic, the packet identifier and the payload of a PUBLISH of 3.1.1.
    pub(crate) fn message(&self) -> (&[u8], Option<u16>, &[u8]) {
        let topic = 2 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let (topic, rest) = (&self.body[2..topic], &self.body[topic..]);
        match self.qos() {
            0 => (topic, None, rest),
            _ => (topic, Some(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
        }
    }

    /// The packet identifier of any other packet that has one.
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }
}

/// Takes a session's output for written, and gives its packets.
pub(crate) fn written(session: &mut Session, now: Instant) -> Vec<Sent> {
    let bytes: Vec<u8> = session.output().flatten().collect();
    session.advance(bytes.len(), now);
    let mut rest = &bytes[..];
    let mut all = Vec::new();
    while let [first, after @ ..] = rest {
        let (mut length, mut at) = (0, 0);
        loop {
            length |= usize::from(after[at] & 0x7f) << (7 * at);
            at += 1;
            if after[at - 1] & 0x80 == 0 {
                break;
            }
        }
        let body = after[at..at + length].to_vec();
        all.push(Sent { first: *first, body });
        rest = &after[at + length..];
    }
    all
}

/// What a session says of these bytes.
pub(crate) fn receive(session: &mut Session, bytes: &[u8], now: Instant) -> Vec<Event<'static>> {
    let mut input = bytes;
    let mut events = Vec::new();
    while let Some(event) = session.receive(&mut input, now).unwrap() {
        if let Some(event) = owned(event) {
            events.push(event);
        }
    }
    events.extend(std::iter::from_fn(|| session.poll_event()));
    events
}

/// All but payload, which tests compare elsewhere.
fn owned(event: Event<'_>) -> Option<Event<'static>> {
    Some(match event {
        Event::Connected { session_present } => Event::Connected { session_present },
        Event::Published { token, outcome } => Event::Published { token, outcome },
        Event::Subscribed { id, reason } => Event::Subscribed { id, reason },
        Event::Message(head) => Event::Message(head),
        _ => return None,
    })
}

/// A session that the broker has accepted.
pub(crate) fn connected(version: Version, settings: Settings, now: Instant) -> Session {
    let connect = Connect { version, client_id: b"c", clean: true, ..Connect::default() };
    let mut session = Session::new(&connect, settings, now).unwrap();
    written(&mut session, now);
    let connack: &[u8] = match version {
        Version::V3 => &[0x20, 2, 0, 0],
        Version::V5 => &[0x20, 3, 0, 0, 0],
    };
    let events = receive(&mut session, connack, now);
    assert_eq!(events, [Event::Connected { session_present: false }]);
    session
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
