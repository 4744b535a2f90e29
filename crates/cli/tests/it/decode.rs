//! `sspc decode`

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{assert_exit, run, run_with, sspc, text, wait};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sim/vectors");
const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");

/// Every recording, by name.
fn recordings() -> Vec<String> {
    let files = std::fs::read_dir(VECTORS).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 10);
    names
}

fn path(name: &str) -> String {
    format!("{VECTORS}/{name}")
}

fn args(name: &str) -> Vec<&'static str> {
    if name.starts_with("mux") { vec!["decode", "--mux"] } else { vec!["decode"] }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    text(bytes).lines().map(str::to_owned).collect()
}

/// The lines without their times.
fn timeless(bytes: &[u8]) -> Vec<String> {
    let lines = lines(bytes).into_iter();
    lines.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

fn decode(name: &str) -> Vec<u8> {
    let path = path(name);
    let output = run(&[args(name), vec![&path]].concat());
    assert_exit(&output, 0);
    assert_eq!(text(&output.stderr), "", "{name}");
    output.stdout
}

/// A recording's chunks: connection, direction and bytes.
fn chunks(name: &str) -> Vec<(u64, String, Vec<u8>)> {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let chunk = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let bytes = bytes_of(line["x"].as_str().unwrap());
        (line["c"].as_u64().unwrap(), line["d"].as_str().unwrap().to_owned(), bytes)
    };
    text.lines().map(chunk).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(&text(pair), 16).unwrap()).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All bytes of a direction of the first connection.
fn joined(name: &str, direction: &str) -> Vec<u8> {
    let chunks = chunks(name).into_iter();
    chunks.filter(|(c, d, _)| *c == 0 && d == direction).flat_map(|(_, _, bytes)| bytes).collect()
}

#[test]
fn every_recording_becomes_readable_lines() {
    for name in recordings() {
        let lines = lines(&decode(&name));
        assert!(lines.len() >= 4, "{name}: {lines:#?}");
        for line in &lines {
            let columns: Vec<&str> = line.splitn(4, ' ').collect();
            let [time, connection, arrow, frame] = columns[..] else { panic!("{name}: {line}") };
            let (seconds, micros) = time.strip_prefix('+').unwrap().split_once('.').unwrap();
            assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6, "{name}: {line}");
            assert!(matches!(connection, "c0" | "c1" | "c2"), "{name}: {line}");
            assert!(matches!(arrow, "→" | "←"), "{name}: {line}");
            assert!(!frame.contains("FAULT"), "{name}: {line}");
            let printable = |c: char| !c.is_control();
            assert!(line.chars().all(printable) && line.chars().count() < 300, "{name}: {line}");
        }
    }
}

#[test]
fn a_stream_is_told_from_its_name_to_its_end() {
    let lines = lines(&decode("uds_ws_echo.jsonl"));
    let expected = [
        "+0.000000 c0 → STREAMTYPE sx_ws_echo version=1 pid=30746 credit=500000000 (unlimited)",
        "+0.000631 c0 ← CREATE_RESULT 0 buffer=0 list=,sx_ws_echo",
        "+0.000631 c0 ← CONNSTATE CREATING ordinal=0",
        "+0.000631 c0 ← CONNSTATE CONNECTING ordinal=0",
        "+0.000830 c0 → TIMEOUT_UPDATE 5000ms",
        "+0.000830 c0 → ONWARD_CONNECT",
        "+0.004705 c0 ← CONNSTATE CONNECTED ordinal=0",
        "+0.505412 c0 → PAYLOAD_LENGTH_HINT 7",
        "+0.505412 c0 → TX_PAYLOAD SOM|EOM 7 bytes held=79us written=2620513193us \"hello 0\"",
        "+0.506371 c0 ← RX_PAYLOAD SOM|EOM 7 bytes held=0us written=2620514399us \"hello 0\"",
    ];
    assert_eq!(lines[..expected.len()], expected);
    assert!(lines.last().unwrap().ends_with(" end"), "{lines:#?}");
}

