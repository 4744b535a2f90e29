//! Packets of a session.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use sspc_arq::{Aead, ChaCha20Poly1305, Config};
use sspc_sim::{LinkConfig, Noise};

use super::ends::{RADIO, Watched, known, open_ends, own, sealed};
use crate::pair::{Pair, Sizes};

#[test]
fn tags_are_those_of_another_library() {
    for length in 0..300 {
        let key = [length as u8; 32];
        let nonce = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, length as u8];
        let text: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
        let mut ours = text.clone();
        let tag = ChaCha20Poly1305.seal(&key, &nonce, &mut ours);
        let theirs = LessSafeKey::new(UnboundKey::new(&aead::CHACHA20_POLY1305, &key).unwrap());
        let mut sealed = text.clone();
        let nonce = Nonce::assume_unique_for_key(nonce);
        theirs.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).unwrap();
        assert_eq!([&ours[..], &tag].concat(), sealed);
    }
}

/// Keys change every 16 packets.
#[test]
fn noise_costs_no_byte_and_no_session() {
    for (noise, storage) in [
        (Noise::NONE, 34 * 1500),
        (Noise { flips: 100, drops: 100, doubles: 100, ..Noise::NONE }, 34 * 1500),
        (Noise { bursts: 20, burst_max: 64, ..Noise::NONE }, 34 * 1500),
        (Noise { flips: 100, drops: 100, doubles: 100, ..Noise::NONE }, 128 + 20),
    ] {
        let watched = Watched::default();
        let config = Config { packet_max: 256, ..Config::DEFAULT };
        let line = LinkConfig { noise, latency_us: 2000, ..LinkConfig::serial(2_000_000) };
        let sizes = [Sizes { storage, replay: 4000 }, Sizes::HOST];
        let ends = [(own("lamp", 1), 1), (known(), 2)];
        let ends = ends.map(|(keys, seed)| sealed(&watched, keys, seed).change_keys_every(4));
        let mut pair = Pair::with(5, line, config, sizes, ends);
        assert!(pair.run(5_000_000, |pair| pair.a.end.is_open() && pair.b.end.is_open()));
        (pair.a.to_send, pair.b.to_send) = (50_000, 100_000);
        let is_done =
            pair.run(60_000_000, |pair| pair.a.heard == 100_000 && pair.b.heard == 50_000);
        assert!(is_done, "{noise:?} {}", pair.report());
        assert_eq!((pair.a.opened, pair.b.opened), (1, 1));
        assert_eq!(pair.b.end.protection().peer_id(), b"lamp");
        assert!(watched.keys() > 20, "{}", watched.keys());
    }
}

#[test]
fn payload_cannot_be_read_on_the_way() {
    let (mut ends, watched) = open_ends(Config::DEFAULT);
    for _ in 0..50 {
        ends.client.to_send.extend_from_slice(b"a secret of the device");
        ends.proxy.to_send.extend_from_slice(b"a secret of the device");
        ends.run(20);
    }
    assert!(ends.proxy.heard.len() > 1000 && ends.client.heard.len() > 1000);
    let wire = [ends.by_client.concat(), ends.by_proxy.concat()].concat();
    assert!(!wire.windows(6).any(|bytes| b"a secret of the device".windows(6).any(|w| w == bytes)));
    // One each way.
    assert_eq!(watched.keys(), 2);
}

#[test]
fn a_packet_that_was_changed_anywhere_is_refused() {
    let (mut ends, _) = open_ends(RADIO);
    ends.client.to_send = b"open the door".to_vec();
    let packet = ends.client.transmit(ends.now).unwrap();
    for at in 0..packet.len() {
        for bit in 0..8 {
            let mut changed = packet.clone();
            changed[at] ^= 1 << bit;
            ends.proxy.receive(ends.now, &changed);
            assert!(ends.proxy.heard.is_empty(), "bit {bit} of byte {at}");
        }
    }
    for length in 0..packet.len() {
        ends.proxy.receive(ends.now, &packet[..length]);
        assert!(ends.proxy.heard.is_empty(), "the first {length} bytes");
        ends.proxy.receive(ends.now, &packet[packet.len() - length..]);
        assert!(ends.proxy.heard.is_empty(), "the last {length} bytes");
    }
    ends.proxy.receive(ends.now, &[&packet[..], &[0]].concat());
    assert!(ends.proxy.heard.is_empty(), "a byte more");
    assert!(ends.proxy.arq.is_open() && ends.proxy.opened == 1);
    ends.proxy.receive(ends.now, &packet);
    assert_eq!(ends.proxy.heard, b"open the door");
}

