//! From the engine's events to the application's callbacks.

use core::ffi::{CStr, c_int};
use core::ptr::{NonNull, null_mut};

use sspc::{Event, Flags};

use crate::abi::{DESTROY_ME, DISCONNECT_ME, Return};
use crate::stream::Handle;
use crate::{alloc, log};

/// The most payload that a callback gets at once: what applications of the reference expect.
const RX_MAX: usize = 1380;
pub(crate) const DISCONNECTED: u32 = 2;
const CONNECTED: u32 = 5;
/// The state that is the last.
pub(crate) const DESTROYING: u32 = 7;
/// The longest rideshare name that is kept.
const RIDESHARE_MAX: usize = 32;

/// An event, without what it borrows from the engine.
pub(crate) enum Told {
    Nothing,
    State(u32, u32),
    Payload(*const u8, usize, Flags),
    Log(c_int, &'static CStr),
}

impl Handle {
    /// Keeps what the engine lends, and says what the application is to be told.
    pub(crate) fn note(self, event: Event<'_>) -> Told {
        match event {
            Event::State { state, ordinal } => Told::State(state.code(), ordinal),
            Event::Payload { data, flags, rideshare } => {
                self.in_rideshare.set(false);
                if let Some(name) = rideshare {
                    self.in_rideshare.set(self.keep_rideshare(name));
                }
                Told::Payload(data.as_ptr(), data.len(), flags)
            }
            Event::Metadata { name, value } => {
                let total = usize::from(value.total);
                let at = if value.is_first() {
                    // SAFETY: the context is the handle's own.
                    unsafe { self.received.add(self.cx, name, total) }
                } else {
                    self.received
                        .find(name)
                        .filter(|(_, len)| *len == total)
                        .map_or(null_mut(), |(at, _)| at)
                };
                let offset = usize::from(value.offset);
                if !at.is_null() && offset + value.data.len() <= total {
                    // SAFETY: the value has so many bytes, and they are the list's own.
                    unsafe {
                        at.add(offset)
                            .copy_from_nonoverlapping(value.data.as_ptr(), value.data.len());
                    }
                }
                Told::Nothing
            }
            Event::Perf(piece) => {
                let mut flags = Flags::PERF_JSON;
                if piece.is_first() {
                    flags |= Flags::SOM;
                }
                if piece.is_last() {
                    flags |= Flags::EOM;
                }
                Told::Payload(piece.data.as_ptr(), piece.data.len(), flags)
            }
            Event::Refused { .. } => Told::Log(log::ERR, c"the proxy refuses the streamtype"),
            Event::Fault(_) => Told::Log(log::WARN, c"the proxy broke the protocol"),
            _ => Told::Nothing,
        }
    }

    /// Keeps the name of the message to be sent next, if it is not the stream's own; false if it is.
    pub(crate) fn note_rideshare(self) -> bool {
        // SAFETY: the streamtype has so many bytes.
        let own = unsafe { core::slice::from_raw_parts(self.streamtype, self.streamtype_len) };
        let kept = self.engine(|stream| match stream.rideshare_name() {
            Some(name) if name != own => self.keep_rideshare(name),
            _ => false,
        });
        kept == Some(true)
    }

    /// Keeps a name for `lws_sspc_rideshare`; false if there is no memory.
    pub(crate) fn keep_rideshare(self, name: &[u8]) -> bool {
        if self.rideshare.get().is_null() {
            // SAFETY: the context is the handle's own.
            let memory = unsafe { alloc::zeroed(self.cx, RIDESHARE_MAX + 1) };
            self.rideshare.set(memory.map_or(null_mut(), NonNull::as_ptr));
        }
        let (to, len) = (self.rideshare.get(), name.len().min(RIDESHARE_MAX));
        if to.is_null() {
            return false;
        }
        // SAFETY: it has room for so many bytes and a NUL.
        unsafe {
            to.copy_from_nonoverlapping(name.as_ptr(), len);
            *to.add(len) = 0;
        }
        true
    }

    pub(crate) fn tell(self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::State(DESTROYING, _) => self.begin_again(),
            Told::State(state, ordinal) => self.tell_state(state, ordinal),
            Told::Payload(data, len, flags) => self.tell_payload(data, len, flags),
            Told::Log(level, text) => log::line(level, Some(self), text),
        }
    }

    pub(crate) fn tell_state(self, state: u32, ordinal: u32) {
        match state {
            CONNECTED => self.connected.set(true),
            DISCONNECTED => self.connected.set(false),
            _ => {}
        }
        let Some(cb) = self.state.get() else { return };
        self.enter();
        // SAFETY: the application's callback gets its own object.
        let result = unsafe { cb(self.user(), null_mut(), state as c_int, ordinal) };
        self.returned(result);
    }

    fn tell_payload(self, data: *const u8, len: usize, flags: Flags) {
        self.peer_credit.set(self.peer_credit.get().wrapping_sub(len as i32));
        let Some(cb) = self.rx.get() else { return };
        let mut at = 0;
        loop {
            let piece = (len - at).min(RX_MAX);
            let mut flags = flags.without(Flags::RIDESHARE);
            if at > 0 {
                flags = flags.without(Flags::SOM);
            }
            if at + piece < len {
                flags = flags.without(Flags::EOM | Flags::RELATED_END);
            }
            self.enter();
            // SAFETY: the bytes are the transport's, which lent them for this call.
            let result =
                unsafe { cb(self.user(), data.wrapping_add(at), piece, flags.bits() as c_int) };
            let goes_on = result != DISCONNECT_ME && result != DESTROY_ME;
            at += piece;
            self.returned(result);
            if at >= len || !goes_on || self.doomed.get() {
                self.in_rideshare.set(false);
                return;
            }
        }
    }

    /// A callback, for which the handle was entered, returned this. The caller has entered it too.
    fn returned(self, result: Return) {
        self.obey(result);
        self.apply();
        self.exit();
    }
}
