//! Every connection of the input, each with its two directions.

use std::collections::BTreeMap;
use std::io;

use sspc_wire::Direction;

use super::line::LineTrace;
use super::printer::{Label, Printer};
use super::stream::StreamTrace;
use crate::exit::Failure;

/// Directions of connections that are decoded at a time; no recording has more.
const WAYS_MAX: usize = 8192;

/// Bytes that came together, and where from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelledBytes<'b> {
    pub(crate) label: Label,
    /// None for the end of the connection in this direction.
    pub(crate) bytes: &'b [u8],
}

/// Decodes and prints.
pub(crate) struct Connections {
    printer: Printer,
    mux: bool,
    /// The direction of bytes for which the input has none.
    from: Option<Direction>,
    streams: BTreeMap<(Option<u64>, Option<Direction>), StreamTrace>,
    lines: BTreeMap<Option<u64>, LineTrace>,
    last: Label,
}

impl Connections {
    pub(crate) fn new(printer: Printer, mux: bool, from: Option<Direction>) -> Self {
        let (streams, lines) = (BTreeMap::new(), BTreeMap::new());
        Self { printer, mux, from, streams, lines, last: Label::default() }
    }

    pub(crate) fn show(&mut self, captured: LabelledBytes<'_>) -> io::Result<()> {
        let LabelledBytes { mut label, bytes } = captured;
        self.last = label;
        let Some(first) = bytes.first() else {
            self.end(label)?;
            return self.printer.frame(label, "end", &[]);
        };
        let direction = label.direction;
        if direction.is_none() {
            if self.from.is_none() && !self.mux {
                self.from = Direction::of(*first);
            }
            label.direction = self.from;
        }
        let key = (label.connection, direction);
        let is_known = match self.mux {
            true => self.lines.contains_key(&label.connection),
            false => self.streams.contains_key(&key),
        };
        if !is_known && self.lines.len() * 2 + self.streams.len() >= WAYS_MAX {
            let text = format!("more than {} connections at a time", WAYS_MAX / 2);
            return self.printer.fault(label, 0, &text);
        }
        if self.mux {
            let gives_packets = self.printer.captures();
            let line =
                self.lines.entry(label.connection).or_insert_with(|| LineTrace::new(gives_packets));
            return line.feed(bytes, label, &mut self.printer);
        }
        let stream = self
            .streams
            .entry(key)
            .or_insert_with(|| StreamTrace::new(label.direction.unwrap_or(Direction::ToProxy)));
        stream.feed(bytes, label, &mut self.printer)
    }

    /// The end of a connection in one direction.
    fn end(&mut self, label: Label) -> io::Result<()> {
        if let Some(line) = self.lines.get_mut(&label.connection) {
            line.finish(label, &mut self.printer)?;
            if line.directions().is_empty() {
                self.lines.remove(&label.connection);
            }
        }
        match self.streams.remove(&(label.connection, label.direction)) {
            Some(stream) => stream.finish(label, &mut self.printer),
            None => Ok(()),
        }
    }

    /// Something that is no frame.
    pub(crate) fn note(&mut self, label: Label, text: &str) -> io::Result<()> {
        self.printer.note(label, text)
    }

    /// Nothing is kept of what came so far: what comes next begins with a frame.
    pub(crate) fn forget(&mut self) {
        self.streams.clear();
    }

    /// The input itself is wrong at this label.
    pub(crate) fn fault(&mut self, label: Label, at: &str, text: &str) -> io::Result<()> {
        self.printer.fault_in(label, at, text)
    }

    /// Why the capture is not complete, if so.
    pub(crate) fn capture_failure(&mut self) -> Option<Failure> {
        self.printer.capture_failure()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.printer.flush()
    }

    /// The end of the input; returns the number of faults.
    pub(crate) fn finish(&mut self) -> io::Result<usize> {
        for ((connection, direction), stream) in std::mem::take(&mut self.streams) {
            let direction = direction.or(self.from);
            let label = Label { connection, direction, ..self.last };
            stream.finish(label, &mut self.printer)?;
        }
        for (connection, mut line) in std::mem::take(&mut self.lines) {
            for direction in line.directions() {
                let label = Label { connection, direction, ..self.last };
                line.finish(label, &mut self.printer)?;
            }
        }
        self.printer.flush()?;
        Ok(self.printer.faults())
    }
}
