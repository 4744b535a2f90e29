use std::collections::VecDeque;

use crate::Rng;

/// One end of a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// One end; by custom the client.
    A,
    /// The other; by custom the proxy.
    B,
}

impl Side {
    /// The end that is not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a link does to bytes; the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// µs from a byte's leaving to its arrival.
    pub latency_us: u64,
    /// Each chunk takes up to this many µs more, by chance; chunks never overtake each other.
    pub jitter_us: u64,
    /// Bits per second; `None` for no limit.
    pub rate: Option<u64>,
    /// Bits on the line for each byte: 8, or 10 for 8N1.
    pub bits_per_byte: u32,
    /// Bytes arrive in chunks of 1 to this many, by chance; `usize::MAX` leaves each push whole.
    pub cut_max: usize,
    /// How many bytes may be under way or waiting to be taken; a push takes no more than fit.
    pub capacity: usize,
    /// What happens to single bytes.
    pub noise: Noise,
}

impl LinkConfig {
    /// No delay, no limit, no cut, no noise.
    pub const PERFECT: Self = Self {
        latency_us: 0,
        jitter_us: 0,
        rate: None,
        bits_per_byte: 8,
        cut_max: usize::MAX,
        capacity: usize::MAX,
        noise: Noise::NONE,
    };

    /// A local socket: cut anywhere, 100 µs at most, 64 KiB under way.
    pub const SOCKET: Self =
        Self { jitter_us: 100, cut_max: 4096, capacity: 64 * 1024, ..Self::PERFECT };

    /// A serial line of this many bit/s, 8N1, read 16 bytes at a time, as a UART's queue is.
    pub const fn serial(rate: u64) -> Self {
        Self { rate: Some(rate), bits_per_byte: 10, cut_max: 16, capacity: 4096, ..Self::PERFECT }
    }
}

/// How often bytes come to harm, each in cases per million bytes unless `of` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    /// One bit of the byte is flipped.
    pub flips: u32,
    /// The byte is lost.
    pub drops: u32,
    /// The byte comes twice.
    pub doubles: u32,
    /// A burst begins: this byte and the next ones become other bytes.
    pub bursts: u32,
    /// A burst is 1 to this many bytes long.
    pub burst_max: u32,
    /// An overrun begins: this byte and the next ones are lost.
    pub overruns: u32,
    /// An overrun is 1 to this many bytes long.
    pub overrun_max: u32,
    /// Of how many bytes: what is rarer than once in a million has a larger number here.
    pub of: u32,
}

impl Noise {
    /// Every byte arrives as it was sent.
    pub const NONE: Self = Self {
        flips: 0,
        drops: 0,
        doubles: 0,
        bursts: 0,
        burst_max: 0,
        overruns: 0,
        overrun_max: 0,
        of: 1_000_000,
    };
}

/// When a link is to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At this time, in µs.
    AtTime(u64),
    /// When this many more bytes have arrived that the side sent; no byte behind them does, and
    /// what is under way the other way is lost too. With 0, at once.
    AfterBytes(Side, u64),
}

/// What happened on a link, in bytes, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken by [`Link::push`].
    pub pushed: u64,
    /// Given by [`Link::pop`].
    pub popped: u64,
    /// With a flipped bit.
    pub flipped: u64,
    /// Lost to noise, in overruns too.
    pub dropped: u64,
    /// That came twice.
    pub doubled: u64,
    /// In bursts.
    pub burst: u64,
    /// Under way when the link was lost, or sent while it was.
    pub cut: u64,
}

/// A byte pipe between two ends in virtual time, both ways, with delays, cuts, noise and losses
/// that follow from a seed.
///
/// The link knows no clock: each call says what time it is, in µs, and times never go back. Push
/// what an end has to send, pop what has arrived at an end, and come back at
/// [`Link::next_event`]. When [`Link::is_up`] turns false the ends have lost each other, as when
/// a socket closes, until [`Link::restore`].
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    up: bool,
    /// From A, from B.
    pipes: [Pipe; 2],
    cut_at_us: Option<u64>,
    counts: Counts,
}

