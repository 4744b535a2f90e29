//! What a line does, without its I/O: the mux, and the channels of the line's users. Here is what the
//! driver calls; what users call is in [`user`].

mod packets;
mod user;

use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sspc_arq::Choice;
use sspc_mux::{Channel, Event, Instant, LinkLoss, Mux, Priority, Refusal, Role};
use sspc_wire::limits::MUX_CHANNELS_MAX;

use crate::channel_state::{ChannelEnd, ChannelState, Phase};
use crate::config::LineConfig;
use crate::event::{LineEvent, Status};
use crate::keys::SeededKeys;
use crate::pacer::{Answer, Probe};
use crate::restart_guard::RestartGuard;
use crate::state::packets::{PacketRoom, Packets};

/// A line without channels asks so much less often whether the peer is there, but within so many ms.
const UNUSED_FACTOR: u32 = 20;
const UNUSED_MAX_MS: u32 = 2000;

/// Names a channel from its request to its end; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChannelId(u64);

#[derive(Debug)]
pub(crate) struct LineState {
    mux: Mux,
    /// Away while it works.
    packets: Option<Box<Packets>>,
    /// What they had done when the link came up.
    packets_before: sspc_arq::Counters,
    guard: RestartGuard,
    channels: HashMap<ChannelId, ChannelState>,
    /// The channel that has this index on the wire.
    owners: Box<[Option<ChannelId>; 256]>,
    /// Channels that the peer is to be asked for.
    to_request: VecDeque<ChannelId>,
    /// Channels that the peer opened and nobody took.
    to_accept: VecDeque<ChannelId>,
    acceptor: Option<Waker>,
    events: VecDeque<LineEvent>,
    status: Status,
    /// How many PINGs of this end came back, and when the last one did.
    echoes: (u32, Instant),
    /// The PING that waits for its answer was sent for what the line itself wants to know.
    measuring: bool,
    /// The line's user asked for its answer.
    asked: bool,
    /// Bytes that had come when the last PING was sent.
    pinged_at: u64,
    /// [`LineState::repairs`] then.
    pinged_after: u64,
    /// What became of a PING, for the pacer.
    probe: Option<Probe>,
    next_id: u64,
    unread_max: usize,
    /// [`LineConfig::shared_packet_max`].
    shared_packet_max: u16,
    /// A channel wants to know how much the peer has read.
    wants_ping: bool,
    /// What was taken last is a packet with a PING in it.
    packed_ping: bool,
    /// The id of the peer whose packets are encrypted.
    device: Option<Arc<str>>,
    /// Its session has forward secrecy.
    forward_secrecy: bool,
    closed: bool,
    /// It is over a network.
    pub(crate) is_connection: bool,
    /// [`MuxConfig::ping_ms`](sspc_mux::Config) while there are channels.
    ping_ms: u32,
    /// There are some.
    is_used: bool,
}

impl LineState {
    pub(crate) fn new(role: Role, config: &LineConfig, keys: Option<SeededKeys>) -> Self {
        let in_packets = config.framing == Choice::Reliable || keys.is_some();
        Self {
            mux: Mux::new(role, config.mux, config.seed),
            packets: Some(Box::new(packets::layer(role, config, keys))),
            packets_before: sspc_arq::Counters::default(),
            guard: RestartGuard::default(),
            channels: HashMap::new(),
            owners: Box::new([None; 256]),
            to_request: VecDeque::new(),
            to_accept: VecDeque::new(),
            acceptor: None,
            events: VecDeque::new(),
            status: Status { port: true, in_packets, ..Status::default() },
            echoes: (0, Instant::ZERO),
            measuring: false,
            asked: false,
            pinged_at: 0,
            pinged_after: 0,
            probe: None,
            next_id: 0,
            unread_max: config.unread_max,
            shared_packet_max: config.shared_packet_max,
            wants_ping: false,
            packed_ping: false,
            device: None,
            forward_secrecy: false,
            closed: false,
            is_connection: false,
            ping_ms: config.mux.ping_ms,
            is_used: true,
        }
    }

