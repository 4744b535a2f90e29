//! WebSockets that are streams of an h2 connection (RFC 8441).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::ext::Protocol as Extended;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use sspc_policy::{Protocol, StreamType};
use sspc_wire::Flags;
use sspc_ws::MessageKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use super::support::{Seen, Server, account, listen, stream};
use super::whole::{certificate_with, greet};
use crate::identity::Identity;
use crate::onward::{Attempt, AttemptHandle, Event, Onward, OnwardConfig, TxChunk};

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// It takes websockets over h2.
    Websockets,
    /// The same, and the first gets a message without end, a byte at a time.
    Crumbs,
    /// It says so, and resets them.
    Resets,
    /// It has h2 without them.
    H2,
    Http1,
}

/// Over which protocol a websocket came, and the server's end of it.
type Accepted = (&'static str, Server<DuplexStream>);

struct World {
    policy: StreamType,
    onward: Arc<Onward>,
    connections: Arc<AtomicUsize>,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    /// Hears when all crumbs are sent.
    crumbs: mpsc::UnboundedReceiver<()>,
}

impl World {
    async fn new(offer: Offer) -> Self {
        let alpn: &[&str] = if offer == Offer::Http1 { &["http/1.1"] } else { &["h2", "http/1.1"] };
        let (acceptor, store) = certificate_with(alpn);
        let (listener, address) = listen().await;
        let mut policy = stream();
        policy.protocol = Protocol::Ws;
        policy.endpoint = Some("localhost".into());
        policy.port = address.port();
        policy.tls = true;
        policy.trust_store = Some(Arc::new(store));
        policy.ws.over_h2 = true;
        policy.ws.subprotocol = Some("chat".to_owned());
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let (found, accepted) = mpsc::unbounded_channel();
        let (crumbs, sent) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (io, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, found, crumbs) = (acceptor.clone(), found.clone(), crumbs.clone());
                tokio::spawn(async move {
                    let Ok(io) = acceptor.accept(io).await else { return };
                    match io.get_ref().1.alpn_protocol() {
                        Some(b"h2") => serve_h2(io, offer, found, crumbs).await,
                        _ => serve_http1(io, found).await,
                    }
                });
            }
        });
        Self {
            policy,
            onward: Onward::new(OnwardConfig::default()),
            connections,
            accepted,
            crumbs: sent,
        }
    }

    fn start(&self, policy: StreamType) -> AttemptHandle {
        let stream = Arc::new(policy);
        self.onward.start(Attempt {
            client: Identity::Unknown,
            account: account(),
            chain: vec![Arc::clone(&stream)],
            stream,
            metadata: Vec::new(),
            length_hint: None,
            bus: Default::default(),
            record: Default::default(),
        })
    }

    /// A websocket that works.
    async fn open(&mut self) -> (&'static str, AttemptHandle, Server<DuplexStream>) {
        let mut running = self.start(self.policy.clone());
        let (protocol, mut server) = tokio::select! {
            accepted = self.accepted.recv() => accepted.unwrap(),
            event = running.events.recv() => panic!("{event:?}"),
        };
        greet(&mut running, &mut server).await;
        (protocol, running, server)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve_http1(mut io: TlsStream<TcpStream>, found: mpsc::UnboundedSender<Accepted>) {
    let (near, mut far) = duplex(1 << 16);
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut io, &mut far).await });
    let _ = found.send(("http/1.1", Server::upgrade(near, None).await));
}

async fn serve_h2(
    io: TlsStream<TcpStream>,
    offer: Offer,
    found: mpsc::UnboundedSender<Accepted>,
    crumbs: mpsc::UnboundedSender<()>,
) {
    let mut builder = h2::server::Builder::new();
    if !matches!(offer, Offer::H2 | Offer::Http1) {
        builder.enable_connect_protocol();
    }
    let mut has_begun = false;
    let mut connection = builder.handshake::<_, Bytes>(io).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.method() != http::Method::CONNECT {
            respond.send_response(Response::new(()), true).unwrap();
        } else if offer == Offer::Resets {
            respond.send_reset(Reason::INTERNAL_ERROR);
        } else if offer == Offer::Crumbs && !std::mem::replace(&mut has_begun, true) {
            tokio::spawn(send_crumbs(respond, crumbs.clone()));
        } else {
            let _ = found.send(("h2", accept(request, respond)));
        }
    }
}

/// As many as the stream's window has room for, or nearly.
async fn send_crumbs(mut respond: SendResponse<Bytes>, sent: mpsc::UnboundedSender<()>) {
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    let head = [0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0];
    for byte in head.into_iter().chain(std::iter::repeat_n(b'x', 200_000)) {
        sending.reserve_capacity(1);
        std::future::poll_fn(|cx| sending.poll_capacity(cx)).await.unwrap().unwrap();
        sending.send_data(Bytes::copy_from_slice(&[byte]), false).unwrap();
    }
    sent.send(()).unwrap();
    std::future::pending::<()>().await;
}

