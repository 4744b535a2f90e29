//! A peer that a test writes byte by byte, in the runtime's virtual time.

use std::time::Duration;

use sspc_line::{Channel, Line, LineConfig, Priority, Role};
use sspc_wire::{MuxFrame, Piece};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::timeout;

pub(crate) struct Peer {
    pub(crate) wire: DuplexStream,
    pub(crate) line: Line,
    pub(crate) channel: Channel,
    pub(crate) index: u8,
}

impl Peer {
    /// Beside a line that is up, with one open channel.
    pub(crate) async fn start() -> Self {
        Self::with_capacity(4096).await
    }

    /// The same with so many bytes under way, at most.
    pub(crate) async fn with_capacity(bytes: usize) -> Self {
        let (mut wire, there) = duplex(bytes);
        let (reader, writer) = split(there);
        let (line, running) =
            Line::over(reader, writer, Role::Client, LineConfig::default(), |_| {});
        tokio::spawn(running);
        let echo_us = hear_reset(&mut wire).await;
        say(&mut wire, MuxFrame::Pong { echo_us, sent_us: 1 }).await;
        assert_eq!(hear::<9>(&mut wire).await[0], 0xf8);
        let opening = tokio::spawn({
            let line = line.clone();
            async move { line.open_channel(Priority::default()).await.unwrap() }
        });
        let [0xf0, index] = hear(&mut wire).await else { panic!("no CHANNEL_REQ") };
        say(&mut wire, MuxFrame::ChannelAck(index)).await;
        Self { wire, line, channel: opening.await.unwrap(), index }
    }

    /// The head of a frame that is to have so many bytes, and those that it has.
    pub(crate) fn frame(&self, total: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = [0; 2048];
        let piece = Piece { data, offset: 0, total };
        let length = MuxFrame::Data { channel: self.index, piece }.encode(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }
}

pub(crate) async fn say(wire: &mut DuplexStream, frame: MuxFrame<'_>) {
    let mut bytes = [0; 32];
    let length = frame.encode(&mut bytes).unwrap();
    wire.write_all(&bytes[..length]).await.unwrap();
}

pub(crate) async fn hear<const LENGTH: usize>(wire: &mut DuplexStream) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    timeout(Duration::from_secs(60), wire.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// RESET_TRANSPORT and PING; gives the PING's time.
async fn hear_reset(wire: &mut DuplexStream) -> u64 {
    let [0xf9, 0xf6, time @ ..] = hear::<10>(wire).await else { panic!("no RESET, PING") };
    u64::from_be_bytes(time)
}
