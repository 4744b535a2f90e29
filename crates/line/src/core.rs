//! What a line does, without its I/O: the mux and the channels of those who use it.

use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sspc_mux::{Channel, Event, Instant, LinkLoss, Mux, OpenError, Priority, Refusal, Role};

use crate::event::{LineEvent, Status};
use crate::held::{Held, is_start, start_at_end};
use crate::line::LineConfig;
use crate::pipe::{End, OUTBOX_MAX, Phase, Pipe};

/// A channel's name from its wish to its end; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

#[derive(Debug)]
pub(crate) struct Core {
    mux: Mux,
    held: Held,
    pipes: HashMap<Id, Pipe>,
    /// Whose an open channel is.
    owners: Box<[Option<Id>; 256]>,
    /// Channels to be asked for.
    wanted: VecDeque<Id>,
    /// Channels that the peer opened and nobody took.
    arrived: VecDeque<Id>,
    acceptor: Option<Waker>,
    events: VecDeque<LineEvent>,
    status: Status,
    /// How many PINGs of this end came back, and when the last one did.
    echoes: (u32, Instant),
    next_id: u64,
    inbox_max: usize,
    closed: bool,
}

impl Core {
    pub(crate) fn new(role: Role, config: &LineConfig) -> Self {
        Self {
            mux: Mux::new(role, config.mux, config.seed),
            held: Held::default(),
            pipes: HashMap::new(),
            owners: Box::new([None; 256]),
            wanted: VecDeque::new(),
            arrived: VecDeque::new(),
            acceptor: None,
            events: VecDeque::new(),
            status: Status { port: true, ..Status::default() },
            echoes: (0, Instant::ZERO),
            next_id: 0,
            inbox_max: config.inbox_max,
            closed: false,
        }
    }

    // What the driver calls.

    /// Takes bytes that came.
    pub(crate) fn receive(&mut self, now: Instant, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        self.status.bytes_in += input.len() as u64;
        self.handle_held(now);
        if self.held.bytes.is_empty() {
            self.receive_or_hold(now, input);
        } else {
            let mut bytes = take(&mut self.held.bytes);
            bytes.extend_from_slice(input);
            self.receive_or_hold(now, &bytes);
        }
    }

    fn receive_or_hold(&mut self, now: Instant, input: &[u8]) {
        let (clear, tail) = input.split_at(start_at_end(input));
        self.pass(now, clear);
        if self.mux.is_within_frame(tail) {
            self.held = Held { bytes: tail.to_vec(), since: now };
        } else {
            self.pass(now, tail);
        }
    }

    /// Passes on what was held, if the time for it has come. To the mux, a RESET_TRANSPORT after a
    /// silence is one; all else is as if it had not been held.
    fn handle_held(&mut self, now: Instant) {
        if self.held_until().is_some_and(|until| until <= now) {
            let Held { bytes, since } = take(&mut self.held);
            self.pass(if is_start(&bytes) { now } else { since }, &bytes);
        }
    }

    fn held_until(&self) -> Option<Instant> {
        let until = self.held.since.plus_millis(self.mux.config().stall_ms);
        if self.held.bytes.is_empty() { None } else { Some(until) }
    }

    fn pass(&mut self, now: Instant, mut input: &[u8]) {
        while let Some(event) = self.mux.receive(now, &mut input) {
            let came_up = matches!(event, Event::LinkUp { .. });
            let is_echo = matches!(event, Event::Echo | Event::LinkDown { why: LinkLoss::Echo });
            self.take(event);
            if is_echo {
                self.note_echo(now);
            }
            if came_up && self.mux.role() == Role::Proxy {
                // Only the end of a handshake that this side begins tells a device the time.
                self.mux.ping(now);
            }
        }
    }

    /// A PING of this end came back. Of two that do, none can be chance.
    fn note_echo(&mut self, now: Instant) {
        self.echoes = (self.echoes.0.saturating_add(1), now);
        if self.echoes.0 == 2 {
            self.status.echo = true;
            self.events.push_back(LineEvent::Echo);
        }
    }

    /// There is a peer, or nothing comes back any more.
    fn forget_echo(&mut self) {
        self.echoes.0 = 0;
        self.status.echo = false;
    }