impl Link {
    /// A link that is up, with nothing under way.
    pub fn new(seed: u64, config: LinkConfig) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            up: true,
            pipes: Default::default(),
            cut_at_us: None,
            counts: Counts::default(),
        }
    }

    /// False once the link is lost.
    pub fn is_up(&self, now_us: u64) -> bool {
        self.up && self.cut_at_us.is_none_or(|at_us| now_us < at_us)
    }

    /// What happened so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// When the next bytes can be popped at an end; in the past if they could have been already.
    pub fn next_arrival(&self, at: Side) -> Option<u64> {
        self.pipes[index(at.other())].chunks.front().map(|chunk| chunk.arrives_us)
    }

    /// When something next happens: bytes arrive at either end, or the link is lost.
    pub fn next_event(&self) -> Option<u64> {
        let arrivals = [self.next_arrival(Side::A), self.next_arrival(Side::B)];
        arrivals.into_iter().flatten().chain(self.cut_at_us).min()
    }

    /// How many bytes from `side` the link would take now.
    pub fn room(&self, side: Side) -> usize {
        self.config.capacity.saturating_sub(self.pipes[index(side)].held)
    }

    /// Sends bytes from `side`; returns how many of them the link has taken.
    ///
    /// A link that is lost takes all and delivers none.
    pub fn push(&mut self, now_us: u64, side: Side, bytes: &[u8]) -> usize {
        self.pass_time(now_us);
        if !self.up {
            self.counts.cut += bytes.len() as u64;
            return bytes.len();
        }
        let taken = bytes.len().min(self.room(side));
        self.counts.pushed += taken as u64;
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let longest = rest.len().min(self.config.cut_max.max(1));
            let length = match self.config.cut_max {
                usize::MAX => longest,
                _ => 1 + self.rng.below(longest as u64) as usize,
            };
            let (front, back) = rest.split_at(length);
            self.send(now_us, side, front);
            rest = back;
        }
        taken
    }

    /// Takes bytes that have arrived at `side`, at most one chunk; returns how many.
    pub fn pop(&mut self, now_us: u64, side: Side, out: &mut [u8]) -> usize {
        self.pass_time(now_us);
        let pipe = &mut self.pipes[index(side.other())];
        let Some(chunk) = pipe.chunks.front_mut() else { return 0 };
        if chunk.arrives_us > now_us {
            return 0;
        }
        let before_cut = pipe.cut_after.unwrap_or(u64::MAX);
        let fits = out.len().min(chunk.bytes.len());
        let length = usize::try_from(before_cut).map_or(fits, |n| n.min(fits));
        for (to, from) in out.iter_mut().zip(chunk.bytes.drain(..length)) {
            *to = from;
        }
        if chunk.bytes.is_empty() {
            pipe.chunks.pop_front();
        }
        pipe.held -= length;
        self.counts.popped += length as u64;
        if let Some(left) = &mut pipe.cut_after {
            *left -= length as u64;
            if *left == 0 {
                self.cut();
            }
        }
        length
    }

    /// Loses what `side` has given to the line and the line has not sent yet, as when that end restarts.
    pub fn stop_sending(&mut self, now_us: u64, side: Side) {
        let pipe = &mut self.pipes[index(side)];
        let sent_us = now_us + self.config.latency_us;
        while pipe.chunks.back().is_some_and(|chunk| chunk.arrives_us > sent_us) {
            let lost = pipe.chunks.pop_back().map_or(0, |chunk| chunk.bytes.len());
            pipe.held -= lost;
            self.counts.cut += lost as u64;
        }
        pipe.free_ns = pipe.free_ns.min(now_us * 1000);
        pipe.last_us = pipe.last_us.min(sent_us);
        pipe.runs = Runs::default();
    }

    /// Plans a loss; replaces an earlier plan of the same kind, for the same side.
    pub fn plan(&mut self, cut: Cut) {
        match cut {
            Cut::AtTime(at_us) => self.cut_at_us = Some(at_us),
            Cut::AfterBytes(_, 0) => self.cut(),
            Cut::AfterBytes(side, bytes) => self.pipes[index(side)].cut_after = Some(bytes),
        }
    }

    /// Loses the link now: what is under way is gone, and all plans are.
    pub fn cut(&mut self) {
        self.up = false;
        self.cut_at_us = None;
        for pipe in &mut self.pipes {
            self.counts.cut += pipe.held as u64;
            *pipe = Pipe::default();
        }
    }

    /// Brings a lost link back, empty.
    pub const fn restore(&mut self) {
        self.up = true;
    }

    fn pass_time(&mut self, now_us: u64) {
        if self.cut_at_us.is_some_and(|at_us| now_us >= at_us) {
            self.cut();
        }
    }

    /// One chunk onto the line.
    fn send(&mut self, now_us: u64, side: Side, bytes: &[u8]) {
        let jitter_us = self.rng.below(self.config.jitter_us.saturating_add(1));
        let heard = self.harm(side, bytes);
        let pipe = &mut self.pipes[index(side)];
        pipe.free_ns = pipe.free_ns.max(now_us * 1000);
        if let Some(rate) = self.config.rate {
            let bits = bytes.len() as u64 * u64::from(self.config.bits_per_byte);
            pipe.free_ns += bits * 1_000_000_000 / rate.max(1);
        }
        let arrives_us = pipe.free_ns.div_ceil(1000) + self.config.latency_us + jitter_us;
        pipe.last_us = pipe.last_us.max(arrives_us);
        if !heard.is_empty() {
            pipe.held += heard.len();
            pipe.chunks.push_back(Chunk { arrives_us: pipe.last_us, bytes: heard });
        }
    }

    /// The bytes as they arrive.
    fn harm(&mut self, side: Side, bytes: &[u8]) -> VecDeque<u8> {
        let runs = &mut self.pipes[index(side)].runs;
        self.config.noise.harm(&mut self.rng, runs, &mut self.counts, bytes)
    }
}

