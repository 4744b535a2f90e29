//! A client that is the code under test, and a server to talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use sspc_policy::{Address, StreamType};
use sspc_wire::Flags;
use sspc_ws::{DecodeError, Decoder, DeflateParams, Encoder, MessageKind, Piece, Role, handshake};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::identity::Identity;
use crate::memory::{Account, Memory};
use crate::onward::attempt::queue::{self, EventReceiver};
use crate::onward::connect::{Perf, Reach, Route};
use crate::onward::ws::upgrade::{Upgrade, upgrade};
use crate::onward::ws::{Talk, speak};
use crate::onward::{End, Event, Failure, TxChunk};

/// How long the code under test waits for the answer to its upgrade, in these tests.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// What the policy's default gives a stream to buffer, bytes.
pub(super) const BUFLEN: usize = 32 * 1024;

/// A stream as its session sees it.
pub(super) struct Client {
    pub(super) events: EventReceiver,
    pub(super) body: Option<mpsc::Sender<TxChunk>>,
    task: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a message looks like to the session, pieces joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// How many payloads it came in, and how many of them were empty.
    pub(super) payloads: usize,
    pub(super) empty: usize,
}

pub(super) fn stream() -> StreamType {
    let mut stream = StreamType::new("ws");
    stream.http.url = "/chat?room=1".into();
    stream.ws.binary = true;
    stream
}

/// Where the streams' payload is charged.
pub(super) fn account() -> Arc<Account> {
    Arc::<Memory>::default().open_account(Identity::Unknown)
}

/// Where the streams say that they are; the servers are elsewhere.
pub(super) fn route() -> Route {
    Route {
        client: None,
        address: Address::Tcp { host: "example.com".to_owned(), port: 8080 },
        tls: None,
        client_cert: None,
        reach: Reach::Policy,
        way_out: None,
    }
}

/// Cookies are not kept.
pub(super) fn talk<'a>(
    request: &'a Upgrade<'a>,
    stream: &'a StreamType,
    perf: &'a Perf,
) -> Talk<'a> {
    Talk { request, stream, response_timeout: RESPONSE_TIMEOUT, perf, keep_cookies: &|_| {} }
}

impl Client {
    pub(super) fn over<S>(io: S, stream: StreamType) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (output, events) = queue::queue(BUFLEN, account());
        let (body, chunks) = mpsc::channel(8);
        let task = tokio::spawn(async move {
            let request = Upgrade {
                route: &route(),
                path: stream.http.url.as_str(),
                subprotocol: stream.ws.subprotocol.as_deref(),
                deflate: true,
                own: &HeaderMap::new(),
            };
            let perf = Perf::default();
            let talk = talk(&request, &stream, &perf);
            let end = speak(Box::pin(upgrade(io, &request)), talk, &output, chunks).await;
            let _ = output.event(Event::Ended(end)).await;
        });
        Self { events, body: Some(body), task }
    }

    pub(super) async fn tcp(server: SocketAddr, stream: StreamType) -> Self {
        Self::over(TcpStream::connect(server).await.unwrap(), stream)
    }

    pub(super) async fn connected(&mut self) {
        let event = self.events.recv().await;
        assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
    }

    pub(super) async fn send(&self, bytes: impl Into<Bytes>, flags: Flags) {
        let chunk = TxChunk::new(bytes.into(), flags);
        self.body.as_ref().unwrap().send(chunk).await.unwrap();
    }

    pub(super) async fn payload(&mut self) -> (Bytes, Flags) {
        match self.events.recv().await {
            Some(Event::Payload { bytes, flags }) => (bytes, flags),
            other => panic!("no payload: {other:?}"),
        }
    }

    pub(super) async fn message(&mut self) -> Message {
        let mut message = Message { bytes: Vec::new(), payloads: 0, empty: 0 };
        loop {
            let (bytes, flags) = self.payload().await;
            assert_eq!(flags.contains(Flags::SOM), message.payloads == 0, "SOM is on the first");
            message.payloads += 1;
            message.empty += usize::from(bytes.is_empty());
            message.bytes.extend_from_slice(&bytes);
            if flags.contains(Flags::EOM) {
                return message;
            }
        }
    }

    async fn end(&mut self) -> End {
        match self.events.recv().await {
            Some(Event::Ended(end)) => end,
            other => panic!("not the end: {other:?}"),
        }
    }

    pub(super) async fn lost(&mut self) -> String {
        match self.end().await {
            End::Failed(failure) => failure.why,
            other => panic!("not lost: {other:?}"),
        }
    }

    pub(super) async fn failed(&mut self) -> Failure {
        match self.end().await {
            End::Failed(failure) => failure,
            other => panic!("not failed: {other:?}"),
        }
    }
}

