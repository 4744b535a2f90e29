//! Recorded streams between a deployed client and a deployed proxy (libwebsockets v4.4.4).

use serde::Deserialize;

/// Every recording, by name.
pub const NAMES: [&str; 10] = [
    "uds_h1_get",
    "uds_h2_get",
    "uds_h1_post",
    "uds_ws_echo",
    "uds_h1_500",
    "uds_h1_user_state",
    "uds_refused",
    "uds_unknown_streamtype",
    "mux_ws_ticker",
    "mux_unknown",
];

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to proxy.
    ToProxy,
    /// Proxy to client.
    ToClient,
}

/// The bytes of one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// µs since the recording began.
    pub time_us: u64,
    /// The connection's number; 0 on a serial line.
    pub connection: u32,
    /// Which way the bytes went.
    pub direction: Direction,
    /// The bytes; none for an end of file.
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    t: u64,
    c: u32,
    d: String,
    x: String,
}

/// The chunks of a recording, in the order of their times.
///
/// # Panics
/// There is no recording of this name.
pub fn load(name: &str) -> Vec<Chunk> {
    let text = match name {
        "uds_h1_get" => include_str!("../vectors/uds_h1_get.jsonl"),
        "uds_h2_get" => include_str!("../vectors/uds_h2_get.jsonl"),
        "uds_h1_post" => include_str!("../vectors/uds_h1_post.jsonl"),
        "uds_ws_echo" => include_str!("../vectors/uds_ws_echo.jsonl"),
        "uds_h1_500" => include_str!("../vectors/uds_h1_500.jsonl"),
        "uds_h1_user_state" => include_str!("../vectors/uds_h1_user_state.jsonl"),
        "uds_refused" => include_str!("../vectors/uds_refused.jsonl"),
        "uds_unknown_streamtype" => include_str!("../vectors/uds_unknown_streamtype.jsonl"),
        "mux_ws_ticker" => include_str!("../vectors/mux_ws_ticker.jsonl"),
        "mux_unknown" => include_str!("../vectors/mux_unknown.jsonl"),
        other => panic!("no recording is called {other}"),
    };
    text.lines().map(|line| parse(name, line)).collect()
}

/// All bytes of one connection in one direction, joined.
///
/// # Panics
/// There is no recording of this name.
pub fn joined(name: &str, connection: u32, direction: Direction) -> Vec<u8> {
    let chunks = load(name).into_iter();
    chunks
        .filter(|chunk| chunk.connection == connection && chunk.direction == direction)
        .flat_map(|chunk| chunk.bytes)
        .collect()
}

fn parse(name: &str, line: &str) -> Chunk {
    let line: Line = match serde_json::from_str(line) {
        Ok(line) => line,
        Err(error) => panic!("recording {name}: {error}: {line}"),
    };
    let direction = match line.d.as_str() {
        "c2p" => Direction::ToProxy,
        "p2c" => Direction::ToClient,
        other => panic!("recording {name}: direction {other}"),
    };
    let digits = line.x.as_bytes();
    let bytes =
        digits.chunks(2).map(|pair| match u8::from_str_radix(&String::from_utf8_lossy(pair), 16) {
            Ok(byte) => byte,
            Err(error) => panic!("recording {name}: {error}"),
        });
    Chunk { time_us: line.t, connection: line.c, direction, bytes: bytes.collect() }
}