#[test]
fn the_mux_is_told_with_the_streams_inside() {
    let lines = lines(&decode("mux_unknown.jsonl"));
    let expected = [
        "+0.000000 c0 → RESET_TRANSPORT",
        "+0.000000 c0 → PING sent=3269003097us",
        "+0.192764 c0 ← RESET_TRANSPORT",
        "+0.192764 c0 ← PING sent=3269196827us",
        "+0.193017 c0 → PONG echo=3269196827us sent=3269197244us",
        "+0.193101 c0 ← PONGACK unix=1795398818987455us (2026-11-23 01:53:38.987455 UTC)",
        "+0.999265 c0 → CHANNEL_REQ ch255",
        "+0.999577 c0 ← CHANNEL_ACK ch255",
        "+0.999679 c0 → MUX ch255 19 bytes",
        "+0.999679 c0 →   ch255 STREAMTYPE binance version=1 pid=9257 credit=500000000 (unlimited)",
        "+0.999815 c0 ← MUX ch255 8 bytes",
        "+0.999815 c0 ←   ch255 CREATE_RESULT 1 (refused) buffer=0 list=",
    ];
    assert_eq!(lines[..expected.len()], expected);
    let ticker = text(&decode("mux_ws_ticker.jsonl"));
    assert!(ticker.contains("←   ch255 RX_PAYLOAD SOM|EOM 1118 bytes held=0us"), "{ticker}");
}

