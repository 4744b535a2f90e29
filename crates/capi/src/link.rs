//! A stream's link: opened by its transport, and lost.

use core::ptr::null_mut;

use crate::mux_object;
use crate::stream::Handle;
use crate::timer::now;

/// The most payload that a callback gets at once: what applications of the reference expect.
const RX_MAX: usize = 1380;

impl Handle {
    pub(crate) fn open_link(self) {
        // SAFETY: the path is the handle's own.
        let failed = self.ops().event_retry_connect.is_none_or(|retry_connect| unsafe {
            retry_connect(self.path.get(), self.as_ptr()) != 0
        });
        if failed {
            self.link_lost();
        }
    }

    /// Gives up the link.
    pub(crate) fn drop_link(self) {
        self.close_link();
        self.link_lost();
    }

    pub(crate) fn close_link(self) {
        self.channel.set(null_mut());
        // SAFETY: no reference to the path is kept anywhere.
        let link = unsafe { core::mem::replace(&mut (*self.path.get()).priv_onw, null_mut()) };
        if let (false, Some(close)) = (link.is_null(), self.ops().close) {
            // SAFETY: it gets what the transport gave for this link.
            unsafe { close(link) };
        }
    }

    /// The link is gone, or could not be opened.
    pub(crate) fn link_lost(self) {
        // SAFETY: a stream's channel is valid.
        unsafe { mux_object::release(self.channel.replace(null_mut())) };
        // SAFETY: no reference to the path is kept anywhere.
        unsafe { (*self.path.get()).priv_onw = null_mut() };
        let now = now();
        // SAFETY: no C code runs.
        unsafe { self.engine() }.link_down(now);
        self.update();
    }

    pub(crate) fn link_up(self) {
        let now = now();
        // SAFETY: as above.
        unsafe { self.engine() }.link_up(now);
        self.first_head.set(1);
        self.update();
    }

    /// Bytes came for the stream. What is payload among them is passed on as it is.
    pub(crate) fn feed(self, input: &[u8]) {
        for part in input.chunks(RX_MAX) {
            self.make_list_room(part);
            self.write_due.set(true);
            if self.run(part) {
                return;
            }
        }
    }

    /// True if a link would be of use.
    pub(crate) fn wants_link(self) -> bool {
        // SAFETY: no C code runs.
        let has_ended = unsafe { self.engine() }.has_ended();
        self.path().priv_onw.is_null() && !self.pending_free.get() && !has_ended
    }
}
