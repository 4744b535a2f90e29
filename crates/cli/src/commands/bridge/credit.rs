//! Flow control on behalf of local programs that have none, without I/O.
//!
//! A socket stops its sender by being full. A channel of a line cannot: its bytes come on the wire
//! that all channels share, and what comes for one that does not read has to be kept. So the proxy
//! acknowledges of no more than [`WINDOW`] bytes of credit, and of more as payload reaches the program's
//! socket. In the other direction the bridge speaks for a program that does not honour the proxy's
//! credit: it announces that credit is honoured, keeps the program's payload back until there is
//! some, and lets the proxy know which DISCONNECTEDs the program has got.

use sspc_wire::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT};
use sspc_wire::smd;
use sspc_wire::to_client_type::TXCR_UPDATE as TXCR_UPDATE_TO_CLIENT;
use sspc_wire::to_proxy_type::{
    ONWARD_CONNECT, PAYLOAD_LENGTH_HINT, STREAMTYPE, TX_PAYLOAD, TXCR_UPDATE,
};
use sspc_wire::{
    Flags, FrameError, FrameHead, FrameTracker, Layer, State, Streamtype, ToClient,
    ToClientDecoder, ToProxy,
};

/// Bytes of payload that the proxy may be ahead of what the program's socket took. As messages of
/// one byte each it is still less than the line keeps for a program that is behind.
pub(crate) const WINDOW: u32 = 48 * 1024;
/// As much credit is passed on as it is, if its program does not manage it: a proxy renews such
/// credit by itself with each connection that it makes.
const PLAIN_MAX: i32 = 256 * 1024;
/// Without a connection between them, no more DISCONNECTEDs than this are saved up.
const DISCONNECTS_MAX: u32 = 100;
/// Frames for the program up to this length, head and all, are written as a whole: deployed
/// clients hand on a payload frame that they read in two parts as two, each with all its flags.
const WHOLE_MAX: usize = 2048;

/// The way from a program to the proxy: its bytes as they are, but for credit.
#[derive(Debug)]
pub(crate) struct FromProgram {
    frames: FrameTracker,
    /// The head of the frame was passed on; what comes behind it is passed as it is.
    has_passed_head: bool,
    /// Of STREAMTYPE, as far as it came, if it is to be known.
    name: Vec<u8>,
    credit: Credit,
    sending: Sending,
    /// The last payload did not end its message.
    in_message: bool,
    /// DISCONNECTEDs that the program got, and that the proxy does not know it has got.
    disconnects: u32,
    /// The proxy is to know now.
    acknowledges: bool,
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
        /// What the proxy was given.
        granted: i64,
        /// What reached the program's socket.
        delivered: i64,
    },
}

const UNLIMITED: i64 = i64::MAX;

/// What keeps the program from sending more than the proxy takes.
#[derive(Debug, Default)]
enum Sending {
    /// The program itself, or nothing.
    #[default]
    Program,
    /// The bridge would, and has said so; the proxy has not answered.
    Announced,
    /// The bridge, by the proxy's credit. A frame may exceed it.
    Bridge { credit: i64 },
}

/// What reached a program's socket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Bytes of payload.
    pub(crate) payload: u32,
    /// CONNSTATEs DISCONNECTED.
    disconnected: u32,
    /// A CONNSTATE CONNECTED.
    connected: bool,
}

impl Default for FromProgram {
    fn default() -> Self {
        Self {
            frames: FrameTracker::new(Layer::Stream),
            has_passed_head: false,
            name: Vec::new(),
            credit: Credit::default(),
            sending: Sending::default(),
            in_message: false,
            disconnects: 0,
            acknowledges: false,
        }
    }
}

