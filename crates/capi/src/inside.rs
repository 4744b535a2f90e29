//! `lws_txp_inside_sspc`: what a stream's transport tells it.

use core::ffi::c_int;

use crate::abi::{Handle as CHandle, OK, Ops, Priv, Return};
use crate::stream::Handle;

pub(crate) unsafe extern "C" fn connect_disposition(
    handle: *mut CHandle,
    disposition: c_int,
) -> Return {
    match Handle::from_c(handle) {
        Some(handle) if disposition == 0 => handle.link_up(),
        Some(handle) => handle.link_lost(),
        None => return 1,
    }
    OK
}

unsafe extern "C" fn event_read(handle: Priv, buf: *const u8, len: usize) -> Return {
    if let (Some(handle), false) = (Handle::from_c(handle), buf.is_null()) {
        // SAFETY: the transport gives so many bytes.
        handle.feed(unsafe { core::slice::from_raw_parts(buf, len) });
    }
    OK
}

pub(crate) unsafe extern "C" fn event_can_write(handle: *mut CHandle, limit: usize) -> Return {
    Handle::from_c(handle).map_or(OK, |handle| handle.write(limit))
}

unsafe extern "C" fn event_closed(handle: Priv) -> Return {
    if let Some(handle) = Handle::from_c(handle) {
        handle.link_lost();
    }
    OK
}

unsafe extern "C" fn lost_coherence(handle: Priv) {
    if let Some(handle) = Handle::from_c(handle) {
        handle.drop_link();
    }
}

/// What a transport, or the mux, calls to tell a stream something.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static lws_txp_inside_sspc: Ops = Ops {
    name: c"txp_inside_sspc".as_ptr(),
    event_connect_disposition: Some(connect_disposition),
    event_read: Some(event_read),
    lost_coherence: Some(lost_coherence),
    event_can_write: Some(event_can_write),
    event_closed: Some(event_closed),
    ..Ops::NONE
};
