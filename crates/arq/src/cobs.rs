//! Consistent overhead byte stuffing: a packet without a zero, and a zero behind it. Whatever noise
//! does to a packet, the next one begins behind the next zero.

/// What ends a packet, and is in none.
pub(crate) const DELIMITER: u8 = 0;

/// The longest run that one code byte counts.
const RUN_MAX: u8 = 254;

/// How many bytes stuffing and the delimiter add to a packet at most.
pub(crate) const fn overhead(length: usize) -> usize {
    2 + length / RUN_MAX as usize
}

/// Stuffs the packet in `buf[from..]` and writes it, with its delimiter, to the front of `buf`; returns
/// how long that is. `from` must be [`overhead`] of the packet or more, so that nothing is
/// overwritten before it was read. `None` if it is not.
pub(crate) fn stuff(buf: &mut [u8], from: usize) -> Option<usize> {
    let length = buf.len().checked_sub(from)?;
    if from < overhead(length) {
        return None;
    }
    let (mut code_at, mut at) = (0, 1);
    for read in from..buf.len() {
        let byte = *buf.get(read)?;
        if byte != DELIMITER {
            *buf.get_mut(at)? = byte;
            at += 1;
        }
        let run = at - code_at;
        if byte == DELIMITER || run > usize::from(RUN_MAX) {
            *buf.get_mut(code_at)? = run as u8;
            code_at = at;
            at += 1;
        }
    }
    *buf.get_mut(code_at)? = (at - code_at) as u8;
    *buf.get_mut(at)? = DELIMITER;
    Some(at + 1)
}

/// The longest packet for [`stuff_short`].
pub(crate) const SHORT_MAX: usize = RUN_MAX as usize;

/// Stuffs a packet of [`SHORT_MAX`] bytes or less, which lies in `buf` behind one byte of other use and in
/// front of one, in its place; returns how long that is.
pub(crate) fn stuff_short(buf: &mut [u8]) -> usize {
    if let [first, .., last] = buf {
        (*first, *last) = (DELIMITER, DELIMITER);
    }
    let mut run = 0;
    for byte in buf.iter_mut().rev() {
        if *byte == DELIMITER {
            *byte = run;
            run = 0;
        }
        run = run.wrapping_add(1);
    }
    buf.len()
}

/// Takes a packet out of its stuffing, byte by byte.
#[derive(Clone, Debug)]
pub(crate) struct Unstuffer {
    /// Bytes until the next code byte.
    left: u8,
    /// A zero belongs before the next run, if there is one.
    owes_zero: bool,
}

/// What a byte of a stuffed packet is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unstuffed {
    /// It carries nothing.
    Nothing,
    /// The packet's next byte.
    Byte(u8),
    /// The packet ends here, and is whole as far as the stuffing shows.
    End,
    /// It ends here, but in the middle of a run.
    Broken,
}

impl Unstuffer {
    pub(crate) const fn new() -> Self {
        Self { left: 0, owes_zero: false }
    }

    pub(crate) const fn next(&mut self, byte: u8) -> Unstuffed {
        if byte == DELIMITER {
            let is_whole = self.left == 0;
            *self = Self::new();
            return if is_whole { Unstuffed::End } else { Unstuffed::Broken };
        }
        if self.left > 0 {
            self.left -= 1;
            return Unstuffed::Byte(byte);
        }
        let owed = self.owes_zero;
        self.left = byte - 1;
        self.owes_zero = self.left < RUN_MAX;
        if owed { Unstuffed::Byte(0) } else { Unstuffed::Nothing }
    }
}
