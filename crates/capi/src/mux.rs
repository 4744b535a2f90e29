//! `lws_transport_mux`: many streams on one byte pipe, as a transport between a stream and the
//! firmware's own.
//!
//! A channel of C is made when a stream wants a link, and lives until its end is sent:
//!
//! ```text
//!            sync, link up           CHANNEL_ACK                    close
//!   Pending ───────────────► Asked ─────────────► Open ──────────────────────► Leaving
//!                              │ refused            │ closed, link down          │ sync
//!                              └────────────────────┴────────────────────────────┴──► freed
//! ```
//!
//! Commands to the engine are given in [`sync`](MuxRef::sync), when it is not busy.

use core::ptr::null_mut;

use sspc_mux::{Channel as Index, Event, Instant, Priority};

use crate::abi::imports::lws_sul_cancel;
use crate::abi::{Channel, LINK_DOWN, LINK_UP, ParseCbs, Priv};
use crate::list::lws_dll2_add_tail;
use crate::mux_object::{ANY, DESTROYING_DUE, MuxRef, WRITE, mux_of, state};
use crate::stream::Handle;
use crate::timer::{Timer, now};
use crate::{alloc, log};

/// DESTROYING, with no body.
const DESTROYING_FRAME: [u8; 3] = [0xac, 0, 0];
/// In front of the bytes of a channel.
const HEAD: usize = 4;

impl MuxRef {
    /// A new channel for a stream; false if there is no memory.
    pub(crate) fn attach(self, handle: Handle) -> bool {
        // SAFETY: the memory has room for a channel; the handle's path is its own.
        unsafe {
            let channel = alloc::zeroed(self.cx(), size_of::<Channel>()).cast::<Channel>();
            if channel.is_null() {
                return false;
            }
            (*channel).priv_ = handle.as_ptr();
            lws_dll2_add_tail(&raw mut (*channel).list, self.owner());
            handle.channel.set(channel);
            (*handle.path.get()).priv_onw = channel.cast();
        }
        true
    }

    /// A channel is at its end: the callbacks, if there are any, and its stream are called, and it is
    /// freed.
    ///
    /// # Safety
    /// As of [`MuxRef::free`], apart from its stream.
    unsafe fn end(self, channel: *mut Channel, cbs: Option<&ParseCbs>) {
        // SAFETY: the caller's promise; while it is ending nobody else frees it.
        unsafe {
            let state = core::mem::replace(&mut (*channel).state, state::ENDING);
            if let Some(cbs) = cbs {
                match (state, cbs.ch_opens, cbs.ch_closes) {
                    (state::ASKED, Some(ch_opens), _) => _ = ch_opens(channel, 1),
                    (state::OPEN, _, Some(ch_closes)) => _ = ch_closes(channel),
                    _ => {}
                }
            }
            if let Some(handle) = Handle::from_c((*channel).priv_) {
                // Unless it has another one by now.
                if handle.channel.get() == channel {
                    handle.link_lost();
                }
            }
            self.free(channel);
        }
    }

