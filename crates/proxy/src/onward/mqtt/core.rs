//! A connection's state without its I/O: who shares it, what each is owed, what waits for an answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sspc_mqtt::{Event, Message, MessageHead, Outcome, PublishError, Qos, Reason, Session, topic};
use sspc_wire::Flags;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::kept::{Kept, Subscription, remembered};
use super::params::OwnMessage;
use crate::identity::Identity;
use crate::memory::{Account, Held, Memory, Way};
use crate::onward::{Failure, FailureKind};
use crate::payload::is_most;

/// Bytes of answers that the broker does not take, before what it sends is not read.
const OWED_MAX: usize = 64 * 1024;
/// What a piece takes beside its payload, in bytes.
const PIECE_COST: usize = 128;
/// The token of the birth message; those of streams' messages begin behind it.
const BIRTH: u64 = 0;

/// What became of a stream's message.
pub(super) type Verdict = Result<Outcome, PublishError>;

/// What the connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being opened.
    Opening,
    /// The broker has accepted it, and the birth message.
    Up,
    /// Nobody needs it any more.
    Leaving,
    /// It is over.
    Down,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) session: Session,
    pub(super) phase: Phase,
    /// When the connection is given up if the broker has not answered what it is asked first, or said
    /// goodbye to.
    patience: Option<Instant>,
    answer_timeout: Duration,
    /// What the broker sends is read.
    reads: bool,
    birth: Option<OwnMessage>,
    members: HashMap<u64, Member>,
    filters: HashMap<Vec<u8>, Filter>,
    /// SUBSCRIBEs without an answer.
    asked: HashMap<u16, Vec<u8>>,
    /// Counts the times that SUBSCRIBEs were sent.
    generation: u64,
    /// What the broker has of an earlier connection and nobody has taken up yet.
    resumed: Kept,
    /// What it will keep of this one.
    kept: Kept,
    is_clean: bool,
    publishing: HashMap<u64, Publishing>,
    /// Who gets the message that is coming.
    receiving: Vec<u64>,
    is_first_piece: bool,
    last_number: u64,
    /// What waits for streams, in bytes.
    gathered: usize,
    window: usize,
}

/// A filter that streams have subscribed to.
#[derive(Debug)]
struct Filter {
    /// Its subscription identifier.
    id: u32,
    qos: Qos,
    members: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    /// It waits until its filter is asked for.
    Waiting,
    /// It is asked for.
    Asked,
    /// All is there that it needs.
    Joined,
}

/// A stream that uses the connection.
#[derive(Debug)]
struct Member {
    client: Identity,
    account: Arc<Account>,
    filter: Option<(Vec<u8>, Qos)>,
    membership: Membership,
    /// That of its SUBSCRIBE.
    generation: u64,
    joined: Option<oneshot::Sender<Result<(), Failure>>>,
    inbox: VecDeque<Piece>,
    /// What the inbox takes, in bytes.
    cost: usize,
    /// A message was left out for it, and that was logged.
    complained: bool,
    arrived: Arc<Notify>,
}

/// A piece of a message for a stream.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) flags: Flags,
    cost: usize,
    _held: Held,
}

/// A message on its way to the broker.
#[derive(Debug)]
struct Publishing {
    done: oneshot::Sender<Verdict>,
    _permit: OwnedSemaphorePermit,
}

/// A stream that wants to join.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) client: Identity,
    pub(super) account: Arc<Account>,
    pub(super) filter: Option<(Vec<u8>, Qos)>,
}

/// A stream that has its place.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) id: u64,
    /// Says when the stream is connected.
    pub(super) ready: oneshot::Receiver<Result<(), Failure>>,
    pub(super) arrived: Arc<Notify>,
}

/// How a connection's streams are treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Bytes that may wait for one stream.
    pub(super) window: usize,
    /// The longest that the broker may take to answer CONNECT and SUBSCRIBE.
    pub(super) answer_timeout: Duration,
    pub(super) is_clean: bool,
}

