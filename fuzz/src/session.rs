//! Whole sessions of a proxy whose clients are hostile.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::Response;
use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, Handle, Proxy};
use sspc_sim::frames::{Owned, encode};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{State, ToClient, ToClientDecoder, ToProxyDecoder};
use sspc_ws::{DecodeError, Decoder, Encoder, Event, Role, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::frames::ToProxy;
use crate::virtual_time::{endpoint, play, serve};

/// Bytes that a link holds each way.
const LINK: usize = 4096;
/// How many links a client has at a time.
const LINKS: usize = 3;
/// How long the proxy may take to forget a client.
const FORGET_MAX: Duration = Duration::from_secs(3600);

const STREAMTYPES: [(&str, &str, &str); 9] = [
    ("get", "h1", r#""protocol": "h1", "http_url": "/${path}""#),
    ("get2", "h2", r#""protocol": "h2", "http_url": "/${path}", "nailed_up": true"#),
    ("post", "h1", r#""protocol": "h1", "http_method": "POST", "http_url": "/""#),
    ("post2", "h2", r#""protocol": "h2", "http_method": "PUT", "http_url": "/""#),
    (
        "form",
        "h1",
        r#""protocol": "h1", "http_method": "POST", "http_url": "/", "rideshare": "ride",
        "http_multipart_name": "a""#,
    ),
    (
        "ride",
        "h1",
        r#""protocol": "h1", "http_method": "POST", "http_url": "/",
        "http_multipart_name": "b""#,
    ),
    ("ws", "ws", r#""protocol": "ws", "http_url": "/""#),
    ("raw", "raw", r#""protocol": "raw""#),
    ("nobody", "nobody", r#""protocol": "h1", "http_url": "/""#),
];

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let streamtypes = STREAMTYPES.map(|(name, server, settings)| {
        let endpoint = endpoint(server);
        format!(
            r#"{{"{name}": {{"endpoint": "{endpoint}", "retry": "soon", "timeout_ms": 3000, {settings},
            "metadata": [{{"path": ""}}, {{"note": "x-note"}}, {{"length": "content-length:"}},
            {{"server": "server:"}}]}}}}"#
        )
    });
    let text = format!(
        r#"{{"retry": [{{"soon": {{"backoff": [100, 200], "conceal": 2, "jitterpc": 0}}}}],
        "s": [{}]}}"#,
        streamtypes.join(",")
    );
    let parsed = Policy::parse(&Source::new("fuzz.json", text));
    parsed.unwrap_or_else(|report| panic!("{}", report.render(false))).policy.into()
});

/// One thing that a client does on one of its links.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// Asks for one of the streamtypes, on a new link if need be.
    Streamtype(u8),
    Frame(Box<ToProxy>),
    Bytes(Vec<u8>),
    Connect,
    /// Payload of this length.
    Payload {
        flags: u8,
        length: u16,
    },
    /// Metadata that the policy knows.
    Metadata(u8, Vec<u8>),
    /// Takes up to so many bytes.
    Read(u16),
    /// So many ms pass.
    Wait(u16),
    /// Closes the link, for writing or altogether.
    Shutdown,
    Leave,
}

/// What the client does, and on which link.
#[derive(Arbitrary, Debug)]
pub struct Deeds(Vec<(u8, Step)>);

/// Does it all, and checks what holds of any session: the client gets right frames in a legal order,
/// and the proxy forgets it when it is gone.
pub fn session(deeds: Deeds) {
    play(async {
        // However a connection ends, the client sees it.
        serve("h1", |_, socket| async {
            let _ = h1(socket).await;
        });
        serve("h2", |_, socket| async {
            let _ = h2(socket).await;
        });
        serve("ws", |_, socket| async {
            let _ = ws(socket).await;
        });
        serve("raw", |_, socket| async {
            let _ = raw(socket).await;
        });
        let proxy = Proxy::new(Config::new(Arc::clone(&POLICY))).expect("a proxy");
        let handle = proxy.handle();
        let mut links: [Option<Link>; LINKS] = Default::default();
        for (index, step) in deeds.0 {
            let link = &mut links[usize::from(index) % LINKS];
            match step {
                Step::Leave => leave(link.take()).await,
                Step::Wait(ms) => sleep(Duration::from_millis(ms.into())).await,
                step => link.get_or_insert_with(|| Link::new(&handle)).step(step).await,
            }
        }
        for link in links {
            leave(link).await;
        }
        assert_eq!(handle.counters().sessions_open, 0);
    });
}

async fn leave(link: Option<Link>) {
    let Some(link) = link else { return };
    drop(link.far);
    let served = timeout(FORGET_MAX, link.served).await;
    served.expect("no session outlives its client").expect("a session that did not panic");
}

struct Link {
    far: DuplexStream,
    served: JoinHandle<()>,
    decoder: ToClientDecoder,
    is_created: bool,
    state: Option<State>,
}

