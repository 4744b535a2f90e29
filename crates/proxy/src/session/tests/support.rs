//! A session with its client's end of the link and its peers' ends of the attempts in our hands.

use std::time::Duration;

use sspc_policy::{MetadataItem, Protocol, Retry, StreamType};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, PayloadHead, ToClientDecoder};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, duplex, split};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(super) use std::sync::Arc;

pub(super) use bytes::Bytes;
use bytes::BytesMut;

pub(super) use sspc_policy::Policy;
pub(super) use sspc_wire::Streamtype;
pub(super) use tokio_util::sync::CancellationToken;

use super::super::attempt::RunningAttempt;
use super::super::*;
use crate::access::Gate;
pub(super) use crate::config::{Limits, Timeouts};
pub(super) use crate::counters::Counts;
use crate::observe::Observer;
use crate::onward::{Attempt, TxChunk};

impl LinkReader for ReadHalf<DuplexStream> {
    async fn gone(&self) {
        pending().await
    }
}

impl LinkWriter for tokio::io::WriteHalf<DuplexStream> {
    const IS_NARROW: bool = false;

    // Then frames are cut as on a Unix socket.
    fn tells_when_read(&self) -> bool {
        true
    }
}

/// A starter whose attempts are answered by the test.
#[derive(Clone)]
pub(super) struct Script(mpsc::UnboundedSender<Started>);

impl Script {
    /// A starter and the attempts that it starts.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Started>) {
        let (sender, attempts) = mpsc::unbounded_channel();
        (Self(sender), attempts)
    }
}

/// An attempt as its remote peer sees it.
pub(super) struct Started {
    pub(super) attempt: Attempt,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) body: mpsc::Receiver<TxChunk>,
}

pub(super) struct AttemptHandle {
    events: mpsc::Receiver<Event>,
    body: mpsc::Sender<TxChunk>,
}

impl AttemptStarter for Script {
    type RunningAttempt = AttemptHandle;

    fn supports(&self, protocol: Protocol) -> bool {
        matches!(protocol, Protocol::H1 | Protocol::H2 | Protocol::Ws | Protocol::Raw)
    }

    fn start(&self, attempt: Attempt) -> AttemptHandle {
        let (event_sender, events) = mpsc::channel(4);
        let (body, body_receiver) = mpsc::channel(4);
        let _ = self.0.send(Started { attempt, events: event_sender, body: body_receiver });
        AttemptHandle { events, body }
    }
}

impl RunningAttempt for AttemptHandle {
    type EventReceiver = mpsc::Receiver<Event>;

    fn queues(&mut self) -> (&mut mpsc::Receiver<Event>, &mut mpsc::Sender<TxChunk>) {
        (&mut self.events, &mut self.body)
    }
}

impl EventStream for mpsc::Receiver<Event> {
    fn recv(&mut self) -> impl Future<Output = Option<Event>> + Send {
        mpsc::Receiver::recv(self)
    }

    fn try_recv(&mut self) -> Option<Event> {
        mpsc::Receiver::try_recv(self).ok()
    }
}

impl Started {
    /// Says Connected, as an attempt of this streamtype does.
    pub(super) async fn say_connected(&self) {
        self.event(Event::connected(&self.attempt.stream)).await;
    }

    pub(super) async fn event(&self, event: Event) {
        self.events.send(event).await.expect("the session listens");
    }

    pub(super) async fn payload(&self, text: &'static str, flags: Flags) {
        self.event(Event::Payload { bytes: Bytes::from_static(text.as_bytes()), flags }).await;
    }

    /// True if nothing more comes, and the attempt is to leave.
    pub(super) async fn is_to_leave(&mut self) -> bool {
        timeout(Duration::from_secs(600), self.body.recv()).await.is_ok_and(|chunk| chunk.is_none())
    }

    /// The next chunk as text with its flags.
    pub(super) async fn chunk(&mut self) -> String {
        let chunk = self.body.recv().await.expect("the session sends");
        format!("{} {}", chunk.flags, String::from_utf8_lossy(&chunk.bytes))
    }

    /// The next `length` bytes, in however many chunks.
    pub(super) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend_from_slice(&self.body.recv().await.expect("the session sends").bytes);
        }
        assert_eq!(bytes.len(), length);
        bytes
    }

    /// Ready once the session has ended the attempt.
    pub(super) async fn ended(&self) {
        self.events.closed().await;
    }
}

