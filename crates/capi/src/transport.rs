//! What C calls of the mux: as a transport of streams, and by the firmware's transport.

use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr::{NonNull, null, null_mut};

use sspc_mux::{Config, Instant, Mux as Engine, Role};

use crate::abi::{
    Channel, Context, Handle as CHandle, LINK_UP, Mux, OK, Ops, ParseCbs, Path, Priv, Return, Sul,
    TransportInfo,
};
use crate::inside::{connect_disposition, event_can_write};
use crate::mux::close_channel;
use crate::mux_object::{MuxObject, MuxRef, WRITE, mux_of};
use crate::stream::Handle;
use crate::timer::{Timer, now};
use crate::{alloc, log};

/// The time has come that the timer was set to.
unsafe extern "C" fn sul_cb(sul: *mut Sul) {
    // SAFETY: the timer is a mux's.
    let object = unsafe { sul.byte_sub(offset_of!(MuxObject, timer)) };
    if let Some(mux) = NonNull::new(object.cast()).map(MuxRef) {
        mux.timer.armed.set(Instant::ZERO);
        mux.wake(&[], &CBS);
    }
}

/// Makes a mux; null if there is no memory. See `sspc/mux.h`.
///
/// # Safety
/// The pointers are valid, the last may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_transport_mux_create(
    cx: *mut Context,
    info: *const TransportInfo,
    txp_handle: *mut c_void,
) -> *mut Mux {
    // SAFETY: the caller's promise; the memory has room for all that is written, and is not read
    // before.
    unsafe {
        let Some(object) =
            NonNull::new(alloc::zeroed(cx, size_of::<MuxObject>()).cast::<MuxObject>())
        else {
            log::line(log::ERR, None, log::NO_MEMORY);
            return null_mut();
        };
        let ms = |us: u32, default: u32| if us == 0 { default } else { us / 1000 };
        let config = Config {
            ping_ms: ms((*info).ping_interval_us, Config::DEFAULT.ping_ms),
            pong_ms: ms((*info).pong_grace_us, Config::DEFAULT.pong_ms),
            ..Config::DEFAULT
        };
        // All else is right as 0.
        let p = object.as_ptr();
        let public = (*p).public.get();
        (*public).cx = cx;
        (&raw mut (*public).info).copy_from_nonoverlapping(info, 1);
        (*public).info.txp_cpath.priv_in = public.cast();
        (*public).txp_handle = txp_handle;
        let now = now();
        (*p).engine.get().write(Engine::new(Role::Client, config, now.as_micros() as u32));
        #[cfg(feature = "arq")]
        (*p).packets.get().write(None);
        (*(*p).timer.sul.get()).cb = Some(sul_cb);
        // The first PING goes as soon as the event loop runs: not all is wired up yet.
        Timer::arm(now, &(*p).timer, cx);
        public
    }
}

/// Ends a mux and sets the pointer to null. Its streams lose their link.
///
/// # Safety
/// The pointer leads to null or a valid mux.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_transport_mux_destroy(tm: *mut *mut Mux) {
    if tm.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let mux = unsafe { core::mem::replace(&mut *tm, null_mut()) };
    if let Some(mux) = MuxRef::from_c(mux) {
        mux.destroy();
    }
}

/// Asks the mux's transport for a chance to write.
///
/// # Safety
/// The mux is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_transport_mux_request_tx(tm: *mut Mux) {
    if let Some(mux) = MuxRef::from_c(tm) {
        mux.request_write();
    }
}

/// Gives the mux bytes that came, with callbacks for what is in them; always 0.
///
/// # Safety
/// The mux and the callbacks are valid, the buffer has so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_transport_mux_rx_parse(
    tm: *mut Mux,
    buf: *const u8,
    len: usize,
    cbs: *const ParseCbs,
) -> c_int {
    // SAFETY: the caller's promise.
    let (cbs, input) = unsafe {
        if buf.is_null() {
            return 0;
        }
        (cbs.as_ref().unwrap_or(&CBS), core::slice::from_raw_parts(buf, len))
    };
    if let Some(mux) = MuxRef::from_c(tm) {
        mux.wake(input, cbs);
    }
    0
}

/// Fills the buffer with what is to be written next, and sets how many bytes that are; 0 if there
/// is nothing.
///
/// # Safety
/// The mux and the callbacks are valid, the buffer has `*len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lws_transport_mux_pending(
    tm: *mut Mux,
    buf: *mut u8,
    len: *mut usize,
    cbs: *const ParseCbs,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let (Some(mux), false) = (MuxRef::from_c(tm), buf.is_null()) else { return 0 };
        let cbs = cbs.as_ref().unwrap_or(&CBS);
        *len = mux.pending(core::slice::from_raw_parts_mut(buf, *len), cbs);
        c_int::from(*len > 0)
    }
}

