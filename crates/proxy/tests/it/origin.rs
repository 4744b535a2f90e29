//! A server in this process that does what the test tells it while it does it. nginx passes on to
//! it what it gets under `/origin/`; some tests connect to it directly.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::user::PATIENCE;
use crate::{content, websocket};

/// How many bytes `/origin/long` has: content from its beginning.
pub(crate) const LONG: u64 = 64 << 20;
/// What `/origin/long` sends at a time.
const STEP: usize = 64 * 1024;
/// How often `/origin/busy` is.
const BUSY_TIMES: u32 = 2;

pub(crate) type Body = BoxBody<Bytes, io::Error>;
type Fed = mpsc::Receiver<io::Result<Bytes>>;

/// The running server; it ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bodies for the next requests of `/origin/fed`.
    fed: Mutex<VecDeque<Fed>>,
    is_open: watch::Sender<bool>,
    held: watch::Sender<usize>,
    sent: AtomicU64,
    busy: AtomicU32,
    requests: Mutex<Vec<String>>,
    extensions: Mutex<Vec<String>>,
    closes: Mutex<Vec<u16>>,
}

/// Writes the body of one response, piece by piece. Dropping it ends the body.
pub(crate) struct Feed(mpsc::Sender<io::Result<Bytes>>);

impl Feed {
    pub(crate) async fn write(&self, bytes: impl Into<Bytes>) {
        let sent = timeout(PATIENCE, self.0.send(Ok(bytes.into()))).await;
        sent.expect("nobody reads the body").expect("the request is gone");
    }

    /// Closes the connection in the middle of the body.
    pub(crate) async fn cut(self) {
        let cut = io::Error::other("cut by the test");
        self.0.send(Err(cut)).await.expect("the request is gone");
    }

    /// Waits until the other side has gone away.
    pub(crate) async fn deserted(&self) {
        timeout(PATIENCE, self.0.closed()).await.expect("the request goes on");
    }
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let server = Self { address, state: Arc::clone(&state) };
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection.with_upgrades());
            }
        });
        server
    }

    /// The body of the next response of `/origin/fed`.
    pub(crate) fn feed(&self) -> Feed {
        // One piece at a time: what is written was read before the next one is.
        let (sender, fed) = mpsc::channel(1);
        self.state.fed.lock().unwrap().push_back(fed);
        Feed(sender)
    }

    /// Waits until this many requests are held at `/origin/held`, all at the same time.
    pub(crate) async fn holds(&self, count: usize) {
        let mut held = self.state.held.subscribe();
        let all = held.wait_for(|held| *held == count);
        if timeout(PATIENCE, all).await.is_err() {
            panic!("holds {} requests, not {count}", *self.state.held.borrow());
        }
    }

    /// Answers the requests that are held, and all that come.
    pub(crate) fn open(&self) {
        self.state.is_open.send_replace(true);
    }

    /// Holds again what comes to `/origin/held`.
    pub(crate) fn close(&self) {
        self.state.is_open.send_replace(false);
    }

    /// Bytes of `/origin/long` that the connection took so far.
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Method and path of all requests, in the order they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The codes that websockets were closed with, in the order they were.
    pub(crate) fn closes(&self) -> Vec<u16> {
        self.state.closes.lock().unwrap().clone()
    }

    /// The extensions that websockets agreed on, in the order they were made; "" for none.
    pub(crate) fn extensions(&self) -> Vec<String> {
        self.state.extensions.lock().unwrap().clone()
    }
}

async fn answer(
    state: Arc<State>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let line = format!("{} {}", request.method(), request.uri().path());
    state.requests.lock().unwrap().push(line);
    let path = request.uri().path().to_owned();
    Ok(match path.strip_prefix("/origin/").unwrap_or_default() {
        "echo" => {
            let kind = request.headers().get(header::CONTENT_TYPE).cloned();
            let mut response = Response::new(request.into_body().map_err(io::Error::other).boxed());
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
        "chunked" => {
            let pieces =
                ["one ", "two ", "three"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
            streamed(stream::iter(pieces))
        }
        "fed" => {
            let fed = state.fed.lock().unwrap().pop_front().expect("nothing to answer with");
            streamed(stream::unfold(fed, |mut fed| async { Some((fed.recv().await?, fed)) }))
        }
        "held" => {
            state.held.send_modify(|held| *held += 1);
            let opened = state.is_open.subscribe().wait_for(|is_open| *is_open).await.is_ok();
            state.held.send_modify(|held| *held -= 1);
            assert!(opened);
            text("at last")
        }
        "long" => long(&state),
        "take" => take(request.into_body()).await?,
        "deaf" => {
            let opened = state.is_open.subscribe().wait_for(|is_open| *is_open).await.is_ok();
            assert!(opened);
            take(request.into_body()).await?
        }
        "busy" if state.busy.fetch_add(1, Ordering::SeqCst) < BUSY_TIMES => {
            let mut response = text("busy");
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        "busy" => text("ready"),
        "headers" => {
            let mut response = text("with headers");
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
            headers.append("x-many", "one".parse().unwrap());
            headers.append("x-many", "two".parse().unwrap());
            response
        }
        name @ ("ws" | "ws/plain" | "ws/bye" | "ws/tiny" | "ws/pings") => {
            let service = match name {
                "ws/bye" => websocket::Service::Bye,
                "ws/tiny" => websocket::Service::Tiny(600),
                "ws/pings" => websocket::Service::Pings,
                _ => websocket::Service::Echo,
            };
            let (response, deflate) = websocket::accept(request.headers(), name != "ws/plain");
            let extensions = joined(response.headers(), header::SEC_WEBSOCKET_EXTENSIONS);
            state.extensions.lock().unwrap().push(extensions);
            tokio::spawn(async move {
                let socket = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                let closed = websocket::serve(socket, service, deflate).await;
                state.closes.lock().unwrap().extend(closed);
            });
            response
        }
        _ => {
            let mut response = text("no such thing");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

pub(crate) fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

fn streamed(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
) -> Response<Body> {
    Response::new(StreamBody::new(pieces.map_ok(Frame::data)).boxed())
}

/// Reads a body and tells what it was.
async fn take(mut body: Incoming) -> io::Result<Response<Body>> {
    let (mut length, mut is_content) = (0, true);
    while let Some(frame) = body.frame().await {
        let bytes = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        is_content &= content::matches(length, &bytes);
        length += bytes.len() as u64;
    }
    Ok(text(if is_content { format!("{length} bytes of content") } else { "spoilt".to_owned() }))
}

fn long(state: &Arc<State>) -> Response<Body> {
    let state = Arc::clone(state);
    let pieces = (0..LONG).step_by(STEP).map(move |offset| {
        state.sent.fetch_add(STEP as u64, Ordering::SeqCst);
        Ok(content::piece(offset, STEP))
    });
    let mut response = streamed(stream::iter(pieces));
    response.headers_mut().insert(header::CONTENT_LENGTH, LONG.into());
    response
}

/// All values of a header as one.
pub(crate) fn joined(headers: &HeaderMap, name: header::HeaderName) -> String {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
    values.collect::<Vec<_>>().join(", ")
}
