//! Back-pressure: each direction waits for its own end alone.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use sspc_wire::Flags;
use sspc_ws::DeflateParams;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::support::{BUFLEN, Client, Seen, Server, pair, stream};
use crate::onward::{Event, PAYLOAD_EVENT_MAX};

const MIB: usize = 1 << 20;

/// The `i`th piece of a long message; neighbours differ.
fn piece(i: usize) -> Bytes {
    static PATTERN: LazyLock<Bytes> =
        LazyLock::new(|| (0..8192_usize).map(|j| (j ^ (j >> 5) ^ (j >> 11)) as u8).collect());
    let start = i % 4096;
    PATTERN.slice(start..start + 4096)
}

/// Both directions at once, as one message of `len` bytes each way.
async fn both_ways(deflate: Option<DeflateParams>, len: usize) {
    let (mut client, server) = pair(stream(), deflate).await;
    let pieces = len / 4096;
    let body = client.body.take().unwrap();
    let up = tokio::spawn(async move {
        for i in 0..pieces {
            let som = if i == 0 { Flags::SOM } else { Flags::NONE };
            let eom = if i + 1 == pieces { Flags::EOM } else { Flags::NONE };
            let chunk = crate::onward::TxChunk::new(piece(i), som | eom);
            body.send(chunk).await.unwrap();
        }
        body
    });
    let echo = tokio::spawn(echo(server, deflate));
    let mut received = 0;
    let mut left = Bytes::new();
    loop {
        let (mut bytes, flags) = client.payload().await;
        assert_eq!(flags.contains(Flags::SOM), received == 0);
        while !bytes.is_empty() {
            if left.is_empty() {
                left = piece(received / 4096);
            }
            let n = bytes.len().min(left.len());
            assert!(bytes.split_to(n) == left.split_to(n), "at {received}");
            received += n;
        }
        if flags.contains(Flags::EOM) {
            break;
        }
    }
    assert_eq!(received, len);
    drop(up.await.unwrap());
    echo.await.unwrap();
    client.lost().await;
}