/// A session at work.
pub(super) struct Rig<L> {
    pub(super) client: Client<L>,
    pub(super) attempts: mpsc::UnboundedReceiver<Started>,
    pub(super) counts: Arc<Counts>,
    pub(super) draining: CancellationToken,
    pub(super) closing: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

/// How a test's policy is made.
pub(super) fn policy() -> Policy {
    let mut retry = Retry::NONE.clone();
    retry.backoff_ms = vec![100, 200, 300];
    retry.conceal = 3;
    retry.jitter_percent = 20;
    let retry = Arc::new(retry);
    let mut policy = Policy::default();
    let mut add = |name: &str, change: &dyn Fn(&mut StreamType)| {
        let mut streamtype = StreamType::new(name);
        streamtype.opportunistic = true;
        streamtype.metadata = vec![
            MetadataItem { name: "q".to_owned(), header: None },
            MetadataItem { name: "srv".to_owned(), header: Some("server".to_owned()) },
        ];
        change(&mut streamtype);
        policy.streamtypes.insert(name.to_owned(), Arc::new(streamtype));
    };
    add("get", &|_| {});
    add("post", &|streamtype| streamtype.http.method = "POST".to_owned());
    add("ws", &|streamtype| streamtype.protocol = Protocol::Ws);
    add("raw", &|streamtype| streamtype.protocol = Protocol::Raw);
    add("urgent", &|streamtype| {
        streamtype.protocol = Protocol::Ws;
        streamtype.priority = 6;
    });
    add("small", &|streamtype| {
        streamtype.protocol = Protocol::Ws;
        streamtype.proxy_buflen = Some(4096);
        streamtype.client_buflen = 777;
    });
    add("retry", &|streamtype| {
        streamtype.protocol = Protocol::Ws;
        streamtype.opportunistic = false;
        streamtype.retry = Some(Arc::clone(&retry));
    });
    add("post-retry", &|streamtype| {
        streamtype.http.method = "POST".to_owned();
        streamtype.opportunistic = false;
        streamtype.retry = Some(Arc::clone(&retry));
    });
    add("nailed", &|streamtype| streamtype.nailed_up = true);
    add("ride1", &|streamtype| streamtype.rideshare = Some("ride2".to_owned()));
    add("ride2", &|_| {});
    add("server", &|streamtype| streamtype.server = true);
    add("sink", &|streamtype| streamtype.local_sink = true);
    policy
}

impl Rig<DuplexStream> {
    /// With a link in memory, so that the time can be paused.
    pub(super) fn new() -> Self {
        let (near, far) = duplex(64 * 1024);
        let (reader, writer) = split(near);
        Self::over(far, reader, writer)
    }

    /// With these rules of access.
    pub(super) fn at(gate: Arc<Gate>) -> Self {
        let (near, far) = duplex(64 * 1024);
        let (reader, writer) = split(near);
        Self::served(far, reader, writer, None, gate, Peer::Unknown)
    }

    /// The same for a client of this user.
    pub(super) fn as_user(gate: Arc<Gate>, uid: u32) -> Self {
        let (near, far) = duplex(64 * 1024);
        let (reader, writer) = split(near);
        let peer = Peer::Process { pid: None, uid, gid: uid, is_abstract: false };
        Self::served(far, reader, writer, None, gate, peer)
    }
}

impl Rig<UnixStream> {
    /// With a real socket.
    pub(super) fn unix() -> Self {
        let (near, far) = UnixStream::pair().expect("a socket pair");
        let (reader, writer) = near.into_split();
        Self::over(far, reader, writer)
    }
}

impl<L: AsyncRead + AsyncWrite + Unpin> Rig<L> {
    pub(super) fn over(far: L, reader: impl LinkReader, writer: impl LinkWriter) -> Self {
        Self::served(far, reader, writer, None, Gate::new(Default::default()), Peer::Unknown)
    }

    pub(super) fn observed(
        far: L,
        reader: impl LinkReader,
        writer: impl LinkWriter,
        observer: Option<Arc<Observer>>,
    ) -> Self {
        Self::served(far, reader, writer, observer, Gate::new(Default::default()), Peer::Unknown)
    }

    fn served(
        far: L,
        reader: impl LinkReader,
        writer: impl LinkWriter,
        observer: Option<Arc<Observer>>,
        gate: Arc<Gate>,
        peer: Peer,
    ) -> Self {
        let (starter, attempts) = Script::new();
        let counts = Arc::<Counts>::default();
        let draining = CancellationToken::new();
        let closing = CancellationToken::new();
        let context = SessionContext {
            id: 1,
            peer,
            excess: None,
            policy: Arc::new(policy()),
            starter,
            observer,
            gate,
            counts: Arc::clone(&counts),
            memory: Arc::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            draining: draining.clone(),
            closing: closing.clone(),
        };
        let task = tokio::spawn(run(context, reader, writer));
        Self { client: Client::new(far), attempts, counts, draining, closing, task }
    }

    /// The next attempt of the session.
    pub(super) async fn attempt(&mut self) -> Started {
        self.attempts.recv().await.expect("the session starts an attempt")
    }

