//! One end of the packet layer, which receives any bytes, in any cut. Each check sum is right, so that what the
//! fuzzer makes up is a packet.

use sspc_arq::{Arq, Checked, Choice, Config, Crc32, DeviceFraming, Input, Received};
use sspc_mux::{Config as MuxConfig, Instant, Mux, Role};

#[derive(Clone, Copy)]
struct AlwaysRight;

impl Crc32 for AlwaysRight {
    fn crc32(&mut self, _: &[u8], _: &[u8]) -> u32 {
        0
    }
}

const NOW: Instant = Instant::from_millis(1000);

/// What a peer with the epoch 5 says to begin a session: a HELLO with every ability, of which the
/// echo is to be filled in.
const HELLO: [u8; 15] = [2, 0, 1, 3, 0, 100, 8, 0, 0, 0, 5, 0, 0, 0, 0];

/// The first two bytes choose how long buffers are and what the end is; the rest is what comes.
pub fn arq_receive(input: &[u8]) {
    let (input, sizes) = crate::cuts::split(input);
    let Some((&[kind, size], bytes)) = input.split_first_chunk() else { return };
    match kind & 3 {
        0 | 1 => {
            let whole = host(kind, size, [bytes]);
            assert_eq!(host(kind, size, bytes.chunks(1)), whole);
            assert_eq!(host(kind, size, sspc_sim::frames::cut(bytes, &sizes)), whole);
        }
        2 => {
            let whole = device(size, [bytes]);
            assert_eq!(device(size, bytes.chunks(1)), whole);
            assert_eq!(device(size, sspc_sim::frames::cut(bytes, &sizes)), whole);
        }
        // Datagrams are not cut: each of the sizes is that of one.
        _ => drop(host(kind, size, sspc_sim::frames::cut(bytes, &sizes))),
    }
}

fn host<'i>(kind: u8, size: u8, chunks: impl IntoIterator<Item = &'i [u8]>) -> Vec<u8> {
    let is_radio = kind & 3 == 3;
    let config = if is_radio { Config::datagrams(100) } else { Config::DEFAULT };
    let config = Config { packet_max: 100, ..config };
    let (storage, replay) = (vec![0; 70 + 11 * usize::from(size)], vec![0; 68 + usize::from(size)]);
    let protection = Checked::new(AlwaysRight);
    let mut arq = Arq::new(Role::Proxy, config, 1, protection, storage, replay);
    arq.open(NOW);
    let mut out = vec![0; arq.out_min()];
    let mut say = |room: &mut [u8]| {
        room[..7].fill(9);
        7
    };
    let mut heard = Vec::new();
    let mut take = |arq: &mut Arq<_, _, _>, mut chunk: &[u8]| {
        for _ in 0..100_000 {
            let received = match is_radio {
                true => arq.receive_datagram(NOW, std::mem::take(&mut chunk)),
                false => arq.receive(NOW, &mut chunk),
            };
            match received {
                None => return,
                Some(Received::Data(bytes)) => heard.extend_from_slice(bytes),
                Some(_) => heard.push(0xee),
            }
        }
        panic!("ever more to hear");
    };
    if kind & 4 == 0 {
        let length = arq.transmit(NOW, &mut out, &mut say);
        let hello = answer(&out[..length], is_radio);
        take(&mut arq, &hello);
        assert!(arq.is_open(), "{hello:x?}");
        // Something is on its way, so that there is what can be acknowledged.
        for _ in 0..4 {
            arq.transmit(NOW, &mut out, &mut say);
        }
    }
    for chunk in chunks {
        take(&mut arq, chunk);
    }
    for _ in 0..200 {
        assert!(arq.transmit(NOW, &mut out, &mut |_| 0) <= out.len());
    }
    heard
}

fn device<'i>(size: u8, chunks: impl IntoIterator<Item = &'i [u8]>) -> Vec<u8> {
    let (storage, replay) = (vec![0; 30 + usize::from(size)], vec![0; 65 + usize::from(size)]);
    let protection = Checked::new(AlwaysRight);
    let config = &Config::DEFAULT;
    let mut layer = DeviceFraming::new(Choice::Reliable, config, 1, protection, storage, replay);
    let mux = Mux::new(Role::Client, MuxConfig::DEFAULT, 1);
    let (mut out, mut heard) = ([0; 300], Vec::new());
    let mut say = |room: &mut [u8]| {
        room[..7].fill(9);
        7
    };
    let mut take = |layer: &mut DeviceFraming<_, _, _>, mut chunk: &[u8]| {
        for _ in 0..100_000 {
            match layer.receive(NOW, &mut chunk, &mux) {
                None => return,
                Some(Input::Bytes(bytes)) => heard.extend_from_slice(bytes),
                Some(Input::Reset) => heard.push(0xee),
            }
        }
        panic!("ever more to hear");
    };
    take(&mut layer, &[]);
    let length = layer.transmit(NOW, &mut out, &mut say);
    take(&mut layer, &answer(&out[..length], false));
    for _ in 0..4 {
        layer.transmit(NOW, &mut out, &mut say);
    }
    for chunk in chunks {
        take(&mut layer, chunk);
    }
    for _ in 0..200 {
        assert!(layer.transmit(NOW, &mut out, &mut |_| 0) <= out.len());
    }
    heard
}

/// Answers a HELLO.
fn answer(hello: &[u8], is_radio: bool) -> Vec<u8> {
    let plain = if is_radio { hello.to_vec() } else { unstuff(&hello[1..hello.len() - 1]) };
    let mut packet = HELLO.to_vec();
    packet[11..15].copy_from_slice(&plain[7..11]);
    packet.extend([0; 4]);
    if is_radio { packet } else { stuff(&packet) }
}

fn unstuff(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let Some((code, rest)) = bytes.split_first() {
        let (run, behind) = rest.split_at(usize::from(*code) - 1);
        plain.extend_from_slice(run);
        bytes = behind;
        if !bytes.is_empty() {
            plain.push(0);
        }
    }
    plain
}

fn stuff(packet: &[u8]) -> Vec<u8> {
    let runs = packet.split(|byte| *byte == 0);
    let mut stuffed = vec![0];
    for run in runs {
        stuffed.push(run.len() as u8 + 1);
        stuffed.extend_from_slice(run);
    }
    stuffed.push(0);
    stuffed
}
