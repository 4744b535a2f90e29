//! Events that wait for the application, one behind the other in a stream's buffer.
//!
//! ```text
//!   State     1, code u32, ordinal u32
//!   Payload   2, name u8, length u16, flags u32,             the name, the bytes
//!   Metadata  3, name u8, length u16, offset u16, total u16, the name, the bytes
//!   Perf      4, 0,       length u16, offset u16, total u16, the bytes
//!   Refused   5, result u8
//!   Fault     6
//! ```

use sspc_wire::{Flags, Piece, State};

use crate::event::{Event, Fault};

const STATE: u8 = 1;
const PAYLOAD: u8 = 2;
const METADATA: u8 = 3;
const PERF: u8 = 4;
const REFUSED: u8 = 5;
const FAULT: u8 = 6;

/// The head of payload, metadata and performance reports.
const HEAD: usize = 8;

const STARTS: Flags =
    Flags::from_bits(Flags::SOM.bits() | Flags::POLL.bits() | Flags::RELATED_START.bits());
const ENDS: Flags = Flags::from_bits(Flags::EOM.bits() | Flags::RELATED_END.bits());

/// Where in the buffer the events are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: usize,
    tail: usize,
    /// Where the last record is, if it is payload and its message goes on.
    open: Option<usize>,
    /// The fault that was told last.
    fault: Fault,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { head: 0, tail: 0, open: None, fault: Fault::NoAnswer }
    }

    /// Keeps an event, the first of its name or none in `name`; `None` if all of it is kept, else
    /// what is left of it.
    pub(super) fn push<'e>(
        &mut self,
        buffer: &mut [u8],
        event: Event<'e>,
        name: &[u8],
    ) -> Option<Event<'e>> {
        if self.head > 0 && self.tail + HEAD + name.len() + 64 > buffer.len() {
            buffer.copy_within(self.head..self.tail, 0);
            self.open = self.open.map(|at| at - self.head);
            self.tail -= self.head;
            self.head = 0;
        }
        match event {
            Event::State { state, ordinal } => {
                let [a, b, c, d] = state.code().to_be_bytes();
                let [e, f, g, h] = ordinal.to_be_bytes();
                self.put(buffer, &[&[STATE, a, b, c, d, e, f, g, h]], event)
            }
            Event::Refused { result } => self.put(buffer, &[&[REFUSED, result]], event),
            Event::Fault(fault) => {
                let left = self.put(buffer, &[&[FAULT]], event);
                if left.is_none() {
                    self.fault = fault;
                }
                left
            }
            Event::Payload { data, flags, rideshare } => {
                if let Some(at) = self.open.filter(|_| rideshare.is_none()) {
                    return self.join(buffer, at, data, flags);
                }
                let fits = self.room(buffer, name);
                let (now, later) = data.split_at(fits.unwrap_or(0).min(data.len()));
                if fits.is_none() || (now.is_empty() && !data.is_empty()) {
                    return Some(event);
                }
                let is_whole = later.is_empty();
                let kept = if is_whole { flags } else { flags.without(ENDS) };
                let ([a, b], [c, d, e, f]) = (length(now), kept.bits().to_be_bytes());
                let at = self.tail;
                self.put(
                    buffer,
                    &[&[PAYLOAD, name.len() as u8, a, b, c, d, e, f], name, now],
                    event,
                );
                self.open = (!ends(kept) && rideshare.is_none()).then_some(at);
                let flags = flags.without(STARTS);
                (!is_whole).then_some(Event::Payload { data: later, flags, rideshare })
            }
            Event::Metadata { name: unnamed, value } => {
                let later = self.put_piece(buffer, METADATA, name, value)?;
                Some(Event::Metadata { name: unnamed, value: later })
            }
            Event::Perf(piece) => Some(Event::Perf(self.put_piece(buffer, PERF, &[], piece)?)),
        }
    }

    /// The next event, whose bytes are put in `buf`; more of them than fit come with further calls.
    pub(super) fn pop<'r>(&mut self, buffer: &mut [u8], buf: &'r mut [u8]) -> Option<Event<'r>> {
        let record = buffer.get_mut(self.head..self.tail)?;
        let (first, rest) = record.split_first_mut()?;
        let (event, used) = match *first {
            STATE => {
                let state = State::from_code(u32_at(rest, 0));
                (Event::State { state, ordinal: u32_at(rest, 4) }, 9)
            }
            REFUSED => (Event::Refused { result: rest.first().copied().unwrap_or(0) }, 2),
            FAULT => (Event::Fault(self.fault), 1),
            kind => return Some(self.pop_piece(buffer, kind, buf)),
        };
        self.advance(used);
        Some(event)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    fn pop_piece<'r>(&mut self, buffer: &mut [u8], kind: u8, buf: &'r mut [u8]) -> Event<'r> {
        let record = buffer.get_mut(self.head..self.tail).unwrap_or_default();
        let (head, bytes) = record.split_at_mut(HEAD.min(record.len()));
        let name_length = usize::from(head.get(1).copied().unwrap_or(0));
        let total_length = usize::from(u16_at(head, 2));
        let (name, data) = bytes.split_at(name_length.min(bytes.len()));
        let data = data.get(..total_length).unwrap_or(data);
        // The name first; one that does not fit is cut.
        let (for_name, for_data) = buf.split_at_mut(name.len().min(buf.len()));
        for_name.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        let taken = data.len().min(for_data.len());
        for_data.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        let taken_data = for_data.get(..taken).unwrap_or_default();
        let (a, b) = (u32_at(head, 4), u16_at(head, 4));
        let is_last = taken == data.len();
        let event = match kind {
            PAYLOAD => {
                let all = Flags::from_bits(a);
                let flags = if is_last { all } else { all.without(ENDS) };
                let rideshare = (name_length > 0).then_some(&*for_name);
                Event::Payload { data: taken_data, flags, rideshare }
            }
            _ => {
                let piece = Piece { data: taken_data, offset: b, total: u16_at(head, 6) };
                if kind == METADATA {
                    Event::Metadata { name: for_name, value: piece }
                } else {
                    Event::Perf(piece)
                }
            }
        };
        if is_last {
            self.advance(HEAD + name_length + total_length);
            return event;
        }
        // The head and the name move up to what is left.
        let changed = match kind {
            PAYLOAD => Flags::from_bits(a).without(STARTS).bits().to_be_bytes(),
            _ => {
                let [c, d] = b.wrapping_add(taken as u16).to_be_bytes();
                let [e, f] = u16_at(head, 6).to_be_bytes();
                [c, d, e, f]
            }
        };
        let left = (total_length.saturating_sub(taken) as u16).to_be_bytes();
        let fields = head.get_mut(2..).unwrap_or_default();
        fields.iter_mut().zip(left.iter().chain(&changed)).for_each(|(to, from)| *to = *from);
        let from = self.head;
        buffer.copy_within(from..from + HEAD + name_length, from + taken);
        if self.open == Some(from) {
            self.open = Some(from + taken);
        }
        self.head += taken;
        event
    }

    /// Behind a record of so many bytes.
    fn advance(&mut self, used: usize) {
        if self.open == Some(self.head) {
            self.open = None;
        }
        self.head = (self.head + used).min(self.tail);
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
        }
    }

    /// How many bytes fit behind a head and a name; `None` if not even those do.
    fn room(&self, buffer: &[u8], name: &[u8]) -> Option<usize> {
        let left = buffer.len().saturating_sub(self.tail).checked_sub(HEAD + name.len())?;
        Some(left.min(usize::from(u16::MAX)))
    }

    /// More of the message whose last bytes are in the record at `at`.
    fn join<'e>(
        &mut self,
        buffer: &mut [u8],
        at: usize,
        data: &'e [u8],
        flags: Flags,
    ) -> Option<Event<'e>> {
        let before = usize::from(u16_at(buffer, at + 2));
        let fits = (buffer.len() - self.tail).min(usize::from(u16::MAX) - before);
        let (now, later) = data.split_at(fits.min(data.len()));
        if now.is_empty() && !data.is_empty() {
            return Some(Event::Payload { data, flags, rideshare: None });
        }
        if let Some(buf) = buffer.get_mut(self.tail..self.tail + now.len()) {
            buf.copy_from_slice(now);
            self.tail += now.len();
        }
        let is_whole = later.is_empty();
        let adds = if is_whole { flags } else { flags.without(ENDS) };
        let all = Flags::from_bits(u32_at(buffer, at + 4)) | adds;
        if let Some(head) = buffer.get_mut(at + 2..at + HEAD) {
            let ([a, b], [c, d, e, f]) =
                (((before + now.len()) as u16).to_be_bytes(), all.bits().to_be_bytes());
            head.copy_from_slice(&[a, b, c, d, e, f]);
        }
        if ends(adds) {
            self.open = None;
        }
        (!is_whole).then_some(Event::Payload { data: later, flags, rideshare: None })
    }

    /// What is left of the piece.
    fn put_piece<'e>(
        &mut self,
        buffer: &mut [u8],
        kind: u8,
        name: &[u8],
        piece: Piece<'e>,
    ) -> Option<Piece<'e>> {
        let fits = match self.room(buffer, name) {
            Some(fits) if fits > 0 || piece.data.is_empty() => fits.min(piece.data.len()),
            _ => return Some(piece),
        };
        let (now, later) = piece.data.split_at(fits);
        let ([a, b], [c, d]) = (length(now), piece.offset.to_be_bytes());
        let [e, f] = piece.total.to_be_bytes();
        let head = [kind, name.len() as u8, a, b, c, d, e, f];
        self.put(buffer, &[&head, name, now], Event::Perf(piece));
        let offset = piece.offset + now.len() as u16;
        (!later.is_empty()).then_some(Piece { data: later, offset, ..piece })
    }

    /// Puts a record behind the others if it fits; else gives the event back.
    fn put<'e>(
        &mut self,
        buffer: &mut [u8],
        parts: &[&[u8]],
        event: Event<'e>,
    ) -> Option<Event<'e>> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > buffer.len() - self.tail {
            return Some(event);
        }
        self.open = None;
        for part in parts {
            if let Some(buf) = buffer.get_mut(self.tail..self.tail + part.len()) {
                buf.copy_from_slice(part);
            }
            self.tail += part.len();
        }
        None
    }
}

fn ends(flags: Flags) -> bool {
    flags.bits() & ENDS.bits() != 0
}

const fn length(data: &[u8]) -> [u8; 2] {
    (data.len() as u16).to_be_bytes()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    number.map_or(0, |number| u16::from_be_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    number.map_or(0, |number| u32::from_be_bytes(*number))
}
