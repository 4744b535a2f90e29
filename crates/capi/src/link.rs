//! A stream's link: asks its transport for one, and hears how that went.

use core::ptr::{NonNull, null_mut};

use sspc::{LinkWish, Name};

use crate::stream::{Handle, ascii, now, todo, write_stream};
use crate::told::DISCONNECTED;
use crate::{log, mux};

impl Handle {
    pub(crate) fn poll_link(self) -> Option<Option<LinkWish>> {
        let now = now();
        self.engine(|stream| stream.poll_link(now))
    }

    pub(crate) fn open_link(self) {
        let path = self.path.get();
        // SAFETY: the path is the handle's, and its operations the transport's.
        let failed = unsafe {
            match (*path).ops_onw.as_ref().and_then(|ops| ops.event_retry_connect) {
                Some(retry_connect) => retry_connect(path, self.as_ptr()) != 0,
                None => true,
            }
        };
        if failed {
            self.link_lost();
        }
    }

    /// Gives up the link.
    pub(crate) fn drop_link(self) {
        self.close_link();
        self.link_lost();
    }

    fn close_link(self) {
        let path = self.path();
        // SAFETY: as above.
        unsafe {
            (*self.path.get()).priv_onw = null_mut();
            if !path.priv_onw.is_null()
                && let Some(close) = path.ops_onw.as_ref().and_then(|ops| ops.close)
            {
                close(path.priv_onw);
            }
        }
    }

    /// The proxy destroyed the stream, as it does when its policy changes. It is made anew, with
    /// another CREATING, after a while.
    pub(crate) fn begin_again(self) {
        log::line(log::WARN, Some(self), c"destroyed by the proxy");
        self.close_link();
        if self.connected.get() {
            self.tell_state(DISCONNECTED, 0);
        }
        let Some(config) = self.engine(|stream| *stream.config()) else { return };
        // SAFETY: the streamtype has so many bytes, and the engine is not busy.
        unsafe {
            let name = core::slice::from_raw_parts(self.streamtype, self.streamtype_len);
            let Some(Ok(name)) = ascii(name).map(Name::new) else { return };
            let room = NonNull::from(&self.room);
            write_stream(self.stream.get(), name, config, room);
        }
        let now = now();
        self.engine(|stream| {
            // As an attempt that failed, so that there is a wait before the next one.
            _ = stream.poll_link(now);
            stream.link_down(now);
        });
    }

    /// The link is gone, or could not be opened.
    pub(crate) fn link_lost(self) {
        mux::let_go(&self.path());
        // SAFETY: no reference to the path is kept anywhere.
        unsafe { (*self.path.get()).priv_onw = null_mut() };
        self.todo.set(self.todo.get() | todo::LINK_LOST);
        self.settle(true);
    }

    pub(crate) fn link_up(self) {
        let now = now();
        if self.engine(|stream| stream.link_up(now)).is_none() {
            return;
        }
        self.first_head.set(1);
        self.settle(true);
    }

    /// True if a link would be of use.
    pub(crate) fn wants_link(self) -> bool {
        self.path().priv_onw.is_null()
            && !self.doomed.get()
            && self.engine(|stream| !stream.has_ended()) == Some(true)
    }
}
