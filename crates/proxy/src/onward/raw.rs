//! Bytes as they are, over TCP or TLS.

use std::future::pending;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Attempt, CLOSE_WAIT, End, Event, Failure, FailureKind, Onward, PAYLOAD_EVENT_MAX, Takes,
    TxChunk,
};
use crate::onward::attempt::queue::{EventSender, SessionGone};
use crate::onward::connect::{Alpn, Caller, Perf, Transport};

/// Runs a connection until either side ends it.
pub(super) async fn run(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    out: &EventSender,
    mut chunks: mpsc::Receiver<TxChunk>,
) -> End {
    let mut perf = Perf::default();
    let connected = async {
        let target = attempt.target()?;
        let route = onward.config.route(attempt, &target);
        attempt.record.leads_to(&route);
        let caller = Caller::of(attempt);
        onward.connect(&route, &caller, Alpn::Raw, &mut perf).await
    };
    let connected = connected.await;
    attempt.record.connected(&perf);
    if attempt.stream.perf && out.event(Event::Perf(perf.json(None))).await.is_err() {
        return SessionGone.into();
    }
    let transport = match connected {
        Ok(transport) => transport,
        Err(failure) => return End::Failed(failure),
    };
    if out.event(Event::Connected { takes: Takes::Bytes }).await.is_err() {
        return SessionGone.into();
    }
    let (mut reader, mut writer) = tokio::io::split(transport);
    let leaving = CancellationToken::new();
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            out.memory().await;
            buffer.reserve(PAYLOAD_EVENT_MAX);
            let silence = async {
                leaving.cancelled().await;
                sleep(CLOSE_WAIT).await;
            };
            let read = tokio::select! {
                read = reader.read_buf(&mut buffer) => read,
                () = silence => return Ok("the proxy left".to_owned()),
            };
            match read {
                Ok(0) => return Ok("the peer closed".to_owned()),
                Ok(_) => forward(out, buffer.split().freeze()).await?,
                Err(error) => return Ok(error.to_string()),
            }
        }
    };
    let writing = async {
        match write(&mut chunks, &mut writer).await {
            Ok(()) => {
                // The peer closes too when it has said all.
                leaving.cancel();
                pending().await
            }
            Err(error) => error.to_string(),
        }
    };
    let why: Result<String, SessionGone> = tokio::select! {
        why = reading => why,
        why = writing => Ok(why),
    };
    why.map_or_else(End::from, |why| End::Failed(Failure::new(FailureKind::Closed, why)))
}

async fn forward(out: &EventSender, bytes: Bytes) -> Result<(), SessionGone> {
    out.payload(bytes, Flags::NONE).await
}

/// Writes all chunks, and then that there will be no more.
async fn write(
    chunks: &mut mpsc::Receiver<TxChunk>,
    writer: &mut tokio::io::WriteHalf<Transport>,
) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        writer.write_all(&chunk.bytes).await?;
        // TLS holds back what is not flushed.
        if chunks.is_empty() {
            writer.flush().await?;
        }
    }
    writer.shutdown().await
}
