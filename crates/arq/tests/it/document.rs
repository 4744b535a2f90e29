//! The packets in docs/protocol.md are those that two ends send, byte by byte.

use std::fmt::Write as _;

use sspc_arq::{Arq, Checked, Config, Received, SoftCrc};
use sspc_mux::{Instant, Role};

type End = Arq<Checked<SoftCrc>, Vec<u8>, Vec<u8>>;

const DOCUMENT: &str = include_str!("../../../../docs/protocol.md");

/// Delivers the next packet of one end to the other, and returns it in hexadecimal, with what came out.
fn pass(from: &mut End, to: &mut End, at_us: u64, mut payload: &[u8]) -> (String, Vec<u8>) {
    let now = Instant::from_micros(at_us);
    let mut out = [0; 2048];
    let mut source = |room: &mut [u8]| {
        let length = payload.len().min(room.len());
        room[..length].copy_from_slice(&payload[..length]);
        payload = &payload[length..];
        length
    };
    let length = from.transmit(now, &mut out, &mut source);
    let (mut text, mut heard) = (String::new(), Vec::new());
    for byte in &out[..length] {
        let _ = write!(text, "{byte:02x}");
    }
    let mut input = &out[..length];
    while let Some(event) = to.receive(now, &mut input) {
        if let Received::Data(bytes) = event {
            heard.extend_from_slice(bytes);
        }
    }
    (text, heard)
}

#[test]
fn the_packets_of_the_document_are_what_is_sent() {
    let end = |role, seed| -> End {
        let (storage, replay) = (vec![0; 4096], vec![0; 1024]);
        let config = Config { packet_max: 512, ..Config::DEFAULT };
        Arq::new(role, config, seed, Checked::new(SoftCrc), storage, replay)
    };
    let (mut client, mut proxy) = (end(Role::Client, 1), end(Role::Proxy, 2));
    client.open(Instant::from_micros(1000));
    let mut sent = Vec::new();
    sent.push(pass(&mut client, &mut proxy, 1000, b"").0);
    sent.push(pass(&mut proxy, &mut client, 2000, b"").0);
    sent.push(pass(&mut client, &mut proxy, 3000, b"").0);
    assert!(client.is_open() && proxy.is_open());
    let (packet, heard) = pass(&mut client, &mut proxy, 4000, b"\xab\0\0");
    assert_eq!(heard, b"\xab\0\0");
    sent.push(packet);
    sent.push(pass(&mut proxy, &mut client, 9000, b"").0);
    let (_, block) = DOCUMENT.split_once("```text packets\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let written: Vec<String> = block
        .lines()
        .map(|line| line.split(';').next().unwrap().split_whitespace().collect())
        .collect();
    assert_eq!(written, sent, "{sent:#?}");
}
