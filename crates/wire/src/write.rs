use crate::{EncodeError, Piece};

/// Writes big-endian fields into a slice; past its end it only counts. What is wrong with the
/// fields is told at the end, when nobody uses what was written.
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    fault: Option<EncodeError>,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0, fault: None }
    }

    /// The last fault is the one that is told.
    pub(crate) const fn fail(&mut self, fault: EncodeError) {
        self.fault = Some(fault);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at.saturating_add(bytes.len());
        if let Some(room) = self.out.get_mut(self.at..end) {
            // Both are as long, but only this way the compiler leaves out the panic if not.
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.at = end;
    }

    // Many callers: a call is shorter than what it does.
    #[inline(never)]
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    #[inline(never)]
    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    #[inline(never)]
    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.u32((value >> 32) as u32);
        self.u32(value as u32);
    }

    /// The head of an SSS frame whose body is `fixed` bytes, and then `tail` bytes.
    pub(crate) fn head(&mut self, frame: u8, fixed: usize, tail: u16) {
        self.u8(frame);
        let rest = fixed + usize::from(tail);
        self.u16(rest as u16);
        if rest > usize::from(u16::MAX) {
            self.fail(EncodeError::TooLong);
        }
    }

    /// A whole SSS frame that carries a number.
    pub(crate) fn number(&mut self, frame: u8, value: u32) {
        self.head(frame, 4, 0);
        self.u32(value);
    }

    /// The beginning of a mux frame that names a channel.
    pub(crate) fn control(&mut self, frame: u8, channel: u8) {
        self.u8(frame);
        self.u8(channel);
    }

    /// The beginning of a mux frame that tells a time.
    pub(crate) fn time(&mut self, frame: u8, us: u64) {
        self.u8(frame);
        self.u64(us);
    }

    /// A name, if deployed peers take it: 1 to `max` bytes, no NUL.
    pub(crate) fn name(&mut self, name: &[u8], max: usize) {
        if name.is_empty() || name.len() > max || has_nul(name) {
            self.fail(EncodeError::Name);
        }
        self.bytes(name);
    }

    /// The bytes of a piece, if they stay inside the body that the frame's head tells.
    pub(crate) fn piece(&mut self, piece: Piece<'_>) {
        if usize::from(piece.offset) + piece.data.len() > usize::from(piece.total) {
            self.fail(EncodeError::Piece);
        }
        self.bytes(piece.data);
    }

    /// The bytes written, or how many would have been needed.
    pub(crate) fn finish(self) -> Result<usize, EncodeError> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.at > self.out.len() => Err(EncodeError::NoRoom { needed: self.at }),
            None => Ok(self.at),
        }
    }
}

/// As `contains` does it, but that is fast and long.
#[allow(clippy::manual_contains, reason = "a device has no room for it")]
pub(crate) fn has_nul(name: &[u8]) -> bool {
    name.iter().any(|byte| *byte == 0)
}
