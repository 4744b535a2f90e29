//! The frames of one stream in one direction.

use std::io;

use sspc_capture::CaptureLayer;
use sspc_wire::{
    Direction, FrameError, FrameTracker, Layer, ToClientDecoder, ToProxyDecoder, mux_type,
};

use super::capture::Whole;
use super::frames;
use super::printer::{Label, Printer};

/// Decodes and prints.
#[derive(Debug)]
pub(super) struct StreamTrace {
    direction: Direction,
    decoder: Decoder,
    sync: Sync,
    frames: FrameTracker,
    /// What is kept of the frame's body.
    body: Vec<u8>,
    /// All of the frame that has come, for a capture.
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Decoder {
    ToProxy(ToProxyDecoder),
    ToClient(ToClientDecoder),
}

/// Whether it is known where frames begin. A wrong frame still has a length, so that
/// one of them can be skipped; after two in a row the lengths cannot be believed.
#[derive(Debug, Clone, Copy)]
enum Sync {
    Known,
    /// This many bytes of a wrong frame are still to come.
    Skipping(u64),
    /// The last frame was wrong.
    Doubted,
    Lost,
}

impl StreamTrace {
    pub(super) fn new(direction: Direction) -> Self {
        let decoder = match direction {
            Direction::ToProxy => Decoder::ToProxy(ToProxyDecoder::new()),
            Direction::ToClient => Decoder::ToClient(ToClientDecoder::new()),
        };
        Self {
            direction,
            decoder,
            sync: Sync::Known,
            frames: FrameTracker::new(Layer::Stream),
            body: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Forgets where frames begin, for good.
    pub(super) fn lose(&mut self) {
        self.sync = Sync::Lost;
    }

    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        while !input.is_empty() {
            match self.sync {
                Sync::Known | Sync::Doubted => {
                    match self.step(&mut input, printer.keep(), printer.captures()) {
                        Ok(None) => {}
                        Ok(Some(line)) => {
                            self.sync = Sync::Known;
                            printer.frame(label, &line, &self.body)?;
                            printer.bytes(label, self.whole(), None);
                        }
                        Err(error) => self.fault(error, input, label, printer)?,
                    }
                }
                Sync::Skipping(left) => {
                    let length = input.len() as u64;
                    let skipped = left.min(length);
                    let (wrong, rest) = input.split_at(skipped as usize);
                    self.frames.advance(wrong);
                    input = rest;
                    self.sync = match left - skipped {
                        0 => Sync::Doubted,
                        left => Sync::Skipping(left),
                    };
                }
                Sync::Lost => return Ok(()),
            }
        }
        Ok(())
    }

    /// How far a frame has come that has no end yet.
    pub(super) fn unfinished(&self) -> Option<(u64, String)> {
        let between = match &self.decoder {
            Decoder::ToProxy(decoder) => decoder.is_between_frames(),
            Decoder::ToClient(decoder) => decoder.is_between_frames(),
        };
        match self.sync {
            Sync::Known | Sync::Doubted if !between => {
                let frame = self.frames.current();
                let text = frames::cut(frame, self.frames.taken(), frame.length());
                Some((self.frames.offset(), text))
            }
            _ => None,
        }
    }

    /// The end of the stream's bytes.
    pub(super) fn finish(&self, label: Label, printer: &mut Printer) -> io::Result<()> {
        let Some((at, text)) = self.unfinished() else { return Ok(()) };
        printer.bytes(label, self.whole(), Some(&text));
        printer.fault(label, at, &text)
    }

    /// The frame's bytes, as far as they have come.
    fn whole(&self) -> Whole<'_> {
        let length = self.frames.current().length().unwrap_or(self.bytes.len());
        Whole { layer: CaptureLayer::Stream, bytes: &self.bytes, length }
    }

    /// Takes bytes up to the end of a frame or piece; the line of a frame that is complete.
    fn step(
        &mut self,
        input: &mut &[u8],
        keep: usize,
        keep_bytes: bool,
    ) -> Result<Option<String>, FrameError> {
        let Self { decoder, body, bytes, .. } = self;
        let before = *input;
        if self.frames.is_between_frames() {
            body.clear();
            bytes.clear();
        }
        let found = match decoder {
            Decoder::ToProxy(decoder) => {
                let found = decoder.next(input);
                found.map(|found| frames::to_proxy(&found?, body, keep))
            }
            Decoder::ToClient(decoder) => {
                let found = decoder.next(input);
                found.map(|found| frames::to_client(&found?, body, keep))
            }
        };
        let taken = before.get(..before.len() - input.len()).unwrap_or_default();
        self.frames.advance(taken);
        if keep_bytes {
            bytes.extend(taken);
        }
        found
    }

    /// `rest` is what came with the wrong frame's beginning, and may be of it.
    fn fault(
        &mut self,
        error: FrameError,
        rest: &[u8],
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        let expected = frames::expected(self.direction, error.frame, error.fault);
        let mut text = format!("{error}; expected {expected}");
        let left = self.frames.left();
        let is_mux = self.frames.offset() == 0
            && (mux_type::CHANNEL_REQ..=mux_type::RESET_TRANSPORT).contains(&error.frame);
        self.sync = match self.sync {
            _ if is_mux && label.channel.is_none() => {
                text.push_str("; this is a frame of the mux, try --mux");
                Sync::Lost
            }
            Sync::Known if left == 0 => Sync::Doubted,
            Sync::Known => Sync::Skipping(left),
            _ => Sync::Lost,
        };
        match self.sync {
            Sync::Skipping(left) => text.push_str(&format!("; skipping {left} bytes")),
            Sync::Lost => text.push_str("; the rest of this stream is not decoded"),
            Sync::Known | Sync::Doubted => {}
        }
        match &mut self.decoder {
            Decoder::ToProxy(decoder) => decoder.reset(),
            Decoder::ToClient(decoder) => decoder.reset(),
        }
        if printer.captures() {
            let left = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            self.bytes.extend(rest.get(..left).unwrap_or_default());
            let whole = self.whole();
            // A length that is not believed says nothing of what came.
            let is_lost = matches!(self.sync, Sync::Lost);
            let length = if is_lost { whole.bytes.len() } else { whole.length };
            printer.bytes(label, Whole { length, ..whole }, Some(&text));
        }
        printer.fault(label, self.frames.offset(), &text)
    }
}
