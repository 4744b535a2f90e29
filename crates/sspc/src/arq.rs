//! Packets below the mux of a [`Client`](crate::Client), for lines that lose, change and double bytes.
//!
//! [`Framing`] stands between a client and its line.

#[cfg(feature = "psk")]
pub use sspc_arq::{Aead, ChaCha20Poly1305, ID_MAX, Key, Keys, OwnKey, Sealed};
pub use sspc_arq::{
    Arq, Checked, Choice, Config, Crc32, DeviceFraming, Framing, Input, Protection, Received,
    SoftCrc,
};
pub use sspc_arq::{Order, Refusal};
pub use sspc_mux::Role;
