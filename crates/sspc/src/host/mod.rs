//! What the APIs for hosts share: owned events, errors, options, and all of a driver that is not I/O.

use std::time::Duration;

mod chunk;
mod error;
mod event;
mod inbox;
mod options;
mod pump;
pub(crate) mod smd;
#[cfg(feature = "tls")]
pub(crate) mod tls;

pub(crate) use chunk::Chunk;
pub use error::Error;
pub use event::Event;
pub use options::Options;
pub(crate) use pump::{HostStream, Outgoing, Pump, hung_up};
pub use smd::SmdMessage;

/// Why an address of TLS cannot be used.
#[cfg(not(feature = "tls"))]
pub(crate) fn no_tls() -> std::io::Error {
    let text = "this program was built without TLS: feature `tls` of the crate sspc";
    std::io::Error::new(std::io::ErrorKind::Unsupported, text)
}

/// How long a stream that is closed may take to send what it was given.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(3);
