//! Servers to talk to, and what a session would see of it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use sspc_policy::{MetadataItem, Protocol, StreamType, TrustStore};
use sspc_wire::Flags;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::identity::Identity;
use crate::memory::Memory;
use crate::onward::{
    Attempt, End, Event, EventReceiver, Onward, OnwardConfig, PAYLOAD_EVENT_MAX, TxChunk,
};

/// Long enough for anything that is going to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn config_with(change: impl FnOnce(&mut OnwardConfig)) -> OnwardConfig {
    let mut config = OnwardConfig::default();
    change(&mut config);
    config
}

pub(super) fn onward() -> Arc<Onward> {
    Onward::new(OnwardConfig::default())
}

/// A streamtype for a server on loopback.
pub(super) fn stream(protocol: Protocol, address: SocketAddr) -> StreamType {
    let mut stream = StreamType::new("test");
    stream.endpoint = Some(address.ip().to_string().as_str().into());
    stream.port = address.port();
    stream.protocol = protocol;
    stream
}

/// A metadata item as the policy's parser makes it.
pub(super) fn item(name: &str, header: &str) -> MetadataItem {
    let header = (!header.is_empty()).then(|| header.trim_end_matches(':').to_owned());
    MetadataItem { name: name.to_owned(), header }
}

pub(super) fn attempt(stream: &StreamType) -> Attempt {
    Attempt {
        client: Identity::Unknown,
        account: Arc::<Memory>::default().open_account(Identity::Unknown),
        stream: Arc::new(stream.clone()),
        chain: Vec::new(),
        metadata: Vec::new(),
        length_hint: None,
        bus: Default::default(),
        record: Default::default(),
    }
}

/// What a session sees of an attempt.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Everything but payload, in order: `Metadata`, `Connected`, …; payload as one `Payload` for
    /// each run of it.
    pub(super) order: Vec<&'static str>,
    pub(super) metadata: Vec<(String, Bytes)>,
    pub(super) perf: Option<String>,
    pub(super) states: Vec<u32>,
    pub(super) credit: i64,
    pub(super) body: Vec<u8>,
    /// The flags of each payload.
    pub(super) flags: Vec<u32>,
    pub(super) end: Option<End>,
}

impl Report {
    /// Notes an event; false after the last.
    pub(super) fn note(&mut self, event: Event) -> bool {
        let name = match event {
            Event::Metadata(items) => {
                self.metadata.extend(items);
                "Metadata"
            }
            Event::Perf(json) => {
                self.perf = Some(json);
                "Perf"
            }
            Event::UserState(state) => {
                self.states.push(state);
                "UserState"
            }
            Event::TxCredit(credit) => {
                self.credit += i64::from(credit);
                "TxCredit"
            }
            Event::Connected { .. } => "Connected",
            Event::Payload { bytes, flags } => {
                assert!(bytes.len() <= PAYLOAD_EVENT_MAX);
                self.body.extend_from_slice(&bytes);
                self.flags.push(flags.bits());
                "Payload"
            }
            Event::Acked { .. } => "Ack",
            Event::Nacked { .. } => "Nack",
            Event::Ended(end) => {
                self.end = Some(end);
                return false;
            }
        };
        if self.order.last() != Some(&name) || name != "Payload" {
            self.order.push(name);
        }
        true
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.end, Some(End::Complete))
    }

    /// Why the attempt failed before CONNECTED.
    pub(super) fn failure(&self) -> &str {
        match &self.end {
            Some(End::Failed(failure)) => &failure.why,
            other => panic!("not a failure: {other:?} after {:?}", self.order),
        }
    }

    /// Why the connection was lost after CONNECTED.
    pub(super) fn loss(&self) -> &str {
        match &self.end {
            Some(End::Failed(failure)) => &failure.why,
            other => panic!("not a loss: {other:?} after {:?}", self.order),
        }
    }
}

