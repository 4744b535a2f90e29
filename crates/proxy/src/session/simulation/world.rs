//! The client's side driven by hand, and the time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sspc::{Event, Instant, LinkAction, Name, State};
use sspc_sim::Rng;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::super::{Peer, SessionContext, run};
use super::Trace;
use super::cable::{Cable, Fate};
use super::play::{Flow, Play};
use super::setup::{Losses, Setup, policy};
use super::user::{Client, User};
use crate::config::{Limits, Timeouts};
use crate::counters::Counts;

/// A run has a live-lock if it takes more steps.
const STEPS_MAX: usize = 300_000;
/// How long a stream may take to do its task once nothing goes wrong any more.
const RECOVERY_US: u64 = 120_000_000;

/// What a run was like.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Every state that the application was told.
    pub(super) states: Vec<State>,
    /// How many of them had been told when the first link was lost.
    pub(super) before_loss: Option<usize>,
    /// Bytes that arrived on the first link: at the client, at the proxy.
    pub(super) arrived: [u64; 2],
    /// How many links there were.
    pub(super) links: u32,
    /// How many attempts of the proxy to connect.
    pub(super) attempts: u32,
}

/// Lives one stream's life to its end.
pub(super) async fn live(setup: Setup, trace: Trace) -> Outcome {
    let mut world = World::new(setup, trace);
    for _ in 0..STEPS_MAX {
        world.step();
        world.check().await;
        if world.is_over() {
            return world.end().await;
        }
        let next = world.next_event();
        let changed = Arc::clone(&world.changed);
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = sleep_until(next) => {}
        }
    }
    panic!("no end after {STEPS_MAX} steps");
}

struct World {
    start: tokio::time::Instant,
    setup: Arc<Setup>,
    rng: Rng,
    play: Play,
    user: User,
    stream: Client,
    /// The client's link.
    cable: Option<Cable>,
    /// When a link is there that the client opens.
    opens_at_us: Option<u64>,
    /// When the client reads on.
    reads_at_us: u64,
    /// Frames that the link has not taken yet.
    unsent: Vec<u8>,
    context: SessionContext<Play>,
    sessions: Vec<Session>,
    changed: Arc<Notify>,
    /// How often a link was lost or could not be opened, by plan.
    losses: u32,
    links: u32,
    /// When something went wrong last.
    trouble_at_us: u64,
    before_loss: Option<usize>,
}

/// A session at the proxy.
struct Session {
    cable: Cable,
    flow: Arc<Flow>,
    task: JoinHandle<()>,
    /// The task's end was not seen yet.
    is_running: bool,
    /// How often the application had been disconnected when it began.
    disconnects: u32,
}

impl World {
    fn new(setup: Setup, trace: Trace) -> Self {
        let setup = Arc::new(setup);
        let play = Play::new(Arc::clone(&setup), trace);
        let mut user = User::new(play.clone());
        let name = Name::new(setup.streamtype()).unwrap();
        let mut stream = Client::new(name, setup.client, vec![0; 256]);
        user.prepare(&mut stream);
        let context = SessionContext {
            id: 1,
            peer: Peer::Unknown,
            excess: None,
            policy: Arc::new(policy()),
            starter: play.clone(),
            observer: None,
            gate: crate::access::Gate::new(Default::default()),
            counts: Arc::<Counts>::default(),
            memory: Arc::default(),
            limits: Limits { stream_buffer: setup.stream_buffer, ..Limits::default() },
            timeouts: Timeouts::default(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        };
        Self {
            start: tokio::time::Instant::now(),
            rng: setup.rng(2),
            play,
            user,
            stream,
            cable: None,
            opens_at_us: None,
            reads_at_us: 0,
            unsent: Vec::new(),
            context,
            sessions: Vec::new(),
            changed: Arc::default(),
            losses: 0,
            links: 0,
            trouble_at_us: 0,
            before_loss: None,
            setup,
        }
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us())
    }

    // ---- the client

    /// Does all that can be done now.
    fn step(&mut self) {
        for _ in 0..10_000 {
            self.stream.handle_timeout(self.now());
            self.take(&[]);
            let mut progress = self.tend_link();
            progress |= self.read();
            progress |= self.write();
            if self.user.is_done() && !self.stream.has_ended() {
                self.stream.close();
                progress = true;
            }
            if !progress {
                for session in &self.sessions {
                    session.cable.wake();
                }
                return;
            }
        }
        panic!("the client comes to no rest");
    }

