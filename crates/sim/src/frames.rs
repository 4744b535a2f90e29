//! Frames that own their bytes, with pieces joined, so that decodes of different cuts compare; and
//! what holds for every decoder, as functions that panic where it does not.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]
#![allow(clippy::missing_panics_doc, reason = "they panic where a decoder is wrong")]

use std::fmt::Debug;

use sspc_wire::{
    EncodeError, FrameError, MuxDecoder, MuxError, MuxFrame, PayloadHead, Piece, State, Streamtype,
    Timeout, ToClient, ToClientDecoder, ToProxy, ToProxyDecoder,
};

/// A whole frame of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the frames")]
pub enum Owned {
    /// [`ToClient::Payload`] or [`ToProxy::Payload`].
    Payload { head: PayloadHead, rideshare: Option<Vec<u8>>, data: Vec<u8> },
    /// [`ToClient::CreateResult`].
    CreateResult { result: u8, client_buflen: u32, list: Vec<u8> },
    /// [`ToClient::State`]: the state, and the ordinal.
    State(State, u32),
    /// [`ToClient::TxCredit`] or [`ToProxy::TxCredit`].
    TxCredit(i32),
    /// [`ToClient::Metadata`] or [`ToProxy::Metadata`].
    Metadata { name: Vec<u8>, value: Vec<u8> },
    /// [`ToClient::Perf`] or [`ToProxy::Perf`].
    Perf(Vec<u8>),
    /// [`ToProxy::Streamtype`].
    Streamtype { version: u8, pid: u32, tx_credit: i32, name: Vec<u8> },
    /// [`ToProxy::OnwardConnect`].
    OnwardConnect,
    /// [`ToProxy::Destroying`].
    Destroying,
    /// [`ToProxy::Timeout`].
    Timeout(Timeout),
    /// [`ToProxy::LengthHint`].
    LengthHint(u32),
    /// [`MuxFrame::Data`].
    MuxData { channel: u8, data: Vec<u8> },
    /// A frame of the mux that carries no data.
    Mux(MuxFrame<'static>),
}

/// Where a piece lies in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    offset: u16,
    length: usize,
    total: u16,
}

impl From<Piece<'_>> for Span {
    fn from(piece: Piece<'_>) -> Self {
        Self { offset: piece.offset, length: piece.data.len(), total: piece.total }
    }
}

impl Owned {
    /// The bytes that come in pieces.
    pub fn tail(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Payload { data, .. } | Self::MuxData { data, .. } => Some(data),
            Self::CreateResult { list, .. } => Some(list),
            Self::Metadata { value, .. } => Some(value),
            Self::Perf(json) => Some(json),
            _ => None,
        }
    }

    fn tail_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Payload { data, .. } | Self::MuxData { data, .. } => Some(data),
            Self::CreateResult { list, .. } => Some(list),
            Self::Metadata { value, .. } => Some(value),
            Self::Perf(json) => Some(json),
            _ => None,
        }
    }

    /// All but the bytes that come in pieces, as text.
    fn all_but_tail(&self) -> String {
        let mut copy = self.clone();
        if let Some(tail) = copy.tail_mut() {
            tail.clear();
        }
        format!("{copy:?}")
    }
}

/// One of the three decoders with its encoder.
pub trait Codec {
    /// What is wrong with the bytes.
    type Error: Copy + Debug + PartialEq;
    /// A decoder at the start of a frame.
    fn new() -> Self;
    /// Decodes the next frame or piece.
    fn step(&mut self, input: &mut &[u8]) -> Result<Option<(Owned, Option<Span>)>, Self::Error>;
    /// True between two frames.
    fn between(&self) -> bool;
    /// Writes the piece of `frame`'s body that begins at `offset` and has `length` bytes.
    fn write(
        frame: &Owned,
        offset: usize,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, EncodeError>;
}

fn piece_of(tail: &[u8], offset: usize, length: usize) -> Piece<'_> {
    let total = u16::try_from(tail.len()).unwrap();
    Piece { data: &tail[offset..offset + length], offset: offset as u16, total }
}

