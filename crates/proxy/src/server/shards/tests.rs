use std::time::{Duration, Instant};

use super::*;

/// How long at most something may take that happens.
const LIMIT: Duration = Duration::from_secs(20);

fn block_on<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn without_shards_tasks_run_where_their_caller_does() {
    block_on(async {
        let shards = Shards::start(0).unwrap();
        assert_eq!((shards.by_turns(3), shards.place(None)), (None, None));
        let here = thread::current().id();
        let task = shards.spawn(None, &TaskTracker::new(), async { thread::current().id() });
        assert_eq!(task.await.unwrap(), here);
    });
}

#[test]
fn a_clients_streams_stay_on_their_shard_until_it_has_too_much_to_do() {
    block_on(async {
        let shards = Arc::new(Shards::start(2).unwrap());
        let [first, second] = [0, 1].map(|turn| shards.by_turns(turn).unwrap());
        assert_ne!(first, second);
        assert_eq!(shards.place(Some(second)), Some(second));
        // One without a shard goes where it was accepted.
        let tracker = TaskTracker::new();
        let placed = {
            let shards = Arc::clone(&shards);
            async move { (shards.place(None), shards.is_here(second), shards.is_here(first)) }
        };
        let placed = shards.spawn(Some(second), &tracker, placed);
        assert_eq!(placed.await.unwrap(), (Some(second), true, false));

        let over = CancellationToken::new();
        let (busy, began) = (over.clone(), Instant::now());
        let work = shards.spawn(Some(second), &tracker, async move {
            while !busy.is_cancelled() && began.elapsed() < LIMIT {}
        });
        while shards.place(Some(second)) == Some(second) {
            assert!(began.elapsed() < LIMIT, "it is never too much");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(shards.place(Some(second)), Some(first));
        over.cancel();
        work.await.unwrap();
        while shards.place(Some(second)) != Some(second) {
            assert!(began.elapsed() < LIMIT, "it is too much for good");
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn nothing_runs_on_after_the_stop() {
    block_on(async {
        let shards = Shards::start(2).unwrap();
        let held = Arc::new(());
        for turn in 0..2 {
            let held = Arc::clone(&held);
            let forever = async move {
                std::future::pending::<()>().await;
                drop(held);
            };
            shards.spawn(shards.by_turns(turn), &TaskTracker::new(), forever);
        }
        shards.stop().await;
        assert_eq!(Arc::strong_count(&held), 1);
    });
}
