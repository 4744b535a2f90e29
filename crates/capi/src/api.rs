//! `lws_sspc_*`: what the application asks for, and `lws_txp_inside_sspc`: what its transport tells.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr::null_mut;

use sspc::{Config, Name};

use crate::abi::{Context, Handle as CHandle, Info, OK, Ops, Priv, Return, RxCb, StateCb, TxCb};
use crate::list::lws_dll2_add_tail;
use crate::stream::{Handle, Shell, ascii, now, todo};
use crate::{alloc, log};

/// The longest tag: `[sspc|`, a streamtype, `|`, 8 digits, `]` and a NUL.
const TAG_EXTRA: usize = 6 + 1 + 8 + 1 + 1;

/// The bytes of a string without its NUL.
///
/// # Safety
/// The string is null or ends with a NUL; it stays as it is for as long as the result is used.
unsafe fn bytes<'s>(text: *const c_char) -> &'s [u8] {
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

/// Makes a stream; 0 if it was made and its callbacks did not end it at once. See `sspc/streams.h`.
///
/// # Safety
/// All pointers are valid or, the last four, null; the info's offsets are inside its object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_create(
    cx: *mut Context,
    _tsi: c_int,
    ssi: *const Info,
    opaque_user_data: *mut c_void,
    ppss: *mut *mut CHandle,
    _reserved: *mut c_void,
    ppayload_fmt: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promise; what is allocated has room for all that is written.
    unsafe {
        let ssi = &*ssi;
        let streamtype = bytes(ssi.streamtype);
        let Some(Ok(name)) = ascii(streamtype).map(Name::new) else {
            log::line(log::ERR, None, c"no proxy takes the name of the streamtype");
            return 1;
        };
        let mut config = Config { seed: now().as_micros() as u32, ..Config::DEFAULT };
        if let Ok(credit @ 1..) = u32::try_from(ssi.manual_initial_tx_credit) {
            config.window = credit;
        }
        let texts = 2 * streamtype.len() + 1 + TAG_EXTRA;
        let size = size_of::<Shell>().checked_add(ssi.user_alloc).map(|n| n.saturating_add(texts));
        let Some(memory) = size.and_then(|size| alloc::zeroed(cx, size)) else {
            log::line(log::ERR, None, c"no memory for a stream");
            return 1;
        };
        let handle = Handle::init(memory, cx, ssi, name, config);
        write_texts(handle, streamtype, (*cx).ssidx);
        (*cx).ssidx = (*cx).ssidx.wrapping_add(1);
        lws_dll2_add_tail(handle.list.get(), &raw mut (*cx).ss_client_owner);
        let user = handle.user().cast::<u8>();
        *user.add(ssi.opaque_user_data_offset).cast() = opaque_user_data;
        *user.add(ssi.handle_offset).cast() = handle.as_ptr();
        if !ppss.is_null() {
            *ppss = handle.as_ptr();
        }
        if !ppayload_fmt.is_null() {
            *ppayload_fmt = core::ptr::null();
        }
        let mut own = handle.as_ptr();
        let pointer = if ppss.is_null() { &raw mut own } else { ppss };
        c_int::from(handle.settle_new(pointer))
    }
}

/// Writes the streamtype and, behind its NUL, the tag.
///
/// # Safety
/// There is room for both.
unsafe fn write_texts(handle: Handle, streamtype: &[u8], index: u32) {
    let mut at = handle.streamtype;
    let mut put = |text: &[u8]| {
        // SAFETY: the caller's promise.
        unsafe {
            at.copy_from_nonoverlapping(text.as_ptr(), text.len());
            at = at.add(text.len());
        }
    };
    put(streamtype);
    put(b"\0[sspc|");
    put(streamtype);
    put(b"|");
    let digits = (8 - index.leading_zeros() / 4).max(1);
    for digit in (0..digits).rev() {
        let value = (index >> (4 * digit)) as u8 & 0xf;
        put(&[if value < 10 { b'0' + value } else { b'a' - 10 + value }]);
    }
    put(b"]\0");
}

/// Ends a stream and sets the pointer to null; nothing if that is null.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_destroy(ppss: *mut *mut CHandle) {
    // SAFETY: the caller's promise.
    if let Some(handle) = unsafe { ppss.as_ref() }.and_then(|handle| Handle::from_c(*handle)) {
        // SAFETY: the same.
        unsafe { handle.destroy(ppss) };
    }
}

/// Asks to send: the tx callback comes when that is possible. Connects if needed.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_request_tx(handle: *mut CHandle) -> Return {
    if let Some(handle) = Handle::from_c(handle) {
        handle.want(todo::TX);
    }
    OK
}

/// Asks to send a message of this many bytes.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_request_tx_len(handle: *mut CHandle, len: c_ulong) -> Return {
    if let Some(handle) = Handle::from_c(handle) {
        handle.hint.set(u32::try_from(len).unwrap_or(u32::MAX));
        handle.want(todo::HINT | todo::TX);
    }
    OK
}

/// Asks for the onward connection.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_client_connect(handle: *mut CHandle) -> Return {
    if let Some(handle) = Handle::from_c(handle) {
        handle.want(todo::CONNECT);
    }
    OK
}

