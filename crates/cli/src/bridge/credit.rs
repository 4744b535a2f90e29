//! Flow control on behalf of local programs that have none, without I/O.
//!
//! A socket stops its sender by being full. A channel of a line cannot: its bytes come on the wire
//! that all channels share, and what comes for a program that does not read has to be kept. So the
//! proxy hears of no more than [`WINDOW`] bytes of credit, and of more as payload reaches the
//! program's socket.

use sspc_wire::limits::{CREDIT_UNLIMITED, FRAME_HEAD, PID_CREDIT_BIT};
use sspc_wire::{FrameError, ToClient, ToClientDecoder, ToProxy};

/// Bytes of payload that the proxy may be ahead of what the program's socket took.
pub(crate) const WINDOW: u32 = 64 * 1024;
/// As much credit is passed on as it is, if its program does not manage it: a proxy renews such
/// credit by itself with each connection that it makes.
const PLAIN_MAX: i32 = 256 * 1024;
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

/// What the proxy may send, in bytes of payload since the stream's beginning.
#[derive(Debug, Default)]
enum Credit {
    /// STREAMTYPE has not come.
    #[default]
    Unknown,
    /// What the program says.
    Program,
    /// What the program says, but no more than a window ahead of it.
    Window {
        /// The program's own credit; [`UNLIMITED`] if it sets no limit.
        given: i64,
        /// What the proxy was told.
        granted: i64,
        /// What reached the program's socket.
        handed_on: i64,
    },
}

const UNLIMITED: i64 = i64::MAX;

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
            ([TXCR_UPDATE, 0, 4, ..], Credit::Window { .. }) => TXCR_UPDATE_LENGTH,
            _ => FRAME_HEAD,
        }
    }

    fn pass_head(&mut self, out: &mut Vec<u8>) {
        let mut head = std::mem::take(&mut self.head);
        if let [_, high, low, ..] = head.as_slice() {
            self.rest = frame_length(*high, *low) - head.len();
        }
        match (head.as_mut_slice(), &mut self.credit) {
            ([STREAMTYPE, _, _, _, pid @ .., c3, c2, c1, c0], Credit::Unknown)
                if pid.len() == STREAMTYPE_CREDIT - STREAMTYPE_PID =>
            {
                let credit = i32::from_be_bytes([*c3, *c2, *c1, *c0]);
                let manages = pid.first().is_some_and(|high| *high & PID_BIT_HIGH != 0);
                self.credit = Credit::initial(credit, manages);
                if let Credit::Window { granted, .. } = self.credit {
                    let granted = i32::try_from(granted).unwrap_or(i32::MAX);
                    [*c3, *c2, *c1, *c0] = granted.to_be_bytes();
                }
            }
            ([TXCR_UPDATE, _, _, c3, c2, c1, c0], Credit::Window { given, .. }) => {
                let more = i32::from_be_bytes([*c3, *c2, *c1, *c0]);
                *given = given.saturating_add(more.into());
                // What the proxy hears of it, `update` says; but 0 is a word of its own.
                if more != 0 {
                    head.clear();
                }
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
        if let Credit::Window { handed_on, .. } = &mut self.credit {
            *handed_on = handed_on.saturating_add(payload.into());
        }
    }

    /// Appends the next TXCR_UPDATE, once it is worth a frame and does not fall into one.
    pub(crate) fn update(&mut self, out: &mut Vec<u8>) {
        let is_between_frames = self.rest == 0 && self.head.is_empty();
        let Credit::Window { given, granted, handed_on } = &mut self.credit else { return };
        let due = (*given).min(handed_on.saturating_add(WINDOW.into()));
        let more = due.saturating_sub(*granted);
        let is_worth_it = more < 0 || more >= i64::from(WINDOW / 2) || (more > 0 && due == *given);
        if !is_worth_it || !is_between_frames {
            return;
        }
        let more = i32::try_from(more).unwrap_or(if more < 0 { i32::MIN } else { i32::MAX });
        let mut frame = [0; TXCR_UPDATE_LENGTH];
        if ToProxy::TxCredit(more).encode(&mut frame).is_ok() {
            out.extend_from_slice(&frame);
            *granted = granted.saturating_add(more.into());
        }
    }
}

impl Credit {
    /// By what STREAMTYPE gives, and whether its program honours and manages credit.
    fn initial(credit: i32, manages: bool) -> Self {
        let given = match credit {
            CREDIT_UNLIMITED.. => UNLIMITED,
            // None at all means no limit, too, to those who do not manage it.
            ..=0 if !manages => UNLIMITED,
            ..=PLAIN_MAX if !manages => return Self::Program,
            _ if !manages => UNLIMITED,
            managed => managed.into(),
        };
        Self::Window { given, granted: given.min(WINDOW.into()), handed_on: 0 }
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
