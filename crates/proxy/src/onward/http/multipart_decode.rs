//! Incoming multipart bodies, split into messages: one for each part, headers and all.

use bytes::{Buf as _, Bytes, BytesMut};
use sspc_wire::Flags;

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;

/// Payload to hand on.
pub(crate) type Piece = (Bytes, Flags);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// In a part; `begun` once something of it was handed on.
    Part { begun: bool },
    /// Behind the last boundary.
    Epilogue,
}

/// Splits a body as it comes. Holds back no more than a boundary and the newest piece.
#[derive(Debug)]
pub(crate) struct Splitter {
    /// CRLF, two dashes, and the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// Input that is not decided yet.
    pending: BytesMut,
    /// The newest data of the part; it may turn out to be the part's last.
    held: Option<Bytes>,
}

impl Splitter {
    /// A splitter for a body of this content-type; `None` if it is no multipart body.
    pub(crate) fn for_content_type(value: &str) -> Option<Self> {
        let (kind, parameters) = value.split_once(';')?;
        let kind = kind.trim();
        if !kind.eq_ignore_ascii_case("multipart/form-data")
            && !kind.eq_ignore_ascii_case("multipart/related")
        {
            return None;
        }
        let boundary = boundary(parameters)?;
        let mut delimiter = b"\r\n--".to_vec();
        delimiter.extend_from_slice(boundary.as_bytes());
        // The first boundary may stand at the very start; a CRLF before the body makes it like
        // all others.
        let pending = BytesMut::from(b"\r\n".as_slice());
        Some(Self { delimiter, state: State::Preamble, pending, held: None })
    }

    /// What is to be handed on before the first input.
    pub(crate) fn start() -> Piece {
        (Bytes::new(), Flags::RELATED_START)
    }

    /// Takes input and appends what is decided to `out`.
    pub(crate) fn push(&mut self, input: &Bytes, out: &mut Vec<Piece>) {
        self.pending.extend_from_slice(input);
        while self.state != State::Epilogue {
            let Some((at, line)) = self.next_boundary() else {
                break;
            };
            let data = self.pending.split_to(at).freeze();
            self.data(data, out);
            self.pending.advance(self.delimiter.len());
            match line {
                Line::Next(rest) => {
                    self.end_part(Flags::EOM, out);
                    self.pending.advance(rest);
                    self.state = State::Part { begun: false };
                }
                Line::Last => {
                    self.end_part(Flags::EOM | Flags::RELATED_END, out);
                    self.state = State::Epilogue;
                }
            }
        }
        match self.state {
            State::Epilogue => self.pending.clear(),
            _ => {
                let keep = self.undecided();
                let data = self.pending.split_to(self.pending.len() - keep).freeze();
                self.data(data, out);
            }
        }
        // Nothing waits for the sake of a flag alone.
        self.flush_held(out);
    }

    /// Whether the last boundary came. A body that is over without it was cut short.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Epilogue
    }

    /// Where the next whole line of boundary begins, and what it says.
    fn next_boundary(&self) -> Option<(usize, Line)> {
        let mut from = 0;
        loop {
            let at = from + find(self.pending.get(from..)?, &self.delimiter)?;
            match Line::read(self.pending.get(at + self.delimiter.len()..)?) {
                Read::Line(line) => return Some((at, line)),
                Read::Short => return None,
                Read::Other => from = at + 1,
            }
        }
    }

    /// How many bytes at the end may belong to a boundary that is not whole yet.
    fn undecided(&self) -> usize {
        let longest = self.pending.len().min(self.delimiter.len() + LINE_REST_MAX);
        let start = self.pending.len() - longest;
        let tail = self.pending.get(start..).unwrap_or_default();
        (0..longest)
            .find(|&i| {
                let tail = tail.get(i..).unwrap_or_default();
                match tail.strip_prefix(self.delimiter.as_slice()) {
                    Some(rest) => matches!(Line::read(rest), Read::Short),
                    None => self.delimiter.starts_with(tail),
                }
            })
            .map_or(0, |i| longest - i)
    }

    fn data(&mut self, data: Bytes, out: &mut Vec<Piece>) {
        if !data.is_empty() && self.state != State::Preamble {
            self.flush_held(out);
            self.held = Some(data);
        }
    }

    fn flush_held(&mut self, out: &mut Vec<Piece>) {
        if let (Some(data), State::Part { begun }) = (self.held.take(), self.state) {
            out.push((data, if begun { Flags::NONE } else { Flags::SOM }));
            self.state = State::Part { begun: true };
        }
    }

    fn end_part(&mut self, flags: Flags, out: &mut Vec<Piece>) {
        match self.state {
            State::Part { begun } => {
                let som = if begun { Flags::NONE } else { Flags::SOM };
                out.push((self.held.take().unwrap_or_default(), som | flags));
            }
            // A group without parts ends with an empty payload of its own.
            _ if flags.contains(Flags::RELATED_END) => {
                out.push((Bytes::new(), Flags::RELATED_END));
            }
            _ => {}
        }
    }
}

