//! Frames on their way to the client: all that must be known of clients stands here and in
//! [`framing`].

mod framing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sspc_wire::limits::{FRAME_HEAD, PAYLOAD_FIXED};
use sspc_wire::{Direction, EncodeError, Flags, PayloadHead, Piece, ToClient};
use tokio::time::Instant;

pub(crate) use self::framing::FramingMode;
use self::framing::{Cut, Cutter, ENDS, HOLD_MAX, Pending, STARTS, has};
use super::credit::ClientCredit;
use super::link::LinkWriter;
use crate::observe::SessionFrames;

/// The longest fixed frame: the head of RX_PAYLOAD.
const HEAD_MAX: usize = FRAME_HEAD + PAYLOAD_FIXED;
/// Most slices of one write.
const SLICES_MAX: usize = 32;
/// How long payload waits at the most for credit for a whole frame while the client gives some for
/// less: the override timeout of RFC 1122, section 4.2.3.4.
const CREDIT_HOLD_MAX: Duration = Duration::from_millis(250);
/// Payload of up to this many bytes is copied behind payload that still waits, rather than get a
/// frame of its own.
const JOIN_MAX: usize = 2048;

/// A frame: up to [`HEAD_MAX`] bytes of its own, then the others.
#[derive(Debug)]
struct Frame {
    head: [u8; HEAD_MAX],
    head_length: usize,
    body: Body,
    /// The head's fields, if the frame carries payload.
    payload: Option<(Flags, u64)>,
    written: usize,
}

#[derive(Debug)]
enum Body {
    Shared(Bytes),
    /// Pieces that came one by one.
    Joined(BytesMut),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Shared(bytes) => bytes,
            Body::Joined(bytes) => bytes,
        }
    }
}

impl Frame {
    fn new(head: [u8; HEAD_MAX], head_length: usize, body: Bytes) -> Self {
        Self { head, head_length, body: Body::Shared(body), payload: None, written: 0 }
    }

    /// `None` if the payload is longer than a frame, which [`FramingMode::payload_max`] rules out.
    fn payload(body: Bytes, flags: Flags, written_us: u64) -> Option<Self> {
        let (head, head_length) = payload_head(body.len(), flags, written_us)?;
        let payload = Some((flags, written_us));
        Some(Self { payload, ..Self::new(head, head_length, body) })
    }

    fn length(&self) -> usize {
        self.head_length + self.body.bytes().len()
    }

    fn unwritten(&self) -> usize {
        self.length() - self.written
    }

    /// All of it, in two parts.
    fn parts(&self) -> [&[u8]; 2] {
        [self.head.get(..self.head_length).unwrap_or_default(), self.body.bytes()]
    }

    /// What is not written yet, in two parts.
    fn rest(&self) -> [&[u8]; 2] {
        let head = self.head.get(..self.head_length).unwrap_or_default();
        let skipped = self.written.saturating_sub(self.head_length);
        let body = self.body.bytes().get(skipped..).unwrap_or_default();
        [head.get(self.written..).unwrap_or_default(), body]
    }

    /// Adds payload behind if the frame waits untouched and still goes on; true if it did.
    fn join(&mut self, bytes: &[u8], flags: Flags, max: usize) -> bool {
        let Some((own, written_us)) = self.payload.filter(|(own, _)| !has(*own, ENDS)) else {
            return false;
        };
        let length = self.body.bytes().len() + bytes.len();
        let is_small = bytes.len() <= JOIN_MAX && length <= max;
        // The RELATED flags come on payload of 0 bytes.
        let is_own = has(flags, STARTS) || (bytes.is_empty() && flags != Flags::EOM);
        if self.written > 0 || is_own || !is_small {
            return false;
        }
        let flags = own | flags;
        let Some((head, head_length)) = payload_head(length, flags, written_us) else {
            return false;
        };
        if let Body::Shared(shared) = &self.body {
            self.body = Body::Joined(BytesMut::from(&shared[..]));
        }
        if let Body::Joined(joined) = &mut self.body {
            joined.put_slice(bytes);
        }
        (self.head, self.head_length, self.payload) =
            (head, head_length, Some((flags, written_us)));
        true
    }
}

/// The head of RX_PAYLOAD for so many bytes.
fn payload_head(length: usize, flags: Flags, written_us: u64) -> Option<([u8; HEAD_MAX], usize)> {
    let total = u16::try_from(length).ok()?;
    let frame = ToClient::Payload {
        head: PayloadHead { flags, held_us: 0, written_us },
        rideshare: None,
        piece: Piece { data: &[], offset: 0, total },
    };
    let mut head = [0; HEAD_MAX];
    let head_length = frame.encode(&mut head).ok()?;
    Some((head, head_length))
}

