use crate::{EncodeError, Piece};

/// Writes big-endian fields into a slice; past its end it only counts.
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at.saturating_add(bytes.len());
        if let Some(room) = self.out.get_mut(self.at..end) {
            room.copy_from_slice(bytes);
        }
        self.at = end;
        self
    }

    /// The bytes of a piece, if they stay inside the body that the frame's head tells.
    pub(crate) fn piece(&mut self, piece: Piece<'_>) -> Result<&mut Self, EncodeError> {
        if usize::from(piece.offset) + piece.data.len() > usize::from(piece.total) {
            return Err(EncodeError::Piece);
        }
        Ok(self.bytes(piece.data))
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// The bytes written, or how many would have been needed.
    pub(crate) fn finish(&self) -> Result<usize, EncodeError> {
        if self.at <= self.out.len() {
            Ok(self.at)
        } else {
            Err(EncodeError::NoRoom { needed: self.at })
        }
    }
}

/// `name` if deployed peers take it: 1 to `max` bytes, no NUL.
pub(crate) fn checked_name(name: &[u8], max: usize) -> Result<u8, EncodeError> {
    match u8::try_from(name.len()) {
        Ok(len) if len > 0 && name.len() <= max && !name.contains(&0) => Ok(len),
        _ => Err(EncodeError::Name),
    }
}

/// The `rest` field for a body of `fixed` bytes and a tail of `tail`.
pub(crate) fn checked_rest(fixed: usize, tail: u16) -> Result<u16, EncodeError> {
    u16::try_from(fixed + usize::from(tail)).map_err(|_| EncodeError::TooLong)
}
