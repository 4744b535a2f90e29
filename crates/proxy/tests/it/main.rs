//! A real proxy on real sockets. In most tests the whole way is there: our client, a Unix socket, our
//! proxy, and at the far end a real nginx or a server in this process ([`world`]). In others the
//! client is made of recorded or written bytes ([`support`]).
//!
//! What is asserted is what a user sees: the exact sequence of states, the payload, what the
//! servers logged. Nothing is asserted by time: [`PATIENCE`](user::PATIENCE) only ends what hangs.
//!
//! Where many streams do the same at once, several threads run them; elsewhere one does, so that a
//! test is as much the same each time as real sockets allow.
//!
//! `RUST_LOG=sspc_proxy=debug cargo test -p sspc-proxy --test it -- --nocapture` shows the proxy's
//! log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in helpers of tests too, a surprise is a failure"
)]

mod ahead;
mod bulk;
mod certificates;
mod conformance;
mod content;
mod deployed;
mod failures;
mod flow;
mod lifetime;
mod line_replay;
mod listen_tls;
mod liveness;
mod mosquitto;
mod mqtt;
mod network;
mod nginx;
mod observe;
mod origin;
mod pipes;
mod redirects;
mod replay;
mod responses;
mod restarts;
mod security_page;
mod serial;
mod service;
mod sharing;
mod smd;
mod smd_bridge;

mod strangers;
mod support;
mod tls;
mod uploads;
mod user;
mod ways_out;
mod websocket;
mod world;
