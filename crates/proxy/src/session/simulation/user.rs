//! The application: it wants its task done, and judges all that it is told meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sspc::{Event, Fault, Flags, Instant, State, Stream, Timeout, Tx};
use sspc_sim::Rng;

use super::content::{self, Label, Maker};
use super::play::Play;
use super::setup::{Losses, Task};

pub(super) type Client = Stream<Vec<u8>>;

pub(super) struct User {
    play: Play,
    rng: Rng,
    view: View,
    /// Every state that was told, in order.
    pub(super) states: Vec<State>,
    /// Responses and echoes that came whole and, if that is to be expected, acknowledged.
    done: BTreeSet<u32>,
    begun: bool,
    sending: Option<Sending>,
    /// Messages that are to be sent.
    unsent: VecDeque<u32>,
    /// Messages that were sent whole, by their numbers.
    sent: BTreeMap<u32, u32>,
    numbers: u32,
    /// Something is to be asked of the stream.
    asks: bool,
    /// When it is asked anyway, though the proxy was to go on by itself.
    asks_at_us: Option<u64>,
    /// When sending goes on that the source has paused.
    resume_at_us: Option<u64>,
    /// Payload that is not reported as consumed.
    unconsumed: u32,
    /// How often it was disconnected.
    pub(super) disconnects: u32,
}

/// What the events have told so far.
#[derive(Default)]
struct View {
    state: Option<State>,
    connected: bool,
    answered: bool,
    /// The link was lost while connected: the next that is told is DISCONNECTED.
    loss_is_due: bool,
    ended: bool,
    values: BTreeMap<String, Vec<u8>>,
    value_name: Option<String>,
    /// The message that is coming.
    open: Option<Vec<u8>>,
    /// Messages that came whole since CONNECTED.
    came: Vec<Label>,
    /// Every message that ever came whole.
    ever: BTreeSet<Label>,
}

/// A message on its way out.
struct Sending {
    nth: u32,
    number: u32,
    bytes: Vec<u8>,
    at: usize,
    begun: bool,
}

impl User {
    pub(super) fn new(play: Play) -> Self {
        let setup = play.setup();
        let (rng, goal) = (setup.rng(1), setup.goal);
        let begun = setup.losses != Losses::None && setup.seed.is_multiple_of(3);
        let mut user = Self {
            play,
            rng,
            view: View::default(),
            states: Vec::new(),
            done: BTreeSet::new(),
            begun,
            sending: None,
            unsent: VecDeque::new(),
            sent: BTreeMap::new(),
            numbers: 0,
            asks: begun,
            asks_at_us: None,
            resume_at_us: None,
            unconsumed: 0,
            disconnects: 0,
        };
        if let Task::Ws { .. } = user.play.setup().task {
            user.unsent.extend(0..goal);
        }
        user
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.len() as u32 >= self.play.setup().goal && !self.view.connected
            || self.has_all_echoes()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.view.ended
    }

    pub(super) fn deadline_us(&self) -> Option<u64> {
        [self.resume_at_us, self.asks_at_us].into_iter().flatten().min()
    }

    /// Before the stream begins.
    pub(super) fn prepare(&mut self, stream: &mut Client) {
        stream.set_metadata("query", b"all of it").unwrap();
        if let Some(ms) = self.play.setup().timeout_ms {
            stream.set_timeout(Timeout::Millis(ms));
        }
    }

    /// The client has learned that its link is gone.
    pub(super) fn link_lost(&mut self) {
        self.view.loss_is_due = self.view.connected;
    }

    // ---- what it is told

    /// `link_broke` tells if any link was or may be lost by now.
    pub(super) fn see(&mut self, event: &Event<'_>, link_broke: bool, now: Instant) {
        if self.view.loss_is_due {
            let told = matches!(event, Event::State { state: State::Disconnected, .. });
            assert!(told, "{event:?} before DISCONNECTED after the link was lost");
        }
        match event {
            Event::State { state, .. } => self.see_state(*state, now),
            Event::Payload { data, flags, rideshare } => {
                assert_eq!(*rideshare, None);
                self.unconsumed += data.len() as u32;
                self.see_payload(data, *flags);
            }
            Event::Metadata { name, value } => {
                let name = String::from_utf8(name.to_vec()).unwrap();
                if value.is_first() {
                    self.view.values.insert(name.clone(), Vec::new());
                    self.view.value_name = Some(name);
                }
                let name = self.view.value_name.as_ref().expect("a value begins");
                self.view.values.get_mut(name).unwrap().extend_from_slice(value.data);
            }
            Event::Perf(piece) => assert!(piece.total == 14, "{piece:?}"),
            Event::Fault(Fault::NoAnswer) => assert!(link_broke, "the proxy is there"),
            other => panic!("{other:?}"),
        }
    }

