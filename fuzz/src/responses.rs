//! What a hostile server answers to an attempt.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use sspc_policy::{MetadataItem, Protocol, StreamType};
use sspc_proxy::fuzzing::{Running, Seen};
use sspc_sim::frames::cut;
use sspc_wire::Flags;
use sspc_ws::handshake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

use crate::virtual_time::{endpoint, play, serve};

/// Most bytes of payload in one event.
const PAYLOAD_MAX: usize = 16 * 1024;
/// Between the bytes for one connection and for the next.
const DIVIDER: &[u8] = b"\xff\xff";

/// Any bytes as the answers of an http/1.1 server.
pub fn h1_response(input: &[u8]) {
    let (input, sizes) = crate::cuts::split(input);
    let Some((&choice, bytes)) = input.split_first() else { return };
    let connections: Vec<Vec<u8>> = divide(bytes).map(<[u8]>::to_vec).collect();
    let answer = Answer { connections, sizes, is_early: choice & 1 != 0, stays: choice & 2 != 0 };
    attempt(stream(Protocol::H1, choice), choice & 64 != 0, answer, |mut socket| async move {
        // Not all of a request's head, but some of it.
        let _ = socket.read(&mut [0; 16]).await;
        Some((socket, Vec::new()))
    });
}

/// Any bytes as frames of a WebSocket server, behind the right answer to the upgrade.
pub fn ws_response(input: &[u8]) {
    let (input, sizes) = crate::cuts::split(input);
    let Some((&choice, bytes)) = input.split_first() else { return };
    let connections = vec![bytes.to_vec()];
    let answer = Answer { connections, sizes, is_early: false, stays: choice & 2 != 0 };
    let deflates = choice & 4 != 0;
    let stream = stream(Protocol::Ws, choice);
    attempt(stream, choice & 64 != 0, answer, move |mut socket| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let (_, key) = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
        let accept = handshake::accept_key(key);
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n"
        );
        if deflates {
            answer += "sec-websocket-extensions: permessage-deflate\r\n";
        }
        answer += "\r\n";
        Some((socket, answer.into_bytes()))
    });
}

/// A frame of HTTP/2.
#[derive(Arbitrary, Debug)]
pub enum Frame {
    /// A response's head, or trailers: indices of the static table, and fields.
    Headers {
        stream: u8,
        flags: u8,
        indices: Vec<u8>,
        fields: Vec<(String, String)>,
    },
    Data {
        stream: u8,
        ends: bool,
        bytes: Vec<u8>,
    },
    Reset {
        stream: u8,
        code: u8,
    },
    Settings(Vec<(u8, u32)>),
    SettingsAck,
    Goaway {
        last: u8,
        code: u8,
    },
    WindowUpdate {
        stream: u8,
        add: u32,
    },
    Ping {
        ack: bool,
    },
    /// Of any kind, with the right length.
    Any {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: Vec<u8>,
    },
    /// No frame at all.
    Bytes(Vec<u8>),
}

/// What an h2 server answers on each connection.
#[derive(Arbitrary, Debug)]
pub struct Frames {
    choice: u8,
    sizes: Vec<u8>,
    connections: Vec<Vec<Frame>>,
}

/// Any frames of an h2 server, behind its SETTINGS.
pub fn h2_response(frames: Frames) {
    let Frames { choice, sizes, connections } = frames;
    let bytes = |frames: Vec<Frame>| {
        let mut out = frame(4, 0, 0, &[]);
        frames.into_iter().for_each(|frame| out.extend(encode(frame)));
        out
    };
    let connections = connections.into_iter().map(bytes).collect();
    let sizes = sizes.into_iter().map(|size| usize::from(size).max(1)).chain([4096]).collect();
    let answer = Answer { connections, sizes, is_early: choice & 1 != 0, stays: choice & 2 != 0 };
    attempt(stream(Protocol::H2, choice), choice & 64 != 0, answer, |mut socket| async move {
        let _ = socket.read(&mut [0; 16]).await;
        Some((socket, Vec::new()))
    });
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    let mut out = length.to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// The streams are those that there are, and a few that there are not.
fn id(stream: u8) -> u32 {
    [1, 3, 0, 2, 5][usize::from(stream) % 5]
}

fn encode(from: Frame) -> Vec<u8> {
    match from {
        Frame::Headers { stream, flags, indices, fields } => {
            let mut block: Vec<u8> = indices.into_iter().map(|index| index | 0x80).collect();
            for (name, value) in fields {
                block.push(0);
                for text in [name, value] {
                    let text = text.get(..text.len().min(126)).unwrap_or("x");
                    block.push(text.len() as u8);
                    block.extend(text.as_bytes());
                }
            }
            // No padding and no priority, but END_STREAM and END_HEADERS as it comes.
            frame(1, flags & 5, id(stream), &block)
        }
        Frame::Data { stream, ends, bytes } => frame(0, ends.into(), id(stream), &bytes),
        Frame::Reset { stream, code } => frame(3, 0, id(stream), &[0, 0, 0, code]),
        Frame::Settings(settings) => {
            let setting = |(name, value): (u8, u32)| {
                [[0, name].as_slice(), value.to_be_bytes().as_slice()].concat()
            };
            frame(4, 0, 0, &settings.into_iter().flat_map(setting).collect::<Vec<u8>>())
        }
        Frame::SettingsAck => frame(4, 1, 0, &[]),
        Frame::Goaway { last, code } => {
            let last = id(last).to_be_bytes();
            frame(7, 0, 0, &[last.as_slice(), &[0, 0, 0, code]].concat())
        }
        Frame::WindowUpdate { stream, add } => frame(8, 0, id(stream), &add.to_be_bytes()),
        Frame::Ping { ack } => frame(6, ack.into(), 0, &[0; 8]),
        Frame::Any { kind, flags, stream, payload } => frame(kind, flags, stream, &payload),
        Frame::Bytes(bytes) => bytes,
    }
}

fn divide(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let at = bytes.windows(DIVIDER.len()).position(|at| at == DIVIDER);
        let (first, next) = match at {
            Some(at) => (&bytes[..at], Some(&bytes[at + DIVIDER.len()..])),
            None => (bytes, None),
        };
        rest = next;
        Some(first)
    })
}

