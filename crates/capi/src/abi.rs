//! What C and Rust both know the layout of. `include/sspc/*.h` says the same in C, with the meaning
//! of each field; `tests/it/main.rs` compares the two.
#![allow(missing_docs)]

use core::ffi::{c_char, c_int, c_void};

/// `lws_usec_t`: µs.
pub type Usec = i64;

/// `struct lws_dll2`.
#[repr(C)]
pub struct Dll2 {
    pub prev: *mut Dll2,
    pub next: *mut Dll2,
    pub owner: *mut Owner,
}

/// `struct lws_dll2_owner`.
#[repr(C)]
pub struct Owner {
    pub tail: *mut Dll2,
    pub head: *mut Dll2,
    pub count: u32,
}

/// `sul_cb_t`.
pub type SulCb = Option<unsafe extern "C" fn(*mut Sul)>;

/// `struct lws_sorted_usec_list`.
#[repr(C)]
pub struct Sul {
    pub list: Dll2,
    pub us: Usec,
    pub cb: SulCb,
    pub latency_us: u32,
}

/// `struct lws_sspc_handle`, as C sees it.
pub type Handle = c_void;
/// `lws_transport_priv_t`.
pub type Priv = *mut c_void;
/// `lws_ss_state_return_t`.
pub type Return = c_int;

pub const OK: Return = 0;
pub const TX_DONT_SEND: Return = 1;
pub const DISCONNECT_ME: Return = -1;
pub const DESTROY_ME: Return = -2;

pub type RxCb = Option<unsafe extern "C" fn(*mut c_void, *const u8, usize, c_int) -> Return>;
pub type TxCb =
    Option<unsafe extern "C" fn(*mut c_void, u32, *mut u8, *mut usize, *mut c_int) -> Return>;
pub type StateCb = Option<unsafe extern "C" fn(*mut c_void, *mut c_void, c_int, u32) -> Return>;

/// `struct lws_ss_info`.
#[repr(C)]
pub struct Info {
    pub streamtype: *const c_char,
    pub user_alloc: usize,
    pub handle_offset: usize,
    pub opaque_user_data_offset: usize,
    pub rx: RxCb,
    pub tx: TxCb,
    pub state: StateCb,
    pub manual_initial_tx_credit: c_int,
    pub client_pid: u32,
    pub flags: u8,
    pub sss_protocol_version: u8,
}

/// `struct lws_txp_path_client`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Path {
    pub ops_in: *const Ops,
    pub priv_in: Priv,
    pub ops_onw: *const Ops,
    pub priv_onw: Priv,
    pub mux: *mut Mux,
}

/// `struct lws_txp_path_proxy`, of which a client makes no use.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProxyPath {
    pub ops_in: *const c_void,
    pub priv_in: Priv,
    pub ops_onw: *const c_void,
    pub priv_onw: Priv,
    pub mux: *mut Mux,
}

/// `struct lws_transport_client_ops`.
#[repr(C)]
pub struct Ops {
    pub name: *const c_char,
    pub event_retry_connect: Option<unsafe extern "C" fn(*mut Path, *mut Handle) -> c_int>,
    pub event_connect_disposition: Option<unsafe extern "C" fn(*mut Handle, c_int) -> Return>,
    pub req_write: Option<unsafe extern "C" fn(Priv)>,
    pub write: Option<unsafe extern "C" fn(Priv, *mut u8, usize) -> c_int>,
    pub event_read: Option<unsafe extern "C" fn(Priv, *const u8, usize) -> Return>,
    pub lost_coherence: Option<unsafe extern "C" fn(Priv)>,
    pub close: Option<unsafe extern "C" fn(Priv)>,
    pub event_stream_up: Option<unsafe extern "C" fn(Priv)>,
    pub event_client_up: Option<unsafe extern "C" fn(Priv)>,
    pub event_can_write: Option<unsafe extern "C" fn(*mut Handle, usize) -> Return>,
    pub event_closed: Option<unsafe extern "C" fn(Priv) -> Return>,
    pub flags: u32,
    pub dsh_splitat: u32,
}

