//! One stream of the application: the engine, and what C knows of it. The commands are in
//! [`crate::api`]; here is what happens by itself.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ops::Deref;
use core::ptr::{NonNull, null_mut};

use sspc::{Config, Instant, LinkWish, Name, Stream, Timeout};

use crate::abi::imports::{lws_now_usecs, lws_sul_cancel, lws_sul_schedule};
use crate::abi::{
    Context, DESTROY_ME, DISCONNECT_ME, Dll2, Info, Path, Return, RxCb, StateCb, Sul, TxCb,
};
use crate::list::lws_dll2_remove;
use crate::metadata::List;
use crate::storage::{Room, Storage};
use crate::told::{DESTROYING, DISCONNECTED};
use crate::{alloc, log, mux};

/// What is to be done as soon as the engine is not busy.
pub(crate) mod todo {
    pub(crate) const TX: u8 = 0x01;
    pub(crate) const CONNECT: u8 = 0x02;
    pub(crate) const HINT: u8 = 0x04;
    pub(crate) const TIMEOUT: u8 = 0x08;
    pub(crate) const CREDIT: u8 = 0x10;
    pub(crate) const ABANDON: u8 = 0x20;
    pub(crate) const LINK_LOST: u8 = 0x40;
    pub(crate) const METADATA: u8 = 0x80;
}

/// `struct lws_sspc_handle`. The application's object follows it.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(16)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(8)))]
pub(crate) struct Shell {
    // What is used most comes first: short instructions reach it.
    pub(crate) todo: Cell<u8>,
    /// The engine is borrowed.
    pub(crate) busy: Cell<bool>,
    /// How many calls of this library that use the handle are under way.
    pub(crate) depth: Cell<u8>,
    /// There is more to do for the call that is under way.
    again: Cell<bool>,
    /// At its end the transport is to be asked for a chance to write.
    writes: Cell<bool>,
    pub(crate) doomed: Cell<bool>,
    /// The application was told CONNECTED, and not DISCONNECTED since.
    pub(crate) connected: Cell<bool>,
    /// The payload that is being given to the application came with a rideshare name, which is
    /// kept, or that which it is asked for has one.
    pub(crate) in_rideshare: Cell<bool>,
    pub(crate) cx: *mut Context,
    pub(crate) rx: Cell<RxCb>,
    pub(crate) tx: Cell<TxCb>,
    pub(crate) state: Cell<StateCb>,
    pub(crate) path: UnsafeCell<Path>,
    /// The streamtype, and behind its NUL the tag for the log.
    pub(crate) streamtype: *mut u8,
    pub(crate) streamtype_len: usize,
    pub(crate) room: Room,
    /// Where the name that `lws_sspc_rideshare` gives is, once it was needed.
    pub(crate) rideshare: Cell<*mut u8>,
    /// Values from the proxy.
    pub(crate) received: List,
    /// Values that were set while the engine was busy.
    pub(crate) stashed: List,
    pub(crate) hint: Cell<u32>,
    pub(crate) timeout_ms: Cell<u32>,
    pub(crate) credit: Cell<i32>,
    /// How much more the remote peer may send, as far as known.
    pub(crate) peer_credit: Cell<i32>,
    pub(crate) ordinal: Cell<u32>,
    /// The head of the link's first frame, behind a 1; 0 for none.
    pub(crate) first_head: Cell<u32>,
    /// How much of the storage is for rideshare names.
    pub(crate) list_room: Cell<u16>,
    /// When the timer is set to; 0 if it is not.
    armed: Cell<Instant>,
    /// In the context's list.
    pub(crate) list: UnsafeCell<Dll2>,
    sul: UnsafeCell<Sul>,
    pub(crate) stream: UnsafeCell<Stream<Storage>>,
}

/// A handle, as the engine's shell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(NonNull<Shell>);

impl Deref for Handle {
    type Target = Shell;

    fn deref(&self) -> &Shell {
        // SAFETY: handles that C gives are valid; one that is used by a call that is under way is
        // not freed before its end.
        unsafe { self.0.as_ref() }
    }
}

pub(crate) fn now() -> Instant {
    // SAFETY: the firmware gives it.
    Instant::from_micros(unsafe { lws_now_usecs() } as u64)
}

