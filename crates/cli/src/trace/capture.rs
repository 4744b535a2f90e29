//! The frames of a trace as a capture for Wireshark.

use std::io;
use std::time::Duration;

use sspc_capture::{CaptureFile, CaptureLayer, CapturedFrame, Source};
use sspc_wire::Direction;

use super::printer::Label;
use crate::capture_to::CaptureTo;
use crate::exit::Failure;

/// A frame's bytes, and how many it has in all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'b> {
    pub(super) layer: CaptureLayer,
    pub(super) bytes: &'b [u8],
    pub(super) length: usize,
}

/// Writes the frames that are traced.
pub(crate) struct TraceCapture {
    file: CaptureFile,
    to: CaptureTo,
    /// What the times of labels count from, since 1970.
    start: Duration,
    /// What is to be said of the next frame of this connection and direction.
    note: Option<(Label, String)>,
    error: Option<io::Error>,
}

impl TraceCapture {
    /// Begins the file.
    pub(crate) fn create(to: &CaptureTo, start: Duration) -> Result<Self, Failure> {
        Ok(Self { file: to.create()?, to: to.clone(), start, note: None, error: None })
    }

    pub(super) fn frame(&mut self, label: Label, frame: Whole<'_>, comment: Option<&str>) {
        let about =
            |note: &Label| (note.connection, note.direction) == (label.connection, label.direction);
        let note = self.note.take_if(|(note, _)| about(note)).map(|(_, text)| text);
        let comment = match (note, comment) {
            (Some(note), Some(comment)) => Some(format!("{note}; {comment}")),
            (note, comment) => note.or_else(|| comment.map(str::to_owned)),
        };
        let connection = label.connection.unwrap_or(0);
        let name = match (label.channel, frame.layer) {
            (Some(channel), CaptureLayer::Stream) => format!("c{connection} ch{channel}"),
            _ => format!("c{connection}"),
        };
        let written = self.file.write(&CapturedFrame {
            time: self.start + Duration::from_micros(label.time_us.unwrap_or(0)),
            source: Source { name: &name, description: "" },
            direction: label.direction.unwrap_or(Direction::ToProxy),
            layer: frame.layer,
            bytes: frame.bytes,
            length: frame.length,
            comment: comment.as_deref(),
        });
        self.keep(written);
    }

    pub(super) fn note(&mut self, label: Label, text: &str) {
        self.note = Some((label, text.to_owned()));
    }

    pub(super) fn flush(&mut self) {
        let flushed = self.file.flush();
        self.keep(flushed);
    }

    /// Why not everything was written, if so.
    pub(super) fn failure(&mut self) -> Option<Failure> {
        self.error.take().map(|error| self.to.failure(&error))
    }

    fn keep(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}
