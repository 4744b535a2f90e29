//! Secure Streams client: an application opens a stream by name, a proxy makes the connection that
//! its policy says, and the two speak over any byte pipe.
//!
//! Without features the crate is the engines alone: [`Stream`], and [`Client`] for many streams over
//! one serial line. `no_std`, no allocation, no `unsafe`; bytes and time in, bytes and events out.
//! Feature `std` adds a blocking client, `tokio` an async one, both over Unix sockets, TCP and serial
//! lines; `tls` adds TLS over TCP to these two; `embedded-io` and `embedded-io-async` add the same for devices without an operating
//! system. `docs/client.md` is the guide.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "arq")]
pub mod arq;
#[cfg(feature = "std")]
pub mod blocking;
mod client;
mod config;
#[cfg(feature = "embedded-io")]
pub mod embedded_io;
#[cfg(feature = "embedded-io-async")]
pub mod embedded_io_async;
mod engine;
mod error;
mod event;
#[cfg(feature = "std")]
mod host;
#[cfg(feature = "embedded-io")]
mod layer;
mod name;
mod stream;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use client::{Client, ClientEvent, Slot, Slots, StreamId, TRANSMIT_MIN};
pub use config::Config;
#[doc(hidden)]
pub use engine::PayloadSlot;
pub use engine::{BUF_MIN, LinkAction, Tx};
pub use error::{MetadataError, NoRoom, NoSlot};
pub use event::{Event, Fault};
#[cfg(feature = "std")]
pub use host::{Error, Options};
#[cfg(feature = "embedded-io")]
pub use layer::{Layer, Plain};
pub use name::{Name, NameError};
#[cfg(feature = "std")]
pub use sspc_address::{Address, AddressError};
#[cfg(feature = "std")]
pub use sspc_line as line;
pub use sspc_mux::{Config as MuxConfig, LinkLoss, Mux, Priority};
pub use sspc_wire::Instant;
pub use sspc_wire::limits::{channel_ahead_max, line_ahead_max};
pub use sspc_wire::{Flags, FrameError, FrameFault, Piece, State, Timeout};
pub use stream::Stream;

/// The guide's examples, compiled.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../../docs/client.md")]
pub mod guide {}

/// The readme's example, compiled.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
pub mod readme {}