    /// Hands bytes of the proxy to the engine, and its events to the application.
    fn take(&mut self, mut input: &[u8]) {
        let now = self.now();
        while let Some(event) = self.stream.receive(now, &mut input) {
            self.user.see(&event, self.losses > 0, now);
            let is_retry = matches!(event, Event::State { state: State::UpstreamLinkRetry, .. });
            assert!(!(is_retry && self.stream.is_created()), "no retry of a link that is there");
        }
        assert!(input.is_empty(), "all is taken");
        self.user.act(&mut self.stream, now);
    }

    fn tend_link(&mut self) -> bool {
        let mut progress = false;
        if self.opens_at_us.is_some_and(|at| at <= self.now_us()) {
            self.opens_at_us = None;
            self.open();
            progress = true;
        }
        if self.cable.as_ref().is_some_and(Cable::is_over) {
            self.lose();
            progress = true;
        }
        match self.stream.poll_link(self.now()) {
            Some(LinkAction::Open) => {
                let ms = self.rng.below(1 + self.setup.pause_us / 1000);
                self.opens_at_us = Some(self.now_us() + ms * 1000);
                progress = true;
            }
            Some(LinkAction::Drop) => {
                self.lose();
                progress = true;
            }
            None => {}
        }
        progress
    }

    fn open(&mut self) {
        let now_us = self.now_us();
        if let Losses::Chance { most } = self.setup.losses
            && self.losses < most
            && self.rng.chance(200_000)
        {
            self.losses += 1;
            self.trouble_at_us = now_us;
            self.play.note(format!("{now_us:>9} --- no link"));
            self.stream.link_down(self.now());
            return;
        }
        let fate = self.setup.fate(self.links, self.losses, &mut self.rng, now_us);
        self.play.note(format!("{now_us:>9} --- link {}: {:?}", self.links, fate.cut));
        self.losses += u32::from(fate.cut.is_some());
        self.serve(fate);
        self.links += 1;
        self.stream.link_up(self.now());
    }

    /// A cable with a session at its far end.
    fn serve(&mut self, fate: Fate) {
        let seed = self.rng.bits();
        let cable = Cable::new(self.start, seed, self.setup.link, fate, Arc::clone(&self.changed));
        let (reader, writer) = cable.proxy_end();
        let starter = self.play.session();
        let flow = Arc::clone(&starter.flow);
        let context = SessionContext { starter, ..self.context.clone() };
        let task = tokio::spawn(run(context, reader, writer));
        let disconnects = self.user.disconnects;
        self.sessions.push(Session {
            cable: cable.clone(),
            flow,
            task,
            is_running: true,
            disconnects,
        });
        self.cable = Some(cable);
    }

    /// The client's end of its link is gone.
    fn lose(&mut self) {
        let Some(cable) = self.cable.take() else {
            self.opens_at_us = None;
            return self.stream.link_down(self.now());
        };
        let now_us = self.now_us();
        self.play.note(format!("{now_us:>9} --- link lost after {:?} bytes", cable.arrived()));
        cable.close();
        self.unsent.clear();
        self.trouble_at_us = now_us;
        if !self.stream.has_ended() {
            self.before_loss.get_or_insert(self.user.states.len());
        }
        self.user.link_lost();
        self.stream.link_down(self.now());
        self.take(&[]);
    }

    fn read(&mut self) -> bool {
        let Some(cable) = self.cable.clone() else { return false };
        if self.reads_at_us > self.now_us() {
            return false;
        }
        let mut room = [0; 1500];
        let most = match self.setup.pause_us {
            0 => room.len(),
            _ => 1 + self.rng.below(room.len() as u64) as usize,
        };
        let length = cable.read(&mut room[..most]);
        if length == 0 {
            return false;
        }
        if self.setup.pause_us > 0 && self.rng.chance(100_000) {
            self.reads_at_us = self.now_us() + self.setup.pause(&mut self.rng);
        }
        self.take(&room[..length]);
        true
    }

