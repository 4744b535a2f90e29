//! Flow control on behalf of local programs that have none, without I/O.
//!
//! A socket stops its sender by being full. A channel of a line cannot: its bytes come on the wire
//! that all channels share, and what comes for one that does not read has to be kept. So the proxy
//! hears of no more than [`WINDOW`] bytes of credit, and of more as payload reaches the program's
//! socket. In the other direction the bridge speaks for a program that does not honour the proxy's
//! credit: it announces that credit is honoured, keeps the program's payload back until there is
//! some, and tells the proxy which DISCONNECTED the program has heard.

use sspc_wire::limits::{CREDIT_UNLIMITED, FRAME_HEAD, PAYLOAD_FIXED, PID_CREDIT_BIT};
use sspc_wire::{Flags, FrameError, State, ToClient, ToClientDecoder, ToProxy};

/// Bytes of payload that the proxy may be ahead of what the program's socket took.
pub(crate) const WINDOW: u32 = 64 * 1024;
/// As much credit is passed on as it is, if its program does not manage it: a proxy renews such
/// credit by itself with each connection that it makes.
const PLAIN_MAX: i32 = 256 * 1024;
/// So many DISCONNECTEDs without a connection between them are not saved up.
const UNHEARD_MAX: u32 = 100;
/// Frames for the program up to this length, head and all, are written as a whole: deployed
/// clients hand on a payload frame that they read in two parts as two, each with all its flags.
const WHOLE_MAX: usize = 2048;

/// 0xaa STREAMTYPE: type, rest u16, version u8, pid u32, credit i32, name.
const STREAMTYPE: u8 = 0xaa;
const STREAMTYPE_NAME: usize = FRAME_HEAD + 1 + 4 + 4;
const ONWARD_CONNECT: u8 = 0xab;
/// 0xad TX_PAYLOAD: type, rest u16, flags u32, times; if the flags say so a name's length u8.
const TX_PAYLOAD: u8 = 0xad;
const TX_PAYLOAD_FLAGS: usize = FRAME_HEAD + 4;
const TX_PAYLOAD_BODY: usize = FRAME_HEAD + PAYLOAD_FIXED;
const TX_PAYLOAD_NAME: usize = TX_PAYLOAD_BODY + 1;
/// 0xaf TXCR_UPDATE: type, rest u16, credit i32; 0x58 in the other direction.
const TXCR_UPDATE: u8 = 0xaf;
const TXCR_UPDATE_TO_CLIENT: u8 = 0x58;
const TXCR_UPDATE_LENGTH: usize = FRAME_HEAD + 4;
const PAYLOAD_LENGTH_HINT: u8 = 0xb1;
/// [`PID_CREDIT_BIT`] in the pid's highest byte.
const PID_BIT_HIGH: u8 = (PID_CREDIT_BIT >> 24) as u8;

/// The way from a program to the proxy: its bytes as they are, but for credit.
#[derive(Debug, Default)]
pub(crate) struct Upward {
    /// The beginning of a frame, as much as decides what becomes of it. Nothing of it has passed.
    head: Vec<u8>,
    /// Bytes of the frame that are still to be passed as they are.
    rest: usize,
    credit: Credit,
    sending: Sending,
    /// The last payload did not end its message.
    in_message: bool,
    /// DISCONNECTEDs that the program was handed, and of which the proxy is to be told.
    unheard: u32,
    /// They are to be told now.
    hears: bool,
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

/// Who keeps the program from sending more than the proxy takes.
#[derive(Debug, Default)]
enum Sending {
    /// Itself, or nobody.
    #[default]
    Program,
    /// The bridge would, and has said so; the proxy has not answered.
    Announced,
    /// The bridge, by the proxy's credit. A frame may exceed it.
    Bridge { credit: i64 },
}

/// What reached a program's socket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HandedOn {
    /// Bytes of payload.
    pub(crate) payload: u32,
    /// CONNSTATEs DISCONNECTED.
    disconnected: u32,
    /// A CONNSTATE CONNECTED.
    connected: bool,
}

