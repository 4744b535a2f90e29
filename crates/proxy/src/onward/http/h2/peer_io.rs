//! The transport of a connection, and what the `h2` crate does not pass on of what the peer says
//! there: when it said something last, how large a head it takes, and whether it had processed
//! any streams when it went away. And one thing that it shall not hear as it was said: the largest
//! window there is, which some peers then enlarge.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::onward::connect::Transport;

/// What is known of a peer.
#[derive(Debug)]
pub(crate) struct Heard {
    start: Instant,
    /// When bytes were last read, ms since the start.
    last_read: AtomicU64,
    /// SETTINGS_MAX_HEADER_LIST_SIZE; its largest value if the peer gives none.
    head_max: AtomicU32,
    /// The last stream that the latest GOAWAY names; 0 before it.
    last_stream: AtomicU32,
}

impl Heard {
    pub(crate) fn nothing() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            last_read: AtomicU64::new(0),
            head_max: AtomicU32::new(u32::MAX),
            last_stream: AtomicU32::new(0),
        })
    }

    /// Something is heard now.
    pub(crate) fn now(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_read.store(elapsed, Ordering::Relaxed);
    }

    /// When the latest bytes came; the beginning if none did.
    pub(crate) fn last_read(&self) -> Instant {
        self.start + Duration::from_millis(self.last_read.load(Ordering::Relaxed))
    }

    /// The largest head that the peer takes, as h2 counts it.
    pub(crate) fn head_max(&self) -> usize {
        usize::try_from(self.head_max.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Whether the peer went away, and processed a stream of ours before.
    pub(crate) fn has_processed_some(&self) -> bool {
        self.last_stream.load(Ordering::Relaxed) > 0
    }
}

const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;
const SETTINGS_ITEM: usize = 6;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const GOAWAY: u8 = 7;

/// Finds what there is to hear in a peer's bytes, however they are cut.
#[derive(Debug)]
struct Listener {
    heard: Arc<Heard>,
    /// The frame's head, as far as it came, and how much of its payload is still to come.
    head: [u8; FRAME_HEAD],
    head_length: usize,
    payload_left: usize,
    /// What came of a setting, or of the last stream.
    item: [u8; SETTINGS_ITEM],
    item_length: usize,
    /// How many frames came.
    frames: usize,
}

impl Listener {
    fn new(heard: Arc<Heard>) -> Self {
        Self {
            heard,
            head: [0; FRAME_HEAD],
            head_length: 0,
            payload_left: 0,
            item: [0; SETTINGS_ITEM],
            item_length: 0,
            frames: 0,
        }
    }

    fn hear(&mut self, mut bytes: &mut [u8]) {
        self.heard.now();
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let (payload, rest) = bytes.split_at_mut(self.payload_left.min(bytes.len()));
                bytes = rest;
                self.payload_left -= payload.len();
                self.payload(payload);
                continue;
            }
            let [first, rest @ ..] = bytes else { return };
            bytes = rest;
            if let Some(room) = self.head.get_mut(self.head_length) {
                *room = *first;
            }
            self.head_length += 1;
            if self.head_length == FRAME_HEAD {
                let [a, b, c, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]);
                self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
                self.head_length = 0;
                self.item_length = 0;
                self.frames = self.frames.wrapping_add(1);
            }
        }
    }

    /// Whether the setting that has begun is the window of streams.
    const fn is_window(&self) -> bool {
        let [a, b, ..] = self.item;
        u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE
    }

    fn payload(&mut self, payload: &mut [u8]) {
        let [_, _, _, kind @ (SETTINGS | GOAWAY), ..] = self.head else { return };
        for byte in payload {
            if kind == SETTINGS && self.item_length == 2 && self.is_window() {
                *byte = smaller(*byte);
            }
            if let Some(room) = self.item.get_mut(self.item_length) {
                *room = *byte;
                self.item_length += 1;
            }
            let [a, b, c, d, e, f] = self.item;
            if kind == GOAWAY && self.item_length == 4 {
                // The first bit means nothing (RFC 9113 §6.8).
                let last = u32::from_be_bytes([a & 0x7f, b, c, d]);
                self.heard.last_stream.store(last, Ordering::Relaxed);
            }
            if kind == SETTINGS && self.item_length == SETTINGS_ITEM {
                self.item_length = 0;
                if u16::from_be_bytes([a, b]) == MAX_HEADER_LIST_SIZE {
                    let size = u32::from_be_bytes([c, d, e, f]);
                    self.heard.head_max.store(size, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The first byte of a window of 2^30 bytes or more, made one of a little less. A peer that gives each
/// stream the largest window, 2^31 - 1 bytes, and then more of it, breaks RFC 9113 §6.9.1, and the `h2`
/// crate resets the stream for that. The policy's `h2q_oflow_txcr` asks to bear with such a peer;
/// nobody misses what is left out, as the peer gives more as soon as some is used.
const fn smaller(first: u8) -> u8 {
    match first {
        // Greater ones are too large for any peer, which h2 has to see.
        0x40..0x80 => 0x3f,
        _ => first,
    }
}

/// A transport that is listened to.
#[derive(Debug)]
pub(crate) struct PeerIo {
    transport: Transport,
    listener: Listener,
}

impl PeerIo {
    pub(crate) fn new(transport: Transport, heard: Arc<Heard>) -> Self {
        Self { transport, listener: Listener::new(heard) }
    }

    /// How many frames came.
    pub(super) const fn frames(&self) -> usize {
        self.listener.frames
    }
}

impl AsyncRead for PeerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.transport).poll_read(cx, buf);
        if let Some(new @ [_, ..]) = buf.filled_mut().get_mut(before..) {
            self.listener.hear(new);
        }
        result
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const BYTES: [u8; 76] = [
        // SETTINGS: 3 = 100, 6 = 0x01020304
        0, 0, 12, 4, 0, 0, 0, 0, 0,  0, 3, 0, 0, 0, 100,  0, 6, 1, 2, 3, 4,
        // SETTINGS, an acknowledgement
        0, 0, 0, 4, 1, 0, 0, 0, 0,
        // DATA that looks like a setting
        0, 0, 6, 0, 0, 0, 0, 0, 1,  0, 6, 9, 9, 9, 9,
        // GOAWAY: last stream 7, no error, "x"
        0, 0, 9, 7, 0, 0, 0, 0, 0,  0x80, 0, 0, 7, 0, 0, 0, 0, b'x',
        // PING's head and a part of it
        0, 0, 8, 6, 0, 0, 0, 0, 0,  1, 2, 3, 4,
    ];

    #[tokio::test]
    async fn it_is_heard_however_the_bytes_are_cut() {
        for size in 1..=BYTES.len() {
            let heard = Heard::nothing();
            let mut listener = Listener::new(Arc::clone(&heard));
            assert_eq!((heard.head_max(), heard.has_processed_some()), (u32::MAX as usize, false));
            for piece in { BYTES }.chunks_mut(size) {
                listener.hear(piece);
            }
            assert_eq!(heard.head_max(), 0x0102_0304, "{size} at a time");
            assert_eq!(heard.last_stream.load(Ordering::Relaxed), 7, "{size} at a time");
            assert_eq!(listener.frames, 5, "{size} at a time");
        }
    }

    #[tokio::test]
    async fn no_window_is_so_large_that_more_is_too_much() {
        for (said, heard) in [
            (0, 0),
            (65_535, 65_535),
            ((1 << 30) - 1, (1 << 30) - 1),
            (1 << 30, 0x3f00_0000),
            ((1 << 31) - 1, (1 << 30) - 1),
            (1 << 31, 1 << 31),
            (u32::MAX, u32::MAX),
        ] {
            // SETTINGS: 3 and then 4, the window
            let mut frame = vec![0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3, 0x7f, 0xff, 0xff, 0xff, 0, 4];
            let rest = frame.len();
            frame.extend(u32::to_be_bytes(said));
            for size in 1..=frame.len() {
                let mut bytes = frame.clone();
                let mut listener = Listener::new(Heard::nothing());
                bytes.chunks_mut(size).for_each(|piece| listener.hear(piece));
                assert_eq!(bytes[..rest], frame[..rest], "{said}, {size} at a time");
                assert_eq!(bytes[rest..], u32::to_be_bytes(heard), "{said}, {size} at a time");
            }
        }
    }
}