impl Codec for ToClientDecoder {
    type Error = FrameError;

    fn new() -> Self {
        Self::new()
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<(Owned, Option<Span>)>, FrameError> {
        let Some(frame) = self.next(input)? else { return Ok(None) };
        Ok(Some(match frame {
            ToClient::Payload { head, rideshare, piece } => {
                let rideshare = rideshare.map(<[u8]>::to_vec);
                let data = piece.data.to_vec();
                (Owned::Payload { head, rideshare, data }, Some(piece.into()))
            }
            ToClient::CreateResult { result, client_buflen, list } => {
                let owned = Owned::CreateResult { result, client_buflen, list: list.data.to_vec() };
                (owned, Some(list.into()))
            }
            ToClient::State { state, ordinal } => (Owned::State(state, ordinal), None),
            ToClient::TxCredit(credit) => (Owned::TxCredit(credit), None),
            ToClient::Metadata { name, value } => {
                let owned = Owned::Metadata { name: name.to_vec(), value: value.data.to_vec() };
                (owned, Some(value.into()))
            }
            ToClient::Perf(piece) => (Owned::Perf(piece.data.to_vec()), Some(piece.into())),
            other => panic!("unknown to this test: {other:?}"),
        }))
    }

    fn between(&self) -> bool {
        self.is_between_frames()
    }

    fn write(
        frame: &Owned,
        offset: usize,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let piece = |tail| piece_of(tail, offset, length);
        match frame {
            Owned::Payload { head, rideshare, data } => {
                let rideshare = rideshare.as_deref();
                ToClient::Payload { head: *head, rideshare, piece: piece(data) }
            }
            Owned::CreateResult { result, client_buflen, list } => ToClient::CreateResult {
                result: *result,
                client_buflen: *client_buflen,
                list: piece(list),
            },
            Owned::State(state, ordinal) => ToClient::State { state: *state, ordinal: *ordinal },
            Owned::TxCredit(credit) => ToClient::TxCredit(*credit),
            Owned::Metadata { name, value } => ToClient::Metadata { name, value: piece(value) },
            Owned::Perf(json) => ToClient::Perf(piece(json)),
            other => panic!("not to a client: {other:?}"),
        }
        .encode(out)
    }
}

impl Codec for ToProxyDecoder {
    type Error = FrameError;

    fn new() -> Self {
        Self::new()
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<(Owned, Option<Span>)>, FrameError> {
        let Some(frame) = self.next(input)? else { return Ok(None) };
        Ok(Some(match frame {
            ToProxy::Streamtype(Streamtype { version, pid, tx_credit, name }) => {
                (Owned::Streamtype { version, pid, tx_credit, name: name.to_vec() }, None)
            }
            ToProxy::OnwardConnect => (Owned::OnwardConnect, None),
            ToProxy::Destroying => (Owned::Destroying, None),
            ToProxy::Payload { head, rideshare, piece } => {
                let rideshare = rideshare.map(<[u8]>::to_vec);
                let data = piece.data.to_vec();
                (Owned::Payload { head, rideshare, data }, Some(piece.into()))
            }
            ToProxy::Metadata { name, value } => {
                let owned = Owned::Metadata { name: name.to_vec(), value: value.data.to_vec() };
                (owned, Some(value.into()))
            }
            ToProxy::TxCredit(credit) => (Owned::TxCredit(credit), None),
            ToProxy::Timeout(timeout) => (Owned::Timeout(timeout), None),
            ToProxy::LengthHint(bytes) => (Owned::LengthHint(bytes), None),
            ToProxy::Perf(piece) => (Owned::Perf(piece.data.to_vec()), Some(piece.into())),
            other => panic!("unknown to this test: {other:?}"),
        }))
    }

    fn between(&self) -> bool {
        self.is_between_frames()
    }

    fn write(
        frame: &Owned,
        offset: usize,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let piece = |tail| piece_of(tail, offset, length);
        match frame {
            Owned::Streamtype { version, pid, tx_credit, name } => {
                ToProxy::Streamtype(Streamtype {
                    version: *version,
                    pid: *pid,
                    tx_credit: *tx_credit,
                    name,
                })
            }
            Owned::OnwardConnect => ToProxy::OnwardConnect,
            Owned::Destroying => ToProxy::Destroying,
            Owned::Payload { head, rideshare, data } => {
                let rideshare = rideshare.as_deref();
                ToProxy::Payload { head: *head, rideshare, piece: piece(data) }
            }
            Owned::Metadata { name, value } => ToProxy::Metadata { name, value: piece(value) },
            Owned::TxCredit(credit) => ToProxy::TxCredit(*credit),
            Owned::Timeout(timeout) => ToProxy::Timeout(*timeout),
            Owned::LengthHint(bytes) => ToProxy::LengthHint(*bytes),
            Owned::Perf(json) => ToProxy::Perf(piece(json)),
            other => panic!("not to a proxy: {other:?}"),
        }
        .encode(out)
    }
}

impl Codec for MuxDecoder {
    type Error = MuxError;

