//! Two ends and the line between them; and one end beside a peer whose bytes a test writes itself.

use std::collections::VecDeque;

use sspc_mux::{Channel, Config, Event, Instant, LinkLoss, Mux, Refusal, Role};
use sspc_sim::{Link, Side, drive};

/// An [`Event`] that can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Up,
    Down(LinkLoss),
    Echo,
    RoundTrip,
    Clock(u64),
    Requested(u8),
    Opened(u8),
    Refused(u8, Refusal),
    Closed(u8),
    Data(u8, Vec<u8>),
}

pub(crate) fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::LinkUp { .. } => Seen::Up,
        Event::LinkDown { why } => Seen::Down(why),
        Event::Echo => Seen::Echo,
        Event::RoundTrip { .. } => Seen::RoundTrip,
        Event::PeerClock { unix_us } => Seen::Clock(unix_us),
        Event::ChannelRequested { channel } => Seen::Requested(channel.index()),
        Event::Opened { channel } => Seen::Opened(channel.index()),
        Event::Refused { channel, why } => Seen::Refused(channel.index(), why),
        Event::Closed { channel } => Seen::Closed(channel.index()),
        Event::Data { channel, piece } => Seen::Data(channel.index(), piece.to_vec()),
        other => panic!("an event that the tests do not know: {other:?}"),
    }
}

pub(crate) const fn us(us: u64) -> Instant {
    Instant::from_micros(us)
}

/// One end beside a scripted peer, with a clock that the test moves.
pub(crate) struct Bench {
    pub(crate) mux: Mux,
    pub(crate) now_us: u64,
    /// What each channel has to send.
    pub(crate) queues: Vec<VecDeque<u8>>,
}

impl Bench {
    pub(crate) fn new(role: Role, config: Config) -> Self {
        Self {
            mux: Mux::new(role, config, 7),
            now_us: 1_000_000,
            queues: vec![VecDeque::new(); 256],
        }
    }

    /// With the link up.
    pub(crate) fn up(role: Role, config: Config) -> Self {
        let mut bench = Self::new(role, config);
        bench.handshake();
        bench
    }

    /// Answers the PING that is due.
    pub(crate) fn handshake(&mut self) {
        let sent = self.sent();
        let [0xf9, 0xf6, time @ ..] = &sent[..] else { panic!("no RESET and PING: {sent:02x?}") };
        let pong = pong(time.try_into().unwrap());
        assert_eq!(self.hear(&pong), [Seen::Up]);
        assert_eq!(self.sent()[0], 0xf8);
    }

    pub(crate) fn now(&self) -> Instant {
        us(self.now_us)
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let (now, mut input, mut events) = (self.now(), bytes, Vec::new());
        while let Some(event) = self.mux.receive(now, &mut input) {
            events.push(seen(event));
        }
        assert_eq!(input, b"", "all input is used up when there is no more event");
        events
    }

    /// Does what the time has come for, without sending anything.
    pub(crate) fn due(&mut self) -> Vec<Seen> {
        let now = self.now();
        std::iter::from_fn(|| self.mux.handle_timeout(now).map(seen)).collect()
    }

    /// Lets time pass, stopping at each deadline and sending what is due; what was sent is lost.
    pub(crate) fn wait_ms(&mut self, ms: u64) -> Vec<Seen> {
        let end_us = self.now_us + ms * 1000;
        let mut events = Vec::new();
        for _ in 0..10_000 {
            while let Some(event) = self.mux.handle_timeout(self.now()) {
                events.push(seen(event));
            }
            self.sent();
            let deadline = self.mux.deadline().map_or(u64::MAX, Instant::as_micros);
            if deadline > end_us {
                self.now_us = end_us;
                return events;
            }
            assert!(deadline > self.now_us, "a deadline that does not move");
            self.now_us = deadline;
        }
        panic!("too many deadlines");
    }

    /// All that is to be sent now.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let (mut bytes, mut out, queues) = (Vec::new(), [0; 2048], &mut self.queues);
        let mut source = |channel: Channel, room: &mut [u8]| {
            let queue = &mut queues[usize::from(channel.index())];
            let n = queue.len().min(room.len());
            room.iter_mut().zip(queue.drain(..n)).for_each(|(to, from)| *to = from);
            n
        };
        for _ in 0..10_000 {
            let n = self.mux.transmit(us(self.now_us), &mut out, &mut source).unwrap();
            if n == 0 {
                return bytes;
            }
            bytes.extend_from_slice(&out[..n]);
        }
        panic!("it does not stop to send");
    }

    pub(crate) fn send(&mut self, channel: Channel, bytes: &[u8]) {
        self.queues[usize::from(channel.index())].extend(bytes);
        self.mux.wants_to_send(channel, true);
    }
}

pub(crate) fn pong(echo: [u8; 8]) -> Vec<u8> {
    [&[0xf7][..], &echo, &77u64.to_be_bytes()].concat()
}

pub(crate) fn ping(time: u64) -> Vec<u8> {
    [&[0xf6][..], &time.to_be_bytes()].concat()
}

/// The same, as an end of ours sends it while its link is down.
pub(crate) fn ping_while_down(time: u64) -> Vec<u8> {
    ping(time | 1 << 55)
}

pub(crate) fn pongack(unix_us: u64) -> Vec<u8> {
    [&[0xf8][..], &unix_us.to_be_bytes()].concat()
}

