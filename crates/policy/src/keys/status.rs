//! What the proxy does about keys, protocols and names: the words for it, and what follows.

use crate::types::Protocol;

use Status::Acts;

/// What the proxy does about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// What the key means.
    Acts,
    /// What the key means, but for this.
    Partly(&'static str),
    /// It depends on the value: see [`protocol_status`].
    ByValue,
    /// Nothing, and neither does the reference, for this reason.
    Inert(&'static str),
    /// It has no meaning behind a proxy: what happens instead, and why, as a sentence.
    NotBehindProxy(Instead, &'static str),
    /// It belongs to this other key, and has its status.
    With(&'static str),
}

/// What happens to a stream whose policy asks for what has no meaning behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instead {
    /// It works as if the key were not there.
    Ignored,
    /// Every attempt to connect fails.
    Fails,
    /// Clients cannot open it.
    Refused,
}

/// What the proxy does about a protocol. When it learns one, this is what changes.
pub const fn protocol_status(protocol: Protocol) -> Status {
    match protocol {
        Protocol::H1 | Protocol::H2 | Protocol::H3 => Acts,
        Protocol::Ws | Protocol::Mqtt | Protocol::Raw | Protocol::Smd => Acts,
    }
}