/// Frames that wait to be written, and payload that waits for credit.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    mode: FramingMode,
    cutter: Cutter,
    credit: ClientCredit,
    /// The most of it that the client has given and the proxy not used.
    most_credit: ClientCredit,
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Payload goes in frames as it came, and waits for credit for all of it.
    is_whole: bool,
    /// Payload that is in no frame yet.
    pending: Option<Pending>,
    /// It waits for the client's credit.
    is_blocked: bool,
    /// Until when it may be held back for what comes after it.
    held_until: Option<Instant>,
    /// Payload frames tell their time from here.
    origin: Instant,
    /// For writers that take one slice at a time.
    gathered: BytesMut,
    /// Where frames are shown that were written.
    shown_to: Option<SessionFrames>,
}

impl FrameWriter {
    pub(crate) fn new(mode: FramingMode, credit: ClientCredit, now: Instant) -> Self {
        Self {
            mode,
            cutter: Cutter::new(mode),
            credit,
            most_credit: credit,
            frames: VecDeque::new(),
            bytes: 0,
            is_whole: false,
            pending: None,
            is_blocked: false,
            held_until: None,
            origin: now,
            gathered: BytesMut::new(),
            shown_to: None,
        }
    }

    /// Shows frames there, as they are written.
    pub(crate) fn show(&mut self, to: Option<SessionFrames>) {
        self.shown_to = to;
    }

    /// The same for short messages each of which is a frame, whatever credit there is: the other end
    /// may be a bridge, behind which a program takes each frame for a message.
    pub(crate) fn of_whole_messages(mode: FramingMode, credit: ClientCredit, now: Instant) -> Self {
        Self { is_whole: true, ..Self::new(mode, credit, now) }
    }

    /// Queues a frame that carries no payload.
    ///
    /// # Errors
    /// The frame breaks a limit of the wire; nothing was queued.
    pub(crate) fn push(&mut self, frame: &ToClient<'_>) -> Result<(), EncodeError> {
        let mut head = [0; HEAD_MAX];
        match frame.encode(&mut head) {
            Ok(head_length) => {
                self.queue(Frame::new(head, head_length, Bytes::new()));
                Ok(())
            }
            Err(EncodeError::NoRoom { needed }) => {
                let mut body = vec![0; needed];
                let length = frame.encode(&mut body)?;
                body.truncate(length);
                self.queue(Frame::new(head, 0, body.into()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Queues payload, cut into frames. What the client gave no credit for waits; the rest may be
    /// held back for a moment, see [`FrameWriter::deadline`].
    pub(crate) fn push_payload(&mut self, bytes: Bytes, flags: Flags, now: Instant) {
        if bytes.is_empty() && flags == Flags::NONE {
            return;
        }
        let ends_only = bytes.is_empty() && flags == Flags::EOM && self.pending.is_none();
        if ends_only && self.end_last_payload() {
            return;
        }
        match &mut self.pending {
            None => self.pending = Some(Pending { bytes, flags, since: now }),
            Some(pending) => pending.join(&bytes, flags),
        }
        self.release(now, false);
    }

    /// TXCR_UPDATE of the client.
    pub(crate) fn add_credit(&mut self, update: i32, now: Instant) {
        self.credit.add(update);
        self.most_credit.raise_to(self.credit);
        self.release(now, false);
    }

    /// When [`FrameWriter::handle_deadline`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held_until
    }

    /// Payload is held back no longer; harmless if early.
    pub(crate) fn handle_deadline(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.release(now, true);
        }
    }

    /// The connection is gone. What came from it goes out, but for what waits for credit.
    pub(crate) fn end_of_attempt(&mut self, now: Instant) {
        self.release(now, true);
        self.pending = None;
        self.is_blocked = false;
        self.held_until = None;
        self.cutter.reset();
    }

    /// Raises the credit to `credit` at least.
    pub(crate) fn renew_credit(&mut self, credit: ClientCredit, now: Instant) {
        self.credit.raise_to(credit);
        self.release(now, false);
    }

    /// The most credit that the client had given and the proxy not used at any time; `None` if there
    /// is no limit.
    pub(crate) fn most_credit(&self) -> Option<u32> {
        match self.most_credit {
            ClientCredit::Unlimited => None,
            ClientCredit::Bytes(bytes) => Some(u32::try_from(bytes).unwrap_or(u32::MAX)),
        }
    }

    /// True if payload waits for the client's credit.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that wait to be written.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// How much memory all that waits takes, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.bytes.len());
        self.bytes + pending + self.frames.len() * size_of::<Frame>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Writes what the link takes now. Nothing is lost if the call is cancelled.
    ///
    /// # Errors
    /// The link's.
    pub(crate) async fn write<W: LinkWriter>(&mut self, link: &mut W) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx, link)).await
    }

