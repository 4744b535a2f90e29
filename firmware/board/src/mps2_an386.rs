//! ARM MPS2 with a Cortex-M4; its UARTs are those of ARM's CMSDK, which hold one byte.

use core::ptr::{read_volatile, write_volatile};

/// What the core runs at.
pub(crate) const CLOCK_HZ: u32 = 25_000_000;

/// UART0: QEMU's first `-serial`.
pub(crate) const LINE: Uart = Uart { base: 0x4000_4000 };
/// UART1: QEMU's second `-serial`.
pub(crate) const LOG: Uart = Uart { base: 0x4000_5000 };

/// The number of [`LINE`]'s interrupt.
pub(crate) const LINE_INPUT: u16 = 0;

const DATA: u32 = 0x00;
/// With "transmitter full" and "receiver full".
const STATE: u32 = 0x04;
const TXBF: u32 = 1 << 0;
const RXBF: u32 = 1 << 1;
/// Transmitter on, receiver on, interrupt on input.
const CONTROL: u32 = 0x08;
const TXEN_RXEN: u32 = 1 << 0 | 1 << 1;
const RXIE: u32 = 1 << 3;
const CLEAR: u32 = 0x0C;
const CLEAR_RX: u32 = 1 << 1;
const DIVISOR: u32 = 0x10;

#[derive(Clone, Copy)]
pub(crate) struct Uart {
    base: u32,
}

/// The interrupt of [`LINE`].
#[derive(Clone, Copy)]
pub(crate) struct LineInput;

// SAFETY: the number is the one in the chip's vector table, always.
unsafe impl cortex_m::interrupt::InterruptNumber for LineInput {
    fn number(self) -> u16 {
        LINE_INPUT
    }
}

fn get(address: u32) -> u32 {
    // SAFETY: only called with addresses of this file, of registers that can be read at any time.
    unsafe { read_volatile(address as *const u32) }
}

fn set(address: u32, value: u32) {
    // SAFETY: only called with addresses of this file, of registers that touch no memory.
    unsafe { write_volatile(address as *mut u32, value) }
}

pub(crate) fn start(uart: Uart) {
    set(uart.base + DIVISOR, CLOCK_HZ / crate::BAUD);
    set(uart.base + CONTROL, TXEN_RXEN);
    // QEMU looks for input only after data was read once.
    get(uart.base + DATA);
}

pub(crate) fn interrupt_on_input(uart: Uart, on: bool) {
    set(uart.base + CONTROL, if on { TXEN_RXEN | RXIE } else { TXEN_RXEN });
}

pub(crate) fn acknowledge_input(uart: Uart) {
    set(uart.base + CLEAR, CLEAR_RX);
}

pub(crate) fn read(uart: Uart) -> Option<u8> {
    (get(uart.base + STATE) & RXBF != 0).then(|| get(uart.base + DATA) as u8)
}

/// False if there is no room.
pub(crate) fn write(uart: Uart, byte: u8) -> bool {
    let room = get(uart.base + STATE) & TXBF == 0;
    if room {
        set(uart.base + DATA, byte.into());
    }
    room
}
