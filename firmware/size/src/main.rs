//! A program for no board, that is linked and never run: what the client adds to it is what the
//! client weighs. With feature `client` it has four streams and may do with them all that can be
//! done; the linker cannot tell what it will.
#![no_std]
#![no_main]

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

/// What the compiler makes of these is in nearly every image, and so is none of the client's weight.
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