#[test]
fn a_packet_that_comes_again_is_refused() {
    for config in [RADIO, Config::DEFAULT] {
        let (mut ends, _) = open_ends(config);
        for n in 0..200 {
            ends.client.to_send = vec![n; 3];
            ends.proxy.to_send = vec![n; 3];
            ends.run(20);
        }
        let before = (ends.client.arq.counters(), ends.proxy.arq.counters());
        let by_client = ends.by_client.clone();
        for packet in &by_client {
            ends.proxy.receive(ends.now, packet);
        }
        for packet in &ends.by_proxy {
            ends.client.receive(ends.now, packet);
        }
        let after = (ends.client.arq.counters(), ends.proxy.arq.counters());
        assert_eq!(after.0.packets_in, before.0.packets_in);
        assert_eq!(after.1.packets_in, before.1.packets_in);
        ends.speak();
        assert_eq!((ends.client.opened, ends.proxy.opened), (1, 1));
    }
}

/// On lines, which keep the order, only what is newer than all before is taken. Datagrams may be late.
#[test]
fn packets_that_overtake_each_other_are_taken_where_the_way_reorders() {
    for (config, is_taken) in [(RADIO, true), (Config { packet_max: 64, ..Config::DEFAULT }, false)]
    {
        let (mut ends, _) = open_ends(config);
        ends.client.to_send = (0..200).collect();
        let packets: Vec<_> = std::iter::from_fn(|| ends.client.transmit(ends.now)).collect();
        assert!(packets.len() > 1 || config.datagrams);
        ends.client.to_send = vec![200; 10];
        let later = ends.client.transmit(ends.now).unwrap();
        ends.proxy.receive(ends.now, &later);
        for packet in packets.iter().rev() {
            ends.proxy.receive(ends.now, packet);
        }
        let right: Vec<u8> = (0..200).chain([200; 10]).collect();
        assert_eq!(ends.proxy.heard == right, is_taken);
        // What was not is sent again.
        ends.run(5000);
        assert_eq!(ends.proxy.heard, right);
    }
}

#[test]
fn what_an_end_sends_is_nothing_to_itself() {
    for config in [RADIO, Config::DEFAULT] {
        let (mut ends, _) = open_ends(config);
        ends.speak();
        let before = (ends.client.arq.counters(), ends.proxy.arq.counters());
        let (by_client, by_proxy) = (ends.by_client.clone(), ends.by_proxy.clone());
        for packet in &by_client {
            ends.client.receive(ends.now, packet);
        }
        for packet in &by_proxy {
            ends.proxy.receive(ends.now, packet);
        }
        let after = (ends.client.arq.counters(), ends.proxy.arq.counters());
        assert_eq!(after.0.packets_in, before.0.packets_in);
        assert_eq!(after.1.packets_in, before.1.packets_in);
        ends.speak();
        assert_eq!((ends.client.opened, ends.proxy.opened), (1, 1));
    }
}

/// A packet that was sent again and overtaken by later ones is none of those that come 64 numbers later.
#[test]
fn a_late_packet_is_not_taken_for_a_later_one() {
    let (mut ends, _) = open_ends(RADIO);
    let mut said = Vec::new();
    let mut say = |end: &mut super::ends::End<super::ends::Protect>| {
        let byte = said.len() as u8;
        said.push(byte);
        end.to_send.push(byte);
    };
    // As many packets as may be on their way come through, and no acknowledgement.
    say(&mut ends.client);
    while let Some(packet) = ends.client.transmit(ends.now) {
        ends.proxy.receive(ends.now, &packet);
        say(&mut ends.client);
    }
    // What is sent again then is late.
    let mut late = Vec::new();
    while late.is_empty() {
        ends.now = sspc_mux::Instant::from_micros(ends.now.as_micros() + 10_000);
        late.extend(std::iter::from_fn(|| ends.client.transmit(ends.now)));
    }
    ends.run(50);
    for _ in 0..15 {
        say(&mut ends.client);
        ends.run(20);
        for packet in &late {
            ends.proxy.receive(ends.now, packet);
        }
    }
    for _ in 0..100 {
        say(&mut ends.client);
        ends.run(20);
    }
    assert_eq!(ends.proxy.heard, said);
}
