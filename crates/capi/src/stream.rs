//! One stream of the application: the engine, and what C knows of it. The commands are in `api.rs`;
//! here is what happens by itself.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::mem::offset_of;
use core::ops::Deref;
use core::ptr::{NonNull, null_mut};

use sspc::{Config, Instant, LinkAction, Name, State, Stream};

use crate::abi::imports::lws_sul_cancel;
use crate::abi::{
    Channel, Context, DESTROY_ME, DISCONNECT_ME, Dll2, Info, Ops, Path, Return, RxCb, StateCb, Sul,
    TxCb,
};
use crate::list::lws_dll2_remove;
use crate::received::List;
use crate::storage::Storage;
use crate::timer::{Timer, now};
use crate::{alloc, mux_object};

/// `struct lws_sspc_handle`. The application's object follows it.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(16)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(8)))]
pub(crate) struct StreamObject {
    // What is used most comes first: short instructions reach it.
    pub(crate) stream: UnsafeCell<Stream<Storage>>,
    /// Bytes to be written are gathered.
    pub(crate) is_gathering: Cell<bool>,
    /// How many calls of this library that use the handle are under way.
    pub(crate) depth: Cell<u8>,
    pub(crate) pending_free: Cell<bool>,
    /// When no call is under way any more the transport is to be asked for a chance to write.
    pub(crate) write_due: Cell<bool>,
    /// The application got CONNECTED, and no DISCONNECTED since.
    pub(crate) connected: Cell<bool>,
    /// The payload that is being given to the application came with a rideshare name, which is kept.
    pub(crate) in_rideshare: Cell<bool>,
    pub(crate) name_len: u8,
    pub(crate) cx: *mut Context,
    pub(crate) rx: Cell<RxCb>,
    pub(crate) tx: Cell<TxCb>,
    pub(crate) state: Cell<StateCb>,
    pub(crate) path: UnsafeCell<Path>,
    /// The link, if it is a channel of the mux.
    pub(crate) channel: Cell<*mut Channel>,
    /// The streamtype, and behind its NUL the tag for the log.
    pub(crate) streamtype: *mut u8,
    /// Where the name that `lws_sspc_rideshare` gives is, once it was needed.
    pub(crate) rideshare: Cell<*mut u8>,
    /// Values from the proxy.
    pub(crate) received: List,
    /// How much more the remote peer may send, as far as known.
    pub(crate) peer_credit: Cell<i32>,
    pub(crate) ordinal: Cell<u32>,
    /// The head of the link's first frame, behind a 1; 0 for none.
    pub(crate) first_head: Cell<u32>,
    /// In the context's list.
    pub(crate) list: UnsafeCell<Dll2>,
    timer: Timer,
}

/// A stream's object by its address, which is its handle in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(NonNull<StreamObject>);

impl Deref for Handle {
    type Target = StreamObject;

    fn deref(&self) -> &StreamObject {
        // SAFETY: handles that C gives are valid; one that is used by a call that is under way is
        // not freed before its end.
        unsafe { self.0.as_ref() }
    }
}

