//! How deep the stack ever was: cortex-m-rt filled its memory with a pattern before `main`.

use core::ptr::{addr_of, read_volatile};

/// What cortex-m-rt fills it with.
const PAINT: u32 = cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    /// Of cortex-m-rt's linker script: the lowest and the first address of the stack.
    static _stack_end: u32;
    static _stack_start: u32;
}

fn bounds() -> (usize, usize) {
    (addr_of!(_stack_end) as usize, addr_of!(_stack_start) as usize)
}

/// All memory that the stack may take, in bytes.
pub fn stack_size() -> usize {
    let (end, start) = bounds();
    start - end
}

/// The most that the stack ever took, in bytes: the distance from its first address to the last
/// word that is not as it was at the start.
pub fn stack_used() -> usize {
    let (end, start) = bounds();
    let painted = (end..start).step_by(4).take_while(|&address| {
        // SAFETY: the linker script gives aligned addresses of RAM that nothing but the stack uses.
        unsafe { read_volatile(address as *const u32) == PAINT }
    });
    start - end - painted.count() * 4
}