    /// Gives the engine, if it is not busy, the commands that the channels have for it.
    fn sync(self) {
        if self.busy.get() {
            return;
        }
        // SAFETY: no callback runs while the list is walked, and what is next is read before a
        // channel is freed.
        unsafe {
            let engine = self.engine();
            let mut next = (*self.owner()).head.cast::<Channel>();
            while let Some(channel) = next.as_mut() {
                next = channel.list.next.cast();
                let index = Index::new(channel.ch_idx);
                match channel.state {
                    // Without a free index, or a link, it waits.
                    state::PENDING => {
                        if let Ok(index) = engine.open(Priority::HIGHEST) {
                            channel.ch_idx = index.index();
                            channel.state = state::ASKED;
                        }
                    }
                    state::OPEN | state::LEAVING if channel.todo != 0 => {
                        channel.todo &= !WRITE;
                        engine.wants_to_send(index, true);
                    }
                    state::LEAVING => {
                        engine.close(index);
                        self.free(channel);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Bytes came from the firmware's transport, for an engine that is not busy; or time went on.
    /// Does what the time has come for, and what the streams want.
    pub(crate) fn wake(self, input: &[u8], cbs: &ParseCbs) {
        if self.busy.get() {
            return;
        }
        self.enter();
        #[cfg(feature = "arq")]
        let input = self.receive_packets(input, cbs);
        self.receive(input, cbs);
        self.sync();
        self.request_write();
        self.leave();
    }

    /// Bytes came for the engine, which is not busy.
    pub(crate) fn receive(self, mut input: &[u8], cbs: &ParseCbs) {
        while !self.pending_free.get() {
            let now = now();
            // SAFETY: the engine is not busy; an event borrows from the input alone.
            let engine = unsafe { self.engine() };
            let Some(event) =
                engine.receive(now, &mut input).or_else(|| engine.handle_timeout(now))
            else {
                break;
            };
            self.report(event, cbs);
        }
    }

    pub(crate) fn enter(self) {
        self.depth.set(self.depth.get().wrapping_add(1));
    }

    fn leave(self) {
        self.depth.set(self.depth.get().wrapping_sub(1));
        if self.depth.get() > 0 {
            return;
        }
        if self.pending_free.get() {
            self.destroy();
            return;
        }
        // SAFETY: the engine is not busy where no call is under way.
        let at = unsafe { self.engine() }.deadline().unwrap_or(Instant::NEVER);
        #[cfg(feature = "arq")]
        let at = self.with_packets(at);
        // SAFETY: the timer is this mux's.
        unsafe { Timer::arm(at, &self.timer, self.cx()) };
    }

    fn report(self, event: Event<'_>, cbs: &ParseCbs) {
        match event {
            Event::LinkUp { .. } => {
                log::line(log::NOTICE, None, c"mux: the link is up");
                self.link_up();
            }
            Event::LinkDown { .. } => {
                log::line(log::WARN, None, c"mux: the link is down");
                self.link_down();
            }
            Event::PeerClock { unix_us } => {
                // SAFETY: no reference to it is kept.
                unsafe {
                    (*self.public()).us_unixtime_peer = unix_us;
                    (*self.public()).us_unixtime_peer_loc = now().as_micros();
                }
            }
            Event::Opened { channel } => self.opened(channel.index().into(), cbs),
            Event::Refused { channel, .. } | Event::Closed { channel } => {
                let states = !(1 << state::PENDING | 1 << state::ENDING);
                let channel = self.find(channel.index().into(), states);
                if !channel.is_null() {
                    // SAFETY: the channel is this mux's; one that is leaving has no stream.
                    unsafe { self.end(channel, Some(cbs)) };
                }
            }
            Event::Data { channel, piece } => {
                let index = channel.index().into();
                let channel = self.find(index, 1 << state::OPEN);
                let Some(payload) = cbs.payload.filter(|_| !channel.is_null()) else { return };
                // SAFETY: the bytes are the transport's; the channel is this mux's.
                if unsafe { payload(channel, piece.as_ptr(), piece.len()) } != 0 {
                    self.lose(index);
                }
            }
            _ => {}
        }
    }

    /// The peer opened a channel that was asked for.
    fn opened(self, index: u16, cbs: &ParseCbs) {
        let channel = self.find(index, 1 << state::ASKED);
        let Some(ch_opens) = cbs.ch_opens.filter(|_| !channel.is_null()) else { return };
        // SAFETY: the channel is this mux's.
        unsafe {
            (*channel).state = state::OPEN;
            if ch_opens(channel, 0) != 0 {
                self.lose(index);
            }
        }
    }

    /// What came in a channel breaks the protocol: only this channel is closed.
    pub(crate) fn lose(self, index: u16) {
        let channel = self.find(index, 1 << state::OPEN);
        if channel.is_null() {
            return;
        }
        // SAFETY: the channel is this mux's, and stays until it is left.
        unsafe {
            let handle = Handle::from_c((*channel).priv_);
            close_channel(channel.cast());
            if let Some(handle) = handle {
                handle.link_lost();
            }
        }
    }

    /// Every stream that waits for a link gets its channel.
    fn link_up(self) {
        // SAFETY: what is in the context's list is a handle's element; no callback runs meanwhile.
        unsafe {
            (*self.public()).link_state = LINK_UP;
            let mut at = (*self.cx()).ss_client_owner.head;
            while !at.is_null() {
                let handle = Handle::from_list(at);
                if handle.path().mux == self.public() && handle.wants_link() {
                    self.attach(handle);
                }
                at = (*at).next;
            }
        }
    }

    /// All channels are gone.
    fn link_down(self) {
        // SAFETY: no reference to it is kept; each turn ends one channel, and none are made while
        // the link is down.
        unsafe {
            (*self.public()).link_state = LINK_DOWN;
            loop {
                let channel = self.find(ANY, !(1 << state::ENDING));
                if channel.is_null() {
                    return;
                }
                self.end(channel, None);
            }
        }
    }

    /// Fills a buffer with what is to be written next.
    pub(crate) fn pending(self, out: &mut [u8], cbs: &ParseCbs) -> usize {
        if self.busy.get() {
            return 0;
        }
        self.enter();
        self.sync();
        let now = now();
        self.busy.set(true);
        // SAFETY: as it is busy nobody else has it.
        let engine = unsafe { self.engine() };
        let mut transmit = |out: &mut [u8]| {
            let whole = out.len();
            let mut source =
                |index: Index, body: &mut [u8]| self.ask(index.index().into(), body, whole, cbs);
            engine.transmit(now, out, &mut source).unwrap_or(0)
        };
        #[cfg(feature = "arq")]
        let bytes = self.transmit_packets(now, out, &mut transmit);
        #[cfg(not(feature = "arq"))]
        let bytes = transmit(out);
        self.busy.set(false);
        self.sync();
        if bytes > 0 {
            match cbs.txp_req_write {
                // SAFETY: the callback gets the mux that it is used with.
                Some(txp_req_write) => unsafe { txp_req_write(self.public()) },
                None => self.request_write(),
            }
        }
        self.leave();
        bytes
    }

    /// Asks a channel for bytes. The engine is busy.
    fn ask(self, index: u16, body: &mut [u8], whole: usize, cbs: &ParseCbs) -> usize {
        let channel = self.find(index, 1 << state::OPEN | 1 << state::LEAVING);
        if channel.is_null() {
            return 0;
        }
        // SAFETY: the channel is this mux's, and is not freed while the engine is busy.
        unsafe {
            if (*channel).state == state::LEAVING {
                if (*channel).todo & DESTROYING_DUE == 0 {
                    return 0;
                }
                let Some(room) = body.first_chunk_mut() else { return 0 };
                (*channel).todo = 0;
                *room = DESTROYING_FRAME;
                return DESTROYING_FRAME.len();
            }
            // A stream's shortest frame with payload; with less room it waits for the next buffer.
            if body.len() < ROOM_MIN && body.len() + HEAD < whole {
                (*channel).todo |= WRITE;
                return 0;
            }
            self.room.set(body.as_mut_ptr());
            self.room_len.set(body.len());
            self.room_used.set(0);
            if let Some(txp_can_write) = cbs.txp_can_write {
                txp_can_write(channel);
            }
        }
        self.room.set(null_mut());
        self.room_used.get()
    }

    pub(crate) fn destroy(self) {
        self.pending_free.set(true);
        if self.depth.get() > 0 {
            return;
        }
        self.enter();
        self.link_down();
        // SAFETY: no stream and no timer leads to the mux any more; it came from this context.
        unsafe {
            let cx = self.cx();
            let mut at = (*cx).ss_client_owner.head;
            while !at.is_null() {
                let path = Handle::from_list(at).path.get();
                if (*path).mux == self.public() {
                    (*path).mux = null_mut();
                }
                at = (*at).next;
            }
            if (*cx).txp_cpath.mux == self.public() {
                (*cx).txp_cpath.mux = null_mut();
            }
            lws_sul_cancel(self.timer.sul.get());
            alloc::give_back(cx, self.0.as_ptr().cast());
        }
    }
}

/// A frame of a stream with less than this is put off if it can be: 19 bytes are in front of a
/// payload.
const ROOM_MIN: usize = 64;

pub(crate) unsafe extern "C" fn close_channel(channel: Priv) {
    let channel = channel.cast::<Channel>();
    // SAFETY: a stream gives its own channel, which it uses no more.
    unsafe {
        let Some(mux) = mux_of(channel) else { return };
        if let Some(handle) = Handle::from_c((*channel).priv_) {
            handle.channel.set(null_mut());
        }
        (*channel).priv_ = null_mut();
        (*channel).todo &= DESTROYING_DUE;
        match (*channel).state {
            state::PENDING => mux.free(channel),
            state::ASKED | state::OPEN => (*channel).state = state::LEAVING,
            _ => {}
        }
        mux.request_write();
    }
}
