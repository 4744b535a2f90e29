use core::mem;

/// Frames written field by field, back to back, into a buffer.
///
/// For small devices: [`crate::ToProxy::encode`] and [`crate::MuxFrame::encode`] bring the code for all
/// frames along, and for the ways in which writing them can fail. Here the caller knows the frames, that
/// what is in them is valid, and that they fit; what does not is left out.
///
/// ```
/// use sspc_wire::{FieldWriter, ToProxy, to_proxy_type};
///
/// let mut bytes = [0; 16];
/// let mut to = FieldWriter::new(&mut bytes);
/// to.number(to_proxy_type::TXCR_UPDATE, 1000);
/// let left = to.room().len();
///
/// let mut same = [0; 16];
/// assert_eq!(ToProxy::TxCredit(1000).encode(&mut same)?, 16 - left);
/// assert_eq!(bytes, same);
/// # Ok::<(), sspc_wire::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct FieldWriter<'o> {
    room: &'o mut [u8],
}

impl<'o> FieldWriter<'o> {
    /// Writes from the front of the buffer on.
    pub const fn new(room: &'o mut [u8]) -> Self {
        Self { room }
    }

    /// The rest of the buffer.
    pub const fn room(&mut self) -> &mut [u8] {
        self.room
    }

    /// Goes on behind so many bytes, which the caller wrote itself.
    pub fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.room.len());
        self.room = mem::take(&mut self.room).split_at_mut(bytes).1;
    }

    /// One byte.
    // Many callers, of this and of those below: a call is shorter than what they do.
    #[inline(never)]
    pub fn u8(&mut self, value: u8) {
        if let Some((first, rest)) = mem::take(&mut self.room).split_first_mut() {
            *first = value;
            self.room = rest;
        }
    }

    /// Bytes, as many as fit.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.u8(*byte);
        }
    }

    /// A number of two bytes.
    #[inline(never)]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// A number of four bytes.
    #[inline(never)]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// A number of eight bytes.
    #[inline(never)]
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// The head of an SSS frame: its type, and how many bytes follow.
    #[inline(never)]
    pub fn head(&mut self, frame: u8, rest: usize) {
        self.u8(frame);
        self.u16(rest as u16);
    }

    /// An SSS frame that carries a number and nothing else.
    #[inline(never)]
    pub fn number(&mut self, frame: u8, value: u32) {
        self.head(frame, 4);
        self.u32(value);
    }
}
