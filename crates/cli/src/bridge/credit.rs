//! Flow control on behalf of local programs that have none, without I/O.
//!
//! A socket stops its sender by being full. A channel of a line cannot: its bytes come on the wire
//! that all channels share. So a program that gave its proxy credit without limit is given a window
//! here: the proxy hears of [`WINDOW`] bytes of credit, and of more as payload reaches the program's
//! socket. Programs that manage credit by themselves are left alone.

use sspc_wire::limits::{CREDIT_UNLIMITED, FRAME_HEAD, PID_CREDIT_BIT};
use sspc_wire::{FrameError, ToClient, ToClientDecoder, ToProxy};

/// Bytes of payload that the proxy may be ahead of what the program's socket took.
pub(crate) const WINDOW: u32 = 64 * 1024;
/// Frames for the program up to this length, head and all, are written as a whole: deployed
/// clients hand on a payload frame that they read in two parts as two, each with all its flags.
const WHOLE_MAX: usize = 2048;

/// 0xaa STREAMTYPE: type, rest u16, version u8, pid u32, credit i32, name.
const STREAMTYPE: u8 = 0xaa;
const STREAMTYPE_PID: usize = FRAME_HEAD + 1;
const STREAMTYPE_CREDIT: usize = STREAMTYPE_PID + 4;
const STREAMTYPE_NAME: usize = STREAMTYPE_CREDIT + 4;
/// 0xaf TXCR_UPDATE: type, rest u16, credit i32.
const TXCR_UPDATE: u8 = 0xaf;
const TXCR_UPDATE_LENGTH: usize = FRAME_HEAD + 4;

/// The way from a program to the proxy: its bytes as they are, but for credit.
#[derive(Debug, Default)]
pub(crate) struct Upward {
    /// The beginning of a frame, as much as decides what becomes of it.
    head: Vec<u8>,
    /// Bytes of the frame that are still to be passed as they are.
    rest: usize,
    credit: Credit,
}

/// Who manages what the proxy may send.
#[derive(Debug, Default)]
enum Credit {
    /// STREAMTYPE has not come.
    #[default]
    Unknown,
    /// The program.
    Program,
    /// The bridge; the proxy is owed so much.
    Bridge { owed: u32 },
}

impl Upward {
    /// Passes bytes of the program: appends to `out` what the proxy is to get.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let (same, next) = bytes.split_at(self.rest.min(bytes.len()));
                out.extend_from_slice(same);
                self.rest -= same.len();
                bytes = next;
                continue;
            }
            let missing = self.head_length().saturating_sub(self.head.len());
            let (head, next) = bytes.split_at(missing.min(bytes.len()));
            self.head.extend_from_slice(head);
            bytes = next;
            if self.head.len() == self.head_length() {
                self.pass_head(out);
            }
        }
    }

    /// How much of the frame decides what becomes of it.
    fn head_length(&self) -> usize {
        match (self.head.as_slice(), &self.credit) {
            ([STREAMTYPE, high, low, ..], Credit::Unknown)
                if frame_length(*high, *low) >= STREAMTYPE_NAME =>
            {
                STREAMTYPE_NAME
            }
            ([TXCR_UPDATE, 0, 4, ..], Credit::Bridge { .. }) => TXCR_UPDATE_LENGTH,
            _ => FRAME_HEAD,
        }
    }

    fn pass_head(&mut self, out: &mut Vec<u8>) {
        let mut head = std::mem::take(&mut self.head);
        if let [_, high, low, ..] = head.as_slice() {
            self.rest = frame_length(*high, *low) - head.len();
        }
        match (head.as_mut_slice(), &self.credit) {
            ([STREAMTYPE, _, _, _, pid @ .., c3, c2, c1, c0], Credit::Unknown)
                if pid.len() == STREAMTYPE_CREDIT - STREAMTYPE_PID =>
            {
                let given = i32::from_be_bytes([*c3, *c2, *c1, *c0]);
                let honours = pid.first().is_some_and(|high| *high & PID_BIT_HIGH != 0);
                // No credit at all means no limit, too, to those who do not manage it.
                if given >= CREDIT_UNLIMITED || (given <= 0 && !honours) {
                    [*c3, *c2, *c1, *c0] = WINDOW.to_be_bytes();
                    self.credit = Credit::Bridge { owed: 0 };
                } else {
                    self.credit = Credit::Program;
                }
            }
            // More on top of no limit is nothing; 0 is a word of its own and passes.
            ([TXCR_UPDATE, _, _, more @ ..], Credit::Bridge { .. })
                if more.iter().any(|byte| *byte != 0) =>
            {
                head.clear();
            }
            _ => {}
        }
        out.extend_from_slice(&head);
        head.clear();
        // Keeps its room.
        self.head = head;
    }

    /// So many bytes of payload reached the program's socket.
    pub(crate) fn handed_on(&mut self, payload: u32) {
        if let Credit::Bridge { owed } = &mut self.credit {
            *owed = owed.saturating_add(payload);
        }
    }

    /// Appends the next TXCR_UPDATE, once it is worth a frame and does not fall into one.
    pub(crate) fn update(&mut self, out: &mut Vec<u8>) {
        let is_between_frames = self.rest == 0 && self.head.is_empty();
        let Credit::Bridge { owed } = &mut self.credit else { return };
        if *owed < WINDOW / 2 || !is_between_frames {
            return;
        }
        let update = i32::try_from(*owed).unwrap_or(i32::MAX);
        let mut frame = [0; TXCR_UPDATE_LENGTH];
        if ToProxy::TxCredit(update).encode(&mut frame).is_ok() {
            out.extend_from_slice(&frame);
            *owed -= update.unsigned_abs();
        }
    }
}

