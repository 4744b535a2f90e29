//! A packet layer below the mux, for lines that lose, change and double bytes: what comes out at one end
//! is what went in at the other, in order, each byte once.
//!
//! # The wire
//!
//! ```text
//!   packet    b0 = seq << 2 | type    b1 = ack << 2 | nak << 1 | probe    payload    CRC-32
//!   line      COBS of the packet, 00, COBS of the next, 00, ...
//!   datagram  the packet, as it is
//! ```
//!
//! Types are DATA (0), ACK (1) and HELLO (2). `seq` numbers packets of data modulo 64; `ack` is the
//! number of the packet that its sender expects next, in each packet; `nak` says that what came last was
//! no packet, or that there was no place for it; `probe` asks for an answer at once. An ACK's payload says which packets behind the missing one are
//! there: bit 0 of its first byte is that of `ack` + 1. The sum is over four bytes that both ends derive
//! from their session and the direction, then the packet; it is sent with the lowest byte first. Of
//! HELLO it is over the packet alone.
//!
//! HELLO: version (1), abilities (bit 0: keeps packets that come early; bit 1: has heard the peer's
//! epoch; bit 2: encrypts), MRU (two bytes), window, epoch (four bytes), the peer's epoch or 0 (four
//! bytes). Numbers are big-endian.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "host"))]
extern crate std;

mod arq;
mod cobs;
mod config;
#[cfg(feature = "host")]
mod counters;
mod crc;
mod device;
#[cfg(feature = "host")]
mod either;
mod framing;
#[cfg(all(feature = "psk", feature = "host"))]
mod greeter;
mod packet;
mod protection;
mod receive;
#[cfg(feature = "psk")]
mod sealed;
mod send;
mod timer;
#[cfg(feature = "view")]
mod view;

pub use arq::{Arq, Received};
pub use config::Config;
#[cfg(feature = "host")]
pub use counters::Counters;
pub use crc::{Crc32, SoftCrc};
pub use device::DeviceFraming;
#[cfg(feature = "host")]
pub use either::Either;
pub use framing::{Choice, Framing, Input};
#[cfg(all(feature = "psk", feature = "host"))]
pub use greeter::{Greeted, Greeter};
pub use protection::{Checked, Order, Protection, Refusal};
#[cfg(feature = "x25519")]
pub use sealed::ForwardSecrecy;
#[cfg(all(feature = "psk", feature = "host"))]
pub use sealed::KeyTable;
#[cfg(feature = "psk")]
pub use sealed::{Aead, ChaCha20Poly1305, ID_MAX, Key, Keys, OwnKey, Sealed};
#[cfg(feature = "view")]
pub use view::{HelloSeen, Onlooker, PacketSeen, Seen, TurnSeen};
