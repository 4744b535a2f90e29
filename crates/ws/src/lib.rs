//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), sans-IO, streaming inside a frame.
//!
//! Other codecs hand out whole frames or whole messages, so a peer decides how much memory they
//! take. This one hands out [pieces](Piece): whatever part of a message is there, as it comes.
//! A frame may be 2^63 bytes long and a compressed message may inflate to terabytes; what is held
//! meanwhile is one [`Decoder`] (under 512 bytes), the caller's scratch buffer and, with
//! compression, the 32 KiB window that RFC 7692 needs. That is why there is no limit to configure.
//!
//! - [`handshake`]: the key, its answer, and the negotiation of permessage-deflate, for both sides.
//! - [`Decoder`]: bytes from the peer in, [`Event`]s out; every rule of the RFCs is checked, and
//!   each [`DecodeError`] knows the close code that it asks for.
//! - [`Encoder`]: one frame for each piece that is given, and the control frames.
//!
//! The crate does no I/O, reads no clock and draws no random numbers: mask keys and the handshake's
//! key are given by the caller.
//!
//! # A message there and back
//!
//! ```
//! use sspc_ws::{Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let deflate = Some(DeflateParams::default());
//! let mut client = Encoder::new(Role::Client, deflate);
//! let mut server = Decoder::new(Role::Server, deflate);
//!
//! // Two pieces of one message: two frames. Mask keys must come from a good random source.
//! let mut wire = Vec::new();
//! let kind = MessageKind::Text;
//! client.piece(Piece { kind, first: true, last: false, bytes: b"Hel" }, [1, 2, 3, 4], &mut wire)?;
//! client.piece(Piece { kind, first: false, last: true, bytes: b"lo" }, [5, 6, 7, 8], &mut wire)?;
//!
//! let mut input = wire.as_slice();
//! let mut scratch = [0; 4096];
//! let mut text = Vec::new();
//! while let Some(event) = server.decode(&mut input, &mut scratch)? {
//!     match event {
//!         Event::Data(piece) => text.extend_from_slice(piece.bytes),
//!         other => panic!("not expected here: {other:?}"),
//!     }
//! }
//! assert_eq!(text, b"Hello");
//! # Ok(())
//! # }
//! ```

mod close;
mod decoder;
mod encoder;
mod error;
mod event;
pub mod handshake;
mod header;
mod inflate;
mod mask;
mod params;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{DecodeError, EncodeError, HandshakeError};
pub use event::{ControlPayload, Event, MAX_CONTROL_PAYLOAD, MessageKind, Piece};
pub use params::{DeflateParams, WindowBits};

/// Which end of the connection we are (RFC 6455 §5.1): a client masks what it sends and must
/// receive unmasked frames; for a server it is the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We opened the connection.
    Client,
    /// We accepted it.
    Server,
}
