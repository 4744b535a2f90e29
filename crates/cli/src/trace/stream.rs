//! The frames of one stream in one direction.

use std::io;

use sspc_wire::{
    Direction, FrameError, FrameTracker, Layer, ToClientDecoder, ToProxyDecoder, mux_type,
};

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
                Sync::Known | Sync::Doubted => match self.step(&mut input, printer.keep()) {
                    Ok(None) => {}
                    Ok(Some(line)) => {
                        self.sync = Sync::Known;
                        printer.frame(label, &line, &self.body)?;
                    }
                    Err(error) => self.fault(error, label, printer)?,
                },
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

    /// Takes bytes up to the end of a frame or piece; the line of a frame that is complete.
    fn step(&mut self, input: &mut &[u8], keep: usize) -> Result<Option<String>, FrameError> {
        let Self { decoder, body, .. } = self;
        let before = *input;
        if self.frames.is_between_frames() {
            body.clear();
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
        let taken = before.len() - input.len();
        self.frames.advance(before.get(..taken).unwrap_or_default());
        found
    }

    fn fault(&mut self, error: FrameError, label: Label, printer: &mut Printer) -> io::Result<()> {
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
        printer.fault(label, self.frames.offset(), &text)
    }
}