// SAFETY: it is only ever shared as a constant.
unsafe impl Sync for Ops {}

impl Ops {
    /// No operation.
    pub const NONE: Self = Self {
        name: core::ptr::null(),
        event_retry_connect: None,
        event_connect_disposition: None,
        req_write: None,
        write: None,
        event_read: None,
        lost_coherence: None,
        close: None,
        event_stream_up: None,
        event_client_up: None,
        event_can_write: None,
        event_closed: None,
        flags: 0,
        dsh_splitat: 0,
    };
}

/// `struct lws_context_standalone`.
#[repr(C)]
pub struct Context {
    pub txp_cpath: Path,
    pub ss_client_owner: Owner,
    pub ssidx: u32,
    pub arena: *mut Arena,
}

/// `struct sspc_arena`, as C sees it.
pub type Arena = c_void;

/// `struct lws_transport_info`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TransportInfo {
    pub ping_interval_us: u32,
    pub pong_grace_us: u32,
    pub txp_cpath: Path,
    pub txp_ppath: ProxyPath,
    pub onward_txp_info: *mut TransportInfo,
    pub flags: u32,
}

/// `struct lws_transport_mux_ch`.
#[repr(C)]
pub struct Channel {
    pub list: Dll2,
    pub priv_: Priv,
    pub opaque: *mut c_void,
    pub ch_idx: u8,
    pub state: u8,
    /// Private: bits of what is to be done.
    pub todo: u8,
}

/// `struct lws_transport_mux`; more follows behind it, which C does not see.
#[repr(C)]
pub struct Mux {
    pub cx: *mut Context,
    pub info: TransportInfo,
    pub txp_handle: *mut c_void,
    pub txp_aux: *mut c_void,
    pub us_unixtime_peer: u64,
    pub us_unixtime_peer_loc: u64,
    pub owner: Owner,
    pub link_state: u8,
}

/// Of [`Mux::link_state`].
pub const LINK_DOWN: u8 = 0;
/// Of [`Mux::link_state`].
pub const LINK_UP: u8 = 1;

/// `struct lws_txp_mux_parse_cbs`.
#[repr(C)]
pub struct ParseCbs {
    pub payload: Option<unsafe extern "C" fn(*mut Channel, *const u8, usize) -> c_int>,
    pub ch_opens: Option<unsafe extern "C" fn(*mut Channel, c_int) -> c_int>,
    pub ch_closes: Option<unsafe extern "C" fn(*mut Channel) -> c_int>,
    pub txp_req_write: Option<unsafe extern "C" fn(*mut Mux)>,
    pub txp_can_write: Option<unsafe extern "C" fn(*mut Channel) -> c_int>,
}

/// `lws_log_prepend_cx_t`.
pub type PrependCb =
    Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut *mut c_char, *mut c_char)>;

/// The four functions that the firmware gives.
#[allow(missing_docs)]
pub(crate) mod imports {
    use super::{Context, PrependCb, Sul, SulCb, Usec};
    use core::ffi::{c_char, c_int, c_void};

    unsafe extern "C" {
        pub(crate) fn lws_now_usecs() -> Usec;
        pub(crate) fn lws_sul_schedule(
            cx: *mut Context,
            tsi: c_int,
            sul: *mut Sul,
            cb: SulCb,
            us: Usec,
        );
        pub(crate) fn lws_sul_cancel(sul: *mut Sul);
        /// The last is a `va_list`, which all ABIs in use pass as one word or a pointer.
        pub(crate) fn __lws_logv(
            cx: *mut c_void,
            prepend: PrependCb,
            obj: *mut c_void,
            filter: c_int,
            fun: *const c_char,
            format: *const c_char,
            ap: *const c_void,
        );
    }
}