impl Handle {
    /// `None` for null.
    pub(crate) fn from_c(handle: *mut c_void) -> Option<Self> {
        NonNull::new(handle.cast()).map(Self)
    }

    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// The handle whose list element this is.
    ///
    /// # Safety
    /// It is in the list of a context.
    pub(crate) unsafe fn from_list(element: *mut Dll2) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe {
            NonNull::new_unchecked(element.byte_sub(offset_of!(StreamObject, list)).cast())
        })
    }

    /// A new handle in memory that is all 0, as which all else is right, with what follows it: the
    /// application's object of this size, the streamtype and the tag.
    ///
    /// # Safety
    /// The memory is large enough and aligned, the context valid.
    pub(crate) unsafe fn init(
        memory: NonNull<u8>,
        cx: *mut Context,
        ssi: &Info,
        name: Name,
        config: Config,
        inside: &'static Ops,
    ) -> Self {
        let object = memory.cast::<StreamObject>();
        // SAFETY: the caller's promise; nothing is read before it is written.
        unsafe {
            let p = object.as_ptr();
            (*p).stream.get().write(Stream::new(name, config, Storage::NONE));
            let path = (*p).path.get();
            *path = (*cx).txp_cpath;
            (*path).ops_in = inside;
            (*path).priv_in = p.cast();
            (*path).priv_onw = null_mut();
            if (*path).ops_onw.is_null() {
                // None of whose operations is one of a transport.
                (*path).ops_onw = (*path).ops_in;
            }
            (*p).cx = cx;
            (*p).rx = Cell::new(ssi.rx);
            (*p).tx = Cell::new(ssi.tx);
            (*p).state = Cell::new(ssi.state);
            (*p).streamtype = memory.as_ptr().add(size_of::<StreamObject>() + ssi.user_alloc);
            (*p).name_len = name.as_bytes().len() as u8;
            (*p).peer_credit = Cell::new(config.window as i32);
            (*(*p).timer.sul.get()).cb = Some(sul_cb);
        }
        Self(object)
    }

    /// The application's object.
    pub(crate) fn user(self) -> *mut c_void {
        // SAFETY: it follows the stream's object.
        unsafe { self.0.as_ptr().add(1).cast() }
    }

    /// The engine.
    ///
    /// # Safety
    /// The reference is not used after C code ran.
    pub(crate) unsafe fn engine<'e>(self) -> &'e mut Stream<Storage> {
        // SAFETY: as that is so everywhere, nobody else has it.
        unsafe { &mut *self.stream.get() }
    }

    pub(crate) fn path(self) -> Path {
        // SAFETY: no reference to it is kept anywhere.
        unsafe { *self.path.get() }
    }

    /// The operations of the transport.
    pub(crate) fn ops(self) -> &'static Ops {
        // SAFETY: the transport's operations are valid for as long as there are streams.
        unsafe { &*self.path().ops_onw }
    }

    /// Asks the transport to let the stream write, if it has a link.
    fn request_write(self) {
        let link = self.path().priv_onw;
        if let (false, Some(req_write)) = (link.is_null(), self.ops().req_write) {
            // SAFETY: it gets what the transport gave for this link.
            unsafe { req_write(link) };
        }
    }

    /// The application asked the engine for something. The transport is asked for a chance to write,
    /// if not now then before the call that is under way ends. The application is not called back
    /// from here: it may be anywhere.
    pub(crate) fn schedule_write(self) {
        if self.depth.get() > 0 {
            self.write_due.set(true);
        } else {
            self.request_write();
        }
    }

    /// Handles the engine's events and what it wants of its link; then sets the timer, and asks the
    /// transport for a chance to write. True if the handle is freed.
    pub(crate) fn update(self) -> bool {
        self.write_due.set(true);
        self.run(&[])
    }

    /// The same with bytes that came, and the transport is asked only if something wanted it. If a
    /// call is under way that uses the handle, it does all but give the bytes to the engine at its
    /// end.
    pub(crate) fn run(self, input: &[u8]) -> bool {
        if self.depth.get() > 0 && input.is_empty() {
            return false;
        }
        self.enter();
        self.work(input);
        self.leave()
    }

    fn work(self, mut input: &[u8]) {
        while !self.pending_free.get() {
            let now = now();
            // SAFETY: an event borrows from the input alone.
            unsafe {
                if let Some(event) = self.engine().receive_unnamed(now, &mut input) {
                    self.report(event);
                    continue;
                }
                match self.engine().poll_link(now) {
                    Some(LinkAction::Open) => self.open_link(),
                    Some(LinkAction::Drop) => self.drop_link(),
                    None if self.write_due.take() => self.request_write(),
                    None => {
                        return Timer::arm(
                            self.engine().deadline().unwrap_or(Instant::NEVER),
                            &self.timer,
                            self.cx,
                        );
                    }
                }
            }
        }
    }

    pub(crate) fn enter(self) {
        self.depth.set(self.depth.get().wrapping_add(1));
    }

    pub(crate) fn exit(self) {
        self.depth.set(self.depth.get().wrapping_sub(1));
    }

    /// Exits, and frees the handle if that was asked for meanwhile, which it says.
    fn leave(self) -> bool {
        self.exit();
        let is_over = self.pending_free.get() && self.depth.get() == 0;
        if is_over {
            // SAFETY: no call that uses it is under way.
            unsafe { self.free() };
        }
        is_over
    }

    /// Does what a callback returned.
    pub(crate) fn apply_return(self, result: Return) {
        match result {
            DISCONNECT_ME => {
                let now = now();
                // SAFETY: no C code runs.
                unsafe { self.engine() }.abandon(now);
            }
            DESTROY_ME => self.pending_free.set(true),
            _ => {}
        }
    }

    /// Ends the stream: at once, or as soon as no call that uses the handle is under way. The
    /// pointer to it becomes null, if it is not in the application's object, whose last callback
    /// may need it.
    ///
    /// # Safety
    /// The pointer may be written to.
    pub(crate) unsafe fn destroy(self, pointer: *mut *mut c_void) {
        let object = self.user().cast()..self.streamtype.cast();
        self.pending_free.set(true);
        self.enter();
        self.leave();
        // SAFETY: the caller's promise.
        unsafe {
            // Unless it was set to another one meanwhile.
            if !object.contains(&pointer) && *pointer == self.as_ptr() {
                *pointer = null_mut();
            }
        }
    }

    /// # Safety
    /// Nobody uses the handle any more.
    unsafe fn free(self) {
        // What the last callbacks ask for has no effect.
        self.enter();
        // SAFETY: the handle is in no list and no timer afterwards, its link has been given up, and
        // nothing uses it any more: the memory came from this context.
        unsafe {
            let was_created = self.engine().is_created();
            // The proxy's own DESTROYING was the end already.
            if self.engine().state() != Some(State::Destroying) {
                self.report_end();
            }
            lws_sul_cancel(self.timer.sul.get());
            lws_dll2_remove(self.list.get());
            if was_created {
                mux_object::announce_destroying(self.channel.get());
            }
            self.close_link();
            self.received.clear(self.cx);
            alloc::give_back(self.cx, self.rideshare.get());
            alloc::give_back(self.cx, self.engine().storage().memory());
            alloc::give_back(self.cx, self.0.as_ptr().cast());
        }
    }
}

/// The time has come that the timer was set to.
unsafe extern "C" fn sul_cb(sul: *mut Sul) {
    // SAFETY: the timer is a handle's.
    let handle = unsafe { sul.byte_sub(offset_of!(StreamObject, timer)) };
    let Some(handle) = Handle::from_c(handle.cast()) else { return };
    handle.timer.armed.set(Instant::ZERO);
    let now = now();
    // SAFETY: no C code runs.
    unsafe { handle.engine() }.handle_timeout(now);
    handle.run(&[]);
}
