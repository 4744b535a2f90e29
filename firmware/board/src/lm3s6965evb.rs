//! TI LM3S6965, a Cortex-M3; its UARTs are ARM's PL011.

use core::ptr::{read_volatile, write_volatile};

/// What the core runs at, as QEMU starts it.
pub(crate) const CLOCK_HZ: u32 = 12_500_000;

/// UART0: QEMU's first `-serial`.
pub(crate) const LINE: Uart = Uart { base: 0x4000_C000, number: 0 };
/// UART1: QEMU's second `-serial`.
pub(crate) const LOG: Uart = Uart { base: 0x4000_D000, number: 1 };

/// The number of [`LINE`]'s interrupt.
pub(crate) const LINE_INPUT: u16 = 5;

/// UARTDR, the data.
const DATA: u32 = 0x00;
/// UARTFR, with "receiver empty" and "transmitter full".
const FLAGS: u32 = 0x18;
const RXFE: u32 = 1 << 4;
const TXFF: u32 = 1 << 5;
/// UARTIBRD and UARTFBRD, the divisor in whole and in 64ths.
const DIVISOR: u32 = 0x24;
const FRACTION: u32 = 0x28;
/// UARTLCRH: 8 bits, FIFOs on.
const FORMAT: u32 = 0x2C;
const WLEN8_FEN: u32 = 3 << 5 | 1 << 4;
/// UARTCTL: receiver, transmitter, UART on.
const CONTROL: u32 = 0x30;
const RXE_TXE_UARTEN: u32 = 1 << 9 | 1 << 8 | 1;
/// UARTIFLS: from how many bytes on the interrupt comes; 0 is an eighth of the FIFO.
const LEVEL: u32 = 0x34;
/// UARTIM and UARTICR, the interrupt's mask and its acknowledgement.
const MASK: u32 = 0x38;
const CLEAR: u32 = 0x44;
/// Input at the level, and input below it that no more follows.
const RXIM_RTIM: u32 = 1 << 4 | 1 << 6;
/// RCGC1: a bit for the clock of each UART.
const CLOCK_GATE: u32 = 0x400F_E104;

#[derive(Clone, Copy)]
pub(crate) struct Uart {
    base: u32,
    number: u32,
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
    set(CLOCK_GATE, get(CLOCK_GATE) | 1 << uart.number);
    set(uart.base + CONTROL, 0);
    let divisor_64ths = CLOCK_HZ * 4 / crate::BAUD;
    set(uart.base + DIVISOR, divisor_64ths / 64);
    set(uart.base + FRACTION, divisor_64ths % 64);
    set(uart.base + FORMAT, WLEN8_FEN);
    set(uart.base + LEVEL, 0);
    set(uart.base + CONTROL, RXE_TXE_UARTEN);
}

pub(crate) fn interrupt_on_input(uart: Uart, on: bool) {
    set(uart.base + MASK, if on { RXIM_RTIM } else { 0 });
}

pub(crate) fn acknowledge_input(uart: Uart) {
    set(uart.base + CLEAR, RXIM_RTIM);
}

pub(crate) fn read(uart: Uart) -> Option<u8> {
    (get(uart.base + FLAGS) & RXFE == 0).then(|| get(uart.base + DATA) as u8)
}

/// False if there is no room.
pub(crate) fn write(uart: Uart, byte: u8) -> bool {
    let room = get(uart.base + FLAGS) & TXFF == 0;
    if room {
        set(uart.base + DATA, byte.into());
    }
    room
}
