//! A proxy behind a mux, and a line between it and a client, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use sspc::{Client, ClientEvent, Flags, Instant, MuxConfig, Slot, State, StreamId, Tx};
use sspc_mux::{Channel, Event as MuxEvent, Mux, Priority, Role};
use sspc_sim::{Link, Side, drive};
use sspc_wire::{ToProxy, ToProxyDecoder};

use crate::harness::{create_result, created, created_without_payload, name_of, payload, state};

pub(crate) const fn us(us: u64) -> Instant {
    Instant::from_micros(us)
}

/// What the proxy knows about one channel.
#[derive(Default)]
struct Session {
    decoder: ToProxyDecoder,
    streamtype: String,
    body: Vec<u8>,
    value: Vec<u8>,
    /// How much payload may be sent, and how much is left of what `polite` gets.
    credit: usize,
    left: usize,
    /// What is to be sent.
    output: VecDeque<u8>,
    /// The channel is to be closed when all is sent.
    ends: bool,
}

/// A proxy that echoes messages, whatever the streamtype, but for `refused` (CREATE_RESULT 1),
/// `faulty` (which gets no valid frame when it connects), `dead` (which gets no answer), `no-payload` (which
/// takes none), `bulk` (which gets 10,000 bytes when it connects), `polite` (the same, as the credit
/// allows), `ticker` (a message each time it sends one, and no end), `script` (which gets
/// [`Proxy::script`], and then its channel is closed).
pub(crate) struct Proxy {
    pub(crate) mux: Mux,
    sessions: BTreeMap<u8, Session>,
    /// Channels are refused.
    pub(crate) refuses: bool,
    /// All that a `script` gets.
    pub(crate) script: Vec<u8>,
    /// What each stream gets instead, when it connects.
    pub(crate) onward: Option<Vec<u8>>,
    /// Frames that came, as text, with the streamtype in front.
    pub(crate) heard: Vec<String>,
}

impl Proxy {
    pub(crate) fn new(config: MuxConfig, seed: u32) -> Self {
        let mux = Mux::new(Role::Proxy, config, seed);
        Self {
            mux,
            sessions: BTreeMap::new(),
            refuses: false,
            script: Vec::new(),
            onward: None,
            heard: Vec::new(),
        }
    }

    pub(crate) fn hear(&mut self, now: Instant, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            let mut event = self.mux.receive(now, &mut input);
            if event.is_none() {
                event = self.mux.handle_timeout(now);
            }
            match event {
                None => break,
                Some(MuxEvent::LinkDown { .. }) => self.sessions.clear(),
                Some(MuxEvent::ChannelRequested { channel }) if self.refuses => {
                    self.mux.refuse(channel);
                }
                Some(MuxEvent::ChannelRequested { channel }) => {
                    self.mux.accept(channel, Priority::LOWEST).unwrap();
                    self.sessions.insert(channel.index(), Session::default());
                }
                Some(MuxEvent::Closed { channel }) => drop(self.sessions.remove(&channel.index())),
                Some(MuxEvent::Data { channel, piece }) => self.data(channel, piece),
                Some(_) => {}
            }
        }
    }

    fn data(&mut self, channel: Channel, mut piece: &[u8]) {
        let session = self.sessions.get_mut(&channel.index()).unwrap();
        while let Ok(Some(frame)) = session.decoder.next(&mut piece) {
            let text = match &frame {
                ToProxy::Streamtype(s) => {
                    session.streamtype = String::from_utf8_lossy(s.name).into();
                    "STREAMTYPE".into()
                }
                frame => name_of(frame),
            };
            match &frame {
                ToProxy::Payload { piece, .. } if !piece.is_first() => {}
                ToProxy::Metadata { name, value } => {
                    session.value.extend_from_slice(value.data);
                    if value.is_last() {
                        let value = std::mem::take(&mut session.value);
                        let text = [name, &b"="[..], &value].concat();
                        let text = String::from_utf8_lossy(&text);
                        self.heard.push(format!("{} {text}", session.streamtype));
                    }
                }
                _ => self.heard.push(format!("{} {text}", session.streamtype)),
            }
            let kind = session.streamtype.as_str();
            match frame {
                ToProxy::Streamtype(s) if kind == "polite" => {
                    assert!(s.honours_credit());
                    session.credit = s.tx_credit as usize;
                    session.output.extend([created(), state(State::Creating)].concat());
                }
                ToProxy::TxCredit(more) => session.credit += more as usize,
                ToProxy::Streamtype(_) => match kind {
                    "refused" => {
                        session.output.extend(create_result(1, b""));
                        session.ends = true;
                    }
                    "dead" => {}
                    "no-payload" => session.output.extend(created_without_payload()),
                    "script" => {
                        session.output.extend(&self.script);
                        session.ends = true;
                    }
                    _ => session.output.extend([created(), state(State::Creating)].concat()),
                },
                ToProxy::OnwardConnect if self.onward.is_some() => {
                    session.output.extend(self.onward.iter().flatten());
                }
                ToProxy::OnwardConnect => {
                    session
                        .output
                        .extend([state(State::Connecting), state(State::Connected)].concat());
                    match kind {
                        "faulty" => session.output.extend([0xff; 9]),
                        "polite" => session.left = 10_000,
                        "bulk" => {
                            for part in 0..10_u8 {
                                let flags = match part {
                                    0 => Flags::SOM,
                                    9 => Flags::EOM,
                                    _ => Flags::NONE,
                                };
                                session.output.extend(payload(&[part; 1000], flags));
                            }
                        }
                        _ => {}
                    }
                }
                ToProxy::Payload { head, piece, .. } => {
                    session.body.extend_from_slice(piece.data);
                    if head.flags_of(&piece).contains(Flags::EOM) {
                        let body = std::mem::take(&mut session.body);
                        session.output.extend(payload(&body, Flags::WHOLE));
                        if kind != "ticker" {
                            session.output.extend(state(State::QosAckRemote));
                            session.output.extend(state(State::Disconnected));
                        }
                    }
                }
                ToProxy::Destroying => session.ends = true,
                _ => {}
            }
            while session.credit > 0 && session.left > 0 {
                let length = session.left.min(session.credit).min(100);
                let mut flags = if session.left == 10_000 { Flags::SOM } else { Flags::NONE };
                (session.left, session.credit) = (session.left - length, session.credit - length);
                if session.left == 0 {
                    flags |= Flags::EOM;
                }
                session.output.extend(payload(&vec![session.left as u8; length], flags));
            }
        }
        self.mux.wants_to_send(channel, true);
    }

    /// What is to be sent next; nothing if there is nothing.
    pub(crate) fn say(&mut self, now: Instant) -> Vec<u8> {
        let mut out = vec![0; 1500];
        let length = self.say_into(now, &mut out);
        out.truncate(length);
        out
    }

    /// The same into a buffer; how long it is.
    pub(crate) fn say_into(&mut self, now: Instant, out: &mut [u8]) -> usize {
        let sessions = &mut self.sessions;
        let mut source = |channel: Channel, buf: &mut [u8]| {
            let Some(session) = sessions.get_mut(&channel.index()) else { return 0 };
            let length = session.output.len().min(buf.len());
            buf.iter_mut().zip(session.output.drain(..length)).for_each(|(to, from)| *to = from);
            length
        };
        let length = self.mux.transmit(now, out, &mut source).unwrap();
        let over = |session: &Session| session.ends && session.output.is_empty();
        let over: Vec<u8> =
            self.sessions.iter().filter(|(_, s)| over(s)).map(|(index, _)| *index).collect();
        for index in over {
            self.sessions.remove(&index);
            self.mux.close(Channel::new(index));
        }
        length
    }
}