impl Link {
    fn new(handle: &Handle) -> Self {
        let (far, near) = duplex(LINK);
        let (reader, writer) = split(near);
        Self {
            far,
            served: tokio::spawn(handle.serve_link(reader, writer, "fuzz")),
            decoder: ToClientDecoder::new(),
            is_created: false,
            state: None,
        }
    }

    async fn step(&mut self, step: Step) {
        let frame = match step {
            Step::Bytes(bytes) => return self.write(&bytes).await,
            Step::Read(room) => return self.read(room.into()).await,
            Step::Shutdown => {
                let _ = self.far.shutdown().await;
                return;
            }
            Step::Streamtype(index) => {
                let (name, ..) = STREAMTYPES[usize::from(index) % STREAMTYPES.len()];
                let name = name.as_bytes().to_vec();
                Owned::Streamtype { version: 1, pid: 7, tx_credit: CREDIT_UNLIMITED, name }
            }
            Step::Connect => Owned::OnwardConnect,
            Step::Payload { flags, length } => {
                let head = sspc_wire::PayloadHead::new(sspc_wire::Flags::from_bits(flags.into()));
                let rideshare = (flags & 0x20 != 0).then(|| b"ride".to_vec());
                Owned::Payload { head, rideshare, data: vec![b'p'; length.into()] }
            }
            Step::Metadata(index, mut value) => {
                let name = ["path", "note", "length", "server"][usize::from(index) % 4];
                value.push(b'0');
                Owned::Metadata { name: name.as_bytes().to_vec(), value }
            }
            Step::Frame(frame) => (*frame).into(),
            Step::Wait(_) | Step::Leave => return,
        };
        if let Ok(bytes) = encode::<ToProxyDecoder>(&frame) {
            self.write(&bytes).await;
        }
    }

    /// As much as the proxy takes, so perhaps not whole frames.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_millis(20), self.far.write_all(bytes)).await;
    }

    async fn read(&mut self, room: usize) {
        let mut buffer = vec![0; room];
        let read = timeout(Duration::from_millis(1), self.far.read(&mut buffer)).await;
        let Ok(Ok(length)) = read else { return };
        let mut input = &buffer[..length];
        while let Some(frame) =
            self.decoder.next(&mut input).expect("frames of the proxy are right")
        {
            match frame {
                ToClient::CreateResult { .. } => {
                    assert!(!std::mem::replace(&mut self.is_created, true), "created twice");
                }
                ToClient::State { state, .. } => {
                    assert!(State::may_follow(state, self.state), "{state} after {:?}", self.state);
                    if !state.is_transparent() {
                        self.state = Some(state);
                    }
                }
                _ => {}
            }
            assert!(self.is_created, "CREATE_RESULT is the first");
        }
    }
}

// Servers that are as they should be.

/// Answers each head.
async fn h1(mut socket: UnixStream) -> std::io::Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\nserver: fuzz\r\ncontent-length: 5\r\n\r\nhello";
    let mut buffer = [0; 4096];
    loop {
        let length = socket.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if buffer[..length].windows(4).any(|at| at == b"\r\n\r\n") {
            socket.write_all(answer).await?;
        }
    }
}

async fn h2(socket: UnixStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(socket).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut answer) = accepted?;
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            let mut sending = answer.send_response(Response::new(()), false).ok()?;
            sending.send_data(Bytes::from_static(b"hello"), true).ok()
        });
    }
    Ok(())
}

async fn ws(mut socket: UnixStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, key) = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        handshake::accept_key(key)
    );
    socket.write_all(answer.as_bytes()).await.ok()?;
    let mut decoder = Decoder::new(Role::Server, None);
    let mut encoder = Encoder::new(Role::Server, None);
    let (mut buffer, mut scratch, mut out) = ([0; 4096], [0; 4096], Vec::new());
    loop {
        let length = socket.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        let mut input = &buffer[..length];
        loop {
            match decoder.decode(&mut input, &mut scratch) {
                Ok(None) => break,
                Ok(Some(Event::Data(piece))) => encoder.piece(piece, [0; 4], &mut out).ok()?,
                Ok(Some(Event::Close(_))) => return None,
                Ok(Some(_)) => {}
                // A client's text goes out as it is.
                Err(error @ DecodeError::InvalidUtf8) => {
                    encoder.close(Some((error.close_code(), "")), [0; 4], &mut out).ok()?;
                    socket.write_all(&out).await.ok()?;
                    return None;
                }
                Err(error) => panic!("all else is right: {error}"),
            }
        }
        socket.write_all(&out).await.ok()?;
        out.clear();
    }
}

async fn raw(mut socket: UnixStream) -> std::io::Result<u64> {
    let (mut reader, mut writer) = socket.split();
    tokio::io::copy(&mut reader, &mut writer).await
}
