//! Lines to stderr from a thread of their own, for a command that must not wait for their reader.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Console;
use crate::exit::Failure;

/// Lines that wait to be printed at most; later ones are left out.
const QUEUE_MAX: usize = 64;
/// How long the last lines may take to be printed.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Prints lines as [`Console::say`] does, without waiting for it.
#[derive(Debug)]
pub(crate) struct Notices {
    lines: SyncSender<String>,
    ended: oneshot::Receiver<()>,
}

impl Notices {
    pub(crate) fn start(console: Console) -> Result<Self, Failure> {
        let (lines, queue) = sync_channel::<String>(QUEUE_MAX);
        let (end, ended) = oneshot::channel();
        let print = move || {
            queue.iter().for_each(|line| console.say(&line));
            // Fails only when nobody waits for it.
            let _ = end.send(());
        };
        thread::Builder::new()
            .name("notices".to_owned())
            .spawn(print)
            .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
        Ok(Self { lines, ended })
    }

    pub(crate) fn say(&self, line: String) {
        // stderr takes nothing, and has enough to take.
        let _ = self.lines.try_send(line);
    }

    /// Waits until everything is printed, but not for a reader who does not read.
    pub(crate) async fn finish(self) {
        drop(self.lines);
        let _ = timeout(END_LIMIT, self.ended).await;
    }
}