/// What one end's application does.
pub(crate) trait App {
    fn event(&mut self, mux: &mut Mux, now_us: u64, event: Event<'_>);
    fn source(&mut self, channel: Channel, room: &mut [u8]) -> usize;
    /// Called at each step; returns when to be called again.
    fn step(&mut self, mux: &mut Mux, now_us: u64) -> Option<u64>;
}

pub(crate) struct End<A> {
    pub(crate) mux: Mux,
    pub(crate) app: A,
    /// What the driver has taken from the mux and not yet given to the line.
    pub(crate) written: VecDeque<u8>,
    /// It hears nothing.
    pub(crate) is_deaf: bool,
    /// It does nothing at all.
    pub(crate) is_dead: bool,
    /// Nothing is to be done before, unless the line has news.
    wake_us: u64,
}

/// Two ends with a line between them; the client is [`Side::A`].
pub(crate) struct World<A> {
    pub(crate) link: Link,
    pub(crate) ends: [End<A>; 2],
    pub(crate) now_us: u64,
}

pub(crate) const SIDES: [Side; 2] = [Side::A, Side::B];

impl<A: App> World<A> {
    pub(crate) fn new(link: Link, configs: [Config; 2], seed: u32, apps: [A; 2]) -> Self {
        let [a, b] = apps;
        let end = |role, config, seed, app| End {
            mux: Mux::new(role, config, seed),
            app,
            written: VecDeque::new(),
            is_deaf: false,
            is_dead: false,
            wake_us: 0,
        };
        let ends = [
            end(Role::Client, configs[0], seed, a),
            end(Role::Proxy, configs[1], seed.wrapping_mul(3) ^ 0x5555, b),
        ];
        Self { link, ends, now_us: 1_000_000 }
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut End<A> {
        let end = &mut self.ends[side as usize];
        end.wake_us = 0;
        end
    }

    pub(crate) fn both_up(&self) -> bool {
        self.ends.iter().all(|end| end.mux.is_up())
    }

    /// Or puts it back. The line still takes what is sent, at its rate, and nobody hears it.
    pub(crate) fn pull_the_cable(&mut self, is_out: bool) {
        for side in SIDES {
            self.end(side).is_deaf = is_out;
        }
    }

    /// Its last frame may have no end.
    pub(crate) fn kill(&mut self, side: Side) {
        self.end(side).written.clear();
        self.end(side).is_dead = true;
    }

    /// As when a process is killed and started again.
    pub(crate) fn restart(&mut self, side: Side, app: A) {
        let now_us = self.now_us;
        let end = self.end(side);
        end.mux = Mux::new(end.mux.role(), *end.mux.config(), now_us as u32);
        end.app = app;
        end.written.clear();
        end.is_dead = false;
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now_us + ms * 1000, |_| false);
    }

    /// Runs until the time or until something is so; true for the latter.
    pub(crate) fn run_until(
        &mut self,
        end_us: u64,
        mut until: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let mut is_so = false;
        // A live-lock repeats itself at one moment, which is far more often than this.
        drive(self.now_us, 2_000_000, |now_us| {
            self.now_us = now_us.min(end_us);
            if now_us > end_us {
                return None;
            }
            let next_us = self.step();
            is_so = until(self);
            if is_so || now_us == end_us { None } else { Some(next_us.min(end_us)) }
        });
        is_so
    }

    fn step(&mut self) -> u64 {
        let now_us = self.now_us;
        let mut next_us = u64::MAX;
        for side in SIDES {
            let End { mux, app, written, is_deaf, is_dead, wake_us } =
                &mut self.ends[side as usize];
            let has_news = self.link.next_arrival(side).is_some_and(|at_us| at_us <= now_us)
                || (!written.is_empty() && self.link.room(side) > 0);
            if !has_news && *wake_us > now_us {
                next_us = next_us.min(*wake_us);
                continue;
            }
            let mut room = [0; 512];
            while let n @ 1.. = self.link.pop(now_us, side, &mut room) {
                let mut input = if *is_deaf || *is_dead { &[][..] } else { &room[..n] };
                while let Some(event) = mux.receive(us(now_us), &mut input) {
                    app.event(mux, now_us, event);
                }
                assert_eq!(input, b"", "all input is used up when there is no more event");
            }
            *wake_us = u64::MAX;
            if *is_dead {
                continue;
            }
            while let Some(event) = mux.handle_timeout(us(now_us)) {
                app.event(mux, now_us, event);
            }
            *wake_us = app.step(mux, now_us).unwrap_or(u64::MAX);
            while let Some(event) = mux.handle_timeout(us(now_us)) {
                app.event(mux, now_us, event);
            }
            loop {
                if written.is_empty() {
                    let mut out = [0; 1500];
                    let mut source = |channel, room: &mut [u8]| app.source(channel, room);
                    let n = mux.transmit(us(now_us), &mut out, &mut source).unwrap();
                    written.extend(&out[..n]);
                }
                if written.is_empty() {
                    break;
                }
                let taken = self.link.push(now_us, side, written.make_contiguous());
                written.drain(..taken);
                // A line that is cut takes all there is.
                if taken == 0 || !self.link.is_up(now_us) {
                    break;
                }
            }
            *wake_us = mux.deadline().map_or(u64::MAX, Instant::as_micros).min(*wake_us);
            next_us = next_us.min(*wake_us);
        }
        next_us.min(self.link.next_event().unwrap_or(u64::MAX))
    }
}
