//! The channels: 256 bytes of state, two bits each of answers owed, and whose turn it is.
//!
//! ```text
//!   opener:   open             CHANNEL_REQ sent          CHANNEL_ACK
//!     Free ────────► RequestDue ────────────► Requested ────────────► Open
//!                                              │  CHANNEL_NACK, _CLOSE: Free
//!                                              └─ no answer in time: CloseDue
//!   other:    CHANNEL_REQ        accept         CHANNEL_ACK sent
//!     Free ───────────► Offered ─────────► AckDue ─────────► Open
//!                         └─ refuse: Free, CHANNEL_NACK owed
//!   both:     close           CHANNEL_CLOSE sent         CHANNEL_CLOSE_ACK
//!     Open ─────────► CloseDue ───────────────► Closing ──────────────────► Free
//!      │                                          └─ no answer in time: Unusable until the
//!      └─ CHANNEL_NACK: Free; CHANNEL_CLOSE: Free,   link is reset, CHANNEL_NACK owed
//!         CHANNEL_CLOSE_ACK owed
//! ```

use sspc_wire::MuxFrame;
use sspc_wire::limits::MUX_CHANNELS_MAX;

use crate::config::Config;
use crate::event::{Channel, Event, Priority, Refusal};
use crate::put;
use sspc_wire::Instant;

const INDEXES: usize = 256;
/// The lowest index that is opened: no more than the most that deployed peers have in use.
const LOWEST: u8 = (INDEXES - MUX_CHANNELS_MAX) as u8;
/// A channel that waits for an answer counts ticks of half the time that it has: so many make sure
/// that the whole time has passed.
const TICKS: u8 = 3;
/// Every so many data frames a channel of lower priority gets one.
const LOWER_TURN: u8 = 8;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free = 0,
    RequestDue = 1,
    Offered = 2,
    AckDue = 3,
    Open = 4,
    CloseDue = 5,
    Unusable = 6,
    Requested = 8,
    Closing = 12,
}

/// In the low 4 bits [`Phase`], and in the low 2 of these how many ticks a channel has waited if it
/// waits for an answer; in the next 3 its priority, in the highest whether it wants to send.
#[derive(Clone, Copy, Debug)]
struct Slot(u8);

impl Slot {
    const FREE: Self = Self(Phase::Free as u8);
    const WANTS: u8 = 0x80;
    const WAITS: u8 = 0x08;

    const fn phase(self) -> Phase {
        let code = self.0 & 0x0f;
        match if code & Self::WAITS != 0 { code & 0x0c } else { code } {
            1 => Phase::RequestDue,
            2 => Phase::Offered,
            3 => Phase::AckDue,
            4 => Phase::Open,
            5 => Phase::CloseDue,
            6 => Phase::Unusable,
            8 => Phase::Requested,
            12 => Phase::Closing,
            // No other code is written.
            _ => Phase::Free,
        }
    }

    const fn set_phase(&mut self, phase: Phase) {
        self.0 = (self.0 & 0xf0) | phase as u8;
    }

    /// Ticks that it has waited; `None` if it does not wait.
    const fn waited(self) -> Option<u8> {
        if self.0 & Self::WAITS != 0 { Some(self.0 & 3) } else { None }
    }

    const fn level(self) -> u8 {
        (self.0 >> 4) & 7
    }

    const fn set_priority(&mut self, priority: Priority) {
        self.0 = (self.0 & 0x8f) | (priority.level() << 4);
    }

    const fn wants_to_send(self) -> bool {
        self.0 & 0x8f == Self::WANTS | Phase::Open as u8
    }
}

/// A set of channels.
#[derive(Debug)]
struct Set([u8; INDEXES / 8]);

impl Set {
    const EMPTY: Self = Self([0; INDEXES / 8]);

    const fn insert(&mut self, index: u8) {
        self.0[(index / 8) as usize] |= 1 << (index % 8);
    }

    /// True if it was in the set.
    const fn remove(&mut self, index: u8) -> bool {
        let (byte, bit) = (&mut self.0[(index / 8) as usize], 1 << (index % 8));
        let was = *byte & bit != 0;
        *byte &= !bit;
        was
    }
}

