//! What the caller's storage holds: the rideshare names of this link, then the metadata of the
//! stream's life in the order set, so that it can be sent again.

use sspc_wire::streamtype_names;

use crate::error::MetadataError;

/// A record's head: the name's length u8, the value's length u16.
const HEAD: usize = 3;

/// Where in the storage things are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// The end of the rideshare names and start of the metadata.
    list: u16,
    /// The end of the metadata that this link's proxy has.
    sent: u16,
    /// The end of the metadata.
    used: u16,
    /// How much of a frame that no room could hold whole this link's proxy has: of STREAMTYPE, or
    /// of the metadata at `sent`.
    pub(super) cut: u16,
    names: Names,
}

/// How far CREATE_RESULT's list has come; its first name is the stream's own and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    BeforeFirst,
    InFirst,
    Further,
    /// There was no room for them.
    Lost,
}

/// One value.
pub(super) struct Record<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    end: u16,
}

impl Kept {
    pub(super) const fn new() -> Self {
        Self { list: 0, sent: 0, used: 0, cut: 0, names: Names::BeforeFirst }
    }

    /// Keeps a value behind all others, instead of one of the same name.
    pub(super) fn set(
        &mut self,
        storage: &mut [u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<(), MetadataError> {
        let (mut at, mut freed) = (self.list, 0);
        while let Some((start, end)) = self.find(storage, name, at) {
            (at, freed) = (end, freed + (end - start));
        }
        let length = HEAD + name.len() + value.len();
        let needed = usize::from(self.used - freed) + length;
        let size = storage.len().min(usize::from(u16::MAX));
        if needed > size {
            return Err(MetadataError::NoRoom { needed, size });
        }
        while let Some((start, end)) = self.find(storage, name, self.list) {
            shift(storage, end, self.used, start);
            self.used -= end - start;
            if self.sent > start {
                self.sent -= end - start;
            }
        }
        let at = usize::from(self.used);
        if let Some(room) = storage.get_mut(at..at + length) {
            let (head, body) = room.split_at_mut(HEAD);
            let [high, low] = (value.len() as u16).to_be_bytes();
            head.copy_from_slice(&[name.len() as u8, high, low]);
            let (for_name, for_value) = body.split_at_mut(name.len());
            for_name.copy_from_slice(name);
            for_value.copy_from_slice(value);
            self.used += length as u16;
        }
        Ok(())
    }

    /// The first value that this link's proxy does not have.
    pub(super) fn unsent<'s>(&self, storage: &'s [u8]) -> Option<Record<'s>> {
        self.record(storage, self.sent)
    }

    pub(super) fn mark_sent(&mut self, end: u16) {
        self.sent = end;
    }

    /// A new link's proxy knows nothing.
    pub(super) fn link_lost(&mut self, storage: &mut [u8]) {
        self.drop_list(storage);
        self.sent = self.list;
        self.cut = 0;
        self.names = Names::BeforeFirst;
    }

    /// Takes a piece of CREATE_RESULT's list.
    pub(super) fn add_names(&mut self, storage: &mut [u8], piece: &[u8]) {
        let mut rest = piece;
        while let Some((byte, behind)) = rest.split_first() {
            match (self.names, *byte) {
                (Names::BeforeFirst, b',') => {}
                (Names::BeforeFirst, _) => self.names = Names::InFirst,
                (Names::InFirst, b',') => self.names = Names::Further,
                (Names::InFirst, _) => {}
                (Names::Further, _) => break,
                (Names::Lost, _) => return,
            }
            rest = behind;
        }
        let used = usize::from(self.used);
        let size = storage.len().min(usize::from(u16::MAX));
        if rest.len() > size.saturating_sub(used) {
            self.drop_list(storage);
            self.names = Names::Lost;
            return;
        }
        let length = rest.len() as u16;
        shift(storage, self.list, self.used, self.list + length);
        let at = usize::from(self.list);
        if let Some(room) = storage.get_mut(at..at + rest.len()) {
            room.copy_from_slice(rest);
        }
        self.list += length;
        self.sent += length;
        self.used += length;
    }

    /// The name behind the stream's own by this many; `None` if the list did not fit or ends.
    pub(super) fn rideshare<'s>(&self, storage: &'s [u8], turn: u8) -> Option<&'s [u8]> {
        let list = storage.get(..usize::from(self.list))?;
        streamtype_names(list).nth(usize::from(turn))
    }

    /// True if there is a name behind the stream's own by this many, known or lost.
    pub(super) fn has_rideshare(&self, storage: &[u8], turn: u8) -> bool {
        self.names == Names::Lost || self.rideshare(storage, turn).is_some()
    }

    fn drop_list(&mut self, storage: &mut [u8]) {
        shift(storage, self.list, self.used, 0);
        self.sent -= self.list;
        self.used -= self.list;
        self.list = 0;
    }

    /// The next value of this name, from here on. One that is sent in part stays, and goes before
    /// the one that is to replace it.
    fn find(&self, storage: &[u8], name: &[u8], mut at: u16) -> Option<(u16, u16)> {
        while let Some(record) = self.record(storage, at) {
            if record.name == name && !(at == self.sent && self.cut > 0) {
                return Some((at, record.end));
            }
            at = record.end;
        }
        None
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

/// Moves bytes inside the storage; nothing if the storage is smaller than it was.
fn shift(storage: &mut [u8], start: u16, end: u16, to: u16) {
    let (start, end, to) = (usize::from(start), usize::from(end), usize::from(to));
    if start <= end && end <= storage.len() && to + (end - start) <= storage.len() {
        storage.copy_within(start..end, to);
    }
}
