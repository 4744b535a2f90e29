//! From the application's wishes to frames, in the order of the protocol: the timeout, metadata in
//! the order set, credit, the length hint, ONWARD_CONNECT, payload.

use core::ops::Range;

use sspc_wire::limits::{
    FRAME_HEAD, PAYLOAD_FIXED, PAYLOAD_MAX, PID_CREDIT_BIT, STREAMTYPE_NAME_MAX, VERSION,
};
use sspc_wire::to_proxy_type::{
    DESTROYING, METADATA, ONWARD_CONNECT, PAYLOAD_LENGTH_HINT, STREAMTYPE, TIMEOUT_UPDATE,
    TX_PAYLOAD, TXCR_UPDATE,
};
use sspc_wire::{FieldWriter, Flags, Instant, Timeout};

use super::link::Link;
use super::{ConnectIntent, Engine, Hint};
use crate::error::NoRoom;

/// What stands in front of a frame's payload.
const PAYLOAD_HEAD: usize = FRAME_HEAD + PAYLOAD_FIXED;
/// What stands in front of a metadata's name.
const METADATA_HEAD: usize = FRAME_HEAD + 1;
/// What can have to be sent between metadata and payload at once: two TXCR_UPDATE, one
/// PAYLOAD_LENGTH_HINT, one ONWARD_CONNECT.
const CONTROL_MAX: usize = 3 * (FRAME_HEAD + 4) + FRAME_HEAD;
/// The smallest room that [`crate::Stream::transmit`] takes, in bytes: STREAMTYPE with the longest
/// name, which is longer than a metadata's head or a payload's, fits.
pub const BUF_MIN: usize = FRAME_HEAD + 9 + STREAMTYPE_NAME_MAX;
/// A frame with less payload than this is not begun behind others; the next room may be larger.
const WORTHWHILE: usize = 256;

/// A piece of a message that was put in the room given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tx {
    /// How many bytes; may be 0, where only the flags matter.
    pub len: usize,
    /// SOM on a message's first piece, EOM on its last.
    pub flags: Flags,
    /// There is more to send, as if it had been requested.
    pub more: bool,
}

/// Room in which payload is to be put.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct PayloadSlot {
    start: usize,
    len: usize,
    /// When the application asked to send, in µs modulo 2^32.
    since_us: u32,
}

impl PayloadSlot {
    /// Where it is in the room that was given.
    pub const fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

impl Engine {
    /// [`Engine::transmit`], but that payload is given by [`Engine::put_piece`], if room for it is
    /// asked for. How many bytes there are in front of that.
    pub(crate) fn transmit_asking(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        storage: &[u8],
    ) -> Result<(usize, Option<PayloadSlot>), NoRoom> {
        let (since_us, mut found) = (self.tx_since_us, None);
        let bytes = self.transmit(now, buf, storage, &mut |body| {
            found = Some(body.len());
            None
        })?;
        Ok((bytes, found.map(|len| PayloadSlot { start: bytes + PAYLOAD_HEAD, len, since_us })))
    }

    /// Puts the frame around a piece that is where it was asked for; how many bytes it has, 0 if the
    /// connection is gone meanwhile.
    pub(crate) fn put_piece(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        slot: PayloadSlot,
        tx: Tx,
    ) -> usize {
        let frame = buf.get_mut(slot.start - PAYLOAD_HEAD..).unwrap_or_default();
        if !self.connected {
            return 0;
        }
        self.tx_since_us = slot.since_us;
        let length = tx.len.min(slot.len);
        self.put_frame(now, &mut FieldWriter::new(frame), length, tx);
        PAYLOAD_HEAD + length
    }

    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        storage: &[u8],
        source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>,
    ) -> Result<usize, NoRoom> {
        if buf.len() < BUF_MIN {
            return Err(NoRoom { needed: BUF_MIN });
        }
        let size = buf.len();
        let mut out = FieldWriter::new(buf);
        match self.link {
            Link::Greeting => {
                self.put_streamtype(&mut out);
                self.link = Link::Asking;
            }
            Link::Closing => {
                // Half a frame cannot be followed by another.
                if self.metadata.cut == 0 {
                    out.head(DESTROYING, 0);
                }
                self.drop_link();
            }
            Link::Created => {
                if self.put_control(&mut out, size, storage) {
                    self.put_payload(now, &mut out, size, source);
                }
            }
            Link::Down
            | Link::Opening
            | Link::Asking
            | Link::Dropping
            | Link::Dropped
            | Link::Closed => {}
        }
        Ok(size - out.room().len())
    }

    fn put_streamtype(&self, out: &mut FieldWriter<'_>) {
        let mut pid = self.config.pid & !PID_CREDIT_BIT;
        if self.config.honour_credit {
            pid |= PID_CREDIT_BIT;
        }
        let name = self.name.as_bytes();
        out.head(STREAMTYPE, 9 + name.len());
        out.u8(VERSION);
        out.u32(pid);
        let window = self.config.window;
        #[cfg(feature = "std")]
        let window = self.config.smd_classes.unwrap_or(window);
        out.u32(window);
        out.bytes(name);
    }