pub(super) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let line = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { line, headers }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The headers of the answer that every good server gives, up to the empty line.
    pub(super) fn answer(&self) -> String {
        let accept = handshake::accept_key(self.header("sec-websocket-key").unwrap());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
             connection: keep-alive, Upgrade\r\nsec-websocket-accept: {accept}\r\n"
        )
    }
}

/// What a server received, frames joined to messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The end of the transport.
    Eof,
    /// The transport was reset.
    Reset,
}

/// The server's end of one connection.
pub(super) struct Server<S> {
    pub(super) io: S,
    decoder: Decoder,
    encoder: Encoder,
    input: Vec<u8>,
    message: Vec<u8>,
}

impl Server<TcpStream> {
    /// Takes a connection and upgrades it; with permessage-deflate if it was negotiated.
    pub(super) async fn accept(listener: &TcpListener, deflate: Option<DeflateParams>) -> Self {
        let (io, _) = listener.accept().await.unwrap();
        Server::upgrade(io, deflate).await
    }
}

/// A client and its server, on TCP, with permessage-deflate if it was negotiated.
pub(super) async fn pair(
    stream: StreamType,
    deflate: Option<DeflateParams>,
) -> (Client, Server<TcpStream>) {
    let (listener, address) = listen().await;
    let mut client = Client::tcp(address, stream).await;
    let server = Server::accept(&listener, deflate).await;
    client.connected().await;
    (client, server)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    pub(super) async fn upgrade(mut io: S, deflate: Option<DeflateParams>) -> Self {
        let request = Request::read(&mut io).await;
        let mut answer = request.answer();
        let deflate = deflate.map(|wanted| {
            let offers = request.header("sec-websocket-extensions").unwrap();
            let (params, accepted) = handshake::answer(offers, wanted).unwrap();
            answer += &format!("sec-websocket-extensions: {accepted}\r\n");
            params
        });
        answer += "\r\n";
        io.write_all(answer.as_bytes()).await.unwrap();
        Self {
            io,
            decoder: Decoder::new(Role::Server, deflate),
            encoder: Encoder::new(Role::Server, deflate),
            input: Vec::new(),
            message: Vec::new(),
        }
    }

    /// On a connection that needs no upgrade.
    pub(super) fn open(io: S) -> Self {
        Self {
            io,
            decoder: Decoder::new(Role::Server, None),
            encoder: Encoder::new(Role::Server, None),
            input: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Sends one frame.
    pub(super) async fn frame(&mut self, kind: MessageKind, bytes: &[u8], last: bool) {
        let mut wire = Vec::new();
        let first = !self.encoder.in_message();
        self.encoder.piece(Piece { kind, first, last, bytes }, [0; 4], &mut wire).unwrap();
        self.io.write_all(&wire).await.unwrap();
    }

    pub(super) async fn binary(&mut self, bytes: &[u8]) {
        self.frame(MessageKind::Binary, bytes, true).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// What comes next; a message once it is whole.
    pub(super) async fn next(&mut self) -> Seen {
        loop {
            match self.decode() {
                Ok(Some(seen)) => return seen,
                Ok(None) => {}
                Err(error) => panic!("what was sent is against the rules: {error}"),
            }
            match self.io.read_buf(&mut self.input).await {
                Ok(0) => return Seen::Eof,
                Ok(_) => {}
                Err(_) => return Seen::Reset,
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Seen>, DecodeError> {
        let mut scratch = [0; 4096];
        loop {
            let mut input = self.input.as_slice();
            let event = self.decoder.decode(&mut input, &mut scratch)?;
            let taken = self.input.len() - input.len();
            let seen = match event {
                None => None,
                Some(sspc_ws::Event::Data(piece)) => {
                    self.message.extend_from_slice(piece.bytes);
                    if !piece.last {
                        self.input.drain(..taken);
                        continue;
                    }
                    Some(Seen::Message(piece.kind, std::mem::take(&mut self.message)))
                }
                Some(sspc_ws::Event::Ping(payload)) => Some(Seen::Ping(payload.as_bytes().into())),
                Some(sspc_ws::Event::Pong(payload)) => Some(Seen::Pong(payload.as_bytes().into())),
                Some(sspc_ws::Event::Close(close)) => {
                    Some(Seen::Close(close.map(|close| close.code().code())))
                }
                Some(other) => panic!("{other:?}"),
            };
            self.input.drain(..taken);
            return Ok(seen);
        }
    }
}
