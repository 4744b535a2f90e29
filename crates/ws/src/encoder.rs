//! The sending half of a connection.

use flate2::{Compress, Compression, FlushCompress};

use crate::Role;
use crate::close::CloseCode;
use crate::error::EncodeError;
use crate::event::{MAX_CONTROL_PAYLOAD, MessageKind, Piece};
use crate::header::{self, Encoded, MAX_HEADER};
use crate::mask::Mask;
use crate::params::{DeflateParams, Direction, WindowBits};

/// The end of every flushed piece of DEFLATE data: an empty stored block after its three header
/// bits. Cut off the end of a message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty message, and an empty end of one that was flushed: the header bits of the empty block
/// whose rest the receiver puts back (RFC 7692 §7.2.3.6).
const EMPTY: u8 = 0x00;

/// The compression level. Measured on prose and on programs: half as fast again as the library's
/// default of 6, for 3 % more bytes.
const LEVEL: Compression = Compression::new(3);

/// A message that stands alone, without context, is sent as it is below this many bytes (RFC 7692 §6
/// allows it): compressing it costs more time than it saves bytes.
const ALONE_MIN: usize = 256;

/// Output is made room for in steps of at least this many bytes while compressing.
const DEFLATE_STEP: usize = 1024;

/// Turns pieces of messages into frames, one frame a piece.
///
/// A frame leaves with all that its piece held: a compressed piece is flushed, so that a message
/// that grows slowly arrives as it grows. Nothing is kept but the compressor's window.
///
/// Mask keys are for [`Role::Client`] and must be fresh and unpredictable for each frame
/// (RFC 6455 §5.3); for [`Role::Server`] they are ignored.
///
/// The encoder does not check that text is UTF-8.
///
/// ```
/// use sspc_ws::{CloseCode, Encoder, MessageKind, Piece, Role};
///
/// # fn main() -> Result<(), sspc_ws::EncodeError> {
/// let mut encoder = Encoder::new(Role::Server, None);
/// let mut wire = Vec::new();
/// let kind = MessageKind::Text;
/// encoder.piece(Piece { kind, first: true, last: true, bytes: b"Hello" }, [0; 4], &mut wire)?;
/// encoder.close(Some((CloseCode::NORMAL, "bye")), [0; 4], &mut wire)?;
/// assert_eq!(wire, b"\x81\x05Hello\x88\x05\x03\xe8bye");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Encoder {
    role: Role,
    deflater: Option<Deflater>,
    /// The message that has begun is compressed.
    compresses: bool,
    /// A message has begun and not ended.
    in_message: bool,
    closed: bool,
}

