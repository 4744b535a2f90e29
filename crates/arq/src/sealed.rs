//! Packets that only those can read and make who share a key.
//!
//! HELLO ends with: a nonce (16 bytes), the cipher (1), the length of the client's id (1) and the id,
//! none from a proxy; with forward secrecy X25519's number (1) and a public key (32); what later versions
//! add; and a MAC (16).

mod cipher;
#[cfg(feature = "x25519")]
mod exchange;
mod keys;
mod secret;
#[cfg(all(test, feature = "x25519"))]
mod tests;
mod way;

use sspc_mux::Role;
use sspc_wire::FieldWriter;

use crate::crc::Crc32;
use crate::protection::{Order, Protection, Refusal, session};
pub use cipher::{Aead, ChaCha20Poly1305};
use cipher::{TAG, is_same};
#[cfg(feature = "x25519")]
pub use exchange::ForwardSecrecy;
use keys::Id;
#[cfg(feature = "host")]
pub use keys::KeyTable;
pub use keys::{ID_MAX, Keys, OwnKey};
pub use secret::Key;
#[cfg(feature = "host")]
pub(crate) use secret::hmac;
#[cfg(not(feature = "host"))]
use secret::hmac;
use secret::{NONCE, expand, extract};
use way::{KEY_BITS, Receives, SHORT, Sends};

/// What every derived key begins with.
const LABEL: &[u8] = b"sspc-arq 1 ";

/// How long the MAC of a HELLO is, in bytes.
const MAC: usize = 16;

/// Stands for the nonce of a peer that was not heard yet.
const NOT_HEARD: [u8; NONCE] = [0; NONCE];

/// Encryption with keys that both ends have known before.
///
/// Each packet is sealed with ChaCha20-Poly1305, or another [`Aead`], and takes 20 bytes for its counter,
/// head and tag. Keys are another pair in each session, from the shared key and a nonce of each end
/// (HKDF-SHA256); within a session they change every 2^20 packets.
///
/// # Chance
///
/// `seed` is 32 bytes that nobody can guess and that are others in each life of an end: from a
/// generator in hardware, or the hash of a secret and a counter that is stored before it is used. If
/// both ends' seeds repeat, sessions repeat their keys. If only a device's repeats, its sessions have keys
/// of their own as long as the proxy is there; but somebody who sends it what a proxy said in an
/// earlier life can make it use that session's keys again, and then read and make what it sends.
pub struct Sealed<C, A, K> {
    crc: C,
    aead: A,
    keys: K,
    seed: Key,
    /// How many nonces were drawn.
    drawn: u32,
    handshake: Handshake,
    /// The session has begun, or one before it.
    has_session: bool,
    session: Session,
    key_bits: u32,
    #[cfg(feature = "x25519")]
    exchange: exchange::Exchange,
}

/// What is known of a handshake, of the session also once it has begun.
struct Handshake {
    nonce: [u8; NONCE],
    peer_nonce: [u8; NONCE],
    /// At a proxy: of the client that was heard.
    id: Id,
}

struct Session {
    /// The same of the session.
    id: Id,
    sends: Sends,
    receives: Receives,
}

impl<C: Crc32, A: Aead, K: Keys> Sealed<C, A, K> {
    /// With a way to compute sums, one to encrypt, keys, and 32 bytes of chance.
    pub const fn new(crc: C, aead: A, keys: K, seed: [u8; 32]) -> Self {
        Self {
            crc,
            aead,
            keys,
            seed: Key::new(seed),
            drawn: 0,
            handshake: Handshake { nonce: NOT_HEARD, peer_nonce: NOT_HEARD, id: Id::NONE },
            has_session: false,
            session: Session {
                id: Id::NONE,
                sends: Sends::new(Key::new([0; Key::LENGTH])),
                receives: Receives::new(Key::new([0; Key::LENGTH]), true),
            },
            key_bits: KEY_BITS,
            #[cfg(feature = "x25519")]
            exchange: exchange::Exchange::NEW,
        }
    }

    /// Says whether sessions are to have forward secrecy. Default: with a peer that offers it.
    #[cfg(feature = "x25519")]
    #[must_use]
    pub fn with_forward_secrecy(mut self, mode: ForwardSecrecy) -> Self {
        self.exchange.mode = mode;
        self
    }

    /// True if the session that is open, or was the last, has forward secrecy.
    #[cfg(feature = "x25519")]
    pub const fn has_forward_secrecy(&self) -> bool {
        self.exchange.is_used
    }

