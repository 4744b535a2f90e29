//! One accepted link: one stream, one task.
//!
//! [`run`] is the only place that waits: for bytes of the client, for room to write to it, for
//! events of the onward attempt and room for its payload, for a deadline. Everything between two
//! waits is in [`stream`], which does no I/O, and [`lifecycle`], which knows no payload either.

mod credit;
mod dial;
mod emitter;
mod ending;
mod inbox;
mod lifecycle;
mod link;
mod near;
mod outbox;
mod stream;

use std::future::pending;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sspc_policy::Policy;
use sspc_wire::limits::{STREAMTYPE_NAME_MAX, VERSION};
use sspc_wire::{Piece, Streamtype, ToClient, ToProxy, ToProxyDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::credit::ClientCredit;
use self::dial::{Dialer, EventQueue};
use self::ending::{Ending, ProtocolError, Refusal};
pub(crate) use self::link::{AnyPipe, LinkReader, LinkWriter};
use self::outbox::{Outbox, Style};
use self::stream::{Stream, Waits};
use crate::config::{Limits, Timeouts};
use crate::counters::Counts;
use crate::onward::Event;

/// What a session has of its proxy.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings<D> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) dialer: D,
    pub(crate) counts: Arc<Counts>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// The stream ends as soon as nothing runs.
    pub(crate) draining: CancellationToken,
    /// The stream ends now.
    pub(crate) closing: CancellationToken,
}

/// Serves one link until it ends.
pub(crate) async fn run<D: Dialer, R: LinkReader, W: LinkWriter>(
    surroundings: Surroundings<D>,
    mut reader: R,
    mut writer: W,
) {
    let flush = surroundings.timeouts.flush;
    let mut session = Session {
        stage: Stage::Unnamed { until: Instant::now() + surroundings.timeouts.streamtype },
        surroundings,
        is_narrow: W::IS_NARROW,
    };
    let ending = session.serve(&mut reader, &mut writer).await;
    session.log(&ending);
    let last_words = session.last_words(&ending);
    drop(session);
    if let Some(last_words) = last_words {
        // A client that does not read them in time has itself to blame.
        let _ = timeout(flush, part(last_words, reader, writer)).await;
    }
}

struct Session<D: Dialer> {
    surroundings: Surroundings<D>,
    /// The link takes small frames only.
    is_narrow: bool,
    stage: Stage<D>,
}

enum Stage<D: Dialer> {
    /// STREAMTYPE has not come.
    Unnamed { until: Instant },
    /// The stream is there.
    Created(Box<Stream<D>>),
}

/// What a session waited for.
enum Wake {
    Read(io::Result<Bytes>),
    Written(io::Result<()>),
    Event(Option<Event>),
    Room,
    Deadline,
    Draining,
    Closing,
}