/// The streamtype of the attempt, as some bits choose.
fn stream(protocol: Protocol, choice: u8) -> StreamType {
    let mut stream = StreamType::new("fuzz");
    stream.endpoint = Some(endpoint("hostile").as_str().into());
    stream.protocol = protocol;
    stream.perf = choice & 8 != 0;
    stream.allow_redirects = choice & 16 != 0;
    stream.http.multipart_ss_in = choice & 32 != 0;
    let has_body = choice & 64 != 0;
    stream.http.method = if has_body { "POST" } else { "GET" }.to_owned();
    stream.http.long_poll = choice & 128 != 0;
    let item = MetadataItem { name: "x".to_owned(), header: Some("x".to_owned()) };
    stream.metadata.push(item);
    stream
}

/// What a server says, to whichever request.
struct Answer {
    /// On each connection; on those beyond, nothing.
    connections: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    /// It does not wait for a request.
    is_early: bool,
    /// It does not close when it has said all.
    stays: bool,
}

/// How long a server that stays does so: longer than anybody waits for it.
const STAY: Duration = Duration::from_secs(24 * 3600);

/// An attempt at this server. `greet` waits for as much of a request as it takes, and says what
/// comes before the answer.
fn attempt<G, R>(stream: StreamType, sends: bool, answer: Answer, greet: G)
where
    G: Fn(UnixStream) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Option<(UnixStream, Vec<u8>)>> + Send,
{
    play(async move {
        let answer = Arc::new(answer);
        serve("hostile", move |number, socket| {
            let (answer, greet) = (Arc::clone(&answer), greet.clone());
            async move {
                let greeted = match answer.is_early {
                    true => Some((socket, Vec::new())),
                    false => greet(socket).await,
                };
                let Some((socket, greeting)) = greeted else { return };
                let (reader, mut writer) = socket.into_split();
                let reading = tokio::spawn(discard(reader));
                if writer.write_all(&greeting).await.is_ok() {
                    say(&answer, number, &mut writer).await;
                }
                if answer.stays {
                    sleep(STAY).await;
                }
                drop(writer);
                let _ = reading.await;
            }
        });
        let mut running = Running::start(stream);
        if sends {
            let _ = running.send(Bytes::from_static(b"mess"), Flags::SOM);
            let _ = running.send(Bytes::from_static(b"age"), Flags::EOM);
        }
        let mut order = Order::default();
        while let Some(seen) = running.next().await {
            order.see(seen);
        }
        assert!(order.has_ended, "the end is the last");
    });
}

async fn discard(mut reader: OwnedReadHalf) {
    let mut buffer = [0; 4096];
    while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
}

async fn say(answer: &Answer, number: usize, writer: &mut OwnedWriteHalf) {
    let Some(bytes) = answer.connections.get(number) else { return };
    for piece in cut(bytes, &answer.sizes) {
        if writer.write_all(piece).await.is_err() {
            return;
        }
        // The proxy takes each piece by itself.
        sleep(Duration::from_millis(1)).await;
    }
}

/// What an attempt may report, and in which order.
#[derive(Default)]
struct Order {
    has_perf: bool,
    is_connected: bool,
    in_message: bool,
    is_over: bool,
    has_ended: bool,
}

impl Order {
    fn see(&mut self, seen: Seen) {
        assert!(!self.has_ended, "{seen:?} after the end");
        assert!(!self.is_over || matches!(seen, Seen::Ended(true)), "{seen:?} after all");
        match seen {
            Seen::Other => {}
            Seen::Perf => assert!(!std::mem::replace(&mut self.has_perf, true)),
            Seen::Connected => assert!(!std::mem::replace(&mut self.is_connected, true)),
            Seen::Payload(length, flags) => {
                assert!(self.is_connected && length <= PAYLOAD_MAX);
                if flags.contains(Flags::SOM) {
                    assert!(!std::mem::replace(&mut self.in_message, true), "SOM twice");
                }
                assert!(self.in_message || length == 0, "payload of no message");
                if flags.contains(Flags::EOM) {
                    assert!(std::mem::replace(&mut self.in_message, false), "EOM twice");
                }
            }
            Seen::Verdict(ends) => {
                assert!(self.is_connected);
                assert!(!self.in_message, "a verdict within a message");
                self.is_over |= ends;
            }
            Seen::Ended(is_complete) => {
                assert!(!is_complete || self.is_over, "complete without a verdict");
                self.has_ended = true;
            }
        }
    }
}