    /// Changes keys every 2^`bits` packets instead of every 2^20, 4 to 20. Both ends need the same: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn change_keys_every(mut self, bits: u32) -> Self {
        self.key_bits = bits.clamp(4, KEY_BITS);
        self
    }

    /// The client's id, proved in the session that is open or was the last. Empty before the first.
    pub fn peer_id(&self) -> &[u8] {
        match self.keys.own_id() {
            [] => self.session.id.bytes(),
            own if self.has_session => own,
            _ => &[],
        }
    }

    /// The client's id: its own, or of the one that was heard; empty if none was.
    fn id(&self, role: Role) -> &[u8] {
        match role {
            Role::Client => self.keys.own_id(),
            Role::Proxy => self.handshake.id.bytes(),
        }
    }

    /// The MAC of a HELLO, over all of it, who sends it, and the nonce that it answers. `None` if there is no
    /// key for the client's id.
    #[inline(never)]
    fn mac(
        &self,
        id: &[u8],
        from: Role,
        answered: &[u8; NONCE],
        hello: &[u8],
        said: &[u8],
    ) -> Option<Key> {
        let prk = extract(&[0; Key::LENGTH], [self.key(id)?.bytes(), &[]]);
        let key = expand(&prk, [LABEL, b"hello", &[from as u8], id]);
        Some(hmac(key.bytes(), &[answered, hello, said]))
    }

    fn key(&self, id: &[u8]) -> Option<Key> {
        if id.is_empty() { None } else { self.keys.key(id) }
    }
}

impl<C: Crc32, A: Aead, K: Keys> Protection for Sealed<C, A, K> {
    const AROUND_MAX: usize = SHORT + TAG;
    #[cfg(not(feature = "x25519"))]
    const GREETING_MAX: usize = NONCE + 2 + ID_MAX + MAC;
    #[cfg(feature = "x25519")]
    const GREETING_MAX: usize = NONCE + 2 + ID_MAX + exchange::SHARE + MAC;

    fn before(&self) -> usize {
        SHORT
    }

    fn after(&self) -> usize {
        TAG
    }

    fn encrypts(&self) -> bool {
        true
    }

    fn crc32(&mut self, first: &[u8], rest: &[u8]) -> u32 {
        self.crc.crc32(first, rest)
    }

    fn begin(&mut self, epoch: u32) {
        let numbers = session(epoch, self.drawn);
        self.drawn = self.drawn.wrapping_add(1);
        let drawn = hmac(self.seed.bytes(), &[LABEL, b"nonce", &numbers]);
        if let Some(nonce) = drawn.bytes().first_chunk() {
            self.handshake.nonce = *nonce;
        }
        #[cfg(feature = "x25519")]
        self.exchange.begin(&mut self.seed, &numbers);
    }

    fn greet(&mut self, role: Role, hello: &[u8], is_answer: bool, out: &mut [u8]) -> usize {
        let id = self.keys.own_id();
        let mut to = FieldWriter::new(out);
        to.bytes(&self.handshake.nonce);
        to.u8(A::SUITE);
        to.u8(id.len() as u8);
        to.bytes(id);
        let length = NONCE + 2 + id.len();
        // What a proxy says before it has heard the client is not to be trusted, this neither. And a client
        // that does not offer it may have no room for so long a HELLO.
        #[cfg(feature = "x25519")]
        let says_it = role == Role::Client || is_answer && self.exchange.is_offered;
        #[cfg(feature = "x25519")]
        let share = if says_it { self.exchange.share() } else { None };
        #[cfg(feature = "x25519")]
        let length = match share {
            Some(share) => {
                to.bytes(&share);
                length + share.len()
            }
            None => length,
        };
        let Some((said, to_mac)) = out.split_at_mut_checked(length) else { return 0 };
        let Some(to_mac) = to_mac.first_chunk_mut::<MAC>() else { return 0 };
        // A proxy does not know who is there before it has heard a client.
        let is_known = is_answer || role == Role::Client;
        let id = if is_known { self.id(role) } else { &[] };
        let of_peer = if is_answer { &self.handshake.peer_nonce } else { &NOT_HEARD };
        let mac = self.mac(id, role, of_peer, hello, said);
        *to_mac =
            mac.as_ref().and_then(|mac| mac.bytes().first_chunk()).copied().unwrap_or_default();
        length + MAC
    }