impl Encoder {
    /// An encoder for a connection on which we are `role`, just after its handshake. `deflate` is
    /// what was negotiated there: with it messages are compressed, but for short ones where no context
    /// is kept, and unless our window is 8 bits (see [`DeflateParams`]).
    pub fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let deflater = deflate
            .map(|params| params.sent_by(role))
            .filter(|terms| terms.window > WindowBits::MIN)
            .map(Deflater::new);
        Self { role, deflater, compresses: false, in_message: false, closed: false }
    }

    /// Whether a message has begun and not ended.
    pub fn in_message(&self) -> bool {
        self.in_message
    }

    /// Whether a close was sent.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether [`release`](Self::release) would give memory back: the compressor of messages without
    /// context.
    pub fn has_spare(&self) -> bool {
        !self.in_message && self.deflater.as_ref().is_some_and(Deflater::has_spare)
    }

    /// Gives back what the next compressed message would be quicker with, some 300 KiB. For a connection
    /// on which nothing was sent for a while.
    pub fn release(&mut self) {
        if self.has_spare() {
            self.deflater.iter_mut().for_each(|deflater| deflater.stream = None);
        }
    }

    /// Appends one data frame to `out`. The kind counts on a first piece only.
    ///
    /// # Errors
    ///
    /// [`NothingToContinue`](EncodeError::NothingToContinue) or
    /// [`MessageInsideMessage`](EncodeError::MessageInsideMessage) if `first` does not fit the
    /// pieces before, [`Closed`](EncodeError::Closed) after a close. `out` is unchanged then.
    pub fn piece(
        &mut self,
        piece: Piece<'_>,
        mask_key: [u8; 4],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.closed {
            return Err(EncodeError::Closed);
        }
        let opcode = match (piece.first, self.in_message) {
            (true, true) => return Err(EncodeError::MessageInsideMessage),
            (false, false) => return Err(EncodeError::NothingToContinue),
            (false, true) => header::CONTINUATION,
            (true, false) => match piece.kind {
                MessageKind::Text => header::TEXT,
                MessageKind::Binary => header::BINARY,
            },
        };
        let fin = if piece.last { header::FIN } else { 0 };
        if piece.first {
            self.compresses = self.deflater.as_ref().is_some_and(|it| it.is_worth_it(piece));
        }
        match &mut self.deflater {
            Some(deflater) if self.compresses => {
                let rsv1 = if piece.first { header::RSV1 } else { 0 };
                let start = out.len();
                // The payload's length is not known yet: leave room for the longest header, and
                // close the gap afterwards.
                let payload = start + MAX_HEADER;
                out.resize(payload, 0);
                if let Err(error) = deflater.piece(piece, out) {
                    out.truncate(start);
                    return Err(error);
                }
                let header = self.header(fin | rsv1 | opcode, out.len() - payload, mask_key);
                let header = header.as_slice();
                out[start..start + header.len()].copy_from_slice(header);
                out.copy_within(payload.., start + header.len());
                out.truncate(out.len() - (MAX_HEADER - header.len()));
                self.mask(mask_key, &mut out[start + header.len()..]);
            }
            _ => self.plain(fin | opcode, piece.bytes, mask_key, out),
        }
        self.in_message = !piece.last;
        Ok(())
    }

    /// Appends a ping. May stand between the pieces of a message, as all control frames.
    ///
    /// # Errors
    ///
    /// [`ControlTooLong`](EncodeError::ControlTooLong) if `payload` is longer than 125 bytes,
    /// [`Closed`](EncodeError::Closed) after a close.
    pub fn ping(
        &mut self,
        payload: &[u8],
        mask_key: [u8; 4],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.control(header::PING, payload, mask_key, out)
    }

    /// Appends a pong: the answer to a ping, with its payload (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(
        &mut self,
        payload: &[u8],
        mask_key: [u8; 4],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.control(header::PONG, payload, mask_key, out)
    }

    /// Appends a close, with a code and a reason for people to read, or with neither. Nothing can
    /// be sent after it.
    ///
    /// # Errors
    ///
    /// [`ControlTooLong`](EncodeError::ControlTooLong) if the reason is longer than 123 bytes,
    /// [`Closed`](EncodeError::Closed) after a close.
    pub fn close(
        &mut self,
        reason: Option<(CloseCode, &str)>,
        mask_key: [u8; 4],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let mut bytes = [0; MAX_CONTROL_PAYLOAD];
        let len = match reason {
            Some((code, text)) => {
                let len = 2 + text.len();
                let payload = bytes.get_mut(..len).ok_or(EncodeError::ControlTooLong)?;
                payload[..2].copy_from_slice(&code.code().to_be_bytes());
                payload[2..].copy_from_slice(text.as_bytes());
                len
            }
            None => 0,
        };
        self.control(header::CLOSE, &bytes[..len], mask_key, out)?;
        self.closed = true;
        Ok(())
    }

    fn control(
        &mut self,
        opcode: u8,
        payload: &[u8],
        mask_key: [u8; 4],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.closed {
            return Err(EncodeError::Closed);
        }
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(EncodeError::ControlTooLong);
        }
        self.plain(header::FIN | opcode, payload, mask_key, out);
        Ok(())
    }

    /// Appends a frame whose payload is sent as it is.
    fn plain(&self, first: u8, payload: &[u8], mask_key: [u8; 4], out: &mut Vec<u8>) {
        let header = self.header(first, payload.len(), mask_key);
        out.reserve(header.as_slice().len() + payload.len());
        out.extend_from_slice(header.as_slice());
        let start = out.len();
        out.extend_from_slice(payload);
        self.mask(mask_key, &mut out[start..]);
    }

    fn header(&self, first: u8, payload: usize, mask_key: [u8; 4]) -> Encoded {
        Encoded::new(first, payload, (self.role == Role::Client).then_some(mask_key))
    }

    fn mask(&self, key: [u8; 4], payload: &mut [u8]) {
        if self.role == Role::Client {
            Mask::new(key).apply(payload);
        }
    }
}

/// The compressing half of a connection.
#[derive(Debug)]
struct Deflater {
    terms: Direction,
    /// Made with the first message. If no context is kept, an idle connection need not hold these
    /// 300 KiB.
    stream: Option<Compress>,
    /// The stream has context that is not to be kept.
    is_used: bool,
}

impl Deflater {
    fn new(terms: Direction) -> Self {
        Self { terms, stream: None, is_used: false }
    }

    fn is_worth_it(&self, first: Piece<'_>) -> bool {
        self.terms.keep_context || !first.last || first.bytes.len() >= ALONE_MIN
    }

    fn has_spare(&self) -> bool {
        !self.terms.keep_context && self.stream.is_some()
    }

    /// Appends the piece's payload to `out`.
    fn piece(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // Each piece before was flushed, so an empty one leaves nothing to tell but the end.
        match (piece.bytes.is_empty(), piece.last) {
            (true, true) => out.push(EMPTY),
            (true, false) => {}
            (false, _) => {
                self.compress(piece.bytes, out)?;
                if piece.last {
                    let end = out.len().saturating_sub(TAIL.len());
                    if out[end..] != TAIL {
                        return Err(EncodeError::Deflate);
                    }
                    out.truncate(end);
                }
            }
        }
        self.is_used |= piece.last && !self.terms.keep_context;
        Ok(())
    }

    /// Compresses and flushes `bytes`, which must not be empty: what is appended ends with
    /// [`TAIL`].
    fn compress(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let window = self.terms.window.bits();
        let stream =
            self.stream.get_or_insert_with(|| Compress::new_with_window_bits(LEVEL, false, window));
        if std::mem::take(&mut self.is_used) {
            stream.reset();
        }
        loop {
            // Never fewer than the flush marker's bytes, which would then be written twice.
            out.reserve(DEFLATE_STEP.max(bytes.len() / 4));
            let taken = stream.total_in();
            stream
                .compress_vec(bytes, out, FlushCompress::Sync)
                .map_err(|_| EncodeError::Deflate)?;
            bytes = &bytes[(stream.total_in() - taken) as usize..];
            // Room left over is the sign that the flush is complete.
            if bytes.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}
