//! Every connection of the input, each with its two directions.

use std::collections::BTreeMap;
use std::io;

use super::Direction;
use super::line::Line;
use super::printer::{Place, Printer};
use super::stream::Stream;

/// Directions of connections that are decoded at a time: more are no recording of anything.
const SIDES_MAX: usize = 8192;

/// Bytes that came together, and where from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'b> {
    pub(super) place: Place,
    /// None for the end of the connection in this direction.
    pub(super) bytes: &'b [u8],
}

/// Decodes and prints.
pub(super) struct Links {
    printer: Printer,
    mux: bool,
    /// Which way bytes go of which the input does not tell.
    from: Option<Direction>,
    sides: BTreeMap<(Option<u64>, Option<Direction>), Side>,
    last: Place,
}

/// One direction of a connection.
#[derive(Debug)]
enum Side {
    Stream(Stream),
    Line(Box<Line>),
}

impl Side {
    /// The end of its bytes.
    fn finish(self, place: Place, printer: &mut Printer) -> io::Result<()> {
        match self {
            Self::Line(mut line) => line.finish(place, printer),
            Self::Stream(stream) => match stream.unfinished() {
                Some((at, text)) => printer.fault(place, at, &text),
                None => Ok(()),
            },
        }
    }
}

impl Links {
    pub(super) fn new(printer: Printer, mux: bool, from: Option<Direction>) -> Self {
        Self { printer, mux, from, sides: BTreeMap::new(), last: Place::default() }
    }

    pub(super) fn chunk(&mut self, chunk: Chunk<'_>) -> io::Result<()> {
        let Chunk { mut place, bytes } = chunk;
        self.last = place;
        let key = (place.connection, place.direction);
        let Some(first) = bytes.first() else {
            if let Some(side) = self.sides.remove(&key) {
                side.finish(place, &mut self.printer)?;
            }
            return self.printer.frame(place, "end", &[]);
        };
        if place.direction.is_none() {
            if self.from.is_none() && !self.mux {
                self.from = Direction::guess(*first);
            }
            place.direction = self.from;
        }
        if self.sides.len() >= SIDES_MAX && !self.sides.contains_key(&key) {
            let text = format!("more than {} connections at a time", SIDES_MAX / 2);
            return self.printer.fault(place, 0, &text);
        }
        let side = self.sides.entry(key).or_insert_with(|| match self.mux {
            true => Side::Line(Box::new(Line::new(place.direction))),
            false => Side::Stream(Stream::new(place.direction.unwrap_or(Direction::ToProxy))),
        });
        match side {
            Side::Stream(stream) => stream.feed(bytes, place, &mut self.printer),
            Side::Line(line) => line.feed(bytes, place, &mut self.printer),
        }
    }

    /// The input itself is wrong at this place.
    pub(super) fn fault(&mut self, place: Place, at: &str, text: &str) -> io::Result<()> {
        self.printer.fault_in(place, at, text)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.printer.flush()
    }

    /// The end of the input; returns the number of faults.
    pub(super) fn finish(&mut self) -> io::Result<usize> {
        for ((connection, direction), side) in std::mem::take(&mut self.sides) {
            let direction = direction.or(self.from);
            let place = Place { connection, direction, ..self.last };
            side.finish(place, &mut self.printer)?;
        }
        self.printer.flush()?;
        Ok(self.printer.faults())
    }
}
