//! The origin.

use sspc_ws::handshake;
use sspc_ws::{Decoder, DeflateParams, Encoder, Event, Piece, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Failed;

/// A server does not mask what it sends.
const NO_MASK: [u8; 4] = [0; 4];

/// Serves for ever.
pub(super) async fn run(ws: u16, raw: u16) -> Result<(), Failed> {
    let ws = TcpListener::bind(("127.0.0.1", ws)).await?;
    let raw = TcpListener::bind(("127.0.0.1", raw)).await?;
    loop {
        tokio::select! {
            accepted = ws.accept() => {
                let (socket, _) = accepted?;
                socket.set_nodelay(true)?;
                tokio::spawn(echo(socket));
            }
            accepted = raw.accept() => {
                let (mut socket, _) = accepted?;
                tokio::spawn(async move {
                    let mut taken = [0; 1024];
                    while socket.read(&mut taken).await.is_ok_and(|read| read > 0) {}
                });
            }
        }
    }
}

/// Each message goes back. It takes permessage-deflate, but not at `/plain`.
async fn echo(mut socket: TcpStream) -> Result<(), Failed> {
    let (mut received, mut buffer, mut scratch) = (Vec::new(), [0; 4096], [0; 4096]);
    let end = loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        let read = socket.read(&mut buffer).await?;
        if read == 0 || received.len() > 16384 {
            return Err("no request".into());
        }
        received.extend_from_slice(buffer.get(..read).unwrap_or_default());
    };
    let rest = received.split_off(end);
    let request = String::from_utf8(received)?;
    let agreed = match request.starts_with("GET /plain ") {
        true => None,
        false => handshake::answer(
            &header(&request, "sec-websocket-extensions"),
            DeflateParams::default(),
        ),
    };
    let accept = handshake::accept_key(&header(&request, "sec-websocket-key"));
    let extension = agreed
        .as_ref()
        .map(|(_, answer)| format!("Sec-WebSocket-Extensions: {answer}\r\n"))
        .unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
    );
    socket.write_all(answer.as_bytes()).await?;

    let deflate = agreed.map(|(params, _)| params);
    let mut decoder = Decoder::new(Role::Server, deflate);
    let mut encoder = Encoder::new(Role::Server, deflate);
    let (mut input, mut out, mut message) = (rest.as_slice(), Vec::new(), Vec::new());
    loop {
        match decoder.decode(&mut input, &mut scratch)? {
            Some(Event::Data(piece)) => {
                message.extend_from_slice(piece.bytes);
                if piece.last {
                    let whole = Piece { first: true, bytes: &message, ..piece };
                    encoder.piece(whole, NO_MASK, &mut out)?;
                    message.clear();
                }
            }
            Some(Event::Ping(payload)) => encoder.pong(payload.as_bytes(), NO_MASK, &mut out)?,
            Some(Event::Close(_)) => {
                encoder.close(None, NO_MASK, &mut out)?;
                socket.write_all(&out).await?;
                return Ok(());
            }
            Some(_) => {}
            None => {
                socket.write_all(&out).await?;
                out.clear();
                let read = socket.read(&mut buffer).await?;
                if read == 0 {
                    return Ok(());
                }
                input = buffer.get(..read).unwrap_or_default();
            }
        }
    }
}

/// A header of the request; empty if there is none.
fn header(request: &str, name: &str) -> String {
    let fields = request.lines().filter_map(|line| line.split_once(':'));
    let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}
