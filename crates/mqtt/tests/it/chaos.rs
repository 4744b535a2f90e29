//! A broker that drops, doubles and delays what it is sent and what it answers.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sspc_mqtt::{Event, Message, Outcome, Qos, Session, Settings, Version};

use crate::broker::{Sent, connected, receive, written};

/// What becomes of a packet on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Doubled,
    Late(u64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        5 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Doubled),
        1 => (1..8_000_u64).prop_map(Fate::Late),
    ]
}

/// A broker, the network before it, and the fates of what goes through that.
struct Broker {
    fates: VecDeque<Fate>,
    /// Packets of the broker by when they arrive, and in which order they were sent.
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    /// The payloads that it took, by their identifiers while they are not released.
    unreleased: HashSet<u16>,
    delivered: Vec<Vec<u8>>,
}

impl Broker {
    fn answer(&mut self, now: Instant, packet: [u8; 4]) {
        let mut arrives = |after: u64| {
            self.sent += 1;
            let at = now + Duration::from_millis(after);
            self.under_way.insert((at, self.sent), packet.to_vec());
        };
        match self.fates.pop_front().unwrap_or(Fate::Arrives) {
            Fate::Arrives => arrives(1),
            Fate::Lost => {}
            Fate::Doubled => {
                arrives(1);
                arrives(2);
            }
            Fate::Late(ms) => arrives(ms),
        }
    }

    /// Takes a packet, if it arrives at all.
    fn take(&mut self, now: Instant, packet: &Sent) {
        let times = match self.fates.pop_front().unwrap_or(Fate::Arrives) {
            Fate::Lost => 0,
            Fate::Doubled => 2,
            Fate::Arrives | Fate::Late(_) => 1,
        };
        for _ in 0..times {
            match packet.kind() {
                3 => {
                    let (_, id, payload) = packet.message();
                    let is_new = packet.qos() < 2 || self.unreleased.insert(id.unwrap());
                    if is_new {
                        self.delivered.push(payload.to_vec());
                    }
                    if let Some(id) = id {
                        let [high, low] = id.to_be_bytes();
                        let first = if packet.qos() == 1 { 0x40 } else { 0x50 };
                        self.answer(now, [first, 2, high, low]);
                    }
                }
                6 => {
                    self.unreleased.remove(&packet.id());
                    let [high, low] = packet.id().to_be_bytes();
                    self.answer(now, [0x70, 2, high, low]);
                }
                kind => panic!("a packet of type {kind}"),
            }
        }
    }
}

/// Publishes so many messages at once; what became of each, and what the broker took.
fn run(qos: Qos, count: u64, fates: Vec<Fate>) -> (Vec<Vec<Outcome>>, Vec<Vec<u8>>) {
    let start = Instant::now();
    let mut now = start;
    let mut session: Session = connected(Version::V3, Settings::default(), now);
    let mut broker = Broker {
        fates: fates.into(),
        under_way: BTreeMap::new(),
        sent: 0,
        unreleased: HashSet::new(),
        delivered: Vec::new(),
    };
    let mut outcomes = vec![Vec::new(); count as usize];
    for token in 0..count {
        let payload = token.to_string().into();
        session.publish(token, Message { topic: b"t", payload, qos, retain: false }).unwrap();
    }
    let mut note = |events: Vec<Event<'static>>| {
        for event in events {
            let Event::Published { token, outcome } = event else { panic!("{event:?}") };
            outcomes[token as usize].push(outcome);
        }
    };
    loop {
        for packet in written(&mut session, now) {
            broker.take(now, &packet);
        }
        note(std::iter::from_fn(|| session.poll_event()).collect());
        let arrival = broker.under_way.keys().next().map(|(at, _)| *at);
        let Some(next) = [arrival, session.deadline()].into_iter().flatten().min() else { break };
        now = next.max(now);
        if arrival == Some(next) {
            let (_, packet) = broker.under_way.pop_first().unwrap();
            note(receive(&mut session, &packet, now));
        }
        session.handle_deadline(now).unwrap();
        // A message takes 12 s, and 12 more from each answer of the broker on.
        assert!(now - start < Duration::from_secs(600), "it goes on for ever");
    }
    (outcomes, broker.delivered)
}

proptest! {
    #[test]
    fn each_message_has_one_outcome_and_an_acknowledged_one_was_delivered(
        qos in 1..=2_u8,
        count in 1..20_u64,
        fates in prop::collection::vec(fate(), 0..200),
    ) {
        let qos = Qos::from_number(qos).unwrap();
        let (outcomes, delivered) = run(qos, count, fates);
        for (token, outcomes) in outcomes.iter().enumerate() {
            prop_assert_eq!(outcomes.len(), 1, "message {} had {:?}", token, outcomes);
            let times = delivered.iter().filter(|payload| **payload == token.to_string().as_bytes()).count();
            if outcomes[0] == Outcome::Acked {
                prop_assert!(times >= 1, "message {} is acknowledged and was not delivered", token);
            }
            if qos == Qos::ExactlyOnce {
                prop_assert!(times <= 1, "message {} was delivered {} times", token, times);
            }
        }
    }

    #[test]
    fn a_broker_that_loses_nothing_takes_all_in_order_and_once(qos in 0..=2_u8, count in 1..50_u64) {
        let (outcomes, delivered) = run(Qos::from_number(qos).unwrap(), count, Vec::new());
        prop_assert_eq!(outcomes, vec![vec![Outcome::Acked]; count as usize]);
        let expected: Vec<_> = (0..count).map(|token| token.to_string().into_bytes()).collect();
        prop_assert_eq!(delivered, expected);
    }
}
