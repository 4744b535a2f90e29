//! Lines, as `sspc decode` and `sspc tap` print them.

use std::io::{self, BufWriter, IsTerminal, Write};

use crate::terminal::{Painter, Style, wants_color};

use super::{Direction, text};

/// Bytes of a frame's body that are kept to be shown.
const KEPT: usize = 256;

/// Where a line comes from: its first columns.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// µs since any start.
    pub(super) time_us: Option<u64>,
    /// The connection's number in a recording.
    pub(super) connection: Option<u64>,
    pub(super) direction: Option<Direction>,
    /// The channel of the mux.
    pub(super) channel: Option<u8>,
    /// The line of the recording.
    pub(super) line: Option<u64>,
}

/// Writes lines, and counts faults.
pub(super) struct Printer {
    out: BufWriter<Box<dyn Write + Send>>,
    painter: Painter,
    /// Bodies are shown whole, in hex.
    full: bool,
    /// The time of the first line.
    start_us: Option<u64>,
    faults: usize,
}

impl Printer {
    /// Lines for stdout, written to it by `out`.
    pub(super) fn new(out: impl Write + Send + 'static, full: bool) -> Self {
        let stdout = io::stdout();
        let color = stdout.is_terminal() && wants_color(&stdout);
        let painter = Painter { color };
        Self { out: BufWriter::new(Box::new(out)), painter, full, start_us: None, faults: 0 }
    }

    /// How many bytes of a body are worth keeping.
    pub(super) fn keep(&self) -> usize {
        if self.full { usize::from(u16::MAX) } else { KEPT }
    }

    pub(super) fn faults(&self) -> usize {
        self.faults
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A frame, and its body if all is to be shown.
    pub(super) fn frame(&mut self, place: Place, text: &str, body: &[u8]) -> io::Result<()> {
        self.start(place)?;
        writeln!(self.out, "{text}")?;
        if self.full {
            for (row, bytes) in body.chunks(text::HEX_ROW).enumerate() {
                self.start(place)?;
                let row = text::hex_row(row * text::HEX_ROW, bytes);
                writeln!(self.out, "  {}", self.painter.paint(Style::Dim, row))?;
            }
        }
        Ok(())
    }

    /// Something that is no frame and no fault.
    pub(super) fn note(&mut self, place: Place, text: &str) -> io::Result<()> {
        self.start(place)?;
        writeln!(self.out, "{}", self.painter.paint(Style::Dim, format_args!("({text})")))
    }

    /// Bytes that are no frame, from this byte of the stream or link on.
    pub(super) fn fault(&mut self, place: Place, at: u64, text: &str) -> io::Result<()> {
        let line = place.line.map_or_else(String::new, |line| format!(", line {line}"));
        self.fault_in(place, &format!("at byte {at}{line}"), text)
    }

    /// Input that is not even bytes.
    pub(super) fn fault_in(&mut self, place: Place, at: &str, text: &str) -> io::Result<()> {
        self.faults += 1;
        self.start(place)?;
        writeln!(self.out, "{} {at}: {text}", self.painter.paint(Style::Bad, "FAULT"))
    }

    /// `+0.000361 c0 → `
    fn start(&mut self, place: Place) -> io::Result<()> {
        if let Some(time_us) = place.time_us {
            let start_us = *self.start_us.get_or_insert(time_us);
            let us = time_us.saturating_sub(start_us);
            let time = format!("+{}.{:06}", us / 1_000_000, us % 1_000_000);
            write!(self.out, "{} ", self.painter.paint(Style::Dim, time))?;
        }
        if let Some(connection) = place.connection {
            write!(self.out, "c{connection} ")?;
        }
        match place.direction {
            Some(Direction::ToProxy) => write!(self.out, "→ ")?,
            Some(Direction::ToClient) => write!(self.out, "← ")?,
            None => {}
        }
        match place.channel {
            Some(channel) => write!(self.out, "  ch{channel} "),
            None => Ok(()),
        }
    }
}
