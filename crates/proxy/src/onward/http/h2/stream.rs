//! One request on a shared connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, SendStream};
use http::Request;
use tokio::time::timeout;

use super::connection::Shared;
use super::peer_io::Heard;
use super::{Body, Slot, describe};
use crate::onward::attempt::queue::EventSender;
use crate::onward::http::exchange::{Carrier, Download, Exchange, NoResponse, Pump, Retryability};
use crate::onward::http::head;
use crate::onward::http::piece::Piece;
use crate::onward::http::upload::Cursor;
use crate::onward::{Event, FailureKind};

/// How far the peer's window is looked into, bytes.
const PROBE: usize = 1 << 20;
/// The client gets new credit when it has this much left, bytes.
const NEWS_BELOW: usize = 32 * 1024;

/// How long the headers of a request may take to go out before CONNECTED is reported.
const OPENING_MAX: Duration = Duration::from_millis(200);

/// Whether the connection takes requests; false after the peer's GOAWAY.
pub(crate) async fn is_open(sender: &mut SendRequest<Bytes>) -> bool {
    poll_fn(|cx| sender.poll_ready(cx)).await.is_ok()
}

/// Sends a request.
pub(crate) async fn exchange(
    mut slot: Slot,
    request: Request<()>,
    body: Option<Cursor>,
    out: &EventSender,
) -> Result<Exchange, NoResponse> {
    let (size, size_max) = (head::h2_size(&request), slot.heard().head_max());
    if size > size_max {
        let why = format!(
            "the server takes path and headers of at most {size_max} bytes \
             (SETTINGS_MAX_HEADER_LIST_SIZE), and these are {size}: shorter metadata is needed"
        );
        let (kind, retryability) = (FailureKind::Request, Retryability::Never);
        return Err(NoResponse { kind, why, retryability });
    }
    let (batch, gate) = (slot.credit_batch(), slot.gate());
    let account = Arc::clone(out.account());
    let (response, mut sending) =
        slot.sender.send_request(request, body.is_none()).map_err(|error| NoResponse {
            kind: kind_of(&error),
            why: describe(&error),
            // Nothing went out.
            retryability: match went_away(slot.heard()) {
                unprocessed if error.is_go_away() => unprocessed,
                _ if error.is_io() => Retryability::Always,
                _ => Retryability::Never,
            },
        })?;
    slot.begin();
    let connection = Arc::clone(slot.connection());
    let response = async move {
        match response.await {
            Ok(response) => {
                let body = |stream| Download::H2(Body::new(stream, batch, &account, &gate));
                Ok(response.map(body))
            }
            Err(error) => Err(NoResponse {
                kind: kind_of(&error),
                why: describe(&error),
                retryability: retryability(&error, &connection),
            }),
        }
    };
    let mut credit = None;
    let pump = match body {
        None => Pump::none(),
        Some(cursor) => {
            let ledger = Ledger { given: first_look(&mut sending).await, sent: 0 };
            credit = i32::try_from(ledger.given).ok();
            let out = out.clone();
            let connection = Arc::clone(slot.connection());
            Pump::new(async move { pump(&connection, sending, cursor, ledger, &out).await })
        }
    };
    Ok(Exchange { response: Box::pin(response), pump, credit, carrier: Carrier::H2(slot) })
}

fn kind_of(error: &h2::Error) -> FailureKind {
    if error.is_io() || error.is_go_away() || error.is_reset() {
        FailureKind::Closed
    } else {
        FailureKind::Protocol
    }
}

fn retryability(error: &h2::Error, connection: &Shared) -> Retryability {
    let refused = error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
        Retryability::OverHttp1
    } else if error.is_remote() && error.is_go_away() {
        // The h2 crate says so only of streams that the peer has not worked on (RFC 9113 §6.8).
        went_away(connection.heard())
    } else if error.is_remote() && refused {
        // The peer vouches that it has not worked on it (RFC 9113 §8.7).
        Retryability::Always
    } else if connection.occupancy.is_shared() && (error.is_io() || error.is_go_away()) {
        Retryability::IfIdempotent
    } else {
        Retryability::Never
    }
}

/// What holds for a request that a peer, going away, has not processed.
fn went_away(heard: &Heard) -> Retryability {
    if heard.has_processed_some() { Retryability::Unprocessed } else { Retryability::Always }
}

/// How much credit the client has been given, and what it has sent, bytes.
struct Ledger {
    given: usize,
    sent: usize,
}

impl Ledger {
    /// Tells the client how far the window has grown, once it has used most of what it knows.
    /// When the event queue is full the next time has to do: credit is only news.
    fn update(&mut self, stream: &mut SendStream<Bytes>, out: &EventSender) {
        if self.given.saturating_sub(self.sent) > NEWS_BELOW {
            return;
        }
        let total = self.sent.saturating_add(probe(stream));
        let grown = total.saturating_sub(self.given);
        if let Ok(credit @ 1..) = i32::try_from(grown)
            && out.try_event(Event::TxCredit(credit))
        {
            self.given = total;
        }
    }
}

/// How much the peer's windows take now. Looks, and gives back at once what it took to look.
fn probe(stream: &mut SendStream<Bytes>) -> usize {
    stream.reserve_capacity(PROBE);
    let capacity = stream.capacity();
    stream.reserve_capacity(0);
    capacity
}

/// The same for a stream that was just made: it has a window once its headers go out. If that
/// takes long, or the peer has none to give, credit comes later.
async fn first_look(stream: &mut SendStream<Bytes>) -> usize {
    stream.reserve_capacity(PROBE);
    let opened = poll_fn(|cx| stream.poll_capacity(cx));
    let _ = timeout(OPENING_MAX, opened).await;
    let capacity = stream.capacity();
    stream.reserve_capacity(0);
    capacity
}

/// Brings a request's body to its stream, as fast as the peer takes it.
async fn pump(
    connection: &Shared,
    mut stream: SendStream<Bytes>,
    mut cursor: Cursor,
    mut ledger: Ledger,
    out: &EventSender,
) {
    loop {
        let piece = tokio::select! {
            piece = connection.small_frames().next_piece(&mut cursor) => piece,
            // The response tells what the reset means.
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return,
        };
        let Piece { mut bytes, last } = match piece {
            Some(Ok(piece)) => piece,
            None => return,
            Some(Err(_)) => {
                stream.send_reset(Reason::CANCEL);
                return;
            }
        };
        while !bytes.is_empty() {
            let Some(room) = room(&mut stream, bytes.len()).await else { return };
            let part = bytes.split_to(room);
            ledger.sent = ledger.sent.saturating_add(part.len());
            let ends = last && bytes.is_empty();
            if stream.send_data(part, ends).is_err() || ends {
                return;
            }
            ledger.update(&mut stream, out);
        }
        if last {
            // Fails only if the peer has closed, and then it does not matter.
            let _ = stream.send_data(Bytes::new(), true);
            return;
        }
    }
}

/// Waits until some of `wanted` bytes can go out; `None` if nothing can any more.
async fn room(stream: &mut SendStream<Bytes>, wanted: usize) -> Option<usize> {
    stream.reserve_capacity(wanted);
    loop {
        let room = stream.capacity().min(wanted);
        if room > 0 {
            return Some(room);
        }
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}
