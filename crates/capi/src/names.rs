//! The names of the states.

use core::ffi::{c_char, c_int};

/// By number, each with a NUL behind it; and what other numbers are.
static NAMES: &[u8] = b"(unset)\0\
    LWSSSCS_CREATING\0\
    LWSSSCS_DISCONNECTED\0\
    LWSSSCS_UNREACHABLE\0\
    LWSSSCS_AUTH_FAILED\0\
    LWSSSCS_CONNECTED\0\
    LWSSSCS_CONNECTING\0\
    LWSSSCS_DESTROYING\0\
    LWSSSCS_POLL\0\
    LWSSSCS_ALL_RETRIES_FAILED\0\
    LWSSSCS_QOS_ACK_REMOTE\0\
    LWSSSCS_QOS_NACK_REMOTE\0\
    LWSSSCS_QOS_ACK_LOCAL\0\
    LWSSSCS_QOS_NACK_LOCAL\0\
    LWSSSCS_TIMEOUT\0\
    LWSSSCS_SERVER_TXN\0\
    LWSSSCS_SERVER_UPGRADE\0\
    LWSSSCS_EVENT_WAIT_CANCELLED\0\
    LWSSSCS_UPSTREAM_LINK_RETRY\0\
    LWSSSCS_SINK_JOIN\0\
    LWSSSCS_SINK_PART\0\
    unknown\0\
    user state\0";
const UNKNOWN: c_int = 21;
const USER_STATE: c_int = 22;

/// The name of a state, for a log.
#[unsafe(no_mangle)]
pub extern "C" fn lws_ss_state_name(state: c_int) -> *const c_char {
    let mut left = match state {
        0..UNKNOWN => state,
        1000.. => USER_STATE,
        _ => UNKNOWN,
    };
    let mut name = NAMES.as_ptr();
    while left > 0 {
        // SAFETY: behind each NUL but the last there is another name.
        unsafe {
            left -= c_int::from(*name == 0);
            name = name.add(1);
        }
    }
    name.cast()
}
