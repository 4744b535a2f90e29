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

use core::cell::{Cell, UnsafeCell};
use core::ptr::{NonNull, null_mut};

use sspc_mux::{Channel as Index, Event, Instant, Mux as Engine, Priority};

use crate::abi::imports::lws_sul_cancel;
use crate::abi::{Channel, Context, LINK_DOWN, LINK_UP, Mux, Owner, ParseCbs, Path, Sul};
use crate::list::{lws_dll2_add_tail, lws_dll2_remove};
use crate::stream::{Handle, Shell, arm, now};
use crate::transport::{close_channel, lws_transport_mux_client_ops, sul_cb};
use crate::{alloc, log};

/// Of [`Channel::state`], as in the header.
pub(crate) mod state {
    pub(crate) const PENDING: u8 = 0;
    pub(crate) const ASKED: u8 = 1;
    pub(crate) const OPEN: u8 = 4;
    pub(crate) const LEAVING: u8 = 5;
    /// Its end is being told; whoever tells it frees it.
    pub(crate) const ENDING: u8 = 7;
}

/// The stream wants to write. Of [`Channel::todo`].
pub(crate) const WRITE: u8 = 1;
/// The proxy is to be told that the stream is destroyed. Of [`Channel::todo`].
pub(crate) const GOODBYE: u8 = 2;
/// What tells it: DESTROYING, with no body.
const GOODBYE_FRAME: [u8; 3] = [0xac, 0, 0];
/// Any index, for [`MuxRef::find`].
const ANY: u16 = 0x100;
/// In front of the bytes of a channel.
const HEAD: usize = 4;

/// A mux: what C sees of it, which its pointers lead to, and what it does not see.
#[repr(C)]
pub(crate) struct Whole {
    // What is used most comes first: short instructions reach it.
    pub(crate) busy: Cell<bool>,
    /// How many calls that use the mux are under way.
    pub(crate) depth: Cell<u8>,
    pub(crate) doomed: Cell<bool>,
    /// Where the channel that is being asked for bytes puts them, and how many there are then.
    pub(crate) room: Cell<*mut u8>,
    pub(crate) room_len: Cell<usize>,
    pub(crate) room_used: Cell<usize>,
    pub(crate) armed: Cell<Instant>,
    pub(crate) public: UnsafeCell<Mux>,
    pub(crate) sul: UnsafeCell<Sul>,
    pub(crate) engine: UnsafeCell<Engine>,
}

/// A mux by its address.
#[derive(Clone, Copy)]
pub(crate) struct MuxRef(pub(crate) NonNull<Whole>);

impl core::ops::Deref for MuxRef {
    type Target = Whole;

    fn deref(&self) -> &Whole {
        // SAFETY: what C gives is valid; one that is used by a call that is under way is not freed
        // before its end.
        unsafe { self.0.as_ref() }
    }
}

/// The mux that a channel is of; `None` if it is of none.
///
/// # Safety
/// The channel is null or valid.
pub(crate) unsafe fn mux_of(channel: *mut Channel) -> Option<MuxRef> {
    if channel.is_null() {
        return None;
    }
    // SAFETY: a channel's list is in its mux.
    unsafe {
        let owner = (*channel).list.owner;
        if owner.is_null() {
            return None;
        }
        MuxRef::from_c(owner.cast::<u8>().sub(core::mem::offset_of!(Mux, owner)).cast())
    }
}

/// The channel of a stream's path, if its transport is the mux.
fn channel_of(path: &Path) -> Option<*mut Channel> {
    let is_mux = core::ptr::eq(path.ops_onw, &raw const lws_transport_mux_client_ops);
    (is_mux && !path.priv_onw.is_null()).then(|| path.priv_onw.cast())
}

/// The room in which the stream's bytes are to be put, if its mux asks it for some just now.
///
/// # Safety
/// The path is a handle's.
pub(crate) fn room(path: &Path) -> Option<(*mut u8, usize)> {
    // SAFETY: a stream's channel is valid.
    let mux = unsafe { mux_of(channel_of(path)?) }?;
    match mux.room.get() {
        at if at.is_null() => None,
        at => Some((at, mux.room_len.get())),
    }
}

/// The stream has more to write than there was room for.
pub(crate) fn ask_again(path: &Path) {
    if let Some(channel) = channel_of(path) {
        // SAFETY: a stream's channel is valid.
        unsafe { (*channel).todo |= WRITE };
    }
}

/// The stream uses its channel no more.
pub(crate) fn let_go(path: &Path) {
    if let Some(channel) = channel_of(path) {
        // SAFETY: a stream's channel is valid.
        unsafe { (*channel).priv_ = null_mut() };
    }
}

