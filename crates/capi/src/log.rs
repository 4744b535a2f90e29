//! Lines for the application's log.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{null, null_mut};

use crate::abi::imports::__lws_logv;
use crate::api::{lws_log_prepend_sspc, lws_txp_inside_sspc};
use crate::stream::Handle;

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
    // word or as a pointer to a few, which are not read; the operations are as good as any.
    unsafe {
        __lws_logv(
            null_mut(),
            about.map(|_| lws_log_prepend_sspc as _),
            obj,
            level,
            null::<c_char>(),
            text.as_ptr(),
            (&raw const lws_txp_inside_sspc).cast(),
        );
    }
}
