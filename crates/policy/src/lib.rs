//! The Secure Streams policy: JSON text into types, with every fault named by file, line and
//! column; overlays; `${name}` substitution; and back into text.
//!
//! ```
//! use sspc_policy::{Policy, Source, Target};
//!
//! let policy = Policy::builtin();
//! let streamtype = policy.streamtype("__default").unwrap();
//! let target = Target::resolve(streamtype, |name| match name {
//!     "endpoint" => Some(b"https://example.com/index.html"),
//!     _ => None,
//! })?;
//! assert_eq!(target.address.to_string(), "example.com:443");
//! assert_eq!(target.path.as_deref(), Some("/index.html"));
//! # Ok::<(), sspc_policy::EndpointError>(())
//! ```
//!
//! Nothing here opens a socket.

mod auth;
mod builtin;
mod check;
mod codegen;
mod diagnostics;
mod draft;
mod endpoint;
mod keys;
mod parse;
mod payload;
mod quote;
mod retry;
mod schema;
mod show;
mod source;
mod suggest;
mod template;
mod types;
mod undone;
mod way_out;

pub use auth::AuthMethod;
pub use codegen::Language;
pub use diagnostics::{Code, DIAGNOSTICS_MAX, Diagnostic, Report, Severity};
pub use endpoint::{Address, EndpointError, Target, path_for, request_path};
pub use keys::{
    Instead, KeyInfo, Section, Status, key_reference, not_behind_proxy, protocol_status,
};
pub use parse::{
    BACKOFF_MAX, ENTRIES_MAX, ITEMS_MAX, NESTING_MAX, Parsed, STACK_MAX, STRING_MAX, VALUES_MAX,
};
pub use retry::Retry;
pub use schema::schema;
pub use source::{SOURCE_MAX, Source};
pub use suggest::suggest;
pub use template::{EXPANSION_MAX, ExpandError, NAME_MAX as TEMPLATE_NAME_MAX, Template};
pub use types::{
    Auth, Http, METADATA_NAME_MAX, MetadataItem, Metric, Mqtt, MqttMessage, Policy, Protocol,
    RESP_MAP_MAX, RIDESHARE_MAX, STREAMTYPE_NAME_MAX, StreamType, Tos, TrustStore, Validity, Ws,
};
pub use undone::Undone;
pub use way_out::{Login, WayOut, WayOutError};
