//! One link of a client, and the record of what is seen on it.

use std::hash::{DefaultHasher, Hasher as _};

use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split};

/// A frame's bytes. Clients here send whole frames.
pub(super) fn encode(frame: ToProxy<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let length = frame.encode(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

pub(super) fn streamtype(pid: u32, name: &str) -> Vec<u8> {
    let (tx_credit, name) = (CREDIT_UNLIMITED, name.as_bytes());
    encode(ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name }))
}

pub(super) fn payload(bytes: &[u8], flags: Flags) -> Vec<u8> {
    let (head, piece) = (PayloadHead::new(flags), Piece::whole(bytes).unwrap());
    encode(ToProxy::Payload { head, rideshare: None, piece })
}

pub(super) fn metadata(name: &str, value: &[u8]) -> Vec<u8> {
    let value = Piece::whole(value).unwrap();
    encode(ToProxy::Metadata { name: name.as_bytes(), value })
}

/// The sending half of a link.
pub(super) struct Sender(WriteHalf<DuplexStream>);

impl Sender {
    /// That the proxy does not listen shows in what is received.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    pub(super) async fn connect(&mut self) {
        self.send(&encode(ToProxy::OnwardConnect)).await;
    }
}

/// The receiving half of a link, and what it has received.
pub(super) struct Receiver {
    link: ReadHalf<DuplexStream>,
    decoder: ToClientDecoder,
    /// Most bytes taken at a time.
    step: usize,
    record: Vec<String>,
    is_closed: bool,
    /// Payload since the last entry, and what it told of a message's ends.
    bytes: Vec<u8>,
    has_started: bool,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    State(State),
    /// The end of this many messages.
    Messages(usize),
    /// This many bytes of a stream without messages.
    Bytes(usize),
    Closed,
}

pub(super) fn halves(link: DuplexStream) -> (Sender, Receiver) {
    let (reader, writer) = split(link);
    let receiver = Receiver {
        link: reader,
        decoder: ToClientDecoder::new(),
        step: 4096,
        record: Vec::new(),
        is_closed: false,
        bytes: Vec::new(),
        has_started: false,
    };
    (Sender(writer), receiver)
}

impl Receiver {
    /// Takes no more than these bytes at a time from here on.
    pub(super) fn slow_down(&mut self, step: usize) {
        self.step = step;
    }

    /// What was seen, in order.
    pub(super) fn into_record(mut self) -> Vec<String> {
        self.flush();
        self.record
    }

    /// Receives until this is seen, or the link ends.
    pub(super) async fn until(&mut self, wanted: Until) {
        while !self.step(wanted).await {}
    }

    /// Takes what one read gives; true if it brought what is wanted, or the link's end.
    pub(super) async fn step(&mut self, wanted: Until) -> bool {
        if self.is_closed {
            return true;
        }
        let (seen, mut buffer) = (self.record.len(), vec![0; self.step]);
        let length = self.link.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            self.is_closed = true;
            self.note("closed");
            return true;
        }
        let mut rest = &buffer[..length];
        let mut decoder = std::mem::take(&mut self.decoder);
        while let Some(frame) = decoder.next(&mut rest).expect("frames of the proxy are right") {
            self.see(frame);
        }
        self.decoder = decoder;
        let new = &self.record[seen..];
        match wanted {
            Until::State(state) => new.contains(&state.to_string()),
            Until::Messages(count) => {
                let messages = self.record.iter().filter(|entry| entry.starts_with("message"));
                messages.count() >= count
            }
            Until::Bytes(count) => self.bytes.len() >= count,
            Until::Closed => false,
        }
    }

    fn see(&mut self, frame: ToClient<'_>) {
        match frame {
            ToClient::CreateResult { result, .. } => self.note(&format!("created: {result}")),
            ToClient::State { state, ordinal: 0 } => self.note(&state.to_string()),
            ToClient::State { state, ordinal } => self.note(&format!("{state} {ordinal}")),
            ToClient::Metadata { name, value } if value.is_last() => {
                let name = String::from_utf8_lossy(name).into_owned();
                let value = String::from_utf8_lossy(value.data).into_owned();
                self.note(&format!("{name}={value}"));
            }
            ToClient::Payload { head, piece, .. } => {
                let flags = head.flags_of(&piece);
                if flags.contains(Flags::SOM) {
                    self.flush();
                    self.has_started = true;
                }
                self.bytes.extend_from_slice(piece.data);
                if flags.contains(Flags::EOM) {
                    let text = describe("message", &std::mem::take(&mut self.bytes));
                    self.has_started = false;
                    self.record.push(text);
                }
            }
            // When credit comes depends on who is served first.
            _ => {}
        }
    }

    fn note(&mut self, entry: &str) {
        self.flush();
        self.record.push(entry.to_owned());
    }

    /// Puts on record what came of a message that did not end, or without messages.
    fn flush(&mut self) {
        if !self.bytes.is_empty() || std::mem::take(&mut self.has_started) {
            let kind = if self.has_started { "cut off" } else { "bytes" };
            let text = describe(kind, &std::mem::take(&mut self.bytes));
            self.record.push(text);
        }
    }
}

/// An entry for payload.
pub(super) fn describe(kind: &str, bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{kind}: {} bytes, {:016x}", bytes.len(), hasher.finish())
}

/// Payload by which each byte's place shows.
pub(super) fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
