//! What a stream does when: attempts, retries, timeouts and the states that tell of them.
//!
//! No I/O and no clock in here. Commands and events go in, with the time; what is to be done comes
//! out of [`Lifecycle::poll_action`], to be drained after each; [`Lifecycle::deadline`] says when
//! to call [`Lifecycle::handle_deadline`].
//!
//! ```text
//!            connect, demand                  Connected
//!   Idle ───────────────────────► Connecting ───────────► Connected
//!    ▲ ▲                            │   ▲  │ Failed          │  │ Lost, not opportunistic
//!    │ └────────── gave up ─────────┘   │  └────► Waiting ◄──┼──┘
//!    │                                  └───────────┘        │
//!    └──────────────── Complete, or Lost and opportunistic ──┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::SplitMix64;
use sspc_policy::{Protocol, StreamType};
use sspc_wire::{Flags, State, Timeout};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::state_filter::StateFilter;
use crate::onward::{End, Event, Failure, Takes};

/// What is to be done, in this order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send CONNSTATE.
    State { state: State, ordinal: u32 },
    /// Send METADATA, one frame an item.
    Metadata(Vec<(String, Bytes)>),
    /// Send PERF.
    Perf(String),
    /// The peer takes this many more bytes.
    TxCredit(i32),
    /// Send RX_PAYLOAD.
    Payload { bytes: Bytes, flags: Flags },
    /// Start an attempt; none is running.
    Start,
    /// End the running attempt, if there is one.
    Stop,
    /// Throw away what is left of the message that a transaction took.
    Discard,
}

/// What the stream is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing goes on until the client asks.
    Idle,
    /// An attempt runs and has not said Connected.
    Connecting,
    /// An attempt runs and has.
    Connected {
        takes: Takes,
        /// A verdict that ends the transaction was given.
        answered: bool,
    },
    /// The next attempt has its time.
    Waiting { until: Instant },
    /// The proxy shuts down; the stream's last state was said.
    Ended,
}

/// A stream's life; see the module.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    stream: Arc<StreamType>,
    phase: Phase,
    state_filter: StateFilter,
    actions: VecDeque<Action>,
    /// Failures since the last success or ONWARD_CONNECT.
    failures: u32,
    retry_after_max: Duration,
    /// When TIMEOUT is due, if the client asked for it.
    timeout_at: Option<Instant>,
    length_hint: Option<u32>,
    /// The proxy shuts down: no more attempts, and the link is closed behind the last state.
    is_draining: bool,
    jitter: SplitMix64,
}

impl Lifecycle {
    /// A stream without a state; [`Lifecycle::create`] begins it. The seed is for jitter.
    pub(crate) fn new(stream: Arc<StreamType>, retry_after_max: Duration, seed: u64) -> Self {
        Self {
            phase: Phase::Idle,
            state_filter: match stream.protocol {
                Protocol::Mqtt => StateFilter::repeating_verdicts(),
                _ => StateFilter::default(),
            },
            actions: VecDeque::new(),
            failures: 0,
            retry_after_max,
            timeout_at: None,
            length_hint: None,
            is_draining: false,
            jitter: SplitMix64::seed_from_u64(seed),
            stream,
        }
    }

    // ---- getters

