//! The client for C: its functions in any order, from anywhere, over a line on which anything can
//! come. `unsafe` is what the C ABI asks for; no other file here has any.
#![allow(unsafe_code)]
#![allow(clippy::missing_safety_doc, reason = "the headers say what holds")]

mod proxy;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};

use arbitrary::Arbitrary;
use sspc_capi::abi::{
    self, Arena, Context, Handle, Info, Mux, Ops, ParseCbs, PrependCb, Priv, Return, RxCb, StateCb,
    Sul, SulCb, TransportInfo, TxCb, Usec,
};
use sspc_sim::frames::Owned;
use sspc_wire::State;

use self::proxy::Proxy;
use crate::frames::{self, ToClient};

unsafe extern "C" {
    static lws_transport_mux_client_ops: Ops;
    fn sspc_arena_init(memory: *mut c_void, bytes: usize) -> *mut Arena;
    fn sspc_arena_left(arena: *const Arena) -> usize;
    fn lws_transport_mux_create(
        cx: *mut Context,
        info: *const TransportInfo,
        txp_handle: *mut c_void,
    ) -> *mut Mux;
    fn lws_transport_mux_destroy(tm: *mut *mut Mux);
    fn lws_transport_mux_pending(
        tm: *mut Mux,
        buf: *mut u8,
        len: *mut usize,
        cbs: *const ParseCbs,
    ) -> c_int;
    fn lws_sspc_create(
        cx: *mut Context,
        tsi: c_int,
        ssi: *const Info,
        opaque_user_data: *mut c_void,
        ppss: *mut *mut Handle,
        reserved: *mut c_void,
        ppayload_fmt: *mut *const c_char,
    ) -> c_int;
    fn lws_sspc_destroy(ppss: *mut *mut Handle);
    fn lws_sspc_request_tx(handle: *mut Handle) -> Return;
    fn lws_sspc_request_tx_len(handle: *mut Handle, len: c_ulong) -> Return;
    fn lws_sspc_client_connect(handle: *mut Handle) -> Return;
    fn lws_sspc_get_context(handle: *mut Handle) -> *mut Context;
    fn lws_sspc_rideshare(handle: *mut Handle) -> *const c_char;
    fn lws_sspc_set_metadata(
        handle: *mut Handle,
        name: *const c_char,
        value: *const c_void,
        len: usize,
    ) -> c_int;
    fn lws_sspc_get_metadata(
        handle: *mut Handle,
        name: *const c_char,
        value: *mut *const c_void,
        len: *mut usize,
    ) -> c_int;
    fn lws_sspc_add_peer_tx_credit(handle: *mut Handle, add: i32) -> c_int;
    fn lws_sspc_get_est_peer_tx_credit(handle: *mut Handle) -> c_int;
    fn lws_sspc_start_timeout(handle: *mut Handle, timeout_ms: c_uint);
    fn lws_sspc_to_user_object(handle: *mut Handle) -> *mut c_void;
    fn lws_sspc_change_handlers(handle: *mut Handle, rx: RxCb, tx: TxCb, state: StateCb);
}

const STREAMS: usize = 4;
const ARENA: usize = 16 * 1024;
/// Nothing takes as many steps: what does goes on for ever.
const STEPS: usize = 100_000;
const SECOND: Usec = 1_000_000;
/// The most that an application's rx gets at once, as the headers say.
const RX_MAX: usize = 1380;

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Step {
    Create(u8),
    /// The application does something with one of its streams.
    Act(u8),
    /// So many ms pass.
    Wait(u16),
    /// The transport takes no more bytes at a time from here on.
    Room(u8),
    /// The proxy stops to answer, or begins again.
    Silence(bool),
    /// The proxy refuses channels, or takes them again.
    Refuse(bool),
    /// The line brings any bytes.
    Bytes(Vec<u8>),
    /// The line brings a frame of the mux.
    Mux(frames::Mux),
    /// The proxy sends a stream a frame.
    Frame(u8, Box<ToClient>),
    State(u8, u8),
    /// The mux goes, and another one comes.
    NewMux,
}

/// What happens, and what the application's callbacks do.
#[derive(Arbitrary, Debug)]
pub struct Calls {
    has_arena: bool,
    choices: Vec<u8>,
    steps: Vec<Step>,
}

/// What is allocated with each stream.
#[repr(C)]
struct User {
    handle: *mut Handle,
    slot: *mut c_void,
}

struct Rig {
    cx: UnsafeCell<Context>,
    mux: Cell<*mut Mux>,
    now: Cell<Usec>,
    timers: RefCell<Vec<*mut Sul>>,
    wants_write: Cell<bool>,
    room: Cell<usize>,
    streams: [Cell<*mut Handle>; STREAMS],
    choices: RefCell<std::vec::IntoIter<u8>>,
    proxy: RefCell<Proxy>,
}

