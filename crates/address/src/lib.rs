//! Addresses as text: `uds:@name`, `uds:/path`, `tcp:host:port`, `serial:/dev/name`, `pty:/path`.
//!
//! There is one grammar, and one text for each mistake. What a place accepts is a type:
//!
//! | place | type | kinds |
//! |---|---|---|
//! | a client's, to find its proxy | [`Address`] | `uds:`, `tcp:` with a port or [TLS](TlsAddress), `serial:`, `udp:` |
//! | a proxy's, to listen at | [`ListenAddress`] | `uds:` with mode and owner, `tcp:` with any port or [TLS](TlsListenAddress), `serial:`, `udp:` |
//! | a line's, with many streams | [`LineAddress`] | `serial:`, `udp:`, `tcp:` with keys |
//! | a port alone | [`SerialAddress`] | `serial:` |
//! | a proxy's, to show what it does | [`AdminAddress`] | `uds:`, `http:` at a loopback address |
//! | the ends of a tap | [`ClientEnd`], [`ProxyEnd`] | `uds:`, `tcp:`, `serial:` and `pty:` |
//!
//! ```
//! use sspc_address::{Address, ListenAddress};
//!
//! let address: Address = "tcp:localhost:7681".parse()?;
//! assert_eq!(address, Address::Tcp { host: "localhost".into(), port: 7681 });
//!
//! let error = "tcp:localhost:0".parse::<Address>().unwrap_err().to_string();
//! assert!(error.ends_with("the port must be a number from 1 to 65535"));
//! // A proxy may listen at any port that is free.
//! let _: ListenAddress = "tcp:localhost:0".parse()?;
//! # Ok::<(), sspc_address::AddressError>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admin;
mod connect;
mod end;
mod error;
mod from_str;
mod line;
mod listen;
mod network;
mod parse;
mod place;
mod secrecy;
mod serial;
mod tcp_options;
mod tls;

pub use admin::AdminAddress;
pub use connect::Address;
pub use end::{ClientEnd, LineEnd, ProxyEnd};
pub use error::AddressError;
pub use line::LineAddress;
pub use listen::{ListenAddress, Owner};
pub use network::{Carrier, NetworkAddress};
pub use secrecy::ForwardSecrecy;
pub use serial::{LineFraming, Profile, SerialAddress};
pub use tls::{TlsAddress, TlsIdentity, TlsListenAddress};

/// The abstract name at which proxies listen, and clients look for them, if no other address is
/// given.
const WELL_KNOWN_NAME: &str = "proxy.ss.lws";
