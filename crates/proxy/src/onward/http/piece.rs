//! What a request's body is made of on its way to the connection.

use bytes::Bytes;

/// A piece of the body; the last one says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) last: bool,
}
