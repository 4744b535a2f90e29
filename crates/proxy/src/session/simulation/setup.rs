//! What a run is made from.

use std::sync::Arc;

use sspc::Config;
use sspc_policy::{MetadataItem, Policy, Protocol, Retry, StreamType};
use sspc_sim::{Cut, LinkConfig, Rng};

use super::cable::Fate;
use super::content;
use crate::config::Limits;

/// What the application wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Responses.
    Get,
    /// To send messages, each with its length announced or not, and responses.
    Post { hint: bool },
    /// To send messages and to have them echoed.
    Ws { hint: bool },
}

/// A run; everything else follows from it.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) task: Task,
    /// The policy lets the proxy connect again by itself.
    pub(super) proxy_retries: bool,
    /// How many responses or echoes are wanted.
    pub(super) goal: u32,
    /// The least and the most length of messages, in bytes.
    pub(super) lengths: (usize, usize),
    /// The most bytes that peers and application have in hand at a time.
    pub(super) piece_max: usize,
    pub(super) link: LinkConfig,
    /// How many µs it may take to do the next thing, for all that take their time.
    pub(super) pause_us: u64,
    pub(super) losses: Losses,
    /// Peers do more than they must by chance.
    pub(super) frills: bool,
    /// So many attempts may fail in any way.
    pub(super) bad_attempts: u32,
    /// The application starts the stream's timeout, in ms.
    pub(super) timeout_ms: Option<u32>,
    pub(super) client: Config,
    pub(super) stream_buffer: u32,
}

/// When links are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Losses {
    None,
    /// The first link, once.
    First(Cut),
    /// By chance, so many times at most; opening a link may fail too.
    Chance {
        most: u32,
    },
}

impl Setup {
    /// Peers and links without a fault, always in the same steps.
    pub(super) fn calm(task: Task, lengths: usize) -> Self {
        Self {
            seed: 1,
            task,
            proxy_retries: false,
            goal: 1,
            lengths: (lengths, lengths),
            piece_max: 1000,
            link: LinkConfig { latency_us: 1000, ..LinkConfig::PERFECT },
            pause_us: 0,
            losses: Losses::None,
            frills: false,
            bad_attempts: 0,
            timeout_ms: None,
            client: Config { honour_credit: false, ..Config::DEFAULT },
            stream_buffer: Limits::default().stream_buffer,
        }
    }

    /// Anything may happen.
    pub(super) fn wild(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut one_of = |values: &[u64]| values[rng.below(values.len() as u64) as usize];
        let task = match one_of(&[0, 1, 2, 3, 4]) {
            0 => Task::Get,
            1 => Task::Post { hint: true },
            2 => Task::Post { hint: false },
            3 => Task::Ws { hint: true },
            _ => Task::Ws { hint: false },
        };
        let longest = one_of(&[20, 20, 100, 300, 300, 1000, 1000, 1000, 3000, 10_000]) as usize;
        let window = one_of(&[100, 1000, 8000]) as u32;
        let limited = one_of(&[0, 0, 1]) == 1 && longest < 20 * window as usize;
        let link = LinkConfig {
            latency_us: one_of(&[0, 0, 1000, 30_000]),
            jitter_us: one_of(&[0, 1000, 10_000]),
            rate: [None, Some(1_000_000), Some(20_000_000)][one_of(&[0, 0, 1, 2]) as usize],
            cut_max: one_of(&[7, 100, 1000, 5000]).max(longest as u64 / 10) as usize,
            capacity: one_of(&[300, 5000, 65_536]).max(longest as u64 / 20) as usize,
            ..LinkConfig::PERFECT
        };
        let client = Config {
            window: if limited { window } else { Config::UNLIMITED },
            honour_credit: one_of(&[0, 1]) == 1,
            frame_payload: one_of(&[100, 1380, 4061]) as u16,
            frame_payload_managed: one_of(&[100, 1380, 16_000]) as u16,
            seed: seed as u32,
            ..Config::DEFAULT
        };
        Self {
            seed,
            task,
            proxy_retries: one_of(&[0, 1]) == 1,
            goal: one_of(&[1, 2, 5]) as u32,
            lengths: (content::HEAD, longest.max(content::HEAD)),
            piece_max: one_of(&[50, 1000, 16_384]).max(longest as u64 / 10) as usize,
            link,
            pause_us: one_of(&[0, 2000, 20_000]),
            losses: Losses::Chance { most: one_of(&[0, 1, 3, 6]) as u32 },
            frills: true,
            bad_attempts: one_of(&[0, 1, 3, 6]) as u32,
            timeout_ms: [None, Some(20), Some(1000)][one_of(&[0, 0, 1, 2]) as usize],
            client,
            stream_buffer: one_of(&[512, 4096, 65_536]) as u32,
        }
    }