/// Sets a timer, if it is not set so already; to nothing if there is no time.
///
/// # Safety
/// The timer is one of ours, the context valid.
pub(crate) unsafe fn arm(
    cx: *mut Context,
    sul: *mut Sul,
    armed: &Cell<Instant>,
    at: Option<Instant>,
    cb: unsafe extern "C" fn(*mut Sul),
) {
    let at = at.unwrap_or(Instant::ZERO);
    if armed.replace(at) == at {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        if at == Instant::ZERO {
            lws_sul_cancel(sul);
        } else {
            let wait = at.micros_since(now());
            lws_sul_schedule(cx, 0, sul, Some(cb), wait as i64);
        }
    }
}

/// Begins a stream's life. One copy of this is enough.
///
/// # Safety
/// The memory may be written to; the room is beside it.
#[inline(never)]
pub(crate) unsafe fn write_stream(
    stream: *mut Stream<Storage>,
    name: Name,
    config: Config,
    room: NonNull<Room>,
) {
    // SAFETY: the caller's promise; a stream has nothing to drop.
    unsafe { stream.write(Stream::new(name, config, Storage(room))) };
}

impl Handle {
    /// `None` for null.
    pub(crate) fn from_c(handle: *mut c_void) -> Option<Self> {
        NonNull::new(handle.cast()).map(Self)
    }

    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// The handle whose list element or timer this is.
    ///
    /// # Safety
    /// It is one of a handle, at this offset.
    pub(crate) unsafe fn from_member<T>(member: *mut T, offset: usize) -> Option<Self> {
        // SAFETY: the caller's promise.
        Self::from_c(unsafe { member.cast::<u8>().sub(offset) }.cast())
    }

    /// A new handle in memory that is all 0, as which all else is right, with what follows it: the application's object of this
    /// size, the streamtype and the tag.
    ///
    /// # Safety
    /// The memory is large enough and aligned, the context and the streamtype valid.
    pub(crate) unsafe fn init(
        memory: NonNull<u8>,
        cx: *mut Context,
        ssi: &Info,
        name: Name,
        config: Config,
    ) -> Self {
        let shell = memory.cast::<Shell>();
        // SAFETY: the room is inside the memory, which is not read before it is written.
        unsafe {
            let p = shell.as_ptr();
            let room = NonNull::new_unchecked(&raw mut (*p).room);
            let path = (*p).path.get();
            *path = (*cx).txp_cpath;
            (*path).ops_in = &raw const crate::api::lws_txp_inside_sspc;
            (*path).priv_in = p.cast();
            (*path).priv_onw = null_mut();
            write_stream((*p).stream.get(), name, config, room);
            (*p).cx = cx;
            (*p).rx = Cell::new(ssi.rx);
            (*p).tx = Cell::new(ssi.tx);
            (*p).state = Cell::new(ssi.state);
            (*p).streamtype = memory.as_ptr().add(size_of::<Shell>() + ssi.user_alloc);
            (*p).streamtype_len = name.as_bytes().len();
            (*p).peer_credit = Cell::new(config.window as i32);
        }
        Self(shell)
    }

    /// The application's object.
    pub(crate) fn user(self) -> *mut c_void {
        // SAFETY: it follows the shell.
        unsafe { self.0.as_ptr().add(1).cast() }
    }

    /// Does something with the engine, which calls no C; `None` if that is busy.
    pub(crate) fn engine<R>(self, f: impl FnOnce(&mut Stream<Storage>) -> R) -> Option<R> {
        if self.busy.get() {
            return None;
        }
        // SAFETY: nobody else has it: what could come in between marks it as busy.
        Some(f(unsafe { &mut *self.stream.get() }))
    }

    pub(crate) fn is_busy(self) -> bool {
        self.busy.get()
    }

    pub(crate) fn path(self) -> Path {
        // SAFETY: no reference to it is kept anywhere.
        unsafe { *self.path.get() }
    }

    /// Asks the transport to let the stream write, if it has a link.
    fn request_write(self) {
        let path = self.path();
        if path.priv_onw.is_null() || path.ops_onw.is_null() {
            return;
        }
        // SAFETY: the transport's operations and what it gave for this link are valid.
        unsafe {
            if let Some(req_write) = (*path.ops_onw).req_write {
                req_write(path.priv_onw);
            }
        }
    }

