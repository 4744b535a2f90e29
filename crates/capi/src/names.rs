//! The names of the states.

use core::ffi::{CStr, c_char, c_int};

const NAMES: [&CStr; 21] = [
    c"(unset)",
    c"LWSSSCS_CREATING",
    c"LWSSSCS_DISCONNECTED",
    c"LWSSSCS_UNREACHABLE",
    c"LWSSSCS_AUTH_FAILED",
    c"LWSSSCS_CONNECTED",
    c"LWSSSCS_CONNECTING",
    c"LWSSSCS_DESTROYING",
    c"LWSSSCS_POLL",
    c"LWSSSCS_ALL_RETRIES_FAILED",
    c"LWSSSCS_QOS_ACK_REMOTE",
    c"LWSSSCS_QOS_NACK_REMOTE",
    c"LWSSSCS_QOS_ACK_LOCAL",
    c"LWSSSCS_QOS_NACK_LOCAL",
    c"LWSSSCS_TIMEOUT",
    c"LWSSSCS_SERVER_TXN",
    c"LWSSSCS_SERVER_UPGRADE",
    c"LWSSSCS_EVENT_WAIT_CANCELLED",
    c"LWSSSCS_UPSTREAM_LINK_RETRY",
    c"LWSSSCS_SINK_JOIN",
    c"LWSSSCS_SINK_PART",
];

/// The name of a state, for a log.
#[unsafe(no_mangle)]
pub extern "C" fn lws_ss_state_name(state: c_int) -> *const c_char {
    let name = match usize::try_from(state).ok().and_then(|state| NAMES.get(state)) {
        Some(name) => name,
        None if state >= 1000 => c"user state",
        None => c"unknown",
    };
    name.as_ptr()
}