impl Core {
    pub(super) fn new(
        session: Session,
        birth: Option<OwnMessage>,
        resumed: Kept,
        rules: Rules,
    ) -> Self {
        Self {
            session,
            phase: Phase::Opening,
            patience: None,
            answer_timeout: rules.answer_timeout,
            reads: true,
            birth,
            members: HashMap::new(),
            filters: HashMap::new(),
            asked: HashMap::new(),
            generation: 0,
            resumed,
            kept: Kept::new(),
            is_clean: rules.is_clean,
            publishing: HashMap::new(),
            receiving: Vec::new(),
            is_first_piece: false,
            last_number: BIRTH,
            gathered: 0,
            window: rules.window,
        }
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    // ---- streams

    /// A place for a stream; `None` if the connection is at its end.
    pub(super) fn join(&mut self, joining: Joining, now: Instant) -> Option<Joined> {
        if matches!(self.phase, Phase::Leaving | Phase::Down) {
            return None;
        }
        let id = self.number();
        let (joined, ready) = oneshot::channel();
        let arrived = Arc::new(Notify::new());
        let Joining { client, account, filter } = joining;
        let member = Member {
            client,
            account,
            filter,
            membership: Membership::Waiting,
            generation: 0,
            joined: Some(joined),
            inbox: VecDeque::new(),
            cost: 0,
            complained: false,
            arrived: Arc::clone(&arrived),
        };
        self.members.insert(id, member);
        if self.phase == Phase::Up {
            self.admit(now);
        }
        Some(Joined { id, ready, arrived })
    }

    /// A stream goes.
    pub(super) fn leave(&mut self, id: u64, now: Instant) {
        let Some(member) = self.members.remove(&id) else { return };
        self.gathered = self.gathered.saturating_sub(member.cost);
        if matches!(self.phase, Phase::Leaving | Phase::Down) {
            return;
        }
        if self.members.is_empty() {
            self.phase = Phase::Leaving;
            self.session.disconnect();
            self.patience = now.checked_add(crate::onward::CLOSE_WAIT);
            return;
        }
        if member.membership != Membership::Waiting
            && let Some((name, _)) = member.filter
            && let Some(filter) = self.filters.get_mut(&name)
        {
            filter.members -= 1;
            if filter.members == 0 {
                self.filters.remove(&name);
                self.kept.remove(&name);
                self.session.unsubscribe(&name);
            }
        }
    }

    /// Whom nothing but the connection was missing is connected; for the others SUBSCRIBEs are sent,
    /// unless some wait for their answer: then all who come meanwhile share the next ones.
    fn admit(&mut self, now: Instant) {
        let mut wanted: HashMap<Vec<u8>, Qos> = HashMap::new();
        for member in self.members.values_mut() {
            if member.membership != Membership::Waiting {
                continue;
            }
            match &member.filter {
                None => member.join(Ok(())),
                Some((name, qos)) if self.resumed.get(name).is_some_and(|old| old.qos >= *qos) => {
                    // A later stream asks again, for what the broker has kept.
                    if let Some(old) = self.resumed.remove(name) {
                        let new = Filter { id: old.id, qos: old.qos, members: 0 };
                        self.filters.entry(name.clone()).or_insert(new).members += 1;
                        self.kept.insert(name.clone(), old);
                    }
                    member.join(Ok(()));
                }
                Some((name, qos)) if self.asked.is_empty() => {
                    let highest = wanted.entry(name.clone()).or_default();
                    *highest = (*highest).max(*qos);
                }
                Some(_) => {}
            }
        }
        if wanted.is_empty() {
            return;
        }
        self.generation += 1;
        for (name, qos) in wanted {
            self.subscribe(name, qos);
        }
        if !self.asked.is_empty() {
            self.patience = now.checked_add(self.answer_timeout);
        }
    }

    fn subscribe(&mut self, name: Vec<u8>, qos: Qos) {
        self.last_number += 1;
        // A number of 1 to 2^28 - 1.
        let id = u32::try_from(self.last_number % 0x0fff_ffff + 1).unwrap_or(1);
        let new = Filter { id, qos, members: 0 };
        let filter = self.filters.entry(name.clone()).or_insert(new);
        filter.qos = filter.qos.max(qos);
        let asked = self.session.subscribe(&name, filter.qos, filter.id);
        for member in self.members.values_mut() {
            if member.membership == Membership::Waiting && member.is_for(&name) {
                filter.members += 1;
                member.membership = Membership::Asked;
                member.generation = self.generation;
            }
        }
        match asked {
            Ok(asked) => {
                self.asked.insert(asked, name);
            }
            Err(error) => {
                let kind = match error {
                    PublishError::Encode(_) => FailureKind::Request,
                    _ => FailureKind::Local,
                };
                self.refuse(&name, &Failure::new(kind, format!("mqtt_subscribe: {error}")));
            }
        }
    }

    /// All who asked for this filter hear that they cannot have it.
    fn refuse(&mut self, name: &[u8], failure: &Failure) {
        for member in self.members.values_mut() {
            if member.membership == Membership::Asked && member.is_for(name) {
                member.join(Err(failure.clone()));
            }
        }
    }

    fn subscribed(&mut self, id: u16, reason: Reason, now: Instant) {
        let Some(name) = self.asked.remove(&id) else { return };
        if reason.is_error() {
            let text = String::from_utf8_lossy(&name);
            let why = format!("the broker refused the subscription to {text:?}: {reason}");
            self.refuse(&name, &Failure::new(FailureKind::Refused, why));
        } else {
            for member in self.members.values_mut() {
                if member.membership == Membership::Asked && member.is_for(&name) {
                    member.join(Ok(()));
                }
            }
            if !self.is_clean
                && let Some(Filter { id, qos, .. }) = self.filters.get(&name)
            {
                self.kept.insert(name, Subscription { id: *id, qos: *qos });
            }
        }
        if self.asked.is_empty() {
            self.patience = None;
            self.admit(now);
        }
    }

    // ---- messages to the broker

    /// Publishes; what is returned says what became of it.
    pub(super) fn publish(
        &mut self,
        message: Message<'_>,
        permit: OwnedSemaphorePermit,
    ) -> oneshot::Receiver<Verdict> {
        let (done, verdict) = oneshot::channel();
        let token = self.number();
        match self.session.publish(token, message) {
            Ok(()) => {
                self.publishing.insert(token, Publishing { done, _permit: permit });
            }
            // A stream that is gone does not care.
            Err(error) => drop(done.send(Err(error))),
        }
        verdict
    }

    // ---- what happens

    /// The connection stands; the broker has as long as this to accept it.
    pub(super) fn opened(&mut self, now: Instant) {
        self.patience = now.checked_add(self.answer_timeout);
    }

    /// Takes what the session says. `received` is where payload may lie.
    pub(super) fn handle(
        &mut self,
        event: Event<'_>,
        received: &Bytes,
        now: Instant,
    ) -> Result<(), Failure> {
        match event {
            Event::Connected { session_present } => {
                if !session_present {
                    self.resumed.clear();
                }
                match self.birth.take() {
                    Some(birth) => self.publish_birth(&birth)?,
                    None => self.up(now),
                }
            }
            Event::Published { token: BIRTH, outcome } => match outcome {
                Outcome::Acked => self.up(now),
                Outcome::Refused(reason) => {
                    let why = format!("the broker refused the birth message: {reason}");
                    return Err(Failure::new(FailureKind::Refused, why));
                }
                Outcome::Unanswered => {
                    let why = "the broker did not acknowledge the birth message";
                    return Err(Failure::new(FailureKind::Silent, why));
                }
            },
            Event::Published { token, outcome } => {
                if let Some(publishing) = self.publishing.remove(&token) {
                    // A stream that is gone does not care.
                    let _ = publishing.done.send(Ok(outcome));
                }
            }
            Event::Subscribed { id, reason } => self.subscribed(id, reason, now),
            Event::Message(head) => self.begin(&head),
            Event::Payload { bytes, last } => self.payload(bytes, last, received),
            _ => {}
        }
        Ok(())
    }

    fn publish_birth(&mut self, birth: &OwnMessage) -> Result<(), Failure> {
        let OwnMessage { topic, payload, qos, retain } = birth;
        let payload = payload.clone();
        let message = Message { topic, payload, qos: *qos, retain: *retain };
        self.session.publish(BIRTH, message).map_err(|error| {
            Failure::new(FailureKind::Request, format!("the birth message: {error}"))
        })
    }

    fn up(&mut self, now: Instant) {
        self.phase = Phase::Up;
        self.patience = None;
        self.admit(now);
    }

    /// A message begins: whose it is. One that the broker had kept is for those who have just
    /// subscribed, the others had it when they did.
    fn begin(&mut self, head: &MessageHead) {
        self.is_first_piece = true;
        self.receiving.clear();
        let has_strangers = self.has_strangers();
        for (id, member) in &mut self.members {
            let Some((name, _)) = &member.filter else { continue };
            let Some(filter) = self.filters.get(name) else { continue };
            let is_named = head.subscriptions.is_empty() || head.subscriptions.contains(&filter.id);
            let is_new = member.generation == self.generation
                || !self.asked.is_empty() && member.generation + 1 == self.generation;
            let wants = member.membership != Membership::Waiting
                && is_named
                && topic::matches(name, &head.topic)
                && (!head.retain || is_new);
            if !wants {
                continue;
            }
            // One client's stream must not stop another client's; those of one client wait for each
            // other.
            if has_strangers && member.cost + head.length > self.window {
                if !std::mem::replace(&mut member.complained, true) {
                    tracing::warn!(
                        bytes = head.length,
                        client = %member.client,
                        "a message is left out for a client that does not take what came before, or \
                         has no room for it: others share the connection to the broker; told once"
                    );
                }
                continue;
            }
            self.receiving.push(*id);
        }
        if head.length == 0 {
            self.push(&Bytes::new(), true);
        }
    }

    /// Whether clients share the connection.
    fn has_strangers(&self) -> bool {
        let mut clients = self.members.values().map(|member| &member.client);
        let first = clients.next();
        clients.any(|client| Some(client) != first)
    }

    fn payload(&mut self, bytes: &[u8], last: bool, received: &Bytes) {
        if self.receiving.is_empty() {
            return;
        }
        let bytes = match is_most(bytes.len(), received.len()) {
            true => received.slice_ref(bytes),
            false => Bytes::copy_from_slice(bytes),
        };
        self.push(&bytes, last);
    }

    fn push(&mut self, bytes: &Bytes, last: bool) {
        let som = if std::mem::take(&mut self.is_first_piece) { Flags::SOM } else { Flags::NONE };
        let flags = som | if last { Flags::EOM } else { Flags::NONE };
        for id in &self.receiving {
            let Some(member) = self.members.get_mut(id) else { continue };
            let cost = bytes.len() + PIECE_COST;
            let held = member.account.hold(Way::Gathered, cost);
            member.inbox.push_back(Piece { bytes: bytes.clone(), flags, cost, _held: held });
            member.cost += cost;
            self.gathered += cost;
            member.arrived.notify_one();
        }
        if last {
            self.receiving.clear();
        }
    }

    /// Whether there is a piece for a stream.
    pub(super) fn has_piece(&self, id: u64) -> bool {
        self.members.get(&id).is_some_and(|member| !member.inbox.is_empty())
    }

    /// The next piece for a stream.
    pub(super) fn take(&mut self, id: u64) -> Option<Piece> {
        let member = self.members.get_mut(&id)?;
        let piece = member.inbox.pop_front()?;
        member.cost -= piece.cost;
        self.gathered -= piece.cost;
        Some(piece)
    }

    /// Whether the broker may be read.
    pub(super) fn may_read(&mut self, memory: &Memory, now: Instant) -> bool {
        // A message for strangers has its place when it begins; what its pieces cost beside must not
        // stop the others.
        let max = match self.has_strangers() {
            true => self.window.saturating_mul(2),
            false => self.window,
        };
        let may_read = self.session.owed() < OWED_MAX
            && self.members.values().all(|member| member.cost < max)
            && memory.allows_connection(self.gathered);
        if may_read && !self.reads && self.patience.is_some() && self.phase == Phase::Up {
            // The answer may be there and was not read.
            self.patience = now.checked_add(self.answer_timeout);
        }
        self.reads = may_read;
        self.session.set_reading(may_read, now);
        may_read
    }

    // ---- the end

    /// When the broker is given up; never for answers to SUBSCRIBE that are not read.
    fn give_up_at(&self) -> Option<Instant> {
        self.patience.filter(|_| self.reads || self.phase != Phase::Up)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.give_up_at(), self.session.deadline()].into_iter().flatten().min()
    }

