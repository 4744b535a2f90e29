//! The transport mux of Secure Streams: up to 253 channels on one byte pipe, such as a serial
//! line, that may lose its other end at any moment.
//!
//! [`Mux`] is one end, a client's or a proxy's, without its I/O. It finds out whether there is a
//! peer and reports when that changes, opens and closes [`Channel`]s, shares the line among those
//! that want to send, and recovers after bytes were lost. `docs/spec/mux.md` specifies
//! the wire; the frames themselves are those of `sspc-wire`.
//!
//! No allocation, no panic, no `unsafe`; the crate is `no_std`, and a mux takes 512 bytes or less.
//!
//! Without the feature `host` it is for devices: a client's end alone, with 32 channels at a time; a frame
//! that names another one came to harm, and loses framing. With that feature, which `sspc-line` turns on,
//! either end is there and each index has its place; it also notices a line that sends its own bytes
//! back ([`Event::Echo`]; without it a loopback plug passes for a peer), and sends a second PING before
//! it gives up a link.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod channels;
mod config;
mod error;
mod event;
mod framing;
mod link;
mod mux;

pub use config::{Config, Role};
pub use error::{NoRoom, NotRequested, OpenError};
pub use event::{Channel, Event, LinkLoss, Priority, Refusal};
pub use link::PACKETS;
pub use mux::Mux;
pub use sspc_wire::Instant;

/// The shortest output buffer that [`Mux::transmit`] takes: all that supervision can have due at
/// once, and some bytes for channels. With one of `frame_max + 40` bytes no data frame is cut
/// short.
pub const TRANSMIT_MIN: usize = 64;