fn accept(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Server<DuplexStream> {
    let protocol = request.extensions().get::<Extended>().map(Extended::as_str);
    assert_eq!(protocol, Some("websocket"));
    assert_eq!(request.uri().path_and_query().unwrap(), "/chat?room=1");
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("sec-websocket-version"), Some("13"));
    assert_eq!(header("sec-websocket-protocol"), Some("chat"));
    for name in ["sec-websocket-key", "upgrade", "connection", "host"] {
        assert_eq!(header(name), None, "{name}");
    }
    let answer = Response::builder().header("sec-websocket-protocol", "chat");
    let mut sending = respond.send_response(answer.body(()).unwrap(), false).unwrap();
    let mut receiving = request.into_body();
    let (near, far) = duplex(1 << 16);
    let (mut read, mut write) = split(far);
    tokio::spawn(async move {
        while let Some(Ok(bytes)) = receiving.data().await {
            write.write_all(&bytes).await.unwrap();
            receiving.flow_control().release_capacity(bytes.len()).unwrap();
        }
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let size = read.read(&mut buffer).await.unwrap();
            let mut rest = &buffer[..size];
            while !rest.is_empty() {
                sending.reserve_capacity(rest.len());
                let Some(Ok(_)) = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await else {
                    return;
                };
                let (part, next) = rest.split_at(sending.capacity().min(rest.len()));
                sending.send_data(Bytes::copy_from_slice(part), false).unwrap();
                rest = next;
            }
            if size == 0 {
                let _ = sending.send_data(Bytes::new(), true);
                return;
            }
        }
    });
    Server::open(near)
}

#[tokio::test]
async fn websockets_share_the_connection_of_requests() {
    let mut world = World::new(Offer::Websockets).await;
    let (protocol, mut first, mut server) = world.open().await;
    assert_eq!(protocol, "h2");
    let (protocol, second, mut other) = world.open().await;
    assert_eq!(protocol, "h2");
    let mut get = world.policy.clone();
    get.protocol = Protocol::H2;
    let mut request = world.start(get);
    let event = request.events.recv().await;
    assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
    assert_eq!(world.connections(), 1);

    // One goes, and the other stays.
    drop(second);
    assert!(matches!(other.next().await, Seen::Close(_) | Seen::Eof | Seen::Reset));
    server.binary(b"still here").await;
    match first.events.recv().await {
        Some(Event::Payload { bytes, .. }) => assert_eq!(bytes, "still here"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.connections(), 1);
}

#[tokio::test]
async fn long_messages_pass_both_ways() {
    const LENGTH: usize = 2 << 20;
    let mut world = World::new(Offer::Websockets).await;
    let (_, mut running, mut server) = world.open().await;
    let body = running.body.clone();
    let sending = tokio::spawn(async move {
        for at in (0..LENGTH).step_by(4096) {
            let som = if at == 0 { Flags::SOM } else { Flags::NONE };
            let eom = if at + 4096 == LENGTH { Flags::EOM } else { Flags::NONE };
            let bytes = Bytes::from(vec![(at >> 12) as u8; 4096]);
            body.send(TxChunk::new(bytes, som | eom)).await.unwrap();
        }
    });
    let Seen::Message(MessageKind::Binary, message) = server.next().await else { panic!() };
    sending.await.unwrap();
    assert_eq!(message.len(), LENGTH);
    assert!(message.iter().enumerate().all(|(at, byte)| *byte == (at >> 12) as u8));

    let expected = message.clone();
    let answering = tokio::spawn(async move {
        server.binary(&message).await;
        server
    });
    let mut got = Vec::new();
    while got.len() < LENGTH {
        match running.events.recv().await {
            Some(Event::Payload { bytes, .. }) => got.extend_from_slice(&bytes),
            other => panic!("{other:?} after {}", got.len()),
        }
    }
    assert!(got == expected);
    drop(answering.await.unwrap());
}

/// The stream's end, without and with a goodbye, leaves the connection to the others.
#[tokio::test]
async fn the_servers_end_is_the_streams_alone() {
    let mut world = World::new(Offer::Websockets).await;
    let (_, mut running, server) = world.open().await;
    let (_, mut other, mut others_server) = world.open().await;
    drop(server);
    let event = running.events.recv().await;
    assert!(matches!(event, Some(Event::Ended(_))), "{event:?}");
    others_server.binary(b"on").await;
    assert!(matches!(other.events.recv().await, Some(Event::Payload { .. })));
    assert_eq!(world.connections(), 1);
}

/// A stream that is closed as it should be does not count among those that servers end a connection
/// for.
#[tokio::test]
async fn many_come_and_go_on_one_connection() {
    let mut world = World::new(Offer::Websockets).await;
    for turn in 0..40 {
        let (_, mut running, mut server) = world.open().await;
        // The proxy goes away.
        running.body = mpsc::channel(1).0;
        assert_eq!(server.next().await, Seen::Close(Some(1001)), "{turn}");
        server.raw(&[0x88, 2, 0x03, 0xe9]).await;
        drop(server);
        let event = running.events.recv().await;
        assert!(matches!(event, Some(Event::Ended(_))), "{event:?}");
    }
    assert_eq!(world.connections(), 1);
}

/// The h2 crate ends a connection with 131,584 frames that nobody has taken.
#[tokio::test]
async fn a_message_in_single_bytes_that_nobody_reads_harms_no_other() {
    let mut world = World::new(Offer::Crumbs).await;
    let mut unread = world.start(world.policy.clone());
    let event = unread.events.recv().await;
    assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
    world.crumbs.recv().await.unwrap();
    let (protocol, ..) = world.open().await;
    assert_eq!((protocol, world.connections()), ("h2", 1));
}

#[tokio::test]
async fn servers_that_do_not_take_them_are_asked_over_http1() {
    for offer in [Offer::H2, Offer::Http1, Offer::Resets] {
        let mut world = World::new(offer).await;
        let (protocol, ..) = world.open().await;
        assert_eq!((protocol, world.connections()), ("http/1.1", 2), "{offer:?}");
        // The second time at once.
        let (protocol, ..) = world.open().await;
        assert_eq!((protocol, world.connections()), ("http/1.1", 3), "{offer:?}");
    }
}

#[tokio::test]
async fn nobody_is_asked_over_h2_unless_the_policy_says_so() {
    let mut world = World::new(Offer::Websockets).await;
    world.policy.ws.over_h2 = false;
    let (protocol, ..) = world.open().await;
    assert_eq!((protocol, world.connections()), ("http/1.1", 1));
}
