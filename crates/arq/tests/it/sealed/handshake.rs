//! HELLO between ends that have keys, other keys, or none.

use sspc_arq::{
    Checked, Choice, Config, DeviceFraming, Either, Framing, Protection, Refusal, SoftCrc,
};
use sspc_mux::{Config as MuxConfig, Instant, Mux, Role};

use super::ends::{
    AnyKeys, End, Ends, Protect, RADIO, Watched, known, open_ends, own, sealed, table,
};

/// What becomes of a client with the one keys and a proxy with the other: an id, or why not.
fn meet(client: AnyKeys, proxy: AnyKeys) -> Result<Vec<u8>, [Option<Refusal>; 2]> {
    let watched = Watched::default();
    let mut ends = Ends::new(RADIO, sealed(&watched, client, 11), sealed(&watched, proxy, 12));
    ends.client.to_send = b"not for everyone".to_vec();
    ends.run(6000);
    if ends.are_open() {
        ends.speak();
        return Ok(ends.proxy.arq.protection().peer_id().to_vec());
    }
    // Neither has a session, nor was anything sealed.
    assert_eq!((ends.client.opened, ends.proxy.opened, watched.keys()), (0, 0, 0));
    Err([ends.client.arq.refusal(), ends.proxy.arq.refusal()])
}

#[test]
fn ends_meet_if_and_only_if_they_share_the_key_of_the_id() {
    assert_eq!(meet(own("lamp", 1), known()), Ok(b"lamp".to_vec()));
    assert_eq!(meet(own("door", 2), known()), Ok(b"door".to_vec()));
    let longest = "0123456789abcdef0123456789abcdef";
    assert_eq!(meet(own(longest, 3), table(&[(longest, 3)])), Ok(longest.as_bytes().to_vec()));
    // The proxy says who is wrong.
    let wrong_key = Err([None, Some(Refusal::WrongKey)]);
    assert_eq!(meet(own("lamp", 9), known()), wrong_key);
    // The key of another device.
    assert_eq!(meet(own("lamp", 2), known()), wrong_key);
    let unknown = Err([None, Some(Refusal::UnknownId)]);
    for id in ["lam", "lamp ", "LAMP", "window"] {
        assert_eq!(meet(own(id, 1), known()), unknown, "{id}");
    }
    assert_eq!(meet(own("", 1), table(&[("", 1)])).map_err(|_| ()), Err(()));
}

/// A proxy that only says that it has the key.
#[test]
fn a_proxy_with_another_key_is_refused() {
    let watched = Watched::default();
    let mut device = End::new(Role::Client, RADIO, 1, sealed(&watched, own("lamp", 1), 1));
    let mut other = sealed(&watched, table(&[("lamp", 9)]), 2);
    let now = Instant::from_millis(1);
    device.to_send = b"a secret".to_vec();
    let hello = device.transmit(now).unwrap();
    // It answers whatever comes.
    let (mut common, mut rest) = ([0; 13], [0; Protect::GREETING_MAX]);
    common.copy_from_slice(&hello[2..15]);
    other.begin(77);
    let _ = other.check(Role::Proxy, &common, &hello[15..hello.len() - 4], false);
    let echo: [u8; 4] = common[5..9].try_into().unwrap();
    common[5..9].copy_from_slice(&77u32.to_be_bytes());
    common[9..13].copy_from_slice(&echo);
    let length = other.greet(Role::Proxy, &common, true, &mut rest);
    let mut answer = [&hello[..2], &common, &rest[..length]].concat();
    let sum = sspc_arq::Crc32::crc32(&mut SoftCrc, &[], &answer);
    answer.extend_from_slice(&sum.to_le_bytes());
    device.receive(now, &answer);
    assert_eq!((device.opened, device.arq.refusal()), (0, Some(Refusal::WrongKey)));
}

#[test]
fn an_end_with_a_key_and_one_without_say_why_they_do_not_speak() {
    let plain = || Either::This(Checked::new(SoftCrc));
    let with_key = |keys, seed| Either::That(sealed(&Watched::default(), keys, seed));
    for (client, proxy, why) in [
        (plain(), with_key(known(), 2), [Refusal::PeerEncrypts, Refusal::PeerDoesNot]),
        (with_key(own("lamp", 1), 1), plain(), [Refusal::PeerDoesNot, Refusal::PeerEncrypts]),
    ] {
        let mut ends = Ends::new(Config::DEFAULT, client, proxy);
        ends.client.to_send = b"a secret".to_vec();
        ends.run(3000);
        assert_eq!((ends.client.opened, ends.proxy.opened), (0, 0));
        assert_eq!([ends.client.arq.refusal(), ends.proxy.arq.refusal()], why.map(Some));
        // What the program chose works with its like.
        let mut ends = Ends::new(Config::DEFAULT, plain(), plain());
        ends.run(1000);
        ends.speak();
        let client = with_key(own("lamp", 1), 3);
        let mut ends = Ends::new(Config::DEFAULT, client, with_key(known(), 4));
        ends.run(1000);
        ends.speak();
        assert_eq!(ends.client.arq.refusal(), None);
    }
}

