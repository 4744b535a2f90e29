//! What a broker can send, and what comes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a surprise is a failure")]

mod broken;
mod broker;
mod chaos;
mod decoding;
mod session;
