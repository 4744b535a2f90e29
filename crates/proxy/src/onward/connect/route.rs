//! Which peer an attempt is for, and what makes connections to it shareable.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sspc_policy::{Address, StreamType, TrustStore, WayOut};

use super::client_cert::Presented;
use super::scope::Reach;
use crate::credentials::DeviceCredentials;
use crate::identity::Identity;
use crate::onward::Attempt;

/// Whose word a TLS peer's certificate needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The platform's store.
    Platform,
    /// A store of the policy. Equal contents are the same trust, whichever policy they are from,
    /// so that connections outlive a reload.
    Store(Arc<TrustStore>),
}

impl Trust {
    /// What the policy trusts for this stream.
    pub(crate) fn of(stream: &StreamType) -> Self {
        match &stream.trust_store {
            Some(store) => Self::Store(Arc::clone(store)),
            None => Self::Platform,
        }
    }
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
pub(crate) struct Route {
    /// The only client whose streams may share its connections; `None` if all may.
    pub(crate) client: Option<Identity>,
    pub(crate) address: Address,
    /// `None` for a clear connection.
    pub(crate) tls: Option<Trust>,
    /// What is presented with TLS; a connection is for those alone who would present the same.
    pub(crate) client_cert: Option<Presented>,
    /// How far it may lead: a connection is not shared by who could not have opened it.
    pub(crate) reach: Reach,
    /// The policy's SOCKS5 proxy.
    pub(crate) way_out: Option<Arc<WayOut>>,
}

impl Route {
    pub(crate) fn new(
        client: Option<Identity>,
        address: Address,
        tls: bool,
        reach: Reach,
        stream: &StreamType,
        credentials: &DeviceCredentials,
    ) -> Self {
        let address = match address {
            // Names differ only by their letters.
            Address::Tcp { host, port } => Address::Tcp { host: host.to_ascii_lowercase(), port },
            other => other,
        };
        let tls = tls.then(|| Trust::of(stream));
        let client_cert = tls.as_ref().and_then(|_| Presented::of(stream, credentials));
        Self { client, address, tls, client_cert, reach, way_out: stream.way_out.clone() }
    }

    /// The name that the peer's certificate has to be for.
    pub(crate) fn server_name(&self) -> &str {
        match &self.address {
            Address::Tcp { host, .. } => host,
            _ => "localhost",
        }
    }

    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// For `Host` and `:authority`.
    pub(crate) fn authority(&self) -> String {
        self.address.authority(self.tls.is_some())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Who asks for a connection, and what for its socket.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose limits it counts for.
    pub(crate) client: Identity,
    pub(crate) socket: SocketOptions,
}

impl Caller {
    pub(crate) fn of(attempt: &Attempt) -> Self {
        Self { client: attempt.client.clone(), socket: SocketOptions::of(&attempt.stream) }
    }
}

/// What the policy asks of the socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketOptions {
    /// `attr_priority`
    pub(crate) priority: u8,
    /// The IP type-of-service bits.
    pub(crate) tos: u8,
}

impl SocketOptions {
    pub(super) fn of(stream: &StreamType) -> Self {
        Self { priority: stream.priority, tos: stream.tos.bits() }
    }
}
