//! The test vectors of the specification, `docs/spec/vectors`; their README says what is in them.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]
#![allow(clippy::missing_panics_doc, reason = "they panic where a vector is wrong")]

use std::fs;

use serde_json::Value;
use sspc_wire::{Flags, MuxFrame, PayloadHead, State, Timeout};

use crate::frames::{Owned, hex};

/// The specification's directory.
pub const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec");

/// Each kind of vectors, and the crate whose tests run all of them.
const KINDS: [(&str, &str); 7] = [
    ("frames to client", "wire"),
    ("frames to proxy", "wire"),
    ("mux frames", "wire"),
    ("dialogues", "wire"),
    ("mux link", "mux"),
    ("packets", "arq"),
    ("encrypted packets", "arq"),
];

/// A file of vectors.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name without the directory.
    pub name: String,
    /// What its vectors are; one of those that the README lists.
    pub kind: String,
    /// The vectors, one at least.
    pub vectors: Vec<Vector>,
}

/// One vector: a JSON object.
#[derive(Clone, Debug)]
pub struct Vector(pub Value);

impl Vector {
    /// What it is called in its file.
    pub fn name(&self) -> &str {
        text(&self.0, "name")
    }

    /// The numbers of the statements that it tests.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        list(&self.0, "statements").iter().map(|id| id.as_str().unwrap())
    }
}

/// All files of vectors.
///
/// # Panics
/// A file has a kind that no test runs, no vectors, or two of one name.
pub fn all_files() -> Vec<File> {
    let mut files = Vec::new();
    for entry in fs::read_dir(format!("{DIRECTORY}/vectors")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        let content: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = text(&content, "kind").to_owned();
        assert!(KINDS.iter().any(|(known, _)| *known == kind), "{name}: no test runs {kind:?}");
        let vectors: Vec<Vector> = list(&content, "vectors").iter().cloned().map(Vector).collect();
        assert!(!vectors.is_empty(), "{name} has no vectors");
        let mut names: Vec<&str> = vectors.iter().map(Vector::name).collect();
        names.sort_unstable();
        let doubled = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(doubled, None, "{name}: two vectors of one name");
        files.push(File { name, kind, vectors });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The files that the tests of a crate have to run, one of each of its kinds at least.
pub fn files_of(crate_name: &str) -> Vec<File> {
    let files = all_files();
    let kinds = KINDS.iter().filter(|(_, owner)| *owner == crate_name).map(|(kind, _)| *kind);
    let kinds: Vec<&str> = kinds.collect();
    for kind in &kinds {
        assert!(files.iter().any(|file| file.kind == *kind), "no file has {kind:?}");
    }
    files.into_iter().filter(|file| kinds.contains(&&*file.kind)).collect()
}

/// A member that is text.
pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key:?} in {value}"))
}

/// A member that is a list.
pub fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key:?} in {value}"))
}

/// A member that is a number: in JSON's form, or as text in hexadecimal with `0x` before it.
pub fn number(value: &Value, key: &str) -> i64 {
    let found = &value[key];
    match found.as_str().and_then(|text| text.strip_prefix("0x")) {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap().cast_signed(),
        None => found.as_i64().unwrap_or_else(|| panic!("no number {key:?} in {value}")),
    }
}

/// Bytes as vectors have them: hex digits, of which `(00)*20` stands for 20 bytes.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut found = Vec::new();
    for (at, part) in text.split('(').enumerate() {
        let Some((repeated, behind)) = part.split_once(")*").filter(|_| at > 0) else {
            found.extend(hex(part));
            continue;
        };
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        // What follows a count begins with a byte, whose digits are not the count's: so the count
        // ends at a blank, or where the text does.
        let (count, rest) = behind.split_at(digits);
        let count: usize = count.parse().unwrap();
        found.extend(hex(repeated).repeat(count));
        found.extend(hex(rest));
    }
    found
}

/// A frame of any kind.
pub fn frame(value: &Value) -> Owned {
    let number = |key| number(value, key);
    let small = |key| u32::try_from(number(key)).unwrap();
    let byte = |key| u8::try_from(number(key)).unwrap();
    let time = |key| number(key).cast_unsigned();
    let body = |key| bytes(text(value, key));
    let name = |key| text(value, key).as_bytes().to_vec();
    match text(value, "type") {
        "RX_PAYLOAD" | "TX_PAYLOAD" => Owned::Payload {
            head: PayloadHead {
                flags: Flags::from_bits(small("flags")),
                held_us: small("held"),
                written_us: time("written"),
            },
            rideshare: value["rideshare"].as_str().map(|name| name.as_bytes().to_vec()),
            data: body("payload"),
        },
        "CREATE_RESULT" => Owned::CreateResult {
            result: byte("result"),
            client_buflen: small("buffer"),
            list: name("list"),
        },
        "CONNSTATE" => Owned::State(State::from_code(small("state")), small("ordinal")),
        "TXCR_UPDATE" => Owned::TxCredit(i32::try_from(number("credit")).unwrap()),
        "METADATA" => Owned::Metadata { name: name("name"), value: body("value") },
        "PERF" => Owned::Perf(name("json")),
        "STREAMTYPE" => Owned::Streamtype {
            version: byte("version"),
            pid: small("process_id"),
            tx_credit: i32::try_from(number("initial_credit")).unwrap(),
            name: name("name"),
        },
        "ONWARD_CONNECT" => Owned::OnwardConnect,
        "DESTROYING" => Owned::Destroying,
        "TIMEOUT_UPDATE" => Owned::Timeout(Timeout::from_wire(small("time"))),
        "PAYLOAD_LENGTH_HINT" => Owned::LengthHint(small("bytes")),
        "MUX" => Owned::MuxData { channel: byte("index"), data: body("data") },
        "CHANNEL_REQ" => Owned::Mux(MuxFrame::ChannelReq(byte("index"))),
        "CHANNEL_ACK" => Owned::Mux(MuxFrame::ChannelAck(byte("index"))),
        "CHANNEL_NACK" => Owned::Mux(MuxFrame::ChannelNack(byte("index"))),
        "CHANNEL_CLOSE" => Owned::Mux(MuxFrame::ChannelClose(byte("index"))),
        "CHANNEL_CLOSE_ACK" => Owned::Mux(MuxFrame::ChannelCloseAck(byte("index"))),
        "PING" => Owned::Mux(MuxFrame::Ping { sent_us: time("time") }),
        "PONG" => Owned::Mux(MuxFrame::Pong { echo_us: time("echo"), sent_us: time("time") }),
        "PONGACK" => Owned::Mux(MuxFrame::PongAck { unix_us: time("time") }),
        "RESET_TRANSPORT" => Owned::Mux(MuxFrame::Reset),
        other => panic!("no frame is called {other:?}"),
    }
}

/// All frames of a list.
pub fn frames(value: &Value, key: &str) -> Vec<Owned> {
    list(value, key).iter().map(frame).collect()
}
