use core::fmt;

use sspc::Flags;

/// The longest message that is kept whole.
const MESSAGE_MAX: usize = 80;

/// Messages of a ticker, which come in pieces: how many there were, and the last one.
#[derive(Debug)]
pub struct Prices {
    message: [u8; MESSAGE_MAX],
    length: usize,
    count: u32,
}

impl Prices {
    /// None yet.
    pub const fn new() -> Self {
        Self { message: [0; MESSAGE_MAX], length: 0, count: 0 }
    }

    /// Takes the next piece; true if a message ends with it.
    pub fn take(&mut self, data: &[u8], flags: Flags) -> bool {
        if flags.contains(Flags::SOM) {
            self.length = 0;
        }
        let room = self.message.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(data) {
            *place = *byte;
            self.length += 1;
        }
        let whole = flags.contains(Flags::EOM);
        self.count += u32::from(whole);
        whole
    }

    /// How many messages were whole.
    pub const fn count(&self) -> u32 {
        self.count
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self::new()
    }
}

/// `price 12 is {"symbol":"SSPC","seq":11,"price":99.50}`
impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.get(..self.length).unwrap_or_default();
        let text = core::str::from_utf8(message).unwrap_or("no text");
        write!(f, "price {} is {text}", self.count)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_price_in_pieces_is_one_price() {
        let mut prices = Prices::new();
        assert!(prices.take(b"{\"seq\":0}", Flags::WHOLE));
        assert!(!prices.take(b"{\"seq", Flags::SOM));
        assert!(!prices.take(b"", Flags::from_bits(0)));
        assert!(prices.take(b"\":1}", Flags::EOM));
        assert_eq!(prices.to_string(), "price 2 is {\"seq\":1}");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut prices = Prices::new();
        assert!(prices.take(&[b'x'; 200], Flags::WHOLE));
        assert_eq!(prices.to_string(), std::format!("price 1 is {}", "x".repeat(MESSAGE_MAX)));
    }
}
