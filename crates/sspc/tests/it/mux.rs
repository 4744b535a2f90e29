//! The client of many streams, over a simulated serial line.

use sspc::{
    Client, Config, LinkLoss, MuxConfig, Name, NoSlot, Priority, Slot, State, StreamId,
    TRANSMIT_MIN, Timeout,
};
use sspc_sim::{Cut, Link, LinkConfig, Noise, Rng, Side};

use crate::world::{Slots, World, us};

const STEADY: Config = Config { jitter_percent: 0, ..Config::DEFAULT };

fn id(slot: u8) -> StreamId {
    StreamId::new(slot)
}

fn slots(streamtypes: &[&str]) -> Slots {
    slots_with(STEADY, streamtypes)
}

fn slots_with(config: Config, streamtypes: &[&str]) -> Slots {
    let slot = |streamtype: &&str| {
        Slot::new(Name::new(streamtype).unwrap(), config, Priority::LOWEST, vec![0; 600])
    };
    streamtypes.iter().map(slot).collect()
}

fn world(streamtypes: &[&str]) -> World {
    let line = Link::new(1, LinkConfig::serial(2_000_000));
    World::new(line, MuxConfig::FAST, slots(streamtypes))
}

#[test]
fn streams_come_to_life_and_echo() {
    let mut world = world(&["a", "b", "c"]);
    for (slot, message) in [(0, &b"one"[..]), (1, &[7; 5000]), (2, b"")] {
        world.send(slot, message);
    }
    world.run_ms(200);
    let life = |echo| {
        let told = ["CREATING", "CONNECTING", "CONNECTED", echo, "QOS_ACK_REMOTE", "DISCONNECTED"];
        told.map(String::from)
    };
    assert_eq!(world.seen(0), life("rx 3"));
    assert_eq!(world.seen(1), life("rx 5000"));
    assert_eq!(world.seen(2), life("rx 0"));
    assert_eq!(world.app(1).received, [7; 5000]);
    assert_eq!(world.link_seen, ["up"]);
    assert_eq!(world.client.stream(id(0)).unwrap().state(), Some(State::Disconnected));
}

#[test]
fn as_many_streams_at_once_as_a_link_has_channels() {
    let mut world = world(&["echo"; 253]);
    for slot in 0..253 {
        world.send(slot, &[slot; 300]);
    }
    world.run_ms(3000);
    for slot in 0..253 {
        assert_eq!(world.app(slot).received, [slot; 300], "stream {slot}");
    }
    assert_eq!(world.link_seen, ["up"]);
    for slot in 0..253 {
        world.client.close(id(slot));
    }
    world.run_ms(1000);
    assert_eq!(world.client.mux().used(), 0);
    assert!((0..253).all(|slot| world.client.stream(id(slot)).unwrap().is_closed()));
}

#[test]
fn without_a_link_streams_wait_and_say_so_now_and_then() {
    let mut world = world(&["echo"]);
    world.deaf = true;
    world.run_ms(60_000);
    // Attempts of 3 s, and waits from 250 ms to 10 s between them.
    assert_eq!(world.seen(0), ["UPSTREAM_LINK_RETRY"; 8]);
    world.deaf = false;
    let before_us = world.now_us;
    assert!(world.run_until(1000, |world| world.apps[0].seen == ["CREATING"]));
    assert!(world.now_us - before_us < 300_000, "at once when the link is up");
}

#[test]
fn a_link_that_is_up_at_once_is_not_spoken_of() {
    let mut world = world(&["echo"]);
    world.run_ms(2000);
    assert_eq!(world.seen(0), ["CREATING"]);
}

#[test]
fn a_lost_link_comes_back_with_its_streams() {
    let mut world = world(&["ticker", "idle"]);
    world.send(0, b"hello");
    world.run_ms(300);
    assert_eq!(world.seen(0), ["CREATING", "CONNECTING", "CONNECTED", "rx 5"]);
    assert_eq!(world.seen(1), ["CREATING"]);
    world.deaf = true;
    world.run_ms(1000);
    let lost = format!("down: {}", LinkLoss::NoPong);
    assert_eq!(world.link_seen, ["up", &lost]);
    assert_eq!(world.seen(0), ["DISCONNECTED", "UPSTREAM_LINK_RETRY"]);
    assert_eq!(world.seen(1), ["UPSTREAM_LINK_RETRY"]);
    world.deaf = false;
    world.run_ms(500);
    assert_eq!(world.link_seen, ["up", &lost, "up"]);
    assert_eq!(world.seen(0), ["CONNECTING", "CONNECTED"]);
    assert_eq!(world.seen(1), [""; 0]);
    world.send(0, b"again");
    world.run_ms(100);
    assert_eq!(world.seen(0), ["rx 5"]);
}

