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
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};

use sspc_mux::{Channel as Index, Event, Instant, Mux as Engine, Priority};

use crate::abi::imports::lws_sul_cancel;
use crate::abi::{Channel, Context, LINK_DOWN, LINK_UP, Mux, Owner, ParseCbs, Path};
use crate::list::{lws_dll2_add_tail, lws_dll2_remove};
use crate::stream::{Handle, Timer, now};
use crate::transport::{close_channel, lws_transport_mux_client_ops};
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
    pub(crate) public: UnsafeCell<Mux>,
    pub(crate) busy: Cell<bool>,
    /// How many calls that use the mux are under way.
    pub(crate) depth: Cell<u8>,
    pub(crate) doomed: Cell<bool>,
    /// Where the channel that is being asked for bytes puts them, and how many there are then.
    pub(crate) room: Cell<*mut u8>,
    pub(crate) room_len: Cell<usize>,
    pub(crate) room_used: Cell<usize>,
    pub(crate) timer: Timer,
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
        MuxRef::from_c(owner.cast::<u8>().sub(offset_of!(Mux, owner)).cast())
    }
}

/// The channel of a stream's path; null if its transport is not the mux, or it has none.
fn channel_of(path: &Path) -> *mut Channel {
    let is_mux = core::ptr::eq(path.ops_onw, &raw const lws_transport_mux_client_ops);
    if is_mux { path.priv_onw.cast() } else { null_mut() }
}

/// The room in which the stream's bytes are to be put and its length, if its mux asks it for some
/// just now; else null.
pub(crate) fn room(path: &Path) -> (*mut u8, usize) {
    // SAFETY: a stream's channel is valid.
    match unsafe { mux_of(channel_of(path)) } {
        Some(mux) => (mux.room.get(), mux.room_len.get()),
        None => (null_mut(), 0),
    }
}

/// The stream uses its channel no more.
pub(crate) fn let_go(path: &Path) {
    // SAFETY: a stream's channel is valid.
    if let Some(channel) = unsafe { channel_of(path).as_mut() } {
        channel.priv_ = null_mut();
    }
}

/// The stream's end is to be told to the proxy before the channel is closed.
pub(crate) fn say_goodbye(path: &Path) {
    // SAFETY: a stream's channel is valid.
    if let Some(channel) = unsafe { channel_of(path).as_mut() }
        && channel.state == state::OPEN
    {
        channel.todo |= GOODBYE;
    }
}

impl MuxRef {
    pub(crate) fn from_c(mux: *mut Mux) -> Option<Self> {
        NonNull::new(mux.cast()).map(Self)
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

    /// The engine.
    ///
    /// # Safety
    /// It is not busy, and the reference is not used after C code ran.
    pub(crate) unsafe fn engine<'e>(self) -> &'e mut Engine {
        // SAFETY: nobody else has it: what could come in between marks it as busy.
        unsafe { &mut *self.engine.get() }
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
    #[inline(never)]
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
            let channel = alloc::zeroed(self.cx(), size_of::<Channel>()).cast::<Channel>();
            if channel.is_null() {
                return false;
            }
            (*channel).priv_ = handle.as_ptr();
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

    /// A channel is at its end: its stream is told, by the callbacks too if there are any, and it
    /// is freed.
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
                if handle.path().priv_onw == channel.cast() {
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
    pub(crate) fn wake(self, mut input: &[u8], cbs: &ParseCbs) {
        if self.busy.get() {
            return;
        }
        self.enter();
        while !self.doomed.get() {
            let now = now();
            // SAFETY: the engine is not busy; an event borrows from the input alone.
            let engine = unsafe { self.engine() };
            let Some(event) =
                engine.receive(now, &mut input).or_else(|| engine.handle_timeout(now))
            else {
                break;
            };
            self.tell(event, cbs);
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
        // SAFETY: the engine is not busy where no call is under way.
        unsafe {
            Timer::arm(self.engine().deadline().unwrap_or(Instant::NEVER), &self.timer, self.cx())
        };
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
        let whole = out.len();
        let now = now();
        self.busy.set(true);
        // SAFETY: as it is busy nobody else has it.
        let engine = unsafe { self.engine() };
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
