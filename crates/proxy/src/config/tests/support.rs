//! A client of a proxy, and servers for it. Everything is in one runtime whose time is paused, over
//! pipes in memory and Unix sockets, which deliver at once: the clock moves only when nobody has
//! anything to do.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sspc_policy::{Policy, Source};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Config, MemoryBound, Proxy};

/// What is seen of a proxy of this configuration, in the knob's unit.
pub(super) type Observation = fn(Config) -> Pin<Box<dyn Future<Output = u64>>>;

/// A knob's value as a number: ms, bytes, or how many.
pub(super) trait Setting {
    const LARGEST: Self;

    fn from_number(number: u64) -> Self;
}

impl Setting for usize {
    const LARGEST: Self = Self::MAX;

    fn from_number(number: u64) -> Self {
        number.try_into().unwrap()
    }
}

impl Setting for u32 {
    const LARGEST: Self = Self::MAX;

    fn from_number(number: u64) -> Self {
        number.try_into().unwrap()
    }
}

impl Setting for MemoryBound {
    const LARGEST: Self = Self::Bytes(usize::MAX);

    fn from_number(number: u64) -> Self {
        Self::Bytes(number.try_into().unwrap())
    }
}

impl Setting for Duration {
    const LARGEST: Self = Self::MAX;

    fn from_number(number: u64) -> Self {
        Self::from_millis(number)
    }
}

pub(super) fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future)
}

pub(super) fn ms_since(start: Instant) -> u64 {
    start.elapsed().as_millis().try_into().unwrap()
}

/// A proxy whose streamtype `s` has these settings.
pub(super) fn proxy(config: Config, settings: &str) -> Proxy {
    proxy_with(config, r#""retry": [{"soon": {"backoff": [1], "conceal": 9}}]"#, settings)
}

/// The same with these sections of the policy before the streamtype.
pub(super) fn proxy_with(mut config: Config, sections: &str, settings: &str) -> Proxy {
    let text = format!(r#"{{{sections}, "s": [{{"s": {{{settings}}}}}]}}"#);
    config.policy = Policy::parse(&Source::new("test", &text)).unwrap().policy.into();
    Proxy::new(config).unwrap()
}

/// A server's socket.
pub(super) struct Origin {
    folder: TempDir,
    listener: UnixListener,
}

impl Origin {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("origin")).unwrap();
        Self { folder, listener }
    }

    /// The settings of a streamtype that connects here, and these others.
    pub(super) fn settings(&self, others: &str) -> String {
        let path = self.folder.path().join("origin");
        format!(r#""endpoint": "+{}", {others}"#, path.display())
    }

    pub(super) async fn accept(&self) -> UnixStream {
        self.listener.accept().await.unwrap().0
    }

    /// Accepts, reads a request of one packet and answers it.
    pub(super) async fn answer(&self, answer: &str) -> UnixStream {
        let mut link = self.accept().await;
        assert!(link.read(&mut [0; 4096]).await.unwrap() > 0);
        link.write_all(answer.as_bytes()).await.unwrap();
        link
    }
}

/// What a client may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Created(u8),
    Credit(i32),
    State(State),
    Other,
    Closed,
}

/// A client, with the link of one stream.
pub(super) struct Client<L> {
    pub(super) link: L,
    decoder: ToClientDecoder,
    input: Vec<u8>,
}

impl Client<DuplexStream> {
    /// Over a pipe that holds `size` bytes each way, and the proxy's side of it.
    pub(super) fn over_pipe(proxy: &Proxy, size: usize) -> (Self, JoinHandle<()>) {
        let (far, near) = duplex(size);
        let (reader, writer) = split(near);
        let serving = tokio::spawn(proxy.handle().serve_link(reader, writer, "pipe"));
        (Self::new(far), serving)
    }

    /// The same with a stream that connects onward.
    pub(super) async fn connecting(proxy: &Proxy) -> Self {
        let (mut client, _) = Self::over_pipe(proxy, 4096);
        client.create(7, "s").await;
        client.until(Seen::State(State::Creating)).await;
        client.send(ToProxy::OnwardConnect).await;
        client.until(Seen::State(State::Connecting)).await;
        client
    }
}

impl<L: AsyncRead + AsyncWrite + Unpin> Client<L> {
    pub(super) fn new(link: L) -> Self {
        Self { link, decoder: ToClientDecoder::new(), input: Vec::new() }
    }

    pub(super) async fn send(&mut self, frame: ToProxy<'_>) {
        let mut bytes = vec![0; 65_536];
        let length = frame.encode(&mut bytes).unwrap();
        // A proxy that is gone shows in what is read.
        let _ = self.link.write_all(&bytes[..length]).await;
    }

    pub(super) async fn create(&mut self, pid: u32, name: &str) {
        let (tx_credit, name) = (CREDIT_UNLIMITED, name.as_bytes());
        self.send(ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name })).await;
    }

    pub(super) async fn payload(&mut self, bytes: &[u8], flags: Flags) {
        let (head, piece) = (PayloadHead::new(flags), Piece::whole(bytes).unwrap());
        self.send(ToProxy::Payload { head, rideshare: None, piece }).await;
    }

    pub(super) async fn next(&mut self) -> Seen {
        loop {
            let mut rest = &self.input[..];
            let frame = self.decoder.next(&mut rest).unwrap();
            let seen = frame.map(|frame| match frame {
                ToClient::CreateResult { result, .. } => Seen::Created(result),
                ToClient::TxCredit(credit) => Seen::Credit(credit),
                ToClient::State { state, .. } => Seen::State(state),
                _ => Seen::Other,
            });
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if let Some(seen) = seen {
                return seen;
            }
            if self.input.is_empty() && self.link.read_buf(&mut self.input).await.unwrap_or(0) == 0
            {
                return Seen::Closed;
            }
        }
    }

    pub(super) async fn until(&mut self, wanted: Seen) {
        loop {
            match self.next().await {
                seen if seen == wanted => return,
                Seen::Closed => panic!("closed instead of {wanted:?}"),
                _ => {}
            }
        }
    }

    /// Whether the proxy makes a stream.
    pub(super) async fn is_served(&mut self) -> bool {
        self.create(7, "s").await;
        match self.next().await {
            Seen::Created(result) => result == 0,
            Seen::Closed => false,
            other => panic!("{other:?} instead of CREATE_RESULT"),
        }
    }
}
