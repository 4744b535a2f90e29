//! The metadata that the application sets, and the room for it.

use core::ffi::c_int;
use core::ptr::NonNull;

use crate::alloc;
use crate::storage::Storage;
use crate::stream::Handle;
use crate::text::ascii;

/// What is in front of the names in CREATE_RESULT, after its head.
const CREATE_RESULT_FIXED: usize = 5;

impl Handle {
    /// Sets metadata; other than 0 if that is not possible.
    pub(crate) fn set_metadata(self, name: &[u8], value: &[u8]) -> c_int {
        let Some(name) = ascii(name) else { return 1 };
        loop {
            // SAFETY: no C code runs.
            match unsafe { self.engine() }.set_metadata(name, value) {
                Ok(()) => return 0,
                Err(sspc::MetadataError::NoRoom { needed, size }) if needed > size => {
                    if !self.grow(needed) {
                        return 1;
                    }
                }
                Err(_) => return 1,
            }
        }
    }

    /// Bytes came while the link's first frame, CREATE_RESULT, may not have begun: makes room for
    /// the rideshare names in it, which come behind the stream's own name.
    pub(crate) fn make_list_room(self, input: &[u8]) {
        let mut head = self.first_head.get();
        for byte in input {
            if head >> 24 != 0 || head == 0 {
                break;
            }
            head = head << 8 | u32::from(*byte);
        }
        self.first_head.set(head);
        if head >> 24 != 0 {
            self.first_head.set(0);
            let list = usize::from(head as u16).saturating_sub(CREATE_RESULT_FIXED);
            // SAFETY: no C code runs.
            let stream = unsafe { self.engine() };
            let (size, left) = (stream.storage().len, stream.storage_left());
            if list > usize::from(self.name_len) + 1 && list > left {
                self.grow(size + list - left);
            }
        }
    }

    /// Makes the engine's storage larger.
    fn grow(self, needed: usize) -> bool {
        // SAFETY: the context is the handle's own; the engine has the new storage before the old one is
        // freed; malloc() and free() never call back into this library.
        unsafe {
            let Some(at) = NonNull::new(alloc::zeroed(self.cx, needed)) else { return false };
            let storage = self.engine().replace_storage(Storage { at, len: needed });
            alloc::give_back(self.cx, storage.memory());
        }
        true
    }
}
