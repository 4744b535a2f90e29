//! h2: streams bound to shared connections.
//!
//! All streams of a route share one connection until the peer's or our own limit is reached; then
//! another one is opened. Streams that come while a connection is being opened wait for it, so
//! that a burst makes one connection.
//!
//! Flow control is what keeps bound streams apart. Each stream may have the configured window on
//! the way, and the connection as many as all its streams together and one more: so streams whose
//! clients do not read cannot use up what the others need. Credit goes back to the peer only when a
//! client's queue took the bytes; until then they are gathered here, in no more memory than they
//! need, however small the peer's frames are. Towards the peer, a stream asks for credit only with
//! data in its hand, so that it holds none that another one could use.
//!
//! A connection that dies takes along what it carries, so requests that may be its death do not
//! share one: those with a large head, and those that two connections in a row did not answer. And
//! a connection is not used to the point where servers end it because of what was broken off.

mod body;
mod connection;
mod paced;
mod peer_io;
mod pool;
mod small_frames;
mod stream;
mod tunnel;

pub(crate) use body::Body;
pub(crate) use connection::Slot;
pub(crate) use pool::Pool;
pub(crate) use stream::exchange;
pub(crate) use tunnel::{Tunnel, tunnel};

/// The error in one line.
pub(crate) fn describe(error: &h2::Error) -> String {
    error.to_string()
}

/// Whether the peer ended a stream because it has answered and wants no more of the request.
pub(crate) fn is_enough(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::NO_ERROR)
}
