//! The line as a shared good: how much of it payload gets, who goes first, and how soon a lost
//! peer is noticed and back.

use sspc_mux::{Channel, Config, Event, LinkLoss, Mux, Priority};
use sspc_sim::{Link, LinkConfig, Side};

use crate::support::{App, Seen, World, seen};

/// Bytes that a small message has.
const MESSAGE: usize = 64;

/// Client: opens channels that send without end, and maybe one for messages. Proxy: accepts all,
/// and counts.
#[derive(Default)]
struct Pump {
    /// The bulk channels to open.
    bulk: Vec<Priority>,
    /// The one for messages.
    message: Option<Priority>,
    message_channel: Option<Channel>,
    /// When the message is to be sent.
    message_at: Option<u64>,
    message_left: usize,
    /// The proxy sends to the client instead.
    proxy_sends: bool,
    /// Bytes heard on each channel, and when the last of them came.
    heard: Vec<(usize, u64)>,
    /// All that is not data, with its time.
    told: Vec<(u64, Seen)>,
}

impl Pump {
    fn client(bulk: &[u8]) -> Self {
        Self { bulk: bulk.iter().copied().map(Priority::new).collect(), ..Self::proxy() }
    }

    fn proxy() -> Self {
        Self { heard: vec![(0, 0); 256], ..Self::default() }
    }

    fn total(&self) -> usize {
        self.heard.iter().map(|(bytes, _)| bytes).sum()
    }
}

impl App for Pump {
    fn event(&mut self, mux: &mut Mux, now_us: u64, event: Event<'_>) {
        if let Event::Data { channel, piece } = event {
            let (bytes, last_us) = &mut self.heard[usize::from(channel.index())];
            *bytes += piece.len();
            *last_us = now_us;
            return;
        }
        self.told.push((now_us, seen(event)));
        match event {
            Event::LinkUp { .. } => {
                for priority in &self.bulk {
                    mux.open(*priority).unwrap();
                }
                if let Some(priority) = self.message {
                    self.message_channel = Some(mux.open(priority).unwrap());
                }
            }
            Event::Opened { channel } if Some(channel) != self.message_channel => {
                mux.wants_to_send(channel, !self.proxy_sends);
            }
            Event::ChannelRequested { channel } => {
                mux.accept(channel, Priority::LOWEST).unwrap();
                mux.wants_to_send(channel, self.proxy_sends);
            }
            _ => {}
        }
    }

    fn source(&mut self, channel: Channel, room: &mut [u8]) -> usize {
        if Some(channel) != self.message_channel {
            room.fill(channel.index());
            return room.len();
        }
        let n = room.len().min(self.message_left);
        self.message_left -= n;
        n
    }

    fn step(&mut self, mux: &mut Mux, now_us: u64) -> Option<u64> {
        let at_us = self.message_at?;
        if now_us < at_us {
            return Some(at_us);
        }
        self.message_at = None;
        self.message_left = MESSAGE;
        mux.wants_to_send(self.message_channel.unwrap(), true);
        None
    }
}

fn serial(rate: u32) -> LinkConfig {
    LinkConfig { cut_max: 256, capacity: 1024, ..LinkConfig::serial(u64::from(rate)) }
}

fn world(rate: u32, client: Pump, proxy: Pump) -> World<Pump> {
    let profile = if rate < 500_000 { Config::DEFAULT } else { Config::FAST };
    let config = profile.for_line(rate);
    let mut world = World::new(Link::new(1, serial(rate)), [config; 2], 1, [client, proxy]);
    world.run_ms(100);
    world
}

#[test]
fn bulk_gets_97_percent_of_the_line_in_either_direction() {
    for rate in [115_200, 921_600, 2_000_000, 3_000_000] {
        for proxy_sends in [false, true] {
            let pump = |pump| Pump { proxy_sends, ..pump };
            let mut world = world(rate, pump(Pump::client(&[0])), pump(Pump::proxy()));
            let side = if proxy_sends { Side::A } else { Side::B };
            let before = world.end(side).app.total();
            let ms = 100_000_000 / u64::from(rate) * 20;
            world.run_ms(ms);
            let goodput = world.end(side).app.total() - before;
            // 8N1: ten bits a byte.
            let share = goodput as f64 / (f64::from(rate) / 10.0 * ms as f64 / 1000.0);
            println!("{rate} baud, proxy sends: {proxy_sends}: {:.2} %", share * 100.0);
            assert!((0.97..1.0).contains(&share), "{share} at {rate} baud");
        }
    }
}

/// From the moment when the message is there, at most two frames more go out before it: the one
/// that the line is busy with, and one that keeps lower priorities from starving.
#[test]
fn a_small_message_passes_8_bulk_streams() {
    for rate in [115_200, 921_600, 2_000_000, 3_000_000] {
        for delay_us in (0..40_000).step_by(3777) {
            let client = Pump { message: Some(Priority::new(1)), ..Pump::client(&[0; 8]) };
            let mut world = world(rate, client, Pump::proxy());
            let sent_us = world.now_us + delay_us;
            world.end(Side::A).app.message_at = Some(sent_us);
            let index = world.end(Side::A).app.message_channel.unwrap().index();
            let heard = |world: &World<Pump>| world.ends[1].app.heard[usize::from(index)];
            let came = world.run_until(sent_us + 600_000, |world| heard(world).0 == MESSAGE);
            assert!(came, "not after 600 ms");
            let came_us = heard(&world).1;
            let frame = usize::from(world.end(Side::A).mux.config().frame_max) + 4;
            // What the line's own driver holds goes first, and supervision.
            let ahead = 2 * frame + serial(rate).capacity + 35 + MESSAGE + 4;
            let most_us = ahead as u64 * 10_000_000 / u64::from(rate);
            assert!(came_us - sent_us <= most_us, "{} > {most_us} µs", came_us - sent_us);
        }
    }
}

