//! From the application's wishes to frames, in the order of the protocol: the timeout, metadata in
//! the order set, credit, the length hint, ONWARD_CONNECT, payload.

use sspc_wire::limits::{
    FRAME_HEAD, PAYLOAD_FIXED, PAYLOAD_MAX, PID_CREDIT_BIT, STREAMTYPE_NAME_MAX, VERSION,
};
use sspc_wire::{Flags, PayloadHead, Piece, Streamtype, Timeout, ToProxy};

use super::link::Link;
use super::{Engine, Hint, Onward, copy};
use crate::config::Config;
use crate::error::NoRoom;
use sspc_wire::Instant;

/// What stands in front of a frame's payload.
const PAYLOAD_HEAD: usize = FRAME_HEAD + PAYLOAD_FIXED;
/// What stands in front of a metadata's name.
const METADATA_HEAD: usize = FRAME_HEAD + 1;
/// What can have to be sent between metadata and payload at once: two TXCR_UPDATE, one
/// PAYLOAD_LENGTH_HINT, one ONWARD_CONNECT.
const CONTROL_MAX: usize = 3 * (FRAME_HEAD + 4) + FRAME_HEAD;
/// The smallest room that [`crate::Stream::transmit`] takes, in bytes: STREAMTYPE with the longest
/// name, which is longer than a metadata's head or a payload's, fits.
pub const ROOM_MIN: usize = FRAME_HEAD + 9 + STREAMTYPE_NAME_MAX;
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

/// Frames in the caller's room, back to back.
struct Out<'o> {
    room: &'o mut [u8],
    at: usize,
}

impl Out<'_> {
    /// Puts the frame behind the others.
    fn put(&mut self, frame: ToProxy<'_>) {
        let room = self.room.get_mut(self.at..).unwrap_or_default();
        // Names and values were checked when they were set, and the callers know that it fits.
        self.at += frame.encode(room).unwrap_or(0);
    }

    const fn left(&self) -> usize {
        self.room.len() - self.at
    }

    /// Puts bytes behind the frames; returns how many fit.
    fn put_bytes(&mut self, bytes: &[u8]) -> usize {
        let fit = copy(self.room.get_mut(self.at..).unwrap_or_default(), bytes);
        self.at += fit;
        fit
    }
}

