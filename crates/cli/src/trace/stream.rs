//! The frames of one stream in one direction.

use std::io;

use sspc_wire::limits::FRAME_HEAD;
use sspc_wire::{FrameError, ToClientDecoder, ToProxyDecoder};

use super::frames;
use super::printer::{Label, Printer};
use crate::cable::Direction;

/// Decodes and prints.
#[derive(Debug)]
pub(super) struct Stream {
    direction: Direction,
    decoder: Decoder,
    sync: Sync,
    /// Bytes that came so far.
    at: u64,
    frame: Frame,
    /// What is kept of the frame's body.
    body: Vec<u8>,
}

#[derive(Debug)]
enum Decoder {
    ToProxy(ToProxyDecoder),
    ToClient(ToClientDecoder),
}

/// Whether it is known where frames begin. A frame that is wrong still tells its length, so that
/// one of them can be skipped; after two in a row the lengths cannot be believed.
#[derive(Debug, Clone, Copy)]
enum Sync {
    Known,
    /// So many bytes of a wrong frame are still to come.
    Skipping(u64),
    /// The last frame was wrong.
    Doubted,
    Lost,
}

/// How much of the frame came.
#[derive(Debug, Default)]
struct Frame {
    /// The first byte's label.
    at: u64,
    head: [u8; FRAME_HEAD],
    taken: u64,
}

impl Stream {
    pub(super) fn new(direction: Direction) -> Self {
        let decoder = match direction {
            Direction::ToProxy => Decoder::ToProxy(ToProxyDecoder::new()),
            Direction::ToClient => Decoder::ToClient(ToClientDecoder::new()),
        };
        Self {
            direction,
            decoder,
            sync: Sync::Known,
            at: 0,
            frame: Frame::default(),
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
                    input = input.get(skipped as usize..).unwrap_or_default();
                    self.at += skipped;
                    self.sync = match left - skipped {
                        0 => Sync::Doubted,
                        left => Sync::Skipping(left),
                    };
                }
                Sync::Lost => {
                    self.at += input.len() as u64;
                    return Ok(());
                }
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
                let Frame { at, head: [frame, ..], taken } = self.frame;
                Some((at, frames::cut(frame, taken, self.frame.length())))
            }
            _ => None,
        }
    }

    /// Takes bytes up to the end of a frame or piece; the line of a frame that is complete.
    fn step(&mut self, input: &mut &[u8], keep: usize) -> Result<Option<String>, FrameError> {
        let Self { decoder, frame, body, at, .. } = self;
        let before = *input;
        let mut begin = |is_new: bool| {
            if is_new {
                *frame = Frame { at: *at, ..Frame::default() };
                body.clear();
            }
        };
        let found = match decoder {
            Decoder::ToProxy(decoder) => {
                begin(decoder.is_between_frames());
                let found = decoder.next(input);
                found.map(|found| frames::to_proxy(&found?, body, keep))
            }
            Decoder::ToClient(decoder) => {
                begin(decoder.is_between_frames());
                let found = decoder.next(input);
                found.map(|found| frames::to_client(&found?, body, keep))
            }
        };
        let taken = before.len() - input.len();
        self.frame.take(before.get(..taken).unwrap_or_default());
        self.at += taken as u64;
        found
    }

    fn fault(&mut self, error: FrameError, label: Label, printer: &mut Printer) -> io::Result<()> {
        let expected = frames::expected(self.direction, error.frame, error.fault);
        let mut text = format!("{error}; expected {expected}");
        let left = self.frame.length().unwrap_or_default().saturating_sub(self.frame.taken);
        let is_mux = self.frame.at == 0 && (0xf0..=0xf9).contains(&error.frame);
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
        printer.fault(label, self.frame.at, &text)
    }
}

impl Frame {
    /// Counts bytes, and keeps those of the head.
    fn take(&mut self, bytes: &[u8]) {
        let from = usize::try_from(self.taken).unwrap_or(FRAME_HEAD);
        for (kept, byte) in self.head.iter_mut().skip(from).zip(bytes) {
            *kept = *byte;
        }
        self.taken += bytes.len() as u64;
    }

    /// The bytes that it has in all, once its head is there.
    fn length(&self) -> Option<u64> {
        let [_, high, low] = self.head;
        let body = u64::from(u16::from_be_bytes([high, low]));
        (self.taken >= FRAME_HEAD as u64).then_some(FRAME_HEAD as u64 + body)
    }
}
