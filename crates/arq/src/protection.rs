//! What a packet ends with: a check sum, or a seal that nobody else can make.

use sspc_mux::Role;

use crate::crc::Crc32;

/// How an end knows its peer's packets among noise and what others send.
///
/// A packet that goes lies in its buffer behind [`before`](Self::before) bytes and in front of
/// [`after`](Self::after) bytes, which [`seal`](Self::seal) fills in; [`open`](Self::open) gets the same.
pub trait Protection {
    /// How many bytes stand before a packet and behind it together, at most.
    const AROUND_MAX: usize;
    /// How many bytes it adds to a HELLO at most.
    const GREETING_MAX: usize;

    /// How many bytes stand before a packet.
    fn before(&self) -> usize;

    /// How many bytes stand behind it.
    fn after(&self) -> usize;

    /// Packets can be read by the one alone for whom they are.
    fn encrypts(&self) -> bool;

    /// The CRC-32 of a HELLO and of what a session begins with.
    fn crc32(&mut self, first: &[u8], rest: &[u8]) -> u32;

    /// A handshake begins on this side, with an epoch of its own. What is known of the peer stays.
    fn begin(&mut self, epoch: u32);

    /// Writes what a HELLO says beyond `hello`, its common part, and returns how long that is.
    /// `is_answer` if it answers the last one that [`check`](Self::check) took.
    fn greet(&mut self, role: Role, hello: &[u8], is_answer: bool, out: &mut [u8]) -> usize;

    /// Takes a HELLO's common part and what is behind it. `is_answer` if it answers this side's.
    ///
    /// # Errors
    ///
    /// It is not from the one that it is to come from.
    fn check(
        &mut self,
        role: Role,
        hello: &[u8],
        rest: &[u8],
        is_answer: bool,
    ) -> Result<(), Refusal>;

    /// A session begins between the epochs of client and proxy, with the peer whose HELLO was taken
    /// last: packets of any other one are not opened from now on. `in_order` if the way keeps packets in
    /// order.
    fn start(&mut self, role: Role, client: u32, proxy: u32, in_order: bool);

    /// Seals a packet in its buffer.
    fn seal(&mut self, buf: &mut [u8]);

    /// Opens a packet in its buffer. `None` if it is not one of this session's, sent by the peer; the
    /// buffer may hold anything then.
    fn open(&mut self, buf: &mut [u8]) -> Option<Order>;

    /// The same on a way that keeps packets in order: whether it is one.
    fn open_next(&mut self, buf: &mut [u8]) -> bool {
        self.open(buf).is_some()
    }
}

/// When a packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After all that came before it, as far as is known.
    Newest,
    /// Before one that came already: what it acknowledges is out of date.
    Late,
}

/// Why two ends that hear each other have no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer encrypts, and this end does not.
    PeerEncrypts,
    /// This end encrypts, and the peer does not.
    PeerDoesNot,
    /// The peer encrypts in another way.
    OtherCipher,
    /// There is no key for the peer's id.
    UnknownId,
    /// The peer has another key for the id, or somebody made its HELLO up.
    WrongKey,
    /// This end requires forward secrecy, and the peer does not offer it.
    #[cfg(feature = "x25519")]
    NoForwardSecrecy,
}

/// Check sums: they find what a line does to packets, not what somebody does on purpose. What is
/// summed up begins with the session and the direction, so that what is left of another session, and
/// what a line sends back, is no packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked<C> {
    crc: C,
    sends: u32,
    receives: u32,
}

impl<C> Checked<C> {
    /// With a way to compute sums.
    pub const fn new(crc: C) -> Self {
        Self { crc, sends: 0, receives: 0 }
    }
}

impl<C: Crc32> Protection for Checked<C> {
    const AROUND_MAX: usize = 4;
    const GREETING_MAX: usize = 0;

    fn before(&self) -> usize {
        0
    }

    fn after(&self) -> usize {
        4
    }

    fn encrypts(&self) -> bool {
        false
    }

    fn crc32(&mut self, first: &[u8], rest: &[u8]) -> u32 {
        self.crc.crc32(first, rest)
    }

    fn begin(&mut self, _epoch: u32) {}

    fn greet(&mut self, _role: Role, _hello: &[u8], _is_answer: bool, _out: &mut [u8]) -> usize {
        0
    }

    fn check(&mut self, _: Role, _: &[u8], _: &[u8], _: bool) -> Result<(), Refusal> {
        Ok(())
    }

    fn start(&mut self, role: Role, client: u32, proxy: u32, _in_order: bool) {
        let session = session(client, proxy);
        self.sends = self.crc.crc32(&[role as u8], &session);
        self.receives = self.crc.crc32(&[role.peer() as u8], &session);
    }

    fn seal(&mut self, buf: &mut [u8]) {
        if let Some((packet, sum)) = buf.split_last_chunk_mut::<4>() {
            *sum = self.crc.crc32(&self.sends.to_le_bytes(), packet).to_le_bytes();
        }
    }

    fn open(&mut self, buf: &mut [u8]) -> Option<Order> {
        let (packet, sum) = buf.split_last_chunk::<4>()?;
        let right = self.crc.crc32(&self.receives.to_le_bytes(), packet).to_le_bytes();
        (*sum == right).then_some(Order::Newest)
    }
}

/// The epochs of a session, in the order in which both ends take them.
pub(crate) fn session(client: u32, proxy: u32) -> [u8; 8] {
    let [a, b, c, d] = client.to_be_bytes();
    let [e, f, g, h] = proxy.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}