    fn check(
        &mut self,
        role: Role,
        hello: &[u8],
        rest: &[u8],
        is_answer: bool,
    ) -> Result<(), Refusal> {
        let greeting = Greeting::parse::<A>(rest).ok_or(Refusal::OtherCipher)?;
        let (from, id) = match role {
            Role::Client => (Role::Proxy, self.keys.own_id()),
            Role::Proxy => (Role::Client, greeting.id),
        };
        let own_nonce = if is_answer { &self.handshake.nonce } else { &NOT_HEARD };
        let mac = self.mac(id, from, own_nonce, hello, greeting.said).ok_or(Refusal::UnknownId)?;
        // What a proxy says before it has heard the client is not to be trusted, and is only a reason to
        // speak to it.
        let is_open = role == Role::Client && !is_answer;
        let is_right = mac.bytes().first_chunk().is_some_and(|mac| is_same(mac, greeting.mac));
        if !is_open && !is_right {
            return Err(Refusal::WrongKey);
        }
        #[cfg(feature = "x25519")]
        {
            self.exchange.is_offered = exchange::is_share(greeting.more);
            if is_answer {
                self.exchange.hear(greeting.more)?;
            }
        }
        self.handshake.peer_nonce = *greeting.nonce;
        if role == Role::Proxy {
            self.handshake.id = Id::new(greeting.id).ok_or(Refusal::UnknownId)?;
        }
        Ok(())
    }

    fn start(&mut self, role: Role, client: u32, proxy: u32, in_order: bool) {
        let Handshake { nonce, peer_nonce, .. } = &self.handshake;
        let (salt, peer) = match role {
            Role::Client => ([*nonce, *peer_nonce], Role::Proxy),
            Role::Proxy => ([*peer_nonce, *nonce], Role::Client),
        };
        #[cfg(feature = "x25519")]
        let shared = self.exchange.take();
        #[cfg(feature = "x25519")]
        let shared = shared.as_ref().map_or(&[][..], |shared| shared.bytes());
        #[cfg(not(feature = "x25519"))]
        let shared = &[];
        let id = self.id(role);
        // Without a key there was no HELLO to take.
        let Some(key) = self.key(id) else { return };
        let Some(salt) = salt.as_flattened().first_chunk() else { return };
        let prk = extract(salt, [key.bytes(), shared]);
        let epochs = session(client, proxy);
        let key = |from: Role| expand(&prk, [LABEL, &[from as u8, A::SUITE], &epochs, id]);
        let (sends, receives) = (key(role), key(peer));
        self.session.sends = Sends::new(sends);
        self.session.receives = Receives::new(receives, in_order);
        self.session.id = self.handshake.id;
        self.has_session = true;
    }

    fn seal(&mut self, buf: &mut [u8]) {
        if self.has_session {
            self.session.sends.seal(&mut self.aead, self.key_bits, buf);
        } else {
            // Nothing goes in clear, whatever happens.
            buf.fill(0);
        }
    }

    fn open(&mut self, buf: &mut [u8]) -> Option<Order> {
        if !self.has_session {
            return None;
        }
        self.session.receives.open(&mut self.aead, self.key_bits, buf)
    }

    fn open_next(&mut self, buf: &mut [u8]) -> bool {
        self.has_session
            && self.session.receives.open_next(&mut self.aead, self.key_bits, buf).is_some()
    }
}

/// What a HELLO says beyond its common part.
struct Greeting<'a> {
    nonce: &'a [u8; NONCE],
    id: &'a [u8],
    /// What is behind the id.
    #[cfg(feature = "x25519")]
    more: &'a [u8],
    /// All that the MAC is over.
    said: &'a [u8],
    mac: &'a [u8; MAC],
}

impl<'a> Greeting<'a> {
    /// `None` if it is not of this cipher.
    fn parse<A: Aead>(rest: &'a [u8]) -> Option<Self> {
        let (said, mac) = rest.split_last_chunk::<MAC>()?;
        let (nonce, behind) = said.split_first_chunk::<NONCE>()?;
        let (&[suite, length], behind) = behind.split_first_chunk::<2>()?;
        #[cfg(feature = "x25519")]
        let more = behind.get(length.into()..)?;
        let id = behind.get(..usize::from(length))?;
        (suite == A::SUITE).then_some(Self {
            nonce,
            id,
            #[cfg(feature = "x25519")]
            more,
            said,
            mac,
        })
    }
}

/// Without keys.
impl<C, A, K> core::fmt::Debug for Sealed<C, A, K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sealed").field("is_open", &self.has_session).finish_non_exhaustive()
    }
}
