//! X25519: a secret of both ends that is nowhere once the session is over. Who learns the shared key later
//! cannot derive the session's keys from what was recorded.

use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use super::LABEL;
use super::secret::{Key, hmac};
use crate::protection::Refusal;

/// Whether sessions have keys that the shared key alone does not give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardSecrecy {
    /// With a peer that offers it.
    #[default]
    Auto,
    /// In each session: a peer that does not offer it is refused.
    Required,
    /// Not at all.
    Off,
}

/// The number of X25519 in HELLO.
const GROUP: u8 = 1;

/// How long what HELLO says of it is, in bytes: the number, and a public key.
pub(super) const SHARE: usize = 1 + 32;

/// This end's part in a handshake.
pub(super) struct Exchange {
    pub(super) mode: ForwardSecrecy,
    /// Of this handshake, until its session begins.
    secret: Option<Key>,
    /// What follows from it, once it is asked for.
    public: Option<[u8; 32]>,
    /// The peer's public key, and the secret of both.
    shared: Option<([u8; 32], Key)>,
    /// The session has one.
    pub(super) is_used: bool,
    /// The peer's last HELLO has a public key.
    pub(super) is_offered: bool,
}

/// Whether what HELLO says behind the id begins with a public key.
pub(super) fn is_share(said: &[u8]) -> bool {
    matches!(said.split_first_chunk::<SHARE>(), Some((&[GROUP, ..], _)))
}

impl Exchange {
    pub(super) const NEW: Self = Self {
        mode: ForwardSecrecy::Auto,
        secret: None,
        public: None,
        shared: None,
        is_used: false,
        is_offered: false,
    };

    /// A handshake begins. What was drawn from the seed cannot be drawn from it again.
    pub(super) fn begin(&mut self, seed: &mut Key, numbers: &[u8]) {
        self.secret = Some(hmac(seed.bytes(), &[LABEL, b"x25519", numbers]));
        (self.public, self.shared) = (None, None);
        *seed = hmac(seed.bytes(), &[LABEL, b"seed"]);
    }

    /// What HELLO says, if anything.
    pub(super) fn share(&mut self) -> Option<[u8; SHARE]> {
        let secret = self.secret.as_ref().filter(|_| self.mode != ForwardSecrecy::Off);
        if let (None, Some(secret)) = (self.public, secret) {
            self.public = Some(multiply(secret, X25519_BASEPOINT_BYTES));
        }
        let public = self.public.filter(|_| self.mode != ForwardSecrecy::Off)?;
        let mut share = [GROUP; SHARE];
        if let Some((_, to)) = share.split_first_chunk_mut::<1>() {
            to.copy_from_slice(&public);
        }
        Some(share)
    }

    /// Takes what a HELLO says that answers this end's, and is the peer's.
    ///
    /// # Errors
    /// It offers nothing, and is to, or a public key of which there is no secret.
    pub(super) fn hear(&mut self, said: &[u8]) -> Result<(), Refusal> {
        let public = match said.split_first_chunk::<SHARE>() {
            Some((&[GROUP, ref public @ ..], _)) if self.mode != ForwardSecrecy::Off => public,
            _ if self.mode == ForwardSecrecy::Required => return Err(Refusal::NoForwardSecrecy),
            _ => {
                self.shared = None;
                return Ok(());
            }
        };
        // The same again, or from a session that has begun.
        if self.shared.as_ref().is_some_and(|(known, _)| known == public) {
            return Ok(());
        }
        let Some(secret) = &self.secret else { return Ok(()) };
        let shared = Zeroizing::new(multiply(secret, *public));
        // A point of low order: whatever the secret is, the result is this one. Not compared in constant
        // time, as a peer that sends one knows the result.
        if *shared == [0; 32] {
            return Err(Refusal::NoForwardSecrecy);
        }
        self.shared = Some((*public, Key::new(*shared)));
        Ok(())
    }

    /// The secret of both for a session that begins; nothing of it stays here.
    pub(super) fn take(&mut self) -> Option<Key> {
        let shared = self.shared.take().map(|(_, shared)| shared);
        // The public part is still said: in HELLOs that come again, or by a proxy only now.
        if shared.is_some() {
            self.share();
        }
        self.secret = None;
        self.is_used = shared.is_some();
        shared
    }
}

/// By far the most that a handshake computes.
fn multiply(secret: &Key, public: [u8; 32]) -> [u8; 32] {
    #[cfg(test)]
    tests::MULTIPLIED.set(tests::MULTIPLIED.get() + 1);
    x25519(*secret.bytes(), public)
}

#[cfg(test)]
pub(super) mod tests {
    use core::cell::Cell;

    use super::*;

    std::thread_local! {
        /// How often this thread has multiplied.
        pub(in crate::sealed) static MULTIPLIED: Cell<u32> = const { Cell::new(0) };
    }

    fn hex(text: &str) -> [u8; 32] {
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }

    /// RFC 7748, 5.2 and 6.1.
    #[test]
    fn secrets_are_shared_as_rfc_7748_has_it() {
        for (scalar, point, right) in [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ] {
            assert_eq!(x25519(hex(scalar), hex(point)), hex(right));
        }
        let secrets = [
            hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
            hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
        ];
        let [mut a, mut b] =
            secrets.map(|secret| Exchange { secret: Some(Key::new(secret)), ..Exchange::NEW });
        let (from_a, from_b) = (a.share().unwrap(), b.share().unwrap());
        assert_eq!(
            from_a[1..],
            hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            from_b[1..],
            hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        a.hear(&from_b).unwrap();
        b.hear(&from_a).unwrap();
        let (a, b) = (a.take().unwrap(), b.take().unwrap());
        let right = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!((a.bytes(), b.bytes()), (&right, &right));
    }

    /// The points of small order of both curves, RFC 7748, 6.1 and 7: 0, 1, two of order 8, p - 1, p, p + 1.
    #[test]
    fn points_of_low_order_are_refused() {
        for point in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let mut exchange = Exchange::NEW;
            exchange.begin(&mut Key::new([3; 32]), b"numbers");
            let mut said = [GROUP; SHARE];
            said[1..].copy_from_slice(&hex(point));
            assert_eq!(exchange.hear(&said), Err(Refusal::NoForwardSecrecy), "{point}");
            assert!(exchange.take().is_none());
        }
    }

    #[test]
    fn no_secret_is_drawn_twice_and_none_stays() {
        let (mut exchange, mut seed) = (Exchange::NEW, Key::new([3; 32]));
        let mut shares = std::vec::Vec::new();
        for _ in 0..3 {
            exchange.begin(&mut seed, b"the same");
            shares.push(exchange.share().unwrap());
            let mut other = Exchange::NEW;
            other.begin(&mut Key::new([4; 32]), b"");
            exchange.hear(&other.share().unwrap()).unwrap();
            assert!(exchange.take().is_some());
            assert!(exchange.secret.is_none() && exchange.shared.is_none());
        }
        shares.dedup();
        assert_eq!(shares.len(), 3);
    }
}
