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

use sspc_wire::limits::MUX_CHANNELS_MAX;
use sspc_wire::mux_type::{
    CHANNEL_ACK, CHANNEL_CLOSE, CHANNEL_CLOSE_ACK, CHANNEL_NACK, CHANNEL_REQ,
};
use sspc_wire::{FieldWriter, Instant, Piece};

use crate::config::Config;
use crate::event::{Channel, Event, Priority, Refusal};
use crate::link::FOR_HOST;

/// How many indices have a place. A device, which opens all channels itself, opens the highest only.
const INDEXES: usize = if FOR_HOST { 256 } else { 32 };
/// Of how many channels a byte says what is owed.
const OWED: usize = if FOR_HOST { 4 } else { 1 };
/// The lowest index that has a place.
const FIRST: u8 = (256 - INDEXES) as u8;
/// Whether the index has a place.
pub(crate) const fn has_place(index: u8) -> bool {
    index as usize >= 256 - INDEXES
}

/// How many priorities there are.
const LEVELS: usize = Priority::HIGHEST.level() as usize + 1;
/// The lowest index that is opened: no more than the most that deployed peers have in use.
const LOWEST: u8 = if FOR_HOST { (INDEXES - MUX_CHANNELS_MAX) as u8 } else { FIRST };
/// A channel that waits for an answer counts ticks of half the time that it has: so many make sure
/// that the whole time has passed.
const TICKS: u8 = 3;
/// Behind so many data frames by priority, where there was a choice, one goes to the channel whose turn
/// it is among all.
const TURN: u8 = 5;
/// The most bytes of control that one channel can owe.
const CONTROL_MAX: usize = 6;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Free = 0,
    RequestDue = 1,
    Offered = 2,
    AckDue = 3,
    Open = 4,
    CloseDue = 5,
    Unusable = 6,
    /// And the next three: the code counts the ticks.
    Requested = 8,
    /// The same.
    Closing = 12,
}

/// A set of phases, a bit for each code.
#[derive(Clone, Copy)]
struct Phases(u16);

const FREE: Phases = Phases::of(&[Phase::Free]);
const REQUESTED: Phases = Phases::of(&[Phase::Requested]);
const OPEN: Phases = Phases::of(&[Phase::AckDue, Phase::Open]).at_device(&[Phase::Open]);

impl Phases {
    const fn of(phases: &[Phase]) -> Self {
        let (mut set, mut rest) = (0, phases);
        while let Some((phase, others)) = rest.split_first() {
            let code = *phase as u8;
            set |= if code & Slot::WAITS != 0 { 0b1111 << code } else { 1 << code };
            rest = others;
        }
        Self(set)
    }

    /// These on a device, which is never the one that accepts: for it there are no channels that are
    /// offered, nor any whose CHANNEL_ACK is due.
    const fn at_device(self, phases: &[Phase]) -> Self {
        if FOR_HOST { self } else { Self::of(phases) }
    }

    const fn is_any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

/// In the low 4 bits [`Phase`], and in the low 2 of these how many ticks a channel has waited if it
/// waits for an answer; in the next 3 its priority, in the highest whether it wants to send.
#[derive(Clone, Copy, Debug)]
struct Slot(u8);

impl Slot {
    const FREE: Self = Self(Phase::Free as u8);
    const WANTS: u8 = 0x80;
    const WAITS: u8 = 0x08;
    const PHASE: u8 = 0x0f;
    const LEVEL: u8 = 0x70;

    /// Where the channel stands, as a set of one phase.
    const fn phase(self) -> Phases {
        Phases(1 << (self.0 & Self::PHASE))
    }

    /// It has waited for an answer long enough.
    const fn is_expired(self) -> bool {
        self.0 & (Self::WAITS | TICKS) == Self::WAITS | TICKS
    }

    const fn level(self) -> u8 {
        (self.0 & Self::LEVEL) >> 4
    }

    const fn wants_to_send(self) -> bool {
        self.0 & !Self::LEVEL == Self::WANTS | Phase::Open as u8
    }
}

/// What a channel's peer is owed beside what its phase says.
#[derive(Clone, Copy)]
enum Owed {
    Nack = 1,
    CloseAck = 2,
}

// Small fields first: they are reached by short instructions.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Channels {
    /// When those that wait for an answer have waited for one more tick.
    tick_at: Instant,
    /// Data frames since one went by turns.
    since_turn: u8,
    /// The index opened last; the next one is below it, so that one just closed rests.
    opened: u8,
    /// Maybe there is control to be sent.
    control_due: bool,
    /// Maybe one wants to send.
    data_due: bool,
    /// Maybe there is one that has waited long enough.
    expired: bool,
    /// By the index, of which the lowest bits alone count.
    slots: [Slot; INDEXES],
    /// What is owed, two bits a channel.
    owed: [u8; INDEXES / OWED],
    /// The channel of each priority that sent last, and behind these the one that did by turns.
    last: [u8; LEVELS + 1],
}