impl<D: Dialer> Session<D> {
    async fn serve<R: LinkReader, W: LinkWriter>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
    ) -> Ending {
        let mut decoder = ToProxyDecoder::new();
        let mut input = Input::new();
        let mut is_draining = false;
        loop {
            if let Stage::Created(stream) = &mut self.stage {
                stream.pump();
            }
            if is_draining && self.is_at_rest() {
                return Ending::Shutdown;
            }
            match self.wait(reader, writer, &mut input, is_draining).await {
                Wake::Read(Ok(read)) if read.is_empty() => return Ending::Closed,
                Wake::Read(Ok(read)) => {
                    let is_first = matches!(self.stage, Stage::Unnamed { .. });
                    if let Err(ending) = self.take(&mut decoder, &read) {
                        return ending;
                    }
                    if let (true, Stage::Created(stream)) = (is_first, &self.stage) {
                        writer.set_priority(stream.priority());
                    }
                }
                Wake::Written(Ok(())) | Wake::Room => {}
                Wake::Read(Err(error)) | Wake::Written(Err(error)) => return error.into(),
                Wake::Event(event) => {
                    if let Stage::Created(stream) = &mut self.stage {
                        stream.handle_event(event);
                    }
                }
                Wake::Deadline => match &mut self.stage {
                    Stage::Unnamed { .. } => {
                        let limit = self.surroundings.timeouts.streamtype;
                        return ProtocolError::NoStreamtype(limit).into();
                    }
                    Stage::Created(stream) => stream.handle_deadline(),
                },
                Wake::Draining => is_draining = true,
                Wake::Closing => return Ending::Shutdown,
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        match &self.stage {
            Stage::Unnamed { .. } => true,
            Stage::Created(stream) => stream.is_at_rest(),
        }
    }

    async fn wait<R: LinkReader, W: LinkWriter>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        input: &mut Input,
        is_draining: bool,
    ) -> Wake {
        let Surroundings { draining, closing, .. } = &self.surroundings;
        match &mut self.stage {
            Stage::Unnamed { until } => tokio::select! {
                read = input.read(reader) => Wake::Read(read),
                () = sleep_until(*until) => Wake::Deadline,
                () = draining.cancelled(), if !is_draining => Wake::Draining,
                () = closing.cancelled() => Wake::Closing,
            },
            Stage::Created(stream) => {
                let may_read = stream.may_read();
                let deadline = stream.deadline();
                let Waits { outbox, events, body } = stream.waits();
                let link_input = async {
                    if may_read {
                        input.read(reader).await
                    } else {
                        reader.gone().await;
                        Ok(Bytes::new())
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
                let due = async {
                    match deadline {
                        Some(deadline) => sleep_until(deadline).await,
                        None => pending().await,
                    }
                };
                let can_write = !outbox.is_empty();
                tokio::select! {
                    read = link_input => Wake::Read(read),
                    written = outbox.write(writer), if can_write => Wake::Written(written),
                    event = event => Wake::Event(event),
                    () = room => Wake::Room,
                    () = due => Wake::Deadline,
                    () = draining.cancelled(), if !is_draining => Wake::Draining,
                    () = closing.cancelled() => Wake::Closing,
                }
            }
        }
    }

    /// Takes what the client sent.
    fn take(&mut self, decoder: &mut ToProxyDecoder, read: &Bytes) -> Result<(), Ending> {
        let mut rest = &read[..];
        while let Some(frame) = decoder.next(&mut rest).map_err(ProtocolError::from)? {
            match &mut self.stage {
                Stage::Unnamed { .. } => {
                    if let Some(stream) = self.take_first(frame)? {
                        self.stage = Stage::Created(Box::new(stream));
                    }
                }
                Stage::Created(stream) => take_frame(stream, frame, read)?,
            }
        }
        Ok(())
    }

    /// A frame while the stream has no name. Some clients set things too early: that is harmless.
    fn take_first(&self, frame: ToProxy<'_>) -> Result<Option<Stream<D>>, Ending> {
        let early = |frame| Err(ProtocolError::BeforeStreamtype { frame }.into());
        match frame {
            ToProxy::Streamtype(asked) => self.create(&asked).map(Some),
            ToProxy::TxCredit(_) | ToProxy::Timeout(_) | ToProxy::LengthHint(_) => Ok(None),
            ToProxy::Perf(piece) => take_perf(&piece).map(|()| None),
            ToProxy::OnwardConnect => early("ONWARD_CONNECT"),
            ToProxy::Destroying => early("DESTROYING"),
            ToProxy::Payload { .. } => early("TX_PAYLOAD"),
            ToProxy::Metadata { .. } => early("METADATA"),
            _ => early("an unknown frame"),
        }
    }

    fn create(&self, asked: &Streamtype<'_>) -> Result<Stream<D>, Ending> {
        let Surroundings { policy, dialer, .. } = &self.surroundings;
        if asked.version != VERSION {
            return Err(ProtocolError::Version(asked.version).into());
        }
        if asked.name.len() > STREAMTYPE_NAME_MAX {
            return Err(ProtocolError::NameLength(asked.name.len()).into());
        }
        let name = String::from_utf8_lossy(asked.name).into_owned();
        tracing::Span::current().record("streamtype", &name);
        let Some(streamtype) = policy.streamtype(&name) else {
            let near = near::remark(&name, policy.streamtypes.keys().map(String::as_str));
            return Err(Ending::Refused(Refusal::Unknown { name, near }));
        };
        let protocol = streamtype.protocol;
        if streamtype.server {
            return Err(Ending::Refused(Refusal::Server { name }));
        }
        if streamtype.local_sink {
            return Err(Ending::Refused(Refusal::LocalSink { name }));
        }
        if !dialer.supports(protocol) {
            let protocol = protocol.to_string();
            return Err(Ending::Refused(Refusal::Protocol { name, protocol }));
        }
        // To go out unsigned, or past the proxy that the policy names, is not for us to decide.
        if streamtype.use_auth.is_some() {
            return Err(Ending::Refused(Refusal::NotDone { name, key: "use_auth" }));
        }
        if policy.via_socks5.is_some() {
            return Err(Ending::Refused(Refusal::NotDone { name, key: "via-socks5" }));
        }
        info!(
            %protocol,
            pid = asked.process_id(),
            honours_credit = asked.honours_credit(),
            "stream created"
        );
        Ok(Stream::create(
            &self.surroundings,
            policy.rideshare_chain(&name),
            Arc::clone(streamtype),
            asked,
            self.is_narrow,
        ))
    }

    fn log(&self, ending: &Ending) {
        let counts = &self.surroundings.counts;
        let (from_client, to_client) = match &self.stage {
            Stage::Unnamed { .. } => (0, 0),
            Stage::Created(stream) => stream.passed(),
        };
        match ending {
            Ending::Closed | Ending::Destroyed | Ending::Shutdown | Ending::Link(_) => {
                info!(from_client, to_client, "session ended: {ending}");
                return;
            }
            Ending::Refused(_) => counts.refused.add(1),
            Ending::Protocol(_) => counts.protocol_errors.add(1),
        }
        warn!(from_client, to_client, "session ended: {ending}");
    }

    /// What the client is still to hear; `None` if nobody listens.
    fn last_words(&mut self, ending: &Ending) -> Option<Outbox> {
        let nothing = || Outbox::new(Style::Plain, ClientCredit::Unlimited);
        match ending {
            Ending::Closed | Ending::Link(_) => None,
            Ending::Refused(_) => {
                let mut outbox = nothing();
                let list = Piece { data: &[], offset: 0, total: 0 };
                let refused = ToClient::CreateResult { result: 1, client_buflen: 0, list };
                outbox.push(&refused).ok()?;
                Some(outbox)
            }
            Ending::Destroyed => Some(nothing()),
            Ending::Shutdown | Ending::Protocol(_) => match &mut self.stage {
                Stage::Unnamed { .. } => Some(nothing()),
                Stage::Created(stream) => {
                    if matches!(ending, Ending::Shutdown) {
                        stream.destroy();
                    }
                    Some(std::mem::replace(&mut stream.outbox, nothing()))
                }
            },
        }
    }
}

/// A frame of a stream that is there.
fn take_frame<D: Dialer>(
    stream: &mut Stream<D>,
    frame: ToProxy<'_>,
    read: &Bytes,
) -> Result<(), Ending> {
    match frame {
        ToProxy::Streamtype(_) => return Err(ProtocolError::SecondStreamtype.into()),
        ToProxy::OnwardConnect => stream.handle_connect(),
        ToProxy::Destroying => return Err(Ending::Destroyed),
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
fn take_perf(piece: &Piece<'_>) -> Result<(), Ending> {
    if piece.total == 0 { Err(ProtocolError::EmptyPerf.into()) } else { Ok(()) }
}

/// Says the last words and waits until the client has closed too: closing first with bytes of it
/// unread would make TCP take back what was said.
async fn part<R: LinkReader, W: LinkWriter>(
    mut last_words: Outbox,
    mut reader: R,
    mut writer: W,
) -> io::Result<()> {
    while !last_words.is_empty() {
        last_words.write(&mut writer).await?;
    }
    writer.shutdown().await?;
    let mut unheard = [0; 1024];
    while reader.read(&mut unheard).await? > 0 {}
    Ok(())
}

/// The buffer that the link is read into. It grows with what comes, so that an idle stream holds
/// little; payload leaves it without being copied.
struct Input {
    buffer: BytesMut,
    size: usize,
}

impl Input {
    const SIZE_MIN: usize = 1024;
    const SIZE_MAX: usize = 64 * 1024;

    fn new() -> Self {
        Self { buffer: BytesMut::new(), size: Self::SIZE_MIN }
    }

    /// What came, nothing at the end. Nothing is lost if the call is cancelled.
    async fn read<R: LinkReader>(&mut self, link: &mut R) -> io::Result<Bytes> {
        if self.buffer.capacity() < self.size / 2 {
            self.buffer.reserve(self.size);
        }
        let room = self.buffer.capacity();
        let length = link.read_buf(&mut self.buffer).await?;
        if length == room {
            self.size = (self.size * 4).min(Self::SIZE_MAX);
        } else if length < self.size / 8 {
            self.size = (self.size / 4).max(Self::SIZE_MIN);
        }
        Ok(self.buffer.split().freeze())
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
