//! The receiving half of a connection.

use crate::Role;
use crate::close::CloseFrame;
use crate::error::DecodeError;
use crate::event::{ControlPayload, Event, MessageKind, Piece};
use crate::header::{self, Expect, Header, PartialHeader};
use crate::inflate::Inflater;
use crate::mask::Mask;
use crate::params::DeflateParams;
use crate::utf8::Utf8;

/// How much of a frame that is both masked and compressed is unmasked at a time.
const UNMASK_CHUNK: usize = 512;

/// Turns the peer's bytes into [`Event`]s, piece by piece.
///
/// Give [`decode`](Self::decode) what was received, again and again, until it answers `None`;
/// then receive more. Bytes that it did not take must be given again, though after `None` there
/// are none.
///
/// ```
/// use sspc_ws::{Decoder, Event, MessageKind, Piece, Role};
///
/// # fn main() -> Result<(), sspc_ws::DecodeError> {
/// let mut decoder = Decoder::new(Role::Client, None);
/// let mut scratch = [0; 1024];
///
/// // A frame of five bytes, of which three have come.
/// let mut input: &[u8] = b"\x81\x05Hel";
/// let event = decoder.decode(&mut input, &mut scratch)?;
/// let kind = MessageKind::Text;
/// let piece = Piece { kind, first: true, last: false, bytes: b"Hel" };
/// assert_eq!(event, Some(Event::Data(piece)));
/// assert_eq!(decoder.decode(&mut input, &mut scratch)?, None);
///
/// let mut input: &[u8] = b"lo";
/// let event = decoder.decode(&mut input, &mut scratch)?;
/// let piece = Piece { kind, first: false, last: true, bytes: b"lo" };
/// assert_eq!(event, Some(Event::Data(piece)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// Made if permessage-deflate was negotiated.
    inflater: Option<Inflater>,
    /// The message that has begun and not ended.
    message: Option<Message>,
    state: State,
}

/// Where in the stream of frames we are.
///
/// ```text
///           ┌────────────── payload over ───────────────┐
///           ▼                                           │
///        Header ── text, binary, continuation ──►    Payload
///           │ ▲
///           │ └─────── ping, pong ───────┐
///           └─── close, ping, pong ──► Control ── close ──► Closed
///
///        any ── DecodeError ──► Failed
/// ```
#[derive(Debug)]
enum State {
    Header(PartialHeader),
    Payload(DataFrame),
    Control(ControlFrame),
    Closed,
    Failed(DecodeError),
}

/// A data frame whose header was read.
#[derive(Debug, Clone, Copy)]
struct DataFrame {
    fin: bool,
    /// Bytes of payload that have not been taken yet.
    left: u64,
    mask: Option<Mask>,
    /// All that comes of this frame was handed out.
    over: bool,
    /// What comes next is not DEFLATE, once the piece before it was handed out.
    invalid: bool,
}

impl DataFrame {
    /// How many of `available` bytes belong to this frame.
    fn within(&self, available: usize) -> usize {
        usize::try_from(self.left).map_or(available, |left| left.min(available))
    }
}

#[derive(Debug)]
struct ControlFrame {
    opcode: u8,
    left: usize,
    mask: Option<Mask>,
    payload: ControlPayload,
}

#[derive(Debug)]
struct Message {
    kind: MessageKind,
    compressed: bool,
    /// A piece was handed out, so that the next one is not the first.
    begun: bool,
    utf8: Utf8,
}

/// What one step through the states came to.
enum Step<'a> {
    /// The state has changed; go on.
    Again,
    NeedInput,
    /// A piece that lies in the input.
    InPlace {
        bytes: &'a [u8],
        last: bool,
    },
    /// A piece that lies in the first `len` bytes of the scratch buffer.
    InScratch {
        len: usize,
        last: bool,
    },
    Control(Event<'static>),
}

