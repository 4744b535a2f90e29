//! A created stream: its client's settings, its payload both ways, its running attempt.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_policy::{Protocol, StreamType};
use sspc_wire::limits::channel_ahead_max;
use sspc_wire::smd::Classes;
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, Timeout, ToClient};
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use tracing::{debug, info};

use super::allowance::Allowance;
use super::attempt::{AttemptStarter, EventStream, RunningAttempt, Waits};
use super::close_reason::CloseReason;
use super::context::SessionContext;
use super::create::{may_take_payload, name_list};
use super::credit::{ClientCredit, Window};
use super::frame_writer::{FrameWriter, FramingMode};
use super::input::Read;
use super::lifecycle::{Action, Lifecycle};
use super::link::LinkKind;
use super::metadata::Metadata;
use super::tx_queue::{self, Pushed, TxQueue};
use super::watermarks::Watermarks;
use crate::access::Pass;
use crate::counters::Counts;
use crate::identity::Identity;
use crate::memory::{Account, Held, Way};
use crate::observe::{Outcome, Record, Watched};
use crate::onward::{
    Attempt, BusRights, End, Event, Failure, FailureKind, MessageSettings, Takes, TxChunk,
};

/// The longest metadata value for the client, in bytes; longer ones are left out.
const METADATA_VALUE_MAX: usize = 4096;
/// Frames that may wait for a client that does not read, before the proxy stops reading from it.
const FRAMES_WAITING_MAX: usize = 1024;
/// How long the proxy waits before it connects again by itself after a client broke a message off:
/// until then the client has heard of it, and what it sent before has come and is thrown away.
const BROKEN_OFF_WAIT: Duration = Duration::from_secs(1);

/// What a stream holds itself, on its account.
struct Holdings {
    onward: Held,
    back: Held,
}

/// A created stream.
pub(crate) struct Stream<D: AttemptStarter> {
    pub(crate) frame_writer: FrameWriter,
    starter: D,
    counts: Arc<Counts>,
    client: Identity,
    account: Arc<Account>,
    /// What waits in here, each way.
    held: Holdings,
    streamtype: Arc<StreamType>,
    chain: Vec<Arc<StreamType>>,
    metadata: Metadata,
    /// For the message bus.
    bus: BusRights,
    allowance: Allowance,
    lifecycle: Lifecycle,
    attempt: Option<D::RunningAttempt>,
    tx_queue: TxQueue,
    watermarks: Watermarks,
    /// The peer's message has begun and not ended.
    is_in_peers_message: bool,
    /// The frame writer was full and is not yet down to where taking goes on.
    is_full: bool,
    /// For a client that honours credit.
    window: Option<Window>,
    /// Of the DISCONNECTEDs that were sent, how many such a client has not said to have heard. What
    /// it sends before it says so belongs to connections that are gone.
    unheard: u32,
    /// What [`Stream::new_ahead_limit`] said last.
    ahead_limit: Option<u32>,
    /// What each attempt has for a client that gives a limit but is not known to manage it.
    renewed_credit: Option<ClientCredit>,
    /// Payload so far, from the client and to it.
    passed: (u64, u64),
    /// The log says that the client sends payload that nobody takes.
    has_logged_refusal: bool,
    /// And that it gives no credit while it sends.
    has_logged_stuck: bool,
    link: LinkKind,
    /// What observers see, if there are any.
    watched: Option<Watched>,
    /// Of the transaction that waits for its client's quota.
    waiting: Option<Record>,
}

