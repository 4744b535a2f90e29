//! A real proxy on real sockets, between clients made of recorded or written bytes and small
//! servers of our own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing test says where")]

mod bulk;
mod line_replay;
mod pipes;
mod replay;
mod serial;
mod service;
mod support;