impl Decoder {
    /// A decoder for a connection on which we are `role`, just after its handshake. `deflate` is
    /// what was negotiated there, `None` if nothing was.
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        Self {
            role,
            inflater: deflate.map(|params| Inflater::new(params.received_by(role))),
            message: None,
            state: State::Header(PartialHeader::default()),
        }
    }

    /// Whether the peer's close frame has come: the end of the transport is expected now, and an
    /// end before it is an abnormal closure (1006 of RFC 6455 §7.4.1).
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether [`release`](Self::release) would give memory back: what inflates messages without context.
    pub fn has_spare(&self) -> bool {
        self.inflater.as_ref().is_some_and(Inflater::has_spare)
    }

    /// Gives back what the next compressed message would be quicker with, some 40 KiB. For a connection
    /// on which nothing came for a while.
    pub fn release(&mut self) {
        self.inflater.iter_mut().for_each(Inflater::release);
    }

    /// Takes bytes from the front of `input` up to the next event. `None` means that all of
    /// `input` was taken and more is needed.
    ///
    /// Data that is neither masked nor compressed is handed out in place, as a part of `input`.
    /// Other data is unmasked or inflated into `scratch`, and no piece is longer than it; its size
    /// may change from call to call, and a few KiB are a good one. One call does work in proportion
    /// to the input that it takes and the scratch that it fills, whatever the peer sent.
    ///
    /// The last piece of an uncompressed message is the one with its last byte. Of a compressed
    /// message the same is true, except when that byte fills `scratch` exactly: then an empty last
    /// piece follows. Empty pieces also come from an empty message, and when the peer ends a
    /// message with an empty frame.
    ///
    /// After [`Event::Close`] whatever follows is taken and dropped (RFC 6455 §1.4).
    ///
    /// # Errors
    ///
    /// The peer broke a rule; [`DecodeError::close_code`] says what to tell it. Each further call
    /// gives the same error. Only after [`DecodeError::NoScratch`], an empty `scratch` where it is
    /// needed, the decoder is unharmed.
    pub fn decode<'input: 'event, 'event>(
        &mut self,
        input: &mut &'input [u8],
        scratch: &'event mut [u8],
    ) -> Result<Option<Event<'event>>, DecodeError> {
        let result = self.run(input, scratch);
        if let Err(error) = result
            && error != DecodeError::NoScratch
        {
            self.state = State::Failed(error);
        }
        result
    }

    fn run<'input: 'event, 'event>(
        &mut self,
        input: &mut &'input [u8],
        scratch: &'event mut [u8],
    ) -> Result<Option<Event<'event>>, DecodeError> {
        loop {
            match self.step(input, scratch)? {
                Step::Again => {}
                Step::NeedInput => return Ok(None),
                Step::InPlace { bytes, last } => return self.piece(bytes, last),
                Step::InScratch { len, last } => {
                    let scratch: &'event [u8] = scratch;
                    return self.piece(&scratch[..len], last);
                }
                Step::Control(event) => return Ok(Some(event)),
            }
        }
    }

    fn step<'a>(
        &mut self,
        input: &mut &'a [u8],
        scratch: &mut [u8],
    ) -> Result<Step<'a>, DecodeError> {
        match &mut self.state {
            State::Header(partial) => {
                let expect = Expect {
                    masked: self.role == Role::Server,
                    deflate: self.inflater.is_some(),
                    in_message: self.message.is_some(),
                };
                match partial.push(input, expect)? {
                    Some(header) => {
                        self.begin_frame(header);
                        Ok(Step::Again)
                    }
                    None => Ok(Step::NeedInput),
                }
            }
            State::Payload(frame) => {
                let step = match (&self.message, &mut self.inflater) {
                    (Some(Message { compressed: true, .. }), Some(inflater)) => {
                        inflate(frame, inflater, input, scratch)?
                    }
                    _ => plain(frame, input, scratch)?,
                };
                if frame.over {
                    self.state = State::Header(PartialHeader::default());
                }
                Ok(step)
            }
            State::Control(frame) => match frame.take(input) {
                true => self.end_control(),
                false => Ok(Step::NeedInput),
            },
            State::Closed => {
                *input = &[];
                Ok(Step::NeedInput)
            }
            State::Failed(error) => Err(*error),
        }
    }

    /// Enters the frame of a header that was found good.
    fn begin_frame(&mut self, header: Header) {
        let mask = header.mask.map(Mask::new);
        if header::is_control(header.opcode) {
            self.state = State::Control(ControlFrame {
                opcode: header.opcode,
                left: header.len as usize,
                mask,
                payload: ControlPayload::EMPTY,
            });
            return;
        }
        if header.opcode != header::CONTINUATION {
            let kind = match header.opcode {
                header::TEXT => MessageKind::Text,
                _ => MessageKind::Binary,
            };
            let compressed = header.rsv1;
            self.message = Some(Message { kind, compressed, begun: false, utf8: Utf8::default() });
        }
        self.state = State::Payload(DataFrame {
            fin: header.fin,
            left: header.len,
            mask,
            over: false,
            invalid: false,
        });
    }

    fn end_control<'a>(&mut self) -> Result<Step<'a>, DecodeError> {
        let next = State::Header(PartialHeader::default());
        let State::Control(frame) = core::mem::replace(&mut self.state, next) else {
            return Ok(Step::Again);
        };
        Ok(Step::Control(match frame.opcode {
            header::PING => Event::Ping(frame.payload),
            header::PONG => Event::Pong(frame.payload),
            _ => {
                let close = CloseFrame::parse(frame.payload)?;
                self.state = State::Closed;
                Event::Close(close)
            }
        }))
    }

    /// Makes an event of the message's next bytes.
    fn piece<'a>(&mut self, bytes: &'a [u8], last: bool) -> Result<Option<Event<'a>>, DecodeError> {
        let Some(message) = &mut self.message else { return Ok(None) };
        if message.kind == MessageKind::Text
            && (!message.utf8.push(bytes) || (last && !message.utf8.is_complete()))
        {
            return Err(DecodeError::InvalidUtf8);
        }
        let piece = Piece { kind: message.kind, first: !message.begun, last, bytes };
        message.begun = true;
        if last {
            self.message = None;
        }
        Ok(Some(Event::Data(piece)))
    }
}

