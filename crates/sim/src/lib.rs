//! What the tests of the other crates share: recorded streams of a deployed client and proxy,
//! [`frames`] to compare what decoders say, two-ended simulation in virtual time, and for processes
//! a [`Cable`] of pseudo-terminals.
//!
//! A simulation is two engines, a [`Link`] between them, and [`drive`], which calls one step after
//! another at the times that the engines and the link ask for. Nothing here reads a clock, and all
//! chance comes from one seed, so that a failure is repeated by its seed alone.
//!
//! ```
//! use sspc_sim::{Link, LinkConfig, Side, drive};
//!
//! let config = LinkConfig { latency_us: 500, cut_max: 3, ..LinkConfig::PERFECT };
//! let mut link = Link::new(1, config);
//! assert_eq!(link.push(0, Side::A, b"hello"), 5);
//! let mut heard = Vec::new();
//! let end = drive(0, 100, |now_us| {
//!     let mut buffer = [0; 16];
//!     while let n @ 1.. = link.pop(now_us, Side::B, &mut buffer) {
//!         heard.extend(&buffer[..n]);
//!     }
//!     link.next_event()
//! });
//! assert_eq!((heard.as_slice(), end), (&b"hello"[..], 500));
//! ```

mod cable;
mod deployed;
mod drive;
pub mod frames;
mod link;
mod rng;
pub mod spec;
pub mod vectors;

pub use cable::Cable;
pub use deployed::{DeployedReader, Rx};
pub use drive::drive;
pub use link::{Counts, Cut, Link, LinkConfig, Noise, Side};
pub use rng::Rng;