impl Channels {
    /// All zeros, but for the time: see [`Mux::idle`](crate::Mux::idle).
    pub(crate) const fn new(tick_at: Instant) -> Self {
        Self {
            slots: [Slot::FREE; INDEXES],
            owed: [0; INDEXES / OWED],
            last: [0; LEVELS + 1],
            since_turn: 0,
            opened: 0,
            control_due: false,
            data_due: false,
            expired: false,
            tick_at,
        }
    }

    /// Makes of zeros what is new.
    pub(crate) const fn start(&mut self) {
        self.tick_at = Instant::NEVER;
    }

    /// As new, but that the next index to be opened is another one. What is not reset does no harm
    /// where there are no channels.
    pub(crate) const fn reset(&mut self) {
        self.slots = [Slot::FREE; INDEXES];
        self.owed = [0; INDEXES / OWED];
        self.tick_at = Instant::NEVER;
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.tick_at
    }

    /// How many channels are in use or unusable.
    pub(crate) fn used(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.phase().is_any(FREE)).count()
    }

    pub(crate) fn has_unusable(&self) -> bool {
        self.slots.iter().any(|slot| slot.phase().is_any(const { Phases::of(&[Phase::Unusable]) }))
    }

    /// Frees those that are unusable: what was owed for them is sent before they are asked for again.
    pub(crate) fn free_unusable(&mut self) {
        for slot in &mut self.slots {
            if slot.phase().is_any(const { Phases::of(&[Phase::Unusable]) }) {
                *slot = Slot::FREE;
            }
        }
    }

    pub(crate) const fn is_open(&self, channel: Channel) -> bool {
        self.phase(channel.index()).is_any(OPEN)
    }

    const fn phase(&self, index: u8) -> Phases {
        self.slots[index as usize % INDEXES].phase()
    }

    /// A new phase for a channel, which forgets its priority and what it wants.
    // Many callers, of this and of those below: a call is shorter than what they do.
    #[inline(never)]
    const fn set(&mut self, index: u8, phase: Phase) {
        self.slots[index as usize % INDEXES] = Slot(phase as u8);
        self.control_due = true;
    }

    /// The next phase of a channel that is being opened.
    const fn advance(&mut self, index: u8, phase: Phase) {
        let slot = &mut self.slots[index as usize % INDEXES];
        slot.0 = slot.0 & !Slot::PHASE | phase as u8;
    }

    #[inline(never)]
    const fn owe(&mut self, index: u8, what: Owed) {
        let (owed, bit) = self.owed(index, what);
        *owed |= bit;
        self.control_due = true;
    }

    /// True if it was owed.
    #[inline(never)]
    const fn pay(&mut self, index: u8, what: Owed) -> bool {
        let (owed, bit) = self.owed(index, what);
        let was = *owed & bit != 0;
        *owed &= !bit;
        was
    }

    /// The bit that says whether it is owed, and where it is.
    const fn owed(&mut self, index: u8, what: Owed) -> (&mut u8, u8) {
        let index = index as usize % INDEXES;
        (&mut self.owed[index / OWED], (what as u8) << (index % OWED * 2))
    }

    pub(crate) fn open(&mut self, priority: Priority) -> Option<Channel> {
        let mut index = self.opened;
        for _ in 0..256 - LOWEST as usize {
            index = if index > LOWEST { index - 1 } else { u8::MAX };
            if self.phase(index).is_any(FREE) {
                self.opened = index;
                self.set(index, Phase::RequestDue);
                self.set_priority(Channel::new(index), priority);
                return Some(Channel::new(index));
            }
        }
        None
    }

    /// False if the channel is not offered.
    pub(crate) fn accept(&mut self, channel: Channel, priority: Priority) -> bool {
        let is_offered =
            self.phase(channel.index()).is_any(const { Phases::of(&[Phase::Offered]) });
        if is_offered {
            self.set(channel.index(), Phase::AckDue);
            self.set_priority(channel, priority);
        }
        is_offered
    }

    pub(crate) fn close(&mut self, channel: Channel) {
        const KNOWN_TO_THE_PEER: Phases = Phases::of(&[Phase::Requested, Phase::Open]);
        const UNANSWERED: Phases = Phases::of(&[Phase::Offered, Phase::AckDue]).at_device(&[]);
        let index = channel.index();
        let was = self.phase(index);
        if was.is_any(KNOWN_TO_THE_PEER) {
            self.set(index, Phase::CloseDue);
        } else if was.is_any(UNANSWERED) {
            self.set(index, Phase::Free);
            self.owe(index, Owed::Nack);
        } else if was.is_any(const { Phases::of(&[Phase::RequestDue]) }) {
            self.set(index, Phase::Free);
        }
    }

    pub(crate) fn set_priority(&mut self, channel: Channel, priority: Priority) {
        let slot = &mut self.slots[usize::from(channel.index()) % INDEXES];
        if !slot.phase().is_any(FREE) {
            slot.0 = slot.0 & !Slot::LEVEL | priority.level() << 4;
        }
    }

    #[inline(never)]
    pub(crate) fn wants_to_send(&mut self, channel: Channel, wants: bool) {
        let slot = &mut self.slots[usize::from(channel.index()) % INDEXES];
        slot.0 &= !Slot::WANTS;
        if wants && slot.phase().is_any(OPEN) {
            slot.0 |= Slot::WANTS;
            self.data_due = true;
        }
    }

    /// What a frame of the peer's does to the channel that it names; an event, if there is something
    /// for the caller. `accepts` is false at an end that refuses what the peer wants to open.
    pub(crate) fn receive<'i>(
        &mut self,
        frame: u8,
        index: u8,
        piece: Piece<'i>,
        accepts: bool,
    ) -> Option<Event<'i>> {
        let channel = Channel::new(index);
        let was = self.phase(index);
        match frame {
            CHANNEL_REQ => {
                // What the peer asks for is free at its side.
                const FREE_AT_THE_PEER: Phases =
                    Phases::of(&[Phase::Free, Phase::Unusable, Phase::CloseDue, Phase::Closing]);
                if FOR_HOST && accepts && was.is_any(FREE_AT_THE_PEER) {
                    self.pay(index, Owed::Nack);
                    self.set(index, Phase::Offered);
                    return Some(Event::ChannelRequested { channel });
                }
                if was.is_any(FREE) {
                    self.owe(index, Owed::Nack);
                }
                // Else it is doubled, or from a peer that lost count; it will give up and close.
                None
            }
            CHANNEL_ACK => {
                if was.is_any(REQUESTED) {
                    self.advance(index, Phase::Open);
                    return Some(Event::Opened { channel });
                }
                if was.is_any(FREE) {
                    // The peer believes that the channel is open.
                    self.set(index, Phase::CloseDue);
                }
                None
            }
            CHANNEL_NACK => {
                // One that comes before the request was sent means an earlier channel of this index.
                const NOT_MEANT: Phases = Phases::of(&[Phase::RequestDue]);
                if was.is_any(NOT_MEANT) { None } else { self.end(index, was) }
            }
            CHANNEL_CLOSE => {
                // Of an earlier channel of this index; or both close, and the peer will answer too.
                const NOT_MEANT: Phases = Phases::of(&[Phase::RequestDue, Phase::Closing]);
                // Always acknowledged: a peer that closes something unknown here has lost count, and
                // would wait, and never use the index again.
                self.owe(index, Owed::CloseAck);
                if was.is_any(NOT_MEANT) { None } else { self.end(index, was) }
            }
            CHANNEL_CLOSE_ACK => {
                if was.is_any(const { Phases::of(&[Phase::Closing, Phase::Unusable]) }) {
                    self.set(index, Phase::Free);
                }
                None
            }
            // MUX: there are no others.
            _ => {
                const UNKNOWN: Phases = Phases::of(&[Phase::Free, Phase::Unusable]);
                const TOO_EARLY: Phases =
                    Phases::of(&[Phase::Offered, Phase::AckDue]).at_device(&[]);
                if was.is_any(const { Phases::of(&[Phase::Open]) }) {
                    return Some(Event::Data { channel, piece: piece.data });
                }
                let is_too_early = was.is_any(TOO_EARLY);
                if is_too_early || piece.is_first() && was.is_any(UNKNOWN) {
                    self.owe(index, Owed::Nack);
                }
                // Data before CHANNEL_ACK: the peer does not mean the channel that is being opened.
                // All other was under way when the channel was closed, or is of an earlier one of
                // this index.
                if is_too_early { self.end(index, was) } else { None }
            }
        }
    }

    /// The peer ended the channel; an event for the caller, if it knew of the channel.
    fn end(&mut self, index: u8, was: Phases) -> Option<Event<'static>> {
        const TOLD: Phases =
            Phases::of(&[Phase::Offered, Phase::AckDue, Phase::Open]).at_device(&[Phase::Open]);
        let channel = Channel::new(index);
        self.set(index, Phase::Free);
        if was.is_any(TOLD) {
            Some(Event::Closed { channel })
        } else if was.is_any(REQUESTED) {
            Some(Event::Refused { channel, why: Refusal::ByPeer })
        } else {
            None
        }
    }

    /// Counts the time of those that wait for an answer; returns a request that got none.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        config: &Config,
    ) -> Option<Event<'static>> {
        if now >= self.tick_at {
            self.tick_at = Instant::NEVER;
            self.expired = true;
            let mut is_any_waiting = false;
            for slot in &mut self.slots {
                if slot.0 & Slot::WAITS != 0 && !slot.is_expired() {
                    slot.0 += 1;
                    is_any_waiting = true;
                }
            }
            if is_any_waiting {
                self.start_ticking(now, config);
            }
        }
        while self.expired {
            let Some(index) = self.slots.iter().position(|slot| slot.is_expired()) else {
                self.expired = false;
                break;
            };
            let index = FIRST + index as u8;
            if self.phase(index).is_any(REQUESTED) {
                // The peer may have accepted, and the answer been lost.
                self.set(index, Phase::CloseDue);
                let channel = Channel::new(index);
                return Some(Event::Refused { channel, why: Refusal::NoAnswer });
            }
            // Some deployed peers take CHANNEL_CLOSE for nothing, but this for an end.
            self.set(index, Phase::Unusable);
            self.owe(index, Owed::Nack);
        }
        None
    }

    fn start_ticking(&mut self, now: Instant, config: &Config) {
        if self.tick_at == Instant::NEVER {
            self.tick_at = now.plus_millis(config.channel_ms / 2);
        }
    }

    /// Writes control frames that are due, as many as fit.
    pub(crate) fn transmit(&mut self, now: Instant, config: &Config, out: &mut FieldWriter<'_>) {
        if !self.control_due {
            return;
        }
        for at in (0..INDEXES).rev() {
            if out.room().len() < CONTROL_MAX {
                return;
            }
            let index = FIRST + at as u8;
            if self.pay(index, Owed::CloseAck) {
                control(out, CHANNEL_CLOSE_ACK, index);
            }
            if self.pay(index, Owed::Nack) {
                control(out, CHANNEL_NACK, index);
            }
            const REQUEST_DUE: u8 = Phase::RequestDue as u8;
            const ACK_DUE: u8 = Phase::AckDue as u8;
            const CLOSE_DUE: u8 = Phase::CloseDue as u8;
            let (frame, next) = match self.slots[at].0 & Slot::PHASE {
                REQUEST_DUE => (CHANNEL_REQ, Phase::Requested),
                ACK_DUE if FOR_HOST => (CHANNEL_ACK, Phase::Open),
                CLOSE_DUE => (CHANNEL_CLOSE, Phase::Closing),
                _ => continue,
            };
            control(out, frame, index);
            self.advance(index, next);
            if !FOR_HOST || next != Phase::Open {
                self.start_ticking(now, config);
            }
        }
        self.control_due = false;
    }

    /// Whose turn it is to send data.
    pub(crate) fn next_sender(&mut self) -> Option<Channel> {
        // Control first, and a channel whose CHANNEL_ACK did not fit is not open yet.
        if self.control_due || !self.data_due {
            return None;
        }
        let by_turns = self.since_turn == TURN;
        // Those of one priority take turns among themselves, whatever others send in between.
        let (mut best, mut ranks) = (-1, 0);
        for at in 0..INDEXES {
            let slot = self.slots[at];
            if slot.wants_to_send() {
                let rank = if by_turns { LEVELS as u8 } else { slot.level() };
                // 255 for the one above the last sender, 0 for the last sender itself.
                let turn = self.last[usize::from(rank)].wrapping_sub(FIRST + at as u8);
                ranks |= 1_i32 << rank;
                best = best.max(i32::from(rank) << 8 | i32::from(turn));
            }
        }
        let Some(last) = self.last.get_mut((best >> 8) as usize) else {
            self.data_due = false;
            return None;
        };
        *last = last.wrapping_sub(best as u8);
        if by_turns {
            self.since_turn = 0;
        } else if ranks & (ranks - 1) != 0 {
            self.since_turn += 1;
        }
        Some(Channel::new(*last))
    }
}

/// Writes a frame, or the beginning of one, that names a channel.
pub(crate) fn control(out: &mut FieldWriter<'_>, frame: u8, index: u8) {
    out.u8(frame);
    out.u8(index);
}
