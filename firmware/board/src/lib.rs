//! The board under the images: a UART to the proxy, a UART for the log, a clock, and sleep.
//!
//! To port, write the file of another chip: see `lm3s6965evb.rs`, 60 lines, of which all
//! `unsafe` is two functions that touch registers.
#![no_std]

mod clock;
#[cfg(feature = "embassy")]
mod embassy;
mod line;
mod log;
mod ring;
mod stack;

#[cfg_attr(feature = "lm3s6965evb", path = "lm3s6965evb.rs")]
#[cfg_attr(feature = "mps2-an386", path = "mps2_an386.rs")]
mod chip;

use cortex_m::peripheral::NVIC;
use cortex_m::peripheral::syst::SystClkSource;

pub use clock::Clock;
#[cfg(feature = "embassy")]
pub use embassy::{LineInput, LineOutput, run};
pub use line::{INPUT_RING, Line};
pub use log::Log;
pub use stack::{stack_size, stack_used};

/// What the line to the proxy and the log run at, in bit/s.
pub const BAUD: u32 = 115_200;

/// Interrupts of the clock in a second.
const TICKS_PER_SECOND: u32 = 1000;

/// Everything that an image needs of its board.
#[derive(Debug)]
pub struct Board {
    /// The UART to the proxy.
    pub line: Line,
    /// The UART for people.
    pub log: Log,
    /// Time since the start.
    pub clock: Clock,
}

impl Board {
    /// Starts UARTs, clock and interrupts. `None` if it was called before.
    pub fn take() -> Option<Self> {
        let mut core = cortex_m::Peripherals::take()?;
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(chip::CLOCK_HZ / TICKS_PER_SECOND - 1);
        core.SYST.clear_current();
        core.SYST.enable_counter();
        core.SYST.enable_interrupt();
        chip::start(chip::LINE);
        chip::start(chip::LOG);
        chip::interrupt_on_input(chip::LINE, true);
        // SAFETY: no critical section relies on the interrupt being masked; its handler shares only
        // atomics with the rest.
        unsafe { NVIC::unmask(chip::LineInput) };
        Some(Self { line: Line::new(), log: Log::new(), clock: Clock::new() })
    }
}

/// Sleeps until an interrupt: input of the line, or the next tick of the clock, within a ms. Returns
/// at once if there is input already.
pub fn sleep() {
    // WFI also wakes for an interrupt that is masked: none can come between look and sleep and be
    // missed.
    cortex_m::interrupt::disable();
    if !line::has_input() {
        cortex_m::asm::wfi();
    }
    // SAFETY: they were enabled before, as they always are outside of this function.
    unsafe { cortex_m::interrupt::enable() };
}

/// Does nothing any more.
pub fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}