    /// The application wants something of the engine.
    pub(crate) fn want(self, what: u8) {
        self.todo.set(self.todo.get() | what);
        self.was_asked();
    }

    /// The application asked for something, which is done, if not now then before the call that is
    /// under way ends. It is not called back from here: it may be anywhere.
    pub(crate) fn was_asked(self) {
        if self.busy.get() || self.depth.get() > 0 {
            self.writes.set(true);
            self.again.set(true);
        } else {
            self.apply();
            self.request_write();
        }
    }

    /// Does what the application wants of the engine, unless that is busy.
    pub(crate) fn apply(self) {
        let todo = self.todo.get();
        if todo == 0 || self.busy.get() {
            return;
        }
        self.todo.set(0);
        let now = now();
        self.engine(|stream| {
            if todo & todo::LINK_LOST != 0 {
                stream.link_down(now);
            }
            if todo & todo::TIMEOUT != 0 {
                stream.set_timeout(match self.timeout_ms.get() {
                    0 => Timeout::Policy,
                    u32::MAX => Timeout::Cancel,
                    ms => Timeout::Millis(ms),
                });
            }
            if todo & todo::CREDIT != 0 {
                stream.add_credit(self.credit.replace(0));
            }
            if todo & todo::HINT != 0 {
                stream.request_tx_len(now, self.hint.get());
            }
            if todo & todo::TX != 0 {
                stream.request_tx(now);
            }
            if todo & todo::CONNECT != 0 {
                stream.connect();
            }
            if todo & todo::ABANDON != 0 {
                stream.abandon(now);
            }
        });
        if todo & todo::METADATA != 0 {
            let mut set = |name: &[u8], value: &[u8]| {
                if self.set_metadata(name, value) != 0 {
                    log::line(log::ERR, Some(self), c"metadata could not be set");
                }
            };
            // SAFETY: the context is the handle's own.
            while unsafe { self.stashed.pop(self.cx, &mut set) } {}
        }
    }

    /// Lets the engine say and wish what it has to, unless that is being done already; then the
    /// timer is set, and the transport asked for a chance to write.
    pub(crate) fn settle(self, write: bool) {
        if self.begin(write) {
            self.work();
            self.leave();
        }
    }

    /// The same for a new handle. True if it is over already, and freed; then the pointer to it
    /// is null.
    ///
    /// # Safety
    /// The pointer may be written to.
    pub(crate) unsafe fn settle_new(self, pointer: *mut *mut c_void) -> bool {
        self.begin(true);
        self.work();
        self.exit();
        let is_over = self.doomed.get();
        if is_over {
            // SAFETY: no call that uses it is under way.
            unsafe { self.free(pointer) };
        }
        is_over
    }

    /// False if the handle is at work already; it goes on, then.
    fn begin(self, write: bool) -> bool {
        self.writes.set(self.writes.get() || write);
        if self.busy.get() || self.depth.get() > 0 {
            self.again.set(true);
            return false;
        }
        self.enter();
        true
    }

    fn work(self) {
        loop {
            self.again.set(false);
            self.apply();
            while !self.doomed.get()
                && let Some(Some(told)) = self.engine(|s| s.poll_event().map(|e| self.note(e)))
            {
                self.tell(told);
            }
            while !self.doomed.get()
                && let Some(Some(wish)) = self.poll_link()
            {
                match wish {
                    LinkWish::Open => self.open_link(),
                    LinkWish::Drop => self.drop_link(),
                    // There are no others.
                }
            }
            if self.doomed.get() {
                return;
            }
            if !self.again.get() {
                break;
            }
        }
        let at = self.engine(|s| s.deadline()).flatten();
        // SAFETY: the handle's own timer and context.
        unsafe { arm(self.cx, self.sul.get(), &self.armed, at, sul_cb) };
        if self.writes.take() {
            self.request_write();
        }
    }

    pub(crate) fn enter(self) {
        self.depth.set(self.depth.get().wrapping_add(1));
    }

