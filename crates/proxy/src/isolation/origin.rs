//! The servers: good ones, which also do not put up with everything, and one that is evil.

use std::future::poll_fn;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sspc_sim::Rng;
use sspc_ws::{Decoder, Encoder, Event, Role, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use super::client::content;
use super::honest::LONG;

/// As nginx: a connection ends with a request whose head is longer,
const HEAD_MAX: usize = 8 * 1024;
/// or when so many of its streams were cancelled.
const CANCELLED_MAX: usize = 100;
/// How long `/late` takes to answer.
const LATE: Duration = Duration::from_secs(8);
/// Most bytes that the evil server sends on a connection.
const EVIL_MAX: usize = 200_000;

const NO_MASK: [u8; 4] = [0; 4];

/// Starts all servers, each on a socket of its name.
pub(super) fn start(folder: &Path) {
    let listen = |name: &str| UnixListener::bind(folder.join(name)).unwrap();
    spawn(listen("h1"), |socket, _| h1(socket));
    spawn(listen("h2"), |socket, _| h2(socket));
    spawn(listen("ws"), |socket, _| ws(socket));
    spawn(listen("raw"), |socket, _| raw(socket));
    spawn(listen("evil"), evil);
}

fn spawn<F>(listener: UnixListener, serve: fn(UnixStream, u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, number));
            number += 1;
        }
    });
}

async fn h1(socket: UnixStream) {
    let answer = |request: Request<Incoming>| async move {
        let body = match request.uri().path() {
            "/echo" => request.into_body().collect().await?.to_bytes(),
            _ => Bytes::from("hello"),
        };
        Ok::<_, hyper::Error>(head("h1").body(Full::new(body)).expect("a response"))
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let _ = builder.serve_connection(TokioIo::new(socket), service_fn(answer)).await;
}

fn head(name: &str) -> http::response::Builder {
    Response::builder().header("server", name)
}

async fn h2(socket: UnixStream) {
    let mut builder = ::h2::server::Builder::new();
    // So that what is too long comes here, and not to the library's end.
    builder.max_header_list_size(1 << 20).max_concurrent_streams(128);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    let (cancel, mut cancelled) = tokio::sync::mpsc::unbounded_channel();
    let mut count = 0;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, answer))) = accepted else { return };
                let length = request.uri().to_string().len()
                    + request.headers().values().map(|value| value.len()).sum::<usize>();
                if length > HEAD_MAX {
                    connection.abrupt_shutdown(::h2::Reason::ENHANCE_YOUR_CALM);
                    continue;
                }
                let cancel = cancel.clone();
                tokio::spawn(async move {
                    if answer_h2(request, answer).await.is_none() {
                        let _ = cancel.send(());
                    }
                });
            }
            Some(()) = cancelled.recv() => {
                count += 1;
                if count == CANCELLED_MAX {
                    connection.abrupt_shutdown(::h2::Reason::ENHANCE_YOUR_CALM);
                }
            }
        }
    }
}

/// `None` if the client cancelled it.
async fn answer_h2(
    request: Request<::h2::RecvStream>,
    mut answer: ::h2::server::SendResponse<Bytes>,
) -> Option<()> {
    let path = request.uri().path().to_owned();
    let body = match path.as_str() {
        "/echo" => {
            let mut stream = request.into_body();
            let mut body = Vec::new();
            while let Some(data) = stream.data().await {
                let data = data.ok()?;
                let _ = stream.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            Bytes::from(body)
        }
        "/long" => content(LONG).into(),
        "/late" => {
            tokio::select! {
                () = sleep(LATE) => {}
                _ = poll_fn(|cx| answer.poll_reset(cx)) => return None,
            }
            Bytes::from("late")
        }
        _ => Bytes::from("hello"),
    };
    let head = head("h2").body(()).expect("a response");
    let mut stream = answer.send_response(head, false).ok()?;
    let mut rest = body;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let part = rest.split_to(room.min(rest.len()));
        let ends = rest.is_empty();
        stream.send_data(part, ends).ok()?;
    }
    Some(())
}

async fn ws(mut socket: UnixStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = socket.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let Some((_, key)) = key else { return };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        handshake::accept_key(key)
    );
    if socket.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut decoder = Decoder::new(Role::Server, None);
    let mut encoder = Encoder::new(Role::Server, None);
    let (mut buffer, mut scratch, mut out) = (vec![0; 16 * 1024], [0; 4096], Vec::new());
    while let Ok(length @ 1..) = socket.read(&mut buffer).await {
        let mut input = &buffer[..length];
        while let Ok(Some(event)) = decoder.decode(&mut input, &mut scratch) {
            match event {
                Event::Data(piece) => encoder.piece(piece, NO_MASK, &mut out).unwrap(),
                Event::Close(_) => return,
                _ => {}
            }
        }
        if socket.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

async fn raw(mut socket: UnixStream) {
    let (mut reader, mut writer) = socket.split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

/// Does something else on each connection.
async fn evil(mut socket: UnixStream, number: u64) {
    let mut rng = Rng::new(number);
    match number % 8 {
        0 => {}
        1 => sleep(Duration::from_secs(100)).await,
        2 => {
            let noise: Vec<u8> = (0..5000).map(|_| rng.bits() as u8).collect();
            let _ = socket.write_all(&noise).await;
        }
        3 => {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n").await;
            repeat(&mut socket, b"x-again: and again\r\n").await;
        }
        4 => {
            let _ =
                socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            repeat(&mut socket, b"1\r\nx\r\n").await;
        }
        5 => {
            let early = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
            let _ = socket.write_all(early).await;
            sleep(Duration::from_secs(1)).await;
        }
        6 => {
            let loop_ = b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
            repeat(&mut socket, loop_).await;
        }
        _ => small_frames(socket).await,
    }
}

async fn repeat(socket: &mut UnixStream, bytes: &[u8]) {
    let mut sent = 0;
    while sent < EVIL_MAX && socket.write_all(bytes).await.is_ok() {
        sent += bytes.len();
    }
}

/// h2, and DATA frames of one byte each.
async fn small_frames(socket: UnixStream) {
    let Ok(mut connection) = ::h2::server::handshake(socket).await else { return };
    while let Some(Ok((_, mut answer))) = connection.accept().await {
        let sending = async move {
            let mut stream = answer.send_response(Response::new(()), false).ok()?;
            for _ in 0..EVIL_MAX {
                stream.reserve_capacity(1);
                poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
                stream.send_data(Bytes::from_static(b"x"), false).ok()?;
            }
            Some(())
        };
        tokio::spawn(sending);
    }
}
