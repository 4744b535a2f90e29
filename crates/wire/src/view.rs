//! A view of the bytes of a link for those who pass them on or show them: which frame they are of,
//! and where its parts lie, without taking it apart. The decoders are for those whom frames are for.

use core::ops::Range;

use crate::Flags;
use crate::limits::{FRAME_HEAD, MUX_CONTROL_MAX, MUX_HEAD, PAYLOAD_FIXED};
use crate::mux::{length_of, mux_type};
use crate::to_client::to_client_type;
use crate::to_proxy::{Streamtype, to_proxy_type};
use crate::{to_client, to_proxy};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From client to proxy.
    ToProxy,
    /// From proxy to client.
    ToClient,
}

impl Direction {
    /// First to the proxy, then to the client.
    pub const BOTH: [Self; 2] = [Self::ToProxy, Self::ToClient];

    /// The way of a stream's frame of this type; `None` if there is no such type, or if it goes both
    /// ways.
    pub fn of(frame: u8) -> Option<Self> {
        if to_proxy::TYPES.contains(&frame) {
            Some(Self::ToProxy)
        } else if to_client::TYPES.contains(&frame) {
            Some(Self::ToClient)
        } else {
            None
        }
    }
}

/// What the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Those of one stream, SSS frames.
    Stream,
    /// Those of the mux.
    Mux,
}

/// The longest head: a payload's with the length of a rideshare name.
const HEAD_MAX: usize = FRAME_HEAD + PAYLOAD_FIXED + 1;
const _: () = assert!(HEAD_MAX >= MUX_CONTROL_MAX, "control frames are all head");

/// The head of a frame: all of it in front of names, values and payload, as far as it has come.
///
/// What a frame does not have, or what has not come, is `None`. Nothing is checked: a frame that no
/// decoder takes has a head too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    layer: Layer,
    have: u8,
    bytes: [u8; HEAD_MAX],
}

impl FrameHead {
    const fn new(layer: Layer) -> Self {
        Self { layer, have: 0, bytes: [0; HEAD_MAX] }
    }

    /// The head that these bytes begin with, as far as they reach.
    pub fn of(layer: Layer, bytes: &[u8]) -> Self {
        let mut head = Self::new(layer);
        for byte in bytes {
            if head.is_complete() {
                break;
            }
            head.push(*byte);
        }
        head
    }

