//! Messages of the system message distribution, which streams of the streamtype [`STREAMTYPE`] carry:
//! a bus that all clients of a proxy share.
//!
//! STREAMTYPE's credit field is the mask of [`Classes`] that the client wants to get. The payload of
//! each frame is one message, both ways: class u64, timestamp u64 in µs, then the text.
//!
//! ```
//! use sspc_wire::smd::{Classes, Message};
//!
//! let mut buf = [0; 64];
//! let text = br#"{"trigger":"cpdcheck"}"#;
//! let length = Message { class: Classes::NETWORK, timestamp_us: 0, text }.encode(&mut buf).unwrap();
//! let message = Message::decode(&buf[..length]).unwrap();
//! assert!(message.class.intersects(Classes::NETWORK | Classes::SYSTEM_STATE));
//! assert_eq!(message.text, text);
//! ```

use core::fmt;
use core::ops::BitOr;

/// The streamtype that every proxy has, whatever its policy says.
pub const STREAMTYPE: &str = "_lws_smd";
/// Bytes of a message in front of its text.
pub const HEADER: usize = 16;
/// Most bytes of a message's text: deployed proxies fail at more.
pub const TEXT_MAX: usize = 383;

/// Classes of messages, a bit each: what a message belongs to, or what a client wants to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Classes(u32);

impl Classes {
    /// None.
    pub const NONE: Self = Self(0);
    /// What the user does at the device, such as pressing a button.
    pub const INTERACTION: Self = Self(0x01);
    /// What the system is at: `{"state":"OPERATIONAL"}`, `{"policy":"updated","ts":1700000000}`.
    pub const SYSTEM_STATE: Self = Self(0x02);
    /// What the network is at: `{"type":"cpd","result":"OK"}`; and what is wanted of it:
    /// `{"trigger":"cpdcheck"}`.
    pub const NETWORK: Self = Self(0x04);
    /// Measurements.
    pub const METRICS: Self = Self(0x08);
    /// The eight classes that are the applications' own.
    pub const USER: Self = Self(0xff00_0000);
    /// All.
    pub const ALL: Self = Self(u32::MAX);

    /// How many classes applications have for themselves.
    pub const USER_CLASSES: u8 = 8;

    /// One of the eight classes that are the applications' own, from 0; `None` if there is no such one.
    pub const fn user(number: u8) -> Option<Self> {
        if number < Self::USER_CLASSES { Some(Self(1 << (24 + number))) } else { None }
    }

    /// The classes of these bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// A bit for each class.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// True if there is a class that both have.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The classes that both have.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Classes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The classes that have names.
const NAMED: [(Classes, &str); 4] = [
    (Classes::INTERACTION, "interaction"),
    (Classes::SYSTEM_STATE, "system_state"),
    (Classes::NETWORK, "network"),
    (Classes::METRICS, "metrics"),
];

/// Names with commas between them, such as `network,user0`; what has no name in hexadecimal.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => return f.write_str("all"),
            Self::NONE => return f.write_str("none"),
            _ => {}
        }
        let mut rest = self.0;
        let mut comma = "";
        for (class, name) in NAMED {
            if self.intersects(class) {
                write!(f, "{comma}{name}")?;
                (comma, rest) = (",", rest & !class.0);
            }
        }
        for number in 0..Self::USER_CLASSES {
            let bit = 1 << (24 + number);
            if self.0 & bit != 0 {
                write!(f, "{comma}user{number}")?;
                (comma, rest) = (",", rest & !bit);
            }
        }
        if rest != 0 {
            write!(f, "{comma}{rest:#x}")?;
        }
        Ok(())
    }
}

/// A text names no classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownClass;

impl fmt::Display for UnknownClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected interaction, system_state, network, metrics, user0 to user7, user, all, or bits \
             such as 0x1000000; several with commas between them",
        )
    }
}

impl core::error::Error for UnknownClass {}

impl core::str::FromStr for Classes {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        let mut classes = Self::NONE;
        for word in text.split(',') {
            classes = classes | one(word.trim()).ok_or(UnknownClass)?;
        }
        Ok(classes)
    }
}

