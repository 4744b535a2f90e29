//! The Secure Streams proxy, as a library.
//!
//! A [`Proxy`] listens on Unix sockets, TCP, UDP and serial lines for clients that speak Serialized
//! Secure Streams; over any other byte pipe it serves them with [`Handle::serve_line`] and
//! [`Handle::serve_link`], over datagrams with [`Handle::serve_datagrams`]. A client names a streamtype; the [policy](sspc_policy::Policy) tells what that means: an HTTP
//! request or a WebSocket, at which endpoint, with which trust anchors. The proxy fulfils the
//! stream there and reports states, metadata and payload back. `docs/spec` specifies what
//! passes between the two.
//!
//! Each link carries one stream and is one task, and so does each channel of a line; what goes wrong on one of them ends that one
//! alone. Nothing here installs signal handlers or writes to
//! the terminal, and the only files that it reads say how the system resolves names and how much
//! memory it has: the rest is the program's business. Logs go to `tracing`, one span a session, and
//! never hold payload.

mod access;
mod allow_to;
mod config;
mod counters;
mod credentials;
mod descriptors;
mod explain;
mod fetch;
#[cfg(any(feature = "fuzzing", test))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
#[cfg(test)]
mod isolation;
mod memory;
mod observe;
mod onward;
mod payload;
mod portal;
mod post;
mod server;
mod session;
mod smd;
mod unread;
mod ways_out;

pub use access::AccessRules;
pub use allow_to::{AllowTo, AllowToError};
pub use config::{
    Config, DeviceCredentials, Knob, KnobError, Limits, MemoryBound, Sharing, Timeouts,
};
pub use counters::Counters;
pub use credentials::{AwsKeys, OauthClient};
pub use explain::{Destination, Explanation, RequestHead, Secret, explain};
pub use fetch::{FetchedPolicy, PolicyOrigin};
pub use observe::view;
pub use observe::{FrameFeed, FrameSelection, Missed, Observed, SeenFrame, TransactionFeed};
pub use onward::{ClientCert, ClientCertError, KeptCookies};
pub use post::{PostAnswer, PostTo};
pub use server::{Accepted, Handle, ListenError, Listener, Proxy, SetupError};
pub use smd::{MessageTooLong, Smd, SmdBridge, SmdBridgeError, SmdMessage, Subscription};
pub use sspc_access::Access;
pub use sspc_address::{AddressError, AdminAddress, ListenAddress, NetworkAddress, Owner};
pub use sspc_line::{Datagrams, LineConfig, LineKeys, MuxConfig, Profile, SerialAddress};
pub use sspc_wire::Direction;
pub use sspc_wire::smd::Classes;
pub use unread::all_read;
pub use ways_out::{EnvironmentError, Via, ViaError, WaysOut};

/// The examples of docs/captures.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/captures.md")]
pub mod captures {}

/// The examples of docs/transports.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/transports.md")]
pub mod transports {}
