//! The packets of one direction: their counters, keys, and which of them came.

use super::cipher::{Aead, TAG, next_key, nonce};
use super::secret::Key;
use crate::protection::Order;

/// How much of the counter is sent, in bytes.
pub(super) const SHORT: usize = 2;

/// How many packets a key is for, as a power of two.
pub(super) const KEY_BITS: u32 = 20;

/// How far behind the newest packet one may come on ways that do not keep the order: no further than the
/// packet layer's numbers tell apart, see
/// [`DATAGRAM_WINDOW_MAX`](crate::packet::DATAGRAM_WINDOW_MAX).
const LATE_MAX: u64 = 16;

/// What is sent.
#[derive(Debug)]
pub(super) struct Sends {
    key: Key,
    /// Of the next packet.
    counter: u64,
}

impl Sends {
    pub(super) const fn new(key: Key) -> Self {
        Self { key, counter: 0 }
    }

    /// Seals what is between the room for the counter and that for the tag.
    pub(super) fn seal(&mut self, aead: &mut impl Aead, key_bits: u32, buf: &mut [u8]) {
        let Some((short, rest)) = buf.split_first_chunk_mut::<SHORT>() else { return };
        let Some((text, tag)) = rest.split_last_chunk_mut::<TAG>() else { return };
        let counter = self.counter;
        self.counter += 1;
        if counter > 0 && within(counter, key_bits) == 0 {
            self.key = next_key(&self.key);
        }
        *short = (counter as u16).to_be_bytes();
        *tag = aead.seal(self.key.bytes(), &nonce(counter), text);
    }
}

/// How many packets of the same key went before this one.
const fn within(counter: u64, key_bits: u32) -> u32 {
    counter as u32 & ((1 << key_bits) - 1)
}

/// What is received.
#[derive(Debug)]
pub(super) struct Receives {
    /// Of the newest packet that came.
    key: Key,
    /// Of the packet behind the newest one.
    next: u64,
    /// Bit n: the one n before the newest came.
    came: u32,
    in_order: bool,
}

impl Receives {
    pub(super) const fn new(key: Key, in_order: bool) -> Self {
        Self { key, next: 0, came: 0, in_order }
    }

    /// Opens what is between the counter and the tag.
    pub(super) fn open(
        &mut self,
        aead: &mut impl Aead,
        key_bits: u32,
        buf: &mut [u8],
    ) -> Option<Order> {
        let (short, rest) = buf.split_first_chunk_mut::<SHORT>()?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG>()?;
        // The counter next to the one expected that ends so.
        let off = u16::from_be_bytes(*short).wrapping_sub(self.next as u16) as i16;
        let counter = self.next.checked_add_signed(off.into())?;
        let newest = self.next.saturating_sub(1);
        if counter < self.next && !self.is_wanted(newest - counter) {
            return None;
        }
        let keys_on = (counter >> key_bits).checked_sub(newest >> key_bits)?;
        let mut new_key = None;
        for _ in 0..keys_on {
            new_key = Some(next_key(new_key.as_ref().unwrap_or(&self.key)));
        }
        let key = new_key.as_ref().unwrap_or(&self.key);
        if !aead.open(key.bytes(), &nonce(counter), text, tag) {
            return None;
        }
        if counter < self.next {
            self.came |= 1 << (newest - counter);
            return Some(Order::Late);
        }
        if let Some(key) = new_key {
            self.key = key;
        }
        let on = counter + 1 - self.next;
        self.came =
            u32::try_from(on).ok().and_then(|on| self.came.checked_shl(on)).unwrap_or(0) | 1;
        self.next = counter + 1;
        Some(Order::Newest)
    }

    /// The same on a way that keeps the order, without what is late: on devices by far less code.
    pub(super) fn open_next(
        &mut self,
        aead: &mut impl Aead,
        key_bits: u32,
        buf: &mut [u8],
    ) -> Option<()> {
        let (short, rest) = buf.split_first_chunk_mut::<SHORT>()?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG>()?;
        let off = u16::from_be_bytes(*short).wrapping_sub(self.next as u16);
        if off > i16::MAX as u16 {
            // Before the one expected.
            return None;
        }
        // From the newest one that came, whose key is here; the first one of all has this key too.
        let on = within(self.next.wrapping_sub(1), key_bits) + u32::from(off) + 1;
        let mut keys_on = on >> key_bits;
        if self.next == 0 {
            keys_on -= 1;
        }
        let mut key = self.key.clone();
        while keys_on > 0 {
            key = next_key(&key);
            keys_on -= 1;
        }
        let counter = self.next + u64::from(off);
        if !aead.open(key.bytes(), &nonce(counter), text, tag) {
            return None;
        }
        self.key = key;
        self.next = counter + 1;
        Some(())
    }