    /// True if it speaks in packets, and in nothing else.
    pub(crate) fn is_reliable(&self) -> bool {
        self.packets.as_ref().is_some_and(|packets| packets.choice() == Choice::Reliable)
    }

    /// Takes bytes that came.
    pub(crate) fn receive(&mut self, now: Instant, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        self.status.bytes_in += input.len() as u64;
        self.release_held(now);
        if self.in_packets() {
            self.feed(now, input);
            return;
        }
        let mut held = self.guard.take();
        if held.is_empty() {
            self.receive_or_hold(now, input);
        } else {
            held.extend_from_slice(input);
            self.receive_or_hold(now, &held);
        }
    }

    fn receive_or_hold(&mut self, now: Instant, input: &[u8]) {
        let (clear, tail) = input.split_at(RestartGuard::start(input));
        self.feed(now, clear);
        if self.mux.is_within_frame(tail) {
            self.guard.hold(now, tail);
        } else {
            self.feed(now, tail);
        }
    }

    /// Gives the mux what waited for more to come, if it has waited long enough.
    fn release_held(&mut self, now: Instant) {
        if let Some((at, bytes)) = self.guard.release(now, self.mux.config().stall_ms) {
            self.feed(at, &bytes);
        }
    }

    /// Gives the mux bytes of its own.
    fn feed_mux(&mut self, now: Instant, mut input: &[u8]) {
        while let Some(event) = self.mux.receive(now, &mut input) {
            let came_up = matches!(event, Event::LinkUp { .. });
            let is_answer = matches!(event, Event::RoundTrip { .. });
            let is_echo = matches!(event, Event::Echo | Event::LinkDown { why: LinkLoss::Echo });
            self.handle_event(event);
            if is_echo {
                self.note_echo(now);
            }
            if is_answer {
                self.ping_answered(now);
            }
            if came_up && self.mux.role() == Role::Proxy {
                // Only the end of a handshake that this side begins tells a device the time.
                self.mux.ping(now);
            }
        }
    }

    /// The peer has read what was sent before the last PING: channels that waited for that go on.
    fn ping_answered(&mut self, at: Instant) {
        let behind = self.status.bytes_in - self.pinged_at;
        self.probe = Some(match self.pinged_after == self.repairs() {
            true => Probe::Answered(Answer { at, peer_us: self.mux.pong_us(), behind }),
            false => Probe::Repaired,
        });
        for state in self.channels.values_mut() {
            state.ahead.ping_answered();
            if let (Phase::Open(channel) | Phase::Closing(channel), false) =
                (state.phase, state.unsent.is_empty())
            {
                self.mux.wants_to_send(channel, true);
            }
        }
        let is_open =
            |state: &ChannelState| matches!(state.phase, Phase::Open(_) | Phase::Closing(_));
        self.wants_ping =
            self.channels.values().any(|state| is_open(state) && state.ahead.wants_ping());
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
        self.release_held(now);
        // Of the next PING there would have been an echo by then.
        if now > self.echoes.1.plus_millis(2 * self.mux.config().retry_max_ms) {
            self.forget_echo();
        }
        while let Some(event) = self.mux.handle_timeout(now) {
            self.handle_event(event);
        }
        self.feed(now, &[]);
    }

    /// Asks for a proof of life less often while nobody uses the line, and for one at once when somebody
    /// does.
    fn supervise(&mut self, now: Instant) {
        let is_used = !self.channels.is_empty();
        let unused_ms = self.ping_ms.saturating_mul(UNUSED_FACTOR).min(UNUSED_MAX_MS);
        if self.is_used == is_used || unused_ms <= self.ping_ms {
            return;
        }
        self.is_used = is_used;
        if is_used {
            self.mux.set_ping_ms(self.ping_ms);
            self.measure(now);
        } else {
            self.mux.set_ping_ms(unused_ms);
        }
    }

