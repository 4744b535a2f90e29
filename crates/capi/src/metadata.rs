//! Metadata that is kept outside of the engine: what the proxy sent, until the next value of the
//! same name, and what the application sets while its payload is asked for.

use core::cell::Cell;
use core::ptr::null_mut;

use crate::abi::Context;
use crate::alloc;

/// A value; name and value follow, and a NUL.
#[repr(C)]
struct Node {
    next: *mut Node,
    name_len: usize,
    value_len: usize,
}

impl Node {
    /// # Safety
    /// The node is of a [`List`].
    unsafe fn name<'n>(node: *mut Self) -> &'n [u8] {
        // SAFETY: so many bytes follow the node.
        unsafe { core::slice::from_raw_parts(node.add(1).cast(), (*node).name_len) }
    }

    /// # Safety
    /// The node is of a [`List`].
    unsafe fn value(node: *mut Self) -> *mut u8 {
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
    pub(crate) unsafe fn add(&self, cx: *const Context, name: &[u8], value_len: usize) -> *mut u8 {
        // SAFETY: the caller's promise; all nodes are of this list, and the new one has the room
        // that is written to.
        unsafe {
            self.remove(cx, name);
            let bytes = size_of::<Node>() + name.len() + value_len + 1;
            let Some(memory) = alloc::zeroed(cx, bytes) else { return null_mut() };
            let node = memory.as_ptr().cast::<Node>();
            *node = Node { next: null_mut(), name_len: name.len(), value_len };
            node.add(1).cast::<u8>().copy_from_nonoverlapping(name.as_ptr(), name.len());
            let mut last = self.head.get();
            if last.is_null() {
                self.head.set(node);
            } else {
                while !(*last).next.is_null() {
                    last = (*last).next;
                }
                (*last).next = node;
            }
            Node::value(node)
        }
    }

    /// The value of this name: where it is and how long.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(*mut u8, usize)> {
        let mut node = self.head.get();
        while !node.is_null() {
            // SAFETY: all nodes are of this list.
            unsafe {
                if Node::name(node) == name {
                    return Some((Node::value(node), (*node).value_len));
                }
                node = (*node).next;
            }
        }
        None
    }

    /// Takes the oldest out: calls with its name and value.
    ///
    /// # Safety
    /// As of [`List::add`].
    pub(crate) unsafe fn pop(
        &self,
        cx: *const Context,
        with: &mut dyn FnMut(&[u8], &[u8]),
    ) -> bool {
        let node = self.head.get();
        if node.is_null() {
            return false;
        }
        // SAFETY: all nodes are of this list, and this one is freed only here.
        unsafe {
            self.head.set((*node).next);
            let value = core::slice::from_raw_parts(Node::value(node), (*node).value_len);
            with(Node::name(node), value);
            alloc::give_back(cx, node.cast());
        }
        true
    }

    /// # Safety
    /// As of [`List::add`].
    unsafe fn remove(&self, cx: *const Context, name: &[u8]) {
        let (mut before, mut node) = (null_mut::<Node>(), self.head.get());
        // SAFETY: all nodes are of this list.
        unsafe {
            while !node.is_null() {
                let next = (*node).next;
                if Node::name(node) == name {
                    if before.is_null() {
                        self.head.set(next)
                    } else {
                        (*before).next = next
                    }
                    alloc::give_back(cx, node.cast());
                    return;
                }
                (before, node) = (node, next);
            }
        }
    }
}
