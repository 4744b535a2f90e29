//! The frames of the mux on one line in one direction, and the streams in its channels.

use std::collections::BTreeMap;
use std::io;
use std::mem;

use sspc_capture::CaptureLayer;
use sspc_wire::{Direction, FrameTracker, Layer, MuxDecoder, MuxError, MuxFrame};

use super::capture::Whole;
use super::frames;
use super::printer::{Label, Printer};
use super::stream::StreamTrace;
use super::text::wall_clock;

/// When nothing came for this long in the middle of a frame, and then a RESET_TRANSPORT, the
/// sender began again and the frame has no end.
const STALL_US: u64 = 200_000;

/// Where frames begin after it was lost: a PING whose time is below 2^56 µs behind a
/// RESET_TRANSPORT, or a PING whose time is below 2^48 µs.
const STARTS: [[u8; 3]; 2] = [[0xf9, 0xf6, 0x00], [0xf6, 0x00, 0x00]];

/// Set by senders of this project in the time of a PING while their link is down, and there if they know
/// packets.
const MARKS: [(u64, &str); 2] = [(1 << 55, "(down)"), (1 << 54, "(packets)")];

/// The time in a PING, and with it the marks that may be in it.
fn time(us: u64) -> String {
    let marks = MARKS.iter().filter(|(bit, _)| us & bit != 0);
    let time = us & !MARKS.iter().fold(0, |bits, (bit, _)| bits | bit);
    let marks: String = marks.map(|(_, text)| *text).collect();
    format!("{time}us{marks}")
}

/// Decodes and prints.
#[derive(Debug)]
pub(super) struct MuxTrace {
    direction: Option<Direction>,
    decoder: MuxDecoder,
    frames: FrameTracker,
    streams: BTreeMap<u8, StreamTrace>,
    /// Bytes were lost since the last reset: what a channel carries that was opened before that
    /// may begin in the middle of a frame.
    has_gap: bool,
    /// While it is not known where frames begin.
    search: Option<Search>,
    heard_us: Option<u64>,
    /// A 0 came between two frames: before packets, or what is no frame.
    zero: bool,
    /// All of the frame that has come, for a capture.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Search {
    /// Bytes behind the frame that was wrong.
    passed: u64,
    last: [u8; 3],
}

