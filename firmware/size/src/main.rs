//! A program for no particular board, which is linked and never run, to see how much the client adds to
//! it. With feature `client` it has four streams and calls every function of theirs; the linker cannot
//! know which of the calls happen.
#![no_std]
#![no_main]

#[cfg(feature = "arq")]
mod arq;
#[cfg(feature = "client")]
mod client;

use core::hint::black_box;

/// A value that the compiler knows nothing about.
#[inline(never)]
fn get() -> u32 {
    black_box(0)
}

/// Somebody reads it.
#[inline(never)]
fn put(value: u32) {
    black_box(value);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Where the image begins.
// SAFETY: no other function of this image has the name.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    #[cfg(feature = "client")]
    client::run(memory);
    #[cfg(not(feature = "client"))]
    loop {
        memory();
        put(get());
    }
}

/// What the compiler makes of these is in nearly every image, so it is not counted as the client's.
fn memory() {
    let (from, to): (&[u8], &mut [u8]) = (black_box(&[]), black_box(&mut []));
    let length = get() as usize;
    if let (Some(from), Some(to)) = (from.get(..length), to.get_mut(..length)) {
        for (place, byte) in to.iter_mut().zip(from) {
            *place = *byte;
        }
        put((from == to).into());
    }
    if let Some(to) = to.get_mut(..length) {
        to.fill(get() as u8);
    }
    if to.len() > length {
        to.copy_within(length.., 0);
    }
    black_box(*black_box(&[0u8; 64]));
}
