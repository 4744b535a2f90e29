//! The memory in which the engine keeps metadata.

use core::cell::Cell;
use core::ffi::c_int;
use core::ptr::NonNull;

use crate::alloc;
use crate::stream::{Handle, ascii};

/// What is in front of the names in CREATE_RESULT, after its head.
const CREATE_RESULT_FIXED: u16 = 5;

/// Memory for the engine's storage, which grows when it is too small.
pub(crate) struct Room {
    pub(crate) at: Cell<*mut u8>,
    pub(crate) len: Cell<usize>,
}

/// The engine's storage: where its [`Room`] is.
pub(crate) struct Storage(pub(crate) NonNull<Room>);

impl AsRef<[u8]> for Storage {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the room is in the shell that the engine is in, and so is valid; the engine alone
        // reads and writes what it leads to, and the room changes only when the engine is idle.
        unsafe {
            let room = self.0.as_ref();
            match room.at.get() {
                at if at.is_null() => &[],
                at => core::slice::from_raw_parts(at, room.len.get()),
            }
        }
    }
}

impl AsMut<[u8]> for Storage {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe {
            let room = self.0.as_ref();
            match room.at.get() {
                at if at.is_null() => &mut [],
                at => core::slice::from_raw_parts_mut(at, room.len.get()),
            }
        }
    }
}

impl Handle {
    /// Sets metadata; other than 0 if that is not possible. The engine is not busy.
    pub(crate) fn set_metadata(self, name: &[u8], value: &[u8]) -> c_int {
        let Some(name) = ascii(name) else { return 1 };
        loop {
            match self.engine(|stream| stream.set_metadata(name, value)) {
                Some(Ok(())) => return 0,
                Some(Err(sspc::MetadataError::NoRoom { needed, size })) if needed > size => {
                    if !self.grow(needed) {
                        return 1;
                    }
                }
                _ => return 1,
            }
        }
    }

    /// Bytes came while the link's first frame, CREATE_RESULT, may not have begun: makes room for
    /// the rideshare names in it, which come behind the stream's own name.
    pub(crate) fn make_list_room(self, input: &[u8]) {
        let mut head = self.first_head.get();
        for byte in input {
            head = head << 8 | u32::from(*byte);
            if head >> 24 != 0 {
                self.first_head.set(0);
                let list = (head as u16).saturating_sub(CREATE_RESULT_FIXED);
                let more = list.saturating_sub(self.list_room.get());
                if usize::from(list) > self.streamtype_len + 1 && more > 0 {
                    self.list_room.set(list);
                    self.grow(self.room.len.get() + usize::from(more));
                }
                return;
            }
        }
        self.first_head.set(head);
    }

    /// Makes the engine's storage larger.
    fn grow(self, needed: usize) -> bool {
        // SAFETY: the context is the handle's own; what was there is copied before it is freed, and
        // the engine does not have it now.
        unsafe {
            let Some(memory) = alloc::zeroed(self.cx, needed) else { return false };
            let (old, len) = (self.room.at.get(), self.room.len.get());
            if !old.is_null() {
                memory.as_ptr().copy_from_nonoverlapping(old, len.min(needed));
            }
            self.room.at.set(memory.as_ptr());
            self.room.len.set(needed);
            alloc::give_back(self.cx, old);
        }
        true
    }
}
