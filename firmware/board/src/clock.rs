use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_rt::exception;

/// ms since the start; wraps around after 49 days.
static MILLIS: AtomicU32 = AtomicU32::new(0);

/// Time since the start.
#[derive(Debug)]
pub struct Clock {
    /// What was read last, of which the lower half is compared with [`MILLIS`].
    millis: u64,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { millis: 0 }
    }

    /// ms since the start. Must be asked at least every 49 days.
    pub fn millis(&mut self) -> u64 {
        let since = MILLIS.load(Ordering::Relaxed).wrapping_sub(self.millis as u32);
        self.millis += u64::from(since);
        self.millis
    }
}

#[exception]
fn SysTick() {
    MILLIS.store(MILLIS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    #[cfg(feature = "embassy")]
    crate::embassy::tick();
}
