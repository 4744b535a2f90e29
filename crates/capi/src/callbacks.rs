//! From the engine's events to the application's callbacks.

use core::ffi::c_int;
use core::ptr::null_mut;

use sspc::{Event, Flags, Piece, State};

use crate::received::Node;
use crate::stream::Handle;
use crate::timer::now;
use crate::{alloc, log};

const DISCONNECTED: u32 = 2;
const CONNECTED: u32 = 5;
/// The state that is the last, if the application ended the stream.
const DESTROYING: u32 = 7;
/// The longest rideshare name that is kept.
const RIDESHARE_MAX: usize = 32;

impl Handle {
    /// Calls the application back for an event, or keeps what it brought. It is the engine's last, which
    /// knows its name.
    pub(crate) fn report(self, event: Event<'_>) {
        match event {
            Event::State { state: State::Destroying, .. } => {
                self.report_end();
                let now = now();
                // SAFETY: no C code runs.
                unsafe { self.engine() }.revive(now);
            }
            Event::State { state, ordinal } => self.call_state(state.code(), ordinal),
            Event::Payload { data, flags, rideshare } => {
                // SAFETY: no C code runs.
                let name = unsafe { self.engine() }.event_name();
                self.in_rideshare.set(rideshare.is_some() && self.keep_rideshare(name));
                self.call_rx(data, flags);
                self.in_rideshare.set(false);
            }
            Event::Metadata { value, .. } => self.keep_metadata(value),
            Event::Perf(piece) => {
                let mut flags = Flags::PERF_JSON;
                if piece.is_first() {
                    flags |= Flags::SOM;
                }
                if piece.is_last() {
                    flags |= Flags::EOM;
                }
                self.call_rx(piece.data, flags);
            }
            Event::Refused { .. } => {
                log::line(log::ERR, Some(self), c"the proxy refuses the streamtype");
            }
            Event::Fault(_) => log::line(log::WARN, Some(self), c"the proxy broke the protocol"),
            _ => {}
        }
    }

    fn keep_metadata(self, value: Piece<'_>) {
        let (offset, total) = (usize::from(value.offset), usize::from(value.total));
        // SAFETY: no C code runs; the context is the handle's own; a value has as many bytes as its
        // node says.
        unsafe {
            let name = self.engine().event_name();
            let node = if offset == 0 {
                self.received.add(self.cx, name, total)
            } else {
                self.received.find(name)
            };
            let end = offset + value.data.len();
            if !node.is_null() && (*node).value_len == total && end <= total {
                let at = Node::value(node).add(offset);
                at.copy_from_nonoverlapping(value.data.as_ptr(), value.data.len());
            }
        }
    }

    /// Keeps the name of the message to be sent next, if it is not the stream's own; false if it is.
    pub(crate) fn store_tx_rideshare(self) -> bool {
        // SAFETY: no C code runs.
        let stream = unsafe { self.engine() };
        let own = stream.streamtype().as_bytes().as_ptr();
        stream
            .rideshare_name()
            .is_some_and(|name| name.as_ptr() != own && self.keep_rideshare(name))
    }

    /// Keeps a name for `lws_sspc_rideshare`; false if there is no memory.
    fn keep_rideshare(self, name: &[u8]) -> bool {
        if self.rideshare.get().is_null() {
            // SAFETY: the context is the handle's own.
            self.rideshare.set(unsafe { alloc::zeroed(self.cx, RIDESHARE_MAX + 1) });
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

    /// The last callbacks before the stream is freed, or made again.
    pub(crate) fn report_end(self) {
        if self.connected.get() {
            self.call_state(DISCONNECTED, 0);
        }
        self.call_state(DESTROYING, 0);
    }

    fn call_state(self, state: u32, ordinal: u32) {
        match state {
            CONNECTED => self.connected.set(true),
            DISCONNECTED => self.connected.set(false),
            _ => {}
        }
        if let Some(cb) = self.state.get() {
            // SAFETY: the application's callback gets its own object.
            let result = unsafe { cb(self.user(), null_mut(), state as c_int, ordinal) };
            self.apply_return(result);
        }
    }

    fn call_rx(self, data: &[u8], flags: Flags) {
        self.peer_credit.set(self.peer_credit.get().wrapping_sub(data.len() as i32));
        if let Some(cb) = self.rx.get() {
            // SAFETY: the bytes are the transport's, which lent them for this call.
            let result =
                unsafe { cb(self.user(), data.as_ptr(), data.len(), flags.bits() as c_int) };
            self.apply_return(result);
        }
    }
}
