//! Faults at every step: the link of one client fails, in all ways and at each of its reads and
//! writes; servers vanish; quotas are hit. The client sees the beginning of what it sees otherwise,
//! or a refusal; others see nothing of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::sleep;

use super::honest::{self, Task};
use super::world::World;
use super::{alone, in_virtual_time};

/// Whose link has the fault, and who is beside it.
const VICTIM: u32 = 1000;
const OTHER: u32 = 1001;
/// What the other one does.
const BESIDE: Task = Task::Get { h2: true };

/// What is wrong with a link, at the proxy's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Each read and each write moves one byte.
    Short,
    /// From the nth call on reads and writes fail.
    Error(usize),
    /// From the nth call on the link is closed: nothing comes, and writes fail.
    Closed(usize),
    /// From the nth call on nothing can be written.
    Stalled(usize),
}

struct Faulty {
    inner: DuplexStream,
    fault: Fault,
    calls: Arc<AtomicUsize>,
}

impl Faulty {
    /// Counts a call that can do something; whether the fault is there with it.
    fn is_due(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Short => false,
            Fault::Error(nth) | Fault::Closed(nth) | Fault::Stalled(nth) => call >= nth,
        }
    }
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_due = self.is_due();
        match self.fault {
            Fault::Error(_) if is_due => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Fault::Closed(_) if is_due => Poll::Ready(Ok(())),
            Fault::Short => {
                let mut byte = [0];
                let mut one = ReadBuf::new(&mut byte);
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut one))?;
                room.put_slice(one.filled());
                Poll::Ready(Ok(()))
            }
            _ => Pin::new(&mut self.inner).poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_due = self.is_due();
        let bytes = match self.fault {
            Fault::Error(_) if is_due => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Fault::Closed(_) if is_due => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Fault::Stalled(_) if is_due => return Poll::Pending,
            Fault::Short => &bytes[..bytes.len().min(1)],
            _ => bytes,
        };
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What a client with this fault saw, another one, and how often the faulty link was used.
fn run(task: Task, fault: Fault) -> (Vec<String>, Vec<String>, usize) {
    in_virtual_time(async {
        let world = World::new(|_| {});
        let calls = Arc::<AtomicUsize>::default();
        let wrap = |inner| Faulty { inner, fault, calls: Arc::clone(&calls) };
        let victim = honest::live(world.link_through(honest::user(VICTIM), wrap), task);
        let other = honest::live(world.link(honest::user(OTHER)), BESIDE);
        let (victim, other) = tokio::join!(victim, other);
        world.end().await;
        (victim, other, calls.load(Ordering::Relaxed))
    })
}

/// The states, without the entries for payload, which may be cut.
fn states(record: &[String]) -> Vec<&str> {
    let is_state = |entry: &&str| entry.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    record.iter().map(String::as_str).filter(is_state).collect()
}

#[test]
fn a_link_of_single_bytes_changes_nothing() {
    for (task, (wanted, _)) in alone() {
        let (record, ..) = run(task, Fault::Short);
        assert_eq!(record, wanted, "{task:?}");
    }
}

#[test]
fn a_link_that_fails_at_any_step_harms_its_own_client_alone() {
    let alone = alone();
    let record_of = |task| &alone.iter().find(|(known, _)| *known == task).unwrap().1.0;
    let faults: [fn(usize) -> Fault; 3] = [Fault::Error, Fault::Closed, Fault::Stalled];
    for (task, (wanted, _)) in &alone {
        for fault in faults {
            // All calls, or where they are many some of them.
            let (.., calls) = run(*task, fault(usize::MAX));
            for nth in (0..calls).step_by(1 + calls / 15) {
                let fault = fault(nth);
                let (record, other, _) = run(*task, fault);
                assert_eq!(other, *record_of(BESIDE), "beside {task:?} with {fault:?}");
                let (seen, wanted) = (states(&record), states(wanted));
                assert!(wanted.starts_with(&seen), "{task:?} with {fault:?}: {seen:?}");
            }
        }
    }
}

/// What a client sees when its server is gone: UNREACHABLE, or the end of its connection.
#[test]
fn servers_that_vanish_at_any_time_are_reported() {
    for task in Task::ALL {
        for ms in (0..9000).step_by(900) {
            let record = in_virtual_time(async {
                let world = World::new(|_| {});
                let live = honest::live(world.link(honest::user(VICTIM)), task);
                let vanish = async {
                    sleep(Duration::from_millis(ms)).await;
                    world.remove_servers();
                };
                let (record, ()) = tokio::join!(live, vanish);
                world.end().await;
                record
            });
            let can_do = record == task.success();
            let is_told = record.iter().any(|entry| entry == "ALL_RETRIES_FAILED");
            assert!(can_do || is_told, "{task:?}, gone after {ms} ms: {record:?}");
        }
    }
}

/// Whatever the quota of a client is, those of its streams that fit it work, and the rest are
/// refused.
#[test]
fn a_stream_works_or_is_refused_wherever_the_quota_is() {
    for quota in 0..=Task::ALL.len() {
        let records = in_virtual_time(async {
            let world = World::new(|config| config.limits.sessions_per_client = quota);
            let all: Vec<_> = Task::ALL
                .into_iter()
                .map(|task| honest::live(world.link(honest::user(VICTIM)), task))
                .map(tokio::spawn)
                .collect();
            let mut records = Vec::new();
            for client in all {
                records.push(client.await.unwrap());
            }
            world.end().await;
            records
        });
        for (nth, (task, record)) in Task::ALL.into_iter().zip(records).enumerate() {
            if nth < quota {
                assert_eq!(record, task.success(), "{task:?}, {quota} fit");
            } else {
                assert_eq!(record, ["created: 1", "closed"], "{task:?}, {quota} fit");
            }
        }
    }
}
