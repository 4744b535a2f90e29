//! A scripted proxy at a real socket.

use std::collections::VecDeque;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use sspc::line::Line;
use sspc::{Address, Flags, State};
use sspc_wire::{ToProxy, ToProxyDecoder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use crate::harness::{created, name_of, payload, state};

/// Where a client may find the proxy.
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
    Line(Line),
}

/// Another abstract name at each call.
pub(crate) fn abstract_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("sspc-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Listener {
    /// Listens at an abstract name.
    pub(crate) fn at_name(name: &str) -> (Self, Address) {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = UnixListener::from_std(listener).unwrap();
        (Self::Unix(listener), format!("uds:@{name}").parse().unwrap())
    }

    pub(crate) fn new() -> (Self, Address) {
        Self::at_name(&abstract_name())
    }

    pub(crate) fn at_path(path: &std::path::Path) -> (Self, Address) {
        let listener = UnixListener::bind(path).unwrap();
        (Self::Unix(listener), format!("uds:{}", path.display()).parse().unwrap())
    }

    pub(crate) async fn at_port() -> (Self, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
        (Self::Tcp(listener), address)
    }

    pub(crate) async fn accept(&self) -> Peer {
        let socket: Box<dyn Socket> = match self {
            Self::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Line(line) => Box::new(line.accept().await.unwrap()),
        };
        let decoder = ToProxyDecoder::new();
        Peer { socket, decoder, heard: VecDeque::new(), body: Vec::new() }
    }
}

pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// One client's stream at the proxy.
pub(crate) struct Peer {
    socket: Box<dyn Socket>,
    decoder: ToProxyDecoder,
    heard: VecDeque<String>,
    /// All payload that came.
    pub(crate) body: Vec<u8>,
}

impl Peer {
    /// The client's next frame as text, payload only when its message ends; `None` at the end.
    pub(crate) async fn hear(&mut self) -> Option<String> {
        while self.heard.is_empty() {
            let mut buf = vec![0; 65_536];
            let length = self.socket.read(&mut buf).await.unwrap_or(0);
            if length == 0 {
                return None;
            }
            let mut input = &buf[..length];
            while let Some(frame) = self.decoder.next(&mut input).unwrap() {
                if let ToProxy::Payload { head, piece, .. } = frame {
                    self.body.extend_from_slice(piece.data);
                    if !head.flags_of(&piece).contains(Flags::EOM) {
                        continue;
                    }
                    self.heard.push_back(format!("message, {} in all", self.body.len()));
                } else {
                    self.heard.push_back(name_of(&frame));
                }
            }
        }
        self.heard.pop_front()
    }

    pub(crate) async fn expect(&mut self, frame: &str) {
        assert_eq!(self.hear().await.as_deref(), Some(frame));
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn say_state(&mut self, to: State) {
        self.say(&state(to)).await;
    }

    /// Takes the stream on.
    pub(crate) async fn create(&mut self) {
        let streamtype = self.hear().await.unwrap();
        assert!(streamtype.starts_with("STREAMTYPE"), "{streamtype}");
        self.say(&[created(), state(State::Creating)].concat()).await;
    }

    /// Connects, as the client asks.
    pub(crate) async fn connect(&mut self) {
        self.expect("ONWARD_CONNECT").await;
        self.say(&[state(State::Connecting), state(State::Connected)].concat()).await;
    }

    pub(crate) async fn say_payload(&mut self, data: &[u8], flags: Flags) {
        self.say(&payload(data, flags)).await;
    }

    /// The client has nothing more to say.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.hear().await, None);
    }
}