#[test]
fn a_reset_is_as_a_lost_link() {
    let mut world = world(&["ticker"]);
    world.send(0, b"hello");
    world.run_ms(300);
    world.client.reset();
    world.run_ms(1000);
    assert_eq!(world.link_seen, ["up", &format!("down: {}", LinkLoss::Asked), "up"]);
    let seen = ["DISCONNECTED", "UPSTREAM_LINK_RETRY", "CONNECTING", "CONNECTED"];
    assert_eq!(world.seen(0)[4..], seen);
}

#[test]
fn a_fault_in_one_stream_harms_no_other() {
    let mut world = world(&["faulty", "echo", "refused", "dead"]);
    world.client.connect(id(0));
    world.send(1, &[1; 20_000]);
    world.run_ms(4000);
    let fault = "fault: the proxy sent no valid frame: unknown frame type 0xff";
    assert_eq!(world.app(0).seen[3], fault);
    assert_eq!(world.app(0).seen[4..6], ["DISCONNECTED", "UPSTREAM_LINK_RETRY"]);
    assert_eq!(world.app(0).seen.iter().filter(|text| *text == fault).count(), 5, "with waits");
    assert_eq!(world.app(1).received, [1; 20_000]);
    assert_eq!(world.app(2).seen[0], "refused 1");
    assert!(world.app(2).seen.len() < 6, "with waits: {:?}", world.app(2).seen);
    let silent = "fault: the proxy did not answer in time";
    assert_eq!(world.app(3).seen, [silent, "UPSTREAM_LINK_RETRY"]);
    assert_eq!(world.link_seen, ["up"]);
}

#[test]
fn a_refused_channel_is_asked_for_again_after_waits() {
    let mut world = world(&["echo"]);
    world.proxy.refuses = true;
    world.run_ms(2000);
    assert_eq!(world.seen(0), ["UPSTREAM_LINK_RETRY"; 4]);
    world.proxy.refuses = false;
    world.run_ms(2000);
    assert_eq!(world.seen(0), ["CREATING"]);
}

#[test]
fn a_slot_is_used_again_when_its_stream_is_over() {
    let mut world = world(&["a", "b"]);
    world.run_ms(100);
    let client = &mut world.client;
    let open = |client: &mut Client<Slots>, name| {
        client.open(Name::literal(name), STEADY, Priority::HIGHEST)
    };
    assert_eq!(open(client, "c"), Err(NoSlot));
    client.set_metadata(id(1), "of-b", b"1").unwrap();
    client.close(id(1));
    assert_eq!(open(client, "c"), Err(NoSlot), "the end was not told");
    world.run_ms(100);
    assert_eq!(world.seen(1), ["CREATING", "DESTROYING"]);
    world.apps[1] = Default::default();
    assert_eq!(open(&mut world.client, "c"), Ok(id(1)));
    assert_eq!(world.client.stream(id(1)).unwrap().streamtype().as_str(), "c");
    world.client.connect(id(1));
    world.run_ms(100);
    assert_eq!(world.seen(1), ["CREATING", "CONNECTING", "CONNECTED"]);
    let heard =
        ["a STREAMTYPE", "b STREAMTYPE", "b DESTROYING", "c STREAMTYPE", "c ONWARD_CONNECT"];
    assert_eq!(world.proxy.heard, heard);
    assert_eq!(world.client.mux().used(), 2);
}

#[test]
fn a_stream_that_is_closed_while_it_waits_is_gone() {
    let mut world = world(&["a", "b"]);
    world.deaf = true;
    world.run_ms(10);
    world.client.close(id(0));
    world.run_ms(3500);
    world.client.close(id(1));
    world.deaf = false;
    world.run_ms(1000);
    assert_eq!(world.seen(0), ["DESTROYING"]);
    assert_eq!(world.seen(1), ["UPSTREAM_LINK_RETRY", "DESTROYING"]);
    assert_eq!(world.link_seen, ["up"]);
    assert!(world.proxy.heard.is_empty());
    assert_eq!(world.client.mux().used(), 0);
}

#[test]
fn what_is_urgent_passes_what_is_bulky() {
    let mut world = world(&["bulky", "urgent"]);
    world.client.set_priority(id(1), Priority::HIGHEST);
    world.send(0, &[0; 200_000]);
    world.send(1, b"");
    world.run_ms(200);
    world.seen(1);
    let before = world.proxy.heard.len();
    world.send(1, b"now");
    assert!(world.run_until(1000, |world| world.apps[1].received == b"now"));
    let heard = &world.proxy.heard[before..];
    let place = heard.iter().position(|text| text.starts_with("urgent TX 3"));
    // What is on the line already, and the rest of what the urgent one has to say before.
    assert!(place.unwrap() <= 8, "at {place:?}");
    assert!(!world.app(0).messages.is_empty(), "it is not done");
}

