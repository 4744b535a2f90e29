//! Either end starts over after any byte, as when it is killed and started again.

use sspc_mux::{Channel, Config, Event, Mux, Priority};
use sspc_sim::{Cut, Link, LinkConfig, Side};

use crate::support::{App, SIDES, World};

/// Keeps one channel open, sends on it without end, and counts what it hears.
#[derive(Default)]
struct Busy {
    ups: u32,
    /// The other end started over, and what it sends is not yet to be told from what it sent.
    is_old: bool,
    sent: usize,
    heard: usize,
}

/// The byte at a place of each stream.
const fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

impl Busy {
    fn begin(&mut self, mux: &mut Mux, channel: Channel) {
        (self.sent, self.heard) = (0, 0);
        mux.wants_to_send(channel, true);
    }
}

impl App for Busy {
    fn event(&mut self, mux: &mut Mux, _now_us: u64, event: Event<'_>) {
        match event {
            Event::LinkUp { .. } => {
                self.ups += 1;
                self.heard = 0;
                self.is_old = false;
                // A proxy opens none.
                let _ = mux.open(Priority::LOWEST);
            }
            Event::ChannelRequested { channel } => {
                mux.accept(channel, Priority::LOWEST).unwrap();
                self.begin(mux, channel);
            }
            Event::Opened { channel } => self.begin(mux, channel),
            Event::Data { piece, .. } => {
                for byte in piece {
                    let is_right = self.is_old || *byte == byte_at(self.heard);
                    assert!(is_right, "byte {}", self.heard);
                    self.heard += 1;
                }
            }
            _ => {}
        }
    }

    fn source(&mut self, _channel: Channel, room: &mut [u8]) -> usize {
        for byte in &mut *room {
            *byte = byte_at(self.sent);
            self.sent += 1;
        }
        room.len()
    }

    fn step(&mut self, _mux: &mut Mux, _now_us: u64) -> Option<u64> {
        None
    }
}

/// Short frames, so that few bytes are all kinds of places in a session.
const CONFIG: Config = Config { frame_max: 24, ..Config::FAST };
/// Both handshakes, the channel, and three frames with their heads: after them it repeats itself.
const BYTES: u64 = 140;

/// One end is gone after so many bytes of an end have arrived, and is there again after a time.
fn restart(who: Side, after_bytes_of: Side, bytes: u64, away_us: u64) {
    let what = format!("{who:?} after {bytes} bytes of {after_bytes_of:?}, away for {away_us} µs");
    let line = LinkConfig { capacity: 256, ..LinkConfig::serial(1_000_000) };
    let apps = [Busy::default(), Busy::default()];
    let mut world = World::new(Link::new(bytes, line), [CONFIG; 2], bytes as u32 + 1, apps);
    world.link.plan(Cut::AfterBytes(after_bytes_of, bytes));
    let end_us = world.now_us + 2_000_000;
    let is_cut = world.run_until(end_us, |world| !world.link.is_up(world.now_us));
    assert!(is_cut, "{what}: so many were never sent");

    world.kill(who);
    world.end(who.other()).app.is_old = true;
    world.run_until(world.now_us + away_us, |_| false);
    world.link.restore();
    world.restart(who, Busy::default());
    let (ups, back_us) = (world.end(who.other()).app.ups, world.now_us);
    let is_back = world.run_until(back_us + 500_000, |world| {
        // Up with an end that still believes in the old life is not back.
        world.both_up() && world.ends[who.other() as usize].app.ups > ups
    });
    assert!(is_back, "{what}: not back after 500 ms");
    let is_of_use = world.run_until(world.now_us + 100_000, |world| {
        world.ends.iter().all(|end| end.app.heard > 100)
    });
    assert!(is_of_use, "{what}: nothing comes through");
}

#[test]
fn either_end_may_restart_after_any_byte_that_it_sends_or_hears() {
    for who in SIDES {
        for after_bytes_of in SIDES {
            for bytes in 0..BYTES {
                // In the middle of a frame, and after a pause that shows that it has no end.
                for away_us in [0, 70_000] {
                    restart(who, after_bytes_of, bytes, away_us);
                }
            }
        }
    }
}
