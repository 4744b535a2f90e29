//! Two ends of a line find out what both know.

use sspc_arq::Choice;
use sspc_sim::Noise;

use crate::world::{DEVICE, HOST, Life, World};

fn lives([client, proxy]: [Choice; 2]) -> [Life; 2] {
    [Life::new(client, DEVICE), Life::new(proxy, HOST)]
}

const fn sealed(life: Life) -> Life {
    Life { encrypts: true, ..life }
}

#[test]
fn ends_find_what_both_know() {
    for (choices, in_packets) in [
        ([Choice::Auto, Choice::Auto], true),
        ([Choice::Auto, Choice::Plain], false),
        ([Choice::Plain, Choice::Auto], false),
        ([Choice::Reliable, Choice::Auto], true),
        ([Choice::Auto, Choice::Reliable], true),
        ([Choice::Plain, Choice::Plain], false),
    ] {
        let mut world = World::new(1, Noise::NONE, lives(choices));
        let is_up =
            world.run(1_000_000, |world| world.both_up() && world.ends[0].echoed() > 50_000);
        println!("{choices:?} {}", world.report());
        assert!(is_up, "{choices:?}");
        assert!(world.ends.iter().all(|end| end.in_packets() == in_packets));
        // Never anything but one handshake.
        assert!(world.ends.iter().all(|end| end.ups() == 1), "{choices:?}");
    }
    for choice in [Choice::Auto, Choice::Plain, Choice::Reliable] {
        let choices = [choice, Choice::Auto];
        let mut world = World::new(1, Noise::NONE, lives(choices).map(sealed));
        let is_up =
            world.run(1_000_000, |world| world.both_up() && world.ends[0].echoed() > 50_000);
        assert!(is_up, "{choices:?} with a key: {}", world.report());
        assert!(world.ends.iter().all(|end| end.in_packets() && end.ups() == 1));
    }
    let choices = [Choice::Reliable, Choice::Plain];
    let mut world = World::new(1, Noise::NONE, lives(choices));
    assert!(!world.run(5_000_000, |world| world.ends.iter().any(|end| end.mux.is_up())));
}