/// [`PID_CREDIT_BIT`] in the pid's highest byte.
const PID_BIT_HIGH: u8 = (PID_CREDIT_BIT >> 24) as u8;

/// The length of a frame, head and all, by its head's `rest`.
fn frame_length(high: u8, low: u8) -> usize {
    FRAME_HEAD + usize::from(u16::from_be_bytes([high, low]))
}

/// The way from the proxy to a program: the same bytes, in whole frames where they are short.
#[derive(Debug, Default)]
pub(crate) struct Downward {
    waiting: Vec<u8>,
    /// Bytes of a frame that was partly written.
    rest: usize,
    /// Counts the payload in what was written.
    decoder: ToClientDecoder,
}

impl Downward {
    /// Bytes that came for the program.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Whether more may come; it may if there is nothing to be written yet.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < 2 * WHOLE_MAX
    }

    /// What is to be written next, in one go; nothing if more has to come first.
    pub(crate) fn next(&self) -> &[u8] {
        let length = match self.waiting.as_slice() {
            _ if self.rest > 0 => self.rest,
            [_, high, low, ..] => match frame_length(*high, *low) {
                long if long > WHOLE_MAX => long,
                short if self.waiting.len() >= short => short,
                _ => 0,
            },
            _ => 0,
        };
        self.waiting.get(..length.min(self.waiting.len())).unwrap_or_default()
    }

    /// So many bytes of [`Downward::next`] were written; returns how many of them are payload.
    ///
    /// # Errors
    /// They are no frames: the stream is lost.
    pub(crate) fn written(&mut self, length: usize) -> Result<u32, FrameError> {
        if let ([_, high, low, ..], 0) = (self.waiting.as_slice(), self.rest) {
            self.rest = frame_length(*high, *low);
        }
        self.rest = self.rest.saturating_sub(length);
        let mut written = self.waiting.get(..length).unwrap_or_default();
        let mut payload = 0;
        while let Some(frame) = self.decoder.next(&mut written)? {
            if let ToClient::Payload { piece, .. } = frame {
                payload += u32::try_from(piece.data.len()).unwrap_or(u32::MAX);
            }
        }
        self.waiting.drain(..length.min(self.waiting.len()));
        Ok(payload)
    }
}

#[cfg(test)]
#[path = "credit_tests.rs"]
mod tests;