    /// Writes what is to be sent next: at most one data frame, or one packet.
    pub(crate) fn transmit(&mut self, now: Instant, out: &mut [u8]) -> usize {
        self.supervise(now);
        self.request_channels();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.mux.set_unix_time(now, u64::try_from(since_1970.as_micros()).unwrap_or(0));
        if self.wants_ping {
            self.measure(now);
        }
        let last_ping = self.mux.unanswered_ping();
        let shared_packet = self.shared_packet_max();
        let (channels, owners) = (&mut self.channels, &self.owners);
        // In packets there can be frames of several channels.
        let (mut emptied, mut sent) = (Vec::new(), Vec::new());
        let mut source = |channel: Channel, buf: &mut [u8]| {
            let owner = owners.get(usize::from(channel.index())).copied().flatten();
            let Some(state) = owner.and_then(|id| channels.get_mut(&id)) else { return 0 };
            let length = state.pop_unsent(buf);
            if let (Phase::Closing(_), true) = (state.phase, state.unsent.is_empty()) {
                emptied.extend(owner);
            }
            if length > 0 {
                sent.extend(owner.map(|id| (id, length)));
            }
            length
        };
        let mux = &mut self.mux;
        // It is longer than the mux needs.
        let mut packet = shared_packet.map(PacketRoom::new);
        let mut frames = |out: &mut [u8]| {
            let room = packet.map_or(out.len(), |packet| packet.left().min(out.len()));
            let out = out.get_mut(..room).unwrap_or_default();
            let written = mux.transmit(now, out, &mut source).unwrap_or(0);
            if let Some(packet) = &mut packet {
                packet.took(written, room);
            }
            written
        };
        let packets = &mut self.packets;
        let length = packets.as_mut().map_or(0, |packets| packets.transmit(now, out, &mut frames));
        self.note_sent(last_ping, &sent);
        for id in emptied {
            self.finish_closing(id);
        }
        self.status.bytes_out += length as u64;
        length
    }

    /// Counts what was sent: a PING, if it is another one than the last, then bytes of channels.
    fn note_sent(&mut self, last_ping: Option<u64>, sent: &[(ChannelId, usize)]) {
        let ping = self.mux.unanswered_ping();
        if ping.is_some() && ping != last_ping {
            self.packed_ping = self.in_packets() && self.mux.is_up();
            self.channels.values_mut().for_each(|state| state.ahead.ping_sent());
        }
        for (id, length) in sent {
            if let Some(state) = self.channels.get_mut(id) {
                state.ahead.sent(*length);
                self.wants_ping |= state.ahead.wants_ping();
            }
        }
    }

    /// Sends a PING for what its answer says about the wire and what the peer has read; the observer
    /// does not hear of it.
    pub(crate) fn measure(&mut self, now: Instant) {
        if self.mux.is_up() && self.mux.unanswered_ping().is_none() {
            self.measuring = true;
            self.mux.ping(now);
        }
    }

    /// Whether what was taken last is a packet with a PING in it.
    pub(crate) const fn take_packed_ping(&mut self) -> bool {
        std::mem::replace(&mut self.packed_ping, false)
    }

    /// A PING is in what was taken last.
    pub(crate) fn pinging(&mut self) {
        (self.pinged_at, self.pinged_after) = (self.status.bytes_in, self.repairs());
    }

    /// What became of the last PING, if that is known by now.
    pub(crate) fn take_probe(&mut self) -> Option<Probe> {
        self.probe.take()
    }

    /// More than one channel is in use, so that one may have to wait for another.
    pub(crate) fn is_shared(&self) -> bool {
        self.channels.len() > 1
    }

