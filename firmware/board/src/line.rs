use cortex_m_rt::exception;

use crate::chip;
use crate::ring::Ring;

/// How many bytes of the line the board keeps until the program reads them. An image makes sure that
/// the proxy never has more on its way.
pub const INPUT_RING: usize = 2048;

static RING: Ring<INPUT_RING> = Ring::new();

/// The UART to the proxy. An interrupt takes what comes, so that the rest of the program may be
/// busy, as with its log, for as long as the ring lasts: 170 ms at 115,200 bit/s.
#[derive(Debug)]
pub struct Line(());

impl Line {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// Takes what came, as much as there is room for; returns how many bytes.
    pub fn read(&mut self, room: &mut [u8]) -> usize {
        let mut taken = 0;
        for place in room {
            let Some(byte) = RING.pop() else { break };
            *place = byte;
            taken += 1;
        }
        // The handler may have turned it off.
        chip::interrupt_on_input(chip::LINE, true);
        taken
    }

    /// Gives the UART what it takes without waiting; returns how many bytes.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for &byte in bytes {
            if !chip::write(chip::LINE, byte) {
                break;
            }
            taken += 1;
        }
        taken
    }
}

/// True if [`Line::read`] has something to give.
pub(crate) fn has_input() -> bool {
    !RING.is_empty()
}

// SAFETY: nothing is assumed about what was interrupted; all that is shared are atomics.
#[exception]
unsafe fn DefaultHandler(interrupt: i16) {
    if interrupt != chip::LINE_INPUT as i16 {
        return;
    }
    chip::acknowledge_input(chip::LINE);
    loop {
        if RING.is_full() {
            // What comes now waits in the UART, and is lost if that has no room: the mux notices.
            chip::interrupt_on_input(chip::LINE, false);
            break;
        }
        let Some(byte) = chip::read(chip::LINE) else { break };
        RING.push(byte);
    }
    #[cfg(feature = "embassy")]
    crate::embassy::input();
}