    fn new() -> Self {
        Self::new()
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<(Owned, Option<Span>)>, MuxError> {
        let Some(frame) = self.next(input)? else { return Ok(None) };
        Ok(Some(match frame {
            MuxFrame::Data { channel, piece } => {
                (Owned::MuxData { channel, data: piece.data.to_vec() }, Some(piece.into()))
            }
            MuxFrame::ChannelReq(n) => (Owned::Mux(MuxFrame::ChannelReq(n)), None),
            MuxFrame::ChannelAck(n) => (Owned::Mux(MuxFrame::ChannelAck(n)), None),
            MuxFrame::ChannelNack(n) => (Owned::Mux(MuxFrame::ChannelNack(n)), None),
            MuxFrame::ChannelClose(n) => (Owned::Mux(MuxFrame::ChannelClose(n)), None),
            MuxFrame::ChannelCloseAck(n) => (Owned::Mux(MuxFrame::ChannelCloseAck(n)), None),
            MuxFrame::Ping { sent_us } => (Owned::Mux(MuxFrame::Ping { sent_us }), None),
            MuxFrame::Pong { echo_us, sent_us } => {
                (Owned::Mux(MuxFrame::Pong { echo_us, sent_us }), None)
            }
            MuxFrame::PongAck { unix_us } => (Owned::Mux(MuxFrame::PongAck { unix_us }), None),
            MuxFrame::Reset => (Owned::Mux(MuxFrame::Reset), None),
            other => panic!("unknown to this test: {other:?}"),
        }))
    }

    fn between(&self) -> bool {
        self.is_between_frames()
    }

    fn write(
        frame: &Owned,
        offset: usize,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        match frame {
            Owned::MuxData { channel, data } => {
                let piece = piece_of(data, offset, length);
                MuxFrame::Data { channel: *channel, piece }.encode(out)
            }
            Owned::Mux(frame) => frame.encode(out),
            other => panic!("not of the mux: {other:?}"),
        }
    }
}

/// What came out of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<E> {
    /// The frames, the last perhaps unfinished.
    pub frames: Vec<Owned>,
    /// What ended the decoding early.
    pub error: Option<E>,
    /// True if the bytes end between two frames.
    pub between: bool,
}

/// Feeds the chunks to a fresh decoder and joins the pieces, and checks what holds for any bytes:
/// pieces follow each other without a gap, none is empty unless its body is, an event needs a byte,
/// and an error stays.
pub fn decode<'i, C: Codec>(chunks: impl IntoIterator<Item = &'i [u8]>) -> Decoded<C::Error> {
    let mut decoder = C::new();
    let mut frames: Vec<Owned> = Vec::new();
    let mut expected = None;
    let mut error = None;
    'chunks: for chunk in chunks {
        let mut input = chunk;
        let mut events = 0;
        loop {
            match decoder.step(&mut input) {
                Ok(None) => break,
                Ok(Some((frame, span))) => {
                    events += 1;
                    join(&mut frames, frame, span, &mut expected);
                }
                Err(fault) => {
                    error = Some(fault);
                    break 'chunks;
                }
            }
        }
        assert!(input.is_empty(), "a decoder that wants more has taken all");
        assert!(events <= chunk.len(), "{events} events out of {} bytes", chunk.len());
    }
    Decoded { frames, error, between: error.is_none() && decoder.between() }
}

