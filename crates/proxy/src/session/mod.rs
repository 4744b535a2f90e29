//! One accepted link: one stream, one task.
//!
//! [`run`] is the only place that waits: for bytes of the client, for room to write to it, for
//! events of the onward attempt and room for its payload, for a deadline. Everything between two
//! waits is in [`stream`], which does no I/O, and [`lifecycle`], which knows no payload either.

mod allowance;
mod attempt;
mod close_reason;
mod context;
mod create;
mod credit;
mod frame_writer;
mod input;
mod lifecycle;
mod link;
mod metadata;
mod peer;
mod state_filter;
mod stream;
mod tx_queue;
mod watermarks;

use std::future::pending;
use std::io;

use sspc_wire::{Piece, ToClient, ToProxy, ToProxyDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, info, warn};

use self::attempt::{AttemptStarter, EventStream, Waits};
pub(crate) use self::close_reason::Excess;
use self::close_reason::{CloseReason, ProtocolError};
pub(crate) use self::context::SessionContext;
pub(crate) use self::create::look_up;
use self::credit::ClientCredit;
use self::frame_writer::{FrameWriter, FramingMode};
use self::input::{Input, Read};
use self::link::LinkKind;
pub(crate) use self::link::{AnyPipe, LinkReader, LinkWriter};
pub(crate) use self::metadata::metadata_item;
pub(crate) use self::peer::{LineEnd, Peer};
use self::stream::Stream;
use crate::memory::Way;
use crate::observe::{ReadFrames, SessionFrames};
use crate::onward::Event;

/// Serves one link until it ends.
pub(crate) async fn run<D: AttemptStarter, R: LinkReader, W: LinkWriter>(
    context: SessionContext<D>,
    reader: R,
    writer: W,
) {
    let span = context.peer.span(context.id);
    serve(context, reader, writer).instrument(span).await;
}

async fn serve<D: AttemptStarter, R: LinkReader, W: LinkWriter>(
    context: SessionContext<D>,
    mut reader: R,
    mut writer: W,
) {
    let flush = context.timeouts.flush;
    let mut session = Session {
        state: SessionState::Unnamed {
            until: Instant::now().checked_add(context.timeouts.streamtype),
        },
        frames: context.observer.as_ref().map(|observer| {
            ReadFrames::new(SessionFrames::new(observer, context.id, &context.peer))
        }),
        context,
        link: LinkKind::of(&writer),
    };
    let close_reason = session.serve(&mut reader, &mut writer).await;
    session.log(&close_reason);
    let final_frames = session.final_frames(&close_reason);
    drop(session);
    if let Some(final_frames) = final_frames {
        // A client that does not read them in time has itself to blame.
        let _ = timeout(flush, linger_close(final_frames, reader, writer)).await;
    } else {
        writer.close_with(reader);
    }
}

struct Session<D: AttemptStarter> {
    context: SessionContext<D>,
    link: LinkKind,
    state: SessionState<D>,
    /// What observers see of the client's frames.
    frames: Option<ReadFrames>,
}

enum SessionState<D: AttemptStarter> {
    /// STREAMTYPE has not come, and must by then.
    Unnamed { until: Option<Instant> },
    /// The stream is there.
    Created(Box<Stream<D>>),
}

/// What a session waited for.
enum Wake {
    Read(io::Result<Read>),
    Written(io::Result<()>),
    Event(Option<Event>),
    Room,
    Deadline,
    Draining,
    Closing,
}