/// How many bytes of a burst and of an overrun are still to come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    burst: u32,
    overrun: u32,
}

impl Noise {
    /// The bytes as they arrive.
    pub(crate) fn harm(
        self,
        rng: &mut Rng,
        runs: &mut Runs,
        counts: &mut Counts,
        bytes: &[u8],
    ) -> VecDeque<u8> {
        let noise = self;
        if noise == Self::NONE {
            return bytes.iter().copied().collect();
        }
        let mut heard = VecDeque::with_capacity(bytes.len());
        for byte in bytes {
            if runs.burst == 0 && rng.chance_of(noise.bursts, noise.of) {
                runs.burst = 1 + rng.below(u64::from(noise.burst_max)) as u32;
            }
            // Without overruns no chance is taken, so that seeds keep their runs.
            if noise.overruns > 0 && runs.overrun == 0 && rng.chance_of(noise.overruns, noise.of) {
                runs.overrun = 1 + rng.below(u64::from(noise.overrun_max)) as u32;
            }
            if runs.overrun > 0 {
                runs.overrun -= 1;
                counts.dropped += 1;
            } else if runs.burst > 0 {
                runs.burst -= 1;
                counts.burst += 1;
                heard.push_back(rng.bits() as u8);
            } else if rng.chance_of(noise.drops, noise.of) {
                counts.dropped += 1;
            } else if rng.chance_of(noise.flips, noise.of) {
                counts.flipped += 1;
                heard.push_back(byte ^ (1 << rng.below(8)));
            } else if rng.chance_of(noise.doubles, noise.of) {
                counts.doubled += 1;
                heard.extend([byte, byte]);
            } else {
                heard.push_back(*byte);
            }
        }
        heard
    }
}

const fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

/// What one end sent.
#[derive(Clone, Debug, Default)]
struct Pipe {
    chunks: VecDeque<Chunk>,
    /// The bytes in `chunks`.
    held: usize,
    /// When the line has sent all that was pushed, in ns.
    free_ns: u64,
    /// When the last chunk arrives.
    last_us: u64,
    runs: Runs,
    /// After how many more bytes taken the link is lost.
    cut_after: Option<u64>,
}

#[derive(Clone, Debug)]
struct Chunk {
    arrives_us: u64,
    bytes: VecDeque<u8>,
}
