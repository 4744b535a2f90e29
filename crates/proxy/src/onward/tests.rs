//! Against real servers on loopback.

mod auth;
mod bodies;
mod certificates;
mod client_certs;
mod cookies;
mod descriptors;
mod early;
mod endpoints;
mod h1;
mod h2;
#[cfg(feature = "http3")]
mod h3;
mod heads;
mod memory;
mod openings;
mod patience;
mod raw;
mod reach;
mod redirects;
mod retries;
mod shared;
mod support;
mod tls;
mod trailers;
mod windows;