    /// Does what the time has come for. To be called after everything that came was received.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.handle_held(now);
        // Of the next PING there would have been an echo by then.
        if now > self.echoes.1.plus_millis(2 * self.mux.config().retry_max_ms) {
            self.forget_echo();
        }
        while let Some(event) = self.mux.handle_timeout(now) {
            self.take(event);
        }
    }

    /// Writes what is to be sent next, at most one data frame.
    pub(crate) fn transmit(&mut self, now: Instant, out: &mut [u8]) -> usize {
        self.ask_for_wanted();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.mux.set_unix_time(now, u64::try_from(since_1970.as_micros()).unwrap_or(0));
        let (pipes, owners) = (&mut self.pipes, &self.owners);
        let mut emptied = None;
        let mut source = |channel: Channel, room: &mut [u8]| {
            let owner = owners.get(usize::from(channel.index())).copied().flatten();
            let Some(pipe) = owner.and_then(|id| pipes.get_mut(&id)) else { return 0 };
            let given = pipe.give(room);
            if let (Phase::Closing(_), true) = (pipe.phase, pipe.outbox.is_empty()) {
                emptied = owner;
            }
            given
        };
        // `out` is longer than the mux needs.
        let length = self.mux.transmit(now, out, &mut source).unwrap_or(0);
        if let Some(id) = emptied {
            self.finish_closing(id);
        }
        self.status.bytes_out += length as u64;
        length
    }

    /// When to call `handle_timeout` and `transmit` if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.mux.deadline().into_iter().chain(self.held_until()).min()
    }

    /// The port is gone.
    pub(crate) fn port_lost(&mut self, error: std::io::Error) {
        self.status.port = false;
        self.events.push_back(LineEvent::PortLost { error: error.into() });
        self.reset();
    }

    pub(crate) fn port_back(&mut self) {
        self.status.port = true;
        self.events.push_back(LineEvent::PortBack);
        self.reset();
    }

    /// What happened, for the observer.
    pub(crate) fn pop_event(&mut self) -> Option<LineEvent> {
        self.events.pop_front()
    }

    /// The line was closed and nobody uses a channel; the last bytes of some may wait.
    pub(crate) fn is_deserted(&self) -> bool {
        self.closed && self.pipes.values().all(|pipe| pipe.halves == 0)
    }

    // What those call who use the line.

    pub(crate) fn status(&self) -> Status {
        let channels = self.pipes.values().filter(|pipe| !matches!(pipe.phase, Phase::Ended(_)));
        Status {
            up: self.mux.is_up(),
            framing_losses: u64::from(self.mux.framing_losses()),
            channels: channels.count(),
            ..self.status
        }
    }

    pub(crate) fn ping(&mut self, now: Instant) {
        self.mux.ping(now);
    }

    /// Gives up the link and begins anew.
    pub(crate) fn reset(&mut self) {
        self.mux.reset();
        self.held = Held::default();
        let now = Instant::ZERO;
        let mut nothing: &[u8] = &[];
        while let Some(event) = self.mux.receive(now, &mut nothing) {
            self.take(event);
        }
    }

    /// Opens and accepts no more channels.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for pipe in self.pipes.values_mut() {
            match pipe.phase {
                Phase::Wanted(_) => pipe.end(End::Line),
                Phase::Asked(channel, _) => {
                    pipe.end(End::Line);
                    self.mux.close(channel);
                }
                Phase::Open(_) | Phase::Closing(_) | Phase::Ended(_) => {}
            }
        }
        while let Some(id) = self.arrived.pop_front() {
            self.drop_half(id);
            self.drop_half(id);
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.wake();
        }
    }

    /// Ends everything: nobody drives the line any more.
    pub(crate) fn abort(&mut self) {
        self.close();
        for pipe in self.pipes.values_mut() {
            if !matches!(pipe.phase, Phase::Ended(_)) {
                pipe.end(End::Line);
            }
        }
    }

    pub(crate) fn want(&mut self, priority: Priority) -> Id {
        let phase = if self.closed { Phase::Ended(End::Line) } else { Phase::Wanted(priority) };
        let id = self.add(Pipe::new(phase));
        self.wanted.push_back(id);
        id
    }

    pub(crate) fn poll_opened(&mut self, id: Id, cx: &Context<'_>) -> Poll<Result<(), End>> {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Poll::Ready(Err(End::Here)) };
        match pipe.phase {
            Phase::Open(_) | Phase::Closing(_) => Poll::Ready(Ok(())),
            Phase::Ended(end) => Poll::Ready(Err(end)),
            Phase::Wanted(_) | Phase::Asked(..) => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Option<Id>> {
        match self.arrived.pop_front() {
            Some(id) => Poll::Ready(Some(id)),
            None if self.closed => Poll::Ready(None),
            None => {
                self.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Bytes, or `Ok(0)` at the end.
    pub(crate) fn poll_read(
        &mut self,
        id: Id,
        cx: &Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, End>> {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Poll::Ready(Ok(0)) };
        if room.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match (pipe.take(room), pipe.phase) {
            (taken @ 1.., _) => Poll::Ready(Ok(taken)),
            (0, Phase::Ended(End::Here | End::Peer | End::Line)) => Poll::Ready(Ok(0)),
            (0, Phase::Ended(end)) => Poll::Ready(Err(end)),
            (0, _) => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// How many bytes were taken.
    pub(crate) fn poll_write(
        &mut self,
        id: Id,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, End>> {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Poll::Ready(Err(End::Here)) };
        let channel = match pipe.phase {
            Phase::Open(channel) => channel,
            Phase::Ended(end) => return Poll::Ready(Err(end)),
            Phase::Wanted(_) | Phase::Asked(..) | Phase::Closing(_) => {
                return Poll::Ready(Err(End::Here));
            }
        };
        let length = bytes.len().min(OUTBOX_MAX.saturating_sub(pipe.outbox.len()));
        if length == 0 && !bytes.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.outbox.extend(bytes.get(..length).unwrap_or_default());
        self.mux.wants_to_send(channel, true);
        Poll::Ready(Ok(length))
    }

    /// Ready when everything written is with the line.
    pub(crate) fn poll_flush(&mut self, id: Id, cx: &Context<'_>) -> Poll<Result<(), End>> {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Poll::Ready(Ok(())) };
        match pipe.phase {
            Phase::Open(_) | Phase::Closing(_) if !pipe.outbox.is_empty() => {
                pipe.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::Ended(End::Link(why)) => Poll::Ready(Err(End::Link(why))),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ready when the channel is over, read to its end or not.
    pub(crate) fn poll_ended(&mut self, id: Id, cx: &Context<'_>) -> Poll<()> {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Poll::Ready(()) };
        if matches!(pipe.phase, Phase::Ended(_)) {
            return Poll::Ready(());
        }
        pipe.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The channel's index on the wire, once it has one.
    pub(crate) fn index(&self, id: Id) -> Option<u8> {
        self.pipes.get(&id)?.index
    }

    pub(crate) fn set_priority(&mut self, id: Id, priority: Priority) {
        match self.pipes.get_mut(&id).map(|pipe| &mut pipe.phase) {
            Some(Phase::Wanted(wanted) | Phase::Asked(_, wanted)) => *wanted = priority,
            Some(Phase::Open(channel) | Phase::Closing(channel)) => {
                self.mux.set_priority(*channel, priority);
            }
            Some(Phase::Ended(_)) | None => {}
        }
    }

    /// Closes the channel once what was written to it is sent.
    pub(crate) fn shut(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        match pipe.phase {
            Phase::Wanted(_) => pipe.end(End::Here),
            Phase::Asked(channel, _) => {
                pipe.end(End::Here);
                self.release(channel);
                self.mux.close(channel);
            }
            Phase::Open(channel) => {
                pipe.phase = Phase::Closing(channel);
                if pipe.outbox.is_empty() {
                    self.finish_closing(id);
                }
            }
            Phase::Closing(_) | Phase::Ended(_) => {}
        }
    }

    /// One of the channel's halves is no longer used.
    pub(crate) fn drop_half(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.halves = pipe.halves.saturating_sub(1);
        if pipe.halves == 0 {
            pipe.inbox = VecDeque::new();
            self.shut(id);
            self.forget(id);
        }
    }

    // Helpers.

    fn add(&mut self, pipe: Pipe) -> Id {
        self.next_id += 1;
        let id = Id(self.next_id);
        self.pipes.insert(id, pipe);
        id
    }

    /// Removes a channel that is over and that nobody holds.
    fn forget(&mut self, id: Id) {
        let is_over = |pipe: &Pipe| pipe.halves == 0 && matches!(pipe.phase, Phase::Ended(_));
        if self.pipes.get(&id).is_some_and(is_over) {
            self.pipes.remove(&id);
        }
    }

    fn finish_closing(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if let Phase::Closing(channel) = pipe.phase {
            pipe.end(End::Here);
            self.release(channel);
            self.mux.close(channel);
        }
        self.forget(id);
    }

    fn owner(&self, channel: Channel) -> Option<Id> {
        self.owners.get(usize::from(channel.index())).copied().flatten()
    }

    fn own(&mut self, channel: Channel, owner: Option<Id>) {
        if let Some(place) = self.owners.get_mut(usize::from(channel.index())) {
            *place = owner;
        }
    }

    fn release(&mut self, channel: Channel) {
        self.own(channel, None);
    }

    /// Asks the peer for the channels that are wanted.
    fn ask_for_wanted(&mut self) {
        while self.mux.is_up() {
            let Some(id) = self.wanted.pop_front() else { return };
            let Some(pipe) = self.pipes.get_mut(&id) else { continue };
            let Phase::Wanted(priority) = pipe.phase else { continue };
            match self.mux.open(priority) {
                Ok(channel) => {
                    pipe.phase = Phase::Asked(channel, priority);
                    pipe.index = Some(channel.index());
                    self.own(channel, Some(id));
                }
                Err(OpenError::LinkDown) => {
                    self.wanted.push_front(id);
                    return;
                }
                Err(_) => pipe.end(End::NoneFree),
            }
        }
    }

    fn take(&mut self, event: Event<'_>) {
        let micros = |us: u32| Duration::from_micros(us.into());
        match event {
            Event::LinkUp { rtt_us } => {
                self.forget_echo();
                self.status.ups += 1;
                self.status.round_trip = Some(micros(rtt_us));
                self.events.push_back(LineEvent::Up { round_trip: micros(rtt_us) });
            }
            Event::LinkDown { why } => self.link_down(why),
            Event::RoundTrip { rtt_us } => {
                self.status.round_trip = Some(micros(rtt_us));
                self.events.push_back(LineEvent::RoundTrip { round_trip: micros(rtt_us) });
            }
            Event::PeerClock { unix_us } => {
                let since_1970 = Duration::from_micros(unix_us);
                self.events.push_back(LineEvent::PeerClock { since_1970 });
            }
            Event::ChannelRequested { channel } => self.requested(channel),
            Event::Opened { channel } => {
                if let Some(pipe) = self.owner(channel).and_then(|id| self.pipes.get_mut(&id)) {
                    pipe.phase = Phase::Open(channel);
                    pipe.wake_reader();
                }
            }
            Event::Refused { channel, why } => self.refused(channel, why),
            Event::Closed { channel } => {
                if let Some(id) = self.owner(channel) {
                    self.release(channel);
                    if let Some(pipe) = self.pipes.get_mut(&id) {
                        pipe.end(End::Peer);
                    }
                    self.forget(id);
                }
            }
            Event::Data { channel, piece } => self.data(channel, piece),
            _ => {}
        }
    }

    fn link_down(&mut self, why: LinkLoss) {
        self.status.losses += 1;
        self.events.push_back(LineEvent::Down { why });
        let mut over = Vec::new();
        for (id, pipe) in &mut self.pipes {
            match pipe.phase {
                Phase::Open(_) | Phase::Closing(_) => {
                    pipe.end(End::Link(why));
                    over.push(*id);
                }
                // It has not begun: asked again when the link is back.
                Phase::Asked(_, priority) => {
                    pipe.phase = Phase::Wanted(priority);
                    self.wanted.push_back(*id);
                }
                Phase::Wanted(_) | Phase::Ended(_) => {}
            }
        }
        self.owners.fill(None);
        for id in over {
            self.forget(id);
        }
    }

    fn requested(&mut self, channel: Channel) {
        if self.closed {
            self.mux.refuse(channel);
        } else if self.mux.accept(channel, Priority::default()).is_ok() {
            let index = Some(channel.index());
            let id = self.add(Pipe { index, ..Pipe::new(Phase::Open(channel)) });
            self.own(channel, Some(id));
            self.arrived.push_back(id);
            if let Some(acceptor) = self.acceptor.take() {
                acceptor.wake();
            }
        }
    }

    fn refused(&mut self, channel: Channel, why: Refusal) {
        let Some(id) = self.owner(channel) else { return };
        self.release(channel);
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        match (why, pipe.phase) {
            (Refusal::NoAnswer, Phase::Asked(_, priority)) => {
                pipe.phase = Phase::Wanted(priority);
                self.wanted.push_back(id);
            }
            _ => pipe.end(End::Refused),
        }
        self.forget(id);
    }

    fn data(&mut self, channel: Channel, piece: &[u8]) {
        let Some(id) = self.owner(channel) else { return };
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if pipe.halves == 0 {
            // Nobody will read it.
            return;
        }
        if pipe.inbox.len() + piece.len() > self.inbox_max {
            let kept = pipe.inbox.len();
            pipe.end(End::Overflow);
            self.release(channel);
            self.mux.close(channel);
            self.events.push_back(LineEvent::Overflow { channel: channel.index(), kept });
            return;
        }
        pipe.inbox.extend(piece);
        pipe.wake_reader();
    }
}
