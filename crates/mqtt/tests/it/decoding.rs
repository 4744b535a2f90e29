//! Good packets, in any cut.

use proptest::prelude::*;
use sspc_mqtt::{Decoder, Packet, Version};

/// What a decoder says of these pieces, with the payload of each message joined.
fn heard<'a>(version: Version, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = Decoder::new(version);
    let mut heard = Vec::new();
    let mut payload = Vec::new();
    for piece in pieces {
        let mut input = piece;
        loop {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(Packet::Payload { bytes, last })) => {
                    assert!(!bytes.is_empty());
                    payload.extend_from_slice(bytes);
                    if last {
                        heard.push(format!("payload {:?}", std::mem::take(&mut payload)));
                    }
                }
                Ok(Some(packet)) => heard.push(format!("{packet:?}")),
                Err(error) => {
                    heard.push(format!("{error:?}"));
                    return heard;
                }
            }
        }
        assert!(input.is_empty());
    }
    heard
}

/// A stream of packets: most of them good, some of them noise.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let publish = (0..3_u8, any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(qos, id, payload)| {
            let mut body = vec![0, 2, b'a', b'b'];
            if qos > 0 {
                body.extend_from_slice(&id.max(1).to_be_bytes());
            }
            body.extend(payload);
            packet(0x30 | qos << 1, &body)
        },
    );
    let small = prop_oneof![
        Just(packet(0xd0, &[])),
        Just(packet(0x20, &[0, 0])),
        any::<u16>().prop_map(|id| packet(0x40, &id.max(1).to_be_bytes())),
        any::<u16>().prop_map(|id| packet(0x62, &id.max(1).to_be_bytes())),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(prop_oneof![publish, small], 0..12).prop_map(|all| all.concat())
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    while rest > 0x7f {
        packet.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    packet.push(rest as u8);
    packet.extend_from_slice(body);
    packet
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        bytes in packets(),
        sizes in prop::collection::vec(1..50_usize, 1..20),
        is_v5: bool,
    ) {
        let version = if is_v5 { Version::V5 } else { Version::V3 };
        let whole = heard(version, std::iter::once(&bytes[..]));
        prop_assert_eq!(&heard(version, bytes.chunks(1)), &whole);
        let mut rest = &bytes[..];
        let mut sizes = sizes.into_iter().cycle();
        let cut = std::iter::from_fn(|| {
            let size = sizes.next()?.min(rest.len());
            let (piece, behind) = rest.split_at(size);
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(&heard(version, cut), &whole);
    }

    #[test]
    fn noise_breaks_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400), is_v5: bool) {
        let version = if is_v5 { Version::V5 } else { Version::V3 };
        prop_assert_eq!(heard(version, bytes.chunks(1)), heard(version, std::iter::once(&bytes[..])));
    }
}