/// Sends back what it gets, piece by piece, until it gets a close.
async fn echo(server: Server<TcpStream>, deflate: Option<DeflateParams>) {
    use sspc_ws::{Decoder, Encoder, Event, Role, handshake};
    // As negotiated; the client always gives its context up.
    let params = deflate.map(|wanted| {
        let alpn = "permessage-deflate; client_no_context_takeover; client_max_window_bits";
        handshake::answer(alpn, wanted).unwrap().0
    });
    let mut decoder = Decoder::new(Role::Server, params);
    let mut encoder = Encoder::new(Role::Server, params);
    let mut io = server.io;
    let (mut scratch, mut buffer, mut out) = (vec![0; 8192], vec![0; 8192], Vec::new());
    loop {
        let n = io.read(&mut buffer).await.unwrap();
        let mut input = &buffer[..n];
        while let Some(event) = decoder.decode(&mut input, &mut scratch).unwrap() {
            match event {
                Event::Data(piece) => encoder.piece(piece, [0; 4], &mut out).unwrap(),
                Event::Close(_) => {
                    encoder.close(None, [0; 4], &mut out).unwrap();
                    io.write_all(&out).await.unwrap();
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        io.write_all(&out).await.unwrap();
        out.clear();
    }
}

#[tokio::test]
async fn sixty_four_mib_pass_both_ways_at_once() {
    both_ways(None, 64 * MIB).await;
}

#[tokio::test]
async fn compressed_messages_have_no_limit_either() {
    both_ways(Some(DeflateParams::default()), 16 * MIB).await;
}

/// Writes until the socket has taken nothing for a while; gives how much it took. A stop can only
/// be seen by waiting; a slow machine makes this pass too early, never fail.
async fn write_until_stuck(io: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut taken = 0;
    let patience = std::time::Duration::from_millis(300);
    while let Ok(written) = tokio::time::timeout(patience, io.write(bytes)).await {
        taken += written.unwrap();
        assert!(taken < 256 * MIB, "nothing stops the server");
    }
    taken
}

/// A frame that is longer than anything that will be sent of it.
const ENDLESS: &[u8] = b"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00";

#[tokio::test]
async fn a_session_that_does_not_take_stops_the_server_and_not_its_own_messages() {
    let (mut client, mut server) = pair(stream(), None).await;
    server.raw(ENDLESS).await;
    let taken = write_until_stuck(&mut server.io, &[0x5a; 16 * 1024]).await;

    // Our own way stays open meanwhile.
    client.send("are you there?", Flags::WHOLE).await;
    let mut frame = [0; 6 + 14];
    server.io.read_exact(&mut frame).await.unwrap();

    // All that the server wrote is there once it is asked for, and no more than the queue's limit
    // was held outside of the sockets.
    let mut waiting = 0;
    while let Some(Event::Payload { bytes, .. }) = client.events.try_recv() {
        waiting += bytes.len();
        assert!(waiting <= BUFLEN + PAYLOAD_EVENT_MAX);
    }
    drop(server);
    let mut received = waiting;
    loop {
        match client.events.recv().await {
            Some(Event::Payload { bytes, .. }) => received += bytes.len(),
            Some(Event::Ended(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, taken);
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_the_client_and_not_its_own_messages() {
    let (mut client, mut server) = pair(stream(), None).await;
    let body = client.body.clone().unwrap();
    let mut queued = 0;
    loop {
        let flags = if queued == 0 { Flags::SOM } else { Flags::NONE };
        let chunk = crate::onward::TxChunk::new(piece(queued), flags);
        let patience = std::time::Duration::from_millis(300);
        match tokio::time::timeout(patience, body.send(chunk)).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => break,
        }
        queued += 1;
        assert!(queued * 4096 < 256 * MIB, "nothing stops the client");
    }
    // The other way is open, also for messages beyond every buffer.
    let message = vec![0x5a; 4 * MIB];
    let sending = tokio::spawn(async move {
        server.binary(&message).await;
        server
    });
    assert_eq!(client.message().await.bytes.len(), 4 * MIB);
    drop(sending.await.unwrap());
}

/// With both directions stuck, each must come free by itself.
#[tokio::test]
async fn neither_direction_waits_for_the_other() {
    let (client, mut server) = pair(stream(), None).await;
    server.raw(ENDLESS).await;
    write_until_stuck(&mut server.io, &[0x5a; 16 * 1024]).await;
    let body = client.body.clone().unwrap();
    let filling = tokio::spawn(async move {
        for i in 0..16 * MIB / 4096 {
            let flags = if i == 0 { Flags::SOM } else { Flags::NONE };
            let chunk = crate::onward::TxChunk::new(piece(i), flags);
            body.send(chunk).await.unwrap();
        }
    });
    // The server reads all of it without the session taking anything.
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    while received < 16 * MIB {
        received += server.io.read(&mut buffer).await.unwrap();
    }
    filling.await.unwrap();
}

/// Notes which way bytes went.
struct Noted(DuplexStream, Arc<Mutex<String>>);

impl Noted {
    fn note(&self, way: char) {
        self.1.lock().unwrap().push(way);
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.0).poll_read(cx, buf);
        if result.is_ready() {
            self.note('r');
        }
        result
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note('w');
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Without the policy's word for it, it is a matter of chance which way goes first.
#[tokio::test]
async fn all_that_has_come_is_read_before_anything_is_written_if_the_policy_says_so() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let notes = Arc::<Mutex<String>>::default();
    let mut stream = stream();
    stream.ws.prioritize_reads = true;
    let mut client = Client::over(Noted(near, Arc::clone(&notes)), stream);
    let mut server = Server::upgrade(far, None).await;
    client.connected().await;
    for turn in 0..50 {
        notes.lock().unwrap().clear();
        // Both are there when the stream's task runs again.
        server.binary(b"theirs").await;
        client.send("ours", Flags::WHOLE).await;
        assert!(matches!(server.next().await, Seen::Message(..)));
        client.payload().await;
        let notes = notes.lock().unwrap();
        assert!(notes.starts_with('r') && notes.contains('w'), "{turn}: {notes}");
    }
}