/// The whole input in one chunk.
pub fn decode_whole<C: Codec>(bytes: &[u8]) -> Decoded<C::Error> {
    decode::<C>([bytes])
}

/// `expected` is how far into which body the next piece must continue.
fn join(
    frames: &mut Vec<Owned>,
    frame: Owned,
    span: Option<Span>,
    expected: &mut Option<(usize, u16)>,
) {
    let Some(span) = span else {
        assert_eq!(*expected, None, "a frame inside the body of another");
        frames.push(frame);
        return;
    };
    let end = usize::from(span.offset) + span.length;
    assert!(end <= usize::from(span.total), "{span:?} reaches past its body");
    assert!(span.length > 0 || span.total == 0, "an empty piece of a body that is not");
    match *expected {
        None => {
            assert_eq!(span.offset, 0, "a body that begins in its middle");
            frames.push(frame);
        }
        Some((at, total)) => {
            assert_eq!((usize::from(span.offset), span.total), (at, total));
            let last = frames.last_mut().unwrap();
            assert_eq!(last.all_but_tail(), frame.all_but_tail(), "a frame changed between pieces");
            last.tail_mut().unwrap().extend(frame.tail().unwrap());
        }
    }
    *expected = (end < usize::from(span.total)).then_some((end, span.total));
}

/// The frame's bytes.
pub fn encode<C: Codec>(frame: &Owned) -> Result<Vec<u8>, EncodeError> {
    let length = frame.tail().map_or(0, Vec::len);
    let mut out = vec![0; length + 64];
    let written = C::write(frame, 0, length, &mut out)?;
    out.truncate(written);
    Ok(out)
}

/// The bytes of all the frames.
pub fn encode_all<C: Codec>(frames: &[Owned]) -> Vec<u8> {
    frames.iter().flat_map(|frame| encode::<C>(frame).unwrap()).collect()
}

/// The bytes in pieces whose lengths `sizes` gives, over and over.
pub fn cut<'i>(bytes: &'i [u8], sizes: &[usize]) -> Vec<&'i [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (front, back) = rest.split_at((*size).clamp(1, rest.len()));
        pieces.push(front);
        rest = back;
    }
    pieces
}

/// What is written comes back: the frames in any cut, and each frame written in any two pieces.
pub fn round_trip<C: Codec>(frames: &[Owned], sizes: &[usize]) {
    let bytes = encode_all::<C>(frames);
    let decoded = decode::<C>(cut(&bytes, sizes));
    assert_eq!(decoded.error, None);
    assert!(decoded.between);
    assert_eq!(decoded.frames, frames);

    for (frame, size) in frames.iter().zip(sizes.iter().cycle()) {
        let length = frame.tail().map_or(0, Vec::len);
        let first = (*size).min(length);
        let mut out = vec![0; length + 64];
        let mut written = C::write(frame, 0, first, &mut out).unwrap();
        if first < length {
            written += C::write(frame, first, length - first, &mut out[written..]).unwrap();
        }
        assert_eq!(&out[..written], encode::<C>(frame).unwrap());
    }
}

/// Any bytes decode to the same in every cut, and what they decode to can be written and read again.
pub fn harmless<C: Codec>(bytes: &[u8], sizes: &[usize]) {
    let whole = decode_whole::<C>(bytes);
    assert_eq!(decode::<C>(cut(bytes, sizes)), whole);
    assert_eq!(decode::<C>(bytes.chunks(1)), whole);
    for frame in &whole.frames {
        // Names of 32 bytes and empty values are read, but never written.
        let Ok(again) = encode::<C>(frame) else { continue };
        assert_eq!(&decode_whole::<C>(&again).frames[..], std::slice::from_ref(frame));
    }
}

/// Bytes from hex digits with blanks between them.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in {text}");
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
