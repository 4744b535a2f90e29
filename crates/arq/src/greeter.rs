//! What a proxy says to strangers, where each datagram may be a stranger's: nothing is kept of them.

use std::fmt;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use sspc_mux::{Instant, Role};

use crate::arq::{Arq, Received};
use crate::config::Config;
use crate::crc::SoftCrc;
use crate::either::Either;
use crate::protection::{Checked, Refusal};
#[cfg(feature = "x25519")]
use crate::sealed::ForwardSecrecy;
use crate::sealed::{ChaCha20Poly1305, Key, Keys, Sealed, hmac};

/// For how long a stranger may prove that it is there, in s: this period, and the one before.
const PERIOD_S: u64 = 30;

/// The longest HELLO that any version sends.
const HELLO_MAX: usize = 256;

type Protection<'k, K> = Either<Checked<SoftCrc>, Sealed<SoftCrc, ChaCha20Poly1305, &'k K>>;

/// Finds out whether a stranger is where its datagrams say that it comes from, and with keys, that it
/// has one, before anything is kept of it.
///
/// A HELLO that a device's key made is answered with a HELLO whose epoch and nonce follow from a secret,
/// the stranger's address and the time. One that answers it can only come from there, at that time, and
/// from a device with the key. Then the proxy begins with an [`Arq`] of its own, which the device
/// takes for a proxy that has just restarted; so that no nonce is that of two sessions.
///
/// An answer is never longer than what it answers, and is itself answered by nobody.
///
/// Without keys there is nothing to be proved, and each HELLO is let in.
pub struct Greeter<K> {
    config: Config,
    keys: Option<K>,
    secret: Key,
    storage: Vec<u8>,
}

/// What a stranger's datagram is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeted {
    /// Nothing that asks for an answer.
    Nothing,
    /// A HELLO, and what is to be sent back.
    Answer(Vec<u8>),
    /// A HELLO from one that there is nothing to be said to.
    Refused(Refusal),
    /// The stranger is there, and is the device of this id. Without keys the id is empty.
    Proven(Vec<u8>),
}

impl<K: Keys> Greeter<K> {
    /// With 32 bytes of chance that nobody can guess, and others in each life of the proxy.
    pub fn new(config: Config, keys: Option<K>, secret: [u8; 32]) -> Self {
        let longest = HELLO_MAX.max(config.packet_max.into()) + 32;
        Self { config, keys, secret: Key::new(secret), storage: vec![0; longest] }
    }

    /// Takes a datagram that came `from` some address, as any bytes that are the same each time; `now` is
    /// the time since the greeter was made.
    pub fn receive(&mut self, now: Duration, from: &[u8], datagram: &[u8]) -> Greeted {
        if datagram.is_empty() || datagram.len() > HELLO_MAX {
            return Greeted::Nothing;
        }
        let period = now.as_secs() / PERIOD_S;
        for period in [Some(period), period.checked_sub(1)].into_iter().flatten() {
            let mut arq = self.arq(period, from);
            let received = arq.receive_datagram(Instant::ZERO, datagram);
            if matches!(received, Some(Received::Opened)) {
                return Greeted::Proven(match arq.protection() {
                    Either::This(_) => Vec::new(),
                    Either::That(sealed) => sealed.peer_id().to_vec(),
                });
            }
            if let Some(refusal) = arq.refusal() {
                return Greeted::Refused(refusal);
            }
            if arq.has_heard() {
                return match self.keys {
                    Some(_) => self.answer(period, from, datagram.len()),
                    None => Greeted::Proven(Vec::new()),
                };
            }
        }
        Greeted::Nothing
    }

    /// A HELLO as of one that has heard nobody: what it learned is forgotten by then.
    fn answer(&mut self, period: u64, from: &[u8], most: usize) -> Greeted {
        let mut arq = self.arq(period, from);
        arq.open(Instant::ZERO);
        let mut out = vec![0; arq.out_min()];
        let length = arq.transmit(Instant::ZERO, &mut out, &mut |_| 0);
        out.truncate(length);
        match length {
            1.. if length <= most => Greeted::Answer(out),
            _ => Greeted::Nothing,
        }
    }

    /// The same each time for an address and a period.
    fn arq(&mut self, period: u64, from: &[u8]) -> Arq<Protection<'_, K>, &mut [u8], [u8; 0]> {
        let period = period.to_be_bytes();
        let chance = *hmac(self.secret.bytes(), &[b"nonce", &period, from]).bytes();
        let numbers = *hmac(self.secret.bytes(), &[b"epoch", &period, from]).bytes();
        let seed = numbers.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let protection = match &self.keys {
            Some(keys) => Either::That(sealed(keys, chance)),
            None => Either::This(Checked::new(SoftCrc)),
        };
        Arq::new(Role::Proxy, self.config, seed, protection, &mut self.storage[..], [])
    }
}

/// X25519 is for the line that the peer gets: nothing is sealed here, and strangers are not to have a
/// proxy compute so much.
fn sealed<K: Keys>(keys: &K, chance: [u8; 32]) -> Sealed<SoftCrc, ChaCha20Poly1305, &K> {
    let sealed = Sealed::new(SoftCrc, ChaCha20Poly1305, keys, chance);
    #[cfg(feature = "x25519")]
    let sealed = sealed.with_forward_secrecy(ForwardSecrecy::Off);
    sealed
}

/// Without keys and secret.
impl<K> fmt::Debug for Greeter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greeter").field("encrypts", &self.keys.is_some()).finish_non_exhaustive()
    }
}
