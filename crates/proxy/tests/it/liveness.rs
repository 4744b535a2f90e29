//! A driver must not sleep with work left: however many frames come in one read, in whatever pieces,
//! and however its client reads, everything goes through, and then the end is noticed.
//!
//! A client's driver once left what it had decoded behind and waited for more to come.

use std::path::Path;

use sspc_sim::Rng;
use sspc_wire::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT};
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::time::timeout;

use crate::user::PATIENCE;
use crate::world::{self, World};

/// How the client's bytes come to the proxy.
#[derive(Clone, Copy, Debug)]
enum Pieces {
    One,
    Bytes,
    Random,
}

/// How the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Fast,
    Slow,
    /// Not before everything is written, or nothing more can be.
    Stopped,
}

fn encoded(frame: ToProxy<'_>, out: &mut Vec<u8>) {
    let mut bytes = [0; 128];
    let length = frame.encode(&mut bytes).unwrap();
    out.extend_from_slice(&bytes[..length]);
}

/// What a client has read so far.
#[derive(Default)]
struct Heard {
    decoder: ToClientDecoder,
    states: Vec<State>,
    text: Vec<u8>,
    ends: usize,
}

impl Heard {
    /// Reads once; false at the end.
    async fn read(&mut self, reader: &mut OwnedReadHalf, most: usize) -> bool {
        let mut buffer = vec![0; most];
        let reading = timeout(PATIENCE, reader.read(&mut buffer)).await;
        let length = reading.expect("nothing more comes").unwrap();
        let mut input = &buffer[..length];
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            match frame {
                ToClient::State { state, .. } => self.states.push(state),
                ToClient::Payload { head, piece, .. } => {
                    self.text.extend_from_slice(piece.data);
                    self.ends += usize::from(piece.is_last() && head.flags.contains(Flags::EOM));
                }
                _ => {}
            }
        }
        length > 0
    }
}

/// Sends so many messages to a websocket that sends them back, and reads all of them.
async fn echo(socket: &Path, pid: u32, count: usize, pieces: Pieces, reading: Reading) {
    let (mut reader, mut writer) = UnixStream::connect(socket).await.unwrap().into_split();
    let mut out = Vec::new();
    let asked = Streamtype { version: 1, pid, tx_credit: CREDIT_UNLIMITED, name: b"ws" };
    encoded(ToProxy::Streamtype(asked), &mut out);
    encoded(ToProxy::OnwardConnect, &mut out);
    let mut wanted = Vec::new();
    for number in 0..count {
        let text = format!("message {number};");
        wanted.extend_from_slice(text.as_bytes());
        let piece = Piece::whole(text.as_bytes()).unwrap();
        let head = PayloadHead { flags: Flags::WHOLE, held_us: 0, written_us: 0 };
        encoded(ToProxy::Payload { head, rideshare: None, piece }, &mut out);
    }
    let writing = tokio::spawn(async move {
        let mut rng = Rng::new(count as u64);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let length = match pieces {
                Pieces::One => rest.len(),
                Pieces::Bytes => 1,
                Pieces::Random => 1 + rng.below(200) as usize,
            };
            let (piece, next) = rest.split_at(length.min(rest.len()));
            writer.write_all(piece).await.unwrap();
            rest = next;
            if !matches!(pieces, Pieces::One) {
                tokio::task::yield_now().await;
            }
        }
        writer
    });
    if reading == Reading::Stopped {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    let mut heard = Heard::default();
    while heard.ends < count {
        let most = if reading == Reading::Slow { 100 } else { 64 * 1024 };
        assert!(heard.read(&mut reader, most).await, "over after {} messages", heard.ends);
        if reading == Reading::Slow {
            tokio::task::yield_now().await;
        }
    }
    assert!(heard.text == wanted, "{count} {pieces:?} {reading:?}");
    // The client's end is noticed, whatever came before it.
    drop(timeout(PATIENCE, writing).await.expect("the proxy reads no more").unwrap());
    while heard.read(&mut reader, 1024).await {}
}

#[tokio::test]
async fn any_number_of_messages_in_one_read_come_back() {
    let world = World::with(|_, origin| {
        let port = origin.address.port();
        vec![world::Streamtype::at("ws", port).path("origin/ws/plain").ws().opportunistic()]
    })
    .await;
    for pid in [7, PID_CREDIT_BIT | 7] {
        for count in [1, 15, 16, 17, 33, 300, 5000] {
            for pieces in [Pieces::One, Pieces::Bytes, Pieces::Random] {
                if count == 5000 && matches!(pieces, Pieces::Bytes) {
                    continue;
                }
                for reading in [Reading::Fast, Reading::Slow, Reading::Stopped] {
                    echo(&world.socket, pid, count, pieces, reading).await;
                }
            }
        }
    }
}
