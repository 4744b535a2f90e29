//! What the sums of a session begin with.

use std::vec::Vec;

use sspc_mux::Role;
use sspc_wire::Direction;

use crate::crc::{Crc32, POLYNOMIAL, SoftCrc};
use crate::packet::Hello;
use crate::protection::session;

/// Sessions that may begin; older ones are forgotten.
const PAIRS_MAX: usize = 8;

/// The state of a CRC-32 behind what a session's sums begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start(u32);

impl Start {
    /// Of the session between these epochs, for what this end sends.
    fn new(from: Role, client: u32, proxy: u32) -> Self {
        let prefix = SoftCrc.crc32(&[from as u8], &session(client, proxy));
        // The sum without what is done at its end.
        Self(!SoftCrc.crc32(&prefix.to_le_bytes(), &[]))
    }

    /// With which this packet, the last four bytes of which are the sum, is whole: the CRC, backwards.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let (packet, sum) = packet.split_last_chunk::<4>()?;
        let mut crc = !u32::from_le_bytes(*sum);
        for byte in packet.iter().rev() {
            for _ in 0..8 {
                crc = match crc >> 31 {
                    0 => crc << 1,
                    _ => (crc ^ POLYNOMIAL) << 1 | 1,
                };
            }
            crc ^= u32::from(*byte);
        }
        Some(Self(crc))
    }
}

/// What HELLOs have said of sessions.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of what the client sends and of what the proxy sends, the newest last.
    starts: Vec<[Start; 2]>,
    /// How many were forgotten.
    forgotten: u32,
    /// The ends encrypt, as far as was seen last.
    pub(super) encrypted: bool,
}

impl Known {
    pub(super) fn hello(&mut self, direction: Option<Direction>, hello: Hello) {
        self.encrypted = hello.encrypted;
        if hello.echo == 0 || hello.encrypted {
            return;
        }
        let pairs = [(hello.epoch, hello.echo), (hello.echo, hello.epoch)];
        for (pair, from) in pairs.into_iter().zip(Direction::BOTH) {
            // Who sent it may not be known.
            if direction.is_none_or(|direction| direction == from) {
                let (client, proxy) = pair;
                let starts =
                    [Role::Client, Role::Proxy].map(|from| Start::new(from, client, proxy));
                if !self.starts.contains(&starts) {
                    self.starts.push(starts);
                }
            }
        }
        let old = self.starts.len().saturating_sub(PAIRS_MAX);
        self.starts.drain(..old);
        self.forgotten += old as u32;
    }

    /// Which session it was whose beginning was seen and whose packets in this direction start so.
    pub(super) fn find(&self, direction: Option<Direction>, start: Start) -> Option<u32> {
        let found = self.starts.iter().position(|[by_client, by_proxy]| match direction {
            Some(Direction::ToProxy) => start == *by_client,
            Some(Direction::ToClient) => start == *by_proxy,
            None => start == *by_client || start == *by_proxy,
        })?;
        Some(self.forgotten.wrapping_add(found as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protection::{Checked, Protection};

    #[test]
    fn what_a_sum_begins_with_is_found_in_the_packet_alone() {
        let mut sender = Checked::new(SoftCrc);
        sender.start(Role::Proxy, 0x1234_5678, 0x9abc_def0, true);
        for length in [2, 3, 100, 4000] {
            let mut packet = std::vec![length as u8; length + 4];
            sender.seal(&mut packet);
            let right = Start::new(Role::Proxy, 0x1234_5678, 0x9abc_def0);
            assert_eq!(Start::of(&packet), Some(right), "{length}");
            packet[0] ^= 1;
            assert_ne!(Start::of(&packet), Some(right), "{length}");
        }
    }
}
