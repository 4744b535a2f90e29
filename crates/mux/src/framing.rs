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

use sspc_wire::{MuxDecoder, MuxError, MuxFrame};

use crate::link::Link;

pub(crate) const RESET: u8 = 0xf9;
const PING: u8 = 0xf6;
const PONG: u8 = 0xf7;

#[derive(Clone, Copy, Debug)]
enum Sync {
    /// At a frame's start or inside a frame.
    Found,
    /// Searching; the last bytes are no frame's start.
    Lost,
    /// Searching; RESET_TRANSPORT was the last byte.
    Reset,
    /// Searching; RESET_TRANSPORT and PING's type were the last bytes.
    Ping,
    /// Searching; PONG's type and so many bytes of the right time were the last bytes.
    Pong(u8),
}

#[derive(Debug)]
pub(crate) struct Framing {
    decoder: MuxDecoder,
    sync: Sync,
}

impl Framing {
    /// Begins with the search, because the peer may be in the middle of anything.
    pub(crate) const fn new() -> Self {
        Self { decoder: MuxDecoder::new(), sync: Sync::Lost }
    }

    /// Forgets where frames begin.
    pub(crate) const fn lose(&mut self) {
        *self = Self::new();
    }

    pub(crate) const fn is_inside_frame(&self) -> bool {
        matches!(self.sync, Sync::Found) && !self.decoder.is_between_frames()
    }

    /// The next frame, or piece of one; `None` when the input is used up.
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        link: &Link,
    ) -> Result<Option<MuxFrame<'i>>, MuxError> {
        while let Some((byte, rest)) = input.split_first() {
            let is_frame =
                link.is_up() || !self.decoder.is_between_frames() || (PING..=RESET).contains(byte);
            if is_frame && matches!(self.sync, Sync::Found) {
                return self.decoder.next(input);
            }
            *input = rest;
            self.sync = self.step(*byte, link.last_ping());
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8, last_ping: Option<u64>) -> Sync {
        match self.sync {
            Sync::Reset if byte == PING => return Sync::Ping,
            Sync::Ping if byte == 0 => return self.found(&[PING, 0]),
            Sync::Pong(matched) => {
                let time = last_ping.unwrap_or_default().to_be_bytes();
                if time.get(usize::from(matched)) == Some(&byte) {
                    if usize::from(matched) + 1 < time.len() {
                        return Sync::Pong(matched + 1);
                    }
                    self.found(&[PONG]);
                    return self.found(&time);
                }
            }
            Sync::Found | Sync::Lost | Sync::Reset | Sync::Ping => {}
        }
        match byte {
            RESET => Sync::Reset,
            PONG if last_ping.is_some() => Sync::Pong(0),
            _ => Sync::Lost,
        }
    }

    /// The search went over these bytes of the frame that it found.
    fn found(&mut self, mut bytes: &[u8]) -> Sync {
        // Not a whole frame, so there is no result.
        let _ = self.decoder.next(&mut bytes);
        Sync::Found
    }
}