    fn write(&mut self) -> bool {
        let Some(cable) = &self.cable else { return false };
        let now = self.now();
        if self.unsent.is_empty() {
            let mut room = [0; 5000];
            let least = 400;
            let most = match self.setup.pause_us {
                0 => room.len(),
                _ => least + self.rng.below((room.len() - least) as u64) as usize,
            };
            let user = &mut self.user;
            let mut source = |room: &mut [u8]| user.fill(room, now);
            let length = self.stream.transmit(now, &mut room[..most], &mut source).unwrap();
            self.unsent.extend_from_slice(&room[..length]);
        }
        if self.unsent.is_empty() {
            return false;
        }
        let taken = cable.write(&self.unsent);
        self.unsent.drain(..taken);
        taken > 0
    }

    // ---- the whole

    /// When the client's side is to go on.
    fn next_event(&self) -> tokio::time::Instant {
        let now_us = self.now_us();
        let own = [
            self.stream.deadline().map(Instant::as_micros),
            self.opens_at_us,
            self.user.deadline_us(),
            Some(self.reads_at_us),
        ];
        let cables = self.sessions.iter().filter(|session| !session.cable.is_done());
        let cables = cables.map(|session| session.cable.next_event());
        let times = own.into_iter().chain(cables).flatten();
        // With nothing to come the time goes on to where it is too late.
        let next_us = times.filter(|at| *at > now_us).min().unwrap_or(now_us + RECOVERY_US + 1);
        self.start + Duration::from_micros(next_us)
    }

    fn is_over(&self) -> bool {
        self.stream.is_closed()
    }

    /// What holds at any time.
    async fn check(&mut self) {
        let late = self.now_us() > self.trouble_at_us + RECOVERY_US;
        assert!(!late, "the task is not done: {:?}", self.stream);
        let setup = &self.setup;
        let piece = setup.piece_max as u64;
        for session in &self.sessions {
            // What is between a peer and the link: queued events, one in hand, and the frame writer.
            let given = session.flow.given.load(Ordering::Relaxed);
            let held = given.saturating_sub(session.cable.written());
            let bound = u64::from(setup.stream_buffer) + 7 * piece;
            assert!(held <= bound, "{held} bytes wait for the client, {bound} may");
            // The other way: the TX queue, what is read at once, queued chunks.
            if session.disconnects == self.user.disconnects {
                let taken = session.flow.taken.load(Ordering::Relaxed);
                let held = session.cable.arrived()[1].saturating_sub(taken);
                let limits = &self.context.limits;
                let bound = u64::from(limits.ahead_buffer.max(2 * limits.stream_buffer));
                let bound = bound + 6 * 64 * 1024;
                assert!(held <= bound, "{held} bytes wait for the peer, {bound} may");
            }
        }
        // Who has panicked is to be heard at once.
        for session in self.sessions.iter_mut().filter(|session| session.is_running) {
            if session.task.is_finished() {
                session.is_running = false;
                (&mut session.task).await.unwrap();
            }
        }
        let finished: Vec<JoinHandle<()>> =
            self.play.records().tasks.extract_if(.., |task| task.is_finished()).collect();
        for task in finished {
            task.await.unwrap();
        }
    }

    /// Nothing is left of the stream anywhere.
    async fn end(mut self) -> Outcome {
        assert!(self.user.has_ended(), "DESTROYING is told");
        assert_eq!(self.stream.deadline(), None);
        let arrived = self.sessions[0].cable.arrived();
        let sessions = std::mem::take(&mut self.sessions);
        let limit = Duration::from_secs(30);
        for session in &sessions {
            session.cable.wake();
        }
        for session in sessions.into_iter().filter(|session| session.is_running) {
            let wait = async {
                // Losses that the session has not heard of yet.
                while !session.task.is_finished() {
                    let next = session.cable.next_event();
                    let next_us = next.unwrap_or(self.now_us() + 1000);
                    sleep_until(self.start + Duration::from_micros(next_us)).await;
                    session.cable.wake();
                }
                session.task.await.unwrap();
            };
            tokio::time::timeout(limit, wait).await.expect("the session ends with its link");
        }
        let peers = std::mem::take(&mut self.play.records().tasks);
        for peer in peers {
            let ended = tokio::time::timeout(limit, peer).await;
            ended.expect("no attempt outlives its session").unwrap();
        }
        let counts = self.context.counts.snapshot();
        assert_eq!(counts.protocol_errors, 0, "the client breaks no rule");
        assert_eq!(counts.refused, 0);
        Outcome {
            states: self.user.states,
            before_loss: self.before_loss,
            arrived,
            links: self.links,
            attempts: counts.attempts as u32,
        }
    }
}
