//! A proxy at work, clients and servers for it.

use std::future::Future;
use std::sync::Arc;

use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, Handle, ListenAddress, Proxy};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A proxy that serves a socket in a folder of its own.
pub(crate) struct Serving {
    pub(crate) handle: Handle,
    pub(crate) folder: TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

pub(crate) fn policy(text: &str) -> Policy {
    match Policy::parse(&Source::new("test", text)) {
        Ok(parsed) => parsed.policy,
        Err(report) => panic!("{report:?}"),
    }
}

impl Serving {
    pub(crate) fn of(policy_text: &str) -> Self {
        Self::with(policy_text, |_| {})
    }

    pub(crate) fn with(policy_text: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(policy(policy_text));
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let mut proxy = Proxy::new(config).unwrap();
        let address = format!("uds:{}", folder.path().join("ss").display());
        let address: ListenAddress = address.parse().unwrap();
        assert_eq!(proxy.listen(&address).unwrap(), address);
        Self::run(proxy, folder)
    }

    pub(crate) fn run(proxy: Proxy, folder: TempDir) -> Self {
        let handle = proxy.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(proxy.run(async {
            // Dropped is as good as told.
            let _ = stopped.await;
        }));
        Self { handle, folder, stop, task }
    }

    pub(crate) async fn client(&self) -> Client<UnixStream> {
        Client::new(UnixStream::connect(self.folder.path().join("ss")).await.unwrap())
    }

    /// A client with a created stream.
    pub(crate) async fn stream(&self, name: &str) -> Client<UnixStream> {
        let mut client = self.client().await;
        client.streamtype(name).await;
        client.until("CREATING").await;
        client
    }

    /// Shuts the proxy down; ready when it has.
    pub(crate) async fn stop(self) -> TempDir {
        let _ = self.stop.send(());
        self.task.await.unwrap();
        self.folder
    }
}

/// What a client heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The create result and the states by name, in order.
    pub(crate) states: Vec<String>,
    /// The payload of each message, flags as they add up.
    pub(crate) messages: Vec<(Flags, Vec<u8>)>,
    /// Name, value and how many states had been heard before.
    pub(crate) metadata: Vec<(String, String, usize)>,
    is_open: bool,
}

impl Heard {
    /// Takes in all frames that `bytes` complete.
    pub(crate) fn take(&mut self, decoder: &mut ToClientDecoder, mut bytes: &[u8]) {
        while let Some(frame) = decoder.next(&mut bytes).unwrap() {
            match frame {
                ToClient::CreateResult { result, .. } => {
                    self.states.push(format!("CREATE {result}"));
                }
                ToClient::State { state, .. } => self.states.push(state.to_string()),
                ToClient::Metadata { name, value } => {
                    assert!(value.is_whole(), "short values only in here");
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    self.metadata.push((text(name), text(value.data), self.states.len()));
                }
                ToClient::Payload { head, piece, .. } => self.payload(head, &piece),
                _ => {}
            }
        }
    }

    fn payload(&mut self, head: PayloadHead, piece: &Piece<'_>) {
        let flags = head.flags_of(piece);
        if !self.is_open {
            self.messages.push((Flags::NONE, Vec::new()));
        }
        let (all, bytes) = self.messages.last_mut().unwrap();
        *all |= flags;
        bytes.extend_from_slice(piece.data);
        self.is_open = !flags.contains(Flags::EOM);
    }

    /// How much of it a peer may wait for: states and messages.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.states.len(), self.messages.len() - usize::from(self.is_open))
    }
}

/// A client that is written frame by frame.
pub(crate) struct Client<L> {
    pub(crate) link: L,
    pub(crate) heard: Heard,
    decoder: ToClientDecoder,
    /// States that were waited for.
    waited_for: usize,
}

impl<L: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<L> {
    pub(crate) fn new(link: L) -> Self {
        Self { link, heard: Heard::default(), decoder: ToClientDecoder::new(), waited_for: 0 }
    }

    pub(crate) async fn send(&mut self, frame: ToProxy<'_>) {
        let mut bytes = vec![0; 70_000];
        let length = frame.encode(&mut bytes).unwrap();
        self.link.write_all(&bytes[..length]).await.unwrap();
    }

    pub(crate) async fn streamtype(&mut self, name: &str) {
        let name = name.as_bytes();
        let (version, pid, tx_credit) = (1, 1, CREDIT_UNLIMITED);
        self.send(ToProxy::Streamtype(Streamtype { version, pid, tx_credit, name })).await;
    }

    pub(crate) async fn payload(&mut self, bytes: &[u8], flags: Flags) {
        let piece = Piece::whole(bytes).unwrap();
        let head = PayloadHead::new(flags);
        self.send(ToProxy::Payload { head, rideshare: None, piece }).await;
    }

    /// Reads once; false at the end.
    pub(crate) async fn read(&mut self) -> bool {
        let mut buffer = [0; 2048];
        let length = self.link.read(&mut buffer).await.unwrap_or(0);
        self.heard.take(&mut self.decoder, &buffer[..length]);
        length > 0
    }

    /// Reads until a state comes that was not waited for yet.
    pub(crate) async fn until(&mut self, state: &str) {
        loop {
            while let Some(heard) = self.heard.states.get(self.waited_for) {
                self.waited_for += 1;
                if heard == state {
                    return;
                }
            }
            assert!(self.read().await, "closed instead of {state}: {:?}", self.heard.states);
        }
    }

    /// Reads to the end.
    pub(crate) async fn until_closed(&mut self) {
        while self.read().await {}
    }
}

/// A server of our own; each connection is handled by the same function. Returns its port.
pub(crate) async fn server<F, S>(handle: F) -> u16
where
    F: Fn(TcpStream) -> S + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        loop {
            let Ok((link, _)) = listener.accept().await else { return };
            let handle = Arc::clone(&handle);
            tokio::spawn(async move { handle(link).await });
        }
    });
    port
}

/// A port at which nobody listens.
pub(crate) async fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// An HTTP/1 request: its head as text and its body by content-length.
pub(crate) async fn request<L: AsyncReadExt + Unpin>(link: &mut L) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(link.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let mut body = vec![0; length];
    link.read_exact(&mut body).await.unwrap();
    (head, body)
}

/// An HTTP/1 response with a body.
pub(crate) fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} So\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// True if the state is among those that were heard.
pub(crate) fn has(heard: &Heard, state: State) -> bool {
    heard.states.iter().any(|name| *name == state.to_string())
}