impl Upward {
    /// Passes bytes of the program: appends to `out` what the proxy is to get. Returns how many
    /// were taken: when not all of them, payload waits for the proxy's credit.
    pub(crate) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut left = bytes;
        loop {
            if self.rest > 0 {
                let (same, next) = left.split_at(self.rest.min(left.len()));
                out.extend_from_slice(same);
                self.rest -= same.len();
                left = next;
            }
            let missing = self.head_length().saturating_sub(self.head.len());
            let is_whole = self.rest == 0 && missing == 0;
            if is_whole && !self.waits() {
                self.pass_head(out);
            } else if is_whole || left.is_empty() {
                return bytes.len() - left.len();
            } else {
                let (head, next) = left.split_at(missing.min(left.len()));
                self.head.extend_from_slice(head);
                left = next;
            }
        }
    }

    /// How much of the frame decides what becomes of it.
    fn head_length(&self) -> usize {
        let length = match *self.head.as_slice() {
            [_, high, low, ..] => frame_length(high, low),
            _ => return FRAME_HEAD,
        };
        match (self.head.as_slice(), &self.credit, &self.sending) {
            ([STREAMTYPE, ..], Credit::Unknown, _) if length >= STREAMTYPE_NAME => STREAMTYPE_NAME,
            ([TXCR_UPDATE, 0, 4, ..], Credit::Window { .. }, _) => TXCR_UPDATE_LENGTH,
            ([TX_PAYLOAD, ..], _, Sending::Bridge { .. }) if length >= TX_PAYLOAD_BODY => {
                match payload_flags(&self.head) {
                    Some(flags) if flags.contains(Flags::RIDESHARE) => TX_PAYLOAD_NAME.min(length),
                    _ => TX_PAYLOAD_FLAGS,
                }
            }
            _ => FRAME_HEAD,
        }
    }

    /// True if a frame's payload waits for the proxy's credit.
    pub(crate) fn waits(&self) -> bool {
        let Sending::Bridge { credit: ..=0 } = self.sending else { return false };
        let is_whole = self.rest == 0 && self.head.len() == self.head_length();
        is_whole && payload_length(&self.head).is_some_and(|length| length > 0)
    }

    fn pass_head(&mut self, out: &mut Vec<u8>) {
        let mut head = std::mem::take(&mut self.head);
        if let [_, high, low, ..] = *head {
            self.rest = frame_length(high, low).saturating_sub(head.len());
        }
        match (head.as_mut_slice(), &mut self.credit) {
            ([STREAMTYPE, _, _, _, p3, _, _, _, c3, c2, c1, c0], Credit::Unknown) => {
                let credit = i32::from_be_bytes([*c3, *c2, *c1, *c0]);
                let manages = *p3 & PID_BIT_HIGH != 0;
                self.credit = Credit::initial(credit, manages);
                if let Credit::Window { granted, .. } = self.credit {
                    let granted = i32::try_from(granted).unwrap_or(i32::MAX);
                    [*c3, *c2, *c1, *c0] = granted.to_be_bytes();
                    if !manages {
                        *p3 |= PID_BIT_HIGH;
                        self.sending = Sending::Announced;
                    }
                }
            }
            ([TXCR_UPDATE, _, _, c3, c2, c1, c0], Credit::Window { given, .. }) => {
                let more = i32::from_be_bytes([*c3, *c2, *c1, *c0]);
                *given = given.saturating_add(more.into());
                // What the proxy hears of it, `update` says; but 0 is a word of its own, of those
                // who manage credit.
                if more != 0 || matches!(self.sending, Sending::Bridge { .. }) {
                    head.clear();
                }
            }
            // Only who has heard of the end of a connection asks for another.
            ([ONWARD_CONNECT | PAYLOAD_LENGTH_HINT, ..], _) => {
                self.in_message = false;
                self.tell_heard(out);
            }
            ([TX_PAYLOAD, ..], _) => self.begin_payload(&head, out),
            _ => {}
        }
        out.extend_from_slice(&head);
        head.clear();
        // Keeps its room.
        self.head = head;
    }

    fn begin_payload(&mut self, head: &[u8], out: &mut Vec<u8>) {
        let Sending::Bridge { credit } = &mut self.sending else { return };
        let (Some(flags), Some(length)) = (payload_flags(head), payload_length(head)) else {
            return;
        };
        *credit = credit.saturating_sub(length);
        let (starts, ends) = (flags.contains(Flags::SOM), flags.contains(Flags::EOM));
        if self.hears && (starts || !self.in_message) {
            self.tell_heard(out);
        }
        self.in_message = !ends && (starts || self.in_message);
    }

    /// This reached the program's socket.
    pub(crate) fn handed_on(&mut self, what: &HandedOn) {
        if let Credit::Window { handed_on, .. } = &mut self.credit {
            *handed_on = handed_on.saturating_add(what.payload.into());
        }
        if matches!(self.sending, Sending::Bridge { .. }) {
            self.unheard = self.unheard.saturating_add(what.disconnected);
            // The proxy connected again by itself. A message that was begun before is still to end.
            self.hears |= (what.connected && self.unheard > 0) || self.unheard >= UNHEARD_MAX;
        }
    }

    /// A TXCR_UPDATE of the proxy came, before the stream's first state or later. True if it is for
    /// the bridge and not for the program.
    pub(crate) fn take_credit(&mut self, more: i32, is_first: bool) -> bool {
        match &mut self.sending {
            Sending::Announced if is_first => {
                self.sending = Sending::Bridge { credit: more.into() };
                true
            }
            Sending::Bridge { credit } => {
                *credit = credit.saturating_add(more.into());
                true
            }
            Sending::Announced | Sending::Program => false,
        }
    }

    /// Appends what the bridge itself has to tell the proxy, unless that would fall into a frame:
    /// what was heard, and the next TXCR_UPDATE once it is worth a frame.
    pub(crate) fn update(&mut self, out: &mut Vec<u8>) {
        if self.rest > 0 {
            return;
        }
        if self.hears && !self.in_message {
            self.tell_heard(out);
        }
        let Credit::Window { given, granted, handed_on } = &mut self.credit else { return };
        let due = (*given).min(handed_on.saturating_add(WINDOW.into()));
        let more = due.saturating_sub(*granted);
        let is_worth_it = more < 0 || more >= i64::from(WINDOW / 2) || (more > 0 && due == *given);
        if is_worth_it {
            let limit = if more < 0 { i32::MIN } else { i32::MAX };
            let more = i32::try_from(more).unwrap_or(limit);
            *granted = granted.saturating_add(more.into());
            put_credit(more, out);
        }
    }

    fn tell_heard(&mut self, out: &mut Vec<u8>) {
        for _ in 0..std::mem::take(&mut self.unheard) {
            put_credit(0, out);
        }
        self.hears = false;
    }
}

