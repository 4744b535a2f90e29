//! The check sum of packets.

/// CRC-32 as IEEE 802.3 has it (reflected, polynomial 0x04c11db7, starting with all ones, inverted at
/// the end), over parts that follow one another. Many microcontrollers have it in hardware.
///
/// ```
/// use sspc_arq::{Crc32, SoftCrc};
/// assert_eq!(SoftCrc.crc32(b"1234", b"56789"), 0xcbf4_3926);
/// ```
pub trait Crc32 {
    /// The sum over both parts.
    fn crc32(&mut self, first: &[u8], rest: &[u8]) -> u32;
}

/// Computed by the processor: on a host half a byte at a time, with a table of 64 bytes; without the
/// feature `host` bit by bit, which is the least code.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftCrc;

/// The polynomial with its bits in reverse.
pub(crate) const POLYNOMIAL: u32 = 0xedb8_8320;

#[cfg(feature = "host")]
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

impl Crc32 for SoftCrc {
    fn crc32(&mut self, first: &[u8], rest: &[u8]) -> u32 {
        let mut crc = !0;
        for byte in first.iter().chain(rest) {
            crc = step(crc ^ u32::from(*byte));
        }
        !crc
    }
}

/// Takes the byte in the lowest bits.
#[cfg(feature = "host")]
fn step(crc: u32) -> u32 {
    let crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
    crc >> 4 ^ TABLE[(crc & 15) as usize]
}

#[cfg(not(feature = "host"))]
fn step(mut crc: u32) -> u32 {
    for _ in 0..8 {
        crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    }
    crc
}
