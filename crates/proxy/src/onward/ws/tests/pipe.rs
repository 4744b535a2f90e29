//! A pipe of bytes over binary messages.

use std::io::ErrorKind;

use bytes::Bytes;
use sspc_ws::{CloseCode, Decoder, Encoder, Event, MessageKind, Piece, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::onward::ws::pipe::Pipe;
use crate::onward::ws::upgrade::Upgraded;

/// The server's end.
struct Server {
    io: DuplexStream,
    decoder: Decoder,
    encoder: Encoder,
}

/// Both ends of a connection that was upgraded; the server has sent `early` with its answer.
fn ends(early: Vec<u8>, size: usize) -> (Pipe<DuplexStream>, Server) {
    let (near, io) = duplex(size);
    let upgraded = Upgraded {
        io: near,
        headers: http::HeaderMap::new(),
        early: Bytes::from(early),
        deflate: None,
    };
    let (decoder, encoder) = (Decoder::new(Role::Server, None), Encoder::new(Role::Server, None));
    (Pipe::new(upgraded), Server { io, decoder, encoder })
}

impl Server {
    fn frame(&mut self, first: bool, last: bool, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let piece = Piece { kind: MessageKind::Binary, first, last, bytes };
        self.encoder.piece(piece, [0; 4], &mut out).unwrap();
        out
    }

    /// What the client sent until it ends, as words.
    async fn heard(mut self) -> (Vec<u8>, Vec<String>) {
        let mut received = Vec::new();
        self.io.read_to_end(&mut received).await.unwrap();
        let (mut input, mut scratch) = (&received[..], [0; 4096]);
        let (mut data, mut others) = (Vec::new(), Vec::new());
        while let Some(event) = self.decoder.decode(&mut input, &mut scratch).unwrap() {
            match event {
                Event::Data(piece) => {
                    assert_eq!(piece.kind, MessageKind::Binary);
                    data.extend_from_slice(piece.bytes);
                }
                Event::Pong(payload) => {
                    others.push(format!("pong {}", String::from_utf8_lossy(payload.as_bytes())));
                }
                Event::Close(frame) => {
                    others.push(format!("close {}", frame.map_or(0, |frame| frame.code().code())));
                }
                other => panic!("{other:?}"),
            }
        }
        (data, others)
    }
}

#[tokio::test]
async fn messages_and_fragments_are_one_row_of_bytes_and_pings_between_are_answered() {
    let (_, mut maker) = ends(Vec::new(), 1);
    let early = maker.frame(true, false, b"one ");
    let (mut pipe, mut server) = ends(early, 64 * 1024);
    let mut rest = maker.frame(false, false, b"");
    maker.encoder.ping(b"there?", [0; 4], &mut rest).unwrap();
    rest.extend(maker.frame(false, true, b"two "));
    rest.extend(maker.frame(true, true, b""));
    rest.extend(maker.frame(true, true, b"three"));
    maker.encoder.close(Some((CloseCode::NORMAL, "")), [0; 4], &mut rest).unwrap();
    // One byte after another, so that each place where a read may end is met.
    for byte in rest {
        server.io.write_all(&[byte]).await.unwrap();
    }
    let mut text = String::new();
    pipe.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one two three");
    drop(pipe);
    assert_eq!(server.heard().await.1, ["pong there?", "close 1000"]);
}

#[tokio::test]
async fn what_is_written_arrives_whole_however_slowly_it_is_read() {
    let (mut pipe, server) = ends(Vec::new(), 100);
    let sent: Vec<u8> = (0..100_000).map(|n: u32| (n % 251) as u8).collect();
    let writing = async {
        pipe.write_all(&sent).await.unwrap();
        pipe.flush().await.unwrap();
        pipe.shutdown().await.unwrap();
    };
    let ((), (data, others)) = tokio::join!(writing, server.heard());
    assert_eq!(data, sent);
    assert_eq!(others, ["close 1000"]);
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_is_named_and_told() {
    let text = {
        let mut out = Vec::new();
        let piece = Piece { kind: MessageKind::Text, first: true, last: true, bytes: b"x" };
        Encoder::new(Role::Server, None).piece(piece, [0; 4], &mut out).unwrap();
        out
    };
    let goodbye = {
        let mut out = Vec::new();
        let reason = Some((CloseCode::POLICY, "not you\n"));
        Encoder::new(Role::Server, None).close(reason, [0; 4], &mut out).unwrap();
        out
    };
    for (sent, kind, why, close) in [
        (&text[..], ErrorKind::InvalidData, "a text message", 1003),
        (&[0x82, 0x81, 0, 0, 0, 0, 1], ErrorKind::InvalidData, "frame of a server is masked", 1002),
        (&[0xc2, 0x01, 1], ErrorKind::InvalidData, "a reserved bit is set", 1002),
        (&goodbye, ErrorKind::ConnectionAborted, "code 1008: not you\\n", 1008),
    ] {
        let (mut pipe, mut server) = ends(Vec::new(), 64 * 1024);
        server.io.write_all(sent).await.unwrap();
        let error = pipe.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        // It stays so.
        assert_eq!(pipe.read_u8().await.unwrap_err().kind(), kind);
        drop(pipe);
        assert_eq!(server.heard().await.1, [format!("close {close}")]);
    }
}

/// A server that pings and never reads takes no more memory than one buffer.
#[tokio::test]
async fn a_flood_of_pings_is_not_kept() {
    let (mut pipe, mut server) = ends(Vec::new(), 1024);
    let mut pings = Vec::new();
    for _ in 0..10_000 {
        server.encoder.ping(&[0; 125], [0; 4], &mut pings).unwrap();
    }
    pings.extend(server.frame(true, true, b"!"));
    let sending = async { server.io.write_all(&pings).await.unwrap() };
    let (byte, ()) = tokio::join!(pipe.read_u8(), sending);
    assert_eq!(byte.unwrap(), b'!');
    assert!(pipe.waiting() <= 17 * 1024, "{}", pipe.waiting());
}
