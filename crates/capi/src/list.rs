//! `lws_dll2`: lists whose links are inside what they list. An element that is in no list has
//! three null pointers.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;

use crate::abi::{Dll2, Owner};

impl Dll2 {
    pub(crate) const DETACHED: Self =
        Self { prev: null_mut(), next: null_mut(), owner: null_mut() };
}

/// Puts an element between two neighbours, either of which may be null for the list's end; nothing
/// if it is in a list.
///
/// # Safety
/// The element and the list are valid, the neighbours are neighbours in it.
unsafe fn insert(d: *mut Dll2, owner: *mut Owner, prev: *mut Dll2, next: *mut Dll2) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*d).owner.is_null() {
            return;
        }
        *d = Dll2 { prev, next, owner };
        if prev.is_null() {
            (*owner).head = d
        } else {
            (*prev).next = d
        }
        if next.is_null() {
            (*owner).tail = d
        } else {
            (*next).prev = d
        }
        (*owner).count = (*owner).count.wrapping_add(1);
    }
}

/// Puts an element at the front.
///
/// # Safety
/// The element and the list are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_add_head(d: *mut Dll2, owner: *mut Owner) {
    // SAFETY: the caller's promise.
    unsafe { insert(d, owner, null_mut(), (*owner).head) }
}

/// Puts an element at the end.
///
/// # Safety
/// The element and the list are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_add_tail(d: *mut Dll2, owner: *mut Owner) {
    // SAFETY: the caller's promise.
    unsafe { insert(d, owner, (*owner).tail, null_mut()) }
}

/// Puts an element in front of another one, in its list.
///
/// # Safety
/// Both are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_add_before(d: *mut Dll2, after: *mut Dll2) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*after).owner.is_null() {
            insert(d, (*after).owner, (*after).prev, after);
        }
    }
}

/// Puts an element behind another one, in its list.
///
/// # Safety
/// Both are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_add_insert(d: *mut Dll2, prev: *mut Dll2) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*prev).owner.is_null() {
            insert(d, (*prev).owner, prev, (*prev).next);
        }
    }
}

/// Takes an element out of its list, if it is in one.
///
/// # Safety
/// The element and its list are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_remove(d: *mut Dll2) {
    // SAFETY: the caller's promise.
    unsafe {
        let Dll2 { prev, next, owner } = *d;
        if owner.is_null() {
            return;
        }
        if prev.is_null() {
            (*owner).head = next
        } else {
            (*prev).next = next
        }
        if next.is_null() {
            (*owner).tail = prev
        } else {
            (*next).prev = prev
        }
        (*owner).count = (*owner).count.wrapping_sub(1);
        *d = Dll2::DETACHED;
    }
}

/// Calls back with each element, which the callback may remove; ends with 1 when the callback
/// returns other than 0, else with 0.
///
/// # Safety
/// The list is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_foreach_safe(
    owner: *mut Owner,
    user: *mut c_void,
    cb: unsafe extern "C" fn(*mut Dll2, *mut c_void) -> c_int,
) -> c_int {
    // SAFETY: the caller's promise; what is next is read before the callback.
    unsafe {
        let mut d = (*owner).head;
        while !d.is_null() {
            let next = (*d).next;
            if cb(d, user) != 0 {
                return 1;
            }
            d = next;
        }
    }
    0
}

/// Puts an element in front of the first one that does not compare as less than it.
///
/// # Safety
/// All are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_add_sorted(
    d: *mut Dll2,
    owner: *mut Owner,
    compare: unsafe extern "C" fn(*const Dll2, *const Dll2) -> c_int,
) {
    unsafe extern "C" fn compare3(compare: *mut c_void, d: *const Dll2, i: *const Dll2) -> c_int {
        // SAFETY: it is the caller's function, as it was given below.
        unsafe {
            let compare = compare.cast::<unsafe extern "C" fn(*const Dll2, *const Dll2) -> c_int>();
            (*compare)(d, i)
        }
    }
    let mut compare = compare;
    // SAFETY: the caller's promise.
    unsafe { lws_dll2_add_sorted_priv(d, owner, (&raw mut compare).cast(), compare3) }
}

/// The same, with a pointer for the comparison.
///
/// # Safety
/// All are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_dll2_add_sorted_priv(
    d: *mut Dll2,
    owner: *mut Owner,
    private: *mut c_void,
    compare: unsafe extern "C" fn(*mut c_void, *const Dll2, *const Dll2) -> c_int,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (mut prev, mut at) = (null_mut(), (*owner).head);
        while !at.is_null() && compare(private, at, d) < 0 {
            (prev, at) = (at, (*at).next);
        }
        insert(d, owner, prev, at);
    }
}

/// The object whose string, of which a pointer is at `ptr_ofs` in it, is `name`; null if there is
/// none. The objects' elements are at `dll2_ofs` in them.
///
/// # Safety
/// All are valid, the strings end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _lws_dll2_search_sz_pl(
    owner: *mut Owner,
    name: *const c_char,
    namelen: usize,
    dll2_ofs: usize,
    ptr_ofs: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise; a string is not read behind its NUL.
    unsafe {
        let mut d = (*owner).head;
        while !d.is_null() {
            let object = d.cast::<u8>().sub(dll2_ofs);
            let text = *object.add(ptr_ofs).cast::<*const c_char>();
            let mut at = 0;
            while !text.is_null() {
                let byte = *text.add(at);
                if at == namelen && byte == 0 {
                    return object.cast();
                }
                if at == namelen || byte == 0 || byte != *name.add(at) {
                    break;
                }
                at += 1;
            }
            d = (*d).next;
        }
    }
    null_mut()
}
