//! Bytes of the protocol as lines, one a frame: what `sspc decode` and `sspc tap` print;
//! or the same frames as a capture.

mod capture;
mod connections;
mod frames;
mod line;
mod live;
mod mux;
mod printer;
mod stream;
mod text;

pub(crate) use capture::TraceCapture;
pub(crate) use connections::{Connections, LabelledBytes};
pub(crate) use live::LiveTrace;
pub(crate) use printer::{Label, Printer};
