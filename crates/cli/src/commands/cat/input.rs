//! What `--data` sends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sspc::tokio::{Error, Sender};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::failure::failure;
use crate::exit::Failure;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// A file or stdin, to be sent as one message.
pub(super) struct Input {
    path: PathBuf,
    source: Box<dyn AsyncRead + Unpin>,
    len: Option<u64>,
}

impl Input {
    /// Opens it; `-` is stdin.
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let source = Box::new(tokio::io::stdin());
            return Ok(Self { path: "stdin".into(), source, len: None });
        }
        let cannot = |error| Failure::new(format!("cannot read {}: {error}", path.display()));
        let file = File::open(path).await.map_err(cannot)?;
        let about = file.metadata().await.map_err(cannot)?;
        if about.is_dir() {
            return Err(Failure::new(format!("cannot read {}: is a directory", path.display())));
        }
        // A pipe or device has no length, whatever the file system says.
        let len = about.is_file().then_some(about.len());
        Ok(Self { path: path.into(), source: Box::new(file), len })
    }

    /// Its length in bytes, if that is known.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    /// Sends it, counting in `sent`.
    pub(super) async fn send(mut self, to: Sender, sent: Arc<AtomicU64>) -> Result<(), Failure> {
        // The wire has no words for more than 4 GiB: then it goes without a length.
        let hint = self.len.and_then(|len| u32::try_from(len).ok());
        let mut left = self.len;
        if hint.is_none() && !to.takes_no_payload() {
            // It may take a while until there is something to send.
            to.connect();
        }
        let mut body = match to.body(hint).await {
            Ok(body) => body,
            Err(error @ Error::TakesNoPayload) => return Err(failure(error)),
            Err(error) => return broken(error).await,
        };
        loop {
            let block = self.read(BLOCK).await?;
            if block.is_empty() {
                break;
            }
            let n = block.len() as u64;
            if let Some(left) = &mut left {
                let grew = || self.cannot("it grew while it was sent");
                *left = left.checked_sub(n).ok_or_else(grew)?;
            }
            // With its last byte the message is sent, and may be answered: look beyond it before.
            let is_last = hint.is_some() && left == Some(0);
            if is_last && !self.read(1).await?.is_empty() {
                return Err(self.cannot("it grew while it was sent"));
            }
            match body.write(block).await {
                Ok(()) => sent.fetch_add(n, Ordering::Relaxed),
                Err(error) => return broken(error).await,
            };
            if is_last {
                break;
            }
        }
        match left {
            Some(1..) => Err(self.cannot("it shrank while it was sent")),
            _ => match body.finish().await {
                Ok(()) => Ok(()),
                Err(error) => broken(error).await,
            },
        }
    }

    /// The next bytes, this many at most; none at the end.
    async fn read(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        let mut block = vec![0; most];
        let read = self.source.read(&mut block).await;
        let n = read.map_err(|error| self.cannot(&error.to_string()))?;
        block.truncate(n);
        Ok(block)
    }

    fn cannot(&self, why: &str) -> Failure {
        Failure::new(format!("cannot read {}: {why}", self.path.display()))
    }
}

/// The connection is gone; the stream's events decide how this ends.
async fn broken(error: Error) -> Result<(), Failure> {
    tracing::debug!(%error, "sending stopped");
    lost().await
}

async fn lost() -> Result<(), Failure> {
    std::future::pending().await
}