#[derive(Debug)]
pub(crate) struct Channels {
    slots: [Slot; INDEXES],
    nacks: Set,
    close_acks: Set,
    /// The channel that had the last turn, by level, and of the turns of lower ones.
    turns: [u8; 9],
    /// Data frames until a lower one's turn.
    until_lower: u8,
    /// The index opened last; the next one is below it, so that one just closed rests.
    opened: u8,
    /// Maybe there is control to be sent.
    control_due: bool,
    /// Maybe one wants to send.
    data_due: bool,
    /// Maybe there is one that has waited long enough.
    expired: bool,
    /// When those that wait for an answer have waited for one more tick.
    tick_at: Instant,
}

impl Channels {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [Slot::FREE; INDEXES],
            nacks: Set::EMPTY,
            close_acks: Set::EMPTY,
            turns: [0; 9],
            until_lower: LOWER_TURN,
            opened: 0,
            control_due: false,
            data_due: false,
            expired: false,
            tick_at: Instant::NEVER,
        }
    }

    /// As new, but that the next index to be opened is another one.
    pub(crate) fn reset(&mut self) {
        self.slots.fill(Slot::FREE);
        self.nacks.0.fill(0);
        self.close_acks.0.fill(0);
        self.control_due = false;
        self.data_due = false;
        self.expired = false;
        self.tick_at = Instant::NEVER;
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.tick_at
    }

    pub(crate) const fn phase(&self, channel: Channel) -> Phase {
        self.slots[channel.index() as usize].phase()
    }

    /// How many channels are in use or unusable.
    pub(crate) fn used(&self) -> usize {
        self.slots.iter().filter(|slot| slot.phase() != Phase::Free).count()
    }

    pub(crate) fn has_unusable(&self) -> bool {
        self.slots.iter().any(|slot| slot.phase() == Phase::Unusable)
    }

    /// A new phase for a channel; a free one has no priority and wants nothing.
    fn set(&mut self, index: u8, phase: Phase) {
        let slot = &mut self.slots[usize::from(index)];
        match phase {
            Phase::Free => *slot = Slot::FREE,
            Phase::RequestDue | Phase::AckDue | Phase::CloseDue => self.control_due = true,
            Phase::Requested | Phase::Offered | Phase::Open | Phase::Closing | Phase::Unusable => {}
        }
        slot.set_phase(phase);
    }

    fn owe_nack(&mut self, index: u8) {
        self.nacks.insert(index);
        self.control_due = true;
    }

    pub(crate) fn open(&mut self, priority: Priority) -> Option<Channel> {
        let mut index = self.opened;
        for _ in 0..MUX_CHANNELS_MAX {
            index = if index > LOWEST { index - 1 } else { u8::MAX };
            if self.phase(Channel::new(index)) == Phase::Free {
                self.opened = index;
                self.set(index, Phase::RequestDue);
                self.slots[usize::from(index)].set_priority(priority);
                return Some(Channel::new(index));
            }
        }
        None
    }

    /// False if the channel is not offered.
    pub(crate) fn accept(&mut self, channel: Channel, priority: Priority) -> bool {
        let is_offered = self.phase(channel) == Phase::Offered;
        if is_offered {
            self.set(channel.index(), Phase::AckDue);
            self.set_priority(channel, priority);
        }
        is_offered
    }

    pub(crate) fn close(&mut self, channel: Channel) {
        let index = channel.index();
        match self.phase(channel) {
            Phase::RequestDue => self.set(index, Phase::Free),
            Phase::Requested | Phase::Open => self.set(index, Phase::CloseDue),
            Phase::Offered | Phase::AckDue => {
                self.set(index, Phase::Free);
                self.owe_nack(index);
            }
            Phase::Free | Phase::CloseDue | Phase::Closing | Phase::Unusable => {}
        }
    }

    pub(crate) fn set_priority(&mut self, channel: Channel, priority: Priority) {
        if self.phase(channel) != Phase::Free {
            self.slots[usize::from(channel.index())].set_priority(priority);
        }
    }

    pub(crate) fn wants_to_send(&mut self, channel: Channel, wants: bool) {
        let slot = &mut self.slots[usize::from(channel.index())];
        slot.0 &= !Slot::WANTS;
        if wants && matches!(slot.phase(), Phase::Open | Phase::AckDue) {
            slot.0 |= Slot::WANTS;
            self.data_due = true;
        }
    }

    /// The channel ends by the peer's doing; the caller is told if it knew of the channel.
    fn end(&mut self, index: u8) -> Option<Event<'static>> {
        let channel = Channel::new(index);
        let phase = self.phase(channel);
        self.set(index, Phase::Free);
        match phase {
            Phase::Offered | Phase::AckDue | Phase::Open => Some(Event::Closed { channel }),
            Phase::Requested => Some(Event::Refused { channel, why: Refusal::ByPeer }),
            Phase::Free
            | Phase::RequestDue
            | Phase::CloseDue
            | Phase::Closing
            | Phase::Unusable => None,
        }
    }

    pub(crate) fn receive_request(&mut self, index: u8, accepts: bool) -> Option<Event<'static>> {
        let channel = Channel::new(index);
        match self.phase(channel) {
            // What the peer asks for is free at its side.
            Phase::Free | Phase::Unusable | Phase::CloseDue | Phase::Closing if accepts => {
                self.nacks.remove(index);
                self.set(index, Phase::Free);
                self.set(index, Phase::Offered);
                Some(Event::ChannelRequested { channel })
            }
            Phase::Free => {
                self.owe_nack(index);
                None
            }
            // Doubled, or from a peer that lost count; it will give up and close.
            Phase::RequestDue
            | Phase::Requested
            | Phase::Offered
            | Phase::AckDue
            | Phase::Open
            | Phase::CloseDue
            | Phase::Closing
            | Phase::Unusable => None,
        }
    }

    pub(crate) fn receive_ack(&mut self, index: u8) -> Option<Event<'static>> {
        let channel = Channel::new(index);
        match self.phase(channel) {
            Phase::Requested => {
                self.set(index, Phase::Open);
                return Some(Event::Opened { channel });
            }
            // The peer believes that the channel is open.
            Phase::Free => self.set(index, Phase::CloseDue),
            Phase::RequestDue
            | Phase::Offered
            | Phase::AckDue
            | Phase::Open
            | Phase::CloseDue
            | Phase::Closing
            | Phase::Unusable => {}
        }
        None
    }

    pub(crate) fn receive_nack(&mut self, index: u8) -> Option<Event<'static>> {
        // One that comes before the request was sent means an earlier channel of this index.
        if self.phase(Channel::new(index)) == Phase::RequestDue { None } else { self.end(index) }
    }

    pub(crate) fn receive_close(&mut self, index: u8) -> Option<Event<'static>> {
        // Always acknowledged: a peer that closes something unknown here has lost count, and would
        // wait, and never use the index again.
        self.close_acks.insert(index);
        self.control_due = true;
        match self.phase(Channel::new(index)) {
            // Of an earlier channel of this index; or both close, and the peer will answer too.
            Phase::RequestDue | Phase::Closing => None,
            Phase::Free
            | Phase::Requested
            | Phase::Offered
            | Phase::AckDue
            | Phase::Open
            | Phase::CloseDue
            | Phase::Unusable => self.end(index),
        }
    }

    pub(crate) fn receive_close_ack(&mut self, index: u8) {
        if let Phase::Closing | Phase::Unusable = self.phase(Channel::new(index)) {
            self.set(index, Phase::Free);
        }
    }

    /// What becomes of a piece of a MUX frame: an event, if it is for the caller.
    pub(crate) fn receive_data<'i>(
        &mut self,
        index: u8,
        piece: &'i [u8],
        is_first: bool,
    ) -> Option<Event<'i>> {
        let channel = Channel::new(index);
        match self.phase(channel) {
            Phase::Open => Some(Event::Data { channel, piece }),
            Phase::Free | Phase::Unusable => {
                if is_first {
                    self.owe_nack(index);
                }
                None
            }
            // Data before CHANNEL_ACK: the peer does not mean the channel that is being opened.
            Phase::Offered | Phase::AckDue => {
                self.owe_nack(index);
                self.end(index)
            }
            // Under way when it was closed, or of an earlier channel of this index.
            Phase::RequestDue | Phase::Requested | Phase::CloseDue | Phase::Closing => None,
        }
    }

    /// Lets those that wait for an answer grow older; tells of a request that got none.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        config: &Config,
    ) -> Option<Event<'static>> {
        if now >= self.tick_at {
            self.tick_at = Instant::NEVER;
            for index in 0..=u8::MAX {
                let slot = &mut self.slots[usize::from(index)];
                let Some(waited) = slot.waited() else { continue };
                if waited < TICKS {
                    slot.0 += 1;
                    self.start_ticking(now, config);
                }
            }
            self.expired = true;
        }
        while self.expired {
            let expired = |slot: &Slot| slot.waited() == Some(TICKS);
            let Some(index) = self.slots.iter().position(expired) else {
                self.expired = false;
                break;
            };
            let index = index as u8;
            let channel = Channel::new(index);
            if self.phase(channel) == Phase::Requested {
                // The peer may have accepted, and the answer been lost.
                self.set(index, Phase::CloseDue);
                return Some(Event::Refused { channel, why: Refusal::NoAnswer });
            }
            // Some deployed peers take CHANNEL_CLOSE for nothing, but this for an end.
            self.set(index, Phase::Unusable);
            self.owe_nack(index);
        }
        None
    }

    fn start_ticking(&mut self, now: Instant, config: &Config) {
        if self.tick_at == Instant::NEVER {
            self.tick_at = now.plus_millis((config.channel_ms / 2).max(1));
        }
    }

    /// Writes control frames that are due, as many as fit.
    pub(crate) fn transmit(&mut self, now: Instant, config: &Config, out: &mut [u8]) -> usize {
        let mut used = 0;
        if !self.control_due {
            return used;
        }
        for index in (0..=u8::MAX).rev() {
            // All that one channel can owe.
            if out.len() - used < 6 {
                return used;
            }
            loop {
                let frame = if self.close_acks.remove(index) {
                    MuxFrame::ChannelCloseAck(index)
                } else if self.nacks.remove(index) {
                    MuxFrame::ChannelNack(index)
                } else {
                    match self.phase(Channel::new(index)) {
                        Phase::RequestDue => {
                            self.set(index, Phase::Requested);
                            self.start_ticking(now, config);
                            MuxFrame::ChannelReq(index)
                        }
                        Phase::AckDue => {
                            self.set(index, Phase::Open);
                            MuxFrame::ChannelAck(index)
                        }
                        Phase::CloseDue => {
                            self.set(index, Phase::Closing);
                            self.start_ticking(now, config);
                            MuxFrame::ChannelClose(index)
                        }
                        Phase::Free
                        | Phase::Requested
                        | Phase::Offered
                        | Phase::Open
                        | Phase::Closing
                        | Phase::Unusable => break,
                    }
                };
                put(out, &mut used, &frame);
            }
        }
        self.control_due = false;
        used
    }

    /// Whose turn it is to send data.
    pub(crate) fn next_sender(&mut self) -> Option<Channel> {
        // Control first, and a channel whose CHANNEL_ACK did not fit is not open yet.
        if self.control_due || !self.data_due {
            return None;
        }
        let (mut best, mut least) = (0, u8::MAX);
        for slot in &self.slots {
            if slot.wants_to_send() {
                best = slot.level().max(best);
                least = slot.level().min(least);
            }
        }
        if least == u8::MAX {
            self.data_due = false;
            return None;
        }
        self.until_lower = if least < best { self.until_lower - 1 } else { LOWER_TURN };
        let lower_turn = self.until_lower == 0;
        if lower_turn {
            self.until_lower = LOWER_TURN;
        }
        let turn = &mut self.turns[if lower_turn { 8 } else { usize::from(best) }];
        let mut index = *turn;
        for _ in 0..INDEXES {
            index = index.wrapping_sub(1);
            let slot = self.slots[usize::from(index)];
            if slot.wants_to_send() && (slot.level() < best) == lower_turn {
                *turn = index;
                return Some(Channel::new(index));
            }
        }
        None
    }
}