/// Most bytes of a line behind its boundary, so that what is held back has a limit.
const LINE_REST_MAX: usize = 16;

/// What a line of boundary says.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// Another part begins, so many bytes later.
    Next(usize),
    /// There are no more parts.
    Last,
}

enum Read {
    Line(Line),
    /// More input has to tell.
    Short,
    /// It only looked like a boundary.
    Other,
}

impl Line {
    /// Reads what follows the delimiter: two dashes, or blanks and the end of the line.
    fn read(rest: &[u8]) -> Read {
        if rest.starts_with(b"--") {
            return Read::Line(Line::Last);
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match rest.get(blanks..) {
            _ if blanks + 2 > LINE_REST_MAX => Read::Other,
            Some([b'\r', b'\n', ..]) => Read::Line(Line::Next(blanks + 2)),
            Some([] | [b'\r']) => Read::Short,
            Some([b'-']) if blanks == 0 => Read::Short,
            _ => Read::Other,
        }
    }
}

/// The parameter of that name among these.
fn boundary(parameters: &str) -> Option<&str> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if key.trim_matches([' ', ';', '\t']).eq_ignore_ascii_case("boundary") {
            let value = value.trim_end();
            return (1..=BOUNDARY_MAX).contains(&value.len()).then_some(value);
        }
        rest = next;
    }
}

/// Where `needle` is found first.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|&byte| byte == first) {
        if haystack.get(from + at..)?.starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; charset=x; boundary=\"b o\"";

    /// The messages that come out when the body comes in pieces of `size`.
    fn split(kind: &str, body: &str, size: usize) -> (Vec<String>, Vec<u32>) {
        let mut splitter = Splitter::for_content_type(kind).unwrap();
        let mut out = vec![Splitter::start()];
        for piece in body.as_bytes().chunks(size) {
            splitter.push(&Bytes::copy_from_slice(piece), &mut out);
        }
        assert_eq!(splitter.is_complete(), body.contains("--b o--"));
        let mut messages = Vec::new();
        let mut groups = Vec::new();
        for (bytes, flags) in out {
            if flags.contains(Flags::SOM) {
                messages.push(String::new());
            }
            let group = flags & (Flags::RELATED_START | Flags::RELATED_END);
            if group != Flags::NONE {
                groups.push(group.bits());
            }
            if let Some(message) = messages.last_mut() {
                message.push_str(std::str::from_utf8(&bytes).unwrap());
                if flags.contains(Flags::EOM) {
                    message.push('.');
                }
            } else {
                assert!(bytes.is_empty());
            }
        }
        (messages, groups)
    }

    #[test]
    fn parts_are_messages_however_the_body_is_cut() {
        let body = "ignored\r\n--b o\r\nA: 1\r\n\r\none\r\n--b ox\r\n--b o \t\r\nB: 2\r\n\r\n\r\n--b\
                    \r\n\r\n--b o\r\n\r\n--b o--\r\nignored\r\n--b o\r\n";
        for size in 1..=body.len() {
            let (messages, groups) = split(KIND, body, size);
            assert_eq!(
                messages,
                ["A: 1\r\n\r\none\r\n--b ox.", "B: 2\r\n\r\n\r\n--b\r\n.", "."],
                "in pieces of {size}"
            );
            assert_eq!(groups, [0x08, 0x10]);
        }
    }

    #[test]
    fn the_end_rides_on_data_where_it_is_known() {
        let mut splitter = Splitter::for_content_type("multipart/related;boundary=x").unwrap();
        let mut out = Vec::new();
        splitter.push(&Bytes::from_static(b"--x\r\n\r\n1\r\n--x\r\n\r\n2\r\n--x--"), &mut out);
        assert!(splitter.is_complete());
        let flags: Vec<u32> = out.iter().map(|(_, flags)| flags.bits()).collect();
        assert_eq!(flags, [0x03, 0x13]);
    }

    #[test]
    fn bodies_that_break_off_end_nothing() {
        for body in ["--b o\r\nA: 1\r\n\r\non", "--b o\r\nA: 1\r\n\r\non\r\n--b o"] {
            let (messages, groups) = split(KIND, body, 3);
            assert_eq!((&*messages, &*groups), (&["A: 1\r\n\r\non".to_owned()][..], &[0x08][..]));
        }
        assert_eq!(split(KIND, "nothing", 3), (Vec::new(), vec![0x08]));
    }

    #[test]
    fn other_bodies_are_left_alone() {
        for kind in [
            "text/plain",
            "multipart/mixed; boundary=x",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"x",
        ] {
            assert!(Splitter::for_content_type(kind).is_none(), "{kind}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert!(Splitter::for_content_type(&long).is_none());
    }
}
