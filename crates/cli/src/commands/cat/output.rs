//! Payload to stdout, in a thread of its own: a reader that stalls must stop the stream, but
//! neither signals nor the timeout.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use tokio::sync::{mpsc, oneshot};

use crate::exit::Failure;

/// Pieces of payload (up to 16 KiB each) that wait for stdout at most. Then no more are taken
/// from the proxy, which stops reading from the remote peer in its turn.
const QUEUE: usize = 16;

/// The writing end of the thread.
pub(super) struct StdoutThread {
    queue: Option<mpsc::Sender<Vec<u8>>>,
    result: oneshot::Receiver<io::Result<()>>,
}

impl StdoutThread {
    pub(super) fn start() -> Result<Self, Failure> {
        // Not `io::stdout()`: it looks for lines, and payload is not made of them.
        let stdout = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Failure::new(format!("cannot use stdout: {error}")))?;
        let mut stdout = File::from(stdout);
        let (queue, mut pieces) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (done, result) = oneshot::channel();
        std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                let mut write = || {
                    while let Some(piece) = pieces.blocking_recv() {
                        stdout.write_all(&piece)?;
                    }
                    Ok(())
                };
                let written = write();
                // Before the result: a sender that finds it closed looks for the result.
                drop(pieces);
                let _ = done.send(written);
            })
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Self { queue: Some(queue), result })
    }

    /// Queues a piece, waiting for room.
    pub(super) async fn write(&mut self, piece: Vec<u8>) -> Result<(), Failure> {
        if piece.is_empty() {
            return Ok(());
        }
        match &self.queue {
            Some(queue) if queue.send(piece).await.is_ok() => Ok(()),
            _ => match self.finish().await {
                Ok(()) => Err(Failure::new("stdout is closed")),
                Err(failure) => Err(failure),
            },
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        if self.queue.take().is_none() {
            return Ok(());
        }
        match (&mut self.result).await {
            Ok(written) => written.map_err(|error| Failure::stdout(&error)),
            Err(_) => Err(Failure::new("the thread that writes to stdout is gone")),
        }
    }
}