impl FromProgram {
    /// Passes bytes of the program: appends to `out` what the proxy is to get. Returns how many
    /// were taken: when not all of them, payload waits for the proxy's credit.
    pub(crate) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut left = bytes;
        loop {
            if self.has_passed_head {
                out.extend_from_slice(self.frames.rest(&mut left));
                if self.frames.left() > 0 {
                    return bytes.len();
                }
                self.has_passed_head = false;
            }
            match self.frames.head(&mut left) {
                Some(head) if self.needs_name(&head) => {
                    self.name.extend_from_slice(self.frames.rest(&mut left));
                    if self.frames.left() > 0 {
                        return bytes.len();
                    }
                    let name = std::mem::take(&mut self.name);
                    let is_smd = name == smd::STREAMTYPE.as_bytes();
                    out.extend_from_slice(self.begin_stream(head, is_smd).bytes());
                    out.extend_from_slice(&name);
                    continue;
                }
                Some(head) if !self.waits() => self.pass_head(head, out),
                _ => return bytes.len() - left.len(),
            }
            self.has_passed_head = true;
        }
    }

    /// True if a frame's payload waits for the proxy's credit.
    pub(crate) fn waits(&self) -> bool {
        let Sending::Bridge { credit: ..=0 } = self.sending else { return false };
        let is_next = !self.has_passed_head && !self.frames.is_between_frames();
        is_next && tx_payload(self.frames.current()).is_some_and(|(_, length)| length > 0)
    }

    fn pass_head(&mut self, mut head: FrameHead, out: &mut Vec<u8>) {
        match (head.kind(), &mut self.credit) {
            (Some(STREAMTYPE), Credit::Unknown) => head = self.begin_stream(head, false),
            (Some(TXCR_UPDATE), Credit::Window { given, .. }) => {
                if let Some(more) = head.credit() {
                    *given = given.saturating_add(more.into());
                    // `update` gives it to the proxy; but 0 has a meaning of its own to those who
                    // manage credit.
                    if more != 0 || matches!(self.sending, Sending::Bridge { .. }) {
                        return;
                    }
                }
            }
            // A program that asks for a connection knows that the last one has ended.
            (Some(ONWARD_CONNECT | PAYLOAD_LENGTH_HINT), _) => {
                self.in_message = false;
                self.acknowledge_disconnects(out);
            }
            (Some(TX_PAYLOAD), _) => self.begin_payload(&head, out),
            _ => {}
        }
        out.extend_from_slice(head.bytes());
    }

    /// True for the STREAMTYPE whose name, which may be that of the message bus, says what its number
    /// means.
    fn needs_name(&self, head: &FrameHead) -> bool {
        matches!(self.credit, Credit::Unknown)
            && head.kind() == Some(STREAMTYPE)
            && head.length() == Some(head.bytes().len() + smd::STREAMTYPE.len())
    }

    /// What the proxy is to get for the head of STREAMTYPE.
    fn begin_stream(&mut self, head: FrameHead, is_smd: bool) -> FrameHead {
        let Some(Streamtype { pid, tx_credit, .. }) = head.streamtype() else { return head };
        let manages = pid & PID_CREDIT_BIT != 0;
        self.credit = match is_smd {
            false => Credit::initial(tx_credit, manages),
            // The number is the classes that are wanted, and credit comes behind it.
            true if manages => Credit::Program,
            true => Credit::Window { given: UNLIMITED, granted: 0, delivered: 0 },
        };
        let Credit::Window { granted, .. } = self.credit else { return head };
        if !manages {
            self.sending = Sending::Announced;
        }
        let number = if is_smd { tx_credit } else { i32::try_from(granted).unwrap_or(i32::MAX) };
        head.with_streamtype(pid | PID_CREDIT_BIT, number)
    }

    fn begin_payload(&mut self, head: &FrameHead, out: &mut Vec<u8>) {
        let Sending::Bridge { credit } = &mut self.sending else { return };
        let Some((flags, length)) = tx_payload(head) else { return };
        *credit = credit.saturating_sub(length);
        let (starts, ends) = (flags.contains(Flags::SOM), flags.contains(Flags::EOM));
        if self.acknowledges && (starts || !self.in_message) {
            self.acknowledge_disconnects(out);
        }
        self.in_message = !ends && (starts || self.in_message);
    }

    /// This reached the program's socket.
    pub(crate) fn delivered(&mut self, what: &Delivered) {
        if let Credit::Window { delivered, .. } = &mut self.credit {
            *delivered = delivered.saturating_add(what.payload.into());
        }
        if matches!(self.sending, Sending::Bridge { .. }) {
            self.disconnects = self.disconnects.saturating_add(what.disconnected);
            // The proxy connected again by itself. A message that was begun before is still to end.
            self.acknowledges |=
                (what.connected && self.disconnects > 0) || self.disconnects >= DISCONNECTS_MAX;
        }
    }

    /// A TXCR_UPDATE of the proxy came, before the stream's first state or later. True if it is for
    /// the bridge and not for the program.
    pub(crate) fn take_credit(&mut self, more: i32, is_first: bool) -> bool {
        match &mut self.sending {
            Sending::Announced if is_first => {
                // A first 0 says that the streamtype takes no payload. The proxy throws it away: to
                // hold it back would hold up what comes behind it.
                let credit = if more == 0 { UNLIMITED } else { more.into() };
                self.sending = Sending::Bridge { credit };
                true
            }
            Sending::Bridge { credit } => {
                *credit = credit.saturating_add(more.into());
                true
            }
            Sending::Announced | Sending::Program => false,
        }
    }

    /// Appends what the bridge itself has for the proxy, unless that would fall into a frame:
    /// which DISCONNECTEDs the program has got, and the next TXCR_UPDATE once it is worth a frame.
    pub(crate) fn update(&mut self, out: &mut Vec<u8>) {
        if self.has_passed_head {
            return;
        }
        if self.acknowledges && !self.in_message {
            self.acknowledge_disconnects(out);
        }
        let Credit::Window { given, granted, delivered } = &mut self.credit else { return };
        let due = (*given).min(delivered.saturating_add(WINDOW.into()));
        let more = due.saturating_sub(*granted);
        let is_worth_it = more < 0 || more >= i64::from(WINDOW / 2) || (more > 0 && due == *given);
        if is_worth_it {
            let limit = if more < 0 { i32::MIN } else { i32::MAX };
            let more = i32::try_from(more).unwrap_or(limit);
            *granted = granted.saturating_add(more.into());
            put_credit(more, out);
        }
    }

    fn acknowledge_disconnects(&mut self, out: &mut Vec<u8>) {
        for _ in 0..std::mem::take(&mut self.disconnects) {
            put_credit(0, out);
        }
        self.acknowledges = false;
    }
}