impl MuxTrace {
    /// A line whose bytes go this way, or one of which that is still to be found out.
    pub(super) fn new(direction: Option<Direction>) -> Self {
        Self {
            direction,
            decoder: MuxDecoder::new(),
            frames: FrameTracker::new(Layer::Mux),
            streams: BTreeMap::new(),
            has_gap: false,
            search: None,
            heard_us: None,
            zero: false,
            bytes: Vec::new(),
        }
    }

    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        self.look_for_stall(input, label, printer)?;
        while !input.is_empty() {
            if self.search.is_none() {
                self.step(&mut input, label, printer)?;
            } else if let Some(start) = self.look_for_start(&mut input) {
                self.found(start, label, printer)?;
            }
        }
        Ok(())
    }

    /// The same of bytes that are in no packet, but may be followed by packets.
    pub(super) fn feed_plain(
        &mut self,
        input: &[u8],
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        if mem::take(&mut self.zero) {
            self.feed(&[0], label, printer)?;
        }
        self.zero = input == [0] && self.search.is_none() && self.decoder.is_between_frames();
        if self.zero { Ok(()) } else { self.feed(input, label, printer) }
    }

    /// The end of the line's bytes.
    pub(super) fn finish(&mut self, label: Label, printer: &mut Printer) -> io::Result<()> {
        self.feed_plain(&[], label, printer)?;
        let label = self.label(label);
        if let Some(search) = self.search.take() {
            let skipped = self.frames.taken() + search.passed;
            return printer.note(label, &format!("no frame found in the last {skipped} bytes"));
        }
        if !self.decoder.is_between_frames() {
            let text = frames::cut(self.frames.current(), self.frames.taken(), None);
            printer.bytes(label, self.whole(), Some(&text));
            printer.fault(label, self.frames.offset(), &text)?;
        }
        for (channel, stream) in mem::take(&mut self.streams) {
            stream.finish(Label { channel: Some(channel), ..label }, printer)?;
        }
        Ok(())
    }

    pub(super) fn label(&self, label: Label) -> Label {
        Label { direction: self.direction, ..label }
    }

    /// What carries the frames begins again, or goes on behind a gap: here a frame begins.
    pub(super) fn restart(
        &mut self,
        has_gap: bool,
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        let label = self.label(label);
        match self.search.take() {
            Some(search) => self.frames.skip(search.passed),
            None if self.decoder.is_between_frames() => {}
            None => {
                let text = frames::cut(self.frames.current(), self.frames.taken(), None);
                printer.note(label, &text)?;
                self.frames.resync();
            }
        }
        self.decoder.reset();
        self.has_gap = has_gap;
        self.heard_us = None;
        self.zero = false;
        self.end_streams(label, printer)
    }

    /// Takes bytes up to the end of a frame or piece.
    fn step(&mut self, input: &mut &[u8], label: Label, printer: &mut Printer) -> io::Result<()> {
        let before = *input;
        if self.decoder.is_between_frames() {
            self.bytes.clear();
        }
        let found = self.decoder.next(input);
        let taken = before.get(..before.len() - input.len()).unwrap_or_default();
        self.frames.advance(taken);
        if printer.captures() {
            self.bytes.extend(taken);
        }
        match found {
            Ok(None) => Ok(()),
            Ok(Some(frame)) => self.show(frame, label, printer),
            Err(error) => self.lost(error, label, printer),
        }
    }

    fn show(&mut self, frame: MuxFrame<'_>, label: Label, printer: &mut Printer) -> io::Result<()> {
        self.guess(&frame);
        let label = self.label(label);
        let text = match frame {
            MuxFrame::Data { channel, piece } => {
                if piece.is_first() {
                    printer.frame(label, &format!("MUX ch{channel} {} bytes", piece.total), &[])?;
                }
                if piece.is_last() {
                    printer.bytes(label, self.whole(), None);
                }
                let direction = self.direction.unwrap_or(Direction::ToProxy);
                let stream = self.streams.entry(channel).or_insert_with(|| {
                    let mut stream = StreamTrace::new(direction);
                    if self.has_gap {
                        stream.lose();
                    }
                    stream
                });
                let label = Label { channel: Some(channel), ..label };
                return stream.feed(piece.data, label, printer);
            }
            MuxFrame::ChannelReq(channel) => format!("CHANNEL_REQ ch{channel}"),
            MuxFrame::ChannelAck(channel) => format!("CHANNEL_ACK ch{channel}"),
            MuxFrame::ChannelNack(channel) => format!("CHANNEL_NACK ch{channel}"),
            MuxFrame::ChannelClose(channel) => format!("CHANNEL_CLOSE ch{channel}"),
            MuxFrame::ChannelCloseAck(channel) => format!("CHANNEL_CLOSE_ACK ch{channel}"),
            MuxFrame::Ping { sent_us } => format!("PING sent={}", time(sent_us)),
            MuxFrame::Pong { echo_us, sent_us } => {
                format!("PONG echo={} sent={}", time(echo_us), time(sent_us))
            }
            MuxFrame::PongAck { unix_us } => {
                format!("PONGACK unix={unix_us}us ({})", wall_clock(unix_us))
            }
            MuxFrame::Reset => "RESET_TRANSPORT".to_owned(),
            other => format!("{other:?}"),
        };
        printer.frame(label, &text, &[])?;
        printer.bytes(label, self.whole(), None);
        match frame {
            MuxFrame::ChannelReq(channel) | MuxFrame::ChannelAck(channel) => {
                self.end_stream(channel, label, printer)?;
                let direction = self.direction.unwrap_or(Direction::ToProxy);
                self.streams.insert(channel, StreamTrace::new(direction));
                Ok(())
            }
            MuxFrame::ChannelNack(channel)
            | MuxFrame::ChannelClose(channel)
            | MuxFrame::ChannelCloseAck(channel) => self.end_stream(channel, label, printer),
            MuxFrame::Reset => {
                self.has_gap = false;
                self.end_streams(label, printer)
            }
            _ => Ok(()),
        }
    }

    /// The frame's bytes, as far as they have come.
    fn whole(&self) -> Whole<'_> {
        let length = self.frames.current().length().unwrap_or(0).max(self.bytes.len());
        Whole { layer: CaptureLayer::Mux, bytes: &self.bytes, length }
    }

    /// Which way the bytes go, from what only one end sends.
    fn guess(&mut self, frame: &MuxFrame<'_>) {
        if self.direction.is_some() {
            return;
        }
        self.direction = match frame {
            MuxFrame::ChannelReq(_) => Some(Direction::ToProxy),
            MuxFrame::ChannelAck(_) => Some(Direction::ToClient),
            MuxFrame::Data { channel, piece } if !self.streams.contains_key(channel) => {
                piece.data.first().and_then(|frame| Direction::of(*frame))
            }
            _ => None,
        };
    }

    fn end_streams(&mut self, label: Label, printer: &mut Printer) -> io::Result<()> {
        let channels: Vec<u8> = self.streams.keys().copied().collect();
        channels.into_iter().try_for_each(|channel| self.end_stream(channel, label, printer))
    }

    /// The channel is gone or begins again, which may well be in the middle of a frame.
    fn end_stream(&mut self, channel: u8, label: Label, printer: &mut Printer) -> io::Result<()> {
        let stream = self.streams.remove(&channel);
        match stream.and_then(|stream| stream.unfinished()) {
            Some((_, text)) => printer.note(Label { channel: Some(channel), ..label }, &text),
            None => Ok(()),
        }
    }

    fn lost(&mut self, error: MuxError, label: Label, printer: &mut Printer) -> io::Result<()> {
        let (mut text, expected) = match error {
            MuxError::Length(_) => (error.to_string(), "1 to 65534"),
            error => (error.to_string(), "0xf0 to 0xf9"),
        };
        text.push_str("; expected ");
        text.push_str(expected);
        match error {
            MuxError::NoFrame(byte)
                if self.frames.offset() == 0 && Direction::of(byte).is_some() =>
            {
                text.push_str("; if this is one stream, try without --mux");
            }
            _ => text.push_str("; looking for the next PING"),
        }
        // What their bytes after the gap belong to is not known.
        self.streams.clear();
        self.has_gap = true;
        self.search = Some(Search { passed: 0, last: [0; 3] });
        printer.bytes(self.label(label), self.whole(), Some(&text));
        printer.fault(self.label(label), self.frames.offset(), &text)
    }

    /// Takes bytes until a frame seems to begin.
    fn look_for_start(&mut self, input: &mut &[u8]) -> Option<&'static [u8; 3]> {
        let search = self.search.as_mut()?;
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            search.passed += 1;
            let [_, a, b] = search.last;
            search.last = [a, b, *byte];
            if let Some(start) = STARTS.iter().find(|start| **start == search.last) {
                return Some(start);
            }
        }
        None
    }

    /// Goes on where a frame begins.
    fn found(&mut self, start: &[u8; 3], label: Label, printer: &mut Printer) -> io::Result<()> {
        if let Some(search) = self.search.take() {
            let lost_at = self.frames.offset();
            self.frames.skip(search.passed.saturating_sub(start.len() as u64));
            let at = self.frames.offset();
            let text = format!("{} bytes skipped, frames again from byte {at} on", at - lost_at);
            printer.note(self.label(label), &text)?;
        }
        let mut input = start.as_slice();
        while !input.is_empty() {
            self.step(&mut input, label, printer)?;
        }
        Ok(())
    }

    fn look_for_stall(
        &mut self,
        input: &[u8],
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        let before_us = mem::replace(&mut self.heard_us, label.time_us);
        let (Some(now_us), Some(before_us)) = (label.time_us, before_us) else { return Ok(()) };
        let is_inside = self.search.is_none() && !self.decoder.is_between_frames();
        if is_inside
            && now_us.saturating_sub(before_us) >= STALL_US
            && input.starts_with(&[0xf9, 0xf6])
        {
            let (at, cut) = (self.frames.offset(), self.frames.taken());
            let text =
                format!("{}; the link is reset", frames::cut(self.frames.current(), cut, None));
            self.decoder.reset();
            printer.bytes(self.label(label), self.whole(), Some(&text));
            self.frames.resync();
            return printer.fault(self.label(label), at, &text);
        }
        Ok(())
    }
}