    pub(super) fn streamtype(&self) -> &'static str {
        match (self.task, self.proxy_retries) {
            (Task::Get, false) => "get",
            (Task::Get, true) => "get-retry",
            (Task::Post { .. }, false) => "post",
            (Task::Post { .. }, true) => "post-retry",
            (Task::Ws { .. }, false) => "ws",
            (Task::Ws { .. }, true) => "ws-retry",
        }
    }

    /// A generator of chance of its own for each part of a run.
    pub(super) fn rng(&self, part: u64) -> Rng {
        Rng::new(self.seed ^ part.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The length of a message.
    pub(super) fn length(&self, rng: &mut Rng) -> usize {
        let (least, most) = self.lengths;
        least + rng.below((most - least) as u64 + 1) as usize
    }

    pub(super) fn pause(&self, rng: &mut Rng) -> u64 {
        rng.below(self.pause_us + 1)
    }

    /// How the link ends that is opened now, and how many losses are planned with it.
    pub(super) fn fate(&self, link: u32, lost: u32, rng: &mut Rng, now_us: u64) -> Fate {
        match self.losses {
            Losses::First(cut) if link == 0 => Fate { cut: Some(cut), ..Fate::default() },
            Losses::Chance { most } if lost < most && rng.chance(800_000) => {
                let span = 1 + self.lengths.1 as u64 * 2;
                let cut = match rng.below(3) {
                    0 => Cut::AtTime(now_us + 1 + rng.below(2_000_000)),
                    1 => Cut::AfterBytes(sspc_sim::Side::A, 1 + rng.below(60 + span)),
                    _ => Cut::AfterBytes(sspc_sim::Side::B, 1 + rng.below(80 + span)),
                };
                // The client may miss the proxy's answer for longer than it waits for it.
                let client_notices = [0, 0, 1000, 50_000, 5_000_000];
                let proxy_notices = [0, 0, 1000, 50_000, 2_000_000];
                Fate {
                    cut: Some(cut),
                    client_notices_us: client_notices[rng.below(5) as usize],
                    proxy_notices_us: proxy_notices[rng.below(5) as usize],
                    by_error: rng.chance(500_000),
                }
            }
            _ => Fate::default(),
        }
    }
}

/// The streamtypes of all runs.
pub(super) fn policy() -> Policy {
    let mut retry = Retry::NONE.clone();
    retry.backoff_ms = vec![20, 200, 1000];
    retry.conceal = 3;
    let retry = Arc::new(retry);
    let mut policy = Policy::default();
    for (name, protocol, method) in
        [("get", Protocol::H1, "GET"), ("post", Protocol::H1, "POST"), ("ws", Protocol::Ws, "GET")]
    {
        let mut streamtype = StreamType::new(name);
        streamtype.protocol = protocol;
        streamtype.http.method = method.to_owned();
        streamtype.opportunistic = true;
        streamtype.metadata = vec![
            MetadataItem { name: "query".to_owned(), header: None },
            MetadataItem { name: "attempt".to_owned(), header: Some("server".to_owned()) },
        ];
        policy.streamtypes.insert(name.to_owned(), Arc::new(streamtype.clone()));
        streamtype.name = format!("{name}-retry");
        streamtype.opportunistic = false;
        streamtype.retry = Some(Arc::clone(&retry));
        policy.streamtypes.insert(streamtype.name.clone(), Arc::new(streamtype));
    }
    policy
}
