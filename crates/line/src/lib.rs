//! A line on a host: the serial port or the socket, the mux on it, and its channels as byte streams.
//!
//! A [`Line`] runs one end of a [`sspc_mux::Mux`] over a serial port, on a thread of its own, so
//! that the link is supervised however busy the program is; over UDP and TCP in the same way; over any
//! other byte pipe with `Line::over`, and over datagrams with `Line::over_datagrams` (feature
//! `tokio`). Its [`Channel`]s are byte streams as sockets are: they can be
//! read and written with a limit on the time that it may take, or with feature `tokio` as
//! `AsyncRead` and `AsyncWrite`. The port may vanish and come back, as USB adapters do.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sspc_line::{Line, Priority, Role, SerialAddress};
//!
//! # fn talk() -> std::io::Result<()> {
//! let address: SerialAddress = "serial:/dev/ttyUSB0?baud=2000000&profile=fast".parse()?;
//! let line = Line::open(&address, Role::Client, |event| eprintln!("{event}"))?;
//! let mut channel = line.channel(Priority::default(), Some(Duration::from_secs(3)))?;
//! channel.write_within(b"\xaa...", None)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ahead;
mod channel;
mod channel_state;
mod config;
#[cfg(feature = "tokio")]
mod datagrams;
mod event;
mod keys;
mod latency;
mod line;
mod network;
mod output;
mod pacer;
mod port;
mod port_errors;
mod registry;
mod restart_guard;
mod state;
#[cfg(feature = "tokio")]
mod task;
mod thread;
mod wire;

pub use channel::{Channel, ReadHalf, WriteHalf};
pub use config::LineConfig;
#[cfg(feature = "tokio")]
pub use datagrams::Datagrams;
pub use event::{LineEvent, Refused, Status};
pub use keys::{LineKeys, chance};
pub use line::{Line, LineMonitor};
pub use network::resolve;
pub use port::open_port;
pub use port_errors::PortErrors;
pub use registry::client_line;
pub use sspc_address::{
    AddressError, ForwardSecrecy, LineAddress, NetworkAddress, Profile, SerialAddress,
};
pub use sspc_arq::{Greeted, Greeter, Key, KeyTable, Keys, OwnKey};
pub use sspc_mux::{Config as MuxConfig, LinkLoss, Priority, Role};