/// What a plain peer sends can be sent by others too.
#[test]
fn nobody_turns_encryption_off() {
    let watched = Watched::default();
    let now = Instant::from_millis(5);
    let mux = Mux::new(Role::Client, MuxConfig::DEFAULT, 1);
    let ping = [0xf9, 0xf6, 0, 0, 1, 2, 3, 4, 5, 6];
    for choice in [Choice::Auto, Choice::Plain, Choice::Reliable] {
        let protection = sealed(&watched, own("lamp", 1), 1);
        let (storage, replay) = (vec![0; 200], vec![0; 200]);
        let mut device =
            DeviceFraming::new(choice, &Config::DEFAULT, 1, protection, storage, replay);
        let end = End::new(Role::Client, Config::DEFAULT, 1, sealed(&watched, own("lamp", 1), 1));
        let mut host = Framing::new(choice, end.arq);
        let mut source = |room: &mut [u8]| {
            room.fill(b'!');
            room.len()
        };
        for _ in 0..50 {
            let mut out = [0; 2000];
            let length = device.transmit(now, &mut out, &mut source);
            assert!(!out[..length].windows(4).any(|bytes| bytes == b"!!!!"), "{choice:?}");
            assert_eq!(device.receive(now, &mut &ping[..], &mux), None);
            let length = host.transmit(now, &mut out, &mut source);
            assert!(!out[..length].windows(4).any(|bytes| bytes == b"!!!!"), "{choice:?}");
            assert_eq!(host.receive(now, &mut &ping[..], &mux), None);
        }
        assert!(device.in_packets() && host.in_packets());
    }
}

/// Each byte of it, with the check sum put right: nothing that it says can be changed on the way.
#[test]
fn a_hello_that_was_changed_begins_no_session() {
    let (ends, _) = open_ends(RADIO);
    // The client's first, the proxy's answer, and the client's, which begins the proxy's session.
    let hellos = [&ends.by_client[0], &ends.by_proxy[0], &ends.by_client[1]];
    let mut changed = 0;
    for (which, hello) in hellos.into_iter().enumerate() {
        for at in 0..hello.len() - 4 {
            let watched = Watched::default();
            let (client, proxy) =
                (sealed(&watched, own("lamp", 1), 11), sealed(&watched, known(), 12));
            let mut again = Ends::new(RADIO, client, proxy);
            // As before: chance is the same.
            let mut harm = |number: usize, packet: Vec<u8>| {
                let mut packet = packet;
                if number == which {
                    assert_eq!(&packet, hellos[which]);
                    packet[at] ^= 1 << (at % 8);
                    let end = packet.len() - 4;
                    let sum = sspc_arq::Crc32::crc32(&mut SoftCrc, &[], &packet[..end]);
                    packet[end..].copy_from_slice(&sum.to_le_bytes());
                    changed += 1;
                }
                packet
            };
            let now = again.now;
            let first = harm(0, again.client.transmit(now).unwrap());
            again.proxy.receive(now, &first);
            if which == 0 {
                // The client did not send this HELLO, so the proxy answers nobody.
                let said = again.proxy.transmit(now).unwrap();
                assert_eq!(said[11..15], [0; 4], "byte {at}");
                continue;
            }
            let answer = harm(1, again.proxy.transmit(now).unwrap());
            again.client.receive(now, &answer);
            if which == 1 {
                assert_eq!(again.client.opened, 0, "byte {at} of the answer");
                continue;
            }
            assert_eq!(again.client.opened, 1);
            let last = harm(2, again.client.transmit(now).unwrap());
            again.proxy.receive(now, &last);
            assert_eq!(again.proxy.opened, 0, "byte {at} of the last HELLO");
        }
    }
    assert!(changed > 150, "{changed}");
}

/// A device without chance, which says the same in each of its lives, has keys of its own in each session
/// with a proxy that has chance.
#[test]
fn keys_are_fresh_if_one_end_has_chance() {
    let watched = Watched::default();
    let mut first = Vec::new();
    for life in 0..5 {
        let (client, proxy) =
            (sealed(&watched, own("lamp", 1), 7), sealed(&watched, known(), 100 + life));
        let mut ends = Ends::new(RADIO, client, proxy);
        // That no key meets the same nonce twice is watched.
        ends.run(1000);
        ends.speak();
        first.push(ends.by_client[0].clone());
        assert_eq!(watched.keys(), 2 * (life as usize + 1));
    }
    assert!(first.iter().all(|hello| *hello == first[0]), "the device has no chance");
}

#[test]
fn each_handshake_has_a_nonce_of_its_own() {
    let watched = Watched::default();
    let mut nonces = std::collections::HashSet::new();
    let mut end = sealed(&watched, own("lamp", 1), 7);
    for _ in 0..1000 {
        // The epoch is the same.
        end.begin(5);
        let mut out = [0; Protect::GREETING_MAX];
        end.greet(Role::Client, &[0; 13], false, &mut out);
        assert!(nonces.insert(out[..16].to_vec()));
    }
}
