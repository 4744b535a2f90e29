//! The program as its users meet it: real processes, real sockets.
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a surprise is a failure")]

mod access;
mod access_log;
mod admin;
mod bridge;
mod capture;
mod cat;
mod client_certs;
mod come_and_go;
mod cookies;
mod decode;
mod demo;
mod generate;
mod limits;
mod network;
mod ping;
mod policy;
mod policy_names;
mod proxy;
mod remote_policy;
mod serial;
mod service;
mod smd;
mod soak;
mod support;
mod tap;
mod tls;
mod top;
mod trace;
mod upload;
mod who_may;
