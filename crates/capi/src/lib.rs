//! The Secure Streams client for C: what firmware that was written to libwebsockets' Secure
//! Streams API in its `LWS_ONLY_SSPC` form includes and links, from unchanged sources.
//!
//! The headers are in `include/`, the guide is `docs/c.md`. This crate is the static library behind
//! them: the engine [`sspc::Stream`] and [`sspc_mux::Mux`], and a shell that turns their events into
//! callbacks and their wishes into calls of the transport.
//!
//! # How the shell stays sound
//!
//! C code is called from many places, and may call any function of the API from there. So:
//! - A stream's engine is never borrowed while C code runs. That of a mux is while its channels are
//!   asked for bytes, inside [`sspc_mux::Mux::transmit`]; meanwhile it is marked as busy, and what is
//!   asked of it waits in its channels.
//! - A handle is freed only when no call of this library that uses it is under way (`depth` in
//!   `stream.rs`); until then it is only marked.
//! - All state besides the engines is in `Cell`s.
//!
//! Nothing here panics: there is no indexing, no arithmetic that can overflow and no unwrapping.
//!
//! # What must hold of the callers
//!
//! What C asks of any library: pointers that are valid for what they point to, handles that were
//! not destroyed, one thread.
#![no_std]

pub mod abi;
mod alloc;
mod api;
mod callbacks;
mod inside;
mod link;
mod list;
mod log;
mod metadata;
mod mux;
mod mux_object;
mod names;
#[cfg(feature = "arq")]
mod packets;
mod received;
mod send;
mod storage;
mod stream;
mod text;
mod timer;
mod transport;

/// Bare metal has nothing to unwind to. No panic is reachable, and the linker leaves this out.
#[cfg(sspc_panic_handler)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