unsafe extern "C" fn retry_connect(path: *mut Path, handle: *mut CHandle) -> c_int {
    // SAFETY: a stream gives its own path, whose mux is null or valid.
    unsafe {
        let (Some(mux), Some(handle)) = (MuxRef::from_c((*path).mux), Handle::from_c(handle))
        else {
            return 1;
        };
        if !(*path).priv_onw.is_null() {
            return 0;
        }
        if (*mux.public()).link_state != LINK_UP || !mux.attach(handle) {
            return 1;
        }
        mux.request_write();
    }
    0
}

unsafe extern "C" fn channel_req_write(channel: Priv) {
    // SAFETY: a stream gives its own channel.
    unsafe {
        if let Some(mux) = mux_of(channel.cast()) {
            (*channel.cast::<Channel>()).todo |= WRITE;
            mux.request_write();
        }
    }
}

unsafe extern "C" fn channel_write(channel: Priv, buf: *mut u8, len: usize) -> c_int {
    // SAFETY: a stream gives its own channel, and as many bytes as it says; the room is valid while
    // it is set.
    unsafe {
        let Some(mux) = mux_of(channel.cast()) else { return 1 };
        let at = mux.room.get();
        if at.is_null() || len > mux.room_len.get() {
            return 1;
        }
        if at != buf {
            at.copy_from(buf, len);
        }
        mux.room_used.set(len);
    }
    0
}

unsafe extern "C" fn stream_up(_: Priv) {}

unsafe extern "C" fn event_read(mux: Priv, buf: *const u8, len: usize) -> Return {
    // SAFETY: the transport gives the mux that it was made with, and so many bytes.
    unsafe { lws_transport_mux_rx_parse(mux.cast(), buf, len, null()) }
}

unsafe extern "C" fn lost_coherence(mux: Priv) {
    let Some(mux) = MuxRef::from_c(mux.cast()) else { return };
    if !mux.busy.get() {
        // SAFETY: the engine is not busy.
        unsafe { mux.engine() }.reset();
        mux.wake(&[], &CBS);
    }
}

unsafe extern "C" fn event_closed(channel: Priv) -> Return {
    // SAFETY: the transport gives a channel of the mux.
    unsafe {
        if let Some(mux) = mux_of(channel.cast()) {
            mux.lose((*channel.cast::<Channel>()).ch_idx.into());
        }
    }
    OK
}

/// The mux, as the transport of streams.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static lws_transport_mux_client_ops: Ops = Ops {
    name: c"txpmuxc".as_ptr(),
    event_retry_connect: Some(retry_connect),
    event_connect_disposition: Some(connect_disposition),
    req_write: Some(channel_req_write),
    write: Some(channel_write),
    close: Some(close_channel),
    event_stream_up: Some(stream_up),
    event_read: Some(event_read),
    lost_coherence: Some(lost_coherence),
    event_can_write: Some(event_can_write),
    event_closed: Some(event_closed),
    ..Ops::NONE
};

unsafe extern "C" fn cb_payload(channel: *mut Channel, buf: *const u8, len: usize) -> c_int {
    // SAFETY: the mux gives one of its channels, with a stream, and so many bytes.
    unsafe {
        if let Some(handle) = Handle::from_c((*channel).priv_) {
            handle.feed(core::slice::from_raw_parts(buf, len));
        }
    }
    0
}

unsafe extern "C" fn cb_opens(channel: *mut Channel, determination: c_int) -> c_int {
    // SAFETY: the mux gives one of its channels.
    unsafe { connect_disposition((*channel).priv_, determination) };
    0
}

unsafe extern "C" fn cb_closes(_: *mut Channel) -> c_int {
    0
}

unsafe extern "C" fn cb_can_write(channel: *mut Channel) -> c_int {
    // SAFETY: the mux gives one of its channels.
    unsafe { event_can_write((*channel).priv_, 2048) }
}

/// What the mux does by itself with what it reads.
static CBS: ParseCbs = ParseCbs {
    payload: Some(cb_payload),
    ch_opens: Some(cb_opens),
    ch_closes: Some(cb_closes),
    txp_req_write: None,
    txp_can_write: Some(cb_can_write),
};