    /// The bytes that have come.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.have)).unwrap_or_default()
    }

    /// The frame's type.
    pub const fn kind(&self) -> Option<u8> {
        if self.have == 0 { None } else { Some(self.bytes[0]) }
    }

    /// The frame's name in `docs/spec/frames.md` or `docs/spec/mux.md`.
    pub fn name(&self) -> Option<&'static str> {
        self.kind().and_then(frame_name)
    }

    /// How many bytes the frame has in all, this head too.
    pub fn length(&self) -> Option<usize> {
        let kind = self.kind()?;
        match self.layer {
            Layer::Stream => Some(FRAME_HEAD + usize::from(self.u16_at(1)?)),
            Layer::Mux if kind == mux_type::MUX => Some(MUX_HEAD + usize::from(self.u16_at(2)?)),
            Layer::Mux => Some(usize::from(length_of(kind).max(1))),
        }
    }

    /// True if all of it has come.
    pub fn is_complete(&self) -> bool {
        self.have > 0 && usize::from(self.have) >= self.needed()
    }

    /// The flags of RX_PAYLOAD and TX_PAYLOAD.
    pub fn flags(&self) -> Option<Flags> {
        match (self.layer, self.kind()?) {
            (Layer::Stream, to_proxy_type::TX_PAYLOAD | to_client_type::RX_PAYLOAD)
                if self.length()? >= FRAME_HEAD + PAYLOAD_FIXED =>
            {
                self.u32_at(FRAME_HEAD).map(Flags::from_bits)
            }
            _ => None,
        }
    }

    /// Where the payload of RX_PAYLOAD and TX_PAYLOAD lies in the frame, or the body of MUX.
    pub fn payload(&self) -> Option<Range<usize>> {
        let length = self.length().filter(|_| self.is_complete())?;
        let start = match (self.layer, self.flags()) {
            (Layer::Mux, _) if self.kind() == Some(mux_type::MUX) => MUX_HEAD,
            (Layer::Stream, Some(flags)) => {
                let fixed = FRAME_HEAD + PAYLOAD_FIXED;
                match self.bytes().get(fixed) {
                    Some(name) if flags.contains(Flags::RIDESHARE) => {
                        fixed + 1 + usize::from(*name)
                    }
                    _ => fixed,
                }
            }
            _ => return None,
        };
        Some(start.min(length)..length)
    }

    /// What a TXCR_UPDATE of either direction gives.
    pub fn credit(&self) -> Option<i32> {
        const LENGTH: usize = FRAME_HEAD + 4;
        match (self.layer, self.kind()?, self.length()?) {
            (Layer::Stream, to_proxy_type::TXCR_UPDATE | to_client_type::TXCR_UPDATE, LENGTH) => {
                Some(self.u32_at(FRAME_HEAD)? as i32)
            }
            _ => None,
        }
    }

    /// What STREAMTYPE says in front of its name, which is left empty.
    pub fn streamtype(&self) -> Option<Streamtype<'static>> {
        if self.layer != Layer::Stream || self.kind()? != to_proxy_type::STREAMTYPE {
            return None;
        }
        let (pid, tx_credit) = (self.u32_at(4)?, self.u32_at(8)? as i32);
        Some(Streamtype { version: self.bytes[3], pid, tx_credit, name: &[] })
    }

    /// The same head of a STREAMTYPE with these numbers; other heads stay as they are.
    #[must_use]
    pub fn with_streamtype(mut self, pid: u32, tx_credit: i32) -> Self {
        if self.streamtype().is_some() {
            if let Some(numbers) = self.bytes.get_mut(4..12) {
                let (pid, tx_credit) = (u64::from(pid), u64::from(tx_credit as u32));
                numbers.copy_from_slice(&(pid << 32 | tx_credit).to_be_bytes());
            }
        }
        self
    }

    /// The channel of a frame of the mux.
    pub fn channel(&self) -> Option<u8> {
        match (self.layer, self.kind()?) {
            (Layer::Mux, mux_type::CHANNEL_REQ..=mux_type::MUX) => self.bytes().get(1).copied(),
            _ => None,
        }
    }

    /// How many bytes it has, as far as that is known by those that have come.
    fn needed(&self) -> usize {
        let Some(kind) = self.kind() else { return 1 };
        let Layer::Stream = self.layer else { return usize::from(length_of(kind).max(1)) };
        let (Some(rest), Some(length)) = (self.u16_at(1), self.length()) else { return FRAME_HEAD };
        let layout = to_proxy::layout(kind, rest).or_else(|| to_client::layout(kind, rest));
        let mut needed = FRAME_HEAD + layout.map_or(0, |layout| layout.fields());
        if self.flags().is_some_and(|flags| flags.contains(Flags::RIDESHARE)) {
            needed += 1;
        }
        needed.min(length)
    }

    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(usize::from(self.have)) {
            *room = byte;
            self.have += 1;
        }
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        match self.bytes().get(at..at + 2)? {
            &[high, low] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        let (high, low) = (self.u16_at(at)?, self.u16_at(at + 2)?);
        Some(u32::from(high) << 16 | u32::from(low))
    }
}

/// Follows the frames of a link over bytes in any cut.
///
/// ```
/// use sspc_wire::{FrameTracker, Layer};
///
/// // TXCR_UPDATE +256, and the beginning of an RX_PAYLOAD of 5 bytes.
/// let bytes = [0x58, 0, 4, 0, 0, 1, 0, 0x55, 0, 21, 0, 0, 0, 3, 0, 0, 0, 0];
/// let mut input = &bytes[..];
/// let mut frames = FrameTracker::new(Layer::Stream);
/// let head = frames.head(&mut input).ok_or("no frame")?;
/// assert_eq!((head.name(), head.credit()), (Some("TXCR_UPDATE"), Some(256)));
/// assert_eq!(frames.head(&mut input), None); // its times have not come
/// assert_eq!((frames.offset(), frames.current().length()), (7, Some(24)));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameTracker {
    head: FrameHead,
    /// Where the frame begins, in bytes since the link's beginning.
    offset: u64,
    /// How many of its bytes have come.
    taken: u64,
}

