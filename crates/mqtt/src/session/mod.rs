//! One connection: what was sent and waits for an answer, what came and is owed one, when to ping.

mod event;
mod in_flight;
mod liveness;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

pub use self::event::{Event, Message, Outcome, Settings};
use self::in_flight::{InFlight, Stage};
use self::liveness::Liveness;
use crate::decode::Decoder;
use crate::encode::{self, Connect};
use crate::packet::{AckKind, BrokerLimits, MessageHead, Packet};
use crate::{EncodeError, PublishError, Qos, Reason, SessionError, Version, topic};

/// Payload below this is put behind its head rather than sent as a slice of its own.
const COPY_BELOW: usize = 4096;

/// What answers a packet identifier of ours.
#[derive(Debug)]
enum Awaited {
    Message(InFlight),
    SubAck,
    UnsubAck,
}

/// A message that is being received.
#[derive(Clone, Copy, Debug)]
struct Receiving {
    qos: Qos,
    id: u16,
    /// A copy of one that came before.
    is_copy: bool,
}

/// Bytes for the broker, and what their last one means.
#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    written: Option<Written>,
}

#[derive(Clone, Copy, Debug)]
enum Written {
    /// A message of quality of service 0 is done with.
    Done(u64),
    /// One of another quality waits for its answer from now on.
    Await(u16),
    /// An answer to the broker.
    Answer,
    /// A ping.
    Ping,
}

/// One connection to a broker, from CONNECT to the end; see the crate's documentation.
///
/// Whatever returns an error ends it: nothing that comes later means anything.
#[derive(Debug)]
pub struct Session {
    version: Version,
    clean: bool,
    settings: Settings,
    decoder: Decoder,
    is_connected: bool,
    /// Goodbye was said.
    is_over: bool,
    limits: BrokerLimits,
    awaited: HashMap<u16, Awaited>,
    last_id: u16,
    /// Identifiers of messages of quality of service 2 that came and are not released.
    received: HashSet<u16>,
    receiving: Option<Receiving>,
    out: VecDeque<Segment>,
    /// How much of the first segment is written.
    written: usize,
    waiting: usize,
    /// How much of that are answers.
    owed: usize,
    events: VecDeque<Event<'static>>,
    liveness: Liveness,
}

impl Session {
    /// A session whose first output is CONNECT.
    ///
    /// # Errors
    /// No CONNECT can be made of this.
    pub fn new(
        connect: &Connect<'_>,
        settings: Settings,
        now: Instant,
    ) -> Result<Self, EncodeError> {
        let packet = encode::connect(connect)?;
        let mut session = Self {
            version: connect.version,
            clean: connect.clean,
            settings,
            decoder: Decoder::new(connect.version),
            is_connected: false,
            is_over: false,
            limits: BrokerLimits::default(),
            awaited: HashMap::new(),
            last_id: 0,
            received: HashSet::new(),
            receiving: None,
            out: VecDeque::new(),
            written: 0,
            waiting: 0,
            owed: 0,
            events: VecDeque::new(),
            liveness: Liveness::new(&settings, connect.keep_alive_s, now),
        };
        session.push(packet.into(), None);
        Ok(session)
    }

    /// What the broker allows, as it said when it accepted.
    pub const fn limits(&self) -> &BrokerLimits {
        &self.limits
    }

