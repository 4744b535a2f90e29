//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng), as far as captures have them.
//!
//! ```text
//!   type u32   length u32   fields   options: (code u16, length u16, value, padding)... 0 0   length u32
//! ```
//!
//! Numbers are little-endian, as the section's header says. What is in front of a frame's bytes, the tags of
//! Wireshark's exported PDUs, is big-endian.

use std::time::Duration;

use sspc_wire::Direction;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// `WIRESHARK_UPPER_PDU`.
const LINK_TYPE: u16 = 252;
/// The tag that names a frame's dissector.
const TAG_DISSECTOR: u16 = 12;

const OPTION_COMMENT: u16 = 1;
const OPTION_PROGRAM: u16 = 4;
const OPTION_NAME: u16 = 2;
const OPTION_DESCRIPTION: u16 = 3;
const OPTION_FLAGS: u16 = 2;

/// Bytes of a name, a description or a comment; what is longer is cut.
const TEXT_MAX: usize = 1024;

/// What a frame is a frame of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureLayer {
    /// A stream: SSS frames.
    Stream,
    /// The mux of a line.
    Mux,
    /// A line's packets, without their stuffing; of those that are damaged, what came.
    Packet,
}

impl CaptureLayer {
    /// The name of the dissector in `contrib/wireshark/sspc.lua`, and of its protocol in filters.
    pub const fn dissector(self) -> &'static str {
        match self {
            Self::Stream => "sspc",
            Self::Mux => "sspc_mux",
            Self::Packet => "sspc_packet",
        }
    }
}

/// Where frames come from: an interface of the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source<'s> {
    /// The stream or the line: what Wireshark calls `frame.interface_name`. Sources of one name and
    /// description are one.
    pub name: &'s str,
    /// Whose it is; empty if that is not known.
    pub description: &'s str,
}

/// A frame that passed.
#[derive(Clone, Copy, Debug)]
pub struct CapturedFrame<'f> {
    /// When its last byte passed, since 1970.
    pub time: Duration,
    /// Where.
    pub source: Source<'f>,
    /// Which way. In the file, what goes to the proxy is inbound.
    pub direction: Direction,
    /// What it is a frame of.
    pub layer: CaptureLayer,
    /// The frame, or its beginning. At most [`CapturedFrame::BYTES_MAX`] bytes are written.
    pub bytes: &'f [u8],
    /// How many bytes it has in all.
    pub length: usize,
    /// What is to be said of it, such as a fault.
    pub comment: Option<&'f str>,
}

impl CapturedFrame<'_> {
    /// No frame of any layer has more bytes.
    pub const BYTES_MAX: usize = 3 + 65_535;

    /// The frame as a block of the interface of this number, behind what `out` has.
    pub(crate) fn write(&self, interface: u32, out: &mut Vec<u8>) {
        let bytes = self.bytes.get(..Self::BYTES_MAX).unwrap_or(self.bytes);
        let head = head(self.layer);
        let captured = head.len() + bytes.len();
        let length = head.len() + self.length.max(bytes.len());
        let time_us = u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX);
        block(out, PACKET, |out| {
            out.extend(interface.to_le_bytes());
            out.extend(((time_us >> 32) as u32).to_le_bytes());
            out.extend((time_us as u32).to_le_bytes());
            out.extend(u32_of(captured).to_le_bytes());
            out.extend(u32_of(length).to_le_bytes());
            out.extend(&head);
            out.extend(bytes);
            pad(out, captured);
            let flags: u32 = match self.direction {
                Direction::ToProxy => 1,
                Direction::ToClient => 2,
            };
            option(out, OPTION_FLAGS, &flags.to_le_bytes());
            if let Some(comment) = self.comment {
                text(out, OPTION_COMMENT, comment);
            }
            option(out, 0, &[]);
        });
    }
}

/// The beginning of a file.
pub(crate) fn section(out: &mut Vec<u8>) {
    block(out, SECTION, |out| {
        out.extend(0x1a2b_3c4d_u32.to_le_bytes());
        out.extend([1, 0, 0, 0]);
        // How long the section is nobody knows yet.
        out.extend([0xff; 8]);
        text(out, OPTION_PROGRAM, concat!("sspc ", env!("CARGO_PKG_VERSION")));
        option(out, 0, &[]);
    });
}

/// An interface. Times are µs, the default.
pub(crate) fn interface(out: &mut Vec<u8>, source: Source<'_>) {
    block(out, INTERFACE, |out| {
        out.extend(LINK_TYPE.to_le_bytes());
        // Reserved; no limit to what is captured of a frame.
        out.extend([0; 6]);
        text(out, OPTION_NAME, source.name);
        if !source.description.is_empty() {
            text(out, OPTION_DESCRIPTION, source.description);
        }
        option(out, 0, &[]);
    });
}

/// What is in front of a frame: the name of its dissector.
fn head(layer: CaptureLayer) -> Vec<u8> {
    let name = layer.dissector().as_bytes();
    let padded = name.len().next_multiple_of(4);
    let mut head = Vec::with_capacity(padded + 8);
    head.extend(TAG_DISSECTOR.to_be_bytes());
    head.extend(u16_of(padded).to_be_bytes());
    head.extend(name);
    head.resize(4 + padded, 0);
    head.extend([0; 4]);
    head
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = u32_of(out.len() + 4 - start).to_le_bytes();
    if let Some(field) = out.get_mut(start + 4..start + 8) {
        field.copy_from_slice(&length);
    }
    out.extend(length);
}

fn text(out: &mut Vec<u8>, code: u16, value: &str) {
    let end = value.floor_char_boundary(TEXT_MAX);
    option(out, code, value.get(..end).unwrap_or_default().as_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend(u16_of(value.len()).to_le_bytes());
    out.extend(value);
    pad(out, value.len());
}

/// Zeros up to the next multiple of 4, behind so many bytes.
fn pad(out: &mut Vec<u8>, length: usize) {
    let padding = length.next_multiple_of(4) - length;
    out.extend([0; 4].iter().take(padding));
}

/// Lengths in here are bounded far below; what is not is cut before.
fn u16_of(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8], length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = CapturedFrame {
            time: Duration::from_micros((7 << 32) + 5),
            source: Source { name: "c0", description: "" },
            direction: Direction::ToClient,
            layer: CaptureLayer::Packet,
            bytes,
            length,
            comment: Some("ümlaut"),
        };
        frame.write(3, &mut out);
        out
    }

    #[test]
    fn a_frame_is_a_block_that_says_its_length_at_both_ends() {
        for length in 0..9 {
            let out = frame(&[0xaa; 9][..length], 100);
            assert_eq!(out.len() % 4, 0);
            let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
            assert_eq!((word(0), word(4), word(8)), (PACKET, out.len() as u32, 3));
            assert_eq!(word(out.len() - 4), out.len() as u32);
            assert_eq!((word(12), word(16)), (7, 5));
            assert_eq!((word(20), word(24)), (20 + length as u32, 120));
            assert_eq!(&out[28..48], b"\0\x0c\0\x0csspc_packet\0\0\0\0\0");
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut out = Vec::new();
        option(&mut out, 1, &[]);
        text(&mut out, 1, &"ü".repeat(1000));
        assert_eq!(out.len(), 4 + 4 + TEXT_MAX);
        let out = frame(&vec![0; CapturedFrame::BYTES_MAX + 1], 0);
        assert!(out.len() < CapturedFrame::BYTES_MAX + 200);
    }
}