#[test]
fn equals_get_equal_shares() {
    let mut world = world(1_000_000, Pump::client(&[3; 8]), Pump::proxy());
    world.run_ms(2000);
    let heard: Vec<_> =
        world.end(Side::B).app.heard.iter().map(|(n, _)| *n).filter(|n| *n > 0).collect();
    assert_eq!(heard.len(), 8);
    let (least, most) = (heard.iter().min().unwrap(), heard.iter().max().unwrap());
    assert!(most - least <= 2 * 1380, "{heard:?}");
}

#[test]
fn lower_priorities_do_not_starve_and_share_equally() {
    let mut world = world(1_000_000, Pump::client(&[7, 0, 0, 5, 0]), Pump::proxy());
    world.run_ms(4000);
    let heard = &world.ends[1].app.heard;
    let total = world.ends[1].app.total();
    assert!(heard[255].0 > total * 8 / 10);
    for index in [254, 253, 252, 251] {
        let share = heard[index].0 as f64 / total as f64;
        assert!((0.025..0.04).contains(&share), "{index}: {share}");
    }
}

/// Channels that stop wanting to send leave the line to the others, and 250 at once work.
#[test]
fn each_of_250_channels_gets_through() {
    let mut world = world(3_000_000, Pump::client(&[0; 250]), Pump::proxy());
    world.run_ms(3000);
    let heard = world.ends[1].app.heard.iter().filter(|(n, _)| *n >= 1380).count();
    assert_eq!(heard, 250);
}

/// When the link was lost or came up for an end, first after a time.
fn told_after(world: &World<Pump>, side: Side, after_us: u64, what: fn(&Seen) -> bool) -> u64 {
    let told = &world.ends[side as usize].app.told;
    let found = told.iter().find(|(at_us, seen)| *at_us >= after_us && what(seen));
    found.unwrap_or_else(|| panic!("{side:?} after {after_us}: {told:?}")).0
}

fn is_up(seen: &Seen) -> bool {
    matches!(seen, Seen::Up)
}

fn is_down(seen: &Seen) -> bool {
    matches!(seen, Seen::Down(_))
}

const BUSY: [&[u8]; 2] = [&[], &[0; 8]];

#[test]
fn the_fast_profile_finds_a_dead_link_within_300_ms_and_has_it_back_within_500() {
    for rate in [1_000_000, 2_000_000] {
        for (bulk, proxy_sends) in BUSY.into_iter().flat_map(|b| [(b, false), (b, true)]) {
            let pump = |pump| Pump { proxy_sends, ..pump };
            let mut world = world(rate, pump(Pump::client(bulk)), pump(Pump::proxy()));
            for delay_ms in [400, 450] {
                world.run_ms(delay_ms);
                assert!(world.both_up());
                let cut_us = world.now_us;
                world.pull_the_cable(true);
                world.run_ms(delay_ms);
                for side in [Side::A, Side::B] {
                    let down_us = told_after(&world, side, cut_us, is_down);
                    assert!(down_us - cut_us <= 300_000, "{side:?}: {} µs", down_us - cut_us);
                }
                let back_us = world.now_us;
                world.pull_the_cable(false);
                world.run_ms(600);
                for side in [Side::A, Side::B] {
                    let up_us = told_after(&world, side, back_us, is_up);
                    assert!(up_us - back_us <= 500_000, "{side:?}: {} µs", up_us - back_us);
                }
            }
        }
    }
}

#[test]
fn an_end_that_restarts_with_the_fast_profile_is_back_within_500_ms() {
    for (bulk, proxy_sends) in BUSY.into_iter().flat_map(|b| [(b, false), (b, true)]) {
        for side in [Side::A, Side::B] {
            let pump = |pump| Pump { proxy_sends, ..pump };
            let mut world = world(1_000_000, pump(Pump::client(bulk)), pump(Pump::proxy()));
            for away_us in [0, 1000, 40_000, 200_000, 1_000_000] {
                world.run_ms(500);
                assert!(world.both_up());
                world.kill(side);
                world.run_until(world.now_us + away_us, |_| false);
                let back_us = world.now_us;
                world.restart(
                    side,
                    match side {
                        Side::A => pump(Pump::client(bulk)),
                        Side::B => pump(Pump::proxy()),
                    },
                );
                let is_back = world.run_until(back_us + 500_000, |world| {
                    world.both_up() && came_up(world, side.other(), back_us)
                });
                assert!(is_back, "{side:?} away for {away_us} µs");
            }
        }
    }
}

/// The other end went down and up, so that both are of the same life of the link.
fn came_up(world: &World<Pump>, side: Side, after_us: u64) -> bool {
    let told = &world.ends[side as usize].app.told;
    told.iter().any(|(at_us, seen)| *at_us >= after_us && is_up(seen))
}

/// A line that passes bytes one way only is no link for either end.
#[test]
fn a_half_open_line_is_down_for_both() {
    for side in [Side::A, Side::B] {
        let mut world = world(1_000_000, Pump::client(&[0]), Pump::proxy());
        world.end(side).is_deaf = true;
        let deaf_us = world.now_us;
        world.run_ms(1000);
        assert!(!world.ends.iter().any(|end| end.mux.is_up()));
        let app = &world.end(side).app;
        assert!(app.told.iter().any(|told| told.1 == Seen::Down(LinkLoss::NoPong)));
        let other_us = told_after(&world, side.other(), deaf_us, is_down);
        assert!(other_us - deaf_us <= 300_000 + 10_000, "the deaf one's RESET tells the other");
        world.end(side).is_deaf = false;
        world.run_ms(500);
        assert!(world.both_up());
    }
}