fn one(word: &str) -> Option<Classes> {
    let bits = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
    if let Some((class, _)) = NAMED.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)) {
        return Some(*class);
    }
    match word {
        "all" => Some(Classes::ALL),
        "user" => Some(Classes::USER),
        _ => match (word.strip_prefix("0x"), word.strip_prefix("user")) {
            (Some(digits), _) => bits(digits, 16).map(Classes::from_bits),
            (None, Some(number)) => number.parse().ok().and_then(Classes::user),
            (None, None) => bits(word, 10).map(Classes::from_bits),
        }
        .filter(|classes| *classes != Classes::NONE),
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it belongs to.
    pub class: Classes,
    /// When the proxy got it, in µs of its monotonic clock. Proxies take no notice of a client's.
    pub timestamp_us: u64,
    /// Normally JSON.
    pub text: &'a [u8],
}

impl<'a> Message<'a> {
    /// Writes the message; its length. `None` if the text is longer than [`TEXT_MAX`] or there is no
    /// room for it.
    pub fn encode(&self, buf: &mut [u8]) -> Option<usize> {
        if self.text.len() > TEXT_MAX {
            return None;
        }
        let length = HEADER + self.text.len();
        let (head, text) = buf.get_mut(..length)?.split_at_mut_checked(HEADER)?;
        let (class, timestamp) = head.split_at_mut_checked(HEADER / 2)?;
        class.copy_from_slice(&u64::from(self.class.0).to_be_bytes());
        timestamp.copy_from_slice(&self.timestamp_us.to_be_bytes());
        text.copy_from_slice(self.text);
        Some(length)
    }

    /// Reads a message. `None` if there are fewer bytes than its head has. Of the class the last 32
    /// bits count.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (class, rest) = bytes.split_first_chunk::<8>()?;
        let (timestamp, text) = rest.split_first_chunk::<8>()?;
        Some(Self {
            class: Classes(u64::from_be_bytes(*class) as u32),
            timestamp_us: u64::from_be_bytes(*timestamp),
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;
    use std::vec;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [0, 1, TEXT_MAX] {
            let text = vec![b'x'; length];
            let message = Message { class: Classes::METRICS, timestamp_us: 77, text: &text };
            let mut buf = [0; HEADER + TEXT_MAX];
            assert_eq!(message.encode(&mut buf), Some(HEADER + length));
            assert_eq!(Message::decode(&buf[..HEADER + length]), Some(message));
            assert_eq!(message.encode(&mut buf[..HEADER + length - 1]), None);
        }
    }

    #[test]
    fn what_is_too_long_or_too_short_is_no_message() {
        let text = [b'x'; TEXT_MAX + 1];
        let message = Message { class: Classes::METRICS, timestamp_us: 0, text: &text };
        assert_eq!(message.encode(&mut [0; 1000]), None);
        assert_eq!(Message::decode(&[0; HEADER - 1]), None);
        assert_eq!(Message::decode(&[]), None);
    }

    #[test]
    fn bytes_are_as_deployed_peers_send_them() {
        let mut buf = [0xff; 18];
        let message = Message { class: Classes::NETWORK, timestamp_us: 0x0102, text: b"{}" };
        message.encode(&mut buf);
        assert_eq!(buf, *b"\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\x01\x02{}");
        buf[0] = 0xff;
        assert_eq!(Message::decode(&buf).unwrap().class, Classes::NETWORK);
    }

    #[test]
    fn classes_have_names() {
        let shown = |bits| Classes::from_bits(bits).to_string();
        assert_eq!(shown(0), "none");
        assert_eq!(shown(u32::MAX), "all");
        assert_eq!(shown(0x0100_0005), "interaction,network,user0");
        assert_eq!(shown(0x0000_0102), "system_state,0x100");
        for text in ["network", "interaction,metrics,user7", "0x100", "system_state,user0,user1"] {
            assert_eq!(text.parse::<Classes>().unwrap().to_string(), text);
        }
        assert_eq!("Network, user".parse(), Ok(Classes::NETWORK | Classes::USER));
        assert_eq!("16777216".parse(), Ok(Classes::user(0).unwrap()));
        for text in ["", "network,", "user8", "users", "0x", "0", "-1", "0x100000000"] {
            assert_eq!(text.parse::<Classes>(), Err(UnknownClass), "{text}");
        }
        assert_eq!(Classes::user(8), None);
    }
}
