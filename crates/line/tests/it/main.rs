//! Lines over real pseudo-terminals, over sockets, and over pipes and radios in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may panic as its tests do"
)]

mod datagrams;
mod indices;
mod keys;
mod liveness;
mod noise;
mod over;
mod port;
mod restart;
mod support;
