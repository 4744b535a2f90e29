//! Who is on the bus, and what waits for whom.
//!
//! Each member has a queue of its own, so that one that does not take its messages loses its own and
//! nobody else's: they go when they are too old, and when the queue is full the oldest goes of that
//! sender that has most of them there, first by client, then by stream. So a sender that floods the bus
//! takes its own place only. What clients send is also paced: each client gets so many messages a
//! second, and waits for more; its streams take turns.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use sspc_wire::smd::{Classes, TEXT_MAX};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Bounds, MessageTooLong, SmdMessage};
use crate::counters::Counts;
use crate::identity::Identity;

/// Whom a message is from, as far as fairness goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Whom it counts as.
    client: u64,
    /// Which of that one's streams.
    stream: u64,
}

impl Sender {
    /// The proxy itself.
    pub(crate) const PROXY: Self = Self { client: 0, stream: 0 };
    /// What all other proxies count as.
    const REMOTE: u64 = 1;

    /// True for what came from another proxy.
    pub(crate) const fn is_remote(self) -> bool {
        self.client == Self::REMOTE
    }
}

/// A message as it waits; all queues share it.
#[derive(Debug)]
pub(crate) struct Queued {
    class: Classes,
    text: Bytes,
    sender: Sender,
    at: Instant,
    timestamp_us: u64,
}

impl Queued {
    pub(crate) fn message(&self) -> SmdMessage {
        let Self { class, timestamp_us, ref text, .. } = *self;
        SmdMessage { class, timestamp_us, text: text.clone() }
    }

    pub(crate) const fn sender(&self) -> Sender {
        self.sender
    }

    /// The same as if it came now.
    fn again(&self) -> Self {
        let Self { class, timestamp_us, sender, .. } = *self;
        Self { class, text: self.text.clone(), sender, at: Instant::now(), timestamp_us }
    }
}

#[derive(Debug)]
pub(super) struct Bus {
    bounds: Bounds,
    counts: Arc<Counts>,
    /// One moment on both clocks.
    origin: (Instant, Duration),
    /// Makes one number of one identity, so that a client that comes again is the same.
    numbers: RandomState,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    queues: HashMap<u64, Queue>,
    /// Until when each client has used up its share, by its number.
    paces: HashMap<u64, Instant>,
    /// What the proxy is at.
    state: Option<Arc<Queued>>,
}

/// What waits for a member.
#[derive(Debug)]
struct Queue {
    classes: Classes,
    waiting: VecDeque<Arc<Queued>>,
    arrived: Arc<Notify>,
    lost: u64,
}

impl Queue {
    /// Adds a message; how many were lost for it.
    fn push(&mut self, message: Arc<Queued>, bounds: &Bounds) -> u64 {
        let mut lost = self.expire(message.at, bounds.ttl);
        self.waiting.push_back(message);
        if self.waiting.len() > bounds.queue {
            let loudest = self.loudest();
            self.waiting.remove(loudest);
            lost += 1;
        }
        self.arrived.notify_one();
        self.lost += lost;
        lost
    }

    fn expire(&mut self, now: Instant, ttl: Duration) -> u64 {
        let is_old = |message: &Arc<Queued>| now.saturating_duration_since(message.at) > ttl;
        let old = self.waiting.iter().take_while(|message| is_old(message)).count();
        self.waiting.drain(..old);
        old as u64
    }

    /// The place of the oldest message of who has most in the queue.
    fn loudest(&self) -> usize {
        let client = most(self.waiting.iter().map(|message| message.sender.client));
        let of_client = || self.waiting.iter().filter(|message| message.sender.client == client);
        let stream = most(of_client().map(|message| message.sender.stream));
        let sender = Sender { client, stream };
        self.waiting.iter().position(|message| message.sender == sender).unwrap_or(0)
    }
}

