use core::fmt;

use sspc::Flags;

/// A page that comes in pieces and is kept nowhere: its length and its checksum.
#[derive(Debug)]
pub struct Page {
    length: u32,
    /// CRC-32 as in gzip, before its final inversion.
    crc: u32,
}

impl Page {
    /// Of which nothing came yet.
    pub const fn new() -> Self {
        Self { length: 0, crc: !0 }
    }

    /// Takes the next piece.
    pub fn take(&mut self, data: &[u8], flags: Flags) {
        if flags.contains(Flags::SOM) {
            *self = Self::new();
        }
        for &byte in data {
            self.crc ^= u32::from(byte);
            for _ in 0..8 {
                let carry = 0u32.wrapping_sub(self.crc & 1);
                self.crc = self.crc >> 1 ^ carry & 0xedb8_8320;
            }
        }
        self.length += data.len() as u32;
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

/// `1443 bytes, CRC-32 0a1b2c3d`
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, CRC-32 {:08x}", self.length, !self.crc)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_gzip_however_the_page_is_cut() {
        let text = b"123456789";
        for cut in 0..text.len() {
            let mut page = Page::new();
            page.take(b"a page before", Flags::WHOLE);
            page.take(&text[..cut], Flags::SOM);
            page.take(&text[cut..], Flags::EOM);
            assert_eq!(page.to_string(), "9 bytes, CRC-32 cbf43926");
        }
    }
}
