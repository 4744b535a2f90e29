//! The admin side over real sockets, of a proxy with real streams.
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a surprise is a failure")]
#![allow(clippy::expect_used, reason = "the same")]

mod answers;
mod documents;
mod refusals;
mod support;
