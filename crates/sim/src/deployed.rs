//! How deployed clients read.

use sspc_wire::Flags;

/// What an application of a deployed client is handed at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rx {
    /// The flags of the frame, all of them, whichever part this is.
    pub flags: Flags,
    /// The payload, or a part of it.
    pub data: Vec<u8>,
}

/// A client as libwebsockets v4.4.4 has it, as far as RX_PAYLOAD goes: what does not come in one
/// read is kept, and handed on in parts, each with the flags of the whole frame. After a payload of
/// 0 bytes all parts but the last are lost.
#[derive(Debug, Default)]
pub struct DeployedReader {
    head: Vec<u8>,
    /// Bytes left of the frame's body, once the head is there.
    left: Option<usize>,
    parts: Vec<Vec<u8>>,
    after_empty: bool,
}

/// The type of RX_PAYLOAD.
const RX_PAYLOAD: u8 = 0x55;
/// Type and length of any frame.
const HEAD: usize = 3;
/// The fields of RX_PAYLOAD before its payload.
const FIXED: usize = 16;

impl DeployedReader {
    /// The most that such a client reads at once, in bytes.
    pub const READ_MAX: usize = 2048;

    /// Takes what one read brought, and hands on what the application gets.
    pub fn read(&mut self, mut bytes: &[u8]) -> Vec<Rx> {
        let mut handed = Vec::new();
        while !bytes.is_empty() {
            if let Some(left) = self.left {
                let (part, rest) = bytes.split_at(left.min(bytes.len()));
                bytes = rest;
                self.take(part, left, &mut handed);
                continue;
            }
            let (byte, rest) = bytes.split_at(1);
            bytes = rest;
            self.head.extend_from_slice(byte);
            let wanted = if self.head.first() == Some(&RX_PAYLOAD) { HEAD + FIXED } else { HEAD };
            if self.head.len() == wanted {
                let length = usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
                let left = length + HEAD - wanted;
                self.left = Some(left);
                if left == 0 {
                    self.take(&[], 0, &mut handed);
                }
            }
        }
        handed
    }

    /// True if no frame is half read.
    pub fn is_between_frames(&self) -> bool {
        self.head.is_empty()
    }

    fn take(&mut self, part: &[u8], left: usize, handed: &mut Vec<Rx>) {
        let is_payload = self.head.first() == Some(&RX_PAYLOAD);
        if part.len() < left {
            self.left = Some(left - part.len());
            if is_payload {
                self.parts.push(part.to_vec());
            }
            return;
        }
        if is_payload {
            let flags = self.head.get(HEAD..HEAD + 4).unwrap_or_default();
            let flags = flags.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            let flags = Flags::from_bits(flags);
            let mut parts = std::mem::take(&mut self.parts);
            if self.after_empty {
                parts.clear();
            }
            self.after_empty |= part.is_empty() && parts.is_empty();
            parts.push(part.to_vec());
            handed.extend(parts.into_iter().map(|data| Rx { flags, data }));
        }
        self.head.clear();
        self.left = None;
    }
}
