//! WebSocket streams.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::events::Output;
use super::{Attempt, Chunk, End, Failure, Onward};

/// Runs a websocket from its upgrade to its close.
pub(super) async fn run(
    _onward: &Arc<Onward>,
    _attempt: &Attempt,
    _out: &Output,
    _chunks: mpsc::Receiver<Chunk>,
) -> End {
    End::Failed(Failure::new("websockets are not built yet"))
}
