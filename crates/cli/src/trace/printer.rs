//! The lines of a trace.

use std::io::{self, BufWriter, IsTerminal, Write};

use sspc_wire::Direction;

use crate::console::{Painter, Style, wants_color};

use super::capture::{TraceCapture, Whole};
use super::text;
use crate::exit::Failure;

/// Bytes of a frame's body that are kept to be shown.
const KEPT: usize = 256;

/// Where a line comes from: its first columns.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Label {
    /// µs since any start.
    pub(crate) time_us: Option<u64>,
    /// The connection's number in a recording.
    pub(crate) connection: Option<u64>,
    pub(crate) direction: Option<Direction>,
    /// The channel of the mux.
    pub(crate) channel: Option<u8>,
    /// The line of the recording.
    pub(crate) line: Option<u64>,
}

/// Writes lines or a capture, and counts faults.
pub(crate) struct Printer {
    out: BufWriter<Box<dyn Write + Send>>,
    /// In the place of lines.
    capture: Option<TraceCapture>,
    painter: Painter,
    /// Bodies are shown whole, in hex.
    full: bool,
    /// The time of the first line.
    start_us: Option<u64>,
    faults: usize,
}

impl Printer {
    /// Lines for stdout, written to it by `out`.
    pub(crate) fn new(out: impl Write + Send + 'static, full: bool) -> Self {
        let stdout = io::stdout();
        let color = stdout.is_terminal() && wants_color(&stdout);
        let painter = Painter { color };
        let out = BufWriter::new(Box::new(out) as Box<dyn Write + Send>);
        Self { out, capture: None, painter, full, start_us: None, faults: 0 }
    }

    /// No lines, but a capture.
    pub(crate) fn capture(capture: TraceCapture) -> Self {
        Self { capture: Some(capture), ..Self::new(io::empty(), false) }
    }

    /// Whether the bytes of frames are wanted.
    pub(super) fn captures(&self) -> bool {
        self.capture.is_some()
    }

    /// The bytes of a frame, and what is wrong with them.
    pub(super) fn bytes(&mut self, label: Label, frame: Whole<'_>, comment: Option<&str>) {
        if let Some(capture) = &mut self.capture {
            capture.frame(label, frame, comment);
        }
    }

    /// Why the capture is not complete, if so.
    pub(crate) fn capture_failure(&mut self) -> Option<Failure> {
        self.capture.as_mut().and_then(TraceCapture::failure)
    }

    /// How many bytes of a body are worth keeping.
    pub(crate) fn keep(&self) -> usize {
        if self.full { usize::from(u16::MAX) } else { KEPT }
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(capture) = &mut self.capture {
            capture.flush();
        }
        self.out.flush()
    }

    /// A frame, and its body if all is to be shown.
    pub(crate) fn frame(&mut self, label: Label, text: &str, body: &[u8]) -> io::Result<()> {
        self.start(label)?;
        writeln!(self.out, "{text}")?;
        if self.full {
            for (row, bytes) in body.chunks(text::HEX_ROW).enumerate() {
                self.start(label)?;
                let row = text::hex_row(row * text::HEX_ROW, bytes);
                writeln!(self.out, "  {}", self.painter.paint(Style::Dim, row))?;
            }
        }
        Ok(())
    }

    /// Something that is no frame and no fault.
    pub(crate) fn note(&mut self, label: Label, text: &str) -> io::Result<()> {
        if let Some(capture) = &mut self.capture {
            capture.note(label, text);
        }
        self.start(label)?;
        writeln!(self.out, "{}", self.painter.paint(Style::Dim, format_args!("({text})")))
    }

    /// What came to harm, which is no fault: it is sent again.
    pub(crate) fn damage(&mut self, label: Label, text: &str) -> io::Result<()> {
        self.start(label)?;
        writeln!(self.out, "{}", self.painter.paint(Style::Bad, text))
    }

    /// Bytes that are no frame, from this byte of the stream or link on.
    pub(crate) fn fault(&mut self, label: Label, at: u64, text: &str) -> io::Result<()> {
        let line = label.line.map_or_else(String::new, |line| format!(", line {line}"));
        self.fault_in(label, &format!("at byte {at}{line}"), text)
    }

    /// Input that is not even bytes.
    pub(crate) fn fault_in(&mut self, label: Label, at: &str, text: &str) -> io::Result<()> {
        self.faults += 1;
        self.start(label)?;
        writeln!(self.out, "{} {at}: {text}", self.painter.paint(Style::Bad, "FAULT"))
    }

    /// `+0.000361 c0 → `
    fn start(&mut self, label: Label) -> io::Result<()> {
        if let Some(time_us) = label.time_us {
            let start_us = *self.start_us.get_or_insert(time_us);
            let us = time_us.saturating_sub(start_us);
            let time = format!("+{}.{:06}", us / 1_000_000, us % 1_000_000);
            write!(self.out, "{} ", self.painter.paint(Style::Dim, time))?;
        }
        if let Some(connection) = label.connection {
            write!(self.out, "c{connection} ")?;
        }
        match label.direction {
            Some(Direction::ToProxy) => write!(self.out, "→ ")?,
            Some(Direction::ToClient) => write!(self.out, "← ")?,
            None => {}
        }
        match label.channel {
            Some(channel) => write!(self.out, "  ch{channel} "),
            None => Ok(()),
        }
    }
}