    fn poll_write<W: LinkWriter>(
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
                    if self.mode == FramingMode::OneByteEnds {
                        // A frame a turn, so that the client may read it before the next one comes
                        // and takes the end of its read.
                        std::thread::yield_now();
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if progress => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One write call: one frame, or many for a client that takes them so.
    fn poll_write_once<W: LinkWriter>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut W,
    ) -> Poll<io::Result<usize>> {
        if self.mode == FramingMode::OneRead {
            ready!(link.poll_all_read(cx))?;
        }
        let vectored = link.is_write_vectored();
        let count = self.frames_of_a_write();
        let Self { frames, gathered, .. } = self;
        let parts = frames.iter().take(count).flat_map(Frame::rest);
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

    /// How many of the frames go into one write.
    fn frames_of_a_write(&self) -> usize {
        let (frames_max, bytes_max) = self.mode.write_max();
        let mut bytes = 0_usize;
        let fitting = self.frames.iter().take(frames_max).take_while(|frame| {
            bytes = bytes.saturating_add(frame.unwritten());
            bytes <= bytes_max
        });
        fitting.count().max(1)
    }

    fn advance(&mut self, mut length: usize) {
        self.bytes = self.bytes.saturating_sub(length);
        while let Some(frame) = self.frames.front_mut() {
            let rest = frame.unwritten();
            if length < rest {
                frame.written += length;
                return;
            }
            length -= rest;
            if let Some(shown_to) = self.shown_to.as_ref().filter(|to| to.are_followed()) {
                shown_to.give(Direction::ToClient, frame.parts());
            }
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
        let may_join = self.mode != FramingMode::OneByteEnds;
        let ended = may_join
            && self.frames.back_mut().is_some_and(|frame| frame.join(&[], Flags::EOM, usize::MAX));
        if ended {
            self.cutter.made(1, Flags::EOM);
        }
        ended
    }

    /// Turns pending payload into frames, as far as the credit and the client's needs go. `is_due`:
    /// it is not held back for what may come.
    fn release(&mut self, now: Instant, is_due: bool) {
        self.is_blocked = false;
        let mut held_until = self.held_until.take();
        while let Some(pending) = &mut self.pending {
            if self.is_whole && !self.credit.allows(pending.bytes.len()) {
                self.is_blocked = true;
                return;
            }
            let cut = self.cutter.next(pending, is_due);
            if let Cut::UpTo(length) = cut
                && !is_due
                && self.credit.is_too_little(length, self.most_credit)
            {
                self.is_blocked = true;
                self.held_until = held_until.or(Some(now + CREDIT_HOLD_MAX));
                return;
            }
            let length = match cut {
                Cut::UpTo(length) => self.credit.take(length),
                Cut::Whole(length) if self.credit.allows(length) => self.credit.take(length),
                Cut::Whole(_) => self.credit.take(1),
                Cut::Hold => {
                    self.held_until = (!is_due).then(|| pending.since + HOLD_MAX);
                    return;
                }
            };
            if length == 0 && !pending.bytes.is_empty() {
                self.is_blocked = true;
                return;
            }
            let body = pending.bytes.split_to(length);
            let is_last = pending.bytes.is_empty();
            let flags = if is_last { pending.flags } else { pending.flags.without(ENDS) };
            pending.flags = pending.flags.without(STARTS);
            pending.since = now;
            if is_last {
                self.pending = None;
            }
            held_until = None;
            self.cutter.made(body.len(), flags);
            self.queue_payload(body, flags, now);
        }
    }

    fn queue_payload(&mut self, body: Bytes, flags: Flags, now: Instant) {
        let max = self.cutter.join_max();
        // A byte that begins or ends a message stays alone where that is the point of it.
        let may_join = self.mode != FramingMode::OneByteEnds || flags == Flags::NONE;
        let before = self.frames.back_mut().filter(|_| may_join);
        let joins = |frame: &Frame| {
            self.mode != FramingMode::OneByteEnds
                || frame.payload.is_some_and(|(own, _)| own == Flags::NONE)
        };
        let added = body.len();
        if before.is_some_and(|frame| joins(frame) && frame.join(&body, flags, max)) {
            self.bytes += added;
            return;
        }
        let written = now.saturating_duration_since(self.origin).as_micros();
        let written_us = u64::try_from(written).unwrap_or(u64::MAX);
        if let Some(frame) = Frame::payload(body, flags, written_us) {
            self.queue(frame);
        }
    }
}
