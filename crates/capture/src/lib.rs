//! Captures of what passes on the wire: pcapng files, one block a frame, for Wireshark and tshark with
//! `contrib/wireshark/sspc.lua`.
//!
//! A frame is of one of three [layers](CaptureLayer), and comes from a [`Source`], a stream or a line,
//! which is an interface in the file. The link type is `WIRESHARK_UPPER_PDU`: each frame names its
//! dissector, so that Wireshark needs no setting to find it.
//!
//! ```
//! use std::time::Duration;
//!
//! use sspc_capture::{CaptureFile, CaptureLayer, CapturedFrame, Source};
//! use sspc_wire::Direction;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("sspc.pcapng");
//! let mut capture = CaptureFile::create(&path, Some(1 << 20))?;
//! capture.write(&CapturedFrame {
//!     time: Duration::from_micros(1_795_398_818_987_455),
//!     source: Source { name: "c0", description: "" },
//!     direction: Direction::ToProxy,
//!     layer: CaptureLayer::Stream,
//!     bytes: &[0xab, 0, 0],
//!     length: 3,
//!     comment: None,
//! })?;
//! capture.flush()?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod block;
mod file;

pub use block::{CaptureLayer, CapturedFrame, Source};
pub use file::{CaptureFile, RING_MIN};
