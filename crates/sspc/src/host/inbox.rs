//! Joins what the engine tells in borrowed pieces to events that own their bytes.

use std::collections::VecDeque;
use std::string::String;
use std::vec::Vec;

use sspc_wire::{Flags, Piece};

use super::Event;
use crate::event::Event as Borrowed;

/// More payload than this is not joined to one event.
const JOINED_MAX: usize = 64 * 1024;

/// Events for the application, in their order.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    ready: VecDeque<Event>,
    /// Payload that the next piece may belong to, or a value or JSON that is not whole.
    open: Option<Event>,
}

impl Inbox {
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Takes an event; `behind` tells how many bytes of input are left behind it.
    pub(crate) fn add(&mut self, event: Borrowed<'_>, behind: usize) {
        match event {
            Borrowed::State { state, ordinal } => self.push(Event::State { state, ordinal }),
            Borrowed::Refused { result } => self.push(Event::Refused { result }),
            Borrowed::Fault(fault) => self.push(Event::Fault(fault)),
            Borrowed::Payload { data, flags, rideshare } => {
                self.add_payload(data, flags, rideshare.map(text), behind);
            }
            Borrowed::Metadata { name, value } => {
                let make = || Event::Metadata { name: text(name), value: Vec::new() };
                self.add_piece(value, make);
            }
            Borrowed::Perf(json) => self.add_piece(json, || Event::Perf(Vec::new())),
        }
    }

    /// No more input for now: payload is handed on, though its message may go on.
    pub(crate) fn end_of_input(&mut self) {
        if let Some(Event::Payload { .. }) = self.open {
            self.ready.extend(self.open.take());
        }
    }

    fn push(&mut self, event: Event) {
        // A value that was cut off by the link's end is none.
        self.end_of_input();
        self.open = None;
        self.ready.push_back(event);
    }

    fn add_payload(&mut self, more: &[u8], adds: Flags, from: Option<String>, behind: usize) {
        let starts = Flags::SOM | Flags::POLL | Flags::RELATED_START;
        if let Some(Event::Payload { data, flags, rideshare }) = &mut self.open {
            let goes_on = *rideshare == from && (adds & starts) == Flags::NONE;
            if goes_on && data.len() + more.len() <= JOINED_MAX {
                data.extend_from_slice(more);
                *flags |= adds;
                if ends(adds) {
                    self.end_of_input();
                }
                return;
            }
        }
        self.end_of_input();
        let expected = if ends(adds) { more.len() } else { (more.len() + behind).min(JOINED_MAX) };
        let mut data = Vec::with_capacity(expected.max(more.len()));
        data.extend_from_slice(more);
        self.open = Some(Event::Payload { data, flags: adds, rideshare: from });
        if ends(adds) {
            self.end_of_input();
        }
    }

    fn add_piece(&mut self, piece: Piece<'_>, make: impl Fn() -> Event) {
        self.end_of_input();
        if piece.is_first() {
            self.open = Some(make());
        }
        if let Some(Event::Metadata { value: bytes, .. } | Event::Perf(bytes)) = &mut self.open {
            bytes.extend_from_slice(piece.data);
        }
        if piece.is_last() {
            self.ready.extend(self.open.take());
        }
    }
}

fn ends(flags: Flags) -> bool {
    flags & (Flags::EOM | Flags::RELATED_END) != Flags::NONE
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
