//! One request on a shared connection.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h3::client::RequestStream;
use h3::error::{Code, ConnectionError, StreamError};
use http::{HeaderMap, Request};
use tokio::time::timeout;

use super::Slot;
use super::connection::Shared;
use super::quic::{Receiving, Sending};
use crate::onward::FailureKind;
use crate::onward::http::exchange::{Carrier, Download, Exchange, NoResponse, Pump, Retryability};
use crate::onward::http::piece::Piece;
use crate::onward::http::upload::Cursor;

/// How long the peer may take to allow one more stream, before another connection is opened.
const PLACE_MAX: Duration = Duration::from_secs(1);
/// Most answers that only say that there will be one (RFC 9110 §15.2).
const INFORMATIONAL_MAX: usize = 16;

/// Sends a request.
pub(crate) async fn exchange(
    mut slot: Slot,
    request: Request<()>,
    body: Option<Cursor>,
) -> Result<Exchange, NoResponse> {
    let opened = timeout(PLACE_MAX, slot.sender.send_request(request)).await;
    let stream = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let failed = no_response(&error, slot.connection());
            slot.connection().retire();
            return Err(match error {
                StreamError::HeaderTooBig { .. } => failed,
                // Nothing went out.
                _ => NoResponse { retryability: Retryability::Always, ..failed },
            });
        }
        Err(_) => {
            slot.connection().occupancy.is_one_too_many();
            let why = "the server allows no more streams on the connection".to_owned();
            let (kind, retryability) = (FailureKind::Silent, Retryability::Always);
            return Err(NoResponse { kind, why, retryability });
        }
    };
    let (mut sending, mut receiving) = stream.split();
    let connection = std::sync::Arc::clone(slot.connection());
    let pump = match body {
        None => {
            // What is wrong with the stream, the response tells.
            let _ = sending.finish().await;
            Pump::none()
        }
        Some(cursor) => Pump::new(pump(sending, cursor)),
    };
    let response = async move {
        for _ in 0..INFORMATIONAL_MAX {
            match receiving.recv_response().await {
                Ok(response) if response.status().is_informational() => {}
                Ok(response) => return Ok(response.map(|()| Download::H3(Body::new(receiving)))),
                Err(error) => return Err(no_response(&error, &connection)),
            }
        }
        let why = format!("{INFORMATIONAL_MAX} informational responses and no other");
        let (kind, retryability) = (FailureKind::Protocol, Retryability::Never);
        Err(NoResponse { kind, why, retryability })
    };
    Ok(Exchange { response: Box::pin(response), pump, credit: None, carrier: Carrier::H3(slot) })
}

/// Brings a request's body to its stream, as fast as the peer takes it. One that is cut breaks the
/// stream off, for which dropping it is enough.
async fn pump(mut stream: RequestStream<Sending, Bytes>, mut cursor: Cursor) {
    while let Some(Ok(Piece { bytes, last })) = poll_fn(|cx| cursor.poll_piece(cx)).await {
        // A peer that wants no more says in its response why.
        if !bytes.is_empty() && stream.send_data(bytes).await.is_err() {
            return;
        }
        if last {
            let _ = stream.finish().await;
            return;
        }
    }
}

fn no_response(error: &StreamError, connection: &Shared) -> NoResponse {
    let retryability = match error {
        StreamError::RemoteClosing => Retryability::Always,
        // The peer vouches that it has not worked on it (RFC 9114 §4.1.1).
        StreamError::RemoteTerminate { code } if *code == Code::H3_REQUEST_REJECTED => {
            Retryability::Always
        }
        StreamError::ConnectionError(_) if connection.occupancy.is_shared() => {
            Retryability::IfIdempotent
        }
        _ => Retryability::Never,
    };
    let kind = match error {
        StreamError::HeaderTooBig { .. } => FailureKind::Request,
        StreamError::ConnectionError(ConnectionError::Timeout) => FailureKind::Silent,
        StreamError::RemoteTerminate { .. }
        | StreamError::RemoteClosing
        | StreamError::ConnectionError(ConnectionError::Remote(_)) => FailureKind::Closed,
        _ => FailureKind::Protocol,
    };
    NoResponse { kind, why: describe(error), retryability }
}

/// The error in one line.
fn describe(error: &StreamError) -> String {
    match error {
        StreamError::HeaderTooBig { actual_size, max_size } => format!(
            "headers of {actual_size} bytes, of which at most {max_size} are taken \
             (SETTINGS_MAX_FIELD_SECTION_SIZE)"
        ),
        StreamError::Undefined(error) => error.to_string(),
        StreamError::RemoteTerminate { code } => format!("the server broke the stream off: {code}"),
        StreamError::ConnectionError(ConnectionError::Timeout) => {
            "the server was silent for too long".to_owned()
        }
        StreamError::ConnectionError(ConnectionError::Remote(error)) => error.to_string(),
        other => other.to_string(),
    }
}

/// A response's body as it comes.
pub(crate) struct Body {
    stream: RequestStream<Receiving, Bytes>,
    over: bool,
    /// What may come behind it was not taken yet.
    trailing: bool,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("over", &self.over).finish_non_exhaustive()
    }
}

impl Body {
    fn new(stream: RequestStream<Receiving, Bytes>) -> Self {
        Self { stream, over: false, trailing: false }
    }

    /// Whether it is known that nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The next bytes, `None` at the end. The peer gets new credit for what this call takes.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        if self.over {
            return None;
        }
        match self.stream.recv_data().await {
            Ok(Some(mut data)) => Some(Ok(data.copy_to_bytes(data.remaining()))),
            Ok(None) => {
                (self.over, self.trailing) = (true, true);
                None
            }
            Err(error) => {
                self.over = true;
                match error {
                    // The response is complete (RFC 9114 §4.1).
                    StreamError::RemoteTerminate { code } if code == Code::H3_NO_ERROR => None,
                    error => Some(Err(describe(&error))),
                }
            }
        }
    }

    /// The headers behind a body that was taken to its end.
    pub(crate) async fn trailers(&mut self) -> Option<HeaderMap> {
        if !std::mem::take(&mut self.trailing) {
            return None;
        }
        self.stream.recv_trailers().await.ok()?
    }
}