impl<D: AttemptStarter> Stream<D> {
    /// Creates the stream: CREATE_RESULT, first credit, CREATING.
    pub(crate) fn create(
        context: &SessionContext<D>,
        pass: Pass,
        chain: Vec<Arc<StreamType>>,
        streamtype: Arc<StreamType>,
        asked: &Streamtype<'_>,
        link: LinkKind,
    ) -> Self {
        let SessionContext {
            id, peer, starter, observer, counts, limits, timeouts, memory, ..
        } = context;
        let watermarks = Watermarks::of(&streamtype, limits);
        let honours = asked.honours_credit();
        let is_smd = streamtype.protocol == Protocol::Smd;
        let credit =
            if is_smd { ClientCredit::of_smd(asked) } else { ClientCredit::initial(asked) };
        let wanted = if is_smd { asked.tx_credit.cast_unsigned() } else { 0 };
        let sends = pass.smd();
        let bus = BusRights { gets: Classes::from_bits(wanted).intersection(sends), sends };
        let mode = FramingMode::of(honours, link);
        let window = || match may_take_payload(&streamtype) {
            true => Window::new(u32::try_from(watermarks.tx_queue).unwrap_or(u32::MAX)),
            false => Window::none(),
        };
        let window = honours.then(window);
        let frame_writer = match is_smd {
            true => FrameWriter::of_whole_messages(mode, credit, Instant::now()),
            false => FrameWriter::new(mode, credit, Instant::now()),
        };
        let seed = rand::random();
        let account = memory.open_account_within(peer.identity(), pass.memory());
        let watched = observer.as_ref().map(|all| all.watch(*id, peer, &streamtype));
        let held = |way| account.hold(way, 0);
        let held = Holdings { onward: held(Way::Onward), back: held(Way::Back) };
        let mut stream = Self {
            frame_writer,
            starter: starter.clone(),
            counts: Arc::clone(counts),
            client: peer.identity(),
            account,
            held,
            lifecycle: Lifecycle::new(Arc::clone(&streamtype), timeouts.retry_after_max, seed),
            streamtype,
            chain,
            metadata: Metadata::default(),
            bus,
            allowance: Allowance::new(pass),
            attempt: None,
            tx_queue: TxQueue::new(),
            watermarks,
            is_in_peers_message: false,
            is_full: false,
            window,
            unheard: 0,
            ahead_limit: None,
            renewed_credit: (!honours).then_some(credit),
            passed: (0, 0),
            has_logged_refusal: false,
            has_logged_stuck: false,
            link,
            watched,
            waiting: None,
        };
        stream.answer_create();
        stream.give_credit();
        stream.lifecycle.create();
        stream.settle();
        stream
    }

    fn answer_create(&mut self) {
        let list = name_list(&self.chain);
        let result = ToClient::CreateResult {
            result: 0,
            client_buflen: self.streamtype.client_buflen,
            list: Piece::whole(&list).unwrap_or(Piece { data: &[], offset: 0, total: 0 }),
        };
        self.send(&result);
    }

    // ---- what the driver asks

    /// Its streamtype's name.
    pub(crate) fn name(&self) -> &str {
        &self.streamtype.name
    }

    /// How urgent it is beside others of its line.
    pub(crate) fn priority(&self) -> u8 {
        self.streamtype.priority
    }

    /// How far the proxy may be ahead of what the client has read off its link, in bytes, if that is
    /// another number than the one told last.
    pub(crate) fn new_ahead_limit(&mut self) -> Option<u32> {
        let most = self.frame_writer.most_credit().filter(|_| self.window.is_some())?;
        let limit = Some(channel_ahead_max(most));
        let is_new = std::mem::replace(&mut self.ahead_limit, limit) != limit;
        limit.filter(|_| is_new)
    }

    /// When [`Stream::handle_deadline`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines =
            [self.lifecycle.deadline(), self.frame_writer.deadline(), self.allowance.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// True if no attempt runs.
    fn is_at_rest(&self) -> bool {
        self.lifecycle.is_at_rest()
    }

    /// True if no attempt runs and nothing waits for the client.
    pub(crate) fn is_done(&self) -> bool {
        self.is_at_rest() && self.frame_writer.is_empty()
    }

    /// Bytes of payload so far, from the client and to it.
    pub(crate) fn passed(&self) -> (u64, u64) {
        self.passed
    }

    /// True if the client may be read from. Payload above the mark stops it, but not while only a
    /// control frame behind that payload could make it move.
    pub(crate) fn may_read(&self) -> bool {
        let moves = self.lifecycle.is_connected() && !self.frame_writer.is_blocked();
        let mark = if moves && self.window.is_none() {
            self.watermarks.tx_queue
        } else {
            self.watermarks.ahead
        };
        self.allowance.is_open()
            && self.tx_queue.cost() < mark
            && self.frame_writer.frames() < FRAMES_WAITING_MAX
            && self.account.may_take(Way::Onward)
    }

    /// Charges what waits in here.
    fn charge(&mut self) {
        self.held.onward.set(self.tx_queue.cost() + self.metadata.size());
        self.held.back.set(self.frame_writer.cost());
    }

    /// What the driver can wait for.
    pub(crate) fn waits(&mut self) -> Waits<'_, D> {
        let has_room = self.has_room();
        let has_payload = self.lifecycle.takes_payload() && !self.tx_queue.is_empty();
        let (events, body) = self.attempt.as_mut().map(RunningAttempt::queues).unzip();
        Waits {
            frame_writer: &mut self.frame_writer,
            events: events.filter(|_| has_room),
            body: body.filter(|_| has_payload).map(|body| &*body),
            memory: Some(&*self.account).filter(|account| !account.may_take(Way::Onward)),
        }
    }

