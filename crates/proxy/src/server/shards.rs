//! The threads that serve sessions.
//!
//! A stream's session, its attempt and its connection run on one thread, so that payload passes from one
//! to the other without waking anybody. Each thread is a *shard*, with a runtime of its own. The streams
//! of one client go to one shard, where they share connections, until it has too much to do; then new
//! ones go where there is less. What they share is in one place for all shards, so that it makes no
//! difference but in time where a stream is.

mod load;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::load::Load;

/// A shard that is busy for more than this part of the time gets no new streams if another is less busy
/// by [`MARGIN`].
const BUSY: f32 = 0.8;
const MARGIN: f32 = 0.2;

/// Names a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardId(usize);

/// All shards.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Vec<Shard>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shard {
    runtime: Handle,
    load: Arc<Load>,
    /// Ready when its thread has nothing more to do.
    ended: CancellationToken,
}

impl Shards {
    /// Starts so many threads.
    ///
    /// # Errors
    /// The system has no more.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        // Those that were started end with the guard if one cannot be.
        let guard = stop.clone().drop_guard();
        let shards = (0..count).map(|number| Shard::start(number, stop.clone()));
        let shards = shards.collect::<io::Result<Vec<_>>>()?;
        Ok(Self { shards, stop: guard.disarm() })
    }

    /// The shard for something that is not of a client.
    pub(crate) fn by_turns(&self, turn: usize) -> Option<ShardId> {
        turn.checked_rem(self.shards.len()).map(ShardId)
    }

    /// The shard for a new stream: where its client has others, or else where it was accepted, unless
    /// that one has too much to do. `None` if there are no shards.
    pub(crate) fn place(&self, of_client: Option<ShardId>) -> Option<ShardId> {
        let here = || {
            let here = Handle::try_current().ok()?.id();
            self.shards.iter().position(|shard| shard.runtime.id() == here)
        };
        let wanted = of_client.map(|id| id.0).or_else(here).unwrap_or(0);
        let wanted_busy = self.shards.get(wanted)?.load.part();
        if wanted_busy <= BUSY {
            return Some(ShardId(wanted));
        }
        let parts = self.shards.iter().map(|shard| shard.load.part()).enumerate();
        let least = parts.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let better = least.filter(|(_, busy)| *busy < wanted_busy - MARGIN);
        Some(ShardId(better.map_or(wanted, |(index, _)| index)))
    }

    /// Whether the caller runs on this shard.
    pub(crate) fn is_here(&self, id: ShardId) -> bool {
        match (self.shards.get(id.0), Handle::try_current()) {
            (Some(shard), Ok(here)) => shard.runtime.id() == here.id(),
            _ => false,
        }
    }

    /// Spawns a task on a shard, or where the caller is if there is none.
    pub(crate) fn spawn<F>(
        &self,
        id: Option<ShardId>,
        tracker: &TaskTracker,
        task: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        match id.and_then(|id| self.shards.get(id.0)) {
            Some(shard) => tracker.spawn_on(task, &shard.runtime),
            None => tracker.spawn(task),
        }
    }

    /// Ends all threads, and what still runs on them.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        for shard in &self.shards {
            shard.ended.cancelled().await;
        }
    }
}

/// A proxy that is dropped before it has drained leaves no threads.
impl Drop for Shards {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shard {
    fn start(number: usize, stop: CancellationToken) -> io::Result<Self> {
        let load = Arc::<Load>::default();
        let (parking, unparking) = (Arc::clone(&load), Arc::clone(&load));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parking.parks())
            .on_thread_unpark(move || unparking.unparks())
            .build()?;
        let handle = runtime.handle().clone();
        let ended = CancellationToken::new();
        // However it ends.
        let ends = ended.clone().drop_guard();
        let name = format!("shard-{number}");
        thread::Builder::new().name(name).spawn(move || {
            run(runtime, &stop);
            drop(ends);
        })?;
        Ok(Self { runtime: handle, load, ended })
    }
}

fn run(runtime: Runtime, stop: &CancellationToken) {
    runtime.block_on(stop.cancelled());
    // What blocks, such as a look-up, is not waited for.
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests;
