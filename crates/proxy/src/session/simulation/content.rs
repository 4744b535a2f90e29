//! Messages that tell if any byte of them is lost, repeated or of another message.

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    pub(super) maker: Maker,
    /// Of the maker's messages.
    pub(super) number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Maker {
    /// The application, which sends its nth message until it is answered, with new numbers.
    User { nth: u32 },
    /// The remote peer of the nth attempt.
    Peer { attempt: u32 },
}

/// Bytes in front of a message's pattern, and so the least length.
pub(super) const HEAD: usize = 12;

const USER_BIT: u32 = 1 << 31;

/// A message of this many bytes.
pub(super) fn make(label: Label, length: usize) -> Vec<u8> {
    assert!(length >= HEAD);
    let maker = match label.maker {
        Maker::User { nth } => nth | USER_BIT,
        Maker::Peer { attempt } => attempt,
    };
    let mut bytes = Vec::with_capacity(length);
    for word in [maker, label.number, length as u32] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend((HEAD..length).map(|at| pattern(maker, label.number, at)));
    bytes
}

/// Sees to it that these are the bytes of one whole message.
pub(super) fn whole(bytes: &[u8]) -> Label {
    let (label, length) = beginning(bytes, 0).expect("a message's head is whole");
    assert_eq!(bytes.len(), length, "the length of {label:?}");
    label
}

/// Sees to it that these bytes, of which the first `seen` were seen before, begin a message; tells
/// which if they hold its head, and its length.
pub(super) fn beginning(bytes: &[u8], seen: usize) -> Option<(Label, usize)> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (maker, number, length) = (word(0)?, word(4)?, word(8)? as usize);
    assert!(bytes.len() <= length, "{} bytes of a message of {length}", bytes.len());
    let right = bytes.iter().enumerate().skip(HEAD.max(seen));
    for (at, byte) in right {
        assert_eq!(*byte, pattern(maker, number, at), "byte {at} of {length}");
    }
    let maker = match maker & USER_BIT {
        0 => Maker::Peer { attempt: maker },
        _ => Maker::User { nth: maker & !USER_BIT },
    };
    Some((Label { maker, number }, length))
}

fn pattern(maker: u32, number: u32, at: usize) -> u8 {
    let at = at as u32;
    (at ^ (at >> 8) ^ maker.wrapping_mul(0x35) ^ number.wrapping_mul(0x1b)) as u8
}