    /// True if more of the peer's payload may be taken.
    fn has_room(&mut self) -> bool {
        let mark = if self.is_full { self.watermarks.resume } else { self.watermarks.frame_writer };
        self.is_full = self.frame_writer.bytes() >= mark;
        !self.is_full && self.allowance.is_open() && !self.frame_writer.is_blocked()
    }

    // ---- frames of the client

    pub(crate) fn handle_connect(&mut self) {
        debug!("ONWARD_CONNECT");
        if self.unheard > 0 {
            return;
        }
        self.begin_message();
        self.lifecycle.handle_connect();
        self.settle();
    }

    /// The client asks for a new transaction: its payload from here on belongs to that.
    fn begin_message(&mut self) {
        if self.is_at_rest() {
            self.tx_queue.begin();
        }
    }

    /// A piece of TX_PAYLOAD. `read` is what the piece's bytes were read into.
    pub(crate) fn handle_payload(&mut self, head: PayloadHead, piece: &Piece<'_>, read: &Read) {
        const KNOWN: Flags = Flags::from_bits(0x1f);
        let length = piece.data.len() as u64;
        self.passed.0 += length;
        self.allowance.passed(length);
        self.counts.bytes_from_clients.add(length);
        if self.refuses_payload() {
            // Once a stream: a client can send such frames without end.
            if !std::mem::replace(&mut self.has_logged_refusal, true) {
                info!("payload is thrown away: this streamtype takes none, as the client knows");
            }
            return;
        }
        let flags = match self.streamtype.protocol {
            // Each frame of a deployed client is a message, whatever its flags say. Others cut messages
            // to their credit.
            Protocol::Smd if self.window.is_none() => {
                PayloadHead::new(Flags::WHOLE).flags_of(piece)
            }
            _ => head.flags_of(piece) & KNOWN,
        };
        let piece = tx_queue::Piece {
            bytes: piece.data,
            shared: read.share_of(piece.data),
            flags,
            ends_frame: piece.is_last(),
            settings: self.message_settings(flags),
        };
        match self.tx_queue.push(piece) {
            Pushed::Kept => self.lifecycle.handle_demand(),
            Pushed::Dropped => {}
            Pushed::Breaks => {
                let why = "the client broke a message off that is partly sent";
                let failure =
                    Failure::new(FailureKind::Message, why).retry_after(Some(BROKEN_OFF_WAIT));
                self.lifecycle.handle_event(Instant::now(), Event::Ended(End::Failed(failure)));
                self.tx_queue.close();
            }
        }
        self.settle();
    }

    /// What holds for the message that a piece with these flags begins, if the protocol asks.
    fn message_settings(&mut self, flags: Flags) -> Option<Arc<MessageSettings>> {
        if self.streamtype.protocol != Protocol::Mqtt || !self.tx_queue.begins_message(flags) {
            return None;
        }
        let length_hint = self.lifecycle.take_length_hint().filter(|bytes| *bytes > 0);
        Some(self.metadata.for_message(length_hint, &self.account))
    }

    pub(crate) fn handle_length_hint(&mut self, bytes: u32) {
        debug!(bytes, "PAYLOAD_LENGTH_HINT");
        if self.unheard > 0 || self.refuses_payload() {
            return;
        }
        self.begin_message();
        self.lifecycle.handle_length_hint(bytes);
        self.settle();
    }

    /// True if the client was told that its payload has nowhere to go. Payload connects no stream
    /// then, as it does for clients that cannot know.
    fn refuses_payload(&self) -> bool {
        self.window.as_ref().is_some_and(Window::is_none)
    }

