//! The vectors of the specification: packets on a line, as somebody sees them who stands between two
//! ends, and that a session goes on behind what is no packet.

use serde_json::{Value, json};
use sspc_arq::{HelloSeen, Onlooker, PacketSeen, Seen, TurnSeen};
use sspc_sim::spec;
use sspc_wire::Direction;

use crate::sealed_vectors;

#[test]
fn each_vector_of_packets_is_what_is_seen() {
    for file in spec::files_of("arq") {
        for vector in &file.vectors {
            if file.kind == "encrypted packets" {
                sealed_vectors::play(vector);
                continue;
            }
            assert_eq!(file.kind, "packets");
            let mut onlooker = Onlooker::new();
            for (at, step) in spec::list(&vector.0, "steps").iter().enumerate() {
                let named = format!("{}, step {at}", vector.name());
                let line = spec::bytes(spec::text(step, "line"));
                let direction = match spec::text(step, "from") {
                    "client" => Direction::ToProxy,
                    "proxy" => Direction::ToClient,
                    other => panic!("{named}: from {other:?}"),
                };
                let mut expected = step["says"].clone();
                if let Some(says) = expected.as_object_mut() {
                    says.remove("why");
                }
                assert_eq!(seen(&mut onlooker, direction, &line), [expected], "{named}");
                if let Some(packet) = step["packet"].as_str() {
                    assert_eq!(unstuffed(&line), spec::bytes(packet), "{named}");
                }
            }
        }
    }
}

/// What the bytes are, in the words of the vectors.
fn seen(onlooker: &mut Onlooker, direction: Direction, line: &[u8]) -> Vec<Value> {
    onlooker.feed(Some(direction), line);
    let mut says: Vec<Value> = Vec::new();
    while let Some(seen) = onlooker.next_seen() {
        match seen {
            Seen::Hello(hello) => says.push(say_hello(&hello)),
            Seen::Packet(packet) => says.push(say_packet(&packet, line)),
            // Of no session that the HELLOs began: to an end that is as good as damaged.
            Seen::Damaged { .. } | Seen::Unchecked(_) => says.push(json!({ "type": "damaged" })),
            // What has been said with its packet.
            Seen::Session { .. } | Seen::Bytes(_) => {}
            other => panic!("no vector knows {other:?}"),
        }
    }
    says
}

fn say_hello(hello: &HelloSeen) -> Value {
    json!({
        "type": "HELLO",
        "keeps": hello.keeps,
        "heard": hello.ready,
        "encrypts": hello.encrypted,
        "mru": hello.mru,
        "window": hello.window,
        "epoch": format!("0x{:08x}", hello.epoch),
        "echo": format!("0x{:08x}", hello.echo),
    })
}

fn say_packet(packet: &PacketSeen, line: &[u8]) -> Value {
    let PacketSeen { seq, ack, nak, probe, length, kept, turn } = packet;
    let Some(seq) = seq else {
        return json!({ "type": "ACK", "ack": ack, "nak": nak, "probe": probe, "kept": kept });
    };
    let turn = match turn {
        TurnSeen::Now => "now",
        TurnSeen::Early => "early",
        TurnSeen::Again => "again",
    };
    let packet = unstuffed(line);
    let payload = &packet[2..2 + length];
    // A long one that repeats a byte is written so.
    let payload = match payload {
        [first, rest @ ..] if payload.len() >= 24 && rest.iter().all(|byte| byte == first) => {
            format!("({first:02x})*{length}")
        }
        _ => payload.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    json!({
        "type": "DATA", "seq": seq, "ack": ack, "nak": nak, "probe": probe,
        "payload": payload, "turn": turn,
    })
}

/// The packet in these bytes of a line, by the rules of the specification and no other code.
fn unstuffed(line: &[u8]) -> Vec<u8> {
    let stuffed: Vec<u8> = line.iter().copied().filter(|byte| *byte != 0).collect();
    let (mut packet, mut rest) = (Vec::new(), &stuffed[..]);
    while let Some((code, behind)) = rest.split_first() {
        let (run, left) = behind.split_at((usize::from(*code) - 1).min(behind.len()));
        packet.extend_from_slice(run);
        if *code < 0xff && !left.is_empty() {
            packet.push(0);
        }
        rest = left;
    }
    packet
}
