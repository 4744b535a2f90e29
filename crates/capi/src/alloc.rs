//! Where memory comes from: the arena that the context names, else malloc.
//!
//! An arena is its size and then blocks end to end, each with one word in front: its length with
//! that word, and in the lowest bit whether it is in use. There are few blocks; the first that fits
//! is taken, and free neighbours are joined on the way.

use core::ffi::c_void;
use core::ptr::null_mut;

use crate::abi::{Arena, Context};

/// What all blocks are aligned to; the word in front takes as much.
const ALIGN: usize = 2 * size_of::<usize>();
const USED: usize = 1;

#[cfg(feature = "malloc")]
unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
}

/// Memory for so many bytes, all 0, aligned to two words; null if there is none.
///
/// # Safety
/// The context is valid, its arena null or one of `sspc_arena_init`.
#[inline(never)]
pub(crate) unsafe fn zeroed(cx: *const Context, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promise; so many bytes are just allocated.
    unsafe {
        let arena = (*cx).arena;
        let memory = if arena.is_null() { from_malloc(bytes) } else { take(arena.cast(), bytes) };
        if !memory.is_null() {
            memory.write_bytes(0, bytes);
        }
        memory
    }
}

/// Gives back what [`zeroed`] gave; null is nothing.
///
/// # Safety
/// It came from the same context, and is used no more.
#[inline(never)]
pub(crate) unsafe fn give_back(cx: *const Context, memory: *mut u8) {
    if memory.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    if unsafe { (*cx).arena }.is_null() {
        #[cfg(feature = "malloc")]
        // SAFETY: without an arena it came from malloc.
        unsafe {
            free(memory.cast());
        }
    } else {
        // SAFETY: the block's word is in front of it.
        unsafe { *memory.sub(ALIGN).cast::<usize>() &= !USED };
    }
}

#[cfg(feature = "malloc")]
fn from_malloc(bytes: usize) -> *mut u8 {
    // SAFETY: any size may be asked for.
    unsafe { malloc(bytes).cast() }
}

#[cfg(not(feature = "malloc"))]
fn from_malloc(_: usize) -> *mut u8 {
    null_mut()
}

/// # Safety
/// The arena is one of `sspc_arena_init`.
unsafe fn take(arena: *mut usize, bytes: usize) -> *mut u8 {
    let Some(needed) = bytes.checked_add(2 * ALIGN - 1) else { return null_mut() };
    let needed = needed & !(ALIGN - 1);
    // SAFETY: the arena begins with its size; the blocks behind it end where it ends.
    unsafe {
        let mut at = arena.cast::<u8>().add(ALIGN);
        let end = arena.cast::<u8>().add(*arena);
        while at < end {
            let word = at.cast::<usize>();
            if *word & USED == 0 {
                let mut next = at.add(*word);
                while next < end && *next.cast::<usize>() & USED == 0 {
                    *word += *next.cast::<usize>();
                    next = at.add(*word);
                }
                if *word >= needed {
                    if *word > needed {
                        *at.add(needed).cast::<usize>() = *word - needed;
                        *word = needed;
                    }
                    *word |= USED;
                    return at.add(ALIGN);
                }
            }
            at = at.add(*word & !USED);
        }
    }
    null_mut()
}

/// Makes memory of the caller an arena, for [`Context::arena`]; null if it is too small to hold
/// anything.
///
/// # Safety
/// The memory is the arena's for as long as anything that was made with it exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sspc_arena_init(memory: *mut c_void, bytes: usize) -> *mut Arena {
    let skip = memory.cast::<u8>().align_offset(ALIGN);
    let usable = bytes.saturating_sub(skip) & !(ALIGN - 1);
    if memory.is_null() || usable < 3 * ALIGN {
        return null_mut();
    }
    // SAFETY: both words are inside what the caller gave, and aligned.
    unsafe {
        let arena = memory.cast::<u8>().add(skip);
        *arena.cast::<usize>() = usable;
        *arena.add(ALIGN).cast::<usize>() = usable - ALIGN;
        arena.cast()
    }
}

/// How many bytes of an arena are free, in all.
///
/// # Safety
/// The arena is one of [`sspc_arena_init`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sspc_arena_left(arena: *const Arena) -> usize {
    let mut left = 0;
    // SAFETY: as in `take`.
    unsafe {
        let mut at = arena.cast::<u8>().add(ALIGN);
        let end = arena.cast::<u8>().add(*arena.cast::<usize>());
        while at < end {
            let word = *at.cast::<usize>();
            if word & USED == 0 {
                left += word;
            }
            at = at.add(word & !USED);
        }
    }
    left
}