    fn see_state(&mut self, state: State, now: Instant) {
        self.play.note(format!("{:>9} {state}", now.as_micros()));
        self.states.push(state);
        let view = &mut self.view;
        assert!(!view.ended, "{state} after DESTROYING");
        assert!(State::may_follow(state, view.state), "{state} after {:?}", view.state);
        if state.is_transparent() {
            return;
        }
        match state {
            State::Creating => {
                assert_eq!(view.state, None, "CREATING once and first");
                self.asks |= !self.begun;
                self.begun = true;
            }
            State::Connected => {
                assert!(!view.connected, "CONNECTED twice");
                view.connected = true;
                view.answered = false;
                view.came.clear();
                assert_eq!(view.open, None);
            }
            State::Disconnected => {
                view.loss_is_due = false;
                self.disconnected(now);
            }
            State::QosAckRemote | State::QosNackRemote => {
                assert!(view.connected && !view.answered, "{state} once a connection");
                assert_eq!(view.open, None, "{state} in a message");
                view.answered = true;
                if state == State::QosAckRemote {
                    self.acknowledged();
                }
            }
            State::Unreachable | State::Connecting | State::Poll => {
                assert!(!view.connected, "{state} while connected");
            }
            State::AllRetriesFailed => self.asks = true,
            State::Timeout => {}
            State::Destroying => {
                view.ended = true;
                view.connected = false;
            }
            other => panic!("{other} is none of these streams'"),
        }
        self.view.state = Some(state);
    }

    fn see_payload(&mut self, data: &[u8], flags: Flags) {
        let view = &mut self.view;
        assert!(view.connected && !view.answered, "payload outside of a transaction");
        let starts = flags.contains(Flags::SOM);
        assert_eq!(starts, view.open.is_none(), "SOM on each message's first piece: {flags}");
        let open = view.open.get_or_insert_default();
        open.extend_from_slice(data);
        if !flags.contains(Flags::EOM) {
            return;
        }
        let message = view.open.take().unwrap_or_default();
        let label = content::whole(&message);
        assert!(view.ever.insert(label), "{label:?} came before");
        view.came.push(label);
        match (label.maker, self.play.setup().task) {
            (Maker::Peer { attempt }, _) => {
                assert_eq!(self.attempt(), Some(attempt), "who sent {label:?}");
            }
            (Maker::User { nth }, Task::Ws { .. }) => {
                assert_eq!(self.sent.get(&label.number), Some(&nth), "{label:?} was sent");
                self.done.insert(nth);
                self.unsent.retain(|unsent| *unsent != nth);
            }
            (Maker::User { .. }, _) => panic!("{label:?} is the application's own"),
        }
    }

