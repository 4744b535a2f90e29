//! The wire, seen from outside: layouts, recordings, refusals, states, any bytes at all, and the
//! document that describes it.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod dialogue;
mod document;
mod fields;
mod layout;
mod random;
mod recordings;
mod refusals;
mod spec;
mod states;
mod time;
mod vectors;
mod view;
