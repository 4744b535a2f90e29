use sspc_wire::mux_type::{PING, PONG, PONGACK, RESET_TRANSPORT};

/// The caller's buffer, and how much of it holds frames.
///
/// They are written field by field: [`sspc_wire::MuxFrame`] would bring a device the code for
/// all of them, and for the ways in which their writing can fail. Nobody writes more than there is
/// room for; what is too much would be left out.
pub(crate) struct Out<'o> {
    bytes: &'o mut [u8],
    pub(crate) used: usize,
}

impl<'o> Out<'o> {
    pub(crate) const fn new(bytes: &'o mut [u8]) -> Self {
        Self { bytes, used: 0 }
    }

    /// The rest of the buffer.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.used..).unwrap_or_default()
    }

    // Many callers: a call is shorter than what it does.
    #[inline(never)]
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.used) {
            *to = byte;
            self.used += 1;
        }
    }

    #[inline(never)]
    fn time(&mut self, us: u64) {
        for byte in us.to_be_bytes() {
            self.byte(byte);
        }
    }

    /// A frame, or the beginning of one, that names a channel.
    #[inline(never)]
    pub(crate) fn control(&mut self, frame: u8, index: u8) {
        self.byte(frame);
        self.byte(index);
    }

    pub(crate) fn reset(&mut self) {
        self.byte(RESET_TRANSPORT);
    }

    pub(crate) fn ping(&mut self, sent_us: u64) {
        self.byte(PING);
        self.time(sent_us);
    }

    pub(crate) fn pong(&mut self, echo_us: u64, sent_us: u64) {
        self.byte(PONG);
        self.time(echo_us);
        self.time(sent_us);
    }

    pub(crate) fn pongack(&mut self, unix_us: u64) {
        self.byte(PONGACK);
        self.time(unix_us);
    }
}
