//! Recorded proxies of libwebsockets played against the engine: what the user sees, and that the
//! engine says what the recorded client said.

use sspc::{Config, State, Timeout};
use sspc_sim::vectors::{self, Direction};
use sspc_wire::{MuxDecoder, MuxFrame, ToClient, ToClientDecoder};

use crate::harness::{Bench, frames};

/// A client's part of a recording: what it does at which event.
struct Play {
    name: &'static str,
    streamtype: &'static str,
    react: fn(&mut Bench, &str),
}

impl Play {
    /// Plays the recording with the proxy's bytes in chunks of this size, each after the client
    /// has said what it said before.
    fn run(&self, size: usize) -> Bench {
        let mut bench = Bench::new(self.streamtype, Config::DEFAULT);
        bench.react = self.react;
        bench.open();
        for chunk in vectors::load(self.name) {
            if chunk.direction == Direction::ToClient && chunk.connection == 0 {
                for piece in chunk.bytes.chunks(size) {
                    bench.hear(piece);
                }
            }
        }
        bench
    }

    /// Plays it at each chunk size; the user sees these events each time.
    fn shows(&self, events: &[&str]) {
        let whole = vectors::load(self.name).iter().map(|chunk| chunk.bytes.len()).max().unwrap();
        let received = received(&vectors::joined(self.name, 0, Direction::ToClient));
        let said = said(&vectors::joined(self.name, 0, Direction::ToProxy));
        for size in 1..=whole {
            let bench = self.run(size);
            assert_eq!(bench.seen, events, "{} in chunks of {size}", self.name);
            assert_eq!(bench.received, received, "{} in chunks of {size}", self.name);
            assert_eq!(said, self::said(&bench.sent), "{} in chunks of {size}", self.name);
        }
    }
}

/// The payload that a proxy sent.
pub(crate) fn received(bytes: &[u8]) -> Vec<u8> {
    let (mut decoder, mut input, mut payload) = (ToClientDecoder::new(), bytes, Vec::new());
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        if let ToClient::Payload { piece, .. } = frame {
            payload.extend_from_slice(piece.data);
        }
    }
    payload
}

/// The frames of a client; payload only by what it adds up to, since clients cut it as they like.
pub(crate) fn said(bytes: &[u8]) -> Vec<String> {
    let mut said = Vec::<String>::new();
    let mut total = 0;
    for frame in frames(bytes) {
        if let Some((length, flags)) = frame.strip_prefix("TX ").and_then(|tx| tx.split_once(' ')) {
            total += length.parse::<usize>().unwrap();
            if flags.contains("EOM") {
                said.push(format!("message of {total}"));
                total = 0;
            }
        } else {
            said.push(frame);
        }
    }
    assert_eq!(total, 0, "a message has no end");
    said
}

fn connect(bench: &mut Bench, event: &str) {
    if event == "CREATING" {
        bench.stream.connect();
    }
}

/// The bytes of a channel in a recording of a serial line.
pub(crate) fn channel(name: &str, direction: Direction, index: u8) -> Vec<u8> {
    let (mut decoder, mut bytes) = (MuxDecoder::new(), Vec::new());
    let line = vectors::joined(name, 0, direction);
    let mut input = &line[..];
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        match frame {
            MuxFrame::Data { channel, piece } if channel == index => bytes.extend(piece.data),
            _ => {}
        }
    }
    bytes
}

#[test]
fn ws_ticker_from_a_channel_of_a_serial_line() {
    let bytes = channel("mux_ws_ticker", Direction::ToClient, 255);
    let payload = received(&bytes);
    let said = said(&channel("mux_ws_ticker", Direction::ToProxy, 255));
    assert!(payload.starts_with(b"{\"stream\"") && payload.len() > 10_000, "{}", payload.len());
    for size in [1, 2, 3, 17, 100, 1300, bytes.len()] {
        let mut bench = Bench::new("binance", Config::DEFAULT);
        bench.react = connect;
        bench.open();
        bytes.chunks(size).for_each(|piece| bench.hear(piece));
        assert_eq!(bench.seen[..3], ["CREATING", "CONNECTING", "CONNECTED"], "{size}");
        let messages = bench.seen[3..].iter();
        assert!(messages.clone().all(|seen| seen.starts_with("rx ")), "{:?}", bench.seen);
        assert!(messages.filter(|seen| seen.ends_with("SOM|EOM")).count() > 10, "{:?}", bench.seen);
        assert!(bench.received == payload, "{size}");
        // In larger chunks CONNECTED comes with CREATE_RESULT, and there is nothing to ask for.
        if size <= 17 {
            assert_eq!(said, self::said(&bench.sent), "{size}");
        }
    }
}

