//! Every connection of the input, each with its two directions.

use std::collections::BTreeMap;
use std::io;

use sspc_wire::Direction;

use super::mux::MuxTrace;
use super::printer::{Label, Printer};
use super::stream::StreamTrace;

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
    ways: BTreeMap<(Option<u64>, Option<Direction>), OneWay>,
    last: Label,
}

/// One direction of a connection.
#[derive(Debug)]
enum OneWay {
    Stream(StreamTrace),
    Mux(Box<MuxTrace>),
}

impl OneWay {
    /// The end of its bytes.
    fn finish(self, label: Label, printer: &mut Printer) -> io::Result<()> {
        match self {
            Self::Mux(mut mux) => mux.finish(label, printer),
            Self::Stream(stream) => match stream.unfinished() {
                Some((at, text)) => printer.fault(label, at, &text),
                None => Ok(()),
            },
        }
    }
}

impl Connections {
    pub(crate) fn new(printer: Printer, mux: bool, from: Option<Direction>) -> Self {
        Self { printer, mux, from, ways: BTreeMap::new(), last: Label::default() }
    }

    pub(crate) fn show(&mut self, captured: LabelledBytes<'_>) -> io::Result<()> {
        let LabelledBytes { mut label, bytes } = captured;
        self.last = label;
        let key = (label.connection, label.direction);
        let Some(first) = bytes.first() else {
            if let Some(way) = self.ways.remove(&key) {
                way.finish(label, &mut self.printer)?;
            }
            return self.printer.frame(label, "end", &[]);
        };
        if label.direction.is_none() {
            if self.from.is_none() && !self.mux {
                self.from = Direction::of(*first);
            }
            label.direction = self.from;
        }
        if self.ways.len() >= WAYS_MAX && !self.ways.contains_key(&key) {
            let text = format!("more than {} connections at a time", WAYS_MAX / 2);
            return self.printer.fault(label, 0, &text);
        }
        let way = self.ways.entry(key).or_insert_with(|| match self.mux {
            true => OneWay::Mux(Box::new(MuxTrace::new(label.direction))),
            false => {
                OneWay::Stream(StreamTrace::new(label.direction.unwrap_or(Direction::ToProxy)))
            }
        });
        match way {
            OneWay::Stream(stream) => stream.feed(bytes, label, &mut self.printer),
            OneWay::Mux(mux) => mux.feed(bytes, label, &mut self.printer),
        }
    }

    /// The input itself is wrong at this label.
    pub(crate) fn fault(&mut self, label: Label, at: &str, text: &str) -> io::Result<()> {
        self.printer.fault_in(label, at, text)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.printer.flush()
    }

    /// The end of the input; returns the number of faults.
    pub(crate) fn finish(&mut self) -> io::Result<usize> {
        for ((connection, direction), way) in std::mem::take(&mut self.ways) {
            let direction = direction.or(self.from);
            let label = Label { connection, direction, ..self.last };
            way.finish(label, &mut self.printer)?;
        }
        self.printer.flush()?;
        Ok(self.printer.faults())
    }
}
