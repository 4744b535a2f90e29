//! The wire of Secure Streams: Serialized Secure Streams (SSS) frames and transport mux frames,
//! encode and decode, for both ends.
//!
//! An application's stream is carried to a proxy as *SSS frames* ([`ToProxy`], [`ToClient`]) over
//! any byte pipe; on a line that has only one pipe, *mux frames* ([`MuxFrame`]) carry the bytes of
//! many streams. `docs/spec` specifies both, byte by byte.
//!
//! The decoders are incremental and gather no payload: bytes may be cut or joined anywhere, and
//! payload comes out as [`Piece`]s borrowed from the input as they arrive. They hold 32 bytes of
//! scratch for the fixed parts and names, and nothing else that a peer can size.
//!
//! ```
//! use sspc_wire::{State, ToClient, ToClientDecoder};
//!
//! let bytes = [0x57, 0, 5, 6, 0, 0, 0, 0]; // CONNSTATE CONNECTING
//! let mut input = &bytes[..];
//! let mut decoder = ToClientDecoder::new();
//! while let Some(frame) = decoder.next(&mut input)? {
//!     assert_eq!(frame, ToClient::State { state: State::Connecting, ordinal: 0 });
//! }
//! # Ok::<(), sspc_wire::FrameError>(())
//! ```
//!
//! No allocation, no panic, no `unsafe`; the crate is `no_std`.
#![no_std]
#![warn(missing_docs)]

mod assemble;
mod error;
mod field_writer;
mod flags;
pub mod limits;
mod mux;
mod piece;
mod random;
pub mod smd;
mod state;
mod time;
mod to_client;
mod to_proxy;
#[cfg(feature = "view")]
mod view;
mod write;

pub use error::{EncodeError, FrameError, FrameFault};
pub use field_writer::FieldWriter;
pub use flags::Flags;
pub use mux::{MuxDecoder, MuxError, MuxFrame, mux_type};
pub use piece::{PayloadHead, Piece};
pub use random::Random;
pub use state::State;
pub use time::Instant;
pub use to_client::{ToClient, ToClientDecoder, streamtype_names, to_client_type};
pub use to_proxy::{Streamtype, Timeout, ToProxy, ToProxyDecoder, to_proxy_type};
#[cfg(feature = "view")]
pub use view::{Direction, FrameHead, FrameTracker, Layer, frame_name};