/// What the application of one stream does and saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    /// All events as text; payload when its message ends.
    pub(crate) seen: Vec<String>,
    /// Payload of messages that came whole.
    pub(crate) received: Vec<u8>,
    payload: Vec<u8>,
    /// Messages to be sent, one after another, when it is CREATING or after the one before ended.
    pub(crate) messages: VecDeque<Vec<u8>>,
    at: usize,
    last: Option<State>,
    creatings: u32,
}

impl App {
    fn see(&mut self, event: sspc::Event<'_>) {
        match event {
            sspc::Event::State { state, .. } => {
                // The loss of the link has no other way to be told.
                let lost = self.last == Some(State::QosNackLocal) && state == State::Disconnected;
                assert!(
                    State::may_follow(state, self.last) || lost,
                    "{state} after {:?}",
                    self.last
                );
                if !state.is_transparent() {
                    self.last = Some(state);
                }
                self.creatings += u32::from(state == State::Creating);
                assert!(self.creatings <= 1, "CREATING comes once");
                self.seen.push(state.to_string());
                if state == State::Disconnected {
                    self.payload.clear();
                    self.at = 0;
                }
            }
            sspc::Event::Payload { data, flags, .. } => {
                self.payload.extend_from_slice(data);
                if flags.contains(Flags::EOM) {
                    self.seen.push(format!("rx {}", self.payload.len()));
                    self.received.append(&mut self.payload);
                }
            }
            sspc::Event::Refused { result } => self.seen.push(format!("refused {result}")),
            sspc::Event::Fault(fault) => self.seen.push(format!("fault: {fault}")),
            // Noise can make those of payload.
            sspc::Event::Metadata { .. } | sspc::Event::Perf(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    /// As if it had nothing to send and nothing had come.
    pub(crate) fn forget(&mut self) {
        self.messages.clear();
        self.received.clear();
        self.payload.clear();
        self.at = 0;
    }

    fn fill(&mut self, buf: &mut [u8]) -> Option<Tx> {
        let message = self.messages.front()?;
        let length = buf.len().min(message.len() - self.at);
        buf[..length].copy_from_slice(&message[self.at..self.at + length]);
        let mut flags = if self.at == 0 { Flags::SOM } else { Flags::NONE };
        self.at += length;
        let is_last = self.at == message.len();
        if is_last {
            flags |= Flags::EOM;
            self.messages.pop_front();
            self.at = 0;
        }
        Some(Tx { len: length, flags, more: !is_last })
    }
}

pub(crate) type Slots = Vec<Slot<Vec<u8>>>;

/// A client, a proxy, and the line between them.
pub(crate) struct World {
    pub(crate) client: Client<Slots>,
    pub(crate) apps: Vec<App>,
    /// What the link told.
    pub(crate) link_seen: Vec<String>,
    pub(crate) proxy: Proxy,
    pub(crate) link: Link,
    pub(crate) now_us: u64,
    /// Taken from an end and not yet given to the line.
    pub(crate) written: [VecDeque<u8>; 2],
    /// Neither end hears anything.
    pub(crate) deaf: bool,
}

impl World {
    pub(crate) fn new(link: Link, config: MuxConfig, slots: Slots) -> Self {
        Self {
            apps: vec![App::default(); slots.len()],
            client: Client::new(config, 1, slots),
            link_seen: Vec::new(),
            proxy: Proxy::new(config, 2),
            link,
            now_us: 1_000_000,
            written: Default::default(),
            deaf: false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        us(self.now_us)
    }

    pub(crate) fn app(&mut self, slot: u8) -> &mut App {
        &mut self.apps[usize::from(slot)]
    }

    /// Adds a message, and asks to send it if the stream was created.
    pub(crate) fn send(&mut self, slot: u8, message: &[u8]) {
        let now = self.now();
        self.app(slot).messages.push_back(message.into());
        self.client.request_tx(StreamId::new(slot), now);
    }

    fn client_hears(&mut self, bytes: &[u8]) {
        let (now, mut input) = (self.now(), bytes);
        loop {
            let mut event = self.client.receive(now, &mut input);
            if event.is_none() {
                event = self.client.handle_timeout(now);
            }
            match event {
                None => break,
                Some(ClientEvent::Stream { id, event }) => {
                    let app = &mut self.apps[usize::from(id.index())];
                    app.see(event);
                    let asks = matches!(
                        event,
                        sspc::Event::State { state: State::Creating | State::Disconnected, .. }
                    );
                    let verdict = matches!(
                        event,
                        sspc::Event::State {
                            state: State::QosAckRemote | State::QosNackRemote,
                            ..
                        }
                    );
                    let requested = self.client.stream(id).unwrap().is_tx_requested();
                    if verdict && !requested && app.at == 0 {
                        // It was answered before it began.
                        app.messages.pop_front();
                    }
                    if asks && !app.messages.is_empty() {
                        self.client.request_tx(id, now);
                    }
                }
                Some(ClientEvent::LinkUp { .. }) => self.link_seen.push("up".into()),
                Some(ClientEvent::LinkDown { why }) => self.link_seen.push(format!("down: {why}")),
                Some(_) => {}
            }
        }
        assert_eq!(input, b"", "all input is used up when there is no more event");
    }

    fn client_says(&mut self) -> Vec<u8> {
        let (now, apps) = (self.now(), &mut self.apps);
        let mut out = vec![0; 1500];
        let mut source = |id: StreamId, buf: &mut [u8]| apps[usize::from(id.index())].fill(buf);
        let length = self.client.transmit(now, &mut out, &mut source).unwrap();
        out.truncate(length);
        out
    }

    /// Everything that is to be done now; when to come back.
    fn step(&mut self) -> u64 {
        for side in [Side::A, Side::B] {
            let mut buf = [0; 300];
            loop {
                let length = self.link.pop(self.now_us, side, &mut buf);
                let heard = if self.deaf { &[] } else { &buf[..length] };
                match side {
                    Side::A => self.client_hears(heard),
                    Side::B => self.proxy.hear(us(self.now_us), heard),
                }
                if length == 0 {
                    break;
                }
            }
            loop {
                if self.written[side as usize].is_empty() {
                    let said = match side {
                        Side::A => self.client_says(),
                        Side::B => self.proxy.say(us(self.now_us)),
                    };
                    self.written[side as usize].extend(said);
                }
                let written = &mut self.written[side as usize];
                if written.is_empty() {
                    break;
                }
                let taken = self.link.push(self.now_us, side, written.make_contiguous());
                written.drain(..taken);
                if taken == 0 {
                    break;
                }
            }
        }
        let deadlines = [self.client.deadline(), self.proxy.mux.deadline()];
        let ends = deadlines.into_iter().flatten().map(Instant::as_micros);
        ends.chain(self.link.next_event()).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn run_until(&mut self, ms: u64, mut until: impl FnMut(&mut Self) -> bool) -> bool {
        let end_us = self.now_us + ms * 1000;
        let (mut is_so, mut same) = (false, 0);
        drive(self.now_us, 3_000_000, |now_us| {
            same = if now_us > self.now_us { 0 } else { same + 1 };
            assert!(same < 10_000, "a live-lock at {now_us}: {:?}", self.client.deadline());
            self.now_us = now_us.min(end_us);
            let next_us = self.step();
            is_so = until(self);
            if is_so || self.now_us == end_us { None } else { Some(next_us.min(end_us)) }
        });
        is_so
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// What the stream saw since; forgets it.
    pub(crate) fn seen(&mut self, slot: u8) -> Vec<String> {
        std::mem::take(&mut self.app(slot).seen)
    }
}