/// The number that comes most often.
fn most(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut counts: Vec<(u64, usize)> = Vec::new();
    for number in numbers {
        match counts.iter_mut().find(|(counted, _)| *counted == number) {
            Some((_, count)) => *count += 1,
            None => counts.push((number, 1)),
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(number, _)| number)
}

impl Bus {
    pub(super) fn new(bounds: Bounds, counts: Arc<Counts>) -> Self {
        // Clients on the same machine compare it with their own.
        let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self {
            bounds,
            counts,
            origin: (Instant::now(), clock),
            numbers: RandomState::new(),
            members: Mutex::default(),
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sender that no other one is, of this client.
    pub(super) fn sender(&self, client: &Identity) -> Sender {
        // Those below are the proxy's and those of other ones.
        let client = self.numbers.hash_one(client).max(Sender::REMOTE + 1);
        let mut members = self.members();
        members.next += 1;
        Sender { client, stream: members.next }
    }

    /// A member that wants these classes.
    pub(super) fn join(self: &Arc<Self>, sender: Sender, classes: Classes) -> Member {
        let arrived = Arc::new(Notify::new());
        let mut members = self.members();
        members.next += 1;
        let number = members.next;
        // What the proxy is at is true however long ago it was said.
        let state = members.state.as_ref().filter(|state| state.class.intersects(classes));
        let waiting = state.map(|state| Arc::new(state.again())).into_iter().collect();
        let queue = Queue { classes, waiting, arrived: Arc::clone(&arrived), lost: 0 };
        members.queues.insert(number, queue);
        drop(members);
        Member { bus: Arc::clone(self), number, sender, arrived }
    }

    pub(super) fn publish(
        &self,
        sender: Sender,
        class: Classes,
        text: Bytes,
    ) -> Result<(), MessageTooLong> {
        self.give_out(&mut self.members(), sender, class, text).map(drop)
    }

    /// A message that came from another proxy; false if that one sends too many, or too long ones.
    pub(super) fn publish_remote(&self, origin: &str, class: Classes, text: Bytes) -> bool {
        let stream = self.numbers.hash_one(origin).max(Sender::REMOTE + 1);
        let sender = Sender { client: Sender::REMOTE, stream };
        // It cannot be made to wait without all others.
        let is_in_time = self.slot(stream, true) <= Instant::now();
        is_in_time && self.publish(sender, class, text).is_ok()
    }

    pub(super) fn publish_state(&self, text: &'static str) {
        let mut members = self.members();
        let text = Bytes::from_static(text.as_bytes());
        members.state =
            self.give_out(&mut members, Sender::PROXY, Classes::SYSTEM_STATE, text).ok();
    }

    fn give_out(
        &self,
        members: &mut Members,
        sender: Sender,
        class: Classes,
        text: Bytes,
    ) -> Result<Arc<Queued>, MessageTooLong> {
        if text.len() > TEXT_MAX {
            self.counts.smd_refused.add(1);
            return Err(MessageTooLong(text.len()));
        }
        self.counts.smd_messages.add(1);
        let at = Instant::now();
        let timestamp_us = self.timestamp_us(at);
        let message = Arc::new(Queued { class, text, sender, at, timestamp_us });
        for queue in members.queues.values_mut() {
            if queue.classes.intersects(class) {
                let lost = queue.push(Arc::clone(&message), &self.bounds);
                self.counts.smd_lost.add(lost);
            }
        }
        Ok(message)
    }

    fn timestamp_us(&self, at: Instant) -> u64 {
        let (instant, clock) = self.origin;
        let micros = (clock + at.saturating_duration_since(instant)).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// When this client may send its next message, which counts from then on; with `or_never` only if
    /// that is now.
    fn slot(&self, client: u64, or_never: bool) -> Instant {
        let now = Instant::now();
        let rate = u32::try_from(self.bounds.rate).unwrap_or(u32::MAX).max(1);
        let each = Duration::from_secs(1) / rate;
        // As many at once as a queue holds, this one among them.
        let others = u32::try_from(self.bounds.queue.saturating_sub(1)).unwrap_or(u32::MAX);
        let burst = each.saturating_mul(others);
        let mut members = self.members();
        members.paces.retain(|_, used| *used > now);
        let used = members.paces.entry(client).or_insert(now);
        let slot = used.checked_sub(burst).map_or(now, |slot| slot.max(now));
        if !(or_never && slot > now) {
            *used += each;
        }
        slot
    }
}

/// One that is on the bus. Dropping it leaves the bus.
#[derive(Debug)]
pub(crate) struct Member {
    bus: Arc<Bus>,
    number: u64,
    sender: Sender,
    arrived: Arc<Notify>,
}

impl Member {
    /// The next message that is not too old. Nothing is lost if the call is cancelled.
    pub(crate) async fn recv(&self) -> Arc<Queued> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(message) = self.try_recv() {
                return message;
            }
            arrived.await;
        }
    }

    fn try_recv(&self) -> Option<Arc<Queued>> {
        let mut members = self.bus.members();
        let queue = members.queues.get_mut(&self.number)?;
        let lost = queue.expire(Instant::now(), self.bus.bounds.ttl);
        queue.lost += lost;
        self.bus.counts.smd_lost.add(lost);
        queue.waiting.pop_front()
    }

    /// How many messages it did not take in time.
    pub(crate) fn lost(&self) -> u64 {
        self.bus.members().queues.get(&self.number).map_or(0, |queue| queue.lost)
    }

    /// Gives a message to all that want its class. To be called when [`Member::turn`] is ready.
    pub(crate) fn publish(&self, class: Classes, text: Bytes) -> Result<(), MessageTooLong> {
        self.bus.publish(self.sender, class, text)
    }

    /// The client sent what is no message.
    pub(crate) fn refuse(&self) {
        self.bus.counts.smd_refused.add(1);
    }

    /// Ready when the client may send another message.
    pub(crate) async fn turn(&self) {
        let slot = self.bus.slot(self.sender.client, false);
        // A timer that is due at once still costs a millisecond.
        if slot > Instant::now() {
            sleep_until(slot).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.bus.members().queues.remove(&self.number);
    }
}