    /// A packet so far behind the newest has not come, and may.
    const fn is_wanted(&self, behind: u64) -> bool {
        !self.in_order && behind < LATE_MAX && self.came >> behind & 1 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encrypts nothing, quickly: the tag is the key's and the nonce's.
    struct Quick;

    impl Aead for Quick {
        const SUITE: u8 = 128;

        fn seal(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8]) -> [u8; TAG] {
            let mut tag = [0; TAG];
            tag[..12].copy_from_slice(nonce);
            tag[12] = key[0] ^ text[0];
            tag[13..].copy_from_slice(&key[1..4]);
            tag
        }

        fn open(
            &mut self,
            key: &[u8; 32],
            nonce: &[u8; 12],
            text: &mut [u8],
            tag: &[u8; 16],
        ) -> bool {
            self.seal(key, nonce, text) == *tag
        }
    }

    type Packet = [u8; SHORT + 1 + TAG];

    fn ways(first: u64, in_order: bool) -> (Sends, Receives) {
        let (mut sends, mut receives) =
            (Sends::new(Key::new([5; 32])), Receives::new(Key::new([5; 32]), in_order));
        (sends.counter, receives.next) = (first, first);
        (sends, receives)
    }

    fn seal(sends: &mut Sends, key_bits: u32) -> Packet {
        let mut packet = [7; SHORT + 1 + TAG];
        sends.seal(&mut Quick, key_bits, &mut packet);
        packet
    }

    /// Keys change every 16 packets, and what of the counter is on the way wraps; now and then more than
    /// two keys' packets are lost.
    #[test]
    fn counters_wrap_and_keys_change() {
        for first in [0, 1 << 16, (1 << 32) - 70_000, 1 << 48] {
            let (mut sends, mut receives) = ways(first, true);
            let (_, mut device) = ways(first, true);
            let keys = [sends.key.clone(), receives.key.clone()];
            for number in 0..2 * 65_536 + 100 {
                let mut packet = seal(&mut sends, 4);
                assert_eq!(packet[..2], ((first + number) as u16).to_be_bytes());
                if number % 10_000 < 9000 && number % 1000 > 40 {
                    let order = receives.open(&mut Quick, 4, &mut packet);
                    assert_eq!(order, Some(Order::Newest), "packet {number} from {first}");
                    assert_eq!(receives.open(&mut Quick, 4, &mut packet), None);
                    let is_next = device.open_next(&mut Quick, 4, &mut packet);
                    assert!(is_next.is_some(), "packet {number} from {first}");
                    assert!(device.open_next(&mut Quick, 4, &mut packet).is_none());
                }
            }
            assert_ne!(sends.key.bytes(), keys[0].bytes());
            assert_ne!(receives.key.bytes(), keys[1].bytes());
            assert_eq!(device.key.bytes(), receives.key.bytes());
        }
    }

    /// On a way that reorders: what is 16 or more behind the newest is refused, what was opened too, and
    /// what is of a key before. Where the order is kept all that is late is refused.
    #[test]
    fn late_packets_are_opened_once() {
        for (bits, newest) in [(20, 40), (20, 70_005), (4, 70_005), (20, (1 << 20) + 5)] {
            for in_order in [false, true] {
                let (mut sends, mut receives) = ways(0, in_order);
                let mut packets = std::vec::Vec::new();
                for number in 0..=newest {
                    let mut packet = seal(&mut sends, bits);
                    packets.push(packet);
                    if number % 1000 == 0 {
                        receives.open(&mut Quick, bits, &mut packet).unwrap();
                    }
                }
                let mut packet = *packets.last().unwrap();
                let order = receives.open(&mut Quick, bits, &mut packet);
                assert_eq!(order, Some(Order::Newest));
                for again in [false, true] {
                    for behind in 0..=40 {
                        let number = newest - behind;
                        let mut packet = packets[number];
                        let order = receives.open(&mut Quick, bits, &mut packet);
                        let is_late = behind > 0 && behind < 16 && number % 1000 != 0;
                        let has_key = number >> bits == newest >> bits;
                        let right = is_late && has_key && !again && !in_order;
                        assert_eq!(order.is_some(), right, "{behind} before {newest}, 2^{bits}");
                    }
                }
            }
        }
    }
}