#[test]
fn long_metadata_passes_a_mux_with_short_frames() {
    let line = Link::new(1, LinkConfig::serial(115_200));
    let config = MuxConfig { frame_max: 1, ..MuxConfig::DEFAULT };
    let mut world = World::new(line, config, slots(&["a-streamtype-of-thirty-one-bytes"; 1][..0]));
    assert!(world.apps.is_empty());
    world.client = Client::new(config, 1, slots(&["a-streamtype-of-thirty-one-byte"]));
    world.apps = vec![Default::default()];
    let value = "v".repeat(500);
    world.client.set_metadata(id(0), "long", value.as_bytes()).unwrap();
    world.client.set_timeout(id(0), Timeout::Policy);
    world.send(0, &[1; 100]);
    world.run_ms(1000);
    assert_eq!(world.app(0).received, [1; 100]);
    let heard = &world.proxy.heard;
    assert!(heard.iter().any(|text| text.ends_with(&format!(" long={value}"))), "{heard:?}");
}

#[test]
fn the_shortest_buffer_is_enough_and_a_shorter_one_is_told() {
    let mut client = Client::new(MuxConfig::DEFAULT, 1, slots(&["a"; 40]));
    let error = client.transmit(us(0), &mut [0; TRANSMIT_MIN - 1], &mut |_, _| None).unwrap_err();
    assert_eq!(error.needed, TRANSMIT_MIN);
    let mut proxy = crate::world::Proxy::new(MuxConfig::DEFAULT, 2);
    let mut seen = 0;
    for round in 0..300 {
        let now = us(round * 1000);
        loop {
            let mut out = [0; TRANSMIT_MIN];
            let length = client.transmit(now, &mut out, &mut |_, _| None).unwrap();
            proxy.hear(now, &out[..length]);
            let said = proxy.say(now);
            for byte in &said {
                let mut input = &[*byte][..];
                while client.receive(now, &mut input).is_some() {
                    seen += 1;
                }
            }
            if length == 0 && said.is_empty() {
                break;
            }
        }
    }
    assert_eq!(seen, 41, "link up, and 40 times CREATING");
}

#[test]
fn an_id_without_a_slot_does_nothing() {
    let mut client = Client::new(MuxConfig::DEFAULT, 1, slots(&["a"]));
    let other = id(1);
    client.connect(other);
    client.request_tx(other, us(0));
    client.request_tx_len(other, us(0), 3);
    client.set_timeout(other, Timeout::Policy);
    client.add_credit(other, 1);
    client.consumed(other, 1);
    client.close(other);
    client.abandon(other, us(0));
    client.set_priority(other, Priority::HIGHEST);
    assert_eq!(client.set_metadata(other, "a", b"1"), Ok(()));
    assert!(client.stream(other).is_none());
}

#[test]
fn a_client_fits_in_a_static() {
    const ONE: Slot<[u8; 128]> = Slot::vacant([0; 128]);
    static CLIENT: std::sync::Mutex<Client<[Slot<[u8; 128]>; 4]>> =
        std::sync::Mutex::new(Client::new(MuxConfig::FAST, 7, [ONE; 4]));
    let mut client = CLIENT.lock().unwrap();
    let opened = client.open(Name::literal("a"), Config::DEFAULT, Priority::LOWEST);
    assert_eq!(opened, Ok(id(0)));
}

/// What has begun with zeros sends the same at the same times as what was made at once.
#[test]
fn an_idle_client_that_is_started_is_a_new_one() {
    const SHORT: MuxConfig = MuxConfig { frame_max: 1, ..MuxConfig::FAST };
    let slots = || [Slot::vacant([0; 16]), Slot::vacant([0; 16])];
    let mut new = Client::new(SHORT, 7, slots());
    let mut started = Client::idle(slots());
    started.start(SHORT, 7);
    for client in [&mut new, &mut started] {
        assert!(client.stream(id(1)).unwrap().has_ended());
        client.close(id(1));
        assert!(client.poll_event().is_none(), "there is no stream");
        let opened = client.open(Name::literal("a"), Config::DEFAULT, Priority::LOWEST);
        assert_eq!(opened, Ok(id(0)));
    }
    assert_eq!(started.mux().deadline(), new.mux().deadline());
    let mut now = us(1);
    for _ in 0..40 {
        let sent = [&mut new, &mut started].map(|client| {
            let mut out = [0; 128];
            let mut events = Vec::new();
            while let Some(event) = client.handle_timeout(now) {
                events.push(format!("{event:?}"));
            }
            let length = client.transmit(now, &mut out, &mut |_, _| None).unwrap();
            (events, out[..length].to_vec(), client.deadline(), *client.mux().config())
        });
        let [(.., at, _), started] = &sent;
        assert_eq!(&sent[0], started);
        now = at.unwrap().max(now);
    }
    assert!(now > us(1_000_000), "time went on: {now:?}");
}

