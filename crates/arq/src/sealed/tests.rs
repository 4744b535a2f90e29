//! What the shared key alone opens, and what it does not.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

use core::time::Duration;
use std::vec;
use std::vec::Vec;

use sspc_mux::Instant;

use super::exchange::tests::MULTIPLIED;
use super::*;
use crate::{Arq, Config, Greeted, Greeter, SoftCrc};

type End = Sealed<SoftCrc, ChaCha20Poly1305, OwnKey<&'static str>>;

const EPOCHS: [u32; 2] = [11, 22];
const COMMON: [u8; 13] = [1; 13];

fn end(seed: u8, mode: ForwardSecrecy) -> End {
    let keys = OwnKey::new("lamp", Key::new([1; 32]));
    Sealed::new(SoftCrc, ChaCha20Poly1305, keys, [seed; 32]).with_forward_secrecy(mode)
}

fn greet(from: &mut End, role: Role, is_answer: bool) -> Vec<u8> {
    let mut out = [0; End::GREETING_MAX];
    let length = from.greet(role, &COMMON, is_answer, &mut out);
    out[..length].to_vec()
}

/// Both ends of a session.
fn session(mode: ForwardSecrecy) -> [End; 2] {
    let (mut client, mut proxy) = (end(1, mode), end(2, mode));
    let [c, p] = EPOCHS;
    client.begin(c);
    proxy.begin(p);
    let hello = greet(&mut client, Role::Client, false);
    proxy.check(Role::Proxy, &COMMON, &hello, false).unwrap();
    let hello = greet(&mut proxy, Role::Proxy, true);
    client.check(Role::Client, &COMMON, &hello, true).unwrap();
    let hello = greet(&mut client, Role::Client, true);
    proxy.check(Role::Proxy, &COMMON, &hello, true).unwrap();
    client.start(Role::Client, c, p, true);
    proxy.start(Role::Proxy, c, p, true);
    [client, proxy]
}

/// Somebody recorded all that passed, and has the shared key now.
#[test]
fn the_shared_key_does_not_open_what_was_recorded() {
    for mode in [ForwardSecrecy::Off, ForwardSecrecy::Auto, ForwardSecrecy::Required] {
        let [mut client, mut proxy] = session(mode);
        let mut packet = [7; 40];
        client.seal(&mut packet);

        let mut thief = end(3, ForwardSecrecy::Off);
        thief.handshake = Handshake {
            nonce: proxy.handshake.nonce,
            peer_nonce: client.handshake.nonce,
            id: Id::new(b"lamp").unwrap(),
        };
        thief.start(Role::Proxy, EPOCHS[0], EPOCHS[1], true);
        let is_open = thief.open(&mut packet.clone()).is_some();
        assert_eq!(is_open, mode == ForwardSecrecy::Off, "{mode:?}");
        assert_eq!(proxy.open(&mut packet), Some(Order::Newest));
        let is_used = mode != ForwardSecrecy::Off;
        assert_eq!((client.has_forward_secrecy(), proxy.has_forward_secrecy()), (is_used, is_used));
    }
}

/// Two sessions that differ in nothing but the secrets of which nobody but the ends knows.
#[test]
fn other_secrets_are_other_keys() {
    let packet = |seed: Option<u8>| {
        let [mut client, _] = {
            let (mut client, mut proxy) =
                (end(1, ForwardSecrecy::Auto), end(2, ForwardSecrecy::Auto));
            client.begin(EPOCHS[0]);
            proxy.begin(EPOCHS[1]);
            if let Some(seed) = seed {
                proxy.exchange.begin(&mut Key::new([seed; 32]), b"");
            }
            let hello = greet(&mut client, Role::Client, false);
            proxy.check(Role::Proxy, &COMMON, &hello, false).unwrap();
            let hello = greet(&mut proxy, Role::Proxy, true);
            client.check(Role::Client, &COMMON, &hello, true).unwrap();
            client.start(Role::Client, EPOCHS[0], EPOCHS[1], true);
            [client, proxy]
        };
        let mut packet = [7; 40];
        client.seal(&mut packet);
        packet
    };
    assert_eq!(packet(None), packet(None));
    assert_ne!(packet(None), packet(Some(4)));
}

/// What one recorded of a device may come again from any address, as often as a network carries it.
#[test]
fn strangers_have_a_proxy_compute_no_x25519() {
    let config = Config { datagrams: true, ..Config::DEFAULT };
    let storage = || vec![0; 2000];
    let device = end(1, ForwardSecrecy::Auto);
    let mut device = Arq::new(Role::Client, config, 1, device, storage(), storage());
    device.open(Instant::ZERO);
    let mut hello = |answer: &[u8]| {
        device.receive_datagram(Instant::ZERO, answer);
        let mut out = storage();
        let length = device.transmit(Instant::ZERO, &mut out, &mut |_| 0);
        out.truncate(length);
        out
    };
    let keys = OwnKey::new("lamp", Key::new([1; 32]));
    let mut greeter = Greeter::new(config, Some(keys), [3; 32]);
    let mut greet = |hello: &[u8]| {
        let before = MULTIPLIED.get();
        let greeted = greeter.receive(Duration::ZERO, b"192.0.2.1:5000", hello);
        assert_eq!(MULTIPLIED.get(), before, "{greeted:?}");
        greeted
    };
    let Greeted::Answer(answer) = greet(&hello(&[])) else { panic!() };
    assert_eq!(greet(&hello(&answer)), Greeted::Proven(b"lamp".to_vec()));
    assert_eq!(MULTIPLIED.get(), 1, "the device's own, of which HELLO says what follows");
}

#[test]
fn a_proxy_that_has_heard_nobody_computes_no_x25519() {
    let mut proxy = end(1, ForwardSecrecy::Auto);
    proxy.begin(1);
    greet(&mut proxy, Role::Proxy, false);
    assert_eq!(MULTIPLIED.get(), 0);
}
