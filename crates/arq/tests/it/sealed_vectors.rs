//! The vectors of encrypted packets: what two ends with a key send, byte by byte.

use std::fmt::Write as _;

use serde_json::Value;
use sspc_arq::{
    Arq, ChaCha20Poly1305, Config, ForwardSecrecy, Key, KeyTable, Keys, OwnKey, Received, Sealed,
    SoftCrc,
};
use sspc_mux::{Instant, Role};
use sspc_sim::spec::{self, Vector};

type End = Arq<Sealed<SoftCrc, ChaCha20Poly1305, Box<dyn Keys>>, Vec<u8>, Vec<u8>>;

fn array<const N: usize>(text: &str) -> [u8; N] {
    spec::bytes(text).try_into().unwrap()
}

/// An end as a vector has it; what makes its nonces and epochs is this project's own.
fn end(vector: &Vector, name: &str) -> End {
    let key = Key::new(array(spec::text(&vector.0, "key")));
    let id = spec::text(&vector.0, "id").to_owned();
    let (role, keys): (Role, Box<dyn Keys>) = match name {
        "client" => (Role::Client, Box::new(OwnKey::new(id, key))),
        _ => (Role::Proxy, Box::new(KeyTable::from([(id.into_bytes(), key)]))),
    };
    let own: &Value = &vector.0["ends"][name];
    let chance = array(spec::text(own, "chance"));
    let seed = u32::try_from(spec::number(own, "seed")).unwrap();
    let protection = Sealed::new(SoftCrc, ChaCha20Poly1305, keys, chance)
        .with_forward_secrecy(ForwardSecrecy::Off);
    let config = Config { packet_max: 512, ..Config::DEFAULT };
    Arq::new(role, config, seed, protection, vec![0; 4096], vec![0; 1024])
}

pub(crate) fn play(vector: &Vector) {
    let mut ends = [end(vector, "client"), end(vector, "proxy")];
    ends[0].open(Instant::from_micros(1000));
    for (at, step) in spec::list(&vector.0, "steps").iter().enumerate() {
        let named = format!("{}, step {at}", vector.name());
        let now = Instant::from_micros(u64::try_from(spec::number(step, "at_us")).unwrap());
        let data = step["data"].as_str().map(spec::bytes).unwrap_or_default();
        let [client, proxy] = &mut ends;
        let (from, to) = match spec::text(step, "from") {
            "client" => (client, proxy),
            _ => (proxy, client),
        };
        let mut left = &data[..];
        let mut out = [0; 2048];
        let length = from.transmit(now, &mut out, &mut |room| {
            let length = left.len().min(room.len());
            room[..length].copy_from_slice(&left[..length]);
            left = &left[length..];
            length
        });
        let mut line = String::new();
        for byte in &out[..length] {
            let _ = write!(line, "{byte:02x}");
        }
        assert_eq!(line, spec::text(step, "line"), "{named}");
        let (mut heard, mut input) = (Vec::new(), &out[..length]);
        while let Some(event) = to.receive(now, &mut input) {
            if let Received::Data(bytes) = event {
                heard.extend_from_slice(bytes);
            }
        }
        assert_eq!(heard, data, "{named}");
    }
    let [client, proxy] = &ends;
    assert!(client.is_open() && proxy.is_open());
    assert_eq!(proxy.protection().peer_id(), spec::text(&vector.0, "id").as_bytes());
}
