//! What the APIs for hosts share: owned events, errors, options, and all of a driver that is not I/O.

use std::time::Duration;

mod chunk;
mod error;
mod event;
mod inbox;
mod options;
mod pump;
pub(crate) mod smd;

pub(crate) use chunk::Chunk;
pub use error::Error;
pub use event::Event;
pub use options::Options;
pub(crate) use pump::{HostStream, Outgoing, Pump, hung_up};
pub use smd::SmdMessage;

/// How long a stream that is closed may take to send what it was given.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(3);