impl Engine {
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        room: &mut [u8],
        storage: &[u8],
        source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>,
    ) -> Result<usize, NoRoom> {
        if room.len() < ROOM_MIN {
            return Err(NoRoom { needed: ROOM_MIN });
        }
        let mut out = Out { room, at: 0 };
        match self.link {
            Link::Greeting => {
                out.put(ToProxy::Streamtype(self.streamtype()));
                self.link = Link::Asking;
            }
            Link::Closing => {
                // Half a frame cannot be followed by another.
                if self.kept.cut == 0 {
                    out.put(ToProxy::Destroying);
                }
                self.drop_link();
            }
            Link::Created => {
                if self.put_control(&mut out, storage) {
                    self.put_payload(now, &mut out, source);
                }
            }
            Link::Down
            | Link::Opening
            | Link::Asking
            | Link::Dropping
            | Link::Dropped
            | Link::Closed => {}
        }
        Ok(out.at)
    }

    fn streamtype(&self) -> Streamtype<'_> {
        let mut pid = self.config.pid & !PID_CREDIT_BIT;
        if self.config.honour_credit {
            pid |= PID_CREDIT_BIT;
        }
        let tx_credit = self.config.window.min(Config::UNLIMITED) as i32;
        Streamtype { version: VERSION, pid, tx_credit, name: self.name.as_bytes() }
    }

    /// Puts all that is not payload; `false` if there was no room for all. What was cut goes on
    /// before all else.
    fn put_control(&mut self, out: &mut Out<'_>, storage: &[u8]) -> bool {
        if let (true, 0, Some(timeout)) = (self.timeout_pending, self.kept.cut, self.timeout) {
            out.put(ToProxy::Timeout(timeout));
            self.timeout_pending = false;
            if timeout == Timeout::Cancel {
                self.timeout = None;
            }
        }
        while let Some(record) = self.kept.unsent(storage) {
            let (name, end) = (record.name, record.end());
            let rest = record.value.get(usize::from(self.kept.cut)..).unwrap_or_default();
            if self.kept.cut == 0 {
                // Only what fits no room is cut.
                if out.at > 0 && out.left() < METADATA_HEAD + name.len() + rest.len() {
                    return false;
                }
                let value = Piece { data: &[], offset: 0, total: rest.len() as u16 };
                out.put(ToProxy::Metadata { name, value });
            }
            let put = out.put_bytes(rest);
            if put < rest.len() {
                self.kept.cut += put as u16;
                return false;
            }
            self.kept.cut = 0;
            self.kept.mark_sent(end);
        }
        if out.left() < CONTROL_MAX {
            return false;
        }
        if self.of_link.heard > 0 {
            // What follows is not for the connection that is gone.
            out.put(ToProxy::TxCredit(0));
            self.of_link.heard -= 1;
            if self.of_link.heard > 0 {
                return false;
            }
        }
        if self.of_link.top_up != 0 {
            out.put(ToProxy::TxCredit(self.of_link.top_up));
            self.of_link.top_up = 0;
        }
        if let Hint::Pending(length) = self.hint {
            // A message that is under way has told its length; the next one's waits. It would
            // wake an idle stream, which the application has to ask for.
            let asked = self.connected || self.onward != Onward::Idle;
            if asked && !self.message_open {
                out.put(ToProxy::LengthHint(length));
                self.hint = Hint::Sent(length);
            }
        }
        if self.onward == Onward::Wanted {
            out.put(ToProxy::OnwardConnect);
            self.onward = Onward::Asked;
        }
        true
    }

    fn put_payload(
        &mut self,
        now: Instant,
        out: &mut Out<'_>,
        source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>,
    ) {
        while self.connected && self.tx_wanted {
            let mut most = self.config.frame_payload;
            if self.of_link.credit_managed {
                most = self.config.frame_payload_managed;
                // What is below 0 or above any frame is none or no limit.
                let credit = self.of_link.credit.clamp(0, i32::from(u16::MAX));
                most = most.min(credit as u16);
            }
            let most = usize::from(most).min(PAYLOAD_MAX);
            let body = out.room.get_mut(out.at + PAYLOAD_HEAD..).unwrap_or_default();
            let fits = body.len().min(most);
            if fits == 0 || fits < most.min(WORTHWHILE) && out.at > 0 {
                return;
            }
            let Some(tx) = source(body.get_mut(..fits).unwrap_or_default()) else {
                self.tx_wanted = false;
                return;
            };
            let length = tx.len.min(fits);
            let now_us = now.as_micros();
            let mut head = PayloadHead::new(tx.flags);
            head.held_us = (now_us as u32).wrapping_sub(self.tx_since_us);
            head.written_us = now_us;
            let piece = Piece { data: &[], offset: 0, total: length as u16 };
            // Its bytes are behind the head already.
            out.put(ToProxy::Payload { head, rideshare: None, piece });
            out.at += length;
            self.of_link.credit = self.of_link.credit.saturating_sub(length as i32);
            self.tx_wanted = tx.more;
            self.tx_since_us = now_us as u32;
            self.sent(tx.flags);
            if let Hint::Pending(_) = self.hint {
                if !self.message_open {
                    // The next message's hint goes first.
                    return;
                }
            }
        }
    }

    fn sent(&mut self, flags: Flags) {
        if let Hint::Sent(_) = self.hint {
            self.hint = Hint::None;
        }
        self.message_open = !flags.contains(Flags::EOM);
        if flags.contains(Flags::EOM) {
            let next = self.rideshare_turn + 1;
            self.rideshare_turn = if next < self.kept.names() { next } else { 0 };
        }
    }
}
