//! Strangers on one proxy: whatever one client does, another sees what it would see alone.
//!
//! Sessions, admission and the pool of onward connections are the real ones, clients and servers are
//! played. All of them are in one runtime whose time is paused, over pipes in memory and Unix
//! sockets, which deliver at once: the clock moves only when nobody has anything to do.
//!
//! A run has honest clients, one for each [`Task`], and perhaps hostile ones beside them, who do
//! anything by chance. Each honest client keeps a record of all that it sees. It must be the one that
//! it has without the others.

mod client;
mod faults;
mod honest;
mod hostile;
mod origin;
mod world;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use honest::Task;
use sspc_access::{Access, SystemNames};
use tokio::time::Instant;
use world::World;

use crate::AccessRules;

/// Timers are as coarse as this, and a task has a few.
const TICK: Duration = Duration::from_millis(20);
/// How long everything may take, in virtual time.
const RUN_MAX: Duration = Duration::from_secs(3600);

/// Who takes part in a run.
#[derive(Clone, Debug)]
struct Cast {
    honest: Vec<Task>,
    /// A hostile client for each of these seeds, all of them of one user.
    hostile: Vec<u64>,
    /// Whether an access file gives the hostile user little.
    has_rules: bool,
}

/// What the hostile user may do, where there are rules; the honest ones may do everything.
const RULES: &str = r#"default = "allow"
[[rule]]
name = "hostile"
user = 666
streamtypes = ["get*", "evil*", "ws"]
metadata = { query = "*", note = "a*" }
streams = 5
bytes_per_second = "64KiB"
requests_per_second = 20
"#;

/// What a client saw, and how long that took by the clock that moves only when nobody has anything to do.
type Seen = (Vec<String>, Duration);

fn in_virtual_time<T>(play: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let limited = async { tokio::time::timeout(RUN_MAX, play).await.expect("everybody is done") };
    runtime.block_on(limited)
}

/// What each of the honest clients saw.
fn run(cast: &Cast) -> Vec<Seen> {
    in_virtual_time(async {
        let world = World::new(|config| {
            if cast.has_rules {
                let access = Access::parse(RULES, "access.toml", &SystemNames).unwrap();
                config.access = AccessRules::Rules(access);
            }
        });
        let hostile: Vec<_> = cast
            .hostile
            .iter()
            .map(|seed| tokio::spawn(hostile::live(world.clone(), *seed)))
            .collect();
        let honest: Vec<_> = (1000..)
            .zip(&cast.honest)
            .map(|(uid, task)| {
                let living = honest::live(world.link(honest::user(uid)), *task);
                tokio::spawn(async move {
                    let start = Instant::now();
                    (living.await, start.elapsed())
                })
            })
            .collect();
        let mut records = Vec::new();
        for client in honest {
            records.push(client.await.unwrap());
        }
        for client in hostile {
            client.await.unwrap();
        }
        world.end().await;
        records
    })
}

/// What each task sees if its client is alone.
fn alone() -> Vec<(Task, Seen)> {
    let one = |task| {
        let mut records = run(&Cast { honest: vec![task], hostile: Vec::new(), has_rules: false });
        (task, records.remove(0))
    };
    Task::ALL.into_iter().map(one).collect()
}

/// Runs this cast; each honest client must see what it sees alone.
fn assert_as_alone(alone: &[(Task, Seen)], cast: &Cast) {
    let records = catch_unwind(AssertUnwindSafe(|| run(cast))).unwrap_or_else(|panic| {
        eprintln!("failed: {cast:?}");
        resume_unwind(panic)
    });
    for (task, (record, took)) in cast.honest.iter().zip(records) {
        let (_, (wanted, alone)) = alone.iter().find(|(known, _)| known == task).unwrap();
        assert_eq!(record, *wanted, "{task:?} in {cast:?}");
        let most = *alone + *alone / 10 + TICK;
        assert!(took <= most, "{task:?} took {took:?} instead of {alone:?} in {cast:?}");
    }
}

/// How many hostile casts there are; the environment may ask for more.
fn casts() -> u64 {
    const DEFAULT: u64 = 12;
    let more = std::env::var("SSPC_SIMULATED_STRANGERS").ok();
    more.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT)
}

/// So that equal records say something.
#[test]
fn alone_each_client_does_its_task() {
    for (task, (record, _)) in alone() {
        assert_eq!(record, task.success(), "{task:?}");
    }
}

#[test]
fn honest_clients_do_not_disturb_each_other() {
    let honest = [Task::ALL, Task::ALL].concat();
    assert_as_alone(&alone(), &Cast { honest, hostile: Vec::new(), has_rules: false });
}

#[test]
fn whatever_a_hostile_client_does_others_see_what_they_see_alone() {
    let alone = alone();
    for seed in 0..casts() {
        // One that works in peace, or several at a time.
        let hostile = (0..1 + seed % 4).map(|nth| seed * 16 + nth).collect();
        assert_as_alone(
            &alone,
            &Cast { honest: Task::ALL.to_vec(), hostile, has_rules: seed % 3 == 0 },
        );
    }
}