    /// Puts all that is not payload; `false` if there was no room for all. What was cut goes on
    /// before all else.
    fn put_control(&mut self, out: &mut FieldWriter<'_>, size: usize, storage: &[u8]) -> bool {
        if let (true, 0, Some(timeout)) = (self.timeout_pending, self.metadata.cut, self.timeout) {
            out.number(TIMEOUT_UPDATE, timeout);
            self.timeout_pending = false;
            if timeout == Timeout::Cancel.to_wire() {
                self.timeout = None;
            }
        }
        while let Some(record) = self.metadata.unsent(storage) {
            let (name, end) = (record.name, record.end());
            let rest = record.value.get(usize::from(self.metadata.cut)..).unwrap_or_default();
            if self.metadata.cut == 0 {
                let left = out.room().len();
                // Only what fits no room is cut.
                if left < size && left < METADATA_HEAD + name.len() + rest.len() {
                    return false;
                }
                out.head(METADATA, 1 + name.len() + rest.len());
                out.u8(name.len() as u8);
                out.bytes(name);
            }
            let left = out.room().len();
            out.bytes(rest);
            if left < rest.len() {
                self.metadata.cut += left as u16;
                return false;
            }
            self.metadata.cut = 0;
            self.metadata.mark_sent(end);
        }
        if out.room().len() < CONTROL_MAX {
            return false;
        }
        if self.link_state.heard > 0 {
            // What follows is not for the connection that is gone.
            out.number(TXCR_UPDATE, 0);
            self.link_state.heard -= 1;
            if self.link_state.heard > 0 {
                return false;
            }
        }
        if self.link_state.top_up != 0 {
            out.number(TXCR_UPDATE, self.link_state.top_up as u32);
            self.link_state.top_up = 0;
        }
        if let Hint::Pending(length) = self.hint {
            // A message that is under way has told its length; the next one's waits. It would
            // wake an idle stream, which the application has to ask for.
            let asked = self.connected || self.intent != ConnectIntent::Idle;
            if asked && !self.message_open {
                out.number(PAYLOAD_LENGTH_HINT, length);
                self.hint = Hint::Sent(length);
            }
        }
        if self.intent == ConnectIntent::Wanted && !self.connected {
            out.head(ONWARD_CONNECT, 0);
            self.intent = ConnectIntent::Asked;
        }
        true
    }

    fn put_payload(
        &mut self,
        now: Instant,
        out: &mut FieldWriter<'_>,
        size: usize,
        source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>,
    ) {
        while self.connected && self.tx_wanted {
            let mut most = self.config.frame_payload;
            if self.link_state.credit_managed {
                most = self.config.frame_payload_managed;
                // What is below 0 or above any frame is none or no limit.
                let credit = self.link_state.credit.clamp(0, i32::from(most));
                most = credit as u16;
            }
            let most = usize::from(most).min(PAYLOAD_MAX);
            let is_first = out.room().len() == size;
            let body = out.room().get_mut(PAYLOAD_HEAD..).unwrap_or_default();
            let fits = body.len().min(most);
            if fits == 0 || fits < most.min(WORTHWHILE) && !is_first {
                return;
            }
            self.tx_wanted = false;
            let Some(tx) = source(body.get_mut(..fits).unwrap_or_default()) else { return };
            self.put_frame(now, out, tx.len.min(fits), tx);
            if let Hint::Pending(_) = self.hint {
                if !self.message_open {
                    // The next message's hint goes first.
                    return;
                }
            }
        }
    }

    /// A piece of a message, whose bytes are there already, behind the room for the head.
    fn put_frame(&mut self, now: Instant, out: &mut FieldWriter<'_>, length: usize, tx: Tx) {
        let now_us = now.as_micros();
        out.head(TX_PAYLOAD, PAYLOAD_FIXED + length);
        out.u32(tx.flags.without(Flags::RIDESHARE).bits());
        out.u32((now_us as u32).wrapping_sub(self.tx_since_us));
        out.u64(now_us);
        out.skip(length);
        self.link_state.credit = self.link_state.credit.saturating_sub(length as i32);
        self.tx_wanted |= tx.more;
        self.tx_since_us = now_us as u32;
        self.sent(tx.flags);
    }

    // From two places: a call is shorter than what it does.
    #[inline(never)]
    fn sent(&mut self, flags: Flags) {
        if let Hint::Sent(_) = self.hint {
            self.hint = Hint::None;
        }
        // What was asked for behind a verdict is so, if the connection went on.
        if matches!(self.intent, ConnectIntent::Asked | ConnectIntent::Wanted) {
            self.intent = ConnectIntent::Used;
        }
        self.message_open = !flags.contains(Flags::EOM);
        if flags.contains(Flags::EOM) {
            let next = self.rideshare_turn + 1;
            self.rideshare_turn = if next < self.metadata.names() { next } else { 0 };
        }
    }
}
