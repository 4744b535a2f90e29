//! Tests of the packet layer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod document;
mod line;
mod model;
mod noise;
mod pair;
mod radio;
mod sealed;
mod sealed_vectors;
mod seeds;
mod sizes;
mod vectors;
mod view;
mod world;
