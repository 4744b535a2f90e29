//! `lws_sspc_*`: what the application asks for.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr::{NonNull, null_mut};

use sspc::{Config, Name, Timeout};

use crate::abi::{Context, Handle as CHandle, Info, OK, Return, RxCb, StateCb, TxCb};
use crate::inside::lws_txp_inside_sspc;
use crate::list::lws_dll2_add_tail;
use crate::received::Node;
use crate::stream::{Handle, StreamObject};
use crate::text::{ascii, bytes, copy};
use crate::timer::now;
use crate::{alloc, log};

/// The longest tag: `[sspc|`, a streamtype, `|`, 8 digits, `]` and a NUL.
const TAG_EXTRA: usize = 6 + 1 + 8 + 1 + 1;

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
            log::line(log::ERR, None, c"wrong streamtype");
            return 1;
        };
        let mut config = Config { seed: now().as_micros() as u32, ..Config::DEFAULT };
        if streamtype == b"_lws_smd" {
            // The classes that are wanted: there is no credit.
            config.window = ssi.manual_initial_tx_credit as u32;
            config.honour_credit = false;
        } else if let Ok(credit @ 1..) = u32::try_from(ssi.manual_initial_tx_credit) {
            config.window = credit;
        }
        let texts = 2 * streamtype.len() + 1 + TAG_EXTRA;
        let size = (size_of::<StreamObject>() + texts).saturating_add(ssi.user_alloc);
        let Some(memory) = NonNull::new(alloc::zeroed(cx, size)) else {
            log::line(log::ERR, None, log::NO_MEMORY);
            return 1;
        };
        let handle = Handle::init(memory, cx, ssi, name, config, &lws_txp_inside_sspc);
        write_texts(handle.streamtype.cast(), ssi.streamtype, (*cx).ssidx);
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
        let is_over = handle.update();
        // Unless it was set to another one meanwhile.
        if is_over && !ppss.is_null() && *ppss == handle.as_ptr() {
            *ppss = null_mut();
        }
        c_int::from(is_over)
    }
}

/// Writes the streamtype and, behind its NUL, the tag.
///
/// # Safety
/// There is room for both.
unsafe fn write_texts(to: *mut c_char, streamtype: *const c_char, index: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut at = to;
        for text in &[streamtype, c"[sspc|".as_ptr(), streamtype, c"|".as_ptr()] {
            // The streamtype alone, with its NUL, stands in front of the tag.
            at = at.add(copy(at, *text, usize::MAX) + usize::from(at == to));
        }
        let mut shift = 28 - ((index | 1).leading_zeros() & 28);
        loop {
            let digit = (index >> shift) as u8 & 0xf;
            *at = (if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }) as c_char;
            at = at.add(1);
            if shift == 0 {
                break;
            }
            shift -= 4;
        }
        copy(at, c"]".as_ptr(), usize::MAX);
    }
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

/// What the application may ask of a stream, beside metadata.
enum Request {
    Tx,
    TxLen,
    Connect,
    Credit,
    Timeout,
}

/// The application wants something of a stream, if that is not null.
#[inline(never)]
fn request(handle: *mut CHandle, what: Request, value: u32) -> Return {
    let Some(handle) = Handle::from_c(handle) else { return OK };
    let now = now();
    // SAFETY: no C code runs.
    let stream = unsafe { handle.engine() };
    match what {
        Request::Tx => stream.request_tx(now),
        Request::TxLen => stream.request_tx_len(now, value),
        Request::Connect => stream.connect(),
        Request::Credit => {
            let credit = value as i32;
            handle.peer_credit.set(handle.peer_credit.get().wrapping_add(credit));
            stream.add_credit(credit);
        }
        // On the wire 0 is the policy's, and the largest number cancels, as in the header.
        Request::Timeout => stream.set_timeout(Timeout::Millis(value)),
    }
    handle.schedule_write();
    OK
}

/// Asks to send: the tx callback comes when that is possible. Connects if needed.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_request_tx(handle: *mut CHandle) -> Return {
    request(handle, Request::Tx, 0)
}

/// Asks to send a message of this many bytes.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_request_tx_len(handle: *mut CHandle, len: c_ulong) -> Return {
    request(handle, Request::TxLen, u32::try_from(len).unwrap_or(u32::MAX))
}

/// Asks for the onward connection.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_client_connect(handle: *mut CHandle) -> Return {
    request(handle, Request::Connect, 0)
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
    if handle.in_rideshare.get() || handle.store_tx_rideshare() {
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
    let (name, value) = unsafe { (bytes(name), core::slice::from_raw_parts(value.cast(), len)) };
    let failed = handle.set_metadata(name, value);
    handle.schedule_write();
    failed
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
        let node = handle.received.find(bytes(name));
        if node.is_null() {
            return 1;
        }
        *value = Node::value(node).cast();
        *len = (*node).value_len;
    }
    0
}

/// Lets the remote peer send this many more bytes.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_add_peer_tx_credit(handle: *mut CHandle, add: i32) -> c_int {
    request(handle, Request::Credit, add as u32)
}

/// How many more bytes the remote peer may send, as far as known.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_get_est_peer_tx_credit(handle: *mut CHandle) -> c_int {
    Handle::from_c(handle).map_or(0, |handle| handle.peer_credit.get())
}

/// Starts the stream's timeout; 0 for the policy's. The largest number cancels it.
///
/// # Safety
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_start_timeout(handle: *mut CHandle, timeout_ms: c_uint) {
    request(handle, Request::Timeout, timeout_ms);
}

/// The object that was allocated with the stream.
///
/// # Safety
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_sspc_to_user_object(handle: *mut CHandle) -> *mut c_void {
    Handle::from_c(handle).map_or(null_mut(), Handle::user)
}

/// Names the streams that there are in the log, a line each.
///
/// # Safety
/// The context is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_ss_dump_extant(cx: *mut Context, _tsi: c_int) {
    // SAFETY: the caller's promise; the list holds streams alone.
    unsafe {
        let mut at = (*cx).ss_client_owner.head;
        while !at.is_null() {
            log::line(log::NOTICE, Some(Handle::from_list(at)), c"is there");
            at = (*at).next;
        }
    }
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
    if rx.is_some() {
        handle.rx.set(rx);
    }
    if tx.is_some() {
        handle.tx.set(tx);
    }
    if state.is_some() {
        handle.state.set(state);
    }
}