    pub(crate) fn exit(self) {
        self.depth.set(self.depth.get().wrapping_sub(1));
    }

    /// Exits, and frees the handle if that was asked for meanwhile.
    fn leave(self) {
        self.exit();
        if self.doomed.get() && self.depth.get() == 0 && !self.busy.get() {
            // SAFETY: no call that uses it is under way.
            unsafe { self.free(&mut self.as_ptr()) };
        }
    }

    pub(crate) fn obey(self, result: Return) {
        match result {
            DISCONNECT_ME => self.todo.set(self.todo.get() | todo::ABANDON),
            DESTROY_ME => self.doomed.set(true),
            _ => {}
        }
    }

    /// Bytes came for the stream.
    pub(crate) fn feed(self, input: &[u8]) {
        if self.busy.get() {
            return;
        }
        self.enter();
        if self.first_head.get() != 0 {
            self.make_list_room(input);
        }
        let mut rest = input;
        while !self.doomed.get() {
            let now = now();
            let told =
                self.engine(|stream| stream.receive(now, &mut rest).map(|event| self.note(event)));
            match told {
                Some(Some(told)) => self.tell(told),
                _ => break,
            }
        }
        self.exit();
        self.settle(true);
    }

    /// Ends the stream: at once, or as soon as no call that uses the handle is under way. The
    /// pointer to it becomes null; where that is in the application's object not before the last
    /// callback, which may need it.
    ///
    /// # Safety
    /// The pointer may be written to.
    pub(crate) unsafe fn destroy(self, pointer: *mut *mut c_void) {
        if self.depth.get() > 0 || self.busy.get() {
            self.doomed.set(true);
            let object = self.user().cast()..self.streamtype.cast();
            if !object.contains(&pointer) {
                // SAFETY: the caller's promise.
                unsafe { *pointer = null_mut() };
            }
        } else {
            // SAFETY: the same.
            unsafe { self.free(pointer) };
        }
    }

    /// # Safety
    /// Nobody uses the handle any more; the pointer to it may be written to.
    unsafe fn free(self, pointer: *mut *mut c_void) {
        self.doomed.set(true);
        // What the last callbacks ask for has no effect.
        self.enter();
        if self.connected.get() {
            self.tell_state(DISCONNECTED, 0);
        }
        let path = self.path();
        let was_created = self.engine(|stream| stream.is_created()) == Some(true);
        self.tell_state(DESTROYING, 0);
        // SAFETY: the handle is in no list and no timer afterwards, its link has been given up, and
        // nothing uses it any more: the memory came from this context.
        unsafe {
            // Unless it was set to another one meanwhile.
            if *pointer == self.as_ptr() {
                *pointer = null_mut();
            }
            lws_sul_cancel(self.sul.get());
            lws_dll2_remove(self.list.get());
            if let (false, Some(ops)) = (path.priv_onw.is_null(), path.ops_onw.as_ref()) {
                if was_created {
                    mux::say_goodbye(&path);
                }
                if let Some(close) = ops.close {
                    close(path.priv_onw);
                }
            }
            let cx = self.cx;
            while self.received.pop(cx, &mut |_, _| {}) {}
            while self.stashed.pop(cx, &mut |_, _| {}) {}
            alloc::give_back(cx, self.rideshare.get());
            alloc::give_back(cx, self.room.at.get());
            alloc::give_back(cx, self.0.as_ptr().cast());
        }
    }
}

/// The bytes as text, if they are ASCII: other names are in no policy.
pub(crate) fn ascii(bytes: &[u8]) -> Option<&str> {
    if bytes.iter().any(|byte| *byte >= 0x80) {
        return None;
    }
    // SAFETY: ASCII is UTF-8.
    Some(unsafe { core::str::from_utf8_unchecked(bytes) })
}

/// The time has come that the timer was set to.
unsafe extern "C" fn sul_cb(sul: *mut Sul) {
    // SAFETY: the timer is a handle's.
    let Some(handle) = (unsafe { Handle::from_member(sul, core::mem::offset_of!(Shell, sul)) })
    else {
        return;
    };
    handle.armed.set(Instant::ZERO);
    let now = now();
    handle.engine(|stream| stream.handle_timeout(now));
    handle.settle(false);
}