/// The stream's end is to be told to the proxy before the channel is closed.
pub(crate) fn say_goodbye(path: &Path) {
    if let Some(channel) = channel_of(path) {
        // SAFETY: a stream's channel is valid.
        unsafe {
            if (*channel).state == state::OPEN {
                (*channel).todo |= GOODBYE;
            }
        }
    }
}

impl MuxRef {
    pub(crate) fn from_c(mux: *mut Mux) -> Option<Self> {
        if mux.is_null() {
            return None;
        }
        NonNull::new(mux.wrapping_byte_sub(core::mem::offset_of!(Whole, public)).cast()).map(Self)
    }

    pub(crate) fn public(self) -> *mut Mux {
        self.public.get()
    }

    fn owner(self) -> *mut Owner {
        // SAFETY: only the address of the field is taken.
        unsafe { &raw mut (*self.public()).owner }
    }

    fn cx(self) -> *mut Context {
        // SAFETY: no reference to it is kept.
        unsafe { (*self.public()).cx }
    }

    /// Does something with the engine, which calls no C; `None` if that is busy.
    pub(crate) fn engine<R>(self, f: impl FnOnce(&mut Engine) -> R) -> Option<R> {
        if self.busy.get() {
            return None;
        }
        // SAFETY: nobody else has it: what could come in between marks it as busy.
        Some(f(unsafe { &mut *self.engine.get() }))
    }

    /// The channel with this index, or [`ANY`], and one of these states, a bit for each; null if
    /// there is none.
    #[inline(never)]
    fn find(self, index: u16, states: u8) -> *mut Channel {
        // SAFETY: what is in the list is a channel whose first field is its element.
        unsafe {
            let mut at = (*self.owner()).head.cast::<Channel>();
            while !at.is_null() {
                let is_it = index == ANY || u16::from((*at).ch_idx) == index;
                if is_it && states & 1 << ((*at).state & 7) != 0 {
                    break;
                }
                at = (*at).list.next.cast();
            }
            at
        }
    }

    /// Asks the firmware's transport for a chance to write.
    pub(crate) fn request_write(self) {
        // SAFETY: the path's operations and their argument are valid.
        unsafe {
            let path = (*self.public()).info.txp_cpath;
            if let Some(req_write) = path.ops_onw.as_ref().and_then(|ops| ops.req_write) {
                req_write(path.priv_onw);
            }
        }
    }

    /// A new channel for a stream; false if there is no memory.
    pub(crate) fn attach(self, handle: Handle) -> bool {
        // SAFETY: the memory has room for a channel; the handle's path is its own.
        unsafe {
            let Some(memory) = alloc::zeroed(self.cx(), size_of::<Channel>()) else { return false };
            let channel = memory.as_ptr().cast::<Channel>();
            (*channel).priv_ = handle.as_ptr();
            (*channel).state = state::PENDING;
            lws_dll2_add_tail(&raw mut (*channel).list, self.owner());
            (*handle.path.get()).priv_onw = channel.cast();
        }
        true
    }

    /// # Safety
    /// The channel is one of this mux; nobody uses it any more.
    pub(crate) unsafe fn free(self, channel: *mut Channel) {
        // SAFETY: the caller's promise.
        unsafe {
            lws_dll2_remove(&raw mut (*channel).list);
            alloc::give_back(self.cx(), channel.cast());
        }
    }

    /// A channel is at its end: its stream is told, and it is freed.
    ///
    /// # Safety
    /// As of [`MuxRef::free`], apart from its stream.
    unsafe fn end(self, channel: *mut Channel, tell: impl FnOnce(*mut Channel)) {
        // SAFETY: the caller's promise; while it is ending nobody else frees it.
        unsafe {
            (*channel).state = state::ENDING;
            tell(channel);
            if let Some(handle) = Handle::from_c((*channel).priv_) {
                // Unless it has another one by now.
                if handle.path().priv_onw == channel.cast() {
                    handle.link_lost();
                }
            }
            self.free(channel);
        }
    }

    /// Gives the engine the commands that the channels have for it.
    fn sync(self) {
        let Some(is_up) = self.engine(|engine| engine.is_up()) else { return };
        loop {
            let mut refused = null_mut::<Channel>();
            // SAFETY: no callback runs while the list is walked, and what is next is read before a
            // channel is freed.
            unsafe {
                let mut at = (*self.owner()).head.cast::<Channel>();
                while !at.is_null() {
                    let (channel, next) = (at, (*at).list.next.cast());
                    at = next;
                    let index = Index::new((*channel).ch_idx);
                    match (*channel).state {
                        state::PENDING if is_up => {
                            match self.engine(|engine| engine.open(Priority::HIGHEST)) {
                                Some(Ok(index)) => {
                                    (*channel).ch_idx = index.index();
                                    (*channel).state = state::ASKED;
                                }
                                _ => refused = channel,
                            }
                        }
                        state::OPEN | state::LEAVING if (*channel).todo != 0 => {
                            (*channel).todo &= !WRITE;
                            self.engine(|engine| engine.wants_to_send(index, true));
                        }
                        state::LEAVING => {
                            self.engine(|engine| engine.close(index));
                            self.free(channel);
                        }
                        _ => {}
                    }
                }
                if refused.is_null() {
                    return;
                }
                self.end(refused, |_| {});
            }
        }
    }

