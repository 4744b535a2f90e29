//! What comes from the client.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::link::LinkReader;
use crate::payload;

/// What one read brought.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// Nothing at the end.
    pub(super) bytes: Bytes,
    /// The size of the buffer that holds them, and that any share of them keeps.
    pub(super) buffer: usize,
}

impl Read {
    pub(super) const fn end() -> Self {
        Self { bytes: Bytes::new(), buffer: 0 }
    }

    /// `part` as a share of what was read, if it lies there and is most of the buffer, and the size of
    /// that.
    pub(super) fn share_of(&self, part: &[u8]) -> Option<(Bytes, usize)> {
        let Self { bytes, buffer } = self;
        let offset = (part.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
        let end = offset.checked_add(part.len()).filter(|end| *end <= bytes.len())?;
        payload::is_most(part.len(), *buffer).then(|| (bytes.slice(offset..end), *buffer))
    }
}

/// The buffer that the link is read into. It grows with what comes, and is given back while nothing
/// does, so that an idle stream holds little; payload leaves it without being copied.
pub(super) struct Input {
    buffer: BytesMut,
    /// The whole of it, with what was split off.
    allocated: usize,
    /// The size of the next one.
    size: usize,
}

impl Input {
    const SIZE_MIN: usize = 1024;
    const SIZE_MAX: usize = 64 * 1024;

    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), allocated: 0, size: Self::SIZE_MIN }
    }

    /// What came. Nothing is lost if the call is cancelled.
    pub(super) async fn read<R: LinkReader>(&mut self, link: &mut R) -> io::Result<Read> {
        let (length, room) = poll_fn(|cx| {
            if self.buffer.capacity() < self.size / 2 {
                self.buffer.reserve(self.size);
                self.allocated = self.buffer.capacity();
            }
            let room = self.buffer.capacity();
            match pin!(link.read_buf(&mut self.buffer)).poll(cx) {
                Poll::Ready(length) => Poll::Ready(length.map(|length| (length, room))),
                Poll::Pending => {
                    if self.buffer.capacity() > Self::SIZE_MIN {
                        self.buffer = BytesMut::new();
                    }
                    Poll::Pending
                }
            }
        })
        .await?;
        if length == room {
            self.size = (self.size * 4).min(Self::SIZE_MAX);
        } else if length < self.size / 8 {
            self.size = (self.size / 4).max(Self::SIZE_MIN);
        }
        Ok(Read { bytes: self.buffer.split().freeze(), buffer: self.allocated })
    }
}