    /// When [`Lifecycle::handle_deadline`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let retry_at = match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        };
        [retry_at, self.timeout_at].into_iter().flatten().min()
    }

    /// True if payload of the client can go to the running attempt.
    pub(crate) fn takes_payload(&self) -> bool {
        match self.phase {
            Phase::Connected { takes, answered } => !answered && takes != Takes::Nothing,
            _ => false,
        }
    }

    /// True if an attempt runs that payload can go to or will.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. })
    }

    /// What the running attempt does with payload; `None` if none is connected.
    pub(crate) fn takes(&self) -> Option<Takes> {
        match self.phase {
            Phase::Connected { takes, .. } => Some(takes),
            _ => None,
        }
    }

    /// True if no attempt runs.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Ended)
    }

    /// True if nothing goes on until the client asks.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// The length of the next message, if the client announced it.
    pub(crate) fn length_hint(&self) -> Option<u32> {
        self.length_hint
    }

    /// The same, which from now on is no longer announced.
    pub(crate) fn take_length_hint(&mut self) -> Option<u32> {
        self.length_hint.take()
    }

    /// True if the running attempt takes one message, and has not answered it.
    pub(crate) fn awaits_message(&self) -> bool {
        matches!(self.phase, Phase::Connected { takes: Takes::Message, answered: false })
    }

    // ---- commands of the client

    /// The stream exists: CREATING, and CONNECTING at once if the policy nails it up.
    pub(crate) fn create(&mut self) {
        self.say(State::Creating);
        if self.stream.nailed_up {
            self.begin();
        }
    }

    /// ONWARD_CONNECT: connect now, whether idle or waiting for a retry.
    pub(crate) fn handle_connect(&mut self) {
        match self.phase {
            _ if self.is_draining => {}
            Phase::Idle | Phase::Waiting { .. } => {
                self.failures = 0;
                self.begin();
            }
            Phase::Connecting | Phase::Connected { .. } | Phase::Ended => {}
        }
    }

    /// Payload to send: an idle stream connects for it.
    pub(crate) fn handle_demand(&mut self) {
        match self.phase {
            _ if self.is_draining => {}
            Phase::Idle => {
                self.say(State::Poll);
                self.begin();
            }
            Phase::Waiting { .. } | Phase::Connecting | Phase::Connected { .. } | Phase::Ended => {}
        }
    }

    /// PAYLOAD_LENGTH_HINT: also asks to transmit.
    pub(crate) fn handle_length_hint(&mut self, bytes: u32) {
        self.length_hint = Some(bytes);
        self.handle_demand();
    }

    /// TIMEOUT_UPDATE: restarts the timeout or cancels it; connects nothing.
    pub(crate) fn handle_timeout_update(&mut self, now: Instant, timeout: Timeout) {
        let millis = match timeout {
            Timeout::Policy => self.stream.timeout_ms,
            Timeout::Millis(millis) => millis,
            Timeout::Cancel => {
                self.timeout_at = None;
                return;
            }
        };
        // A policy without a default leaves whatever runs.
        if millis > 0 {
            self.timeout_at = now.checked_add(Duration::from_millis(millis.into()));
        }
    }

    /// The proxy shuts down. What runs may finish, nothing else begins, and the link is closed then:
    /// a DISCONNECTED from here on tells so by its ordinal.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.phase = Phase::Idle;
        }
    }

    /// The proxy shuts down and closes the link now: DISCONNECTED if the stream is connected, as its
    /// client would report by itself if the proxy just died. No DESTROYING, which is a stream's end
    /// for its client: this one can be made again, at the proxy that comes next.
    pub(crate) fn shut_down(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        self.is_draining = true;
        if self.is_connected() {
            self.say_disconnected();
        }
        self.actions.push_back(Action::Stop);
        self.phase = Phase::Ended;
        self.timeout_at = None;
    }

    // ---- what happens

    /// The running attempt reports.
    pub(crate) fn handle_event(&mut self, now: Instant, event: Event) {
        if self.is_at_rest() {
            return;
        }
        match event {
            Event::Metadata(items) => {
                self.failures = 0;
                self.actions.push_back(Action::Metadata(items));
            }
            Event::Perf(json) => self.actions.push_back(Action::Perf(json)),
            Event::UserState(code) => {
                self.failures = 0;
                match State::from_code(code) {
                    state @ State::User(_) => self.say(state),
                    // It would lie about the stream, and clients would judge what follows by it.
                    state => warn!(%state, "http_resp_map makes no user state, left out"),
                }
            }
            Event::TxCredit(credit) => self.actions.push_back(Action::TxCredit(credit)),
            Event::Connected { takes } => {
                if self.phase == Phase::Connecting {
                    self.phase = Phase::Connected { takes, answered: false };
                    // A peer that only gets a request has not shown that it is of use.
                    if takes != Takes::Message {
                        self.failures = 0;
                    }
                    self.say(State::Connected);
                }
            }
            Event::Payload { bytes, flags } => {
                self.failures = 0;
                self.actions.push_back(Action::Payload { bytes, flags });
            }
            Event::Acked { ends_transaction } => {
                self.answered(State::QosAckRemote, ends_transaction);
            }
            Event::Nacked { ends_transaction } => {
                self.answered(State::QosNackRemote, ends_transaction);
            }
            Event::Ended(end) => self.ended(now, end),
        }
    }

    /// Time has come to what [`Lifecycle::deadline`] told; harmless if early.
    pub(crate) fn handle_deadline(&mut self, now: Instant) {
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            self.say(State::Timeout);
        }
        if matches!(self.phase, Phase::Waiting { until } if until <= now) {
            self.say(State::Poll);
            self.begin();
        }
    }

    // ---- output

    /// What is to be done next; `None` if nothing is until the next input.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    // ---- inside

    fn say(&mut self, state: State) {
        self.say_with(state, 0);
    }

    fn say_with(&mut self, next: State, ordinal: u32) {
        if self.phase == Phase::Ended {
            return;
        }
        let before = self.state_filter.current();
        let mut said = false;
        for state in self.state_filter.emit(next) {
            said = true;
            if state != next {
                debug!(%state, %next, "a state was missing and is put in");
            }
            let ordinal = if state == next { ordinal } else { 0 };
            self.actions.push_back(Action::State { state, ordinal });
        }
        if !said {
            debug!(?before, %next, "state not sent: the client would not take it");
        }
    }

    fn begin(&mut self) {
        self.say(State::Connecting);
        self.phase = Phase::Connecting;
        self.actions.push_back(Action::Start);
    }

    fn answered(&mut self, state: State, ends_transaction: bool) {
        self.failures = 0;
        if !ends_transaction {
            // What the client waits for with a timeout has come.
            self.timeout_at = None;
        }
        self.say(state);
        if let Phase::Connected { answered, .. } = &mut self.phase {
            *answered |= ends_transaction;
        }
    }

    fn ended(&mut self, now: Instant, end: End) {
        self.actions.push_back(Action::Stop);
        match (end, self.phase) {
            (End::Complete, _) | (_, Phase::Connected { answered: true, .. }) => {
                self.length_hint = None;
                self.say_disconnected();
                self.rest();
            }
            (End::Failed(failure), Phase::Connected { .. }) => self.lost(now, &failure),
            (End::Failed(failure), _) => self.failed(now, &failure),
        }
    }

    /// A connection is gone in the middle of a transaction.
    fn lost(&mut self, now: Instant, failure: &Failure) {
        let (why, kind, whose) = (&failure.why, failure.kind.label(), failure.kind.whose());
        let until = match self.stream.opportunistic || self.is_draining {
            true => None,
            false => self.next_attempt(now, failure.retry_after),
        };
        self.say_disconnected();
        match until {
            Some(until) => {
                let retry_in = until - now;
                info!(why, kind, %whose, ?retry_in, "connection lost, will connect again");
                self.actions.push_back(Action::Discard);
                self.phase = Phase::Waiting { until };
            }
            None => {
                info!(why, kind, %whose, "connection lost");
                self.rest();
            }
        }
    }

    /// An attempt did not get as far as Connected.
    fn failed(&mut self, now: Instant, failure: &Failure) {
        let (why, kind, whose) = (&failure.why, failure.kind.label(), failure.kind.whose());
        self.say_with(State::Unreachable, failure.ordinal());
        match self.next_attempt(now, failure.retry_after) {
            // Nor is it said that all have failed: the next proxy will try.
            Some(_) if self.is_draining => {
                info!(why, kind, %whose, "cannot connect");
                self.rest();
            }
            Some(until) => {
                let retry_in = until - now;
                info!(why, kind, %whose, ?retry_in, "cannot connect, will try again");
                self.phase = Phase::Waiting { until };
            }
            None => {
                let attempts = self.failures;
                warn!(why, kind, %whose, attempts, "cannot connect, giving up");
                self.say(State::AllRetriesFailed);
                self.rest();
            }
        }
    }

    /// Counts a failure; the time of the next attempt, if the policy allows one.
    fn next_attempt(&mut self, now: Instant, retry_after: Option<Duration>) -> Option<Instant> {
        let retry = self.stream.retry_or_default();
        let delay = retry.delay_ms(self.failures, (self.jitter.next_u64() >> 48) as u16);
        self.failures = self.failures.saturating_add(1);
        if !retry.allows(self.failures) {
            return None;
        }
        let delay = Duration::from_millis(delay.into());
        let at_least = retry_after.unwrap_or_default().min(self.retry_after_max);
        now.checked_add(delay.max(at_least))
    }

    /// DISCONNECTED, with the ordinal that tells what the client loses with the connection.
    fn say_disconnected(&mut self) {
        let ordinal = if self.is_draining { State::LINK_CLOSES } else { 0 };
        self.say_with(State::Disconnected, ordinal);
    }

    /// Back to idle. What an attempt left over, and the timeout, go with it.
    fn rest(&mut self) {
        self.actions.push_back(Action::Discard);
        self.timeout_at = None;
        self.phase = Phase::Idle;
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
