//! How much of a stream's payload is held before somebody has to wait.

use sspc_policy::StreamType;

use crate::config::Limits;

/// How much of a stream's payload is held, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watermarks {
    /// Above it the client is not read from, as long as payload flows.
    pub(super) tx_queue: usize,
    /// Above it the client is not read from in any case.
    pub(super) ahead: usize,
    /// At or above it nothing is taken from the peer any more,
    pub(super) frame_writer: usize,
    /// until the client has read down to less than this.
    pub(super) resume: usize,
}

impl Watermarks {
    pub(super) fn of(streamtype: &StreamType, limits: &Limits) -> Self {
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        let buffer = limits.buffer_of(streamtype);
        let given = |bytes: Option<u32>| bytes.filter(|bytes| *bytes > 0).map(size);
        let frame_writer = given(streamtype.proxy_rxflow_on_above).unwrap_or(buffer).min(buffer);
        let resume =
            given(streamtype.proxy_rxflow_off_below).unwrap_or(frame_writer).min(frame_writer);
        let ahead = size(limits.ahead_buffer).max(buffer.saturating_mul(2));
        Self { tx_queue: buffer, ahead, frame_writer, resume }
    }
}
