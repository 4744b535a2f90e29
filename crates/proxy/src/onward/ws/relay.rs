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
    let WsParams { deflate, kind, validity, early } = params;
    let (read, write) = tokio::io::split(io);
    let control = Control::default();
    let mut reader = Reader::new(read, Decoder::new(Role::Client, deflate), validity, early);
    let mut writer = Writer::new(write, Encoder::new(Role::Client, deflate), kind);
    let why = exchange(&mut reader, &mut writer, &control, output, chunks).await;
    writer.shutdown().await;
    why
}

async fn exchange<R, W>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
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
    // Not biased: both may be ready at all times, and one poll of either can use up the task's
    // budget.
    tokio::select! {
        stop = &mut reading => {
            if let Stop::Closed(_) | Stop::Violation(_) = stop {
                // Our close frame may not be out yet. If it cannot be sent, so be it.
                let _ = timeout(CLOSE_WAIT, writing).await;
            }
            stop.into()
        }
        written = &mut writing => {
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
