//! From the engine's frames and the application's payload to the transport.

use core::ptr::null_mut;

use sspc::{Flags, Tx};

use crate::abi::{DESTROY_ME, DISCONNECT_ME, OK, Path, Return, TX_DONT_SEND};
use crate::stream::{Handle, now, todo};
use crate::{alloc, log, mux};

/// What a transport may use in front of the bytes that it writes.
const LWS_PRE: usize = 16;

impl Handle {
    /// The transport can take bytes, of which there are no more than `limit`.
    pub(crate) fn write(self, limit: usize) -> Return {
        if self.busy.get() {
            return OK;
        }
        let path = self.path();
        if path.priv_onw.is_null() {
            return OK;
        }
        self.enter();
        let (mut memory, mut room) = (null_mut(), mux::room(&path));
        if room.is_none() {
            // SAFETY: the context is the handle's own.
            if let Some(own) = unsafe { alloc::zeroed(self.cx, LWS_PRE + limit) } {
                memory = own.as_ptr();
                room = Some((memory.wrapping_add(LWS_PRE), limit));
            }
        }
        let written = match room {
            // SAFETY: the channel's buffer or the own one is valid until it is written, and nothing
            // else uses those bytes.
            Some((at, len)) => unsafe { self.write_into(&path, at, len) },
            None => {
                log::line(log::ERR, Some(self), c"no memory to write");
                Some(0)
            }
        };
        // SAFETY: it is the handle's context; what was written is the transport's now.
        unsafe { alloc::give_back(self.cx, memory) };
        self.exit();
        self.settle(written.is_some_and(|bytes| bytes > 0) || self.todo.get() != 0);
        if written.is_none() { DISCONNECT_ME } else { OK }
    }

    /// Transmits into the room and passes that on. How many bytes there were; `None` if the
    /// transport does not take them.
    ///
    /// # Safety
    /// The room is valid, and nobody else's.
    unsafe fn write_into(self, path: &Path, at: *mut u8, len: usize) -> Option<usize> {
        let mut result = OK;
        self.in_rideshare.set(self.note_rideshare());
        // SAFETY: the caller's promise.
        let room = unsafe { core::slice::from_raw_parts_mut(at, len) };
        let now = now();
        self.busy.set(true);
        // SAFETY: as it is busy nobody else has it.
        let stream = unsafe { &mut *self.stream.get() };
        let bytes = stream.transmit(now, room, &mut |body| self.ask(body, &mut result));
        self.busy.set(false);
        self.in_rideshare.set(false);
        self.obey(result);
        let bytes = bytes.unwrap_or_else(|_| {
            // Behind other frames there was too little room; next time there is more.
            mux::ask_again(path);
            0
        });
        if bytes > 0 {
            // SAFETY: the path's operations are the transport's, and the bytes were just written.
            let write = unsafe { (*path.ops_onw).write }?;
            // SAFETY: as above.
            if unsafe { write(path.priv_onw, at, bytes) } != 0 {
                return None;
            }
        }
        Some(bytes)
    }

    /// Asks the application for payload.
    fn ask(self, body: &mut [u8], result: &mut Return) -> Option<Tx> {
        let cb = self.tx.get()?;
        let (mut len, mut flags) = (body.len(), 0);
        let ordinal = self.ordinal.get();
        self.ordinal.set(ordinal.wrapping_add(1));
        // SAFETY: the application's callback gets its own object and room for so many bytes.
        *result = unsafe { cb(self.user(), ordinal, body.as_mut_ptr(), &mut len, &mut flags) };
        match *result {
            TX_DONT_SEND | DISCONNECT_ME | DESTROY_ME => None,
            _ => {
                // More of another message may have another rideshare name: it is asked for anew.
                let flags = Flags::from_bits(flags as u32);
                let more = self.todo.get() & todo::TX != 0 && !flags.contains(Flags::EOM);
                if more {
                    self.todo.set(self.todo.get() & !todo::TX);
                }
                Some(Tx { len: len.min(body.len()), flags, more })
            }
        }
    }
}
