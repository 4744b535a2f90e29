//! From the engine's frames and the application's payload to the transport.

use core::ptr::null_mut;

use sspc::{Flags, Tx};

use crate::abi::{DESTROY_ME, DISCONNECT_ME, OK, Return, TX_DONT_SEND};
use crate::stream::Handle;
use crate::timer::now;
use crate::{alloc, log, mux_object};

/// What a transport may use in front of the bytes that it writes.
const LWS_PRE: usize = 16;
/// With less room than this behind other frames payload waits for the next room.
const PAYLOAD_ROOM_MIN: usize = 256;

impl Handle {
    /// The transport can take bytes, of which there are no more than `limit`.
    pub(crate) fn write(self, limit: usize) -> Return {
        let path = self.path();
        if self.is_gathering.get() || path.priv_onw.is_null() {
            return OK;
        }
        self.enter();
        let mut memory = null_mut();
        // SAFETY: a stream's channel is valid.
        let (mut at, mut len) = unsafe { mux_object::room(self.channel.get()) };
        if at.is_null() {
            // SAFETY: the context is the handle's own.
            memory = unsafe { alloc::zeroed(self.cx, LWS_PRE + limit) };
            if memory.is_null() {
                log::line(log::ERR, Some(self), log::NO_MEMORY);
            } else {
                (at, len) = (memory.wrapping_add(LWS_PRE), limit);
            }
        }
        let mut is_taken = true;
        if !at.is_null() {
            self.is_gathering.set(true);
            // SAFETY: the mux's buffer or the own one is valid until it is written, and nothing else
            // uses those bytes.
            let bytes = unsafe { self.gather(at, len) };
            self.is_gathering.set(false);
            // The application may have lost it meanwhile.
            let link = self.path().priv_onw;
            if bytes > 0 && !link.is_null() {
                self.write_due.set(true);
                // SAFETY: the bytes were just written, the link is the transport's.
                is_taken =
                    self.ops().write.is_some_and(|write| unsafe { write(link, at, bytes) } == 0);
            }
        }
        // SAFETY: it came from there; what was written is the transport's.
        unsafe { alloc::give_back(self.cx, memory) };
        self.exit();
        self.run(&[]);
        if is_taken { OK } else { DISCONNECT_ME }
    }

    /// Puts frames in the room; how many bytes they have.
    ///
    /// # Safety
    /// The room is valid, and nobody else's.
    unsafe fn gather(self, at: *mut u8, len: usize) -> usize {
        let mut used = 0;
        while !self.pending_free.get() && (used == 0 || len - used >= PAYLOAD_ROOM_MIN) {
            // SAFETY: the caller's promise.
            let room = || unsafe { core::slice::from_raw_parts_mut(at.add(used), len - used) };
            let now = now();
            // SAFETY: no C code runs.
            let sent = unsafe { self.engine() }.transmit_asking(now, room());
            // Too little room, which a mux never gives, is as if there were nothing.
            let (bytes, asked) = sent.unwrap_or((0, None));
            let tx =
                asked.and_then(|asked| Some((asked, self.ask(room().get_mut(asked.range())?)?)));
            let Some((asked, tx)) = tx else { return used + bytes };
            // SAFETY: as above.
            used += bytes + unsafe { self.engine() }.put_piece(now, room(), asked, tx);
        }
        used
    }

    /// Asks the application for payload.
    fn ask(self, body: &mut [u8]) -> Option<Tx> {
        let cb = self.tx.get()?;
        let (mut len, mut flags) = (body.len(), 0);
        let ordinal = self.ordinal.get();
        self.ordinal.set(ordinal.wrapping_add(1));
        // SAFETY: the application's callback gets its own object and room for so many bytes.
        let result = unsafe { cb(self.user(), ordinal, body.as_mut_ptr(), &mut len, &mut flags) };
        self.apply_return(result);
        match result {
            TX_DONT_SEND | DISCONNECT_ME | DESTROY_ME => None,
            _ => Some(Tx { len, flags: Flags::from_bits(flags as u32), more: false }),
        }
    }
}
