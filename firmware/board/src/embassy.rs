//! What tasks of embassy need of the board: the line as drivers of embedded-io-async, its clock, and
//! an executor that sleeps with WFI.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Poll, Waker};

use critical_section::Mutex;
use embassy_executor::{Spawner, raw};
use embassy_sync::waitqueue::AtomicWaker;
use embassy_time::Timer;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;
use embedded_io_async::{ErrorType, Read, Write};
use static_cell::StaticCell;

use crate::{Clock, Line};

/// Waits for input of the line.
static INPUT: AtomicWaker = AtomicWaker::new();
/// Tasks are to be polled.
static WORK: AtomicBool = AtomicBool::new(false);

/// The line has input.
pub(crate) fn input() {
    INPUT.wake();
}

/// The clock has ticked.
pub(crate) fn tick() {
    critical_section::with(|token| {
        let now = CLOCK.now();
        let mut waiting = CLOCK.waiting.borrow_ref_mut(token);
        // What is next is looked at with the next tick.
        waiting.next_expiration(now);
    });
}

struct TickClock {
    clock: Mutex<RefCell<Clock>>,
    waiting: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static CLOCK: TickClock = TickClock {
    clock: Mutex::new(RefCell::new(Clock::new())),
    waiting: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for TickClock {
    fn now(&self) -> u64 {
        critical_section::with(|token| self.clock.borrow_ref_mut(token).millis())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|token| {
            self.waiting.borrow_ref_mut(token).schedule_wake(at, waker);
        });
    }
}

/// What comes from the line.
#[derive(Debug)]
pub struct LineInput(Line);

/// What goes to the line.
#[derive(Debug)]
pub struct LineOutput(Line);

impl Line {
    /// Its two directions, for two tasks.
    pub fn split(self) -> (LineInput, LineOutput) {
        (LineInput(Self::new()), LineOutput(self))
    }
}

impl ErrorType for LineInput {
    type Error = Infallible;
}

impl ErrorType for LineOutput {
    type Error = Infallible;
}

impl Read for LineInput {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            INPUT.register(context.waker());
            match self.0.read(room) {
                0 if !room.is_empty() => Poll::Pending,
                taken => Poll::Ready(Ok(taken)),
            }
        })
        .await
    }
}

impl Write for LineOutput {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        loop {
            let taken = self.0.write(bytes);
            if taken > 0 || bytes.is_empty() {
                return Ok(taken);
            }
            // In which the UART sends most of what it holds.
            Timer::after_ticks(1).await;
        }
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Runs the tasks that `begin` spawns, for ever. To be called once.
pub fn run(begin: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static _ = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    begin(executor.spawner());
    loop {
        // SAFETY: it is called here alone, and so never from inside itself.
        unsafe { executor.poll() };
        // As in `sleep`: no wake-up can be missed. Not with WFE, for which QEMU does not sleep.
        cortex_m::interrupt::disable();
        if !WORK.load(Ordering::Relaxed) {
            cortex_m::asm::wfi();
        }
        WORK.store(false, Ordering::Relaxed);
        // SAFETY: they were enabled before, as they always are outside of this function.
        unsafe { cortex_m::interrupt::enable() };
    }
}

// SAFETY: embassy asks for a function of this name and type.
#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    WORK.store(true, Ordering::Relaxed);
}
