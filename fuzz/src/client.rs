//! A client's stream that gets any bytes and any calls, in any order.

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use sspc::{Config, Event, Flags, Instant, LinkAction, Name, State, Stream, Timeout, Tx};
use sspc_sim::frames::{Owned, encode};
use sspc_wire::{ToProxy, ToProxyDecoder};

use crate::frames::ToClient;

/// No drain needs as many steps: an engine that takes more does not end.
const STEPS: usize = 10_000;

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// Time passes.
    Wait(u16),
    /// The proxy sends bytes.
    Bytes(Vec<u8>),
    /// The proxy sends a frame.
    Frame(Box<ToClient>),
    /// The proxy creates the stream.
    Created,
    /// The proxy reports a state.
    State(u8),
    /// The link takes this many bytes.
    Transmit(u16),
    /// What the stream asked of its link is done.
    DoWishes,
    LinkUp,
    LinkDown,
    Connect,
    RequestTx,
    RequestTxLen(u32),
    SetMetadata(String, Vec<u8>),
    SetTimeout(u32),
    AddCredit(i32),
    Consumed(u32),
    Abandon,
    Close,
}

/// A client's configuration and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Life {
    window: Option<u16>,
    honour_credit: bool,
    reconnect: bool,
    steps: Vec<Step>,
}

struct World {
    stream: Stream<[u8; 128]>,
    now_ms: u64,
    state: Option<State>,
    actions: VecDeque<LinkAction>,
    /// What the proxy makes of this link's bytes; `None` while there is no link.
    proxy: Option<Proxy>,
}

#[derive(Default)]
struct Proxy {
    decoder: ToProxyDecoder,
    frames: usize,
}

/// Lives the life, and checks what holds at any time: the application sees a legal sequence of
/// states, the proxy whole frames that begin with STREAMTYPE, and nothing goes on for ever.
pub fn client_engine(life: Life) {
    let config = Config {
        window: life.window.map_or(Config::UNLIMITED, u32::from),
        honour_credit: life.honour_credit,
        reconnect: life.reconnect,
        ..Config::DEFAULT
    };
    let mut world = World {
        stream: Stream::new(Name::literal("fuzz"), config, [0; 128]),
        now_ms: 0,
        state: None,
        actions: VecDeque::new(),
        proxy: None,
    };
    world.settle();
    for step in life.steps {
        world.step(step);
        world.settle();
    }
}

impl World {
    fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms)
    }

    fn step(&mut self, step: Step) {
        let now = self.now();
        let stream = &mut self.stream;
        match step {
            Step::Wait(ms) => {
                self.now_ms += u64::from(ms);
                stream.handle_timeout(Instant::from_millis(self.now_ms));
            }
            Step::Bytes(bytes) => self.receive(&bytes),
            Step::Frame(frame) => self.receive_frame(&(*frame).into()),
            Step::Created => {
                let list = b",fuzz,ride".to_vec();
                self.receive_frame(&Owned::CreateResult { result: 0, client_buflen: 0, list });
            }
            Step::State(code) => {
                self.receive_frame(&Owned::State(State::from_code(code.into()), 0));
            }
            Step::Transmit(room) => self.transmit(room.into()),
            Step::DoWishes => {
                while let Some(action) = self.actions.pop_front() {
                    self.link(action == LinkAction::Open);
                }
            }
            Step::LinkUp => self.link(true),
            Step::LinkDown => self.link(false),
            Step::Connect => stream.connect(),
            Step::RequestTx => stream.request_tx(now),
            Step::RequestTxLen(bytes) => stream.request_tx_len(now, bytes),
            Step::SetMetadata(name, value) => {
                let _may_fail = stream.set_metadata(&name, &value);
            }
            Step::SetTimeout(ms) => stream.set_timeout(Timeout::from_wire(ms)),
            Step::AddCredit(bytes) => stream.add_credit(bytes),
            Step::Consumed(bytes) => {
                let _more_to_transmit = stream.consumed(bytes);
            }
            Step::Abandon => stream.abandon(now),
            Step::Close => stream.close(),
        }
    }

    /// Takes all that the stream has to tell and to ask.
    fn settle(&mut self) {
        for _ in 0..STEPS {
            if let Some(event) = self.stream.poll_event() {
                see(&mut self.state, event);
            } else if let Some(action) = self.stream.poll_link(self.now()) {
                self.actions.push_back(action);
            } else {
                return;
            }
        }
        panic!("the stream has always more to tell");
    }

    fn receive_frame(&mut self, frame: &Owned) {
        if let Ok(bytes) = encode::<sspc_wire::ToClientDecoder>(frame) {
            self.receive(&bytes);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        let now = self.now();
        for _ in 0..STEPS {
            let Some(event) = self.stream.receive(now, &mut input) else {
                assert!(input.is_empty(), "a stream with nothing to tell has taken all");
                return;
            };
            see(&mut self.state, event);
        }
        panic!("the stream makes ever more of {} bytes", bytes.len());
    }

    fn link(&mut self, up: bool) {
        let now = self.now();
        if up {
            if self.proxy.is_some() {
                return;
            }
            self.stream.link_up(now);
        } else {
            self.stream.link_down(now);
        }
        self.proxy = up.then(Proxy::default);
    }

    fn transmit(&mut self, room: usize) {
        let now = self.now();
        let mut room = vec![0; room % 4096];
        let mut open = self.stream.is_message_open();
        let mut source = |room: &mut [u8]| {
            let som = if open { Flags::NONE } else { Flags::SOM };
            open = room.len() & 1 == 0;
            let eom = if open { Flags::NONE } else { Flags::EOM };
            let len = room.len().min(100);
            Some(Tx { len, flags: som | eom, more: open })
        };
        let Ok(length) = self.stream.transmit(now, &mut room, &mut source) else { return };
        let Some(proxy) = &mut self.proxy else {
            assert_eq!(length, 0, "bytes for no link");
            return;
        };
        let mut input = &room[..length];
        while let Some(frame) = proxy.decoder.next(&mut input).unwrap() {
            let is_first = matches!(frame, ToProxy::Streamtype(_));
            assert_eq!(is_first, proxy.frames == 0, "frame {}: {frame:?}", proxy.frames);
            proxy.frames += 1;
        }
        let is_whole = proxy.decoder.is_between_frames();
        self.settle();
        // Only what fits no room is cut, no frame is longer than the storage and some, and a frame
        // that was cut is ended, or the link dropped.
        let is_dropped = self.actions.contains(&LinkAction::Drop);
        assert!(room.len() < 256 || is_whole || is_dropped, "part of a frame");
    }
}

fn see(current: &mut Option<State>, event: Event<'_>) {
    let Event::State { state, .. } = event else { return };
    assert!(State::may_follow(state, *current), "{state} after {current:?}");
    if !state.is_transparent() {
        *current = Some(state);
    }
}
