//! What the input is written in: a recording, hex digits or the bytes themselves.

use std::io;

use serde_json::Value;
use sspc_wire::Direction;

use super::DecodeFormat;
use crate::trace::{Connections, Label, LabelledBytes};

/// The longest line of a recording in bytes; what is longer is none.
const LINE_MAX: usize = 4 << 20;

/// Finds bytes in the input.
#[derive(Debug)]
pub(super) enum Source {
    /// The first byte decides.
    Undecided,
    Raw,
    Hex(Hex),
    Recording(Recording),
}

impl Source {
    pub(super) fn new(format: DecodeFormat) -> Self {
        match format {
            DecodeFormat::Auto => Self::Undecided,
            DecodeFormat::Raw => Self::Raw,
            DecodeFormat::Hex => Self::Hex(Hex::new()),
            DecodeFormat::Recording => Self::Recording(Recording::default()),
        }
    }

    /// Input that came at this time, if that means something.
    pub(super) fn feed(
        &mut self,
        input: &[u8],
        time_us: Option<u64>,
        connections: &mut Connections,
    ) -> io::Result<()> {
        if let (Self::Undecided, Some(first)) = (&self, input.first()) {
            *self = match first {
                b'{' => Self::Recording(Recording::default()),
                _ => Self::Raw,
            };
        }
        let label = Label { time_us, ..Label::default() };
        match self {
            Self::Undecided => Ok(()),
            Self::Raw => connections.show(LabelledBytes { label, bytes: input }),
            Self::Hex(hex) => hex.feed(input, label, connections),
            Self::Recording(recording) => recording.feed(input, connections),
        }
    }

    /// The end of the input.
    pub(super) fn finish(
        &mut self,
        time_us: Option<u64>,
        connections: &mut Connections,
    ) -> io::Result<()> {
        match self {
            Self::Undecided | Self::Raw => Ok(()),
            Self::Hex(hex) => hex.finish(Label { time_us, ..Label::default() }, connections),
            Self::Recording(recording) => recording.line(connections),
        }
    }
}

/// Pairs of hex digits; blanks, commas and `0x` between them mean nothing, and `;` and `#` begin a
/// comment.
#[derive(Debug)]
pub(super) struct Hex {
    high: Option<u8>,
    /// The rest of the line is no digits.
    skip: bool,
    line: u64,
    column: u64,
    bytes: Vec<u8>,
}

impl Hex {
    fn new() -> Self {
        Self { high: None, skip: false, line: 1, column: 0, bytes: Vec::new() }
    }

    fn feed(
        &mut self,
        input: &[u8],
        label: Label,
        connections: &mut Connections,
    ) -> io::Result<()> {
        for byte in input {
            self.column += 1;
            let digit = char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            match (byte, digit) {
                (b'\n', _) => {
                    self.half(label, connections)?;
                    self.skip = false;
                    self.line += 1;
                    self.column = 0;
                }
                _ if self.skip => {}
                (b'x' | b'X', _) if self.high == Some(0) => self.high = None,
                (_, Some(digit)) => match self.high.take() {
                    None => self.high = Some(digit),
                    Some(high) => self.bytes.push(high << 4 | digit),
                },
                (b' ' | b'\t' | b'\r' | b',', _) => self.half(label, connections)?,
                (b';' | b'#', _) => {
                    self.half(label, connections)?;
                    self.skip = true;
                }
                _ => {
                    let text = format!("'{}' is not a hex digit", byte.escape_ascii());
                    self.fault(&text, label, connections)?;
                }
            }
        }
        self.pass(label, connections)
    }

    /// Half a byte is none.
    fn half(&mut self, label: Label, connections: &mut Connections) -> io::Result<()> {
        match self.high {
            Some(_) => self.fault("half a byte; expected two digits", label, connections),
            None => Ok(()),
        }
    }

    fn fault(&mut self, text: &str, label: Label, connections: &mut Connections) -> io::Result<()> {
        self.high = None;
        self.skip = true;
        self.pass(label, connections)?;
        let at = format!("in line {}, column {}", self.line, self.column);
        connections.fault(label, &at, &format!("{text}; the rest of the line is skipped"))
    }

    fn pass(&mut self, label: Label, connections: &mut Connections) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let passed = connections.show(LabelledBytes { label, bytes: &self.bytes });
        self.bytes.clear();
        passed
    }

    fn finish(&mut self, label: Label, connections: &mut Connections) -> io::Result<()> {
        self.column += 1;
        self.half(label, connections)?;
        self.pass(label, connections)
    }
}

/// A JSON object a line: `{"t": 326512, "c": 0, "d": "p2c", "x": "5700050100000000"}`.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// The line so far.
    text: Vec<u8>,
    number: u64,
}

impl Recording {
    fn feed(&mut self, input: &[u8], connections: &mut Connections) -> io::Result<()> {
        for part in input.split_inclusive(|byte| *byte == b'\n') {
            let room = (LINE_MAX + 1).saturating_sub(self.text.len());
            self.text.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                self.line(connections)?;
            }
        }
        Ok(())
    }

    /// The line is complete.
    fn line(&mut self, connections: &mut Connections) -> io::Result<()> {
        self.number += 1;
        let parsed = match self.text.trim_ascii() {
            b"" => Ok(None),
            text if text.len() >= LINE_MAX => Err(format!("longer than {} MiB", LINE_MAX >> 20)),
            text => parse(text).map(Some),
        };
        self.text.clear();
        match parsed {
            Ok(None) => Ok(()),
            Ok(Some((label, bytes))) => {
                let label = Label { line: Some(self.number), ..label };
                connections.show(LabelledBytes { label, bytes: &bytes })
            }
            Err(text) => {
                let at = format!("in line {}", self.number);
                connections.fault(Label::default(), &at, &format!("{text}; the line is skipped"))
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<(Label, Vec<u8>), String> {
    let line: Value = serde_json::from_slice(text).map_err(|error| {
        let error = error.to_string().replace(" at line 1 column ", " at column ");
        format!("not JSON: {error}")
    })?;
    let number = |name: &str| match line.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            None => Err(format!("\"{name}\" is {value}; expected a whole number")),
            number => Ok(number),
        },
    };
    let direction = match line.get("d").and_then(Value::as_str) {
        Some("c2p") => Direction::ToProxy,
        Some("p2c") => Direction::ToClient,
        _ => return Err("expected \"d\" to be \"c2p\" or \"p2c\"".to_owned()),
    };
    let Some(digits) = line.get("x").and_then(Value::as_str) else {
        return Err("expected \"x\" to be a string of hex digits".to_owned());
    };
    let label = Label {
        time_us: number("t")?,
        connection: Some(number("c")?.unwrap_or(0)),
        direction: Some(direction),
        ..Label::default()
    };
    Ok((label, bytes_of(digits)?))
}

fn bytes_of(digits: &str) -> Result<Vec<u8>, String> {
    let digit = |at: usize, byte: u8| match char::from(byte).to_digit(16) {
        Some(digit) => Ok(digit as u8),
        None => Err(format!("digit {at} of \"x\" is '{}'; expected hex", byte.escape_ascii())),
    };
    let pairs = digits.as_bytes().chunks(2).enumerate();
    let byte = |(at, pair): (usize, &[u8])| match *pair {
        [high, low] => Ok(digit(2 * at + 1, high)? << 4 | digit(2 * at + 2, low)?),
        _ => Err("\"x\" has an odd number of digits".to_owned()),
    };
    pairs.map(byte).collect()
}
