//! Bytes as they are, over TCP or TLS.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::{Attempt, End, Event, Failure, FailureKind, Onward, PAYLOAD_EVENT_MAX, Takes, TxChunk};
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
        let route = onward.config.route(attempt, target.address, target.tls);
        let caller = Caller::of(attempt);
        onward.connect(&route, &caller, Alpn::Raw, &mut perf).await
    };
    let connected = connected.await;
    if attempt.stream.perf && out.event(Event::Perf(perf.json(None))).await.is_err() {
        return SessionGone.into();
    }
    let transport = match connected {
        Ok(transport) => transport,
        Err(failure) => return End::Failed(failure),
    };
    if out.event(Event::Connected { takes: Takes::Everything }).await.is_err() {
        return SessionGone.into();
    }
    let (mut reader, mut writer) = tokio::io::split(transport);
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PAYLOAD_EVENT_MAX);
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return Ok("the peer closed".to_owned()),
                Ok(_) => forward(out, buffer.split().freeze()).await?,
                Err(error) => return Ok(error.to_string()),
            }
        }
    };
    let writing = write(&mut chunks, &mut writer);
    let why: Result<String, SessionGone> = tokio::select! {
        why = reading => why,
        why = writing => Ok(why),
    };
    why.map_or_else(End::from, |why| End::Failed(Failure::new(FailureKind::Closed, why)))
}

async fn forward(out: &EventSender, bytes: Bytes) -> Result<(), SessionGone> {
    out.payload(bytes, Flags::NONE).await
}

async fn write(
    chunks: &mut mpsc::Receiver<TxChunk>,
    writer: &mut tokio::io::WriteHalf<Transport>,
) -> String {
    while let Some(chunk) = chunks.recv().await {
        if let Err(error) = writer.write_all(&chunk.bytes).await {
            return error.to_string();
        }
        // TLS holds back what is not flushed.
        if chunks.is_empty()
            && let Err(error) = writer.flush().await
        {
            return error.to_string();
        }
    }
    "the session left".to_owned()
}
