//! Strings of C.

use core::ffi::c_char;

/// The bytes as text, if they are ASCII: other names are in no policy.
pub(crate) fn ascii(bytes: &[u8]) -> Option<&str> {
    if bytes.iter().any(|byte| *byte >= 0x80) {
        return None;
    }
    // SAFETY: ASCII is UTF-8.
    Some(unsafe { core::str::from_utf8_unchecked(bytes) })
}

/// The bytes of a string without its NUL.
///
/// # Safety
/// The string is null or ends with a NUL; it stays as it is for as long as the result is used.
pub(crate) unsafe fn bytes<'s>(text: *const c_char) -> &'s [u8] {
    if text.is_null() {
        return &[];
    }
    let mut len = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while *text.add(len) != 0 {
            len += 1;
        }
        core::slice::from_raw_parts(text.cast(), len)
    }
}

/// Copies a string, no more of it than fits in `size` bytes with a NUL, which it puts behind it if
/// there is room for anything. How many bytes there are in front of that.
///
/// # Safety
/// The string ends with a NUL or has `size - 1` bytes; there is room for `size`, or for all of it.
#[inline(never)]
pub(crate) unsafe fn copy(to: *mut c_char, text: *const c_char, size: usize) -> usize {
    let mut at = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while at + 1 < size && *text.add(at) != 0 {
            *to.add(at) = *text.add(at);
            at += 1;
        }
        if size > 0 {
            *to.add(at) = 0;
        }
    }
    at
}

/// Copies a string, and ends it with a NUL if there is room for anything.
///
/// # Safety
/// The string ends with a NUL or has `size - 1` bytes; there is room for `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_strncpy(
    dest: *mut c_char,
    src: *const c_char,
    size: usize,
) -> *mut c_char {
    // SAFETY: the caller's promise.
    unsafe { copy(dest, src, size) };
    dest
}
