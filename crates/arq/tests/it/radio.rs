//! Datagrams that are lost, doubled and overtake each other.

use sspc_arq::{Arq, Checked, Config, Received, SoftCrc};
use sspc_mux::{Instant, Role};
use sspc_sim::Rng;

type End = Arq<Checked<SoftCrc>, Vec<u8>, Vec<u8>>;

/// The longest datagram that the radio carries.
const DATAGRAM: usize = 222;

/// What the radio does.
struct Radio {
    /// Bytes a second.
    rate: u64,
    one_way_us: u64,
    /// In thousandths.
    lost: u64,
    late: u64,
    doubled: u64,
    /// When it has sent all that was given to it, from either side.
    free_us: [u64; 2],
    /// When what arrives, at which side.
    under_way: Vec<(u64, usize, Vec<u8>)>,
    rng: Rng,
}

impl Radio {
    fn send(&mut self, now_us: u64, from: usize, datagram: &[u8]) {
        let free_us = &mut self.free_us[from];
        *free_us = (*free_us).max(now_us) + datagram.len() as u64 * 1_000_000 / self.rate;
        let mut arrives_us = *free_us + self.one_way_us;
        for chance in [1000 - self.lost, self.doubled] {
            if self.rng.below(1000) >= chance {
                continue;
            }
            if self.rng.below(1000) < self.late {
                arrives_us += self.rng.below(100_000);
            }
            self.under_way.push((arrives_us, 1 - from, datagram.to_vec()));
        }
    }
}

/// How many bytes a second come right.
fn run(lost: u64, seed: u64, bytes: u64, rate: u64) -> u64 {
    let config = Config::datagrams((DATAGRAM - End::OVERHEAD) as u16);
    let end = |role, seed| {
        let (storage, replay) = (vec![0; 33 * 230], vec![0; 40 * 230]);
        let mut end = Arq::new(role, config, seed, Checked::new(SoftCrc), storage, replay);
        end.open(Instant::ZERO);
        end
    };
    let mut ends: [End; 2] = [end(Role::Client, 1), end(Role::Proxy, 2)];
    let mut radio = Radio {
        rate,
        one_way_us: 100_000,
        lost,
        late: 50,
        doubled: 20,
        free_us: [0; 2],
        under_way: Vec::new(),
        rng: Rng::new(seed),
    };
    let (mut now_us, mut sent, mut heard, mut began_us) = (1, 0_u64, 0_u64, 0);
    let byte = |at: u64| ((at / 3 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let mut out = [0; 512];
    while heard < bytes {
        assert!(now_us < 1_000_000_000, "{heard} of {bytes}: {:?}", ends[0].counters());
        let now = Instant::from_micros(now_us);
        radio.under_way.sort_by_key(|(at, ..)| *at);
        while radio.under_way.first().is_some_and(|(at, ..)| *at <= now_us) {
            let (_, side, datagram) = radio.under_way.remove(0);
            let mut came = &datagram[..];
            while let Some(event) = ends[side].receive_datagram(now, std::mem::take(&mut came)) {
                match event {
                    Received::Opened => began_us = now_us,
                    Received::Data(bytes) => {
                        for got in bytes {
                            assert_eq!((side, *got), (1, byte(heard)), "byte {heard}");
                            heard += 1;
                        }
                    }
                    _ => {}
                }
            }
        }
        let mut next_us = now_us + 1_000_000;
        for (side, end) in ends.iter_mut().enumerate() {
            end.handle_timeout(now);
            if end.is_closed() {
                end.open(now);
            }
            while radio.free_us[side] <= now_us {
                let mut source = |room: &mut [u8]| {
                    let length =
                        if side == 0 { room.len().min((bytes - sent) as usize) } else { 0 };
                    for to in &mut room[..length] {
                        *to = byte(sent);
                        sent += 1;
                    }
                    length
                };
                let length = end.transmit(now, &mut out, &mut source);
                if length == 0 {
                    break;
                }
                assert!(length <= DATAGRAM);
                radio.send(now_us, side, &out[..length]);
            }
            let due = end.deadline().map_or(u64::MAX, Instant::as_micros);
            let free_us = radio.free_us[side];
            next_us = next_us.min(if free_us > now_us { free_us } else { due });
        }
        let arrival = radio.under_way.iter().map(|(at, ..)| *at).min().unwrap_or(u64::MAX);
        now_us = next_us.min(arrival).max(now_us + 1);
    }
    println!("{:?} {:?}", ends[0].counters(), ends[1].counters());
    bytes * 1_000_000 / (now_us - began_us)
}

#[test]
fn a_radio_that_loses_a_fifth_loses_nothing() {
    for seed in 0..5 {
        let (rate, bytes) = (6250, 200_000);
        let got = run(200, seed, bytes, rate);
        // Of what is not lost, with heads and acknowledgements in it.
        let left = rate * 8 / 10;
        println!("{got} of {left}");
        assert!(got >= left * 6 / 10, "{got} of {left}");
    }
}
