//! Who is at the other end of a link.

use std::net::IpAddr;

/// Whom a limit is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    Process(i32),
    Address(IpAddr),
    /// A line or a link that is no socket, by its number.
    Line(u64),
    Unknown,
}