/// The context that the stream was made with.
///
/// # Safety
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_get_context(handle: *mut CHandle) -> *mut Context {
    Handle::from_c(handle).map_or(null_mut(), |handle| handle.cx)
}

/// The name of the streamtype that the payload at hand belongs to.
///
/// # Safety
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_rideshare(handle: *mut CHandle) -> *const c_char {
    let Some(handle) = Handle::from_c(handle) else { return c"".as_ptr() };
    if handle.in_rideshare.get() || handle.note_rideshare() {
        handle.rideshare.get().cast()
    } else {
        handle.streamtype.cast()
    }
}

/// Sets a value by the policy's name for it; 0 if it could be set.
///
/// # Safety
/// The handle is valid; the name ends with a NUL, the value has so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_set_metadata(
    handle: *mut CHandle,
    name: *const c_char,
    value: *const c_void,
    len: usize,
) -> c_int {
    let Some(handle) = Handle::from_c(handle) else { return 1 };
    if value.is_null() || len == 0 {
        return 1;
    }
    // SAFETY: the caller's promise.
    let (name, value) =
        unsafe { (bytes(name), core::slice::from_raw_parts(value.cast::<u8>(), len)) };
    if !handle.is_busy() {
        let failed = handle.set_metadata(name, value);
        if failed == 0 {
            handle.was_asked();
        }
        return failed;
    }
    // SAFETY: the context is the handle's own, and what is added has room for the value.
    unsafe {
        let at = handle.stashed.add(handle.cx, name, len);
        if at.is_null() {
            return 1;
        }
        at.copy_from_nonoverlapping(value.as_ptr(), len);
    }
    handle.want(todo::METADATA);
    0
}

/// The same: values are copied anyway.
///
/// # Safety
/// As of [`lws_sspc_set_metadata`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_alloc_set_metadata(
    handle: *mut CHandle,
    name: *const c_char,
    value: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { lws_sspc_set_metadata(handle, name, value, len) }
}

/// The last value that the proxy sent of this name; other than 0 if there is none.
///
/// # Safety
/// The handle and the pointers are valid, the name ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_get_metadata(
    handle: *mut CHandle,
    name: *const c_char,
    value: *mut *const c_void,
    len: *mut usize,
) -> c_int {
    let Some(handle) = Handle::from_c(handle) else { return 1 };
    // SAFETY: the caller's promise.
    unsafe {
        let Some((at, bytes)) = handle.received.find(bytes(name)) else { return 1 };
        *value = at.cast();
        *len = bytes;
    }
    0
}

/// Lets the remote peer send this many more bytes.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_add_peer_tx_credit(handle: *mut CHandle, add: i32) -> c_int {
    let Some(handle) = Handle::from_c(handle) else { return 1 };
    handle.credit.set(handle.credit.get().wrapping_add(add));
    handle.peer_credit.set(handle.peer_credit.get().wrapping_add(add));
    handle.want(todo::CREDIT);
    0
}

/// How many more bytes the remote peer may send, as far as known.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_get_est_peer_tx_credit(handle: *mut CHandle) -> c_int {
    Handle::from_c(handle).map_or(0, |handle| handle.peer_credit.get())
}

/// Starts the stream's timeout; 0 for the policy's.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_start_timeout(handle: *mut CHandle, timeout_ms: c_uint) {
    if let Some(handle) = Handle::from_c(handle) {
        handle.timeout_ms.set(timeout_ms);
        handle.want(todo::TIMEOUT);
    }
}

/// Cancels the stream's timeout.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_cancel_timeout(handle: *mut CHandle) {
    // SAFETY: the caller's promise.
    unsafe { lws_sspc_start_timeout(handle, c_uint::MAX) }
}

/// The object that was allocated with the stream.
///
/// # Safety
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_to_user_object(handle: *mut CHandle) -> *mut c_void {
    Handle::from_c(handle).map_or(null_mut(), Handle::user)
}

/// Changes the callbacks that are not null.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_change_handlers(
    handle: *mut CHandle,
    rx: RxCb,
    tx: TxCb,
    state: StateCb,
) {
    let Some(handle) = Handle::from_c(handle) else { return };
    handle.rx.set(rx.or(handle.rx.get()));
    handle.tx.set(tx.or(handle.tx.get()));
    handle.state.set(state.or(handle.state.get()));
}

/// Nothing: only servers acknowledge.
#[unsafe(no_mangle)]
pub extern "C" fn lws_sspc_server_ack(_handle: *mut CHandle, _nack: c_int) {}

/// The stream's tag for the log.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_tag(handle: *mut CHandle) -> *const c_char {
    match Handle::from_c(handle) {
        // SAFETY: the tag is behind the streamtype's NUL.
        Some(handle) => unsafe { handle.streamtype.add(handle.streamtype_len + 1).cast() },
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
        let tag = bytes(lws_sspc_tag(obj));
        let mut at = *p;
        for byte in tag.iter().chain(b": ") {
            if at.add(1) >= end {
                break;
            }
            *at = *byte as c_char;
            at = at.add(1);
        }
        if at < end {
            *at = 0;
        }
        *p = at;
    }
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
    unsafe {
        let mut at = 0;
        while at + 1 < size && *src.add(at) != 0 {
            *dest.add(at) = *src.add(at);
            at += 1;
        }
        if size > 0 {
            *dest.add(at) = 0;
        }
    }
    dest
}

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