    /// Bytes came from the firmware's transport.
    pub(crate) fn feed(self, input: &[u8], cbs: &ParseCbs) {
        self.enter();
        let mut rest = input;
        while !self.doomed.get() {
            let now = now();
            match self.engine(|engine| engine.receive(now, &mut rest)).flatten() {
                Some(event) => self.tell(event, cbs),
                None => break,
            }
        }
        self.wake(cbs);
    }

    /// Does what the time has come for, and what the streams want; the mux was entered.
    pub(crate) fn wake(self, cbs: &ParseCbs) {
        while !self.doomed.get() {
            let now = now();
            match self.engine(|engine| engine.handle_timeout(now)).flatten() {
                Some(event) => self.tell(event, cbs),
                None => break,
            }
        }
        self.sync();
        self.request_write();
        self.leave();
    }

    pub(crate) fn enter(self) {
        self.depth.set(self.depth.get().wrapping_add(1));
    }

    fn leave(self) {
        self.depth.set(self.depth.get().wrapping_sub(1));
        if self.depth.get() > 0 {
            return;
        }
        if self.doomed.get() {
            self.destroy();
            return;
        }
        let at = self.engine(|engine| engine.deadline()).flatten();
        // SAFETY: the mux's own timer and its context.
        unsafe { arm(self.cx(), self.sul.get(), &self.armed, at, sul_cb) };
    }

    fn tell(self, event: Event<'_>, cbs: &ParseCbs) {
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
            Event::Refused { channel, .. } => {
                let index = channel.index().into();
                let channel = self.find(index, !(1 << state::PENDING));
                if channel.is_null() {
                    return;
                }
                // SAFETY: the channel is this mux's; one that is leaving has no stream.
                unsafe {
                    match ((*channel).state, cbs.ch_opens) {
                        (state::ASKED, Some(ch_opens)) => {
                            self.end(channel, |channel| _ = ch_opens(channel, 1));
                        }
                        _ => self.end(channel, |_| {}),
                    }
                }
            }
            Event::Closed { channel } => {
                let index = channel.index().into();
                let channel = self.find(index, !(1 << state::PENDING));
                if channel.is_null() {
                    return;
                }
                // SAFETY: as above.
                unsafe {
                    match ((*channel).state, cbs.ch_closes) {
                        (state::OPEN, Some(ch_closes)) => {
                            self.end(channel, |channel| _ = ch_closes(channel));
                        }
                        _ => self.end(channel, |_| {}),
                    }
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

    /// What came in a channel has no sense: it alone is closed.
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
                let next = (*at).next;
                if let Some(handle) = Handle::from_member(at, core::mem::offset_of!(Shell, list))
                    && handle.path().mux == self.public()
                    && handle.wants_link()
                {
                    self.attach(handle);
                }
                at = next;
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
                self.end(channel, |_| {});
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
        let whole = out.len();
        let now = now();
        self.busy.set(true);
        // SAFETY: as it is busy nobody else has it.
        let engine = unsafe { &mut *self.engine.get() };
        let mut source =
            |index: Index, body: &mut [u8]| self.ask(index.index().into(), body, whole, cbs);
        let bytes = engine.transmit(now, out, &mut source).unwrap_or(0);
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
                if (*channel).todo & GOODBYE == 0 {
                    return 0;
                }
                let Some(room) = body.first_chunk_mut() else { return 0 };
                (*channel).todo = 0;
                *room = GOODBYE_FRAME;
                return GOODBYE_FRAME.len();
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
        self.doomed.set(true);
        if self.depth.get() > 0 || self.busy.get() {
            return;
        }
        self.enter();
        self.link_down();
        // SAFETY: no stream and no timer leads to the mux any more; it came from this context.
        unsafe {
            let cx = self.cx();
            let mut at = (*cx).ss_client_owner.head;
            while !at.is_null() {
                if let Some(handle) = Handle::from_member(at, core::mem::offset_of!(Shell, list)) {
                    let path = handle.path.get();
                    if (*path).mux == self.public() {
                        (*path).mux = null_mut();
                    }
                }
                at = (*at).next;
            }
            if (*cx).txp_cpath.mux == self.public() {
                (*cx).txp_cpath.mux = null_mut();
            }
            lws_sul_cancel(self.sul.get());
            alloc::give_back(cx, self.0.as_ptr().cast());
        }
    }
}

/// A frame of a stream with less than this is put off if it can be: 19 bytes are in front of a
/// payload.
const ROOM_MIN: usize = 64;
