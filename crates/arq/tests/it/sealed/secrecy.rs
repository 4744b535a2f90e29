//! Forward secrecy: who has it with whom, and that nobody between the ends turns it off.

use sspc_arq::{Crc32, ForwardSecrecy, Refusal, SoftCrc};

use super::ends::{Ends, Protect, RADIO, Watched, known, own, sealed};

const MODES: [ForwardSecrecy; 3] =
    [ForwardSecrecy::Auto, ForwardSecrecy::Required, ForwardSecrecy::Off];

fn ends(client: ForwardSecrecy, proxy: ForwardSecrecy) -> Ends<Protect> {
    let watched = Watched::default();
    let client = sealed(&watched, own("lamp", 1), 1).with_forward_secrecy(client);
    let proxy = sealed(&watched, known(), 2).with_forward_secrecy(proxy);
    Ends::new(RADIO, client, proxy)
}

#[test]
fn ends_have_forward_secrecy_if_both_offer_it_and_meet_unless_one_requires_it_in_vain() {
    for client in MODES {
        for proxy in MODES {
            let mut ends = ends(client, proxy);
            ends.run(1000);
            let is = |mode| client == mode || proxy == mode;
            let meet = !(is(ForwardSecrecy::Off) && is(ForwardSecrecy::Required));
            assert_eq!(ends.are_open(), meet, "{client:?} {proxy:?}");
            let wanted = meet && !is(ForwardSecrecy::Off);
            for end in [&ends.client.arq, &ends.proxy.arq] {
                assert_eq!(end.protection().has_forward_secrecy(), wanted, "{client:?} {proxy:?}");
            }
            if meet {
                ends.speak();
                continue;
            }
            let requiring =
                if client == ForwardSecrecy::Required { &ends.client } else { &ends.proxy };
            assert_eq!(requiring.arq.refusal(), Some(Refusal::NoForwardSecrecy));
        }
    }
}

/// Takes what a HELLO offers out of it, and makes its check sum right again.
fn without_share(hello: &[u8]) -> Option<Vec<u8>> {
    // Head, common part, nonce, cipher.
    let id_at = 2 + 13 + 16 + 1;
    if hello.first_chunk() != Some(&[2, 0]) {
        return None;
    }
    let share_at = id_at + 1 + usize::from(hello[id_at]);
    let rest = hello.len() - share_at;
    (rest == 33 + 16 + 4).then(|| {
        let mut hello = [&hello[..share_at], &hello[share_at + 33..hello.len() - 4]].concat();
        hello.extend(SoftCrc.crc32(&[], &hello).to_le_bytes());
        hello
    })
}

/// It may have room for packets of 84 bytes, and a HELLO with a public key is longer.
#[test]
fn a_client_that_offers_none_gets_no_public_key() {
    for (client, gets) in [(ForwardSecrecy::Off, false), (ForwardSecrecy::Auto, true)] {
        let mut ends = ends(client, ForwardSecrecy::Auto);
        let mut longest = 0;
        for _ in 0..1000 {
            while let Some(packet) = ends.client.transmit(ends.now) {
                ends.proxy.receive(ends.now, &packet);
            }
            while let Some(packet) = ends.proxy.transmit(ends.now) {
                longest = longest.max(packet.len());
                ends.client.receive(ends.now, &packet);
            }
            ends.now = sspc_mux::Instant::from_micros(ends.now.as_micros() + 1000);
        }
        assert!(ends.are_open());
        assert_eq!(longest, if gets { 86 } else { 53 }, "{client:?}");
    }
}

/// Of the client's HELLOs, of the proxy's, or of all of them.
#[test]
fn nobody_between_the_ends_turns_forward_secrecy_off() {
    for (of_client, of_proxy) in [(true, false), (false, true), (true, true)] {
        let mut ends = ends(ForwardSecrecy::Auto, ForwardSecrecy::Auto);
        let mut changed = 0;
        for _ in 0..3000 {
            while let Some(packet) = ends.client.transmit(ends.now) {
                let short = without_share(&packet).filter(|_| of_client);
                changed += u32::from(short.is_some());
                ends.proxy.receive(ends.now, &short.unwrap_or(packet));
            }
            while let Some(packet) = ends.proxy.transmit(ends.now) {
                let short = without_share(&packet).filter(|_| of_proxy);
                changed += u32::from(short.is_some());
                ends.client.receive(ends.now, &short.unwrap_or(packet));
            }
            ends.now = sspc_mux::Instant::from_micros(ends.now.as_micros() + 1000);
        }
        assert!(changed > 0);
        for end in [&ends.client, &ends.proxy] {
            assert!(!end.arq.is_open() || end.arq.protection().has_forward_secrecy());
        }
        assert!(!ends.are_open(), "{of_client} {of_proxy}");
    }
}
