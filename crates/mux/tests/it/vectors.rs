//! The vectors of the specification: an end of the link beside a scripted peer.

use std::collections::HashMap;

use serde_json::Value;
use sspc_mux::{Channel, Config, Instant, Priority, Role};
use sspc_sim::spec::{self, Vector};

use crate::support::{Bench, Seen};

#[test]
fn each_vector_of_a_link_is_what_an_end_does() {
    for file in spec::files_of("mux") {
        assert_eq!(file.kind, "mux link");
        for vector in &file.vectors {
            play(vector);
        }
    }
}

fn play(vector: &Vector) {
    let role = match spec::text(&vector.0, "end") {
        "client" => Role::Client,
        "proxy" => Role::Proxy,
        other => panic!("{other} is no end"),
    };
    let mut end = End {
        bench: Bench::new(role, Config::DEFAULT),
        times: HashMap::new(),
        named: vector.name().to_owned(),
    };
    for step in spec::list(&vector.0, "steps") {
        end.step(step);
    }
}

struct End {
    bench: Bench,
    /// Times that have a name in the vector.
    times: HashMap<String, [u8; 8]>,
    named: String,
}

impl End {
    fn step(&mut self, step: &Value) {
        let (mut seen, mut sent) = (Vec::new(), Vec::new());
        if let Some(window) = step["wait_ms"].as_array() {
            let now_us = self.bench.now_us;
            let [from_us, to_us] = [0, 1].map(|at| now_us + window[at].as_u64().unwrap() * 1000);
            let passed = self.pass(to_us);
            (seen, sent) = passed.unwrap_or_else(|| panic!("{}: {step}: nothing", self.named));
            assert!(self.bench.now_us >= from_us, "{}: {step}: too early", self.named);
        } else if let Some(ms) = step["quiet_ms"].as_u64() {
            let passed = self.pass(self.bench.now_us + ms * 1000);
            assert_eq!(passed, None, "{}: {step}", self.named);
        } else if let Some(bytes) = step["receive"].as_str() {
            let bytes = self.filled(bytes);
            seen = self.bench.hear(&bytes);
            for event in &seen {
                if let Seen::Requested(index) = event {
                    self.bench.mux.accept(Channel::new(*index), Priority::default()).unwrap();
                }
            }
        } else if step.get("open").is_some() {
            self.bench.mux.open(Priority::default()).unwrap();
        } else if let Some(index) = step["close"].as_u64() {
            self.bench.mux.close(Channel::new(index as u8));
        } else if let Some(data) = step["data"].as_array() {
            let index = data[0].as_u64().unwrap() as u8;
            self.bench.send(Channel::new(index), &spec::bytes(data[1].as_str().unwrap()));
        }
        let events: Vec<String> = seen.iter().map(told).collect();
        let expected: Vec<&str> = step["events"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|event| event.as_str().unwrap())
            .collect();
        assert_eq!(events, expected, "{}: {step}", self.named);
        sent.extend(self.bench.sent());
        if step.get("any_send").is_none() {
            self.expect(&sent, step["send"].as_str().unwrap_or_default(), step);
        }
    }

    /// Time passes until the end reports or sends something, or until then; what that was.
    fn pass(&mut self, until_us: u64) -> Option<(Vec<Seen>, Vec<u8>)> {
        for _ in 0..10_000 {
            let next_us = self.bench.mux.deadline().map_or(u64::MAX, Instant::as_micros);
            if next_us > until_us {
                self.bench.now_us = until_us;
                return None;
            }
            self.bench.now_us = self.bench.now_us.max(next_us);
            let (seen, sent) = (self.bench.due(), self.bench.sent());
            if !seen.is_empty() || !sent.is_empty() {
                return Some((seen, sent));
            }
        }
        panic!("{}: too many deadlines", self.named);
    }

    /// Bytes of a vector, with the times that are known.
    fn filled(&self, text: &str) -> Vec<u8> {
        let mut filled = text.to_owned();
        for (name, time) in &self.times {
            let digits: String = time.iter().map(|byte| format!("{byte:02x}")).collect();
            filled = filled.replace(&format!("<{name}>"), &digits);
        }
        spec::bytes(&filled)
    }

    /// Compares what was sent with a pattern, and keeps the times that it names.
    fn expect(&mut self, sent: &[u8], pattern: &str, step: &Value) {
        let named = format!("{}: {step}, sent {sent:02x?}", self.named);
        let (mut rest, mut left) = (pattern, sent);
        while !rest.is_empty() {
            if let Some((name, behind)) =
                rest.strip_prefix('<').and_then(|rest| rest.split_once('>'))
            {
                let (time, more) =
                    left.split_first_chunk::<8>().unwrap_or_else(|| panic!("{named}"));
                let known = self.times.entry(name.to_owned()).or_insert(*time);
                assert_eq!(known, time, "{named}");
                (rest, left) = (behind, more);
                continue;
            }
            let (byte, more) = left.split_first().unwrap_or_else(|| panic!("{named}"));
            let (digits, behind) = rest.split_at(2);
            let is_same = digits == ".." || u8::from_str_radix(digits, 16).unwrap() == *byte;
            assert!(is_same, "{named}");
            (rest, left) = (behind, more);
        }
        assert_eq!(left, b"", "{named}");
    }
}

fn told(seen: &Seen) -> String {
    match seen {
        Seen::Up => "up".to_owned(),
        Seen::Down(_) => "down".to_owned(),
        Seen::Echo => "echo".to_owned(),
        Seen::RoundTrip => "round trip".to_owned(),
        Seen::Clock(us) => format!("clock {us}"),
        Seen::Requested(index) => format!("requested {index}"),
        Seen::Opened(index) => format!("opened {index}"),
        Seen::Refused(index, _) => format!("refused {index}"),
        Seen::Closed(index) => format!("closed {index}"),
        Seen::Data(index, bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("data {index} {digits}")
        }
    }
}
