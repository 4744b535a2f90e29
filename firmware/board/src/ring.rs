use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Bytes from an interrupt handler to the main loop, in order; one writer, one reader. Loads and
/// stores alone, which even a Cortex-M0 has.
pub(crate) struct Ring<const SIZE: usize> {
    bytes: [AtomicU8; SIZE],
    /// Bytes ever written, by the writer alone.
    written: AtomicUsize,
    /// Bytes ever read, by the reader alone.
    read: AtomicUsize,
}

impl<const SIZE: usize> Ring<SIZE> {
    pub(crate) const fn new() -> Self {
        // Then counters that wrap around stay right.
        assert!(SIZE.is_power_of_two());
        Self {
            bytes: [const { AtomicU8::new(0) }; SIZE],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        }
    }

    fn len(&self) -> usize {
        // Each side is exact about its own counter; the other's can only have moved on since, to
        // fewer bytes for the writer and to more for the reader.
        let read = self.read.load(Ordering::Acquire);
        self.written.load(Ordering::Acquire).wrapping_sub(read)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= SIZE
    }

    /// For the writer. There must be room.
    pub(crate) fn push(&self, byte: u8) {
        let written = self.written.load(Ordering::Relaxed);
        if let Some(place) = self.bytes.get(written % SIZE) {
            place.store(byte, Ordering::Relaxed);
        }
        self.written.store(written.wrapping_add(1), Ordering::Release);
    }

    /// For the reader.
    pub(crate) fn pop(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let read = self.read.load(Ordering::Relaxed);
        let byte = self.bytes.get(read % SIZE)?.load(Ordering::Relaxed);
        self.read.store(read.wrapping_add(1), Ordering::Release);
        Some(byte)
    }
}
