//! A WebSocket client over a plain TCP socket: sends one message, prints the answer, and closes.
//!
//! ```text
//! cargo run -p sspc-ws --example client -- 127.0.0.1:8765 / 'Hello there'
//! ```

use std::error::Error;
use std::io::{Read, Write, stderr, stdout};
use std::net::TcpStream;

use sspc_ws::handshake::{self, DeflateOffer};
use sspc_ws::{CloseCode, Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, message] = arguments.as_slice() else {
        return Err("usage: client HOST:PORT PATH MESSAGE".into());
    };
    let mut socket = TcpStream::connect(address)?;
    let (deflate, early) = upgrade(&mut socket, address, path)?;
    writeln!(stderr(), "connected, {deflate:?}")?;

    let mut encoder = Encoder::new(Role::Client, deflate);
    let mut decoder = Decoder::new(Role::Client, deflate);
    let mut out = Vec::new();
    let kind = MessageKind::Text;
    let piece = Piece { kind, first: true, last: true, bytes: message.as_bytes() };
    encoder.piece(piece, rand::random(), &mut out)?;
    socket.write_all(&out)?;

    let (mut buffer, mut scratch) = ([0; 16384], [0; 16384]);
    let mut input = early.as_slice();
    while !decoder.is_closed() {
        out.clear();
        match decoder.decode(&mut input, &mut scratch) {
            Ok(Some(Event::Data(piece))) => {
                stdout().write_all(piece.bytes)?;
                if piece.last {
                    writeln!(stdout())?;
                    if !encoder.is_closed() {
                        encoder.close(Some((CloseCode::NORMAL, "")), rand::random(), &mut out)?;
                    }
                }
            }
            Ok(Some(Event::Ping(payload))) => {
                encoder.pong(payload.as_bytes(), rand::random(), &mut out)?;
            }
            Ok(Some(Event::Close(_))) if !encoder.is_closed() => {
                encoder.close(None, rand::random(), &mut out)?;
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                let len = socket.read(&mut buffer)?;
                if len == 0 {
                    return Err("the server ended the connection without closing".into());
                }
                input = &buffer[..len];
            }
            Err(error) => {
                encoder.close(Some((error.close_code(), "")), rand::random(), &mut out)?;
                socket.write_all(&out)?;
                return Err(error.into());
            }
        }
        socket.write_all(&out)?;
    }
    Ok(())
}

/// The opening handshake: what was negotiated, and what the server sent after its answer. A real
/// client leaves HTTP to a library.
fn upgrade(
    socket: &mut TcpStream,
    host: &str,
    path: &str,
) -> Result<(Option<DeflateParams>, Vec<u8>), Box<dyn Error>> {
    let key = handshake::client_key(rand::random());
    let offer = DeflateOffer::default();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {}\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n",
        handshake::VERSION
    )?;
    let mut received = Vec::new();
    let end = loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        let mut buffer = [0; 1024];
        let len = socket.read(&mut buffer)?;
        if len == 0 || received.len() > 16384 {
            return Err("no answer to the handshake".into());
        }
        received.extend_from_slice(&buffer[..len]);
    };
    let early = received.split_off(end + 4);
    let answer = String::from_utf8(received)?;
    if !answer.starts_with("HTTP/1.1 101 ") {
        return Err(format!("refused: {}", answer.lines().next().unwrap_or_default()).into());
    }
    if header(&answer, "Sec-WebSocket-Accept") != handshake::accept_key(&key) {
        return Err("the answer does not belong to our key".into());
    }
    let extensions = header(&answer, "Sec-WebSocket-Extensions");
    Ok((handshake::negotiate(Some(&offer), &extensions)?, early))
}

/// All values of a header, joined as one list.
fn header(answer: &str, name: &str) -> String {
    let values: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    values.join(", ")
}
