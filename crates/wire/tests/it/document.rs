//! What the documents say is what the code does: the examples of `docs/protocol.md`, byte by byte, and
//! the tables of the specification.

use sspc_sim::frames::{Codec, Owned, decode, encode_all, hex};
use sspc_wire::{
    Flags, FrameError, MuxDecoder, MuxFrame, State, Timeout, ToClientDecoder, ToProxyDecoder,
    limits,
};

const DOCUMENT: &str = include_str!("../../../../docs/protocol.md");
const FRAMES: &str = include_str!("../../../../docs/spec/frames.md");
const STREAMS: &str = include_str!("../../../../docs/spec/streams.md");

/// The blocks of a kind: for each the examples, as bytes and what they say.
fn blocks(kind: &str) -> Vec<Vec<(Vec<u8>, &'static str)>> {
    let fence = format!("```text {kind}\n");
    let blocks = DOCUMENT.split(&fence).skip(1);
    blocks.map(|block| examples(block.split("```").next().unwrap())).collect()
}

fn examples(block: &'static str) -> Vec<(Vec<u8>, &'static str)> {
    let mut found = Vec::new();
    let mut digits = String::new();
    for line in block.lines() {
        let Some((bytes, says)) = line.split_once(';') else {
            digits.push_str(line);
            continue;
        };
        digits.push_str(bytes);
        found.push((hex(&digits), says.trim()));
        digits.clear();
    }
    assert_eq!(digits, "", "bytes without an explanation");
    found
}

/// Each block decodes, whole and in single bytes, to what it says, and is written the same again.
fn checked<C: Codec>(kind: &str, say: fn(&Owned) -> String) -> usize {
    let blocks = blocks(kind);
    for block in &blocks {
        let bytes: Vec<u8> = block.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        for size in [1, bytes.len()] {
            let decoded = decode::<C>(bytes.chunks(size));
            assert_eq!(decoded.error, None);
            let said: Vec<String> = decoded.frames.iter().map(say).collect();
            let expected: Vec<&str> = block.iter().map(|(_, says)| *says).collect();
            assert_eq!(said, expected);
            for (frame, (bytes, says)) in decoded.frames.iter().zip(block) {
                assert_eq!(&encode_all::<C>(std::slice::from_ref(frame)), bytes, "{says}");
            }
        }
    }
    blocks.len()
}

fn say_to_client(frame: &Owned) -> String {
    say(frame, "RX_PAYLOAD")
}

fn say_to_proxy(frame: &Owned) -> String {
    say(frame, "TX_PAYLOAD")
}

fn say(frame: &Owned, payload: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match frame {
        Owned::Payload { head, rideshare, data } => {
            let name = rideshare.as_ref().map(|name| format!(" as {:?}", text(name)));
            format!(
                "{payload} {}{}, held {} us, written {} us, {:?}",
                head.flags,
                name.unwrap_or_default(),
                head.held_us,
                head.written_us,
                text(data)
            )
        }
        Owned::CreateResult { result, client_buflen, list } => {
            format!("CREATE_RESULT {result}, buffer {client_buflen}, {:?}", text(list))
        }
        Owned::State(state, 0) => format!("CONNSTATE {state}"),
        Owned::State(state, ordinal) => format!("CONNSTATE {state}, ordinal {ordinal}"),
        Owned::TxCredit(credit) => format!("TXCR_UPDATE {credit}"),
        Owned::Metadata { name, value } => format!("METADATA {}={:?}", text(name), text(value)),
        Owned::Perf(json) => format!("PERF {:?}", text(json)),
        Owned::Streamtype { version, pid, tx_credit, name } => {
            let name = text(name);
            format!("STREAMTYPE {name:?}, version {version}, pid {pid}, credit {tx_credit}")
        }
        Owned::OnwardConnect => "ONWARD_CONNECT".into(),
        Owned::Destroying => "DESTROYING".into(),
        Owned::Timeout(Timeout::Policy) => "TIMEOUT_UPDATE policy".into(),
        Owned::Timeout(Timeout::Millis(ms)) => format!("TIMEOUT_UPDATE {ms} ms"),
        Owned::Timeout(Timeout::Cancel) => "TIMEOUT_UPDATE cancel".into(),
        Owned::LengthHint(bytes) => format!("PAYLOAD_LENGTH_HINT {bytes}"),
        Owned::MuxData { .. } | Owned::Mux(_) => panic!("{frame:?} is of the mux"),
    }
}

