//! What the caller's storage holds: at its front the metadata of the stream's life in the order set,
//! so that it can be sent again; at its end this link's list of names, if it has rideshares.

use sspc_wire::{FieldWriter, Piece};

use crate::error::MetadataError;

/// A record's head: the name's length u8, the value's length u16.
const HEAD: usize = 3;

/// Where in the storage things are.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct MetadataStore {
    /// The end of the metadata.
    used: u16,
    /// The end of the metadata that this link's proxy has.
    sent: u16,
    /// How many bytes of the value at `sent` this link's proxy has, if no room could hold it whole.
    pub(super) cut: u16,
    /// The length of CREATE_RESULT's list; 0 if it is not kept.
    list: u16,
    /// How many names the list has, the stream's own with them.
    names: u8,
    /// The list's last byte so far belongs to a name.
    in_name: bool,
}

/// One value.
pub(super) struct Record<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    end: u16,
}

impl MetadataStore {
    pub(super) const fn new() -> Self {
        Self { sent: 0, used: 0, cut: 0, list: 0, names: 0, in_name: false }
    }

    /// Keeps a value behind all others, instead of one of the same name.
    pub(super) fn set(
        &mut self,
        storage: &mut [u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<(), MetadataError> {
        let (start, end) = self.find(storage, name);
        let freed = end - start;
        let length = HEAD + name.len() + value.len();
        let needed = usize::from(self.used - freed) + usize::from(self.list) + length;
        let size = size(storage);
        if needed > size {
            return Err(MetadataError::NoRoom { needed, size });
        }
        // What is behind moves up, byte by byte: no more code than a call of memmove, which a small
        // program may have no other use for.
        for at in end..self.used {
            let byte = storage.get(usize::from(at)).copied().unwrap_or(0);
            if let Some(to) = storage.get_mut(usize::from(at - freed)) {
                *to = byte;
            }
        }
        self.used -= freed;
        if self.sent > start {
            self.sent -= freed;
        }
        let (_, free) = storage.split_at_mut(usize::from(self.used).min(storage.len()));
        let mut record = FieldWriter::new(free);
        record.u8(name.len() as u8);
        record.u16(value.len() as u16);
        record.bytes(name);
        record.bytes(value);
        self.used += length as u16;
        Ok(())
    }

    pub(super) fn left(&self, storage: &[u8]) -> usize {
        size(storage).saturating_sub(usize::from(self.used) + usize::from(self.list))
    }

    /// Copies all to another storage: the metadata to its front, the list to its end.
    pub(super) fn move_to(&self, from: &[u8], to: &mut [u8]) {
        FieldWriter::new(to).bytes(from.get(..usize::from(self.used)).unwrap_or_default());
        let list = |size: usize| size.saturating_sub(usize::from(self.list))..size;
        let end = to.get_mut(list(size(to))).unwrap_or_default();
        FieldWriter::new(end).bytes(from.get(list(size(from))).unwrap_or_default());
    }

    /// The first value that this link's proxy does not have.
    pub(super) fn unsent<'s>(&self, storage: &'s [u8]) -> Option<Record<'s>> {
        self.record(storage, self.sent)
    }

    pub(super) fn mark_sent(&mut self, record: u16) {
        self.sent = record;
    }

    /// A new link's proxy knows nothing.
    pub(super) fn link_lost(&mut self) {
        self.sent = 0;
        self.cut = 0;
        self.list = 0;
        self.names = 0;
        self.in_name = false;
    }

    /// Takes a piece of CREATE_RESULT's list.
    pub(super) fn add_names(&mut self, storage: &mut [u8], piece: &Piece<'_>) {
        for byte in piece.data {
            let was_in_name = self.in_name;
            self.in_name = *byte != b',';
            if self.in_name && !was_in_name {
                self.names = self.names.saturating_add(1);
            }
        }
        // Its place is at the storage's very end, if that is free.
        let size = size(storage);
        let total = usize::from(piece.total);
        if usize::from(self.used) + total <= size && (piece.is_first() || self.list > 0) {
            let at = size - total + usize::from(piece.offset);
            if let Some((_, place)) = storage.split_at_mut_checked(at) {
                FieldWriter::new(place).bytes(piece.data);
            }
            self.list = piece.total;
        }
        if piece.is_last() && self.names <= 1 {
            self.list = 0;
        }
    }

    /// The name of the list with this index; `None` if the list did not fit or ends.
    pub(super) fn rideshare<'s>(&self, storage: &'s [u8], turn: u8) -> Option<&'s [u8]> {
        let storage = storage.get(..size(storage))?;
        let list = storage.get(storage.len().checked_sub(usize::from(self.list))?..)?;
        // Deployed proxies begin the list with a comma: names of no bytes are none.
        let (mut rest, mut left) = (list, turn);
        loop {
            let length = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            let (name, behind) = rest.split_at_checked(length)?;
            if length > 0 {
                if left == 0 {
                    return Some(name);
                }
                left -= 1;
            }
            rest = behind.get(1..)?;
        }
    }

    /// How many names the list has, kept or not.
    pub(super) const fn names(&self) -> u8 {
        self.names
    }

    /// Where the value of this name is; an empty place if there is none. One that is sent in part
    /// stays, and goes before the one that is to replace it.
    fn find(&self, storage: &[u8], name: &[u8]) -> (u16, u16) {
        let mut at = 0;
        while let Some(record) = self.record(storage, at) {
            if record.name == name && (self.cut == 0 || at != self.sent) {
                return (at, record.end);
            }
            at = record.end;
        }
        (at, at)
    }

    /// The record that begins here.
    fn record<'s>(&self, storage: &'s [u8], at: u16) -> Option<Record<'s>> {
        let records = storage.get(usize::from(at)..usize::from(self.used))?;
        let ([name, high, low], body) = records.split_first_chunk::<HEAD>()?;
        let (name, behind) = body.split_at_checked(usize::from(*name))?;
        let value = behind.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
        let end = at + (HEAD + name.len() + value.len()) as u16;
        Some(Record { name, value, end })
    }
}

impl Record<'_> {
    pub(super) fn end(&self) -> u16 {
        self.end
    }
}

/// How much of the storage can be used.
fn size(storage: &[u8]) -> usize {
    storage.len().min(usize::from(u16::MAX))
}