thread_local! {
    static RIG: Cell<*const Rig> = const { Cell::new(null()) };
}

fn rig<'r>() -> &'r Rig {
    // SAFETY: set for as long as anything of the library is called; all of it is in cells.
    unsafe { RIG.get().as_ref() }.expect("there is a rig")
}

// What a firmware gives.

#[unsafe(no_mangle)]
extern "C" fn lws_now_usecs() -> Usec {
    rig().now.get()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lws_sul_schedule(
    cx: *mut Context,
    _tsi: c_int,
    sul: *mut Sul,
    cb: SulCb,
    us: Usec,
) {
    let rig = rig();
    assert!(cx == rig.cx.get() && us >= 0);
    // SAFETY: the library gives one of its timers, which stays until it is cancelled.
    unsafe {
        lws_sul_cancel(sul);
        (*sul).us = rig.now.get() + us;
        (*sul).cb = cb;
    }
    rig.timers.borrow_mut().push(sul);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lws_sul_cancel(sul: *mut Sul) {
    rig().timers.borrow_mut().retain(|timer| *timer != sul);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __lws_logv(
    cx: *mut c_void,
    prepend: PrependCb,
    object: *mut c_void,
    _filter: c_int,
    _fun: *const c_char,
    _format: *const c_char,
    _arguments: *const c_void,
) {
    let Some(prepend) = prepend else { return };
    if object.is_null() {
        return;
    }
    let mut line = [0; 40];
    let room = line.as_mut_ptr_range();
    let mut at = room.start;
    // SAFETY: it writes between the two pointers.
    unsafe { prepend(cx, object, &raw mut at, room.end) };
    assert!(room.contains(&at), "room is left for the NUL");
}

// The transport of the mux.

unsafe extern "C" fn req_write(_: Priv) {
    rig().wants_write.set(true);
}

static LINE: Ops = Ops { name: c"line".as_ptr(), req_write: Some(req_write), ..Ops::NONE };

// The application.

unsafe extern "C" fn rx(user: *mut c_void, buf: *const u8, len: usize, _: c_int) -> Return {
    assert!(len <= RX_MAX);
    if len > 0 {
        // SAFETY: so many bytes came.
        std::hint::black_box(unsafe { std::slice::from_raw_parts(buf, len) }.to_vec());
    }
    in_callback(user)
}

unsafe extern "C" fn tx(
    user: *mut c_void,
    _: u32,
    buf: *mut u8,
    len: *mut usize,
    flags: *mut c_int,
) -> Return {
    let result = in_callback(user);
    let choice = rig().choose();
    // SAFETY: the buffer has room for so many bytes.
    unsafe {
        buf.write_bytes(1, *len);
        *len = (*len).min(usize::from(choice) * 8);
        *flags = c_int::from(choice & 3);
    }
    if result == abi::OK && choice % 5 == 0 { abi::TX_DONT_SEND } else { result }
}

unsafe extern "C" fn state(user: *mut c_void, _: *mut c_void, state: c_int, _: u32) -> Return {
    if u32::try_from(state) != Ok(State::Destroying.code()) {
        return in_callback(user);
    }
    // SAFETY: the object is a stream's, and its slot one of the rig.
    unsafe {
        let user = &*user.cast::<User>();
        let slot = &*user.slot.cast::<Cell<*mut Handle>>();
        assert_eq!(slot.get(), user.handle, "DESTROYING comes once");
        slot.set(null_mut());
    }
    abi::DESTROY_ME
}

/// The application does something, or nothing.
fn in_callback(user: *mut c_void) -> Return {
    let rig = rig();
    let choice = rig.choose();
    // SAFETY: the object is a stream's.
    let user = unsafe { &*user.cast::<User>() };
    match choice {
        0..100 => abi::OK,
        100..110 => abi::DISCONNECT_ME,
        110..120 => abi::DESTROY_ME,
        _ => {
            rig.act(user.handle);
            abi::OK
        }
    }
}

impl Rig {
    /// What chance says; 0 once it has said all.
    fn choose(&self) -> u8 {
        self.choices.borrow_mut().next().unwrap_or(0)
    }

    fn new_mux(&self) {
        // SAFETY: the mux is null or valid, and so is all that the other gets.
        unsafe {
            let mut mux = self.mux.get();
            lws_transport_mux_destroy(&raw mut mux);
            assert!(mux.is_null());
            let info = TransportInfo {
                ping_interval_us: 10_000_000,
                pong_grace_us: 2_000_000,
                txp_cpath: abi::Path {
                    ops_in: &raw const lws_transport_mux_client_ops,
                    priv_in: null_mut(),
                    ops_onw: &raw const LINE,
                    priv_onw: null_mut(),
                    mux: null_mut(),
                },
                ..std::mem::zeroed()
            };
            let mux = lws_transport_mux_create(self.cx.get(), &raw const info, null_mut());
            self.mux.set(mux);
            (*self.cx.get()).txp_cpath.mux = mux;
        }
        *self.proxy.borrow_mut() = Proxy::default();
    }

    fn create(&self, slot: &Cell<*mut Handle>) {
        let info = Info {
            streamtype: c"fuzz".as_ptr(),
            user_alloc: size_of::<User>(),
            handle_offset: offset_of!(User, handle),
            opaque_user_data_offset: offset_of!(User, slot),
            rx: Some(rx),
            tx: Some(tx),
            state: Some(state),
            manual_initial_tx_credit: c_int::from(self.choose()),
            client_pid: 0,
            flags: 0,
            sss_protocol_version: 1,
        };
        let opaque = (&raw const *slot).cast_mut().cast();
        // SAFETY: all is valid; the slot stays as long as the stream.
        let failed = unsafe {
            let cx = self.cx.get();
            lws_sspc_create(cx, 0, &raw const info, opaque, slot.as_ptr(), null_mut(), null_mut())
        };
        assert!(failed != 0 || !slot.get().is_null(), "what was made is there");
    }

    /// Does something with a stream, or with another one.
    fn act(&self, handle: *mut Handle) {
        let (choice, value) = (self.choose(), self.choose());
        let slot = &self.streams[usize::from(value) % STREAMS];
        let names = [c"name0", c"name1", c"", c"a-name-that-is-longer-than-any-may-be"];
        let name = names[usize::from(value) % names.len()];
        let bytes = [value; 256];
        // SAFETY: the handle is valid, and so is all else.
        unsafe {
            match choice % 16 {
                0 | 1 => {
                    lws_sspc_request_tx(handle);
                }
                2 => {
                    lws_sspc_request_tx_len(handle, c_ulong::from(value) * 20);
                }
                3 | 4 => {
                    lws_sspc_client_connect(handle);
                }
                5 => {
                    let at = bytes.as_ptr().cast();
                    lws_sspc_set_metadata(handle, name.as_ptr(), at, value.into());
                }
                6 => {
                    let (mut at, mut len) = (null(), 0);
                    let found =
                        lws_sspc_get_metadata(handle, name.as_ptr(), &raw mut at, &raw mut len);
                    if found == 0 {
                        let value = std::slice::from_raw_parts(at.cast::<u8>(), len);
                        std::hint::black_box(value.to_vec());
                    }
                }
                7 => {
                    lws_sspc_add_peer_tx_credit(handle, i32::from(value) << (value % 24));
                }
                8 => {
                    lws_sspc_get_est_peer_tx_credit(handle);
                }
                9 => lws_sspc_start_timeout(handle, u32::from(value % 4) * 100),
                10 => assert!(CStr::from_ptr(lws_sspc_rideshare(handle)).count_bytes() < 33),
                11 => lws_sspc_change_handlers(handle, Some(rx), None, Some(state)),
                12 => {
                    assert_eq!(lws_sspc_get_context(handle), self.cx.get());
                    let user = &*lws_sspc_to_user_object(handle).cast::<User>();
                    assert_eq!(user.handle, handle);
                }
                13 if slot.get().is_null() => self.create(slot),
                14 => {
                    // Perhaps the one whose callback this is.
                    let mut other = slot.get();
                    lws_sspc_destroy(&raw mut other);
                    assert!(other.is_null());
                }
                _ => {}
            }
        }
    }

    fn step(&self, step: Step) {
        let slot = |index: u8| &self.streams[usize::from(index) % STREAMS];
        match step {
            Step::Create(index) if slot(index).get().is_null() => self.create(slot(index)),
            Step::Create(index) | Step::Act(index) => {
                let handle = slot(index).get();
                if !handle.is_null() {
                    self.act(handle);
                }
            }
            Step::Wait(ms) => self.run(Usec::from(ms) * 1000),
            Step::Room(room) => self.room.set(usize::from(room).max(64)),
            Step::Silence(is_silent) => self.proxy.borrow_mut().is_silent = is_silent,
            Step::Refuse(refuses) => self.proxy.borrow_mut().refuses = refuses,
            Step::Bytes(bytes) => self.proxy.borrow_mut().answers.extend(bytes),
            Step::Mux(frame) => self.proxy.borrow_mut().say(&frame.into()),
            Step::Frame(channel, frame) => {
                let mut proxy = self.proxy.borrow_mut();
                proxy.say_in(channel, &(*frame).into());
            }
            Step::State(channel, code) => {
                let state = Owned::State(State::from_code(code.into()), 0);
                self.proxy.borrow_mut().say_in(channel, &state);
            }
            Step::NewMux => self.new_mux(),
        }
        self.run(0);
    }

    /// The device's event loop, until so much time has passed and nothing is left to do.
    fn run(&self, us: Usec) {
        let until = self.now.get() + us;
        for _ in 0..STEPS {
            if self.receive() || self.transmit() {
                continue;
            }
            // SAFETY: timers are valid until they are cancelled.
            let at = |sul: &*mut Sul| unsafe { (**sul).us };
            let next = self.timers.borrow().iter().copied().min_by_key(at);
            match next.filter(|sul| at(sul) <= until) {
                Some(sul) => unsafe {
                    lws_sul_cancel(sul);
                    self.now.set(self.now.get().max((*sul).us));
                    (*sul).cb.expect("timers have callbacks")(sul);
                },
                None => {
                    self.now.set(until);
                    return;
                }
            }
        }
        panic!("the device never rests");
    }

    fn receive(&self) -> bool {
        let bytes = std::mem::take(&mut self.proxy.borrow_mut().answers);
        let mux = self.mux.get();
        if bytes.is_empty() || mux.is_null() {
            return false;
        }
        // SAFETY: the mux is valid, and so are its operations.
        unsafe {
            let read = lws_transport_mux_client_ops.event_read.expect("the mux reads");
            assert_eq!(read(mux.cast(), bytes.as_ptr(), bytes.len()), 0);
        }
        true
    }

    fn transmit(&self) -> bool {
        let mux = self.mux.get();
        if mux.is_null() || !self.wants_write.take() {
            return false;
        }
        // Just as long as it is said to be, for tools that see what is written outside.
        let mut room = vec![0; self.room.get()];
        let mut len = room.len();
        // SAFETY: the mux is valid, and the room as long as is said.
        let some =
            unsafe { lws_transport_mux_pending(mux, room.as_mut_ptr(), &raw mut len, null()) };
        if some != 0 {
            let bytes = room.get(..len).expect("no more than there is room for");
            self.proxy.borrow_mut().hear(bytes);
        }
        true
    }
}

/// Makes the calls, and checks what holds at any time: the device sends nothing but right frames,
/// each stream ends with one DESTROYING, and in the end no memory and no timer is left.
pub fn capi(calls: Calls) {
    let mut memory = vec![0_u64; ARENA / 8];
    let rig = Rig {
        // SAFETY: all 0 is how it begins.
        cx: UnsafeCell::new(unsafe { std::mem::zeroed() }),
        mux: Cell::new(null_mut()),
        now: Cell::new(77 * SECOND),
        timers: RefCell::default(),
        wants_write: Cell::new(false),
        room: Cell::new(2048),
        streams: std::array::from_fn(|_| Cell::new(null_mut())),
        choices: RefCell::new(calls.choices.into_iter()),
        proxy: RefCell::default(),
    };
    let rig = &rig;
    let cx = rig.cx.get();
    // SAFETY: the rig and the arena's memory stay to the end.
    unsafe {
        (*cx).txp_cpath.ops_onw = &raw const lws_transport_mux_client_ops;
        if calls.has_arena {
            (*cx).arena = sspc_arena_init(memory.as_mut_ptr().cast(), ARENA);
        }
    }
    let arena = || unsafe { (*cx).arena };
    let left = || if arena().is_null() { 0 } else { unsafe { sspc_arena_left(arena()) } };
    let all = left();
    RIG.set(&raw const *rig);
    rig.new_mux();
    rig.run(10_000);
    for step in calls.steps {
        rig.step(step);
    }
    // All is well again, so the link comes back.
    *rig.choices.borrow_mut() = Vec::new().into_iter();
    (rig.proxy.borrow_mut().is_silent, rig.proxy.borrow_mut().refuses) = (false, false);
    rig.run(30 * SECOND);
    let mut mux = rig.mux.get();
    // SAFETY: the mux and the streams are null or valid.
    unsafe {
        assert!(mux.is_null() || (*mux).link_state == abi::LINK_UP, "the link is up again");
        for stream in &rig.streams {
            let mut handle = stream.get();
            lws_sspc_destroy(&raw mut handle);
            assert!(stream.get().is_null(), "DESTROYING is the last callback");
        }
        lws_transport_mux_destroy(&raw mut mux);
        assert!((*cx).ss_client_owner.head.is_null() && (*cx).ss_client_owner.count == 0);
    }
    assert!(rig.timers.borrow().is_empty(), "timers that nobody needs");
    assert_eq!(left(), all, "memory that nobody needs");
    RIG.set(null());
}
