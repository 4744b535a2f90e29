//! Metadata that is kept outside of the engine: what the proxy sent, until the next value of the
//! same name.

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

/// Values, the newest first; all 0 there are none.
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
            remove(self.link_to(name), cx);
            let bytes = size_of::<Node>() + name.len() + value_len + 1;
            let node = alloc::zeroed(cx, bytes).cast::<Node>();
            if !node.is_null() {
                *node = Node { next: self.head.get(), name_len: name.len(), value_len };
                node.add(1).cast::<u8>().copy_from_nonoverlapping(name.as_ptr(), name.len());
                self.head.set(node);
            }
            node
        }
    }

    /// The value of this name, or null.
    pub(crate) fn find(&self, name: &[u8]) -> *mut Node {
        // SAFETY: the link is of this list.
        unsafe { *self.link_to(name) }
    }

    /// What leads to the value of this name, or the null at the end.
    #[inline(never)]
    fn link_to(&self, name: &[u8]) -> *mut *mut Node {
        let mut link = self.head.as_ptr();
        // SAFETY: all nodes are of this list.
        unsafe {
            while !(*link).is_null() && Node::name(*link) != name {
                link = &raw mut (**link).next;
            }
        }
        link
    }

    /// Gives all back.
    ///
    /// # Safety
    /// As of [`List::add`].
    pub(crate) unsafe fn clear(&self, cx: *const Context) {
        while !self.head.get().is_null() {
            // SAFETY: the caller's promise.
            unsafe { remove(self.head.as_ptr(), cx) };
        }
    }
}

/// Gives the node back to which this leads, if there is one.
///
/// # Safety
/// It is a link of a [`List`], the context the one of its values.
unsafe fn remove(link: *mut *mut Node, cx: *const Context) {
    // SAFETY: the caller's promise; nothing leads to the node any more.
    unsafe {
        let node = *link;
        if !node.is_null() {
            *link = (*node).next;
            alloc::give_back(cx, node.cast());
        }
    }
}
