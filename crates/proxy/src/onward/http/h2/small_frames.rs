//! No more small DATA frames at a time than a server puts up with.
//!
//! A DATA frame of a few bytes costs a server more to keep than its bytes; so servers end a
//! connection that brings many of them at once, with all its streams. A client's payload may well
//! come in single bytes, and what one client does must not end the requests of others. So small
//! pieces are sent as they come only up to a number; beyond it they wait a moment for each other.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::onward::http::piece::Piece;
use crate::onward::http::upload::{Cursor, Fault};

/// A frame with less payload is small, bytes: where the h2 crate draws the line, too.
pub(super) const SMALL: usize = 256;
/// Small frames that may go out at once. Servers that are known to count allow 100.
const BURST: u32 = 32;
/// After so long one more may.
const REFILL: Duration = Duration::from_millis(1);

/// What a connection may still send in small frames.
#[derive(Debug)]
pub(crate) struct SmallFrames(Mutex<Allowance>);

#[derive(Debug)]
struct Allowance {
    left: u32,
    /// Until when it was filled up.
    filled: Instant,
}

impl SmallFrames {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Allowance { left: BURST, filled: Instant::now() }))
    }

    /// Takes one, or says when there is one again.
    pub(super) fn take(&self) -> Result<(), Instant> {
        let mut allowance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = allowance.filled.elapsed().as_millis() / REFILL.as_millis();
        let more = u32::try_from(elapsed).unwrap_or(BURST).min(BURST);
        if more > 0 {
            allowance.left = (allowance.left + more).min(BURST);
            allowance.filled = Instant::now();
        }
        allowance.left = allowance.left.checked_sub(1).ok_or(allowance.filled + REFILL)?;
        Ok(())
    }

    /// The body's next piece. Small ones are joined with what comes until they may go out.
    pub(crate) async fn next_piece(&self, cursor: &mut Cursor) -> Option<Result<Piece, Fault>> {
        let Piece { bytes, mut last } = match poll_fn(|cx| cursor.poll_piece(cx)).await? {
            Ok(piece) => piece,
            Err(fault) => return Some(Err(fault)),
        };
        if last || bytes.len() >= SMALL {
            return Some(Ok(Piece { bytes, last }));
        }
        let mut joined = BytesMut::from(bytes);
        while !last && joined.len() < SMALL {
            let Err(until) = self.take() else { break };
            while let Ok(next) = timeout_at(until, poll_fn(|cx| cursor.poll_piece(cx))).await {
                match next? {
                    Ok(piece) => {
                        joined.extend_from_slice(&piece.bytes);
                        last = piece.last;
                    }
                    Err(fault) => return Some(Err(fault)),
                }
                if last || joined.len() >= SMALL {
                    break;
                }
            }
        }
        Some(Ok(Piece { bytes: Bytes::from(joined), last }))
    }
}
