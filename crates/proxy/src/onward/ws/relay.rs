//! Payload both ways, from Connected to the end.

use std::pin::pin;

use bytes::Bytes;
use sspc_policy::Validity;
use sspc_ws::{Decoder, DeflateParams, Encoder, MessageKind, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::control::Control;
use super::reader::{Reader, Stop};
use super::writer::Writer;
use crate::onward::attempt::queue::EventSender;
use crate::onward::{CLOSE_WAIT, Failure, FailureKind, TxChunk};

/// What holds for one connection.
#[derive(Debug)]
pub(super) struct WsParams {
    /// What was negotiated.
    pub(super) deflate: Option<DeflateParams>,
    /// The kind of the messages to the server.
    pub(super) kind: MessageKind,
    /// When a silent connection is pinged and given up.
    pub(super) validity: Option<Validity>,
    /// Whether all that has come is read before anything is written.
    pub(super) reads_first: bool,
    /// Bytes of the server that came with its answer to the upgrade.
    pub(super) early: Bytes,
}

/// Relays until the connection is over; says why.
///
/// When `chunks` ends the proxy is going away, and the closing handshake is made: what the server
/// still sends goes to `output` until it has closed or was silent for [`CLOSE_WAIT`].
pub(super) async fn relay<S>(
    io: S,
    params: WsParams,
    output: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> Failure
where
    S: AsyncRead + AsyncWrite,
{
    let WsParams { deflate, kind, validity, reads_first, early } = params;
    let (read, write) = tokio::io::split(io);
    let control = Control::default();
    let mut reader = Reader::new(read, Decoder::new(Role::Client, deflate), validity, early);
    let mut writer = Writer::new(write, Encoder::new(Role::Client, deflate), kind);
    let streams = (&mut reader, &mut writer);
    let why = exchange(streams, reads_first, &control, output, chunks).await;
    writer.shutdown().await;
    why
}

/// Which way came to its end first.
enum Over {
    Read(Stop),
    Written(std::io::Result<()>),
}

async fn exchange<R, W>(
    (reader, writer): (&mut Reader<R>, &mut Writer<W>),
    reads_first: bool,
    control: &Control,
    output: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> Failure
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut reading = pin!(reader.run(output, control));
    let mut writing = pin!(writer.run(chunks, control));
    let over = if reads_first {
        // A reader that is not ready has read all, or waits for its client.
        tokio::select! {
            biased;
            stop = &mut reading => Over::Read(stop),
            written = &mut writing => Over::Written(written),
        }
    } else {
        // Not biased: both may be ready at all times, and one poll of either can use up the task's
        // budget.
        tokio::select! {
            stop = &mut reading => Over::Read(stop),
            written = &mut writing => Over::Written(written),
        }
    };
    match over {
        Over::Read(stop) => {
            if let Stop::Closed(_) | Stop::Violation(_) = stop {
                // Our close frame may not be out yet. If it cannot be sent, so be it.
                let _ = timeout(CLOSE_WAIT, writing).await;
            }
            stop.into()
        }
        Over::Written(written) => {
            // What the server sent before the end of the connection can still be read.
            control.leaving.cancel();
            let stop = reading.await;
            match written {
                Ok(()) => stop.into(),
                Err(error) => {
                    Failure::new(FailureKind::Closed, format!("cannot send: {error}; {stop}"))
                }
            }
        }
    }
}
