//! The origin's websocket services.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sspc_ws::{
    CloseCode, Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role, handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::answers::{Answer, status};
use super::{Connection, lock};
use crate::splitmix;

/// How often the ticker has a price.
const TICK: Duration = Duration::from_millis(20);

/// The sending times of this many messages are kept; a demo has fewer.
const TICKS_KEPT: usize = 8 * 1024;

/// A server does not mask what it sends.
const NO_MASK: [u8; 4] = [0; 4];

/// What is done with a connection once it is a websocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// A price every [`TICK`].
    Ticker,
    /// Every message back to where it came from.
    Echo,
}

/// The ticker's message number `seq`, from 0.
pub(in crate::commands::demo) fn price(seq: u64) -> String {
    // A walk between 90.00 and 109.99 that both sides can compute.
    let cents = 9_000 + splitmix::at(seq) % 2_000;
    // With two decimals, which a number would lose where they are 0.
    format!(r#"{{"symbol":"SSPC","seq":{seq},"price":{}.{:02}}}"#, cents / 100, cents % 100)
}

/// Answers the opening handshake and hands the connection to the service.
pub(super) fn upgrade(
    mut request: Request<Incoming>,
    connection: &Arc<Connection>,
    service: Service,
) -> Answer {
    let headers = request.headers();
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()) else {
        return status(StatusCode::UPGRADE_REQUIRED);
    };
    let accept = handshake::accept_key(key.trim());
    let agreed = handshake::answer(&offers(headers), DeflateParams::default());

    let mut answer = status(StatusCode::SWITCHING_PROTOCOLS);
    let out = answer.headers_mut();
    out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let Ok(accept) = HeaderValue::from_str(&accept) else {
        return status(StatusCode::BAD_REQUEST);
    };
    out.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let deflate = agreed.map(|(params, extension)| {
        if let Ok(value) = HeaderValue::from_str(&extension) {
            out.insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        *lock(&connection.deflate) = Some(extension);
        params
    });

    *lock(&connection.protocol) = "ws";
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        match hyper::upgrade::on(&mut request).await {
            Ok(socket) => {
                let mut socket = Socket::new(TokioIo::new(socket), deflate);
                if let Err(error) = socket.serve(service, &connection).await {
                    tracing::debug!(%error, "a websocket of the origin ended");
                }
            }
            Err(error) => tracing::debug!(%error, "an upgrade at the origin failed"),
        }
    });
    answer
}

fn offers(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ")
}

/// One websocket, both ways.
struct Socket<S> {
    io: S,
    decoder: Decoder,
    encoder: Encoder,
    out: Vec<u8>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket<S> {
    fn new(io: S, deflate: Option<DeflateParams>) -> Self {
        Self {
            io,
            decoder: Decoder::new(Role::Server, deflate),
            encoder: Encoder::new(Role::Server, deflate),
            out: Vec::new(),
        }
    }

    async fn serve(&mut self, service: Service, connection: &Connection) -> anyhow::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seq = 0;
        while !self.decoder.is_closed() {
            tokio::select! {
                read = self.io.read(&mut buffer) => match read? {
                    0 => break,
                    n => self.received(&buffer[..n], service)?,
                },
                () = tick(&mut ticks, service) => {
                    let price = price(seq);
                    seq += 1;
                    note_tick(connection);
                    let piece = Piece {
                        kind: MessageKind::Text, first: true, last: true, bytes: price.as_bytes(),
                    };
                    self.encoder.piece(piece, NO_MASK, &mut self.out)?;
                }
            }
            self.io.write_all(&self.out).await?;
            self.out.clear();
        }
        self.io.shutdown().await?;
        Ok(())
    }

    fn received(&mut self, mut input: &[u8], service: Service) -> anyhow::Result<()> {
        let mut scratch = [0; 4096];
        while let Some(event) = self.decoder.decode(&mut input, &mut scratch)? {
            match event {
                Event::Data(piece) if service == Service::Echo => {
                    self.encoder.piece(piece, NO_MASK, &mut self.out)?;
                }
                Event::Ping(payload) => {
                    self.encoder.pong(payload.as_bytes(), NO_MASK, &mut self.out)?;
                }
                Event::Close(_) if !self.encoder.is_closed() => {
                    self.encoder.close(Some((CloseCode::NORMAL, "")), NO_MASK, &mut self.out)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn note_tick(connection: &Connection) {
    let mut ticks = lock(&connection.ticks);
    if ticks.len() < TICKS_KEPT {
        ticks.push(Instant::now());
    }
}

/// The next tick; never, for a service without any.
async fn tick(ticks: &mut Interval, service: Service) {
    match service {
        Service::Ticker => {
            ticks.tick().await;
        }
        Service::Echo => std::future::pending().await,
    }
}