    pub(crate) fn handle_timeout_update(&mut self, timeout: Timeout) {
        debug!(?timeout, "TIMEOUT_UPDATE");
        self.lifecycle.handle_timeout_update(Instant::now(), timeout);
    }

    pub(crate) fn handle_credit(&mut self, update: i32) {
        if update == 0 && self.unheard > 0 {
            self.unheard -= 1;
            if self.unheard == 0 {
                self.tx_queue.begin();
            }
            return;
        }
        self.frame_writer.add_credit(update, Instant::now());
    }

    pub(crate) fn handle_metadata(
        &mut self,
        name: &[u8],
        value: &Piece<'_>,
    ) -> Result<(), CloseReason> {
        self.metadata.handle(&self.streamtype, &self.allowance.pass, name, value)
    }

    // ---- what happens

    /// The running attempt reports; `None` if it ended without a word.
    pub(crate) fn handle_event(&mut self, event: Option<Event>) {
        let event = event.unwrap_or_else(|| {
            let why = "the attempt ended without a word";
            Event::Ended(End::Failed(Failure::new(FailureKind::Internal, why)))
        });
        if let Event::Ended(End::Failed(failure)) = &event {
            self.counts.attempt_failed(failure.kind);
        }
        if let Some(watched) = &mut self.watched {
            watched.passed(self.passed);
            watched.event(&event);
        }
        self.lifecycle.handle_event(Instant::now(), event);
        self.settle();
    }

    pub(crate) fn handle_deadline(&mut self) {
        let now = Instant::now();
        self.frame_writer.handle_deadline(now);
        if self.allowance.starts(now) {
            self.start();
        }
        self.lifecycle.handle_deadline(now);
        self.settle();
    }

    /// The proxy shuts down: what can end, ends. A request has an answer to wait for, but a
    /// connection that goes on until somebody leaves is left as soon as no message is under way on it.
    /// To be called again after whatever happens.
    pub(crate) fn drain(&mut self) {
        self.lifecycle.drain();
        let is_free = match self.lifecycle.takes() {
            Some(Takes::Messages) => {
                self.tx_queue.is_between_messages() && !self.is_in_peers_message
            }
            Some(Takes::Bytes) => self.tx_queue.is_empty(),
            Some(Takes::Nothing | Takes::Message) | None => false,
        };
        if is_free && let Some(attempt) = &mut self.attempt {
            attempt.leave();
        }
    }

    /// The proxy closes the link now.
    pub(crate) fn shut_down(&mut self) {
        self.lifecycle.shut_down();
        self.settle();
    }

    // ---- payload

    /// Moves all that can be moved without waiting, both ways.
    pub(crate) fn pump(&mut self) {
        while let Some(event) = self.waits().events.and_then(EventStream::try_recv) {
            self.handle_event(Some(event));
        }
        while self.lifecycle.takes_payload()
            && !self.tx_queue.is_empty()
            && let Some(attempt) = &mut self.attempt
        {
            match attempt.queues().1.try_reserve() {
                Ok(room) => match self.tx_queue.pop() {
                    Some((chunk, _)) if chunk.bytes.is_empty() && chunk.flags == Flags::NONE => {}
                    Some((mut chunk, size)) => {
                        let bytes = self.account.attach(
                            Way::Onward,
                            std::mem::take(&mut chunk.bytes),
                            size,
                        );
                        room.send(TxChunk { bytes, ..chunk });
                    }
                    None => break,
                },
                Err(TrySendError::Full(())) => break,
                // The attempt takes no payload, or no more.
                Err(TrySendError::Closed(())) => self.tx_queue.discard(false),
            }
        }
        self.give_credit();
        self.free_stuck();
        self.charge();
        if let Some(watched) = &self.watched {
            watched.passed(self.passed);
        }
    }

    /// A client that only sends, and whose peer waits for it to take what came back, will not be heard
    /// giving credit: that stands behind its payload. A link that stops its sender by being full needs
    /// no limit from such a client, which is not known to manage it: it goes on as if it had connected
    /// again. On a line its channel comes to its end.
    fn free_stuck(&mut self) {
        let is_unread = self.tx_queue.cost() >= self.watermarks.ahead;
        if let Some(credit) = self.renewed_credit
            && !self.link.is_narrow
            && is_unread
            && self.frame_writer.is_blocked()
        {
            if !std::mem::replace(&mut self.has_logged_stuck, true) {
                info!("the client sends and gives no credit for what comes back: it is sent more");
            }
            self.frame_writer.renew_credit(credit, Instant::now());
        }
    }