/// Everything that an attempt reports.
pub(super) async fn report(events: &mut EventReceiver) -> Report {
    let mut report = Report::default();
    let all = async {
        while let Some(event) = events.recv().await {
            if !report.note(event) {
                break;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        panic!("no end after {:?}", report.order);
    }
    assert!(report.end.is_some(), "the events stopped after {:?}", report.order);
    report
}

/// Runs an attempt without a body.
pub(super) async fn run(onward: &Arc<Onward>, attempt: Attempt) -> Report {
    report(&mut onward.start(attempt).events).await
}

/// Runs an attempt with this message as its body, in chunks of 1380 bytes.
pub(super) async fn send(onward: &Arc<Onward>, attempt: Attempt, message: &[u8]) -> Report {
    let mut running = onward.start(attempt);
    let body = running.body.clone();
    let message = Bytes::copy_from_slice(message);
    let sending = tokio::spawn(send_message(body, message));
    let report = report(&mut running.events).await;
    sending.abort();
    report
}

/// Sends a whole message; stops when nobody takes it.
pub(super) async fn send_message(body: tokio::sync::mpsc::Sender<TxChunk>, mut message: Bytes) {
    let mut flags = Flags::SOM;
    loop {
        let bytes = message.split_to(message.len().min(1380));
        let last = message.is_empty();
        let flags = std::mem::replace(&mut flags, Flags::NONE);
        let flags = if last { flags | Flags::EOM } else { flags };
        if body.send(TxChunk::new(bytes, flags)).await.is_err() || last {
            return;
        }
    }
}

/// Bytes that show any loss, repetition or exchange.
pub(super) fn pattern(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub(super) type Body = BoxBody<Bytes, Infallible>;

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A server in this process.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// TCP connections that it accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Hands each connection, with its number from 0, to a script.
    pub(super) async fn scripted<F, R>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(number, socket));
            }
        });
        Self { address, accepted }
    }

    /// Answers each connection's first request with these bytes, and closes.
    pub(super) async fn answering(answers: &'static [&'static str]) -> Self {
        Self::scripted(move |number, mut socket| async move {
            read_head(&mut socket).await;
            let answer = answers.get(number).or(answers.last()).unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, answer.as_bytes()).await;
        })
        .await
    }

    /// hyper's server with this handler; h2 by prior knowledge if `h2`, else http/1.1.
    pub(super) async fn http<F, R>(h2: bool, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + Clone + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::scripted(move |_, socket| serve(h2, socket, handler.clone())).await
    }

    /// The same over TLS; the protocol is negotiated among `alpn`.
    pub(super) async fn https<F, R>(
        certificate: &Certificate,
        alpn: &'static [&'static str],
        handler: F,
    ) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + Clone + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let acceptor = certificate.acceptor(alpn);
        Self::scripted(move |_, socket| {
            let (acceptor, handler) = (acceptor.clone(), handler.clone());
            async move {
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let h2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                serve(h2, socket, handler).await;
            }
        })
        .await
    }
}

async fn serve<F, R, S>(h2: bool, socket: S, handler: F)
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let response = handler(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let io = TokioIo::new(socket);
    if h2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // Windows that keep streams apart, as ours do.
        builder.max_concurrent_streams(1000);
        builder.initial_stream_window_size(64 << 10).initial_connection_window_size(4 << 20);
        let _ = builder.serve_connection(io, service).await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    }
}

/// Reads up to the blank line after a request's headers.
pub(super) async fn read_head(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A certificate, its key, and what to trust for it.
pub(super) struct Certificate {
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) key: Vec<u8>,
    pub(super) anchor: Vec<u8>,
}

impl Certificate {
    /// For these names, from a CA of its own.
    pub(super) fn for_names(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    /// The same with changes to the leaf.
    pub(super) fn with(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let anchor = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut leaf = rcgen::CertificateParams::new(names).unwrap();
        change(&mut leaf);
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        Self {
            chain: vec![leaf.der().to_vec()],
            key: key.serialize_der(),
            anchor: anchor.der().to_vec(),
        }
    }

    /// Signed by itself and marked as a CA, as `openssl req -x509` makes them.
    pub(super) fn self_signed(names: &[&str]) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        let der = cert.der().to_vec();
        Self { chain: vec![der.clone()], key: key.serialize_der(), anchor: der }
    }

    /// A trust store that holds the anchor.
    pub(super) fn store(&self) -> Option<Arc<TrustStore>> {
        let mut store = TrustStore::default();
        store.name = "anchors".to_owned();
        store.stack = vec!["anchor".to_owned()];
        store.certs = vec![self.anchor.clone().into()];
        Some(Arc::new(store))
    }

    pub(super) fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = self.chain.iter().map(|der| der.clone().into()).collect();
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
