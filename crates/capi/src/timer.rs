//! The firmware's clock and timers.

use core::cell::{Cell, UnsafeCell};

use sspc::Instant;

use crate::abi::imports::{lws_now_usecs, lws_sul_cancel, lws_sul_schedule};
use crate::abi::{Context, Sul};

pub(crate) fn now() -> Instant {
    // SAFETY: the firmware gives it.
    Instant::from_micros(unsafe { lws_now_usecs() } as u64)
}

/// A timer of the firmware's, for a deadline.
#[repr(C)]
pub(crate) struct Timer {
    pub(crate) sul: UnsafeCell<Sul>,
    /// What it is set to; 0 or [`Instant::NEVER`] if it is not set.
    pub(crate) armed: Cell<Instant>,
}

impl Timer {
    /// Sets it, if it is not set so already; to nothing if there is no time.
    ///
    /// # Safety
    /// The context is valid.
    #[inline(never)]
    pub(crate) unsafe fn arm(at: Instant, timer: &Self, cx: *mut Context) {
        if timer.armed.replace(at) == at {
            return;
        }
        let sul = timer.sul.get();
        // SAFETY: the caller's promise; it was given its callback when it was made.
        unsafe {
            if at == Instant::NEVER {
                lws_sul_cancel(sul);
            } else {
                lws_sul_schedule(cx, 0, sul, (*sul).cb, at.micros_since(now()) as i64);
            }
        }
    }
}