impl<D: AttemptStarter> Session<D> {
    async fn serve<R: LinkReader, W: LinkWriter>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
    ) -> CloseReason {
        let mut decoder = ToProxyDecoder::new();
        let mut input = Input::new();
        let mut is_draining = false;
        loop {
            if let SessionState::Created(stream) = &mut self.state {
                stream.pump();
            }
            if is_draining && self.drain() {
                return CloseReason::Shutdown;
            }
            match self.wait(reader, writer, &mut input, is_draining).await {
                Wake::Read(Ok(read)) if read.bytes.is_empty() => return CloseReason::Closed,
                Wake::Read(Ok(read)) => {
                    let is_first = matches!(self.state, SessionState::Unnamed { .. });
                    if let Err(close_reason) = self.take(&mut decoder, &read) {
                        return close_reason;
                    }
                    if let SessionState::Created(stream) = &mut self.state {
                        if is_first {
                            writer.set_priority(stream.priority());
                        }
                        if let Some(bytes) = stream.new_ahead_limit() {
                            writer.limit_ahead(bytes);
                        }
                    }
                }
                Wake::Written(Ok(())) | Wake::Room => {}
                Wake::Read(Err(error)) | Wake::Written(Err(error)) => return error.into(),
                Wake::Event(event) => {
                    if let SessionState::Created(stream) = &mut self.state {
                        stream.handle_event(event);
                    }
                }
                Wake::Deadline => match &mut self.state {
                    SessionState::Unnamed { .. } => {
                        let limit = self.context.timeouts.streamtype;
                        return ProtocolError::NoStreamtype(limit).into();
                    }
                    SessionState::Created(stream) => stream.handle_deadline(),
                },
                Wake::Draining => is_draining = true,
                Wake::Closing => return CloseReason::Shutdown,
            }
        }
    }

    /// Ends what can end, as the proxy shuts down; true if that is everything.
    fn drain(&mut self) -> bool {
        match &mut self.state {
            SessionState::Unnamed { .. } => true,
            SessionState::Created(stream) => {
                stream.drain();
                stream.is_done()
            }
        }
    }

    async fn wait<R: LinkReader, W: LinkWriter>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        input: &mut Input,
        is_draining: bool,
    ) -> Wake {
        let SessionContext { draining, closing, .. } = &self.context;
        match &mut self.state {
            SessionState::Unnamed { until } => tokio::select! {
                read = input.read(reader) => Wake::Read(read),
                () = wait_until(*until) => Wake::Deadline,
                () = draining.cancelled(), if !is_draining => Wake::Draining,
                () = closing.cancelled() => Wake::Closing,
            },
            SessionState::Created(stream) => {
                let may_read = stream.may_read();
                let deadline = stream.deadline();
                let Waits { frame_writer, events, body, memory } = stream.waits();
                let link_input = async {
                    if may_read {
                        input.read(reader).await
                    } else {
                        reader.gone().await;
                        Ok(Read::end())
                    }
                };
                let event = async {
                    match events {
                        Some(events) => events.recv().await,
                        None => pending().await,
                    }
                };
                let room = async {
                    match body {
                        // Closed is as good: what waits is thrown away then.
                        Some(body) => drop(body.reserve().await),
                        None => pending().await,
                    }
                };
                let memory = async {
                    match memory {
                        Some(account) => account.changed(Way::Onward).await,
                        None => pending().await,
                    }
                };
                let can_write = !frame_writer.is_empty();
                tokio::select! {
                    read = link_input => Wake::Read(read),
                    written = frame_writer.write(writer), if can_write => Wake::Written(written),
                    event = event => Wake::Event(event),
                    () = room => Wake::Room,
                    () = memory => Wake::Room,
                    () = wait_until(deadline) => Wake::Deadline,
                    () = draining.cancelled(), if !is_draining => Wake::Draining,
                    () = closing.cancelled() => Wake::Closing,
                }
            }
        }
    }

    /// Takes what the client sent.
    fn take(&mut self, decoder: &mut ToProxyDecoder, read: &Read) -> Result<(), CloseReason> {
        let is_between_frames = decoder.is_between_frames();
        let are_followed =
            self.frames.as_mut().is_some_and(|frames| frames.begin(is_between_frames));
        let mut rest = &read.bytes[..];
        loop {
            let before = rest;
            let taken = self.take_next(decoder, &mut rest, read);
            if are_followed && let Some(frames) = &mut self.frames {
                let bytes = before.get(..before.len() - rest.len()).unwrap_or_default();
                frames.pass(bytes, decoder.is_between_frames(), fault(&taken));
            }
            if taken?.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes the next frame or piece; `None` when the input is used up.
    fn take_next(
        &mut self,
        decoder: &mut ToProxyDecoder,
        rest: &mut &[u8],
        read: &Read,
    ) -> Result<Option<()>, CloseReason> {
        let Some(frame) = decoder.next(rest).map_err(ProtocolError::from)? else { return Ok(None) };
        match &mut self.state {
            SessionState::Unnamed { .. } => {
                if let Some(mut stream) = self.take_first(frame)? {
                    stream.frame_writer.show(self.session_frames());
                    self.state = SessionState::Created(Box::new(stream));
                }
            }
            SessionState::Created(stream) => take_frame(stream, frame, read)?,
        }
        Ok(Some(()))
    }

    fn session_frames(&self) -> Option<SessionFrames> {
        self.frames.as_ref().map(|frames| frames.session().clone())
    }

    /// A frame while the stream has no name. Some clients set things too early: that is harmless.
    fn take_first(&self, frame: ToProxy<'_>) -> Result<Option<Stream<D>>, CloseReason> {
        let early = |frame| Err(ProtocolError::BeforeStreamtype { frame }.into());
        match frame {
            ToProxy::Streamtype(asked) => {
                if let Some(frames) = &self.frames {
                    frames.session().name(asked.name);
                }
                create::create(&self.context, &asked, self.link).map(Some)
            }
            ToProxy::TxCredit(_) | ToProxy::Timeout(_) | ToProxy::LengthHint(_) => Ok(None),
            ToProxy::Perf(piece) => take_perf(&piece).map(|()| None),
            ToProxy::OnwardConnect => early("ONWARD_CONNECT"),
            ToProxy::Destroying => early("DESTROYING"),
            ToProxy::Payload { .. } => early("TX_PAYLOAD"),
            ToProxy::Metadata { .. } => early("METADATA"),
            _ => early("an unknown frame"),
        }
    }

    fn log(&self, close_reason: &CloseReason) {
        let counts = &self.context.counts;
        let (from_client, to_client) = match &self.state {
            SessionState::Unnamed { .. } => (0, 0),
            SessionState::Created(stream) => stream.passed(),
        };
        match close_reason {
            CloseReason::Closed
            | CloseReason::Destroyed
            | CloseReason::Shutdown
            | CloseReason::Link(_) => {
                info!(from_client, to_client, "session ended: {close_reason}");
                return;
            }
            CloseReason::Refused(_) | CloseReason::Denied(_) => counts.refused.add(1),
            CloseReason::Protocol(_) => counts.protocol_errors.add(1),
        }
        let kind = close_reason.kind();
        if let Some(observer) = &self.context.observer {
            let streamtype = match &self.state {
                SessionState::Unnamed { .. } => None,
                SessionState::Created(stream) => Some(stream.name()),
            };
            let peer = &self.context.peer;
            observer.session_failed(peer, streamtype, kind, close_reason.to_string());
        }
        warn!(kind, from_client, to_client, "session ended: {close_reason}");
    }

    /// What the client is still to hear; `None` if nobody listens.
    fn final_frames(&mut self, close_reason: &CloseReason) -> Option<FrameWriter> {
        let nothing = || {
            let mode = FramingMode::of(false, self.link);
            FrameWriter::new(mode, ClientCredit::Unlimited, Instant::now())
        };
        match close_reason {
            // A client that has ended its stream waits for nothing.
            CloseReason::Closed | CloseReason::Destroyed | CloseReason::Link(_) => None,
            CloseReason::Refused(_) => {
                let mut frame_writer = nothing();
                frame_writer.show(self.session_frames());
                let list = Piece { data: &[], offset: 0, total: 0 };
                let refused = ToClient::CreateResult { result: 1, client_buflen: 0, list };
                frame_writer.push(&refused).ok()?;
                Some(frame_writer)
            }
            CloseReason::Shutdown | CloseReason::Denied(_) | CloseReason::Protocol(_) => {
                match &mut self.state {
                    SessionState::Unnamed { .. } => Some(nothing()),
                    SessionState::Created(stream) => {
                        if matches!(close_reason, CloseReason::Shutdown) {
                            stream.shut_down();
                        }
                        Some(std::mem::replace(&mut stream.frame_writer, nothing()))
                    }
                }
            }
        }
    }
}

/// What a client did wrong, if that ends its session.
fn fault<T>(taken: &Result<T, CloseReason>) -> Option<String> {
    match taken {
        Err(CloseReason::Protocol(error)) => Some(error.to_string()),
        _ => None,
    }
}

/// Ready at that time; never if there is none.
async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// A frame of a stream that is there.
fn take_frame<D: AttemptStarter>(
    stream: &mut Stream<D>,
    frame: ToProxy<'_>,
    read: &Read,
) -> Result<(), CloseReason> {
    match frame {
        ToProxy::Streamtype(_) => return Err(ProtocolError::SecondStreamtype.into()),
        ToProxy::OnwardConnect => stream.handle_connect(),
        ToProxy::Destroying => return Err(CloseReason::Destroyed),
        ToProxy::Payload { head, piece, .. } => stream.handle_payload(head, &piece, read),
        ToProxy::Metadata { name, value } => stream.handle_metadata(name, &value)?,
        ToProxy::TxCredit(update) => stream.handle_credit(update),
        ToProxy::Timeout(timeout) => stream.handle_timeout_update(timeout),
        ToProxy::LengthHint(bytes) => stream.handle_length_hint(bytes),
        ToProxy::Perf(piece) => take_perf(&piece)?,
        _ => {}
    }
    Ok(())
}

/// PERF has no meaning from a client; deployed proxies take it all the same, but not an empty one.
fn take_perf(piece: &Piece<'_>) -> Result<(), CloseReason> {
    if piece.total == 0 { Err(ProtocolError::EmptyPerf.into()) } else { Ok(()) }
}

/// Says the last words and waits until the client has closed too: closing first with bytes of it
/// unread would make TCP take back what was said.
async fn linger_close<R: LinkReader, W: LinkWriter>(
    mut final_frames: FrameWriter,
    mut reader: R,
    mut writer: W,
) -> io::Result<()> {
    while !final_frames.is_empty() {
        final_frames.write(&mut writer).await?;
    }
    writer.shutdown().await?;
    let mut unheard = [0; 1024];
    while reader.read(&mut unheard).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
