//! What the dissector shows, and of what it warns.

use sspc_capture::{CaptureLayer, Source};
use sspc_wire::{Direction, State, mux_type};

use crate::support::{C0, Capture};

const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");

/// The examples of a kind in docs/protocol.md: the bytes of a frame, and what it is.
fn examples(kind: &str) -> Vec<(Vec<u8>, String)> {
    let start = format!("```text {kind}\n");
    let blocks = PROTOCOL.split(start.as_str()).skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let mut examples = Vec::new();
    let mut bytes = Vec::new();
    for line in lines {
        let (hex, text) =
            line.split_once(';').map_or((line, None), |(hex, text)| (hex, Some(text)));
        let digits: String = hex.split_whitespace().collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        bytes.extend(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
        if let Some(text) = text {
            examples.push((std::mem::take(&mut bytes), text.trim().to_owned()));
        }
    }
    assert!(examples.len() > 1, "{kind}");
    examples
}

/// A packet without its stuffing.
fn unstuffed(bytes: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let (mut rest, mut out) = (bytes.strip_suffix(&[0]).unwrap(), Vec::new());
    while let Some((code, after)) = rest.split_first() {
        let (block, after) = after.split_at(usize::from(*code) - 1);
        out.extend(block);
        rest = after;
        if *code < 255 && !rest.is_empty() {
            out.push(0);
        }
    }
    out
}

/// Of each frame of a capture, what its line in the list says.
fn infos(capture: &mut Capture) -> Vec<String> {
    capture.fields("frame", &["_ws.col.Info"])
}

#[test]
fn the_frames_of_the_protocols_document_are_shown_as_it_says() {
    for (kind, direction, arrow) in
        [("to-client", Direction::ToClient, "c0 ← "), ("to-proxy", Direction::ToProxy, "c0 → ")]
    {
        let mut capture = Capture::new();
        let examples = examples(kind);
        for (bytes, _) in &examples {
            capture.add(C0, direction, CaptureLayer::Stream, bytes, bytes.len());
        }
        for (info, (_, text)) in infos(&mut capture).iter().zip(&examples) {
            let name = text.split([' ', ',']).next().unwrap();
            assert!(info.starts_with(&format!("{arrow}{name}")), "{info} is not {text}");
        }
        // The document's sequences begin in the middle.
        let faults = capture.fields("_ws.expert && !sspc.fault.state && !sspc.refused", &["frame"]);
        assert_eq!(faults, [""; 0]);
    }
    let mut capture = Capture::new();
    let frames = examples("mux");
    for (bytes, _) in &frames {
        capture.add(C0, Direction::ToProxy, CaptureLayer::Mux, bytes, bytes.len());
    }
    for (info, (_, text)) in infos(&mut capture).iter().zip(&frames) {
        assert!(info.contains(text.split(' ').next().unwrap()), "{info} is not {text}");
    }
    let mut fields = |filter, fields: &[&str]| capture.fields(filter, fields).join("|");
    assert_eq!(fields("sspc_mux.type == 0xf7", &["sspc_mux.echo"]), "3269196827");
    assert_eq!(fields("sspc_mux.unix", &["sspc_mux.unix"]), "Nov 23, 2026 01:53:38.987455000 UTC");
    assert_eq!(
        fields("sspc_mux.body == ab:00:00", &["sspc_mux.channel", "sspc_mux.length"]),
        "255\t3"
    );
    assert_eq!(fields("_ws.expert.severity == error || sspc_mux.cut", &["frame"]), "");
}

#[test]
fn what_the_document_says_is_refused_is_a_fault_of_its_kind() {
    let kinds = [
        ("refused-by-client", Direction::ToClient, CaptureLayer::Stream),
        ("refused-by-proxy", Direction::ToProxy, CaptureLayer::Stream),
        ("refused-by-mux", Direction::ToProxy, CaptureLayer::Mux),
    ];
    for (kind, direction, layer) in kinds {
        let mut capture = Capture::new();
        let refused = examples(kind);
        for (bytes, _) in &refused {
            capture.add(C0, direction, layer, bytes, bytes.len());
        }
        let warnings = capture.fields("frame", &["_ws.expert.message"]);
        assert_eq!(warnings.len(), refused.len());
        for (warning, (_, text)) in warnings.iter().zip(&refused) {
            let fault = match text {
                text if text.contains("unknown frame type") => "No frame has this type",
                text if text.contains("other direction") => {
                    "The type belongs to the other direction"
                }
                text if text.contains("name") => "The name is empty or longer than 32 bytes",
                text if text.contains("no mux frame") => {
                    "No frame of the mux begins with this byte"
                }
                _ if layer == CaptureLayer::Mux => "The frame cannot have this length",
                _ => "The type cannot have a body of this length",
            };
            assert!(warning.starts_with(fault), "{text}: {warning}");
        }
    }
}

#[test]
fn packets_are_checked_with_the_session_that_their_hellos_began() {
    let examples = examples("packets");
    let mut capture = Capture::new();
    let directions = [0, 1, 0, 0, 1].map(|at: usize| Direction::BOTH[at]);
    for ((bytes, _), direction) in examples.iter().zip(directions) {
        let packet = unstuffed(bytes);
        capture.add(C0, direction, CaptureLayer::Packet, &packet, packet.len());
    }
    let (data, _) = &examples[3];
    let mut harmed = unstuffed(data);
    // Who sent it is in the sum.
    capture.add(C0, Direction::ToClient, CaptureLayer::Packet, &harmed, harmed.len());
    harmed[3] ^= 1;
    capture.add(C0, Direction::ToProxy, CaptureLayer::Packet, &harmed, harmed.len());
    // A line of which no HELLO was seen.
    let other = Source { name: "c1", description: "" };
    capture.add(other, Direction::ToProxy, CaptureLayer::Packet, &harmed, harmed.len());
    let statuses = capture.fields("frame", &["sspc_packet.crc.status"]);
    assert_eq!(statuses, ["good", "good", "good", "good", "good", "bad", "bad", "unverified"]);
    assert_eq!(capture.fields("sspc_packet.fault.crc", &["frame.number"]), ["6", "7"]);
    let infos = infos(&mut capture);
    assert_eq!(infos[1], "c0 ← HELLO epoch=daa66ec2 mru=512 window=5 to=3c6ef099 keeps");
    assert_eq!(infos[3], "c0 → DATA seq=0 ack=0 3 bytes");
    assert_eq!(infos[4], "c0 ← ACK ack=1");
    let hello = capture.fields(
        "sspc_packet.hello.ready == 1",
        &["sspc_packet.hello.epoch", "sspc_packet.hello.peer", "sspc_packet.hello.mru"],
    );
    assert_eq!(hello, ["0x3c6ef099\t0xdaa66ec2\t512"]);
    assert_eq!(capture.fields("sspc_packet.payload == ab:00:00", &["frame.number"]).len(), 2);
}

/// The dissector's table of states against the one that everything else goes by.
#[test]
fn a_state_is_a_fault_where_no_client_takes_it() {
    const CREATE_RESULT: [u8; 8] = [0x56, 0, 5, 0, 0, 0, 0, 0];
    let connstate = |code: u32| {
        let mut bytes = vec![0x57, 0, 8];
        bytes.extend(code.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let codes: Vec<u32> = (0..=21).chain([999, 1000, 4_000_000_000]).collect();
    let mut capture = Capture::new();
    let mut add = |name: &str, bytes: &[u8]| {
        let source = Source { name, description: "" };
        capture.add(source, Direction::ToClient, CaptureLayer::Stream, bytes, bytes.len())
    };
    let mut expected = Vec::new();
    let transparent = connstate(1001);
    for next in &codes {
        let state = State::from_code(*next);
        let name = format!("new-{next}");
        add(&name, &CREATE_RESULT);
        let number = add(&name, &connstate(*next));
        if !State::may_follow(state, None) {
            expected.push(number);
        }
        for current in codes.iter().map(|code| State::from_code(*code)) {
            if current.is_transparent() {
                continue;
            }
            let name = format!("{}-{next}", current.code());
            // A stream whose beginning was not seen.
            add(&name, &connstate(current.code()));
            add(&name, &transparent);
            let number = add(&name, &connstate(*next));
            if !State::may_follow(state, Some(current)) {
                expected.push(number);
            }
        }
    }
    let faults = capture.fields("sspc.fault.state", &["frame.number"]);
    let faults: Vec<u64> = faults.iter().map(|number| number.parse().unwrap()).collect();
    assert_eq!(faults, expected);
}

#[test]
fn a_stream_is_found_by_whose_it_is_and_what_it_is_of() {
    let streamtype = &examples("to-proxy")[0].0;
    let of = "client process 7 of user 0; streamtype mintest";
    let mut capture = Capture::new();
    for source in [Source { name: "s1", description: of }, Source { name: "s2", description: "" }] {
        let mut add = |direction, bytes: &[u8], length| {
            capture.add(source, direction, CaptureLayer::Stream, bytes, length)
        };
        add(Direction::ToProxy, streamtype, streamtype.len());
        add(Direction::ToClient, &[0x57, 0, 5, 1, 0, 0, 0, 0], 8);
        // The beginning of a frame.
        add(Direction::ToProxy, &[0xad, 4, 0, 0, 0, 0, 3, 0, 0], 1027);
    }
    let filter = "sspc.streamtype == \"mintest\" && !sspc.process";
    let fields = ["sspc.stream", "sspc.client", "sspc.direction", "sspc.state.name"];
    assert_eq!(
        capture.fields(filter, &fields),
        [
            "s1\tprocess 7 of user 0\tto client\tCREATING",
            "s1\tprocess 7 of user 0\tto proxy\t",
            "s2\t\tto client\tCREATING",
            "s2\t\tto proxy\t",
        ]
    );
    assert_eq!(capture.fields("sspc.cut", &["frame.number"]), ["3", "6"]);
    assert_eq!(capture.fields("_ws.malformed", &["frame.number"]), [""; 0]);
}

/// Frames of random bytes, most of which begin as frames do, whole and cut: no error of Lua, and every
/// frame has its line.
#[test]
fn no_bytes_make_the_dissector_fail() {
    const FRAMES: u64 = 4000;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut capture = Capture::new();
    for _ in 0..FRAMES {
        let layer =
            [CaptureLayer::Stream, CaptureLayer::Mux, CaptureLayer::Packet][next(3) as usize];
        let direction = Direction::BOTH[next(2) as usize];
        let mut bytes: Vec<u8> = (0..=next(60)).map(|_| next(256) as u8).collect();
        let zeros = next(4) == 0;
        if zeros {
            bytes.iter_mut().for_each(|byte| *byte &= 3);
        }
        let kinds = match layer {
            CaptureLayer::Stream => {
                [0x55, 0x56, 0x57, 0x58, 0x59, 0x5b, 0xaa, 0xad, 0xae, 0xb0, 0xb1].as_slice()
            }
            CaptureLayer::Mux => {
                &[mux_type::MUX, mux_type::PING, mux_type::PONG, mux_type::PONGACK]
            }
            CaptureLayer::Packet => &[0, 1, 2, 3],
        };
        if next(8) > 0 {
            bytes[0] = kinds[next(kinds.len() as u64) as usize];
        }
        let length = bytes.len() as u64;
        if layer == CaptureLayer::Stream && bytes.len() > 3 && next(4) > 0 {
            bytes[1] = 0;
            bytes[2] = (length - 3) as u8;
        }
        let cut = next(3).min(1) * next(100);
        let name = format!("c{}", next(4));
        let source = Source { name: &name, description: "" };
        capture.add(source, direction, layer, &bytes, (length + cut) as usize);
    }
    let tree = capture.tshark(&["-V"]);
    let wrong = tree.lines().find(|line| line.contains("Lua") || line.contains("attempt to"));
    assert_eq!(wrong, None);
    let shown = tree.lines().filter(|line| line.starts_with("Secure Streams")).count();
    assert_eq!(shown as u64, FRAMES);
}