fn put_credit(more: i32, out: &mut Vec<u8>) {
    let mut frame = [0; 8];
    if let Ok(length) = ToProxy::TxCredit(more).encode(&mut frame) {
        out.extend_from_slice(frame.get(..length).unwrap_or_default());
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
        Self::Window { given, granted: given.min(WINDOW.into()), delivered: 0 }
    }
}

/// The flags of a TX_PAYLOAD, and how many bytes of payload it has.
fn tx_payload(head: &FrameHead) -> Option<(Flags, i64)> {
    let payload = head.payload().filter(|_| head.kind() == Some(TX_PAYLOAD))?;
    Some((head.flags()?, i64::try_from(payload.len()).ok()?))
}

/// The way from the proxy to a program: the same bytes, in whole frames where they are short.
#[derive(Debug, Default)]
pub(crate) struct FromProxy {
    waiting: Vec<u8>,
    /// Bytes of a frame that was partly written.
    rest: usize,
    /// Sees what was written.
    decoder: ToClientDecoder,
    /// A state was among it.
    has_state: bool,
}

impl FromProxy {
    /// The head of the frame that is written next, unless that was begun.
    fn next_head(&self) -> Option<FrameHead> {
        Some(FrameHead::of(Layer::Stream, &self.waiting)).filter(|_| self.rest == 0)
    }

    /// The length of that frame, once it is known.
    fn next_length(&self) -> Option<usize> {
        self.next_head()?.length()
    }

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
        let length = match self.next_length() {
            _ if self.rest > 0 => self.rest,
            Some(long) if long > WHOLE_MAX => long,
            Some(short) if self.waiting.len() >= short => short,
            _ => 0,
        };
        self.waiting.get(..length.min(self.waiting.len())).unwrap_or_default()
    }

    /// If a TXCR_UPDATE is the next frame: what it says, and whether no state came before it.
    pub(crate) fn credit(&self) -> Option<(i32, bool)> {
        let head = self.next_head()?;
        let more = head.credit().filter(|_| head.kind() == Some(TXCR_UPDATE_TO_CLIENT))?;
        Some((more, !self.has_state))
    }

    /// Leaves that TXCR_UPDATE out.
    pub(crate) fn skip_credit(&mut self) {
        if let (Some(_), Some(length)) = (self.credit(), self.next_length()) {
            self.waiting.drain(..length.min(self.waiting.len()));
        }
    }

    /// This many bytes of [`FromProxy::next`] were written; returns what was in them.
    ///
    /// # Errors
    /// They are no frames: the stream is lost.
    pub(crate) fn written(&mut self, length: usize) -> Result<Delivered, FrameError> {
        if let (Some(whole), 0) = (self.next_length(), self.rest) {
            self.rest = whole;
        }
        self.rest = self.rest.saturating_sub(length);
        let mut written = self.waiting.get(..length).unwrap_or_default();
        let mut delivered = Delivered::default();
        while let Some(frame) = self.decoder.next(&mut written)? {
            match frame {
                ToClient::Payload { piece, .. } => {
                    delivered.payload += u32::try_from(piece.data.len()).unwrap_or(u32::MAX);
                }
                ToClient::State { state, .. } => {
                    self.has_state = true;
                    delivered.disconnected += u32::from(state == State::Disconnected);
                    delivered.connected |= state == State::Connected;
                }
                _ => {}
            }
        }
        self.waiting.drain(..length.min(self.waiting.len()));
        Ok(delivered)
    }
}

#[cfg(test)]
mod tests;