impl FrameTracker {
    /// A tracker at the beginning of a link, or at the start of a frame.
    pub const fn new(layer: Layer) -> Self {
        Self { head: FrameHead::new(layer), offset: 0, taken: 0 }
    }

    /// Takes the head of the frame off the front of `input`, of the next frame if this one has
    /// ended; `None` if more of it has to come. Behind it comes [`rest`](Self::rest).
    pub fn head(&mut self, input: &mut &[u8]) -> Option<FrameHead> {
        if self.is_between_frames() {
            if input.is_empty() {
                return None;
            }
            self.begin();
        }
        while !self.head.is_complete() {
            let (byte, after) = input.split_first()?;
            *input = after;
            self.head.push(*byte);
            self.taken += 1;
        }
        Some(self.head)
    }

    /// Takes what comes behind the head off the front of `input`, up to the frame's end; nothing
    /// before the head is complete.
    pub fn rest<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        let left = if self.head.is_complete() { self.left() } else { 0 };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let (front, back) = input.split_at(left.min(input.len()));
        *input = back;
        self.taken += front.len() as u64;
        front
    }

    /// Takes all bytes, of however many frames.
    pub fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.head(&mut bytes).is_some() {
                self.rest(&mut bytes);
            }
        }
    }

    /// The frame begins where this one, whole or not, ends now.
    pub fn resync(&mut self) {
        self.begin();
    }

    /// Passes over bytes that are of no frame.
    pub fn skip(&mut self, count: u64) {
        self.begin();
        self.offset += count;
    }

    /// The head of the frame, the last one between two frames.
    pub const fn current(&self) -> &FrameHead {
        &self.head
    }

    /// Where that frame begins, in bytes since the link's beginning.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes of it have come.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// How many bytes of it are to come; 0 before its length is known.
    pub fn left(&self) -> u64 {
        (self.head.length().unwrap_or_default() as u64).saturating_sub(self.taken)
    }

    /// True before the first frame and when one has ended.
    pub fn is_between_frames(&self) -> bool {
        self.taken == 0 || self.head.is_complete() && self.left() == 0
    }

    fn begin(&mut self) {
        let begins_at = self.offset + self.taken;
        *self = Self { offset: begins_at, ..Self::new(self.head.layer) };
    }
}

/// The name of a frame's type in the specification, `docs/spec`; types of streams and of the mux differ.
pub const fn frame_name(frame: u8) -> Option<&'static str> {
    Some(match frame {
        to_client_type::RX_PAYLOAD => "RX_PAYLOAD",
        to_client_type::CREATE_RESULT => "CREATE_RESULT",
        to_client_type::CONNSTATE => "CONNSTATE",
        to_client_type::TXCR_UPDATE | to_proxy_type::TXCR_UPDATE => "TXCR_UPDATE",
        to_client_type::METADATA | to_proxy_type::METADATA => "METADATA",
        to_client_type::PERF => "PERF",
        to_proxy_type::STREAMTYPE => "STREAMTYPE",
        to_proxy_type::ONWARD_CONNECT => "ONWARD_CONNECT",
        to_proxy_type::DESTROYING => "DESTROYING",
        to_proxy_type::TX_PAYLOAD => "TX_PAYLOAD",
        to_proxy_type::TIMEOUT_UPDATE => "TIMEOUT_UPDATE",
        to_proxy_type::PAYLOAD_LENGTH_HINT => "PAYLOAD_LENGTH_HINT",
        mux_type::CHANNEL_REQ => "CHANNEL_REQ",
        mux_type::CHANNEL_ACK => "CHANNEL_ACK",
        mux_type::CHANNEL_NACK => "CHANNEL_NACK",
        mux_type::CHANNEL_CLOSE => "CHANNEL_CLOSE",
        mux_type::CHANNEL_CLOSE_ACK => "CHANNEL_CLOSE_ACK",
        mux_type::MUX => "MUX",
        mux_type::PING => "PING",
        mux_type::PONG => "PONG",
        mux_type::PONGACK => "PONGACK",
        mux_type::RESET_TRANSPORT => "RESET_TRANSPORT",
        _ => return None,
    })
}