    /// When to call `handle_timeout` and `transmit` if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let held_until = self.guard.until(self.mux.config().stall_ms);
        let packets = self.packets.as_ref().and_then(|packets| packets.deadline());
        self.mux.deadline().into_iter().chain(held_until).chain(packets).min()
    }

    /// The port is gone.
    pub(crate) fn port_lost(&mut self, error: std::io::Error) {
        self.status.port = false;
        let error = error.into();
        self.events.push_back(match self.is_connection {
            true => LineEvent::ConnectionLost { error },
            false => LineEvent::PortLost { error },
        });
        self.reset();
    }

    pub(crate) fn port_back(&mut self) {
        self.status.port = true;
        self.events.push_back(match self.is_connection {
            true => LineEvent::ConnectionBack,
            false => LineEvent::PortBack,
        });
        self.reset();
    }

    /// What happened, for the observer.
    pub(crate) fn pop_event(&mut self) -> Option<LineEvent> {
        self.events.pop_front()
    }

    /// The line was closed and nobody uses a channel; the last bytes of some may wait.
    pub(crate) fn is_unused(&self) -> bool {
        self.closed && self.channels.values().all(|state| state.halves == 0)
    }

    /// Gives up the link, and begins with the handshake again.
    fn reset(&mut self) {
        self.mux.reset();
        if let Some(packets) = &mut self.packets {
            packets.reset();
            self.status.in_packets = packets.in_packets();
        }
        self.guard = RestartGuard::default();
        let now = Instant::ZERO;
        let mut nothing: &[u8] = &[];
        while let Some(event) = self.mux.receive(now, &mut nothing) {
            self.handle_event(event);
        }
    }

    /// Ends everything: nobody drives the line any more.
    pub(crate) fn abort(&mut self) {
        self.close();
        for state in self.channels.values_mut() {
            if !matches!(state.phase, Phase::Ended(_)) {
                state.end(ChannelEnd::LineClosed);
            }
        }
    }

    fn add(&mut self, state: ChannelState) -> ChannelId {
        self.next_id += 1;
        let id = ChannelId(self.next_id);
        self.channels.insert(id, state);
        id
    }

    /// Removes a channel that is over and that nobody holds.
    fn forget(&mut self, id: ChannelId) {
        let is_over =
            |state: &ChannelState| state.halves == 0 && matches!(state.phase, Phase::Ended(_));
        if self.channels.get(&id).is_some_and(is_over) {
            self.channels.remove(&id);
        }
    }

    fn finish_closing(&mut self, id: ChannelId) {
        let Some(state) = self.channels.get_mut(&id) else { return };
        if let Phase::Closing(channel) = state.phase {
            state.end(ChannelEnd::ClosedHere);
            self.release(channel);
            self.mux.close(channel);
        }
        self.forget(id);
    }

    fn owner(&self, channel: Channel) -> Option<ChannelId> {
        self.owners.get(usize::from(channel.index())).copied().flatten()
    }

    fn own(&mut self, channel: Channel, owner: Option<ChannelId>) {
        if let Some(place) = self.owners.get_mut(usize::from(channel.index())) {
            *place = owner;
        }
    }

    fn release(&mut self, channel: Channel) {
        self.own(channel, None);
    }

    /// Asks the peer for the channels that wait for that.
    fn request_channels(&mut self) {
        while self.mux.is_up() {
            let Some(id) = self.to_request.pop_front() else { return };
            let Some(state) = self.channels.get_mut(&id) else { continue };
            let Phase::Queued(priority) = state.phase else { continue };
            let ours = self.owners.iter().flatten().count();
            if ours > 0 && self.mux.used() >= MUX_CHANNELS_MAX {
                self.mux.free_unusable();
            }
            match self.mux.open(priority) {
                Ok(channel) => {
                    state.phase = Phase::Requested(channel, priority);
                    state.index = Some(channel.index());
                    self.own(channel, Some(id));
                }
                // It is reset now, to have its indices back from a peer that frees none; or they come
                // back when closings are answered, or not in time.
                Err(_) if !self.mux.is_up() || ours < MUX_CHANNELS_MAX => {
                    self.to_request.push_front(id);
                    return;
                }
                Err(_) => state.end(ChannelEnd::NoneFree),
            }
        }
    }

    fn handle_event(&mut self, event: Event<'_>) {
        let micros = |us: u32| Duration::from_micros(us.into());
        match event {
            Event::LinkUp { rtt_us } => {
                self.forget_echo();
                self.status.ups += 1;
                self.status.round_trip = Some(micros(rtt_us));
                let in_packets = self.in_packets();
                self.status.refused = None;
                self.packets_before = self.status.packets;
                let device = self.device.clone();
                self.events.push_back(LineEvent::Up {
                    round_trip: micros(rtt_us),
                    in_packets,
                    device,
                    forward_secrecy: self.forward_secrecy,
                });
            }
            Event::LinkDown { why } => self.link_down(why),
            Event::RoundTrip { rtt_us } => {
                self.status.round_trip = Some(micros(rtt_us));
                let measured = take(&mut self.measuring);
                if take(&mut self.asked) || !measured {
                    self.events.push_back(LineEvent::RoundTrip { round_trip: micros(rtt_us) });
                }
            }
            Event::PeerClock { unix_us } => {
                let since_1970 = Duration::from_micros(unix_us);
                self.events.push_back(LineEvent::PeerClock { since_1970 });
            }
            Event::ChannelRequested { channel } => self.requested(channel),
            Event::Opened { channel } => {
                if let Some(state) = self.owner(channel).and_then(|id| self.channels.get_mut(&id)) {
                    state.phase = Phase::Open(channel);
                    state.wake_reader();
                }
            }
            Event::Refused { channel, why } => self.refused(channel, why),
            Event::Closed { channel } => {
                if let Some(id) = self.owner(channel) {
                    self.release(channel);
                    if let Some(state) = self.channels.get_mut(&id) {
                        state.end(ChannelEnd::ClosedByPeer);
                    }
                    self.forget(id);
                }
            }
            Event::Data { channel, piece } => self.data(channel, piece),
            _ => {}
        }
    }

    fn link_down(&mut self, why: LinkLoss) {
        (self.measuring, self.asked) = (false, false);
        self.probe = Some(Probe::Lost);
        self.status.losses += 1;
        self.wants_ping = false;
        self.events.push_back(LineEvent::Down { why });
        let counters = self.status.packets.since(self.packets_before);
        if counters.packets_in > 0 {
            self.events.push_back(LineEvent::Packets { counters });
        }
        self.packets_before = self.status.packets;
        let mut over = Vec::new();
        for (id, state) in &mut self.channels {
            match state.phase {
                Phase::Open(_) | Phase::Closing(_) => {
                    state.end(ChannelEnd::Link(why));
                    over.push(*id);
                }
                // It has not begun: asked again when the link is back.
                Phase::Requested(_, priority) => {
                    state.phase = Phase::Queued(priority);
                    self.to_request.push_back(*id);
                }
                Phase::Queued(_) | Phase::Ended(_) => {}
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
            let id = self.add(ChannelState { index, ..ChannelState::new(Phase::Open(channel)) });
            self.own(channel, Some(id));
            self.to_accept.push_back(id);
            if let Some(acceptor) = self.acceptor.take() {
                acceptor.wake();
            }
        }
    }

    fn refused(&mut self, channel: Channel, why: Refusal) {
        let Some(id) = self.owner(channel) else { return };
        self.release(channel);
        let Some(state) = self.channels.get_mut(&id) else { return };
        match (why, state.phase) {
            (Refusal::NoAnswer, Phase::Requested(_, priority)) => {
                state.phase = Phase::Queued(priority);
                self.to_request.push_back(id);
            }
            _ => state.end(ChannelEnd::Refused),
        }
        self.forget(id);
    }

    fn data(&mut self, channel: Channel, piece: &[u8]) {
        let Some(id) = self.owner(channel) else { return };
        let Some(state) = self.channels.get_mut(&id) else { return };
        if state.halves == 0 {
            // Nobody will read it.
            return;
        }
        if state.unread.len() + piece.len() > self.unread_max {
            let kept = state.unread.len();
            state.end(ChannelEnd::Overflow);
            self.release(channel);
            self.mux.close(channel);
            self.events.push_back(LineEvent::Overflow { channel: channel.index(), kept });
            return;
        }
        state.unread.extend(piece);
        state.wake_reader();
    }
}