impl ControlFrame {
    /// Takes what there is of the payload; `true` once it is whole.
    fn take(&mut self, input: &mut &[u8]) -> bool {
        let (bytes, rest) = input.split_at(self.left.min(input.len()));
        *input = rest;
        self.left -= bytes.len();
        let bytes = self.payload.push(bytes);
        if let Some(mask) = &mut self.mask {
            mask.apply(bytes);
        }
        self.left == 0
    }
}

/// The next piece of a frame that is not compressed.
fn plain<'a>(
    frame: &mut DataFrame,
    input: &mut &'a [u8],
    scratch: &mut [u8],
) -> Result<Step<'a>, DecodeError> {
    if frame.left == 0 {
        // An empty frame. Unless it ends the message there is nothing to tell.
        frame.over = true;
        return Ok(match frame.fin {
            true => Step::InPlace { bytes: &[], last: true },
            false => Step::Again,
        });
    }
    if input.is_empty() {
        return Ok(Step::NeedInput);
    }
    let mut len = frame.within(input.len());
    if frame.mask.is_some() {
        len = len.min(scratch.len());
    }
    if len == 0 {
        return Err(DecodeError::NoScratch);
    }
    let (bytes, rest) = input.split_at(len);
    *input = rest;
    frame.left -= len as u64;
    frame.over = frame.left == 0;
    let last = frame.fin && frame.over;
    Ok(match &mut frame.mask {
        Some(mask) => {
            let scratch = &mut scratch[..len];
            scratch.copy_from_slice(bytes);
            mask.apply(scratch);
            Step::InScratch { len, last }
        }
        None => Step::InPlace { bytes, last },
    })
}

/// The next piece of a frame of a compressed message.
fn inflate<'a>(
    frame: &mut DataFrame,
    inflater: &mut Inflater,
    input: &mut &[u8],
    scratch: &mut [u8],
) -> Result<Step<'a>, DecodeError> {
    if frame.invalid {
        return Err(DecodeError::InvalidDeflate);
    }
    let mut len = 0;
    while frame.left > 0 || inflater.has_more_output() {
        let available = &input[..frame.within(input.len())];
        if available.is_empty() && !inflater.has_more_output() {
            return Ok(match len {
                0 => Step::NeedInput,
                _ => Step::InScratch { len, last: false },
            });
        }
        if scratch.is_empty() {
            return Err(DecodeError::NoScratch);
        }
        let output = &mut scratch[len..];
        let progress = match &mut frame.mask {
            Some(mask) => {
                let mut chunk = [0; UNMASK_CHUNK];
                let chunk = &mut chunk[..available.len().min(UNMASK_CHUNK)];
                chunk.copy_from_slice(&available[..chunk.len()]);
                // A copy of the key: only what is consumed may move it on.
                mask.clone().apply(chunk);
                let progress = inflater.feed(chunk, output);
                mask.skip(progress.consumed);
                progress
            }
            None => inflater.feed(available, output),
        };
        *input = &input[progress.consumed..];
        frame.left -= progress.consumed as u64;
        len += progress.produced;
        if progress.invalid {
            return invalid(frame, len);
        }
        if len == scratch.len() {
            return Ok(Step::InScratch { len, last: false });
        }
    }
    if frame.fin {
        if inflater.finish().is_err() {
            return invalid(frame, len);
        }
        frame.over = true;
        return Ok(Step::InScratch { len, last: true });
    }
    frame.over = true;
    Ok(match len {
        0 => Step::Again,
        _ => Step::InScratch { len, last: false },
    })
}

/// Refuses what comes after `len` bytes that are good. Those are handed out first, so that what
/// the user sees, and which fault is found first, does not hang on how the input was cut.
fn invalid<'a>(frame: &mut DataFrame, len: usize) -> Result<Step<'a>, DecodeError> {
    if len == 0 {
        return Err(DecodeError::InvalidDeflate);
    }
    frame.invalid = true;
    Ok(Step::InScratch { len, last: false })
}