    fn give_credit(&mut self) {
        let left = self.tx_queue.left();
        let Some(window) = &mut self.window else { return };
        window.give_back(left);
        if let Some(update) = window.update() {
            self.send(&ToClient::TxCredit(update));
        }
    }

    // ---- inside

    /// Does what the lifecycle asks for.
    fn settle(&mut self) {
        while let Some(output) = self.lifecycle.poll_action() {
            match output {
                Action::State { state, ordinal } => {
                    debug!(%state, "state");
                    let is_known = state != State::Disconnected || self.window.is_some();
                    let ordinal = if is_known { ordinal } else { 0 };
                    self.send(&ToClient::State { state, ordinal });
                    if let Some(watched) = &self.watched {
                        watched.state(state);
                    }
                    if state == State::Connected && self.unheard == 0 {
                        self.tx_queue.reopen();
                    }
                    if state == State::Connected && self.lifecycle.awaits_message() {
                        self.tx_queue.await_message();
                    }
                    if state == State::Disconnected && self.window.is_some() {
                        self.unheard = self.unheard.saturating_add(1);
                        self.tx_queue.close();
                    }
                }
                Action::Metadata(items) => self.send_metadata(&items),
                Action::Perf(json) => match Piece::whole(json.as_bytes()) {
                    Some(piece) => self.send(&ToClient::Perf(piece)),
                    None => debug!(bytes = json.len(), "PERF is too long, left out"),
                },
                // A client that honours credit has it from this proxy's own buffer.
                Action::TxCredit(credit) if self.window.is_none() => {
                    self.send(&ToClient::TxCredit(credit));
                }
                Action::TxCredit(_) => {}
                Action::Payload { bytes, flags } => {
                    self.is_in_peers_message = !flags.contains(Flags::EOM)
                        && (flags.contains(Flags::SOM) || self.is_in_peers_message);
                    self.passed.1 += bytes.len() as u64;
                    self.allowance.passed(bytes.len() as u64);
                    self.counts.bytes_to_clients.add(bytes.len() as u64);
                    self.frame_writer.push_payload(bytes, flags, Instant::now());
                }
                Action::Start => self.start(),
                Action::Stop => {
                    self.attempt = None;
                    self.allowance.stop();
                    self.waiting = None;
                    if let Some(watched) = &mut self.watched {
                        watched.end(Outcome::Left);
                    }
                    self.is_in_peers_message = false;
                    self.frame_writer.end_of_attempt(Instant::now());
                }
                Action::Discard => {
                    self.tx_queue.discard(self.lifecycle.is_idle());
                    self.give_credit();
                }
            }
        }
    }

    fn start(&mut self) {
        let watched = self.watched.as_mut();
        let begin = || watched.map(|watched| watched.begin(&self.streamtype)).unwrap_or_default();
        let record = self.waiting.take().unwrap_or_else(begin);
        if !self.allowance.may_start() {
            debug!("the transaction waits for its client's quota");
            self.waiting = Some(record);
            return;
        }
        self.counts.attempts.add(1);
        if let Some(credit) = self.renewed_credit {
            self.frame_writer.renew_credit(credit, Instant::now());
        }
        self.attempt = Some(self.starter.start(Attempt {
            client: self.client.clone(),
            account: Arc::clone(&self.account),
            stream: Arc::clone(&self.streamtype),
            chain: self.chain.clone(),
            metadata: self.metadata.values().to_vec(),
            length_hint: self.lifecycle.length_hint(),
            bus: self.bus,
            record,
        }));
    }

    fn send_metadata(&mut self, items: &[(String, Bytes)]) {
        for (name, value) in items {
            match Piece::whole(value) {
                Some(piece) if (1..=METADATA_VALUE_MAX).contains(&value.len()) => {
                    self.send(&ToClient::Metadata { name: name.as_bytes(), value: piece });
                }
                _ => info!(name, bytes = value.len(), "metadata of this length is left out"),
            }
        }
    }

    fn send(&mut self, frame: &ToClient<'_>) {
        if let Err(error) = self.frame_writer.push(frame) {
            tracing::error!(%error, "a frame for the client breaks the wire's limits, left out");
        }
    }
}
