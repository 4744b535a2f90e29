//! The demo's own web server: h1, h2 and websocket, clear and over TLS. It is the other witness:
//! the demo reports what the proxy did onward as this server saw it.

mod answers;
mod certs;
mod routes;
mod ws;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use answers::Body;
use certs::Identity;
pub(super) use routes::{TOGETHER, hello, upload_answer};
pub(super) use ws::price;

/// Most streams at once on one h2 connection; above what the demo asks for.
const MAX_STREAMS: u32 = 1_000;

/// One connection as the origin saw it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Its number, from 0.
    pub(super) number: usize,
    /// The version of TLS, such as `TLS 1.3`; `None` if it was clear.
    pub(super) tls: Option<&'static str>,
    /// `h1`, `h2` or, once upgraded, `ws`.
    pub(super) protocol: Mutex<&'static str>,
    /// Requests it carried.
    pub(super) requests: AtomicU64,
    /// Whether permessage-deflate was agreed on.
    pub(super) deflate: Mutex<Option<String>>,
    /// When the ticker's first messages were sent.
    pub(super) ticks: Mutex<Vec<Instant>>,
}

/// The running server; it ends when this is dropped.
pub(super) struct Origin {
    /// Where it speaks HTTP/1.1 in the clear.
    pub(super) clear: SocketAddr,
    /// Where it speaks TLS.
    pub(super) tls: SocketAddr,
    /// The certificate authority to trust, DER.
    pub(super) authority: Vec<u8>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// What all connections share.
struct Shared {
    connections: Mutex<Vec<Arc<Connection>>>,
    together: tokio::sync::Barrier,
}

impl Origin {
    /// Starts it on free ports of 127.0.0.1.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let identity = Identity::new()?;
        let clear = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (clear_address, tls_address) = (clear.local_addr()?, tls.local_addr()?);
        let shared = Arc::new(Shared {
            connections: Mutex::default(),
            together: tokio::sync::Barrier::new(TOGETHER),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(clear, None, Arc::clone(&shared)));
        tasks.spawn(accept(tls, Some(identity.tls.into()), Arc::clone(&shared)));
        Ok(Self {
            clear: clear_address,
            tls: tls_address,
            authority: identity.authority,
            shared,
            _tasks: tasks,
        })
    }

    /// Every connection that ever came.
    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        lock(&self.shared.connections).clone()
    }
}

impl Shared {
    fn record(&self, tls: Option<&'static str>, protocol: &'static str) -> Arc<Connection> {
        let mut connections = lock(&self.connections);
        let connection = Arc::new(Connection {
            number: connections.len(),
            tls,
            protocol: Mutex::new(protocol),
            ..Connection::default()
        });
        connections.push(Arc::clone(&connection));
        connection
    }
}

/// A panic elsewhere does not make a list of connections wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    connections.spawn(serve(socket, tls.clone(), Arc::clone(&shared)));
                }
                Err(error) => tracing::warn!(%error, "the origin cannot accept"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let Some(acceptor) = tls else {
        let connection = shared.record(None, "h1");
        return serve_h1(socket, connection, shared).await;
    };
    let socket = match acceptor.accept(socket).await {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%error, "the origin's TLS handshake failed"),
    };
    let session = socket.get_ref().1;
    let h2 = session.alpn_protocol() == Some(b"h2");
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let connection = shared.record(Some(version), if h2 { "h2" } else { "h1" });
    if h2 {
        serve_h2(socket, connection, shared).await;
    } else {
        serve_h1(socket, connection, shared).await;
    }
}

/// Answers and counts the requests of a connection.
fn service(
    connection: Arc<Connection>,
    shared: Arc<Shared>,
) -> impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send> + Send {
    service_fn(move |request| {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(&shared));
        async move { Ok::<_, Infallible>(routes::answer(request, &connection, &shared).await) }
    })
}

async fn serve_h1<S>(socket: S, connection: Arc<Connection>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let server =
        http1::Builder::new().serve_connection(TokioIo::new(socket), service(connection, shared));
    if let Err(error) = server.with_upgrades().await {
        tracing::debug!(%error, "an h1 connection of the origin ended");
    }
}

async fn serve_h2<S>(socket: S, connection: Arc<Connection>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(MAX_STREAMS);
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
    if let Err(error) =
        builder.serve_connection(TokioIo::new(socket), service(connection, shared)).await
    {
        tracing::debug!(%error, "an h2 connection of the origin ended");
    }
}
