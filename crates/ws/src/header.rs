//! The header of a frame (RFC 6455 §5.2).
//!
//! ```text
//! byte 0      FIN RSV1 RSV2 RSV3 opcode(4)
//! byte 1      MASK length(7)           length 126: 16 bits follow, 127: 64 bits follow
//! 0, 2 or 8   length, most significant byte first, never more bytes than it needs
//! 0 or 4      mask key, if MASK
//! ```

use crate::error::DecodeError;
use crate::event::MAX_CONTROL_PAYLOAD;

/// The longest header: two bytes, a 64-bit length, a mask key.
pub(crate) const MAX_HEADER: usize = 2 + 8 + 4;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASK: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// A control frame has the top bit of its opcode set (RFC 6455 §5.5).
pub(crate) fn is_control(opcode: u8) -> bool {
    opcode & 0x8 != 0
}

/// A whole header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) rsv1: bool,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) len: u64,
}

/// What the receiver's state says about the header to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// Frames must be masked, or must not be.
    pub(crate) masked: bool,
    /// permessage-deflate was negotiated.
    pub(crate) deflate: bool,
    /// A message has begun and not ended.
    pub(crate) in_message: bool,
}

/// A header as far as it has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartialHeader {
    bytes: [u8; MAX_HEADER],
    have: usize,
}

impl PartialHeader {
    /// Takes bytes of `input` until the header is whole; `None` if it needs more than there is.
    /// Each byte is judged as soon as it is there, so that a fault is found however the input
    /// was cut, and before its payload comes.
    pub(crate) fn push(
        &mut self,
        input: &mut &[u8],
        expect: Expect,
    ) -> Result<Option<Header>, DecodeError> {
        while self.have < self.need() {
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.bytes[self.have] = byte;
            self.have += 1;
            match self.have {
                1 => check_first(byte, expect)?,
                2 => check_second(self.bytes[0], byte, expect)?,
                _ => {}
            }
        }
        self.finish().map(Some)
    }

    fn length_bytes(&self) -> usize {
        match self.bytes[1] & !MASK {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        }
    }

    fn need(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let key = if self.bytes[1] & MASK != 0 { 4 } else { 0 };
        2 + self.length_bytes() + key
    }

    fn finish(&self) -> Result<Header, DecodeError> {
        let [first, second, rest @ ..] = &self.bytes;
        let length_bytes = self.length_bytes();
        let len = match length_bytes {
            0 => u64::from(second & !MASK),
            n => rest[..n].iter().fold(0, |len, &byte| len << 8 | u64::from(byte)),
        };
        match length_bytes {
            2 if len < u64::from(LENGTH_16) => return Err(DecodeError::LengthNotShortest),
            8 if len <= u64::from(u16::MAX) => return Err(DecodeError::LengthNotShortest),
            8 if len >> 63 != 0 => return Err(DecodeError::LengthTooLarge),
            _ => {}
        }
        let mask = (second & MASK != 0).then(|| {
            let mut key = [0; 4];
            key.copy_from_slice(&rest[length_bytes..length_bytes + 4]);
            key
        });
        Ok(Header {
            fin: first & FIN != 0,
            rsv1: first & RSV1 != 0,
            opcode: first & 0x0f,
            mask,
            len,
        })
    }
}

fn check_first(byte: u8, expect: Expect) -> Result<(), DecodeError> {
    let opcode = byte & 0x0f;
    let rsv1_allowed = expect.deflate && matches!(opcode, TEXT | BINARY);
    if byte & RSV2_RSV3 != 0 || (byte & RSV1 != 0 && !rsv1_allowed) {
        return Err(DecodeError::ReservedBit);
    }
    match opcode {
        CONTINUATION if !expect.in_message => Err(DecodeError::NothingToContinue),
        TEXT | BINARY if expect.in_message => Err(DecodeError::MessageInsideMessage),
        CLOSE | PING | PONG if byte & FIN == 0 => Err(DecodeError::FragmentedControl),
        CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => Ok(()),
        reserved => Err(DecodeError::Opcode(reserved)),
    }
}

fn check_second(first: u8, byte: u8, expect: Expect) -> Result<(), DecodeError> {
    match (expect.masked, byte & MASK != 0) {
        (true, false) => return Err(DecodeError::NotMasked),
        (false, true) => return Err(DecodeError::Masked),
        (true, true) | (false, false) => {}
    }
    if is_control(first & 0x0f) && usize::from(byte & !MASK) > MAX_CONTROL_PAYLOAD {
        return Err(DecodeError::ControlTooLong);
    }
    Ok(())
}

/// A header in its bytes; the slice that [`as_slice`](Self::as_slice) gives is what is sent.
pub(crate) struct Encoded {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Encoded {
    /// `first` is byte 0 as it stands on the wire.
    pub(crate) fn new(first: u8, payload: usize, mask_key: Option<[u8; 4]>) -> Self {
        let mut header = Self { bytes: [0; MAX_HEADER], len: 0 };
        let mask = if mask_key.is_some() { MASK } else { 0 };
        if payload < usize::from(LENGTH_16) {
            header.push(&[first, mask | payload as u8]);
        } else if let Ok(short) = u16::try_from(payload) {
            header.push(&[first, mask | LENGTH_16]);
            header.push(&short.to_be_bytes());
        } else {
            header.push(&[first, mask | LENGTH_64]);
            header.push(&(payload as u64).to_be_bytes());
        }
        if let Some(key) = mask_key {
            header.push(&key);
        }
        header
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
