//! The mux from outside: two ends over a simulated line, in virtual time; an end beside a scripted
//! peer; and an end beside the recorded ones.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod channels;
mod echo;
mod fairness;
mod faults;
mod handshake;
mod line;
mod noise;
mod recordings;
mod restart;
mod size;
mod support;
mod vectors;