    pub(super) fn handle_deadline(&mut self, now: Instant) -> Result<(), Failure> {
        if self.give_up_at().is_some_and(|until| until <= now) {
            let what = match self.phase {
                Phase::Opening => "CONNECT",
                Phase::Up => "SUBSCRIBE",
                Phase::Leaving | Phase::Down => "DISCONNECT",
            };
            let why = format!("the broker has not answered {what} in {:?}", self.answer_timeout);
            return Err(Failure::new(FailureKind::Silent, why));
        }
        self.session.handle_deadline(now).map_err(|error| super::failure(&error))?;
        while let Some(event) = self.session.poll_event() {
            self.handle(event, &Bytes::new(), now)?;
        }
        Ok(())
    }

    /// The connection is over. What it leaves for the next one with this client id.
    pub(super) fn fail(&mut self, failure: &Failure) -> (Kept, Vec<u16>) {
        self.phase = Phase::Down;
        for member in self.members.values_mut() {
            member.join(Err(failure.clone()));
            member.arrived.notify_one();
        }
        self.publishing.clear();
        let older = std::mem::take(&mut self.resumed);
        let kept = remembered(std::mem::take(&mut self.kept), older);
        (kept, self.session.received().collect())
    }
}

impl Member {
    fn is_for(&self, name: &[u8]) -> bool {
        self.filter.as_ref().is_some_and(|(filter, _)| filter == name)
    }

    fn join(&mut self, result: Result<(), Failure>) {
        if result.is_ok() {
            self.membership = Membership::Joined;
        }
        if let Some(joined) = self.joined.take() {
            // A stream that is gone does not care.
            let _ = joined.send(result);
        }
    }
}
