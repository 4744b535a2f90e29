//! What the fuzz targets check. Each function takes what the fuzzer made up, and panics if the
//! code under test does anything that it must not.

#![deny(unsafe_code)]

mod arq_pair;
mod arq_receive;
mod arq_sealed;
mod capi;
mod client;
mod cuts;
mod endpoint;
mod frames;
mod line_packets;
mod mqtt;
mod multipart;
mod mux;
mod mux_app;
mod mux_pair;
mod policy;
mod responses;
mod servers;
mod session;
mod virtual_time;
mod ws;

pub use arq_pair::{Pair, arq_pair};
pub use arq_receive::arq_receive;
pub use arq_sealed::arq_sealed;
pub use capi::{Calls, capi};
pub use client::{Life, client_engine};
pub use endpoint::{Choice, Redirects, endpoint, redirect};
pub use line_packets::{Lines, line_packets};
pub use mqtt::mqtt_session;
pub use multipart::{Body, multipart};
pub use mux::mux;
pub use mux_pair::{Lives, mux_pair};
pub use policy::{policy_overlay, policy_parse};
pub use responses::{Frames as H2Frames, h1_response, h2_response, ws_response};
pub use servers::{Visits, cookies, way_out};
pub use session::{Deeds, session};
pub use ws::ws_decode;

use arbitrary::Arbitrary;
use sspc_sim::frames::{Owned, harmless, round_trip};
use sspc_wire::{MuxDecoder, ToClientDecoder, ToProxyDecoder};

/// Any bytes as what a proxy sends.
pub fn to_client(input: &[u8]) {
    let (bytes, sizes) = cuts::split(input);
    harmless::<ToClientDecoder>(bytes, &sizes);
}

/// Any bytes as what a client sends.
pub fn to_proxy(input: &[u8]) {
    let (bytes, sizes) = cuts::split(input);
    harmless::<ToProxyDecoder>(bytes, &sizes);
}

/// Any bytes as frames of the mux.
pub fn mux_frames(input: &[u8]) {
    let (bytes, sizes) = cuts::split(input);
    harmless::<MuxDecoder>(bytes, &sizes);
}

/// Frames of one of the three kinds.
#[derive(Arbitrary, Debug)]
pub struct Frames {
    sizes: Vec<u8>,
    kind: Kind,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    ToClient(Vec<frames::ToClient>),
    ToProxy(Vec<frames::ToProxy>),
    Mux(Vec<frames::Mux>),
}

/// Any frames, written and read.
pub fn wire_roundtrip(frames: Frames) {
    let sizes = frames.sizes.iter().map(|size| usize::from(*size).max(1));
    let sizes: Vec<usize> = sizes.chain([usize::MAX]).collect();
    match frames.kind {
        Kind::ToClient(frames) => round_trip::<ToClientDecoder>(&owned(frames), &sizes),
        Kind::ToProxy(frames) => round_trip::<ToProxyDecoder>(&owned(frames), &sizes),
        Kind::Mux(frames) => round_trip::<MuxDecoder>(&owned(frames), &sizes),
    }
}

fn owned<T: Into<Owned>>(frames: Vec<T>) -> Vec<Owned> {
    frames.into_iter().map(Into::into).collect()
}
