//! Where frames begin, and finding that out again.
//!
//! While the link is down a peer sends RESET_TRANSPORT and PING, back to back, and answers PING
//! with PONG. Whatever else comes is what remains of an earlier life of the link, or noise; a PING
//! alone is from a peer that is still up, and must get RESET_TRANSPORT, not PONG, or else it would
//! stay up with channels that this side knows nothing of. So the search takes as a frame's start
//! only
//!
//! - `f9 f6 00`: RESET_TRANSPORT, and a PING whose time is below 2^56 µs, some 2,283 years;
//! - `f7` and the eight bytes of the time in this side's last PING.
//!
//! Behind it the frames of the handshake follow one another. Any other byte at a frame's start
//! begins the search again with the byte behind it, as long as the link is down: what looks like
//! the head of a long frame swallows nothing.

use sspc_wire::mux_type::{PING, PONG, RESET_TRANSPORT};
use sspc_wire::{MuxDecoder, MuxError, Piece};

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Framing {
    /// Its last frame is the one that [`Self::next`] found.
    pub(crate) decoder: MuxDecoder,
    /// Where frames begin is known.
    is_found: bool,
    /// The last bytes that the search went over.
    last: [u8; 9],
}

impl Framing {
    /// Begins with the search, because the peer may be in the middle of anything.
    pub(crate) const fn new() -> Self {
        Self { decoder: MuxDecoder::new(), is_found: false, last: [0; 9] }
    }

    /// Forgets where frames begin.
    pub(crate) const fn lose(&mut self) {
        *self = Self::new();
    }

    pub(crate) const fn is_inside_frame(&self) -> bool {
        self.is_found && !self.decoder.is_between_frames()
    }

    /// True if these bytes would all be of the frame that began, and would not end it.
    pub(crate) fn is_within_frame(&self, mut bytes: &[u8]) -> bool {
        let mut decoder = self.decoder.clone();
        let mut is_within = self.is_inside_frame();
        while is_within && !bytes.is_empty() {
            is_within = decoder.next_piece(&mut bytes).is_ok() && !decoder.is_between_frames();
        }
        is_within
    }

    /// The next frame's piece, which is empty for all but MUX; `None` when the input is used up.
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        link: &Link,
    ) -> Result<Option<Piece<'i>>, MuxError> {
        let Some((byte, rest)) = input.split_first() else { return Ok(None) };
        let is_frame = link.is_up()
            || !self.decoder.is_between_frames()
            || (PING..=RESET_TRANSPORT).contains(byte);
        if is_frame && self.is_found {
            return self.decoder.next_piece(input);
        }
        *input = rest;
        self.search(*byte, link);
        Ok(None)
    }

    fn search(&mut self, byte: u8, link: &Link) {
        self.last.copy_within(1.., 0);
        self.last[8] = byte;
        let mut begun = match &self.last {
            [.., RESET_TRANSPORT, PING, 0] => &self.last[7..],
            [PONG, time @ ..] if link.is_last_ping(u64::from_be_bytes(*time)) => &self.last[..],
            _ => {
                self.is_found = false;
                return;
            }
        };
        self.is_found = true;
        // Not a whole frame, so there is no result.
        let _ = self.decoder.next_piece(&mut begun);
    }
}