#[test]
fn where_the_bytes_are_cut_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in recordings() {
        let whole = timeless(&decode(&name));
        let cut = dir.path().join(&name);
        for size in [1, 2, 3, 5, 17, 1000] {
            let mut recording = String::new();
            for (connection, direction, bytes) in chunks(&name) {
                let end = bytes.is_empty().then_some(&bytes[..]);
                for piece in bytes.chunks(size).chain(end) {
                    let line = json!({"c": connection, "d": direction, "x": hex_of(piece)});
                    recording.push_str(&format!("{line}\n"));
                }
            }
            std::fs::write(&cut, recording).unwrap();
            let output = run(&[args(&name), vec![cut.to_str().unwrap()]].concat());
            assert_exit(&output, 0);
            // No time was told, so none is shown.
            assert_eq!(lines(&output.stdout), whole, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn stdin_may_come_in_any_pieces() {
    for name in ["uds_h1_post.jsonl", "mux_unknown.jsonl"] {
        let recording = std::fs::read(path(name)).unwrap();
        let raw = joined(name, "p2c");
        let raw_lines: Vec<String> = timeless(&decode(name))
            .iter()
            .filter_map(|line| line.strip_prefix("c0 ← "))
            .map(str::to_owned)
            .collect();
        for size in [1, 7, 4096] {
            let output = feed(&[&args(name)[..], &["-"]].concat(), &recording, size);
            assert_eq!(output, decode(name), "{name} in pieces of {size}");
            let output = feed(&[&args(name)[..], &["--from", "proxy", "-"]].concat(), &raw, size);
            let lines = timeless(&output).into_iter();
            let mut lines: Vec<String> =
                lines.map(|line| line.strip_prefix("← ").unwrap().to_owned()).collect();
            if raw_lines.last().unwrap() == "end" {
                lines.push("end".to_owned());
            }
            assert_eq!(lines, raw_lines, "{name} in pieces of {size}");
        }
    }
}

/// Writes the input to the program's stdin in pieces.
fn feed(args: &[&str], input: &[u8], size: usize) -> Vec<u8> {
    let mut child = sspc(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        for piece in input.chunks(size) {
            stdin.write_all(piece).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_exit(&output, 0);
    output.stdout
}

#[test]
fn a_line_comes_as_soon_as_its_frame_is_complete() {
    let mut child =
        sspc(&["decode", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    stdin.write_all(&bytes_of("5700050600000000570005")).unwrap();
    assert!(next().ends_with(" ← CONNSTATE CONNECTING ordinal=0"));
    stdin.write_all(&bytes_of("0500000000")).unwrap();
    assert!(next().ends_with(" ← CONNSTATE CONNECTED ordinal=0"));
    stdin.write_all(&bytes_of("5500150000000100000000000000000000000068656c6c")).unwrap();
    stdin.write_all(b"o").unwrap();
    assert!(next().ends_with(" ← RX_PAYLOAD SOM 5 bytes held=0us written=0us \"hello\""));
    drop(stdin);
    assert!(lines.next().is_none());
    assert_eq!(wait(&mut child).code(), Some(0));
}

/// Lines and exit code for bytes in hex, without times.
fn hex(args: &[&str], input: &str) -> (Vec<String>, i32) {
    let output = run_with(&[&["decode", "--hex", "-"], args].concat(), input.as_bytes());
    let code = output.status.code().unwrap();
    let faults = lines(&output.stdout).iter().filter(|line| line.contains("FAULT")).count();
    let expected = match faults {
        0 => String::new(),
        1 => "sspc: 1 fault\n".to_owned(),
        faults => format!("sspc: {faults} faults\n"),
    };
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(code, i32::from(faults > 0));
    (timeless(&output.stdout), code)
}

#[test]
fn the_examples_of_the_protocol_can_be_pasted() {
    let mut examples = 0;
    for kind in ["to-client", "to-proxy", "mux"] {
        for block in PROTOCOL.split("```text ").filter_map(|block| block.strip_prefix(kind)) {
            let block = block.split("```").next().unwrap();
            let args: &[&str] = if kind == "mux" { &["--mux"] } else { &[] };
            let (lines, code) = hex(args, block);
            assert_eq!(code, 0, "{block}\n{lines:#?}");
            for line in block.lines().filter_map(|line| line.split_once("; ")) {
                let name = line.1.split(' ').next().unwrap();
                assert!(lines.iter().any(|line| line.contains(name)), "{name}: {lines:#?}");
            }
            examples += 1;
        }
    }
    assert!(examples >= 5, "{examples}");
}

#[test]
fn a_fault_is_told_and_what_follows_is_decoded() {
    let cases = [
        (
            &["--from", "proxy"][..],
            "5a 0002 ffff 57 0005 06 00000000",
            &[
                "← FAULT at byte 0: unknown frame type 0x5a; expected a type of 0x55 to 0x59, or \
                 0x5b; skipping 2 bytes",
                "← CONNSTATE CONNECTING ordinal=0",
            ][..],
        ),
        (
            &[],
            "57 0006 00 00000000 00 58 0004 00000001",
            &[
                "← FAULT at byte 0: frame type 0x57 cannot have a body of 6 bytes; expected 5 or \
                 8 bytes; skipping 6 bytes",
                "← TXCR_UPDATE +1",
            ],
        ),
        (
            &[],
            "ab 0000 ae 0005 04 75 00 65 72 ac 0000",
            &[
                "→ ONWARD_CONNECT",
                "→ FAULT at byte 3: frame type 0xae carries a name with a NUL byte; expected a \
                 name without NUL",
                "→ DESTROYING",
            ],
        ),
        (
            &[],
            "ab 0000 00 0000 00 0000 ab 0000",
            &[
                "→ ONWARD_CONNECT",
                "→ FAULT at byte 3: unknown frame type 0x00; expected a type of 0xaa to 0xb1, or \
                 0x5b",
                "→ FAULT at byte 6: unknown frame type 0x00; expected a type of 0xaa to 0xb1, or \
                 0x5b; the rest of this stream is not decoded",
            ],
        ),
        (&[], "57 0005 06 0000", &["← FAULT at byte 0: CONNSTATE ends after 6 of 8 bytes"]),
        (
            &["--from", "client"],
            "57 0005 06 00000000",
            &[
                "→ FAULT at byte 0: frame type 0x57 belongs to the other direction; expected a type \
               of 0xaa to 0xb1, or 0x5b; skipping 5 bytes",
            ],
        ),
        (
            &[],
            "f9 f6 00",
            &["FAULT at byte 0: unknown frame type 0xf9; expected a type of 0xaa to 0xb1, or \
               0x5b; this is a frame of the mux, try --mux; the rest of this stream is not decoded"],
        ),
    ];
    for (args, input, expected) in cases {
        let (lines, _) = hex(args, input);
        assert_eq!(lines.len(), expected.len(), "{input}: {lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(line, expected, "{input}");
        }
    }
}

#[test]
fn pings_of_an_end_that_is_down_are_marked() {
    let (lines, code) = hex(&["--mux"], "f9f60080000000000001 f700800000000000010000000000000002");
    let expected = ["RESET_TRANSPORT", "PING sent=1us(down)", "PONG echo=1us(down) sent=2us"];
    assert_eq!((lines, code), (expected.map(String::from).to_vec(), 0));
}

#[test]
fn frames_of_the_mux_are_found_again() {
    let noise = "f0ff f5ff0003ab0000 41f6f9 4142 f9f60000000000000001 f0ff f5ff0003ab0000";
    let (lines, code) = hex(&["--mux"], noise);
    let expected = [
        "→ CHANNEL_REQ ch255",
        "→ MUX ch255 3 bytes",
        "→   ch255 ONWARD_CONNECT",
        "→ FAULT at byte 9: no mux frame begins with 0x41; expected 0xf0 to 0xf9; looking for the \
         next PING",
        "→ (5 bytes skipped, frames again from byte 14 on)",
        "→ RESET_TRANSPORT",
        "→ PING sent=1us",
        "→ CHANNEL_REQ ch255",
        "→ MUX ch255 3 bytes",
        "→   ch255 ONWARD_CONNECT",
    ];
    assert_eq!(lines, expected);
    assert_eq!(code, 1);
    // The bytes of a channel that had a gap are those of no frame.
    let (lines, _) = hex(&["--mux"], "f0ff f50000 00 f60000000000000001 f5ff0003ab0000 f0ff");
    assert_eq!(lines.last().unwrap(), "→ CHANNEL_REQ ch255");
    assert!(!lines.iter().any(|line| line.contains("ONWARD_CONNECT")), "{lines:#?}");
}

#[test]
fn a_fault_in_a_channel_leaves_the_others_alone() {
    let input = "f001 f002 f5010003000000 f5020003ab0000 f5010003000000 f5020003ac0000 f50200 01ab";
    let (lines, _) = hex(&["--mux"], input);
    let inner: Vec<&String> = lines.iter().filter(|line| line.contains("  ch")).collect();
    assert!(inner[0].contains("→   ch1 FAULT at byte 0: unknown frame type 0x00"), "{inner:#?}");
    assert_eq!(inner[1], "→   ch2 ONWARD_CONNECT");
    assert!(inner[2].contains("→   ch1 FAULT at byte 3"), "{inner:#?}");
    assert_eq!(inner[3], "→   ch2 DESTROYING");
    assert_eq!(inner[4], "→   ch2 FAULT at byte 6: ONWARD_CONNECT ends after 1 byte");
}

#[test]
fn a_sender_that_restarts_leaves_a_frame_without_an_end() {
    let recording = r#"{"t": 5, "c": 0, "d": "c2p", "x": "f0fff5ff0064ab"}
{"t": 600005, "c": 0, "d": "c2p", "x": "f9f60000000000000001"}
"#;
    let output = run_with(&["decode", "--mux", "-"], recording.as_bytes());
    assert_exit(&output, 1);
    let expected = [
        "+0.000000 c0 → CHANNEL_REQ ch255",
        "+0.000000 c0 → MUX ch255 100 bytes",
        "+0.600000 c0 → FAULT at byte 2, line 2: MUX ends after 5 bytes; the link is reset",
        "+0.600000 c0 → RESET_TRANSPORT",
        "+0.600000 c0 →   ch255 (ONWARD_CONNECT ends after 1 byte)",
        "+0.600000 c0 → PING sent=1us",
    ];
    assert_eq!(lines(&output.stdout), expected);
}

#[test]
fn a_line_that_is_none_of_a_recording_is_skipped() {
    let recording = r#"{"t": 0, "c": 3, "d": "c2p", "x": "ab0000"}
{"t": 1, "c": 3, "d": "up", "x": "ab0000"}

{"t": "soon", "c": 3, "d": "c2p", "x": "ab0000"}
{"t": 1, "c": 3, "d": "c2p", "x": "ab000"}
{"t": 1, "c": 3, "d": "c2p", "x": "ab00g0"}
{"t": 1, "c": 3, "d": "c2p"
{"d": "c2p", "x": "ac0000"}"#;
    let output = run_with(&["decode", "-"], recording.as_bytes());
    assert_exit(&output, 1);
    let expected = [
        "+0.000000 c3 → ONWARD_CONNECT",
        "FAULT in line 2: expected \"d\" to be \"c2p\" or \"p2c\"; the line is skipped",
        "FAULT in line 4: \"t\" is \"soon\"; expected a whole number; the line is skipped",
        "FAULT in line 5: \"x\" has an odd number of digits; the line is skipped",
        "FAULT in line 6: digit 5 of \"x\" is 'g'; expected hex; the line is skipped",
        "FAULT in line 7: not JSON: EOF while parsing an object at column 27; the line is skipped",
        "c0 → DESTROYING",
    ];
    assert_eq!(lines(&output.stdout), expected);
    assert_eq!(text(&output.stderr), "sspc: 5 faults\n");
}

#[test]
fn hex_that_is_none_is_told_with_its_place() {
    let (lines, _) = hex(&[], "0xab,00 00 # a comment\nac 0 000\n00 00 0g\nab\n0000");
    let expected = [
        "→ ONWARD_CONNECT",
        "FAULT in line 2, column 5: half a byte; expected two digits; the rest of the line is \
         skipped",
        "→ DESTROYING",
        "FAULT in line 3, column 8: 'g' is not a hex digit; the rest of the line is skipped",
        "→ ONWARD_CONNECT",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn garbage_is_a_fault_and_no_more() {
    let mut seed = 1u64;
    let mut byte = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as u8
    };
    for round in 0..8 {
        let garbage: Vec<u8> = (0..5000 << (round % 3)).map(|_| byte()).collect();
        for args in [
            &["decode", "-"][..],
            &["decode", "--mux", "-"],
            &["decode", "--from", "proxy", "--full", "-"],
            &["decode", "--from", "client", "-"],
            &["decode", "--hex", "-"],
            &["decode", "--format", "recording", "-"],
        ] {
            let output = run_with(args, &garbage);
            assert_exit(&output, 1);
            let stdout = text(&output.stdout);
            assert!(stdout.contains("FAULT"), "{args:?}: {stdout}");
            assert!(!stdout.contains('\u{fffd}') && !stdout.contains('\x1b'), "{args:?}: {stdout}");
            let stderr = text(&output.stderr);
            assert!(stderr.ends_with(" fault\n") || stderr.ends_with(" faults\n"), "{stderr}");
        }
    }
}

#[test]
fn a_damaged_recording_is_decoded_around_the_damage() {
    let mut seed = 7u64;
    for name in recordings() {
        let mut recording = std::fs::read(path(&name)).unwrap();
        for _ in 0..20 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (seed >> 33) as usize % recording.len();
            recording[at] = recording[at].wrapping_add((seed >> 20) as u8 | 1);
        }
        recording[0] = b'{';
        let output = run_with(&[&args(&name)[..], &["-"]].concat(), &recording);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{name}: {}", text(&output.stderr));
        assert!(!text(&output.stdout).contains('\x1b'));
    }
}

#[test]
fn all_bytes_are_shown_if_asked_for() {
    let payload: Vec<u8> = (0..=255).collect();
    let head = format!("55 {:04x} 00000003 00000000 0000000000000000 ", 16 + payload.len());
    let (lines, _) = hex(&["--full"], &(head.clone() + &hex_of(&payload)));
    assert_eq!(lines.len(), 17, "{lines:#?}");
    assert_eq!(
        lines[5],
        "←   0040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO"
    );
    let (lines, _) = hex(&[], &(head + &hex_of(&payload)));
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.starts_with("← RX_PAYLOAD SOM|EOM 256 bytes held=0us"), "{line}");
    assert!(line.ends_with('…') || line.ends_with("…]"), "{line}");
}

#[test]
fn what_cannot_be_read_is_no_crash() {
    let output = run(&["decode", "/no/such/file"]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).starts_with("sspc: cannot read /no/such/file: "));
    assert_exit(&run(&["decode", "/"]), 1);
    assert_exit(&run(&["decode"]), 2);
    assert_exit(&run(&["decode", "--hex", "--format", "raw", "-"]), 2);
    assert_exit(&run(&["decode", "--from", "nobody", "-"]), 2);
    let empty = run(&["decode", "/dev/null"]);
    assert_exit(&empty, 0);
    assert_eq!(empty.stdout, b"");
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let path = path("mux_ws_ticker.jsonl");
    let mut child = sspc(&["decode", "--mux", "--full", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(text(&output.stderr), "");
}
