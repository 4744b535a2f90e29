//! The wire, seen from outside: layouts, recordings, refusals, states, and any bytes at all.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod layout;
mod owned;
mod random;
mod recordings;
mod refusals;
mod states;
