//! Bytes as lines while they pass, for a program between the ends.

use std::collections::BTreeMap;
use std::io::{self, Write};

use sspc_wire::Direction;

use super::capture::TraceCapture;
use super::connections::{Connections, LabelledBytes};
use super::printer::{Label, Printer};
use super::text;
use crate::exit::Failure;

/// Writes what passes.
pub(crate) struct LiveTrace(View);

enum View {
    Frames(Connections),
    /// The bytes themselves, and how many there were in each direction of a connection.
    Bytes(Printer, BTreeMap<(u64, Direction), usize>),
}

impl LiveTrace {
    /// Shows frames, of the mux or of streams, as `sspc decode` does.
    pub(crate) fn frames(out: impl Write + Send + 'static, mux: bool, full: bool) -> Self {
        Self(View::Frames(Connections::new(Printer::new(out, full), mux, None)))
    }

    /// Shows nothing, but captures the same frames.
    pub(crate) fn capture(capture: TraceCapture, mux: bool) -> Self {
        Self(View::Frames(Connections::new(Printer::capture(capture), mux, None)))
    }

    /// Why the capture is not complete, if so.
    pub(crate) fn capture_failure(&mut self) -> Option<Failure> {
        match &mut self.0 {
            View::Frames(connections) => connections.capture_failure(),
            View::Bytes(..) => None,
        }
    }

    /// Shows the bytes themselves, in hex.
    pub(crate) fn bytes(out: impl Write + Send + 'static) -> Self {
        Self(View::Bytes(Printer::new(out, false), BTreeMap::new()))
    }

    /// Bytes that passed together; none for the end of the connection in this direction.
    pub(crate) fn show(
        &mut self,
        time_us: u64,
        connection: u64,
        direction: Direction,
        bytes: &[u8],
    ) -> io::Result<()> {
        let label = Label {
            time_us: Some(time_us),
            connection: Some(connection),
            direction: Some(direction),
            ..Label::default()
        };
        match &mut self.0 {
            View::Frames(connections) => connections.show(LabelledBytes { label, bytes }),
            View::Bytes(printer, _) if bytes.is_empty() => printer.frame(label, "end", &[]),
            View::Bytes(printer, counts) => {
                let at = counts.entry((connection, direction)).or_default();
                for row in bytes.chunks(text::HEX_ROW) {
                    printer.frame(label, &text::hex_row(*at, row), &[])?;
                    *at += row.len();
                }
                Ok(())
            }
        }
    }

    /// A whole frame of a stream, whatever came before it.
    pub(crate) fn show_frame(
        &mut self,
        time_us: u64,
        connection: u64,
        direction: Direction,
        frame: &[u8],
    ) -> io::Result<()> {
        self.show(time_us, connection, direction, frame)?;
        if let View::Frames(connections) = &mut self.0 {
            connections.forget();
        }
        Ok(())
    }

    /// Something that is no frame.
    pub(crate) fn note(&mut self, time_us: u64, connection: u64, text: &str) -> io::Result<()> {
        let (time_us, connection) = (Some(time_us), Some(connection));
        let label = Label { time_us, connection, ..Label::default() };
        match &mut self.0 {
            View::Frames(connections) => connections.note(label, text),
            View::Bytes(printer, _) => printer.note(label, text),
        }
    }

    /// Writes what was shown so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            View::Frames(connections) => connections.flush(),
            View::Bytes(printer, _) => printer.flush(),
        }
    }

    /// Nothing more will pass.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            View::Frames(connections) => connections.finish().map(|_| ()),
            View::Bytes(printer, _) => printer.flush(),
        }
    }
}
