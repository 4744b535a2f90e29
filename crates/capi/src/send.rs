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
        let path = self.path();
        if self.busy.get() || path.priv_onw.is_null() {
            return OK;
        }
        self.enter();
        let mut memory = null_mut();
        let (mut at, mut len) = mux::room(&path);
        if at.is_null() {
            // SAFETY: the context is the handle's own.
            memory = unsafe { alloc::zeroed(self.cx, LWS_PRE + limit) };
            if memory.is_null() {
                log::line(log::ERR, Some(self), log::NO_MEMORY);
            } else {
                (at, len) = (memory.wrapping_add(LWS_PRE), limit);
            }
        }
        // SAFETY: the mux's buffer or the own one is valid until it is written, and nothing else
        // uses those bytes; what was written is the transport's.
        let is_taken = at.is_null() || unsafe { self.write_into(&path, at, len) };
        // SAFETY: the same.
        unsafe { alloc::give_back(self.cx, memory) };
        self.exit();
        self.run(&[]);
        if is_taken { OK } else { DISCONNECT_ME }
    }

    /// Transmits into the room and passes that on; false if the transport does not take it.
    ///
    /// # Safety
    /// The room is valid, and nobody else's; the engine is not busy.
    unsafe fn write_into(self, path: &Path, at: *mut u8, len: usize) -> bool {
        let mut result = OK;
        self.in_rideshare.set(self.note_rideshare());
        let now = now();
        self.busy.set(true);
        // SAFETY: the caller's promise; as it is busy nobody else has the engine.
        let bytes = unsafe {
            let room = core::slice::from_raw_parts_mut(at, len);
            self.engine().transmit(now, room, &mut |body| self.ask(body, &mut result))
        };
        self.busy.set(false);
        self.in_rideshare.set(false);
        self.obey(result);
        match bytes {
            Ok(0) => true,
            Ok(bytes) => {
                self.writes.set(true);
                // SAFETY: the bytes were just written, the link is the transport's.
                self.ops()
                    .write
                    .is_some_and(|write| unsafe { write(path.priv_onw, at, bytes) } == 0)
            }
            Err(_) => {
                // Behind other frames there was too little room; next time there is more.
                mux::ask_again(path);
                true
            }
        }
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
                let todo = self.todo.get();
                let more = todo & todo::TX != 0 && !flags.contains(Flags::EOM);
                if more {
                    self.todo.set(todo & !todo::TX);
                }
                Some(Tx { len: len.min(body.len()), flags, more })
            }
        }
    }
}