    /// Creates a stream as deployed clients do, and reads the answer up to CREATING.
    pub(super) async fn open(&mut self, name: &str) {
        self.client.streamtype(name, 77, CREDIT_UNLIMITED).await;
        assert!(self.client.next().await.starts_with("CREATE 0 "));
        self.client.expect(&["CREATING"]).await;
    }

    /// Creates a stream and connects it.
    pub(super) async fn connected(&mut self, name: &str) -> Started {
        self.open(name).await;
        self.client.send(ToProxy::OnwardConnect).await;
        let started = self.attempt().await;
        started.say_connected().await;
        self.client.expect(&["CONNECTING", "CONNECTED"]).await;
        started
    }
}

/// The client's end of a link.
pub(super) struct Client<L> {
    pub(super) link: L,
    decoder: ToClientDecoder,
    input: BytesMut,
    /// Payload of a frame that has not come whole yet.
    partial: Vec<u8>,
}

impl<L: AsyncRead + AsyncWrite + Unpin> Client<L> {
    fn new(link: L) -> Self {
        Self { link, decoder: ToClientDecoder::new(), input: BytesMut::new(), partial: Vec::new() }
    }

    pub(super) async fn send(&mut self, frame: ToProxy<'_>) {
        self.send_bytes(&encoded(frame)).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.link.write_all(bytes).await.expect("the proxy is there");
    }

    pub(super) async fn streamtype(&mut self, name: &str, pid: u32, tx_credit: i32) {
        let name = name.as_bytes();
        self.send(ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name })).await;
    }

    pub(super) async fn payload(&mut self, text: &str, flags: Flags) {
        self.send_bytes(&payload(text.as_bytes(), flags)).await;
    }

    pub(super) async fn metadata(&mut self, name: &str, value: &str) {
        let value = Piece::whole(value.as_bytes()).expect("short");
        self.send(ToProxy::Metadata { name: name.as_bytes(), value }).await;
    }

    /// The next frame as text, `EOF` at the end.
    pub(super) async fn next(&mut self) -> String {
        loop {
            let mut rest = &self.input[..];
            let before = rest.len();
            let frame = self.decoder.next(&mut rest).expect("the proxy sends frames");
            let described = frame.and_then(|frame| match frame {
                ToClient::Payload { head, piece, .. } => {
                    self.partial.extend_from_slice(piece.data);
                    piece.is_last().then(|| {
                        let bytes = std::mem::take(&mut self.partial);
                        format!("RX {} {}", head.flags, String::from_utf8_lossy(&bytes))
                    })
                }
                other => Some(describe(other)),
            });
            let used = before - rest.len();
            let _ = self.input.split_to(used);
            if let Some(described) = described {
                return described;
            }
            if !self.input.is_empty() {
                continue;
            }
            if self.link.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                assert!(self.decoder.is_between_frames(), "the last frame is cut");
                return "EOF".to_owned();
            }
        }
    }

    pub(super) async fn expect(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.next().await, *expected);
        }
    }

    /// All frames up to the end.
    pub(super) async fn rest(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                end if end == "EOF" => return frames,
                frame => frames.push(frame),
            }
        }
    }

    /// Nothing comes for a while. To be used with paused time only.
    pub(super) async fn expect_silence(&mut self) {
        let waited = timeout(Duration::from_millis(50), self.next()).await;
        assert!(waited.is_err(), "{waited:?}");
    }
}

fn describe(frame: ToClient<'_>) -> String {
    match frame {
        ToClient::CreateResult { result, client_buflen, list } => {
            format!("CREATE {result} {client_buflen} {}", String::from_utf8_lossy(list.data))
        }
        ToClient::State { state, ordinal: 0 } => state.to_string(),
        ToClient::State { state, ordinal } => format!("{state}/{ordinal}"),
        ToClient::TxCredit(credit) => format!("TXCR {credit}"),
        ToClient::Metadata { name, value } => {
            let name = String::from_utf8_lossy(name);
            format!("MD {name}={}", String::from_utf8_lossy(value.data))
        }
        ToClient::Perf(piece) => format!("PERF {}", String::from_utf8_lossy(piece.data)),
        other => format!("{other:?}"),
    }
}

pub(super) fn encoded(frame: ToProxy<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let length = frame.encode(&mut bytes).expect("a legal frame");
    bytes.truncate(length);
    bytes
}

pub(super) fn payload(bytes: &[u8], flags: Flags) -> Vec<u8> {
    let piece = Piece::whole(bytes).expect("short enough");
    encoded(ToProxy::Payload { head: PayloadHead::new(flags), rideshare: None, piece })
}

pub(super) fn streamtype(name: &str) -> Vec<u8> {
    encoded(ToProxy::Streamtype(Streamtype {
        version: 1,
        pid: 77,
        tx_credit: CREDIT_UNLIMITED,
        name: name.as_bytes(),
    }))
}
