//! Fields as both editions write them.

/// The largest number that four bytes of seven bits hold.
pub(crate) const VARINT_MAX: usize = 268_435_455;

pub(crate) fn put_varint(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// Bytes with their length before them; what does not fit was refused before.
pub(crate) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}

/// Whether it can be a text of MQTT.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// What a number of seven bits a byte is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Varint {
    /// More bytes are to come.
    Partial,
    /// The number, and how many bytes it took.
    Whole(usize, usize),
    /// More than four bytes, or more than it needs.
    Bad,
}

impl Varint {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut number = 0;
        for (at, byte) in bytes.iter().take(4).enumerate() {
            number |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let is_short = at == 0 || *byte != 0;
                return if is_short { Varint::Whole(number, at + 1) } else { Varint::Bad };
            }
        }
        if bytes.len() < 4 { Varint::Partial } else { Varint::Bad }
    }
}

/// Reads fields one after the other; `None` where they end too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        self.binary().filter(|text| is_text(text))
    }

    pub(crate) fn varint(&mut self) -> Option<usize> {
        let Varint::Whole(number, length) = Varint::of(self.0) else { return None };
        self.take(length)?;
        Some(number)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seven_bits_a_byte() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARINT_MAX] {
            let mut bytes = Vec::new();
            put_varint(number, &mut bytes);
            assert_eq!(Varint::of(&bytes), Varint::Whole(number, bytes.len()));
            for cut in 0..bytes.len() {
                assert_eq!(Varint::of(&bytes[..cut]), Varint::Partial);
            }
        }
        assert_eq!(Varint::of(&[0x80, 0x80, 0x80, 0x80, 1]), Varint::Bad);
        assert_eq!(Varint::of(&[0x81, 0]), Varint::Bad, "longer than it needs");
    }
}
