//! The dissector, `contrib/wireshark/sspc.lua`, in tshark.
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a surprise is a failure")]

mod dissector;
mod support;
