//! The admin side of a Secure Streams proxy: what it does, as JSON, as metrics, and as a page.
//!
//! An [`Admin`] serves HTTP at a Unix socket or a loopback address and answers from what
//! [`Observed`](sspc_proxy::Observed) shows. It only reads: nothing that it serves changes the proxy.
//! `docs/monitoring.md` describes each path.
//!
//! A reader that is slow, or does not read at all, costs the proxy's streams nothing: connections, waiting readers and
//! the size of each answer are bounded, and what is read is a copy.

mod answer;
mod api;
mod events;
mod frames;
mod metrics;
mod page;
mod query;
mod routes;
mod server;
mod sessions;
mod stall;

pub use metrics::{METRICS, Metric, MetricKind};
pub use server::{Admin, AdminError, PolicyView, PolicyWatch};
pub use sspc_proxy::AdminAddress;