    /// The attempt that this connection is, as the response's metadata told.
    fn attempt(&self) -> Option<u32> {
        let text = self.view.values.get("attempt")?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    /// ACK means that the peer has taken all there was, and that all that it gave is here.
    fn acknowledged(&mut self) {
        let attempt = self.attempt().expect("metadata comes before ACK");
        let record = self.play.records().attempts[attempt as usize].clone();
        assert_eq!(record.given as usize, self.view.came.len(), "messages of attempt {attempt}");
        let nth = self.done.len() as u32;
        if let Task::Post { .. } = self.play.setup().task {
            let taken = record.taken.expect("the peer has taken a message");
            let Maker::User { nth: taken_nth } = taken.maker else { panic!("{taken:?}") };
            assert_eq!(self.sent.get(&taken.number), Some(&taken_nth), "it was sent whole");
            // Of a client that does not say what it has heard the proxy cannot know if it sent the
            // message before it heard that the connection before was gone.
            if self.play.setup().client.honour_credit {
                assert_eq!(taken_nth, nth, "the message that is acknowledged");
            }
        }
        self.done.insert(nth);
        self.sending = None;
    }

    fn disconnected(&mut self, now: Instant) {
        self.disconnects += 1;
        self.view.connected = false;
        self.view.open = None;
        self.view.values.clear();
        self.resume_at_us = None;
        if self.done.len() as u32 >= self.play.setup().goal {
            return;
        }
        const PATIENCE_US: u64 = 5_000_000;
        let retries = self.play.setup().proxy_retries && !self.view.answered;
        match self.play.setup().task {
            // The proxy tries again by itself, as long as its policy lets it,
            Task::Get if retries => self.asks_at_us = Some(now.as_micros() + PATIENCE_US),
            // and what has not begun is still wanted then.
            Task::Post { .. }
                if retries && self.sending.as_ref().is_some_and(|sending| !sending.begun) =>
            {
                self.asks_at_us = Some(now.as_micros() + PATIENCE_US);
            }
            Task::Get | Task::Post { .. } => {
                self.sending = None;
                self.asks = true;
            }
            Task::Ws { .. } => {
                let cut = self.sending.take().map(|sending| sending.nth);
                let unheard = self.sent.values().copied().chain(cut);
                let again: BTreeSet<u32> = unheard
                    .chain(self.unsent.drain(..))
                    .filter(|n| !self.done.contains(n))
                    .collect();
                self.unsent.extend(again);
                self.asks = true;
            }
        }
    }

    fn has_all_echoes(&self) -> bool {
        let setup = self.play.setup();
        matches!(setup.task, Task::Ws { .. }) && self.done.len() as u32 >= setup.goal
    }

    // ---- what it does

    /// Asks of the stream what is to be asked.
    pub(super) fn act(&mut self, stream: &mut Client, now: Instant) {
        stream.consumed(std::mem::take(&mut self.unconsumed));
        if self.resume_at_us.is_some_and(|at| at <= now.as_micros()) {
            self.resume_at_us = None;
            stream.request_tx(now);
        }
        if self.view.connected {
            self.asks_at_us = None;
        }
        if self.asks_at_us.is_some_and(|at| at <= now.as_micros()) {
            self.asks = true;
        }
        if !std::mem::take(&mut self.asks) {
            return;
        }
        self.asks_at_us = None;
        let hint = match self.play.setup().task {
            Task::Get => return stream.connect(),
            Task::Post { hint } | Task::Ws { hint } => hint,
        };
        if self.sending.is_none() {
            self.sending = self.next_message();
        }
        match &self.sending {
            Some(sending) if hint => stream.request_tx_len(now, sending.bytes.len() as u32),
            Some(_) => stream.request_tx(now),
            None => {}
        }
    }

    fn next_message(&mut self) -> Option<Sending> {
        let nth = match self.play.setup().task {
            Task::Get => return None,
            Task::Post { .. } => self.done.len() as u32,
            Task::Ws { .. } => self.unsent.pop_front()?,
        };
        let number = self.numbers;
        self.numbers += 1;
        // The same message has the same length, however often it is sent.
        let length = self.play.setup().length(&mut self.play.setup().rng(10 + u64::from(nth)));
        let bytes = content::make(Label { maker: Maker::User { nth }, number }, length);
        self.play.note(format!("    message {nth} as {number}, {length} bytes"));
        Some(Sending { nth, number, bytes, at: 0, begun: false })
    }

    /// The source of payload.
    pub(super) fn fill(&mut self, room: &mut [u8], now: Instant) -> Option<Tx> {
        assert!(self.view.connected, "payload is asked for while connected");
        if self.sending.is_none() && matches!(self.play.setup().task, Task::Ws { .. }) {
            self.sending = self.next_message();
        }
        let sending = self.sending.as_mut()?;
        let (left, setup) = (sending.bytes.len() - sending.at, self.play.setup());
        let most = room.len().min(left).min(setup.piece_max);
        let length = match setup.pause_us {
            0 => most,
            _ => self.rng.below(most as u64 + 1) as usize,
        };
        room[..length].copy_from_slice(&sending.bytes[sending.at..sending.at + length]);
        let mut flags = if sending.begun { Flags::NONE } else { Flags::SOM };
        sending.begun = true;
        sending.at += length;
        if length == left {
            self.sent.insert(sending.number, sending.nth);
        }
        // The end may come by itself.
        if length == left && (left == 0 || setup.pause_us == 0 || !self.rng.chance(200_000)) {
            flags |= Flags::EOM;
            self.sending = None;
            return Some(Tx { len: length, flags, more: !self.unsent.is_empty() });
        }
        let pauses = setup.pause_us > 0 && self.rng.chance(300_000);
        if pauses {
            self.resume_at_us = Some(now.as_micros() + 1 + setup.pause(&mut self.rng));
        }
        Some(Tx { len: length, flags, more: !pauses })
    }
}
