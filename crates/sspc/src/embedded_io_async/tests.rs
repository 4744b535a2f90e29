use std::string::{String, ToString};
use std::vec::Vec;

use sspc_sim::Rng;
use sspc_wire::{Flags, Piece, State};

use super::queue::Queue;
use crate::event::Event;

/// What an application makes of events, however they are cut.
#[derive(Debug, Default, PartialEq)]
struct Joined {
    told: Vec<String>,
    bytes: Vec<u8>,
    from: String,
}

impl Joined {
    fn see(&mut self, event: &Event<'_>) {
        match *event {
            Event::Payload { data, flags, rideshare } => {
                let name = String::from_utf8_lossy(rideshare.unwrap_or_default()).to_string();
                if flags.contains(Flags::SOM) {
                    self.told.push("SOM ".to_string() + &name);
                }
                self.bytes.extend_from_slice(data);
                if flags.contains(Flags::EOM) {
                    self.told.push(std::format!("EOM {} {name}", self.bytes.len()));
                }
            }
            Event::Metadata { name, value } => {
                if value.is_first() {
                    self.from.clear();
                }
                assert_eq!(self.from.len(), usize::from(value.offset));
                self.from.push_str(&String::from_utf8_lossy(value.data));
                if value.is_last() {
                    self.told.push(String::from_utf8_lossy(name).to_string() + "=" + &self.from);
                }
            }
            ref other => self.told.push(std::format!("{other:?}")),
        }
    }
}

/// Any events go in and come out the same, in any cut, through any buffer.
#[test]
fn what_goes_in_comes_out() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let mut buffer = std::vec![0; 128 + rng.below(300) as usize];
        let mut queue = Queue::new();
        let (mut before, mut after) = (Joined::default(), Joined::default());
        let mut in_message = false;
        for _ in 0..60 {
            let length = rng.below(120) as usize;
            let data: Vec<u8> = (0..length).map(|_| b'a' + rng.below(26) as u8).collect();
            let (event, name) = match rng.below(6) {
                0 => (Event::State { state: State::from_code(1500), ordinal: 7 }, &b""[..]),
                1 => {
                    let value = Piece::whole(&data).unwrap();
                    if length == 0 {
                        continue;
                    }
                    (Event::Metadata { name: b"", value }, &b"a-name"[..])
                }
                2 => (Event::Refused { result: 3 }, &b""[..]),
                kind => {
                    let mut flags = if in_message { Flags::NONE } else { Flags::SOM };
                    in_message = rng.below(3) > 0;
                    if !in_message {
                        flags |= Flags::EOM;
                    }
                    let name = if kind == 3 { &b"rideshare"[..] } else { b"" };
                    let rideshare = (!name.is_empty()).then_some(&b""[..]);
                    (Event::Payload { data: &data, flags, rideshare }, name)
                }
            };
            before.see(&match event {
                Event::Metadata { value, .. } => Event::Metadata { name, value },
                Event::Payload { data, flags, rideshare } => {
                    Event::Payload { data, flags, rideshare: rideshare.map(|_| name) }
                }
                other => other,
            });
            let mut left = queue.push(&mut buffer, event, name);
            while left.is_some() || rng.below(3) == 0 {
                let mut buf = std::vec![0; 10 + rng.below(100) as usize];
                if let Some(event) = queue.pop(&mut buffer, &mut buf) {
                    after.see(&event);
                } else {
                    assert!(left.is_none(), "an empty buffer takes a part of anything");
                    break;
                }
                left = left.and_then(|event| queue.push(&mut buffer, event, name));
            }
        }
        let mut buf = [0; 33];
        while let Some(event) = queue.pop(&mut buffer, &mut buf) {
            after.see(&event);
        }
        assert_eq!(before, after, "seed {seed}");
        assert!(queue.is_empty());
    }
}
