//! An application on one end of a mux, which checks that its events are legal.

use sspc_mux::{Channel, Event, Instant, Mux, Priority, Role};
use sspc_wire::MuxDecoder;

/// No drain needs as many steps: an engine that takes more does not end.
pub(crate) const STEPS: usize = 100_000;

/// What the application may believe about a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belief {
    None,
    Opening,
    Requested,
    Open,
}

pub(crate) struct App {
    pub(crate) is_up: bool,
    pub(crate) beliefs: [Belief; 256],
    /// Channels that were opened when no byte could come to harm: theirs must be perfect.
    exact: [bool; 256],
    sent: [u64; 256],
    heard: [u64; 256],
    left: [usize; 256],
    /// Whether no byte comes to harm now.
    pub(crate) is_clean: bool,
    /// Whether requests are answered at once.
    pub(crate) accepts: bool,
    /// Bytes heard on channels that must be perfect.
    pub(crate) perfect: u64,
}

/// The byte at a place of a channel's stream that this end sends.
fn byte_at(from: Role, channel: Channel, place: u64) -> u8 {
    let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    mixed as u8 ^ channel.index() ^ if from == Role::Client { 0x55 } else { 0 }
}

impl App {
    pub(crate) fn new(is_clean: bool, accepts: bool) -> Self {
        Self {
            is_up: false,
            beliefs: [Belief::None; 256],
            exact: [false; 256],
            sent: [0; 256],
            heard: [0; 256],
            left: [0; 256],
            is_clean,
            accepts,
            perfect: 0,
        }
    }

    /// Something harmed the bytes.
    pub(crate) fn harm(&mut self) {
        self.is_clean = false;
        self.exact = [false; 256];
    }

    pub(crate) fn see(&mut self, mux: &mut Mux, event: Event<'_>) {
        match event {
            Event::LinkUp { .. } => {
                assert!(!self.is_up, "up twice");
                assert!(mux.is_up());
                assert_eq!(self.beliefs, [Belief::None; 256]);
                self.is_up = true;
            }
            Event::LinkDown { .. } => {
                assert!(self.is_up, "down twice");
                assert_eq!(mux.used(), 0);
                self.is_up = false;
                self.beliefs = [Belief::None; 256];
            }
            Event::Echo => {
                assert!(!self.is_up, "an echo while up");
                return;
            }
            _ => assert!(self.is_up, "{event:?} while down"),
        }
        match event {
            Event::ChannelRequested { channel } => {
                assert_eq!(mux.role(), Role::Proxy);
                assert_eq!(self.belief(channel), Belief::None);
                self.set(channel, Belief::Requested);
                if self.accepts {
                    self.answer(mux, channel, true);
                }
            }
            Event::Opened { channel } => {
                assert_eq!(self.belief(channel), Belief::Opening);
                self.begin(channel);
            }
            Event::Refused { channel, .. } => {
                assert_eq!(self.belief(channel), Belief::Opening);
                self.set(channel, Belief::None);
            }
            Event::Closed { channel } => {
                assert!(
                    matches!(self.belief(channel), Belief::Open | Belief::Requested),
                    "{channel}"
                );
                self.set(channel, Belief::None);
            }
            Event::Data { channel, piece } => {
                assert_eq!(self.belief(channel), Belief::Open);
                self.hear(mux.role(), channel, piece);
            }
            _ => {}
        }
    }

    fn hear(&mut self, role: Role, channel: Channel, piece: &[u8]) {
        assert!(!piece.is_empty());
        let index = usize::from(channel.index());
        let from = if role == Role::Client { Role::Proxy } else { Role::Client };
        if self.exact[index] {
            for (byte, place) in piece.iter().zip(self.heard[index]..) {
                assert_eq!(*byte, byte_at(from, channel, place), "{place} of channel {channel}");
            }
            self.perfect += piece.len() as u64;
        }
        self.heard[index] += piece.len() as u64;
    }

    fn belief(&self, channel: Channel) -> Belief {
        self.beliefs[usize::from(channel.index())]
    }

    fn set(&mut self, channel: Channel, belief: Belief) {
        self.beliefs[usize::from(channel.index())] = belief;
    }

    fn begin(&mut self, channel: Channel) {
        let index = usize::from(channel.index());
        self.set(channel, Belief::Open);
        self.exact[index] = self.is_clean;
        (self.sent[index], self.heard[index], self.left[index]) = (0, 0, 0);
    }

    pub(crate) fn open(&mut self, mux: &mut Mux, priority: u8) {
        let is_possible = mux.role() == Role::Client && mux.is_up();
        if let Ok(channel) = mux.open(Priority::new(priority)) {
            assert!(is_possible);
            assert_eq!(self.belief(channel), Belief::None);
            self.set(channel, Belief::Opening);
        }
    }

    /// Accepts or refuses a request, if there is one.
    pub(crate) fn answer(&mut self, mux: &mut Mux, channel: Channel, accepts: bool) {
        let is_requested = self.belief(channel) == Belief::Requested;
        if accepts {
            let accepted = mux.accept(channel, Priority::new(channel.index() % 8));
            assert_eq!(accepted.is_ok(), is_requested);
            if is_requested {
                self.begin(channel);
            }
        } else if is_requested {
            mux.refuse(channel);
            self.set(channel, Belief::None);
        }
    }

    pub(crate) fn close(&mut self, mux: &mut Mux, channel: Channel) {
        mux.close(channel);
        self.set(channel, Belief::None);
    }

    pub(crate) fn send(&mut self, mux: &mut Mux, channel: Channel, length: usize) {
        self.left[usize::from(channel.index())] = length;
        mux.wants_to_send(channel, true);
    }

    /// Writes what the mux sends now, which is whole frames; false if that is nothing.
    pub(crate) fn transmit(
        &mut self,
        mux: &mut Mux,
        now: Instant,
        room: usize,
        wire: &mut Vec<u8>,
    ) -> bool {
        let mut out = vec![0; room];
        let role = mux.role();
        let mut source = |channel: Channel, room: &mut [u8]| {
            let index = usize::from(channel.index());
            assert_eq!(self.beliefs[index], Belief::Open, "asked for bytes of {channel}");
            assert!(!room.is_empty());
            let length = room.len().min(self.left[index]);
            for (byte, place) in room[..length].iter_mut().zip(self.sent[index]..) {
                *byte = byte_at(role, channel, place);
            }
            self.left[index] -= length;
            self.sent[index] += length as u64;
            length
        };
        let Ok(length) = mux.transmit(now, &mut out, &mut source) else {
            assert!(room < sspc_mux::TRANSMIT_MIN);
            return false;
        };
        assert!(room >= sspc_mux::TRANSMIT_MIN);
        let (mut decoder, mut input) = (MuxDecoder::new(), &out[..length]);
        while decoder.next(&mut input).expect("frames").is_some() {}
        assert!(decoder.is_between_frames(), "part of a frame");
        wire.extend_from_slice(&out[..length]);
        length > 0
    }

    /// Between two steps, when all events were taken.
    pub(crate) fn check(&self, mux: &Mux) {
        assert_eq!(self.is_up, mux.is_up());
        let mut used = 0;
        for (index, belief) in (0..=255).zip(self.beliefs) {
            assert_eq!(mux.is_open(Channel::new(index)), belief == Belief::Open, "{index}");
            used += usize::from(belief != Belief::None);
        }
        assert!(mux.used() >= used && mux.used() <= 256, "{} used, {used} known", mux.used());
    }
}