fn say_of_mux(frame: &Owned) -> String {
    match frame {
        Owned::MuxData { channel, data } => {
            let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("MUX {channel}, {digits}")
        }
        Owned::Mux(MuxFrame::ChannelReq(n)) => format!("CHANNEL_REQ {n}"),
        Owned::Mux(MuxFrame::ChannelAck(n)) => format!("CHANNEL_ACK {n}"),
        Owned::Mux(MuxFrame::ChannelNack(n)) => format!("CHANNEL_NACK {n}"),
        Owned::Mux(MuxFrame::ChannelClose(n)) => format!("CHANNEL_CLOSE {n}"),
        Owned::Mux(MuxFrame::ChannelCloseAck(n)) => format!("CHANNEL_CLOSE_ACK {n}"),
        Owned::Mux(MuxFrame::Ping { sent_us }) => format!("PING {sent_us}"),
        Owned::Mux(MuxFrame::Pong { echo_us, sent_us }) => format!("PONG {echo_us}, {sent_us}"),
        Owned::Mux(MuxFrame::PongAck { unix_us }) => format!("PONGACK {unix_us}"),
        Owned::Mux(MuxFrame::Reset) => "RESET_TRANSPORT".into(),
        other => panic!("{other:?} is not of the mux"),
    }
}

#[test]
fn the_examples_are_what_they_say() {
    assert_eq!(checked::<ToClientDecoder>("to-client", say_to_client), 4);
    assert_eq!(checked::<ToProxyDecoder>("to-proxy", say_to_proxy), 2);
    assert_eq!(checked::<MuxDecoder>("mux", say_of_mux), 1);
}

/// The examples of what is refused are refused, each for the reason it gives.
fn refused<C: Codec>(kind: &str, reason: fn(C::Error) -> String) {
    let examples = blocks(kind).concat();
    assert!(!examples.is_empty());
    for (bytes, says) in examples {
        let error = decode::<C>(bytes.chunks(1)).error;
        assert_eq!(error.map(reason).as_deref(), Some(says));
    }
}

#[test]
fn the_examples_of_what_is_refused_are_refused() {
    refused::<ToClientDecoder>("refused-by-client", |error: FrameError| error.to_string());
    refused::<ToProxyDecoder>("refused-by-proxy", |error: FrameError| error.to_string());
    refused::<MuxDecoder>("refused-by-mux", |error| error.to_string());
}

/// The cells of each row of the table under this head.
fn table(document: &'static str, head: &str) -> Vec<Vec<&'static str>> {
    let mut lines = document.lines().skip_while(|line| *line != head).skip(2);
    let mut rows = Vec::new();
    while let Some(row) = lines.next().and_then(|line| line.strip_prefix("| ")) {
        rows.push(row.trim_end_matches('|').split('|').map(str::trim).collect());
    }
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

fn state(name: &str) -> State {
    let known = (1..=20).map(State::from_code);
    known.into_iter().find(|state| state.name() == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn the_states_have_the_numbers_of_the_table() {
    let rows = table(STREAMS, "| number | name | meaning |");
    assert_eq!(rows.len(), 20);
    for row in rows {
        assert_eq!(State::from_code(row[0].parse().unwrap()), state(row[1]));
    }
}

#[test]
fn the_states_follow_each_other_as_in_the_table() {
    let rows = table(STREAMS, "| after | a client takes | a proxy sends |");
    let listed = |cell: &str, next: State| cell.split(", ").any(|name| name == next.name());
    for code in 1..=20 {
        let from = State::from_code(code);
        let row = rows.iter().find(|row| state(row[0]) == from);
        let (takes, sends) = row.map_or(("", ""), |row| (row[1], row[2]));
        for next in (1..=20).map(State::from_code) {
            let ends = next == State::Destroying && from != State::Destroying;
            let taken = ends || listed(takes, next) || next.is_transparent();
            assert_eq!(State::may_follow(next, Some(from)), taken, "taken: {next} after {from}");
            let sent = ends || listed(sends, next);
            assert_eq!(State::is_safe_after(next, Some(from)), sent, "sent: {next} after {from}");
        }
    }
}

#[test]
fn the_flags_have_the_bits_of_the_table() {
    let rows = table(FRAMES, "| bit | name | meaning |");
    assert_eq!(rows.len(), 7);
    for row in rows {
        let bits = u32::from_str_radix(row[0].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(Flags::from_bits(bits).to_string(), row[1]);
    }
}

#[test]
fn the_limits_have_the_values_of_the_table() {
    let known = [
        ("STREAMTYPE_NAME_MAX", limits::STREAMTYPE_NAME_MAX),
        ("METADATA_NAME_MAX", limits::METADATA_NAME_MAX),
        ("NAME_RECEIVED_MAX", limits::NAME_RECEIVED_MAX),
        ("STREAMTYPE_LIST_MAX", limits::STREAMTYPE_LIST_MAX),
        ("METADATA_VALUE_SAFE", limits::METADATA_VALUE_SAFE),
        ("PAYLOAD_SAFE", limits::PAYLOAD_SAFE),
        ("PAYLOAD_LARGE", limits::PAYLOAD_LARGE),
        ("PAYLOAD_MAX", limits::PAYLOAD_MAX),
        ("MUX_BODY_MAX", limits::MUX_BODY_MAX),
        ("MUX_CHANNELS_MAX", limits::MUX_CHANNELS_MAX),
    ];
    let written: Vec<(&str, usize)> = table(FRAMES, "| constant | value | what it limits |")
        .into_iter()
        .map(|row| (row[0], row[1].parse().unwrap()))
        .collect();
    assert_eq!(written, known);
}