#[test]
fn an_unknown_streamtype_on_a_channel_of_a_serial_line() {
    let bytes = channel("mux_unknown", Direction::ToClient, 255);
    let once = bytes.len() / 3;
    for size in 1..=once {
        let mut bench = Bench::new("binance", Config::DEFAULT);
        bench.open();
        bytes[..once].chunks(size).for_each(|piece| bench.hear(piece));
        assert_eq!(bench.seen, ["refused 1"], "{size}");
        assert!(!bench.up);
    }
}

#[test]
fn h1_get() {
    let play = Play { name: "uds_h1_get", streamtype: "sx-hello_world", react: connect };
    play.shows(&[
        "CREATING",
        "CONNECTING",
        "ctype=text/html",
        "CONNECTED",
        "rx 1813 SOM|EOM",
        "QOS_ACK_REMOTE",
        "DISCONNECTED",
    ]);
}

#[test]
fn h2_get_with_credit_that_is_not_managed_and_metadata_before_it() {
    let play = Play { name: "uds_h2_get", streamtype: "mintest", react: connect };
    play.shows(&[
        "CREATING",
        "CONNECTING",
        "ctype=text/html",
        "CONNECTED",
        "rx 1813 SOM|EOM",
        "QOS_ACK_REMOTE",
        "srv=nginx/1.22.1",
        "DISCONNECTED",
    ]);
}

#[test]
fn h1_post_with_metadata_and_length() {
    fn react(bench: &mut Bench, event: &str) {
        if event == "CREATING" {
            let kind = b"multipart/form-data;boundary=\"boundary\"";
            bench.stream.set_metadata("ctype", kind).unwrap();
            bench.stream.request_tx_len(bench.now, 5970);
            bench.messages.push(vec![b'x'; 5970]);
        }
    }
    let play = Play { name: "uds_h1_post", streamtype: "minpost", react };
    play.shows(&[
        "CREATING",
        "POLL",
        "CONNECTING",
        "CONNECTED",
        "rx 322 SOM|EOM",
        "QOS_ACK_REMOTE",
        "DISCONNECTED",
    ]);
}

#[test]
fn ws_echo_that_the_timeout_ends() {
    fn react(bench: &mut Bench, event: &str) {
        match event {
            "CREATING" => {
                bench.stream.set_timeout(Timeout::Millis(5000));
                bench.stream.connect();
            }
            "TIMEOUT" => {}
            event if event == "CONNECTED" || event.starts_with("rx 7") => {
                let count = bench.seen.iter().filter(|event| event.starts_with("rx")).count();
                if count < 9 {
                    bench.messages.push(format!("hello {count}").into());
                    bench.stream.request_tx_len(bench.now, 7);
                }
            }
            _ => {}
        }
    }
    let play = Play { name: "uds_ws_echo", streamtype: "sx_ws_echo", react };
    let mut events = vec!["CREATING".to_string(), "CONNECTING".into(), "CONNECTED".into()];
    events.extend((0..9).map(|n| format!("rx 7 SOM|EOM hello {n}")));
    events.push("TIMEOUT".into());
    play.shows(&events.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(play.run(100).stream.state(), Some(State::Timeout));
}

#[test]
fn h1_500_is_a_nack() {
    let play = Play { name: "uds_h1_500", streamtype: "st500", react: connect };
    play.shows(&["CREATING", "CONNECTING", "CONNECTED", "QOS_NACK_REMOTE", "DISCONNECTED"]);
}

#[test]
fn h1_user_state_comes_before_connected() {
    let play = Play { name: "uds_h1_user_state", streamtype: "respmap", react: connect };
    play.shows(&[
        "CREATING",
        "CONNECTING",
        "USER(1530)",
        "CONNECTED",
        "QOS_NACK_REMOTE",
        "DISCONNECTED",
    ]);
}

#[test]
fn refused_connections_until_all_retries_failed() {
    let play = Play { name: "uds_refused", streamtype: "refused", react: connect };
    play.shows(&[
        "CREATING",
        "CONNECTING",
        "UNREACHABLE",
        "POLL",
        "CONNECTING",
        "UNREACHABLE",
        "POLL",
        "CONNECTING",
        "UNREACHABLE",
        "POLL",
        "CONNECTING",
        "UNREACHABLE",
        "ALL_RETRIES_FAILED",
    ]);
}

#[test]
fn unknown_streamtype_is_refused_and_tried_again() {
    let play = Play { name: "uds_unknown_streamtype", streamtype: "nosuchtype", react: connect };
    play.shows(&["refused 1"]);
    let mut bench = play.run(100);
    assert!(!bench.up, "the link is dropped");
    bench.pass(1_000);
    bench.open();
    assert_eq!(bench.frames(), ["STREAMTYPE nosuchtype 500000000"]);
}