#[test]
fn memory_is_as_promised() {
    // On the 64-bit machine that runs this; 32-bit ones take less.
    assert!(size_of::<Slot<[u8; 0]>>() <= 400, "{}", size_of::<Slot<[u8; 0]>>());
    let beside = size_of::<Client<[Slot<[u8; 0]>; 0]>>();
    assert!(beside <= 512 + 24, "{beside}");
}

/// Noise for a while, streams that open and close and send: what each saw was legal (the world
/// asserts that), nothing came that was not sent, and all is well soon after the noise.
#[test]
fn states_are_legal_and_all_recovers_whatever_the_line_does() {
    for seed in 0..200 {
        noisy_life(seed);
    }
}

fn noisy_life(seed: u64) {
    let mut rng = Rng::new(seed);
    let noise = Noise {
        flips: rng.below(300) as u32,
        drops: rng.below(300) as u32,
        doubles: rng.below(300) as u32,
        bursts: rng.below(60) as u32,
        burst_max: 40,
        ..Noise::NONE
    };
    let rate = [115_200, 2_000_000, 3_000_000][rng.below(3) as usize];
    let slow = MuxConfig { ping_ms: 1000, pong_ms: 900, ..MuxConfig::FAST };
    let profile = if rate > 1_000_000 { MuxConfig::FAST } else { slow };
    let config = Config { backoff_ms: &[20, 40, 80], handshake_ms: 500, ..STEADY };
    let mut world = World::new(
        Link::new(seed, LinkConfig { noise, cut_max: 100, ..LinkConfig::serial(rate) }),
        profile.for_line(rate as u32),
        slots_with(config, &["echo", "ticker", "bulk", "echo"]),
    );
    for _ in 0..30 {
        let slot = rng.below(4) as u8;
        match rng.below(6) {
            0 => world.client.connect(id(slot)),
            1 | 2 => {
                let message = vec![rng.bits() as u8; rng.below(600) as usize];
                world.send(slot, &message);
            }
            3 => {
                let now = world.now();
                world.client.abandon(id(slot), now);
            }
            4 => world.deaf = !world.deaf,
            _ => _ = world.client.set_metadata(id(slot), "m", &[b'm'; 400]),
        }
        let ms = rng.below(300);
        world.run_ms(ms);
    }
    world.deaf = false;
    // The line itself is well again.
    world.link = Link::new(seed, LinkConfig { cut_max: 100, ..LinkConfig::serial(rate) });
    world.written = Default::default();
    // The ends may still be of different opinions about the link.
    world.run_ms(3000);
    let up = world.run_until(5000, |world| {
        [0, 1, 3].iter().all(|slot| {
            let stream = world.client.stream(id(*slot)).unwrap();
            stream.is_created()
        })
    });
    assert!(up, "seed {seed}: {:?} {:?}", world.link_seen, world.client);
    for slot in [0, 1, 3] {
        let now = world.now();
        world.client.abandon(id(slot), now);
        world.app(slot).forget();
    }
    world.run_ms(500);
    for slot in [0, 1, 3] {
        world.app(slot).forget();
        world.send(slot, &[slot; 100]);
    }
    world.run_until(10_000, |world| {
        [0, 1, 3].iter().all(|slot| world.apps[*slot].received.len() >= 100)
    });
    for slot in [0, 1, 3] {
        assert_eq!(world.app(slot).received, [slot; 100], "seed {seed}, stream {slot}");
    }
}

#[test]
fn a_line_that_is_cut_and_mended_at_any_byte_loses_no_stream() {
    for bytes in 0..120 {
        let mut world = world(&["echo", "ticker"]);
        world.send(0, b"zero");
        world.send(1, b"one");
        world.link.plan(Cut::AfterBytes(if bytes % 2 == 0 { Side::A } else { Side::B }, bytes));
        world.run_ms(400);
        world.link.restore();
        world.run_ms(2000);
        for slot in [0, 1] {
            world.app(slot).forget();
            world.send(slot, b"after");
        }
        world.run_ms(500);
        assert_eq!(world.app(0).received, b"after", "cut after {bytes}");
        assert_eq!(world.app(1).received, b"after", "cut after {bytes}");
    }
}
