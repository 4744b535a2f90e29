//! The task behind a connection: opens it, reads, writes, watches the time.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sspc_mqtt::Event;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::core::Phase;
use super::link::Link;
use super::params::now;
use super::{WS_SUBPROTOCOL, failure};
use crate::memory::{LOOK_AGAIN, Memory};
use crate::onward::connect::{Caller, Perf};
use crate::onward::{Failure, FailureKind, Onward, ws};

/// What is read at a time, in bytes, while much comes
const BUFFER_MAX: usize = 16 * 1024;
/// and while little does.
const BUFFER_IDLE: usize = 1024;
/// Packets that are written at a time.
const SLICES_MAX: usize = 16;

/// Runs a connection from its first packet to its last.
pub(super) async fn run(onward: Arc<Onward>, link: Arc<Link>, caller: Caller) {
    let failure = match connect(&onward, &link, &caller).await {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let failure = Failure { why: format!("{}: {}", link.params.key.route, failure.why), ..failure };
    // First of all nobody finds it any more.
    onward.mqtt.remove(&link, link.fail(failure));
}

async fn connect(onward: &Onward, link: &Link, caller: &Caller) -> Result<Infallible, Failure> {
    let mut perf = Perf::default();
    let key = &link.params.key;
    let connected = tokio::select! {
        connected = onward.connect(&key.route, caller, key.alpn, &mut perf) => connected,
        () = link.abandoned() => return Err(left()),
    };
    onward.speaks(&perf, "mqtt");
    link.set_perf(&perf);
    let transport = connected?;
    let Some(path) = &key.ws_path else {
        return speak(transport, link, &onward.config.memory).await;
    };
    let patience = onward.config.timeouts.response;
    let upgraded = tokio::select! {
        upgraded = ws::pipe(transport, &key.route, path, WS_SUBPROTOCOL, patience) => upgraded,
        () = link.abandoned() => return Err(left()),
    };
    speak(upgraded?, link, &onward.config.memory).await
}

/// Speaks MQTT on a connection that stands.
pub(super) async fn speak<S>(io: S, link: &Link, memory: &Memory) -> Result<Infallible, Failure>
where
    S: AsyncRead + AsyncWrite,
{
    link.core().opened(now());
    let (reader, writer) = tokio::io::split(io);
    tokio::select! {
        end = read(reader, link, memory) => end,
        end = write(writer, link) => end,
        end = watch(link) => end,
    }
}

fn left() -> Failure {
    Failure::new(FailureKind::Closed, "the proxy left")
}

async fn read<R>(mut reader: R, link: &Link, memory: &Memory) -> Result<Infallible, Failure>
where
    R: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::new();
    let mut size = BUFFER_IDLE;
    loop {
        while !may_read(link, memory) {
            // Others may have given memory back.
            tokio::select! {
                () = link.to_read.notified() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
        buffer.reserve(size);
        let limit = buffer.len() + size;
        let read = (&mut reader).take(limit as u64).read_buf(&mut buffer).await;
        match read {
            Ok(0) => {
                let why = "the broker ended the connection";
                return Err(Failure::new(FailureKind::Closed, why));
            }
            Ok(bytes) => size = if bytes == size { BUFFER_MAX } else { BUFFER_IDLE },
            Err(error) => return Err(closed("receive", &error)),
        }
        take(link, &buffer.split().freeze())?;
    }
}

fn may_read(link: &Link, memory: &Memory) -> bool {
    let may_read = link.core().may_read(memory, now());
    // What is waited for may have changed.
    link.timer.notify_one();
    may_read
}

/// Takes what came.
fn take(link: &Link, received: &Bytes) -> Result<(), Failure> {
    let mut core = link.core();
    let mut rest = &received[..];
    while let Some(event) =
        core.session.receive(&mut rest, now()).map_err(|error| failure(&error))?
    {
        if let Event::Connected { .. } = event {
            link.open_window(core.session.limits().receive_maximum);
        }
        core.handle(event, received, now())?;
    }
    drop(core);
    link.changed();
    Ok(())
}

async fn write<W>(mut writer: W, link: &Link) -> Result<Infallible, Failure>
where
    W: AsyncWrite + Unpin,
{
    loop {
        let (output, phase) = {
            let core = link.core();
            (core.session.output().take(SLICES_MAX).collect::<Vec<_>>(), core.phase)
        };
        if output.is_empty() {
            writer.flush().await.map_err(|error| closed("send", &error))?;
            if phase == Phase::Leaving {
                // The broker has heard the goodbye; how the transport ends does not matter.
                let _ = writer.shutdown().await;
                return Err(left());
            }
            link.to_write.notified().await;
            continue;
        }
        let slices: Vec<IoSlice<'_>> = output.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let written = match writer.write_vectored(&slices).await {
            Ok(0) => return Err(closed("send", &io::ErrorKind::WriteZero.into())),
            Ok(written) => written,
            Err(error) => return Err(closed("send", &error)),
        };
        let mut core = link.core();
        core.session.advance(written, now());
        while let Some(event) = core.session.poll_event() {
            core.handle(event, &Bytes::new(), now())?;
        }
        drop(core);
        link.timer.notify_one();
        link.to_read.notify_one();
    }
}

async fn watch(link: &Link) -> Result<Infallible, Failure> {
    loop {
        let deadline = link.core().deadline();
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => {
                link.core().handle_deadline(now())?;
                link.to_write.notify_one();
            }
            () = link.timer.notified() => {}
        }
    }
}

fn closed(what: &str, error: &io::Error) -> Failure {
    Failure::new(FailureKind::Closed, format!("cannot {what}: {error}"))
}
