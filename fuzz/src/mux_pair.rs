//! Two ends of the mux with a line between them, and anything that can happen to them.

use arbitrary::Arbitrary;
use sspc_mux::{Channel, Config, Instant, Mux, Role};

use crate::mux_app::{App, Belief, STEPS};

/// The most bytes under way in one direction.
const LINE: usize = 16 * 1024;

/// One of the two ends.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum End {
    Client,
    Proxy,
}

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// Ms pass.
    Wait(u16),
    /// Time passes up to an end's deadline.
    WaitFor(End),
    /// The line takes what an end writes into a buffer of so many bytes.
    Transmit(End, u16),
    /// So many bytes arrive at an end.
    Deliver(End, u16),
    /// All bytes that are under way arrive, and all answers to them.
    DeliverAll,
    Open(u8),
    Answer(u8, bool),
    Close(End, u8),
    Send(End, u8, u16),
    Ping(End),
    Reset(End),
    /// Noise on the way to an end: bytes that nobody sent, bytes that are lost, a bit that flips.
    Insert(End, Vec<u8>),
    Lose(End, u16),
    Flip(End, u16, u8),
    /// An end restarts.
    Restart(End),
}

/// How two ends are set up, and what happens to them.
#[derive(Arbitrary, Debug)]
pub struct Lives {
    fast: [bool; 2],
    seeds: [u32; 2],
    accepts: bool,
    steps: Vec<Step>,
}

struct Half {
    mux: Mux,
    app: App,
    /// Bytes on their way to this end.
    coming: Vec<u8>,
}

struct World {
    ends: [Half; 2],
    now_us: u64,
}

/// Lives the lives, and checks what holds at any time: each application sees a legal sequence of
/// events, each line whole frames, and on a line without noise every channel its own bytes and no
/// others. After the last step the link comes back in time, and is of use.
pub fn mux_pair(lives: Lives) {
    let half = |role, fast: bool, seed| {
        let config = if fast { Config::FAST } else { Config::DEFAULT };
        Half {
            mux: Mux::new(role, config, seed),
            app: App::new(true, lives.accepts),
            coming: Vec::new(),
        }
    };
    let ends = [
        half(Role::Client, lives.fast[0], lives.seeds[0]),
        half(Role::Proxy, lives.fast[1], lives.seeds[1]),
    ];
    let mut world = World { ends, now_us: 1_000_000 };
    for step in lives.steps {
        world.step(step);
        // No two things happen at once.
        world.now_us += 1;
        for end in [End::Client, End::Proxy] {
            world.drain(end);
            let half = &world.ends[end as usize];
            half.app.check(&half.mux);
            if half.app.is_clean {
                assert_eq!(half.mux.framing_losses(), 0, "without any noise");
            }
        }
    }
    world.recover();
}

