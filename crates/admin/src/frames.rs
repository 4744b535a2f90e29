//! `/api/v1/frames`: what passes between clients and the proxy, as it passes.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;
use sspc_proxy::{FrameSelection, SeenFrame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{MissedTickBehavior, interval};

use crate::events::{KEEP_ALIVE, event};
use crate::query::Query;
use crate::server::Side;

/// A frame, as it is written.
#[derive(Serialize)]
struct FrameView<'a> {
    session: u64,
    client: &'a str,
    peer: &'a str,
    streamtype: Option<&'a str>,
    /// `to_proxy` or `to_client`.
    direction: &'static str,
    /// Microseconds since 1970.
    at_us: u64,
    /// All of its bytes.
    length: usize,
    /// Those that were asked for, in hex.
    bytes: String,
    /// What is wrong with it.
    fault: Option<&'a str>,
    /// Frames that were lost before it, since this reader was too slow.
    missed: u64,
}

impl<'a> FrameView<'a> {
    fn of(frame: &'a SeenFrame) -> Self {
        let since = frame.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut bytes = String::with_capacity(2 * frame.bytes.len());
        for byte in &frame.bytes {
            // Writing to a string cannot fail.
            let _ = write!(bytes, "{byte:02x}");
        }
        Self {
            session: frame.session(),
            client: frame.client(),
            peer: frame.peer(),
            streamtype: frame.streamtype(),
            direction: if frame.is_to_proxy() { "to_proxy" } else { "to_client" },
            at_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            length: frame.length,
            bytes,
            fault: frame.fault.as_deref(),
            missed: frame.missed,
        }
    }
}

/// Frames from now on, until the proxy is gone.
pub(crate) fn frames(
    side: &Side,
    query: Query,
    slot: OwnedSemaphorePermit,
) -> impl Stream<Item = Bytes> + use<> {
    let mut selection = FrameSelection::default();
    selection.streamtype.clone_from(&query.streamtype);
    selection.session = query.session;
    selection.snap = query.snap.unwrap_or(selection.snap);
    let mut alive = interval(KEEP_ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (side.observed.frames(selection), alive, query, slot);
    stream::unfold(state, |(mut feed, mut alive, query, slot)| async {
        let next = loop {
            tokio::select! {
                frame = feed.next() => {
                    let frame = frame?;
                    let is_of = |client: &String| {
                        frame.client().to_lowercase().contains(client)
                            || frame.peer().to_lowercase().contains(client)
                    };
                    if query.client.as_ref().is_none_or(is_of) {
                        break event("frame", &FrameView::of(&frame));
                    }
                }
                _ = alive.tick() => break Bytes::from_static(b": \n\n"),
            }
        };
        Some((next, (feed, alive, query, slot)))
    })
}