fn put_credit(more: i32, out: &mut Vec<u8>) {
    let mut frame = [0; TXCR_UPDATE_LENGTH];
    if ToProxy::TxCredit(more).encode(&mut frame).is_ok() {
        out.extend_from_slice(&frame);
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

/// The length of a frame, head and all, by its head's `rest`.
fn frame_length(high: u8, low: u8) -> usize {
    FRAME_HEAD + usize::from(u16::from_be_bytes([high, low]))
}

/// The flags in the beginning of a TX_PAYLOAD.
fn payload_flags(head: &[u8]) -> Option<Flags> {
    match *head {
        [TX_PAYLOAD, _, _, f3, f2, f1, f0, ..] => {
            Some(Flags::from_bits(u32::from_be_bytes([f3, f2, f1, f0])))
        }
        _ => None,
    }
}

/// How many bytes of payload a TX_PAYLOAD has, by as much of it as [`Upward::head_length`] wants.
fn payload_length(head: &[u8]) -> Option<i64> {
    let [TX_PAYLOAD, high, low, ..] = *head else { return None };
    let name = head.get(TX_PAYLOAD_BODY).map_or(0, |length| 1 + usize::from(*length));
    let length = frame_length(high, low).saturating_sub(TX_PAYLOAD_BODY + name);
    i64::try_from(length).ok()
}

/// The way from the proxy to a program: the same bytes, in whole frames where they are short.
#[derive(Debug, Default)]
pub(crate) struct Downward {
    waiting: Vec<u8>,
    /// Bytes of a frame that was partly written.
    rest: usize,
    /// Sees what was written.
    decoder: ToClientDecoder,
    /// A state was among it.
    has_state: bool,
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

    /// If a TXCR_UPDATE is the next frame: what it says, and whether no state came before it.
    pub(crate) fn credit(&self) -> Option<(i32, bool)> {
        match (self.waiting.as_slice(), self.rest) {
            (&[TXCR_UPDATE_TO_CLIENT, 0, 4, c3, c2, c1, c0, ..], 0) => {
                Some((i32::from_be_bytes([c3, c2, c1, c0]), !self.has_state))
            }
            _ => None,
        }
    }

    /// Leaves that TXCR_UPDATE out.
    pub(crate) fn skip_credit(&mut self) {
        if self.credit().is_some() {
            self.waiting.drain(..TXCR_UPDATE_LENGTH);
        }
    }

    /// So many bytes of [`Downward::next`] were written; returns what was in them.
    ///
    /// # Errors
    /// They are no frames: the stream is lost.
    pub(crate) fn written(&mut self, length: usize) -> Result<HandedOn, FrameError> {
        if let ([_, high, low, ..], 0) = (self.waiting.as_slice(), self.rest) {
            self.rest = frame_length(*high, *low);
        }
        self.rest = self.rest.saturating_sub(length);
        let mut written = self.waiting.get(..length).unwrap_or_default();
        let mut handed_on = HandedOn::default();
        while let Some(frame) = self.decoder.next(&mut written)? {
            match frame {
                ToClient::Payload { piece, .. } => {
                    handed_on.payload += u32::try_from(piece.data.len()).unwrap_or(u32::MAX);
                }
                ToClient::State { state, .. } => {
                    self.has_state = true;
                    handed_on.disconnected += u32::from(state == State::Disconnected);
                    handed_on.connected |= state == State::Connected;
                }
                _ => {}
            }
        }
        self.waiting.drain(..length.min(self.waiting.len()));
        Ok(handed_on)
    }
}

#[cfg(test)]
mod tests;
