//! Lines for the application's log.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{null, null_mut};

use crate::abi::Handle as CHandle;
use crate::abi::imports::__lws_logv;
use crate::stream::Handle;
use crate::text::copy;

/// `LLL_ERR`
pub(crate) const ERR: c_int = 1;
/// `LLL_WARN`
pub(crate) const WARN: c_int = 1 << 1;
/// `LLL_NOTICE`
pub(crate) const NOTICE: c_int = 1 << 2;

pub(crate) const NO_MEMORY: &CStr = c"no memory";

/// A line, without `%`. It is tagged if it is about a stream.
pub(crate) fn line(level: c_int, about: Option<Handle>, text: &'static CStr) {
    let obj = about.map_or(null_mut::<c_void>(), Handle::as_ptr);
    // SAFETY: the text ends with a NUL and names no arguments. All ABIs in use pass a `va_list` as one
    // word or as a pointer to a few, which are not read; the text is as good as any.
    unsafe {
        __lws_logv(
            null_mut(),
            about.map(|_| lws_log_prepend_sspc as _),
            obj,
            level,
            null::<c_char>(),
            text.as_ptr(),
            text.as_ptr().cast(),
        );
    }
}

/// The stream's tag for the log.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_tag(handle: *mut CHandle) -> *const c_char {
    match Handle::from_c(handle) {
        // SAFETY: the tag is behind the streamtype's NUL.
        Some(handle) => unsafe { handle.streamtype.add(usize::from(handle.name_len) + 1).cast() },
        None => c"[null sspc]".as_ptr(),
    }
}

/// Puts a stream's tag in front of a line of the log.
///
/// # Safety
/// The object is a handle, or null; the pointers are the start and the end of free room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_log_prepend_sspc(
    _cx: *mut c_void,
    obj: *mut c_void,
    p: *mut *mut c_char,
    end: *mut c_char,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for text in &[lws_sspc_tag(obj), c": ".as_ptr()] {
            *p = (*p).add(copy(*p, *text, end.offset_from_unsigned(*p)));
        }
    }
}
