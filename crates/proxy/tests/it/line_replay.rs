//! Recorded serial clients, byte for byte and in chunks of every size, against our proxy.
//!
//! Only the times in their PONGs are changed to those of our proxy's PINGs.

use sspc_proxy::LineConfig;
use sspc_sim::vectors::{Direction, joined, load};
use sspc_wire::{MuxDecoder, MuxFrame, ToClientDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpStream;

use crate::support::*;

/// The only channel that the recorded clients use.
const CHANNEL: u8 = 255;
/// What begins a PONG; its time is in the next eight bytes.
const PONG: u8 = 0xf7;

/// What a client heard on its line.
#[derive(Default)]
struct LineHeard {
    mux: MuxDecoder,
    stream: ToClientDecoder,
    /// On the channel, every life of it.
    heard: Heard,
    last_ping: Option<u64>,
    pongs: usize,
    acks: usize,
}

impl LineHeard {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.mux.next(&mut bytes).unwrap() {
            match frame {
                MuxFrame::Ping { sent_us } => self.last_ping = Some(sent_us),
                MuxFrame::Pong { .. } => self.pongs += 1,
                MuxFrame::ChannelAck(CHANNEL) => {
                    self.acks += 1;
                    self.stream = ToClientDecoder::new();
                }
                MuxFrame::Data { channel: CHANNEL, piece } => {
                    self.heard.take(&mut self.stream, piece.data);
                }
                MuxFrame::PongAck { .. } | MuxFrame::Reset | MuxFrame::ChannelClose(CHANNEL) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Plays a recorded client: each of its reads is sent once we have heard as much as it had.
async fn play(serving: &Serving, name: &str, chunk_size: usize) -> Heard {
    let mut config = LineConfig::default();
    // The recorded client answers no PING more than it did.
    config.mux.retry_first_ms = 60_000;
    config.mux.retry_max_ms = 60_000;
    let (mut link, far) = duplex(4096);
    let (reader, writer) = split(far);
    let served = tokio::spawn(serving.handle.serve_line(reader, writer, config, "recorded"));
    let (mut now, mut then) = (LineHeard::default(), LineHeard::default());
    let mut pings_sent = 0;
    while now.last_ping.is_none() {
        read(&mut link, &mut now).await;
    }
    for chunk in load(name) {
        if chunk.direction == Direction::ToClient {
            then.take(&chunk.bytes);
            continue;
        }
        while now.pongs < pings_sent || is_behind(&now, &then) {
            read(&mut link, &mut now).await;
        }
        let mut bytes = chunk.bytes;
        pings_sent += pings(&bytes);
        if let (Some(at), Some(time)) = (pong(&bytes), now.last_ping) {
            bytes[at + 1..at + 9].copy_from_slice(&time.to_be_bytes());
        }
        for part in bytes.chunks(chunk_size) {
            link.write_all(part).await.unwrap();
            // The proxy reads them one by one.
            tokio::task::yield_now().await;
        }
    }
    while is_behind(&now, &then) {
        read(&mut link, &mut now).await;
    }
    drop(link);
    served.await.unwrap().unwrap();
    now.heard
}

fn is_behind(now: &LineHeard, then: &LineHeard) -> bool {
    let ((states, messages), (states_then, messages_then)) =
        (now.heard.progress(), then.heard.progress());
    states < states_then || messages < messages_then || now.acks < then.acks
}

async fn read(link: &mut DuplexStream, heard: &mut LineHeard) {
    let mut room = [0; 2048];
    let length = link.read(&mut room).await.unwrap();
    assert_ne!(length, 0, "closed after {:?}", heard.heard.states);
    heard.take(&room[..length]);
}

fn pings(mut bytes: &[u8]) -> usize {
    let (mut decoder, mut count) = (MuxDecoder::new(), 0);
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        count += usize::from(matches!(frame, MuxFrame::Ping { .. }));
    }
    count
}

/// Where a PONG begins among frames of fixed lengths.
fn pong(bytes: &[u8]) -> Option<usize> {
    let (mut decoder, mut rest) = (MuxDecoder::new(), bytes);
    while let Some(frame) = decoder.next(&mut rest).unwrap() {
        if matches!(frame, MuxFrame::Pong { .. }) {
            let at = bytes.len() - rest.len() - 17;
            assert_eq!(bytes[at], PONG);
            return Some(at);
        }
    }
    None
}

/// What the recorded client heard.
fn recorded(name: &str) -> Heard {
    let mut heard = LineHeard::default();
    heard.take(&joined(name, 0, Direction::ToClient));
    heard.heard
}

fn sizes() -> impl Iterator<Item = usize> {
    (1..=27).chain([usize::MAX])
}

/// Sends messages to every websocket client.
async fn say(mut link: TcpStream, messages: Vec<Vec<u8>>) {
    let (head, _) = request(&mut link).await;
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).unwrap().1;
    let accept = sspc_ws::handshake::accept_key(key);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    link.write_all(answer.as_bytes()).await.unwrap();
    for message in messages {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        link.write_all(&[&[0x82, 126], &length[..], &message].concat()).await.unwrap();
    }
    // Until the client has gone.
    let _ = link.read(&mut [0; 64]).await;
}

#[tokio::test]
async fn the_ticker() {
    let recorded = recorded("mux_ws_ticker");
    assert!(recorded.messages.len() > 30);
    let messages: Vec<_> = recorded.messages.iter().map(|(_, bytes)| bytes.clone()).collect();
    let port = server(move |link| say(link, messages.clone())).await;
    let serving = Serving::of(&format!(
        r#"{{"s": [{{"binance": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "ws",
            "http_url": "/", "opportunistic": true}}}}]}}"#
    ));
    for size in sizes() {
        let heard = play(&serving, "mux_ws_ticker", size).await;
        assert_eq!(heard, recorded, "in chunks of {size}");
    }
    assert_eq!(recorded.states, ["CREATE 0", "CREATING", "CONNECTING", "CONNECTED"]);
    let counters = serving.handle.counters();
    let runs = sizes().count() as u64;
    assert_eq!((counters.sessions_total, counters.protocol_errors), (runs, 0));
    assert_eq!((counters.links_up, counters.link_losses), (0, 0));
}

/// That client takes the refusal for lost framing, each time.
#[tokio::test]
async fn an_unknown_streamtype() {
    let recorded = recorded("mux_unknown");
    assert_eq!(recorded.states, ["CREATE 1"; 3]);
    let serving = Serving::of(r#"{"s": [{"suchtype": {"endpoint": "localhost", "port": 80}}]}"#);
    for size in sizes() {
        let heard = play(&serving, "mux_unknown", size).await;
        assert_eq!(heard, recorded, "in chunks of {size}");
    }
    assert_eq!(serving.handle.counters().refused, 3 * sizes().count() as u64);
    assert_eq!(serving.handle.counters().link_losses, 2 * sizes().count() as u64);
}
