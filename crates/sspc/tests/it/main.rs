//! The client, seen from outside: the engine against recordings and scripts, the APIs over
//! real sockets.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod answered;
mod asked_again;
mod blocking;
mod cut;
mod embedded;
mod embedded_async;
mod guide;
mod harness;
mod life;
mod line;
mod lines;
mod liveness;
mod mux;
mod no_payload;
mod packets;
mod peer;
mod random;
mod recordings;
mod tokio;
mod waits;
mod world;
