//! A packet's head, and what HELLO says.
//!
//! ```text
//!   b0 = seq << 2 | type     b1 = ack << 2 | nak << 1 | probe     payload     check sum
//! ```

use sspc_wire::FieldWriter;

/// How long a packet's head is, in bytes.
pub(crate) const HEAD: usize = 2;

/// How many sequence numbers there are.
pub(crate) const SEQS: u8 = 64;

/// The most packets on their way: a number from before the window is never taken for one within.
pub(crate) const WINDOW_MAX: u8 = SEQS / 2;

/// The same for datagrams, which may be late: one that up to 16 others have overtaken is not taken for
/// one within the window either, even if it was sent again.
pub(crate) const DATAGRAM_WINDOW_MAX: u8 = 24;

/// A packet's number, modulo 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seq(u8);

impl Seq {
    pub(crate) const ZERO: Self = Self(0);

    /// The number with these bits.
    #[cfg(feature = "view")]
    pub(crate) const fn new(number: u8) -> Self {
        Self(number % SEQS)
    }

    #[cfg(feature = "view")]
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    pub(crate) const fn plus(self, n: u8) -> Self {
        Self(self.0.wrapping_add(n) % SEQS)
    }

    /// How far it is from `earlier` to here.
    pub(crate) const fn since(self, earlier: Self) -> u8 {
        self.0.wrapping_sub(earlier.0) % SEQS
    }

    pub(crate) const fn index(self, slots: u8) -> u8 {
        self.0 % slots
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data = 0,
    Ack = 1,
    Hello = 2,
}

/// The first two bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) seq: Seq,
    /// The number of the packet that its sender expects next.
    pub(crate) ack: Seq,
    /// Its sender misses that packet.
    pub(crate) nak: bool,
    /// Its sender wants an answer at once.
    pub(crate) probe: bool,
}

impl Head {
    /// Of each HELLO: it belongs to no session, and to no sequence.
    pub(crate) const HELLO: Self =
        Self { kind: Kind::Hello, seq: Seq::ZERO, ack: Seq::ZERO, nak: false, probe: false };

    pub(crate) const fn bytes(self) -> [u8; HEAD] {
        [
            self.seq.0 << 2 | self.kind as u8,
            self.ack.0 << 2 | (self.nak as u8) << 1 | self.probe as u8,
        ]
    }

    pub(crate) const fn parse([first, second]: [u8; HEAD]) -> Option<Self> {
        let kind = match first & 3 {
            0 => Kind::Data,
            1 => Kind::Ack,
            2 => Kind::Hello,
            _ => return None,
        };
        Some(Self {
            kind,
            seq: Seq(first >> 2),
            ack: Seq(second >> 2),
            nak: second & 2 != 0,
            probe: second & 1 != 0,
        })
    }
}

/// The version of this layout.
const VERSION: u8 = 1;

/// It keeps packets that come before their turn, and says in an ACK's payload which.
const KEEPS: u8 = 1;
/// It has heard this end's epoch.
const READY: u8 = 2;
/// Packets are encrypted.
const ENCRYPTED: u8 = 4;

/// What an end says of itself before data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) keeps: bool,
    pub(crate) ready: bool,
    pub(crate) encrypted: bool,
    /// The longest payload that it takes.
    pub(crate) mru: u16,
    /// How many packets it lets be on their way.
    pub(crate) window: u8,
    /// Another one in each life of its sender, never 0.
    pub(crate) epoch: u32,
    /// The epoch of the one to whom it speaks; 0 if it has not heard any.
    pub(crate) echo: u32,
}

impl Hello {
    /// How long it is, in bytes, without what encryption adds.
    pub(crate) const LENGTH: usize = 13;

    pub(crate) fn write(self, out: &mut FieldWriter<'_>) {
        let [keeps, ready, encrypted] = [self.keeps, self.ready, self.encrypted].map(u8::from);
        let abilities = (keeps * KEEPS) | (ready * READY) | (encrypted * ENCRYPTED);
        let [high, low] = self.mru.to_be_bytes();
        out.bytes(&[VERSION, abilities, high, low, self.window]);
        out.u32(self.epoch);
        out.u32(self.echo);
    }

    /// What is behind it belongs to encryption, or to a later version that this one understands as
    /// far as it goes.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (bytes, _) = payload.split_first_chunk::<{ Self::LENGTH }>()?;
        let [version, abilities, m0, m1, window, e0, e1, e2, e3, o0, o1, o2, o3] = *bytes;
        let hello = Self {
            keeps: abilities & KEEPS != 0,
            ready: abilities & READY != 0,
            encrypted: abilities & ENCRYPTED != 0,
            mru: u16::from_be_bytes([m0, m1]),
            window,
            epoch: u32::from_be_bytes([e0, e1, e2, e3]),
            echo: u32::from_be_bytes([o0, o1, o2, o3]),
        };
        let is_sound = version >= VERSION && hello.mru > 0 && window > 0 && hello.epoch != 0;
        is_sound.then_some(hello)
    }
}
