//! A web server for the proxy to connect to.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sspc_ws::{Encoder, MessageKind, Piece, Role, handshake};
use tokio::io::AsyncWriteExt;

/// What `/hello` answers.
pub(crate) const HELLO: &[u8] = b"<!DOCTYPE html>\n<title>Hello</title>\n\x00\xff not text\n";

/// Messages that `/messages` sends before it closes the connection.
pub(crate) const MESSAGES: [&str; 4] = ["one", "two\n", "", "four"];

/// The running server. It ends with the test's process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// Bytes of `/zeros/…` that were asked for by the connection so far.
    pub(crate) sent: Arc<AtomicU64>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let counter = Arc::clone(&counter);
                    let service = service_fn(move |request| {
                        let counter = Arc::clone(&counter);
                        async { Ok::<_, Infallible>(answer(request, counter).await) }
                    });
                    tokio::spawn(async move {
                        let mut first = [0; 3];
                        let is_h2 = socket.peek(&mut first).await.is_ok() && first == *b"PRI";
                        let socket = TokioIo::new(socket);
                        // However the connection ends, the clients tell what they saw of it.
                        if is_h2 {
                            let server = http2::Builder::new(TokioExecutor::new());
                            let _ = server.serve_connection(socket, service).await;
                        } else {
                            let server = http1::Builder::new().serve_connection(socket, service);
                            let _ = server.with_upgrades().await;
                        }
                    });
                }
            });
        });
        Self { address, sent }
    }

    /// A policy with a streamtype for each thing that this server does.
    pub(crate) fn policy(&self) -> String {
        let port = self.address.port();
        let refused = refused_port();
        let cut = cut_short();
        let stream = |name: &str, port: u16, more: &str| {
            format!(
                r#"{{"{name}": {{"endpoint": "127.0.0.1", "port": {port}, "opportunistic": true,
                   "metadata": [{{"mime": "content-type"}}, {{"path": ""}}], {more}}}}}"#
            )
        };
        let streams = [
            stream("hello", port, r#""http_url": "hello""#),
            stream("any", port, r#""http_url": "${path}""#),
            stream("missing", port, r#""http_url": "nowhere""#),
            stream("silent", port, r#""http_url": "silent""#),
            stream("upload", port, r#""http_url": "upload", "http_method": "POST""#),
            stream("messages", port, r#""protocol": "ws", "http_url": "messages""#),
            stream("refused", refused, r#""retry": "twice""#),
            stream("once", refused, r#""http_url": "hello""#),
            stream("cut", cut, r#""http_url": "hello""#),
        ];
        format!(
            r#"{{"retry": [{{"twice": {{"backoff": [10], "conceal": 2, "jitterpc": 1}}}}],
                "s": [{}]}}"#,
            streams.join(",\n")
        )
    }
}

/// A port where nobody listens.
fn refused_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that closes in the middle of each body.
fn cut_short() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
        }
    });
    port
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn full(bytes: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(bytes.into()).boxed())
}

async fn answer(request: Request<Incoming>, sent: Arc<AtomicU64>) -> Answer {
    let path = request.uri().path().to_owned();
    if let Some(len) = path.strip_prefix("/zeros/") {
        return Response::new(Zeros { left: len.parse().unwrap(), sent }.boxed());
    }
    match path.as_str() {
        "/hello" => {
            let mut answer = full(HELLO);
            let kind = header::HeaderValue::from_static("text/html");
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            answer
        }
        "/silent" => std::future::pending().await,
        "/upload" => upload(request).await,
        "/messages" => messages(request),
        _ => {
            let mut answer = full("no such page\n");
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    }
}

/// Answers how the length was told, and the body itself.
async fn upload(request: Request<Incoming>) -> Answer {
    let value = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let told = match (value(header::CONTENT_LENGTH), value(header::TRANSFER_ENCODING)) {
        (Some(length), None) => format!("length {length}\n"),
        (None, Some("chunked")) => "chunked\n".to_owned(),
        other => format!("{other:?}\n"),
    };
    match request.into_body().collect().await {
        Ok(body) => full([told.as_bytes(), &body.to_bytes()].concat()),
        // The client has left.
        Err(_) => full(told),
    }
}

/// A websocket that sends [`MESSAGES`] and closes.
fn messages(mut request: Request<Incoming>) -> Answer {
    let key = request.headers()[header::SEC_WEBSOCKET_KEY].to_str().unwrap();
    let accept = handshake::accept_key(key);
    let mut answer = full("");
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, "websocket".parse().unwrap());
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket = TokioIo::new(upgraded);
        let mut encoder = Encoder::new(Role::Server, None);
        let mut out = Vec::new();
        for message in MESSAGES {
            let bytes = message.as_bytes();
            let piece = Piece { kind: MessageKind::Text, first: true, last: true, bytes };
            encoder.piece(piece, [0; 4], &mut out).unwrap();
        }
        encoder.close(None, [0; 4], &mut out).unwrap();
        // The client may have had enough before.
        let _ = socket.write_all(&out).await;
        let _ = socket.shutdown().await;
    });
    answer
}

/// A body of zeros that counts what is taken of it.
struct Zeros {
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static BLOCK: [u8; 16 * 1024] = [0; 16 * 1024];
        let n = self.left.min(BLOCK.len() as u64);
        if n == 0 {
            return Poll::Ready(None);
        }
        self.left -= n;
        self.sent.fetch_add(n, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLOCK[..n as usize])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
