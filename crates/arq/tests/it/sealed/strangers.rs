//! Strangers at a way where each datagram may be somebody else's: nothing is kept of them before they
//! have proved to be there, and no answer is longer than what it answers.

use sspc_arq::{Checked, Greeted, Greeter, Refusal, SoftCrc};
use std::time::Duration;

use sspc_mux::{Instant, Role};
use sspc_sim::Rng;

use super::ends::{AnyKeys, End, Ends, Protect, RADIO, Watched, known, own, sealed};

const HOME: &[u8] = b"192.0.2.1:5000";

fn greeter(seed: u8) -> Greeter<AnyKeys> {
    Greeter::new(RADIO, Some(known()), [seed; 32])
}

fn device(id: &'static str, key: u8, seed: u32) -> End<Protect> {
    End::new(Role::Client, RADIO, seed, sealed(&Watched::default(), own(id, key), seed))
}

fn after(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// The device's HELLO, the answer, and the HELLO that answers that.
fn exchange(greeter: &mut Greeter<AnyKeys>, device: &mut End<Protect>, ms: u64) -> Vec<Vec<u8>> {
    let first = device.transmit(at(ms)).unwrap();
    let Greeted::Answer(answer) = greeter.receive(after(ms), HOME, &first) else { panic!() };
    assert!(answer.len() <= first.len(), "{} for {}", answer.len(), first.len());
    device.receive(at(ms), &answer);
    assert!(!device.arq.is_open(), "there is no session with one that keeps nothing");
    let second = device.transmit(at(ms)).unwrap();
    vec![first, answer, second]
}

#[test]
fn a_stranger_is_let_in_once_it_has_proved_to_be_there() {
    let (mut greeter, mut device) = (greeter(1), device("lamp", 1, 1));
    let said = exchange(&mut greeter, &mut device, 1);
    let proven = Greeted::Proven(b"lamp".to_vec());
    assert_eq!(greeter.receive(after(1), HOME, &said[2]), proven);
    // What was lost is sent again, and answered in the same way.
    assert_eq!(greeter.receive(after(1), HOME, &said[0]), Greeted::Answer(said[1].clone()));
    assert_eq!(greeter.receive(after(9), HOME, &device.transmit(at(4000)).unwrap()), proven);

    // From there on it is a proxy that has just begun.
    let proxy = sealed(&Watched::default(), known(), 7);
    let mut ends = Ends::new(RADIO, sealed(&Watched::default(), own("lamp", 1), 9), proxy);
    ends.client = device;
    ends.proxy.receive(at(1), &said[2]);
    ends.now = at(4001);
    ends.run(1000);
    assert!(ends.are_open());
    ends.speak();
    assert_eq!((ends.client.opened, ends.proxy.opened), (1, 1));
}

#[test]
fn what_was_recorded_proves_nothing_elsewhere_or_later() {
    let (mut greeter, mut device) = (greeter(1), device("lamp", 1, 1));
    let begun = after(1);
    let said = exchange(&mut greeter, &mut device, 1);
    let proven = Greeted::Proven(b"lamp".to_vec());
    for port in 0..10_000 {
        let from = format!("192.0.2.1:{port}");
        let is_home = from.as_bytes() == HOME;
        let greeted = greeter.receive(begun, from.as_bytes(), &said[2]);
        assert_eq!(greeted == proven, is_home, "{from}: {greeted:?}");
        assert!(is_home || greeted == Greeted::Nothing);
    }
    assert_eq!(greeter.receive(after(30_000), HOME, &said[2]), proven);
    assert_eq!(greeter.receive(after(60_000), HOME, &said[2]), Greeted::Nothing);
    assert_eq!(self::greeter(2).receive(begun, HOME, &said[2]), Greeted::Nothing, "another life");
}

#[test]
fn strangers_without_a_key_get_no_answer() {
    let mut greeter = greeter(1);
    for (id, key, why) in [("lamp", 2, Refusal::WrongKey), ("pump", 1, Refusal::UnknownId)] {
        let hello = device(id, key, 3).transmit(at(1)).unwrap();
        assert_eq!(greeter.receive(after(1), HOME, &hello), Greeted::Refused(why));
    }
    let plain = End::new(Role::Client, RADIO, 1, Checked::new(SoftCrc)).transmit(at(1)).unwrap();
    let refused = Greeted::Refused(Refusal::PeerDoesNot);
    assert_eq!(greeter.receive(after(1), HOME, &plain), refused);

    let hello = device("lamp", 1, 3).transmit(at(1)).unwrap();
    let mut rng = Rng::new(1);
    for at in 0..hello.len() {
        let mut changed = hello.clone();
        changed[at] ^= 1 << rng.below(8);
        assert_eq!(greeter.receive(after(1), HOME, &changed), Greeted::Nothing, "byte {at}");
        assert_eq!(greeter.receive(after(1), HOME, &hello[..at]), Greeted::Nothing);
    }
    for _ in 0..10_000 {
        let noise: Vec<_> = (0..rng.below(2000)).map(|_| rng.below(256) as u8).collect();
        assert_eq!(greeter.receive(after(1), HOME, &noise), Greeted::Nothing);
    }
}

/// Else two proxies could be made to speak to each other for ever.
#[test]
fn what_a_proxy_says_to_strangers_is_answered_by_none() {
    let (mut greeter, mut device) = (greeter(1), device("lamp", 1, 1));
    let said = exchange(&mut greeter, &mut device, 1);
    // Its own comes back, and that of a proxy with the same keys.
    for seed in [1, 2] {
        let greeted = self::greeter(seed).receive(after(1), HOME, &said[1]);
        assert!(matches!(greeted, Greeted::Nothing | Greeted::Refused(_)), "{greeted:?}");
    }
}

#[test]
fn without_keys_each_hello_is_let_in_and_nothing_else() {
    let mut greeter = Greeter::<AnyKeys>::new(RADIO, None, [1; 32]);
    let mut device = End::new(Role::Client, RADIO, 1, Checked::new(SoftCrc));
    let hello = device.transmit(at(1)).unwrap();
    assert_eq!(greeter.receive(after(1), HOME, &hello), Greeted::Proven(vec![]));
    let mut changed = hello;
    changed[5] ^= 1;
    assert_eq!(greeter.receive(after(1), HOME, &changed), Greeted::Nothing);
    let sealed = self::device("lamp", 1, 3).transmit(at(1)).unwrap();
    let refused = Greeted::Refused(Refusal::PeerEncrypts);
    assert_eq!(greeter.receive(after(1), HOME, &sealed), refused);
}