impl World {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    fn step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Wait(ms) => self.now_us += u64::from(ms) * 1000,
            Step::WaitFor(end) => {
                let deadline = self.ends[end as usize].mux.deadline();
                self.now_us = deadline.map_or(self.now_us, Instant::as_micros).max(self.now_us);
            }
            Step::Transmit(end, room) => {
                self.transmit(end, usize::from(room % 2048));
            }
            Step::Deliver(end, count) => self.deliver(end, count.into()),
            Step::DeliverAll => self.settle(),
            Step::Open(priority) => {
                let Half { mux, app, .. } = &mut self.ends[0];
                app.open(mux, priority);
            }
            Step::Answer(index, accepts) => {
                let Half { mux, app, .. } = &mut self.ends[1];
                app.answer(mux, pick(app, index, Belief::Requested), accepts);
            }
            Step::Close(end, index) => {
                let Half { mux, app, .. } = &mut self.ends[end as usize];
                app.close(mux, pick(app, index, Belief::Open));
            }
            Step::Send(end, index, length) => {
                let Half { mux, app, .. } = &mut self.ends[end as usize];
                app.send(mux, pick(app, index, Belief::Open), length.into());
            }
            Step::Ping(end) => self.ends[end as usize].mux.ping(now),
            Step::Reset(end) => self.ends[end as usize].mux.reset(),
            Step::Insert(end, bytes) => {
                self.harm();
                self.ends[end as usize].coming.splice(..0, bytes);
            }
            Step::Lose(end, count) => {
                self.harm();
                let coming = &mut self.ends[end as usize].coming;
                coming.drain(..usize::from(count).min(coming.len()));
            }
            Step::Flip(end, at, bits) => {
                self.harm();
                if let Some(byte) = self.ends[end as usize].coming.get_mut(usize::from(at)) {
                    *byte ^= bits;
                }
            }
            Step::Restart(end) => {
                self.harm();
                let Half { mux, app, .. } = &mut self.ends[end as usize];
                *mux = Mux::new(mux.role(), *mux.config(), self.now_us as u32);
                *app = App::new(false, app.accepts);
            }
        }
    }

    fn harm(&mut self) {
        self.ends.iter_mut().for_each(|half| half.app.harm());
    }

    /// False if the end has nothing to send or the line takes nothing.
    fn transmit(&mut self, from: End, room: usize) -> bool {
        let now = self.now();
        let [client, proxy] = &mut self.ends;
        let (half, coming) = match from {
            End::Client => (client, &mut proxy.coming),
            End::Proxy => (proxy, &mut client.coming),
        };
        if coming.len() >= LINE {
            return false;
        }
        half.app.transmit(&mut half.mux, now, room, coming)
    }

    fn deliver(&mut self, to: End, count: usize) {
        let now = self.now();
        let Half { mux, app, coming } = &mut self.ends[to as usize];
        let bytes: Vec<u8> = coming.drain(..count.min(coming.len())).collect();
        let mut input = &bytes[..];
        for _ in 0..STEPS {
            let Some(event) = mux.receive(now, &mut input) else {
                assert!(input.is_empty(), "a mux with nothing to tell has taken all");
                return;
            };
            app.see(mux, event);
        }
        panic!("the mux makes ever more of {} bytes", bytes.len());
    }

    /// Takes all that an end has to tell.
    fn drain(&mut self, end: End) {
        self.deliver(end, 0);
        let now = self.now();
        let Half { mux, app, .. } = &mut self.ends[end as usize];
        for _ in 0..STEPS {
            let Some(event) = mux.handle_timeout(now) else { return };
            app.see(mux, event);
        }
        panic!("the mux has always more to tell");
    }

    /// Passes bytes until there are none.
    fn settle(&mut self) {
        for _ in 0..STEPS {
            let mut is_idle = true;
            for end in [End::Client, End::Proxy] {
                is_idle &= !self.transmit(end, 1500);
                let coming = self.ends[end as usize].coming.len();
                is_idle &= coming == 0;
                self.deliver(end, coming);
                self.drain(end);
            }
            if is_idle {
                return;
            }
            self.now_us += 1;
        }
        panic!("the two have always more to say to each other");
    }

    /// Lives on without noise until it is so; false if it is not so in time.
    fn live_until(&mut self, end_us: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..STEPS {
            self.settle();
            if is_so(self) {
                return true;
            }
            let deadlines = self.ends.iter().filter_map(|half| half.mux.deadline());
            let next = deadlines.min().map_or(u64::MAX, Instant::as_micros);
            if next > end_us {
                return false;
            }
            self.now_us = next.max(self.now_us + 1);
        }
        panic!("deadlines that do not move");
    }

    fn is_up(&self) -> bool {
        self.ends.iter().all(|half| half.mux.is_up())
    }

    fn come_up(&mut self) {
        // Each end finds out by its next PING at the latest, and the slower one's retry gets
        // through.
        let bound_ms = self.ends.iter().map(|half| {
            let config = half.mux.config();
            config.ping_ms + config.pong_ms + 2 * config.retry_max_ms
        });
        let bound_us = u64::from(bound_ms.max().unwrap_or_default()) * 1000;
        let until_us = self.now_us + bound_us;
        // An end may still believe in a link that the other has given up.
        self.live_until(until_us, |_| false);
        assert!(self.is_up(), "not up {bound_us} µs after the last harm");
    }

    /// The link comes back, and a new channel passes bytes both ways.
    fn recover(&mut self) {
        self.come_up();
        self.ends[0].mux.reset();
        self.drain(End::Client);
        self.come_up();
        for half in &mut self.ends {
            assert_eq!(half.app.beliefs, [Belief::None; 256]);
            (half.app.is_clean, half.app.accepts, half.app.perfect) = (true, true, 0);
        }
        let Half { mux, app, .. } = &mut self.ends[0];
        app.open(mux, 0);
        self.settle();
        for half in &mut self.ends {
            let Half { mux, app, .. } = half;
            let channel = pick(app, 255, Belief::Open);
            app.send(mux, channel, 5000);
        }
        self.settle();
        for half in &self.ends {
            assert_eq!(half.app.perfect, 5000);
        }
    }
}

/// A channel of which the application believes this, the next at or below an index; or that one.
fn pick(app: &App, index: u8, belief: Belief) -> Channel {
    let is_so = |index: &u8| app.beliefs[usize::from(*index)] == belief;
    let found = (0..=index).rev().chain((index..=255).rev()).find(is_so);
    Channel::new(found.unwrap_or(index))
}