    /// The identifiers of messages of quality of service 2 that came and that the broker has not
    /// released: if the session is resumed they may come again, and are not to be taken for others.
    /// One that has come in part is not among them: it comes again.
    pub fn received(&self) -> impl Iterator<Item = u16> + '_ {
        let begun = self.receiving.filter(|message| !message.is_copy).map(|message| message.id);
        self.received.iter().copied().filter(move |id| Some(*id) != begun)
    }

    /// Resumes a session of which these came: to be called before the broker accepts. They are
    /// forgotten if it has kept nothing.
    pub fn resume(&mut self, received: impl IntoIterator<Item = u16>) {
        self.received.extend(received);
    }

    // ---- what goes out

    /// Publishes; [`Event::Published`] tells what became of it, with this token.
    ///
    /// # Errors
    /// It cannot be published on this connection. Nothing was sent.
    pub fn publish(&mut self, token: u64, message: Message<'_>) -> Result<(), PublishError> {
        let Message { topic, payload, qos, retain } = message;
        if !self.is_connected || self.is_over {
            return Err(PublishError::NotConnected);
        }
        topic::check_name(topic, "topic")?;
        if qos > self.limits.qos_max {
            return Err(PublishError::Qos(self.limits.qos_max.number()));
        }
        if retain && !self.limits.retain {
            return Err(PublishError::Retain);
        }
        // All that a packet has beside topic and payload.
        let bytes = topic.len() + payload.len() + 10;
        if bytes > self.limits.packet_max {
            return Err(PublishError::TooLarge { bytes, max: self.limits.packet_max });
        }
        let flags = qos.number() << 1 | u8::from(retain);
        let id = match qos {
            Qos::AtMostOnce => None,
            _ => Some(self.new_id().ok_or(PublishError::Full)?),
        };
        let head = encode::publish_head(self.version, topic, id, flags, payload.len());
        match id {
            None => self.push_message(head, payload, Written::Done(token)),
            Some(id) => {
                let mut message = InFlight::new(token, qos, head.clone().into(), payload.clone());
                message.resends = self.settings.resends;
                self.awaited.insert(id, Awaited::Message(message));
                self.push_message(head, payload, Written::Await(id));
            }
        }
        Ok(())
    }

    /// Subscribes; [`Event::Subscribed`] has the answer, with the number that is returned. A message
    /// of a broker that can tell names `subscription` as what it comes for.
    ///
    /// # Errors
    /// The filter is none, or too much waits for an answer.
    pub fn subscribe(
        &mut self,
        filter: &[u8],
        qos: Qos,
        subscription: u32,
    ) -> Result<u16, PublishError> {
        let subscription = Some(subscription).filter(|_| self.limits.subscription_ids);
        topic::check_filter(filter)?;
        let id = self.new_id().ok_or(PublishError::Full)?;
        let packet = encode::subscribe(self.version, id, filter, qos, subscription)?;
        self.awaited.insert(id, Awaited::SubAck);
        self.push(packet.into(), None);
        Ok(id)
    }

    /// Subscribes no more to a filter that was subscribed to.
    pub fn unsubscribe(&mut self, filter: &[u8]) {
        // If there is no number left the broker goes on sending, and nobody takes it.
        if let Some(id) = self.new_id() {
            self.awaited.insert(id, Awaited::UnsubAck);
            self.push(encode::unsubscribe(self.version, id, filter).into(), None);
        }
    }

    /// Says goodbye. The broker does not publish the will then.
    pub fn disconnect(&mut self) {
        if self.is_connected {
            self.push(Bytes::from_static(&encode::DISCONNECT), None);
        }
        self.is_over = true;
    }

    /// Bytes to write, in order.
    pub fn output(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.out.iter().enumerate().map(|(at, segment)| match at {
            // It is longer: a segment that is written leaves.
            0 => segment.bytes.slice(self.written..),
            _ => segment.bytes.clone(),
        })
    }

    /// How many bytes there are to write.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many of them are answers to what the broker sent. While it does not take them it is better
    /// not read.
    pub const fn owed(&self) -> usize {
        self.owed
    }

    /// So many bytes of the output were written.
    pub fn advance(&mut self, bytes: usize, now: Instant) {
        self.waiting = self.waiting.saturating_sub(bytes);
        self.written += bytes;
        self.liveness.sent(now);
        while let Some(segment) = self.out.front() {
            let length = segment.bytes.len();
            if self.written < length {
                break;
            }
            self.written -= length;
            let written = segment.written;
            self.out.pop_front();
            match written {
                Some(Written::Done(token)) => {
                    let outcome = Outcome::Acked;
                    self.events.push_back(Event::Published { token, outcome });
                }
                Some(Written::Await(id)) => {
                    if let Some(Awaited::Message(message)) = self.awaited.get_mut(&id) {
                        message.until = now.checked_add(self.settings.ack_timeout);
                    }
                }
                Some(Written::Answer) => self.owed = self.owed.saturating_sub(length),
                Some(Written::Ping) | None => {}
            }
        }
    }

    // ---- what comes in

    /// The next event that is not caused by bytes of the broker.
    pub fn poll_event(&mut self) -> Option<Event<'static>> {
        self.events.pop_front()
    }

    /// The next event in the broker's bytes; `None` if all of `input` was taken.
    ///
    /// # Errors
    /// The connection is over.
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a [u8],
        now: Instant,
    ) -> Result<Option<Event<'a>>, SessionError> {
        if !input.is_empty() {
            self.liveness.received(now);
        }
        while let Some(packet) = self.decoder.decode(input)? {
            if let Some(event) = self.take(packet, now)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn take<'a>(
        &mut self,
        packet: Packet<'a>,
        now: Instant,
    ) -> Result<Option<Event<'a>>, SessionError> {
        if !self.is_connected {
            return self.take_first(packet, now).map(Some);
        }
        match packet {
            Packet::ConnAck { .. } => Err(SessionError::Unexpected("a second CONNACK")),
            Packet::Publish(head) => Ok(self.begin(head)),
            Packet::Payload { bytes, last } => {
                let Some(receiving) = self.receiving else { return Ok(None) };
                if last {
                    self.receiving = None;
                    self.answer(receiving);
                }
                Ok((!receiving.is_copy).then_some(Event::Payload { bytes, last }))
            }
            Packet::Ack { kind: AckKind::PubRel, id, .. } => {
                self.received.remove(&id);
                self.push_answer(0x70, id);
                Ok(None)
            }
            Packet::Ack { kind, id, reason } => Ok(self.acked(kind, id, reason, now)),
            Packet::SubAck { id, reason } => match self.awaited.remove(&id) {
                Some(Awaited::SubAck) => Ok(Some(Event::Subscribed { id, reason })),
                _ => Err(SessionError::Unexpected("a SUBACK for what was not asked")),
            },
            Packet::UnsubAck { id } => match self.awaited.remove(&id) {
                Some(Awaited::UnsubAck) => Ok(None),
                _ => Err(SessionError::Unexpected("an UNSUBACK for what was not asked")),
            },
            Packet::PingResp => Ok(None),
            Packet::Disconnect { reason } => Err(SessionError::Disconnected(reason)),
        }
    }

    fn take_first<'a>(
        &mut self,
        packet: Packet<'a>,
        now: Instant,
    ) -> Result<Event<'a>, SessionError> {
        let Packet::ConnAck { session_present, reason, limits } = packet else {
            return Err(SessionError::Unexpected("its first packet is no CONNACK"));
        };
        if reason.code() != 0 {
            return Err(SessionError::Refused(reason));
        }
        if session_present && self.clean {
            return Err(SessionError::Unexpected("it has a session that was not asked for"));
        }
        if !session_present {
            self.received.clear();
        }
        if let Some(seconds) = limits.keep_alive_s {
            self.liveness.keep_alive(seconds);
        }
        self.liveness.start(now);
        self.is_connected = true;
        self.limits = limits;
        Ok(Event::Connected { session_present })
    }

    /// A message begins; no event for a copy.
    fn begin(&mut self, head: MessageHead) -> Option<Event<'static>> {
        let MessageHead { qos, id, length, .. } = head;
        let is_copy = qos == Qos::ExactlyOnce && !self.received.insert(id);
        let receiving = Receiving { qos, id, is_copy };
        if length == 0 {
            self.answer(receiving);
        } else {
            self.receiving = Some(receiving);
        }
        (!is_copy).then_some(Event::Message(head))
    }

    /// A message has come.
    fn answer(&mut self, received: Receiving) {
        let first = match received.qos {
            Qos::AtMostOnce => return,
            Qos::AtLeastOnce => 0x40,
            Qos::ExactlyOnce => 0x50,
        };
        self.push_answer(first, received.id);
    }

    /// An answer to a message of ours. One that nobody waits for is the answer to a copy, or came
    /// after the message was given up.
    fn acked(
        &mut self,
        kind: AckKind,
        id: u16,
        reason: Reason,
        now: Instant,
    ) -> Option<Event<'static>> {
        let Some(Awaited::Message(message)) = self.awaited.get_mut(&id) else {
            if kind == AckKind::PubRec && !reason.is_error() {
                self.push_answer(0x62, id);
            }
            return None;
        };
        let outcome = match (kind, message.stage) {
            (AckKind::PubAck, Stage::Acknowledge)
            | (AckKind::PubRec, Stage::Receive)
            | (AckKind::PubComp, Stage::Complete)
                if reason.is_error() =>
            {
                Outcome::Refused(reason)
            }
            (AckKind::PubAck, Stage::Acknowledge) | (AckKind::PubComp, Stage::Complete) => {
                Outcome::Acked
            }
            (AckKind::PubRec, Stage::Receive | Stage::Complete) => {
                message.release(self.settings.resends, now.checked_add(self.settings.ack_timeout));
                self.push_answer(0x62, id);
                return None;
            }
            _ => return None,
        };
        let token = message.token;
        self.awaited.remove(&id);
        Some(Event::Published { token, outcome })
    }

    // ---- time

    /// Nothing is read, so that the broker is not silent; until this is called with `true`.
    pub fn set_reading(&mut self, reads: bool, now: Instant) {
        self.liveness.set_reading(reads, now);
    }

    /// When [`Session::handle_deadline`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let messages = self.messages().filter_map(|(_, message)| message.until).min();
        let liveness = self.liveness.deadline().filter(|_| self.is_connected && !self.is_over);
        [messages, liveness].into_iter().flatten().min()
    }

    fn messages(&self) -> impl Iterator<Item = (u16, &InFlight)> {
        self.awaited.iter().filter_map(|(id, awaited)| match awaited {
            Awaited::Message(message) => Some((*id, message)),
            Awaited::SubAck | Awaited::UnsubAck => None,
        })
    }

    /// Sends again what was not acknowledged, or gives it up; pings. Harmless if early.
    ///
    /// # Errors
    /// The broker is silent for too long.
    pub fn handle_deadline(&mut self, now: Instant) -> Result<(), SessionError> {
        let is_due = |(id, message): (u16, &InFlight)| (message.until? <= now).then_some(id);
        let due: Vec<u16> = self.messages().filter_map(is_due).collect();
        for id in due {
            self.send_again(id, now);
        }
        if !self.is_connected || self.is_over {
            return Ok(());
        }
        if let Some(silent) = self.liveness.given_up(now) {
            return Err(SessionError::Silent(silent));
        }
        // A broker that takes nothing does not get more and more of them.
        let waits = |segment: &Segment| matches!(segment.written, Some(Written::Ping));
        if self.liveness.should_ping(now) && !self.out.iter().any(waits) {
            self.push(Bytes::from_static(&encode::PINGREQ), Some(Written::Ping));
        }
        Ok(())
    }

    fn send_again(&mut self, id: u16, now: Instant) {
        let Some(Awaited::Message(message)) = self.awaited.get_mut(&id) else { return };
        if message.resends == 0 {
            let (token, outcome) = (message.token, Outcome::Unanswered);
            self.awaited.remove(&id);
            self.events.push_back(Event::Published { token, outcome });
            return;
        }
        message.resends -= 1;
        // Counted again from when it is written.
        message.until = None;
        let (stage, head, payload) =
            (message.stage, message.copy_of_head(), message.payload.clone());
        match (self.version, stage) {
            (Version::V5, _) => {
                // As long as an older broker would have, without copies that 5 forbids.
                message.until = now.checked_add(self.settings.ack_timeout);
            }
            (Version::V3, Stage::Complete) => {
                self.push(encode::ack(0x62, id).into(), Some(Written::Await(id)));
            }
            (Version::V3, _) => self.push_message(head, payload, Written::Await(id)),
        }
    }

    // ---- inside

    fn new_id(&mut self) -> Option<u16> {
        for _ in 0..=u16::MAX {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.awaited.contains_key(&self.last_id) {
                return Some(self.last_id);
            }
        }
        None
    }

    fn push_message(&mut self, mut head: Vec<u8>, payload: Bytes, written: Written) {
        if payload.len() < COPY_BELOW {
            head.extend_from_slice(&payload);
            self.push(head.into(), Some(written));
        } else {
            self.push(head.into(), None);
            self.push(payload, Some(written));
        }
    }

    fn push_answer(&mut self, first: u8, id: u16) {
        let answer: Bytes = encode::ack(first, id).into();
        self.owed += answer.len();
        self.push(answer, Some(Written::Answer));
    }

    fn push(&mut self, bytes: Bytes, written: Option<Written>) {
        if self.is_over {
            return;
        }
        self.waiting += bytes.len();
        self.out.push_back(Segment { bytes, written });
    }
}
