//! The codec as its users see it: the examples and the rules of RFC 6455 and RFC 7692.

// Clippy knows `#[test]` functions, not what they share.
#![allow(clippy::unwrap_used)]

mod bomb;
mod compression;
mod framing;
mod handshake;
mod properties;
mod support;
mod violations;
