//! What each attempt's remote peer will do, and what all of them have done.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sspc_policy::Protocol;
use sspc_sim::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::attempt::{AttemptStarter, RunningAttempt};
use super::Trace;
use super::content::Label;
use super::peer::Peer;
use super::setup::{Setup, Task};
use crate::onward::{Attempt, Event, TxChunk};

/// How an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Well.
    Whole,
    /// It fails before Connected.
    Refused,
    /// It ends before Connected, and nobody says so.
    Wordless,
    /// It is lost once this many bytes of payload went through it, and maybe without a word.
    Lost { after: usize, wordless: bool },
    /// The response is an error; it does not wait for more than this much of the request's body.
    Nack { after: usize },
}

impl Part {
    fn choose(setup: &Setup, attempt: u32, rng: &mut Rng) -> Self {
        if attempt >= setup.bad_attempts {
            return Self::Whole;
        }
        let bytes = rng.below(setup.lengths.1 as u64 + 1) as usize;
        match rng.below(8) {
            0 | 1 => Self::Whole,
            2 => Self::Refused,
            3 => Self::Wordless,
            4 | 5 => Self::Lost { after: bytes, wordless: rng.chance(300_000) },
            6 => Self::Lost { after: 0, wordless: false },
            _ if matches!(setup.task, Task::Ws { .. }) => Self::Refused,
            _ => Self::Nack { after: bytes },
        }
    }
}

/// What is known of an attempt.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Messages that the peer made and gave whole.
    pub(super) given: u32,
    /// The message that it took whole, the last one.
    pub(super) taken: Option<Label>,
}

#[derive(Default)]
pub(super) struct Records {
    pub(super) attempts: Vec<Record>,
    /// Every message that any peer took whole.
    pub(super) taken: BTreeSet<Label>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

/// Payload of one session in bytes.
#[derive(Default)]
pub(super) struct Flow {
    /// Peers have given it.
    pub(super) given: AtomicU64,
    /// Peers have taken it.
    pub(super) taken: AtomicU64,
}

/// All remote peers: the starter of one session.
#[derive(Clone)]
pub(super) struct Play {
    setup: Arc<Setup>,
    records: Arc<Mutex<Records>>,
    trace: Trace,
    pub(super) flow: Arc<Flow>,
}

impl Play {
    pub(super) fn new(setup: Arc<Setup>, trace: Trace) -> Self {
        Self { setup, records: Arc::default(), trace, flow: Arc::default() }
    }

    /// The same peers for another session.
    pub(super) fn session(&self) -> Self {
        Self { flow: Arc::default(), ..self.clone() }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap()
    }

    pub(super) fn note(&self, line: String) {
        self.trace.note(line);
    }
}

impl AttemptStarter for Play {
    type RunningAttempt = AttemptHandle;

    fn supports(&self, _: Protocol) -> bool {
        true
    }

    fn start(&self, attempt: Attempt) -> AttemptHandle {
        let (event_sender, events) = mpsc::channel(4);
        let (body, chunks) = mpsc::channel(4);
        let mut records = self.records();
        let number = records.attempts.len() as u32;
        records.attempts.push(Record::default());
        let mut rng = self.setup.rng(1000 + u64::from(number));
        let part = Part::choose(&self.setup, number, &mut rng);
        self.trace.note(format!("    attempt {number}: {part:?}, hint {:?}", attempt.length_hint));
        let peer = Peer::new(self.clone(), number, part, rng, attempt, event_sender, chunks);
        records.tasks.push(tokio::spawn(peer.play()));
        AttemptHandle { events, body }
    }
}

pub(super) struct AttemptHandle {
    events: mpsc::Receiver<Event>,
    body: mpsc::Sender<TxChunk>,
}

impl RunningAttempt for AttemptHandle {
    type EventReceiver = mpsc::Receiver<Event>;

    fn queues(&mut self) -> (&mut mpsc::Receiver<Event>, &mut mpsc::Sender<TxChunk>) {
        (&mut self.events, &mut self.body)
    }
}

impl Flow {
    pub(super) fn give(&self, bytes: usize) {
        self.given.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
