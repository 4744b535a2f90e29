//! h3 (RFC 9114): requests on shared connections of QUIC.
//!
//! As with h2, the streams of a client share a connection to a route, and each may have the
//! configured window on its way, the connection those of all its streams and one more. quinn gives a
//! server new credit for a stream when it is read, and it is read when its client takes more.
//!
//! A server that cannot be reached by QUIC is asked by h2 or http/1.1 instead, and for some minutes
//! not by QUIC again.

mod alt_svc;
mod connection;
mod frames;
mod pool;
mod quic;
mod stream;

pub(crate) use self::connection::Slot;
pub(crate) use self::pool::Pool;
pub(crate) use self::stream::{Body, exchange};
