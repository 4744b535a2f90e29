//! Who is at the other end of a link.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::{Span, field, warn_span};

use crate::identity::Identity;
use crate::server::tls::Certificate;

/// Who a session's client is, as far as the link tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this machine, over a Unix socket.
    Process {
        pid: Option<i32>,
        uid: u32,
        gid: u32,
        /// The socket has no file, whose permissions would say who may connect.
        is_abstract: bool,
    },
    /// Over TCP.
    Address(SocketAddr),
    /// Over TLS, with a certificate that an authority of the address has issued.
    Certified { address: SocketAddr, client: Identity, certificate: Arc<Certificate> },
    /// A channel of a line.
    Channel { client: Identity, line: Arc<LineEnd>, channel: u8 },
    /// A byte pipe that is none of these, by a number and what logs call it.
    Pipe { pipe: u64, name: Arc<str> },
    /// The system does not tell.
    Unknown,
}

/// What is at the other end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineEnd {
    /// What logs call it.
    pub(crate) name: Arc<str>,
    /// The serial port's path, or what the program calls its line.
    pub(crate) port: Option<Arc<str>>,
    /// Over a network, where it is.
    pub(crate) address: Option<IpAddr>,
    /// The id of the key that it has proved to have.
    pub(crate) device: Option<Arc<str>>,
}

impl Peer {
    /// Whom this client counts as.
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Peer::Process { uid, .. } => Identity::User(*uid),
            Peer::Address(address) => Identity::of_address(address.ip()),
            Peer::Channel { client, .. } | Peer::Certified { client, .. } => client.clone(),
            Peer::Pipe { pipe: number, name } => {
                Identity::Line { number: *number, name: Arc::clone(name) }
            }
            Peer::Unknown => Identity::Unknown,
        }
    }

    /// What all of a session's log lines are about.
    pub(crate) fn span(&self, id: u64) -> Span {
        let streamtype = field::Empty;
        let client = self.identity().to_string();
        // At the level of warnings, so that each of them says whom it is about.
        match self {
            Peer::Process { pid, .. } => warn_span!("session", id, pid, client, streamtype),
            peer => warn_span!("session", id, %peer, client, streamtype),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Process { pid: Some(pid), uid, .. } => write!(f, "process {pid} of user {uid}"),
            Peer::Process { pid: None, uid, .. } => write!(f, "a process of user {uid}"),
            Peer::Address(address) => address.fmt(f),
            Peer::Certified { address, certificate, .. } => {
                write!(f, "{address} ({})", certificate.id())
            }
            Peer::Channel { line, channel, .. } => write!(f, "{} channel {channel}", line.name),
            Peer::Pipe { name, .. } => f.write_str(name),
            Peer::Unknown => f.write_str("unknown"),
        }
    }
}
