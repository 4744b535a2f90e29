//! Frames on their way to the client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use sspc_wire::limits::{FRAME_HEAD, PAYLOAD_FIXED, PAYLOAD_LARGE, PAYLOAD_SAFE};
use sspc_wire::{EncodeError, Flags, PayloadHead, Piece, ToClient};
use tokio::io::AsyncWrite;

use super::credit::ClientCredit;

/// How frames are cut and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingMode {
    /// For every deployed client: little payload a frame, one write a frame. Such clients hand on
    /// a frame that they do not read in one go as several, each with all its flags.
    Plain,
    /// For clients that announced that they take it, on a narrow link: little payload a frame, so
    /// that none holds the link for long.
    Small,
    /// For such clients on a wide link: large frames, many a write.
    Large,
}

impl FramingMode {
    pub(crate) const fn of(honours_credit: bool, is_narrow: bool) -> Self {
        match (honours_credit, is_narrow) {
            (false, _) => Self::Plain,
            (true, true) => Self::Small,
            (true, false) => Self::Large,
        }
    }

    const fn payload_max(self) -> usize {
        match self {
            Self::Plain | Self::Small => PAYLOAD_SAFE,
            Self::Large => PAYLOAD_LARGE,
        }
    }

    /// Most frames of one write.
    const fn frames_max(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Small => 4,
            Self::Large => SLICES_MAX / 2,
        }
    }
}

/// The longest fixed frame: the head of RX_PAYLOAD.
const HEAD_MAX: usize = FRAME_HEAD + PAYLOAD_FIXED;
/// Where the lowest byte of an RX_PAYLOAD's flags lies.
const FLAGS_LOW: usize = FRAME_HEAD + 3;
/// Most slices of one write.
const SLICES_MAX: usize = 32;

/// A frame: up to [`HEAD_MAX`] bytes of its own, then the shared ones.
#[derive(Debug)]
struct Frame {
    head: [u8; HEAD_MAX],
    head_length: usize,
    body: Bytes,
    is_payload: bool,
    written: usize,
}

impl Frame {
    fn length(&self) -> usize {
        self.head_length + self.body.len()
    }

    /// What is not written yet, in two parts.
    fn rest(&self) -> [&[u8]; 2] {
        let head = self.head.get(..self.head_length).unwrap_or_default();
        let skipped = self.written.saturating_sub(self.head_length);
        [head.get(self.written..).unwrap_or_default(), self.body.get(skipped..).unwrap_or_default()]
    }
}

/// Frames that wait to be written, and payload that waits for credit.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    mode: FramingMode,
    credit: ClientCredit,
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Payload for which the client gave no credit yet.
    held: Option<(Bytes, Flags)>,
    /// For writers that take one slice at a time.
    gathered: BytesMut,
}

impl FrameWriter {
    pub(crate) fn new(mode: FramingMode, credit: ClientCredit) -> Self {
        Self {
            mode,
            credit,
            frames: VecDeque::new(),
            bytes: 0,
            held: None,
            gathered: BytesMut::new(),
        }
    }

