//! What the users of a line call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use sspc_mux::{Instant, Priority};

use super::{ChannelId, LineState};
use crate::channel_state::{ChannelEnd, ChannelState, Phase, UNSENT_MAX};
use crate::event::Status;

impl LineState {
    pub(crate) fn status(&self) -> Status {
        let channels =
            self.channels.values().filter(|state| !matches!(state.phase, Phase::Ended(_)));
        Status {
            up: self.mux.is_up(),
            framing_losses: u64::from(self.mux.framing_losses()),
            channels: channels.count(),
            ..self.status
        }
    }

    pub(crate) fn device(&self) -> Option<Arc<str>> {
        self.device.clone()
    }

    pub(crate) fn ping(&mut self, now: Instant) {
        self.asked = true;
        self.mux.ping(now);
    }

    /// Opens and accepts no more channels.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for state in self.channels.values_mut() {
            match state.phase {
                Phase::Queued(_) => state.end(ChannelEnd::LineClosed),
                Phase::Requested(channel, _) => {
                    state.end(ChannelEnd::LineClosed);
                    self.mux.close(channel);
                }
                Phase::Open(_) | Phase::Closing(_) | Phase::Ended(_) => {}
            }
        }
        while let Some(id) = self.to_accept.pop_front() {
            self.drop_half(id);
            self.drop_half(id);
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.wake();
        }
    }

    pub(crate) fn request_channel(&mut self, priority: Priority) -> ChannelId {
        let phase = if self.closed {
            Phase::Ended(ChannelEnd::LineClosed)
        } else {
            Phase::Queued(priority)
        };
        let id = self.add(ChannelState::new(phase));
        self.to_request.push_back(id);
        id
    }

    pub(crate) fn poll_opened(
        &mut self,
        id: ChannelId,
        cx: &Context<'_>,
    ) -> Poll<Result<(), ChannelEnd>> {
        let Some(state) = self.channels.get_mut(&id) else {
            return Poll::Ready(Err(ChannelEnd::ClosedHere));
        };
        match state.phase {
            Phase::Open(_) | Phase::Closing(_) => Poll::Ready(Ok(())),
            Phase::Ended(end) => Poll::Ready(Err(end)),
            Phase::Queued(_) | Phase::Requested(..) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Option<ChannelId>> {
        match self.to_accept.pop_front() {
            Some(id) => Poll::Ready(Some(id)),
            None if self.closed => Poll::Ready(None),
            None => {
                self.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Bytes, or `Ok(0)` at the end.
    pub(crate) fn poll_read(
        &mut self,
        id: ChannelId,
        cx: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, ChannelEnd>> {
        let Some(state) = self.channels.get_mut(&id) else { return Poll::Ready(Ok(0)) };
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match (state.pop_unread(buf), state.phase) {
            (taken @ 1.., _) => Poll::Ready(Ok(taken)),
            (
                0,
                Phase::Ended(
                    ChannelEnd::ClosedHere | ChannelEnd::ClosedByPeer | ChannelEnd::LineClosed,
                ),
            ) => Poll::Ready(Ok(0)),
            (0, Phase::Ended(end)) => Poll::Ready(Err(end)),
            (0, _) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// How many bytes were taken.
    pub(crate) fn poll_write(
        &mut self,
        id: ChannelId,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, ChannelEnd>> {
        let Some(state) = self.channels.get_mut(&id) else {
            return Poll::Ready(Err(ChannelEnd::ClosedHere));
        };
        let channel = match state.phase {
            Phase::Open(channel) => channel,
            Phase::Ended(end) => return Poll::Ready(Err(end)),
            Phase::Queued(_) | Phase::Requested(..) | Phase::Closing(_) => {
                return Poll::Ready(Err(ChannelEnd::ClosedHere));
            }
        };
        let length = bytes.len().min(UNSENT_MAX.saturating_sub(state.unsent.len()));
        if length == 0 && !bytes.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.unsent.extend(bytes.get(..length).unwrap_or_default());
        self.mux.wants_to_send(channel, true);
        Poll::Ready(Ok(length))
    }

    /// Ready when everything written is with the line.
    pub(crate) fn poll_flush(
        &mut self,
        id: ChannelId,
        cx: &Context<'_>,
    ) -> Poll<Result<(), ChannelEnd>> {
        let Some(state) = self.channels.get_mut(&id) else { return Poll::Ready(Ok(())) };
        match state.phase {
            Phase::Open(_) | Phase::Closing(_) if !state.unsent.is_empty() => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::Ended(ChannelEnd::Link(why)) => Poll::Ready(Err(ChannelEnd::Link(why))),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ready when the channel is over, read to its end or not.
    pub(crate) fn poll_ended(&mut self, id: ChannelId, cx: &Context<'_>) -> Poll<()> {
        let Some(state) = self.channels.get_mut(&id) else { return Poll::Ready(()) };
        if matches!(state.phase, Phase::Ended(_)) {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The channel's index on the wire, once it has one.
    pub(crate) fn index(&self, id: ChannelId) -> Option<u8> {
        self.channels.get(&id)?.index
    }

    pub(crate) fn set_priority(&mut self, id: ChannelId, priority: Priority) {
        match self.channels.get_mut(&id).map(|state| &mut state.phase) {
            Some(Phase::Queued(to_request) | Phase::Requested(_, to_request)) => {
                *to_request = priority
            }
            Some(Phase::Open(channel) | Phase::Closing(channel)) => {
                self.mux.set_priority(*channel, priority);
            }
            Some(Phase::Ended(_)) | None => {}
        }
    }

    pub(crate) fn limit_ahead(&mut self, id: ChannelId, bytes: u32) {
        let Some(state) = self.channels.get_mut(&id) else { return };
        state.ahead.limit(bytes);
        if let (Phase::Open(channel) | Phase::Closing(channel), false) =
            (state.phase, state.unsent.is_empty())
        {
            // It may be more than before.
            self.mux.wants_to_send(channel, true);
        }
    }

    /// Closes the channel once what was written to it is sent.
    pub(crate) fn close_channel(&mut self, id: ChannelId) {
        let Some(state) = self.channels.get_mut(&id) else { return };
        match state.phase {
            Phase::Queued(_) => state.end(ChannelEnd::ClosedHere),
            Phase::Requested(channel, _) => {
                state.end(ChannelEnd::ClosedHere);
                self.release(channel);
                self.mux.close(channel);
            }
            Phase::Open(channel) => {
                state.phase = Phase::Closing(channel);
                if state.unsent.is_empty() {
                    self.finish_closing(id);
                }
            }
            Phase::Closing(_) | Phase::Ended(_) => {}
        }
    }

    /// One of the channel's halves is no longer used.
    pub(crate) fn drop_half(&mut self, id: ChannelId) {
        let Some(state) = self.channels.get_mut(&id) else { return };
        state.halves = state.halves.saturating_sub(1);
        if state.halves == 0 {
            state.unread = VecDeque::new();
            self.close_channel(id);
            self.forget(id);
        }
    }
}
