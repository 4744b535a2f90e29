//! The memory in which the engine keeps metadata.

use core::ptr::{NonNull, null_mut};

/// Memory for the engine's storage, which grows when it is too small. It is the engine's own.
pub(crate) struct Storage {
    pub(crate) at: NonNull<u8>,
    pub(crate) len: usize,
}

impl Storage {
    pub(crate) const NONE: Self = Self { at: NonNull::dangling(), len: 0 };

    /// What is to be given back.
    pub(crate) fn memory(&self) -> *mut u8 {
        if self.len > 0 { self.at.as_ptr() } else { null_mut() }
    }
}

impl AsRef<[u8]> for Storage {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: so many bytes were allocated.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Storage {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}