    /// Queues a frame that carries no payload.
    ///
    /// # Errors
    /// The frame breaks a limit of the wire; nothing was queued.
    pub(crate) fn push(&mut self, frame: &ToClient<'_>) -> Result<(), EncodeError> {
        let mut head = [0; HEAD_MAX];
        match frame.encode(&mut head) {
            Ok(head_length) => {
                self.queue(Frame {
                    head,
                    head_length,
                    body: Bytes::new(),
                    is_payload: false,
                    written: 0,
                });
                Ok(())
            }
            Err(EncodeError::NoRoom { needed }) => {
                let mut body = vec![0; needed];
                let length = frame.encode(&mut body)?;
                body.truncate(length);
                self.queue(Frame {
                    head,
                    head_length: 0,
                    body: body.into(),
                    is_payload: false,
                    written: 0,
                });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Queues payload, cut into frames; what the client gave no credit for is held back.
    /// `now_us` is the time that the frames carry.
    pub(crate) fn push_payload(&mut self, bytes: Bytes, flags: Flags, now_us: u64) {
        if bytes.is_empty() && flags == Flags::EOM && self.end_last_payload() {
            return;
        }
        match &mut self.held {
            None => self.held = Some((bytes, flags)),
            // Nothing is taken from the peer while payload is held, so this is out of line; to
            // keep the order is what counts.
            Some((held, held_flags)) => {
                let mut joined = BytesMut::with_capacity(held.len() + bytes.len());
                joined.put_slice(held);
                joined.put_slice(&bytes);
                *held = joined.freeze();
                *held_flags |= flags;
            }
        }
        self.release(now_us);
    }

    /// TXCR_UPDATE of the client.
    pub(crate) fn add_credit(&mut self, update: i32, now_us: u64) {
        self.credit.add(update);
        self.release(now_us);
    }

    /// Raises the credit to `credit` at least.
    pub(crate) fn renew_credit(&mut self, credit: ClientCredit) {
        if let (ClientCredit::Bytes(now), ClientCredit::Bytes(renewed)) = (&mut self.credit, credit)
        {
            *now = renewed.max(*now);
        }
    }

    /// Throws away payload that waits for credit: its connection is gone.
    pub(crate) fn drop_held(&mut self) {
        self.held = None;
    }

    /// True if payload waits for the client's credit.
    pub(crate) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that wait to be written.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Writes what the link takes now. Nothing is lost if the call is cancelled.
    ///
    /// # Errors
    /// The link's.
    pub(crate) async fn write<W: AsyncWrite + Unpin>(&mut self, link: &mut W) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx, link)).await
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut W,
    ) -> Poll<io::Result<()>> {
        let mut progress = false;
        while !self.frames.is_empty() {
            match self.poll_write_once(cx, link) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) => {
                    self.advance(length);
                    progress = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if progress => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One write call: one frame, or many for a client that takes them so.
    fn poll_write_once<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut W,
    ) -> Poll<io::Result<usize>> {
        let vectored = link.is_write_vectored();
        let Self { frames, gathered, mode, .. } = self;
        let parts = frames.iter().take(mode.frames_max()).flat_map(Frame::rest);
        let parts = parts.filter(|part| !part.is_empty());
        if !vectored {
            gathered.clear();
            parts.for_each(|part| gathered.put_slice(part));
            let length = ready!(Pin::new(link).poll_write(cx, gathered))?;
            return Poll::Ready(Ok(length));
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        Pin::new(link).poll_write_vectored(cx, slices)
    }

    fn advance(&mut self, mut length: usize) {
        self.bytes = self.bytes.saturating_sub(length);
        while let Some(frame) = self.frames.front_mut() {
            let rest = frame.length() - frame.written;
            if length < rest {
                frame.written += length;
                return;
            }
            length -= rest;
            self.frames.pop_front();
        }
    }

    fn queue(&mut self, frame: Frame) {
        self.bytes += frame.length();
        self.frames.push_back(frame);
    }

    /// Puts EOM on the last frame if that is payload and untouched: deployed clients lose payload
    /// after a frame of 0 bytes.
    fn end_last_payload(&mut self) -> bool {
        if let Some((_, flags)) = &mut self.held {
            *flags |= Flags::EOM;
            return true;
        }
        match self.frames.back_mut() {
            Some(frame) if frame.is_payload && frame.written == 0 => {
                frame.head[FLAGS_LOW] |= Flags::EOM.bits() as u8;
                true
            }
            _ => false,
        }
    }

    /// Turns held payload into frames, as far as the credit goes.
    fn release(&mut self, now_us: u64) {
        let Some((mut bytes, mut flags)) = self.held.take() else { return };
        loop {
            let length = self.credit.take(bytes.len().min(self.mode.payload_max()));
            if length == 0 && !bytes.is_empty() {
                self.held = Some((bytes, flags));
                return;
            }
            let body = bytes.split_to(length);
            let is_last = bytes.is_empty();
            let own = if is_last { flags } else { flags.without(ENDS) };
            if let Some(frame) = payload_frame(body, own, now_us) {
                self.queue(frame);
            }
            if is_last {
                return;
            }
            flags = flags.without(STARTS);
        }
    }
}

const STARTS: Flags = Flags::from_bits(Flags::SOM.bits() | Flags::RELATED_START.bits());
const ENDS: Flags = Flags::from_bits(Flags::EOM.bits() | Flags::RELATED_END.bits());

/// `None` if the payload is longer than a frame, which [`FramingMode::payload_max`] rules out.
fn payload_frame(body: Bytes, flags: Flags, now_us: u64) -> Option<Frame> {
    let total = u16::try_from(body.len()).ok()?;
    let frame = ToClient::Payload {
        head: PayloadHead { flags, held_us: 0, written_us: now_us },
        rideshare: None,
        piece: Piece { data: &[], offset: 0, total },
    };
    let mut head = [0; HEAD_MAX];
    let head_length = frame.encode(&mut head).ok()?;
    Some(Frame { head, head_length, body, is_payload: true, written: 0 })
}

#[cfg(test)]
mod tests;
