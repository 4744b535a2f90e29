//! Metadata that is kept outside of the engine: what the proxy sent, until the next value of the
//! same name, and what the application sets while its payload is asked for.

use core::cell::Cell;

use crate::abi::Context;
use crate::alloc;

/// A value; name and value follow, and a NUL.
#[repr(C)]
pub(crate) struct Node {
    next: *mut Node,
    name_len: usize,
    pub(crate) value_len: usize,
}

impl Node {
    /// # Safety
    /// The node is of a [`List`].
    pub(crate) unsafe fn name<'n>(node: *mut Self) -> &'n [u8] {
        // SAFETY: so many bytes follow the node.
        unsafe { core::slice::from_raw_parts(node.add(1).cast(), (*node).name_len) }
    }

    /// # Safety
    /// The node is of a [`List`].
    pub(crate) unsafe fn value(node: *mut Self) -> *mut u8 {
        // SAFETY: the value follows the name.
        unsafe { node.add(1).cast::<u8>().add((*node).name_len) }
    }
}

/// Values, the oldest first; all 0 there are none.
pub(crate) struct List {
    head: Cell<*mut Node>,
}

impl List {
    /// Room for a value of so many bytes, in place of one of the same name; null if there is no
    /// memory.
    ///
    /// # Safety
    /// The context is always the same, and valid.
    pub(crate) unsafe fn add(
        &self,
        cx: *const Context,
        name: &[u8],
        value_len: usize,
    ) -> *mut Node {
        // SAFETY: the caller's promise; all nodes are of this list, and the new one has the room
        // that is written to.
        unsafe {
            let mut link = self.head.as_ptr();
            while !(*link).is_null() {
                let node = *link;
                if Node::name(node) == name {
                    *link = (*node).next;
                    alloc::give_back(cx, node.cast());
                } else {
                    link = &raw mut (*node).next;
                }
            }
            let bytes = size_of::<Node>() + name.len() + value_len + 1;
            let node = alloc::zeroed(cx, bytes).cast::<Node>();
            if !node.is_null() {
                (*node).name_len = name.len();
                (*node).value_len = value_len;
                node.add(1).cast::<u8>().copy_from_nonoverlapping(name.as_ptr(), name.len());
                *link = node;
            }
            node
        }
    }

    /// The value of this name, or null.
    pub(crate) fn find(&self, name: &[u8]) -> *mut Node {
        let mut node = self.head.get();
        // SAFETY: all nodes are of this list.
        unsafe {
            while !node.is_null() && Node::name(node) != name {
                node = (*node).next;
            }
        }
        node
    }

    /// Takes the oldest out, which the caller is to give back; null if there is none.
    pub(crate) fn take(&self) -> *mut Node {
        let node = self.head.get();
        if !node.is_null() {
            // SAFETY: all nodes are of this list.
            self.head.set(unsafe { (*node).next });
        }
        node
    }

    /// Gives all back.
    ///
    /// # Safety
    /// As of [`List::add`].
    #[inline(never)]
    pub(crate) unsafe fn clear(&self, cx: *const Context) {
        loop {
            let node = self.take();
            if node.is_null() {
                return;
            }
            // SAFETY: the caller's promise; nothing leads to the node any more.
            unsafe { alloc::give_back(cx, node.cast()) };
        }
    }
}
