//! Which peer an attempt is for, and what makes connections to it shareable.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use sspc_policy::{Address, StreamType, Target, TrustStore};

use super::{Attempt, Failure};

impl Attempt {
    /// The value of a metadata item for `${name}`: empty if declared and unset, `None` if the
    /// policy does not declare it.
    pub(super) fn lookup<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.stream.metadata_item(name)?;
        Some(self.value(name).map_or(&[], |value| value))
    }

    /// What the client set this item to.
    pub(super) fn value(&self, name: &str) -> Option<&Bytes> {
        self.metadata.iter().find(|(given, _)| given == name).map(|(_, value)| value)
    }

    /// Where the policy and the metadata say to connect.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        if self.stream.client_cert.is_some() {
            return Err(Failure::new("client_cert: this proxy has no client certificates"));
        }
        Target::resolve(&self.stream, |name| self.lookup(name))
            .map_err(|error| Failure::new(format!("endpoint: {error}")))
    }
}

impl Failure {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Failure { why: why.into(), ..Failure::default() }
    }
}

/// Whose word a TLS peer's certificate needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The platform's store.
    Platform,
    /// A store of the policy. Equal contents are the same trust, whichever policy they are from,
    /// so that connections outlive a reload.
    Store(Arc<TrustStore>),
}

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Trust::Store(store) = self {
            store.name.hash(state);
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::Platform => f.write_str("the system's trust store"),
            Trust::Store(store) => write!(f, "trust store `{}`", store.name),
        }
    }
}

/// What must be equal for two streams to use the same connection; the protocol aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) address: Address,
    /// `None` for a clear connection.
    pub(super) tls: Option<Trust>,
}

impl Route {
    pub(super) fn new(address: Address, tls: bool, stream: &StreamType) -> Self {
        let address = match address {
            // Names differ only by their letters.
            Address::Tcp { host, port } => Address::Tcp { host: host.to_ascii_lowercase(), port },
            other => other,
        };
        let trust = || match &stream.trust_store {
            Some(store) => Trust::Store(Arc::clone(store)),
            None => Trust::Platform,
        };
        Self { address, tls: tls.then(trust) }
    }

    /// The name that the peer's certificate has to be for.
    pub(super) fn server_name(&self) -> &str {
        match &self.address {
            Address::Tcp { host, .. } => host,
            _ => "localhost",
        }
    }

    /// `https` or `http`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// For `Host` and `:authority`.
    pub(super) fn authority(&self) -> String {
        self.address.authority(self.tls.is_some())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// What the policy asks of the socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SocketWishes {
    /// `attr_priority`
    pub(super) priority: u8,
    /// The IP type-of-service bits.
    pub(super) tos: u8,
}

impl SocketWishes {
    pub(super) fn of(stream: &StreamType) -> Self {
        Self { priority: stream.priority, tos: stream.tos.bits() }
    }
}
