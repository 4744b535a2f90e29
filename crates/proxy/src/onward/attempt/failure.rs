//! Why an attempt failed: one vocabulary for every protocol.
//!
//! From a [`FailureKind`] come the words of the log line, the label that counts it, and the ordinal
//! of UNREACHABLE; a protocol adds the text that a person needs.

use std::fmt;
use std::time::Duration;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// The remote peer's, or the network's on the way there.
    Upstream,
    /// The client's: its metadata or its message.
    Client,
    /// The policy's.
    Policy,
    /// This proxy's, or its machine's.
    Local,
}

impl Whose {
    /// In one word, for logs, labels and the API.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// The name has no address.
    UnknownName,
    /// No DNS server answered.
    NoDns,
    /// No address took a connection, or none in time.
    Connect,
    /// The TLS handshake failed, or the peer's certificate is not trusted.
    Tls,
    /// The peer ended the connection: for ws and raw the ordinary end.
    Closed,
    /// The peer was silent for too long.
    Silent,
    /// The peer broke its protocol.
    Protocol,
    /// The peer asks to come back later: 503 or 429.
    Busy,
    /// The peer refused: an upgrade that it does not want, a redirect that must not be followed.
    Refused,
    /// A redirect where the policy takes one for a captive portal.
    Portal,
    /// The client's metadata leads where it must not.
    Forbidden,
    /// The client's metadata makes no request that can be sent.
    Request,
    /// The client's message is not what it announced, or it broke the message off.
    Message,
    /// The policy asks for what cannot be done.
    Policy,
    /// The session ended first: nobody reads this.
    SessionGone,
    /// This machine lacks something for it: a descriptor, a credential.
    Local,
    /// A fault of this proxy.
    Internal,
}

impl FailureKind {
    pub(crate) const fn whose(self) -> Whose {
        match self {
            Self::UnknownName
            | Self::NoDns
            | Self::Connect
            | Self::Tls
            | Self::Closed
            | Self::Silent
            | Self::Protocol
            | Self::Busy
            | Self::Refused
            | Self::Portal => Whose::Upstream,
            Self::Forbidden | Self::Request | Self::Message | Self::SessionGone => Whose::Client,
            Self::Policy => Whose::Policy,
            Self::Local | Self::Internal => Whose::Local,
        }
    }

    /// The kind in one word, for logs and labels.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::UnknownName => "unknown_name",
            Self::NoDns => "no_dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Protocol => "protocol",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Portal => "portal",
            Self::Forbidden => "forbidden",
            Self::Request => "request",
            Self::Message => "message",
            Self::Policy => "policy",
            Self::SessionGone => "session_gone",
            Self::Local => "local",
            Self::Internal => "internal",
        }
    }
}

/// Why an attempt is over without a complete transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// The least time to wait before the next attempt, for instance the peer's Retry-After.
    pub(crate) retry_after: Option<Duration>,
    /// For logs: what failed, at which endpoint.
    pub(crate) why: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, why: impl Into<String>) -> Self {
        Self { kind, retry_after: None, why: why.into() }
    }

    /// The next attempt waits this long at least.
    pub(crate) fn retry_after(self, wait: Option<Duration>) -> Self {
        Self { retry_after: wait, ..self }
    }

    /// The session does not listen any more.
    pub(crate) fn session_gone() -> Self {
        Self::new(FailureKind::SessionGone, "the session ended")
    }

    /// The ordinal of UNREACHABLE: 1 if no DNS server answered.
    pub(crate) fn ordinal(&self) -> u32 {
        u32::from(self.kind == FailureKind::NoDns)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
