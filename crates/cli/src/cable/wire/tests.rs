use std::time::Duration;

use super::*;

const TO_PROXY: Direction = Direction::ToProxy;
const TO_CLIENT: Direction = Direction::ToClient;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn wire(change: &[(&str, &str)]) -> Wire {
    let mut wire = Wire::new(1, [Impairments::default(); 2], BITS_SERIAL);
    change.iter().for_each(|(name, value)| wire.change(Change::parse(name, value).unwrap()));
    wire
}

/// Takes all that has arrived.
fn receive(wire: &mut Wire, direction: Direction, now: Duration) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = wire.arrived(direction, now).to_vec();
        if bytes.is_empty() {
            return all;
        }
        wire.take(direction, bytes.len());
        all.extend(bytes);
    }
}

/// Sends everything, in chunks of this size, and takes what arrives, in virtual time; returns that
/// and when the end arrived.
fn pass(wire: &mut Wire, bytes: &[u8], chunk: usize) -> (Vec<u8>, Duration) {
    let (mut rest, mut all, mut now) = (bytes, Vec::new(), Duration::ZERO);
    for _ in 0..10_000_000 {
        while !rest.is_empty() && wire.room(TO_PROXY, now) > 0 {
            let count = rest.len().min(chunk).min(wire.room(TO_PROXY, now));
            let (some, more) = rest.split_at(count);
            wire.send(TO_PROXY, now, some);
            rest = more;
            if rest.is_empty() {
                wire.end(TO_PROXY, now);
            }
        }
        all.extend(receive(wire, TO_PROXY, now));
        if wire.has_ended(TO_PROXY, now) {
            return (all, now);
        }
        now = wire.next_event(now).expect("nothing will ever happen");
    }
    panic!("no end");
}

fn some_bytes(count: u32) -> Vec<u8> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn without_harm_bytes_pass_at_once_and_as_they_are() {
    let mut wire = wire(&[]);
    let bytes = some_bytes(100_000);
    wire.send(TO_CLIENT, ms(5), &bytes);
    assert_eq!(wire.next_event(ms(5)), None);
    assert!(receive(&mut wire, TO_CLIENT, ms(5)) == bytes);
    assert_eq!(receive(&mut wire, TO_PROXY, ms(5)), b"");
    let [to_proxy, to_client] = wire.counts();
    assert_eq!(to_proxy, Counts::default());
    assert_eq!(to_client, Counts { sent: 100_000, passed: 100_000, ..Counts::default() });
}

#[test]
fn a_rate_is_kept_to_the_byte() {
    for (rate, seconds) in [("9600", 10), ("115200", 10), ("3000000", 1)] {
        let mut wire = wire(&[("rate", rate)]);
        let bytes = some_bytes(rate.parse::<u32>().unwrap() / 10 * seconds);
        let (all, end) = pass(&mut wire, &bytes, 4096);
        assert!(all == bytes);
        // Times of single chunks are rounded down to whole ns.
        let short = Duration::from_secs(seconds.into()).checked_sub(end).unwrap();
        assert!(short < ms(1), "{rate}: {short:?}");
    }
}

#[test]
fn a_line_asks_for_no_more_than_it_sends_soon() {
    let mut wire = wire(&[("rate", "115200")]);
    let room = wire.room(TO_PROXY, ms(0));
    assert_eq!(room, 230, "20 ms of 11,520 bytes per second");
    wire.send(TO_PROXY, ms(0), &some_bytes(230));
    assert_eq!(wire.room(TO_PROXY, ms(0)), 0);
    assert_eq!(wire.room(TO_PROXY, ms(9)), 0);
    assert_eq!(wire.room(TO_PROXY, ms(10)), 115);
    assert_eq!(wire.room(TO_CLIENT, ms(0)), 230, "the other direction is free");
    // Bytes come in parts, as they do over a port.
    assert_eq!(receive(&mut wire, TO_PROXY, ms(2)).len(), 16);
    assert_eq!(receive(&mut wire, TO_PROXY, ms(10)).len(), 96);
}

#[test]
fn an_end_that_takes_nothing_holds_the_sender_up() {
    let mut wire = wire(&[]);
    let room = wire.room(TO_PROXY, ms(0));
    wire.send(TO_PROXY, ms(0), &vec![7; room]);
    assert_eq!(wire.room(TO_PROXY, ms(1000)), 0);
    wire.take(TO_PROXY, 10);
    assert_eq!(wire.room(TO_PROXY, ms(1000)), 10);
}

#[test]
fn delay_and_jitter_shift_bytes_and_keep_their_order() {
    let mut wire = wire(&[("delay", "20ms"), ("jitter", "10ms")]);
    let bytes = some_bytes(200);
    for (at, byte) in bytes.chunks(1).enumerate() {
        wire.send(TO_PROXY, ms(at as u64), byte);
    }
    assert_eq!(wire.arrived(TO_PROXY, ms(19)), b"");
    let (mut all, mut late) = (Vec::new(), 0);
    for now in 20..230 {
        all.extend(receive(&mut wire, TO_PROXY, ms(now)));
        let behind = now as usize - 20 - all.len().min(now as usize - 20);
        assert!(behind <= 10, "{behind} ms late");
        late = late.max(behind);
    }
    assert!(all == bytes);
    assert!(late > 5, "no jitter: {late}");
}

#[test]
fn what_comes_to_harm_follows_from_the_seed_alone() {
    let impairments = [("flip", "1000"), ("drop", "1000"), ("double", "1000"), ("burst", "100:8")];
    let bytes = some_bytes(100_000);
    let run = |seed, chunk, more: &[(&str, &str)]| {
        let mut wire = Wire::new(seed, [Impairments::default(); 2], BITS_SERIAL);
        for (name, value) in impairments.iter().chain(more) {
            wire.change(Change::parse(name, value).unwrap());
        }
        let (all, _) = pass(&mut wire, &bytes, chunk);
        (all, wire.counts()[0])
    };
    let first = run(7, 100_000, &[]);
    for chunk in [1, 7, 4096] {
        assert!(run(7, chunk, &[]) == first, "chunks of {chunk} make a difference");
    }
    assert!(run(7, 1000, &[("jitter", "5ms"), ("rate", "2000000")]) == first);
    assert!(run(8, 100_000, &[]) != first);

    let (all, counts) = first;
    let Counts { flipped, dropped, doubled, burst, .. } = counts;
    for often in [flipped, dropped, doubled] {
        assert!((50..200).contains(&often), "{counts:?}");
    }
    assert!((15..=160).contains(&burst), "{counts:?}");
    assert_eq!(all.len() as u64, 100_000 - dropped + doubled);
    assert_eq!((counts.sent, counts.passed), (100_000, all.len() as u64));
}

#[test]
fn each_harm_does_what_its_name_says() {
    let bytes = some_bytes(1000);
    let mut flips = wire(&[("flip", "1000000")]);
    let (all, _) = pass(&mut flips, &bytes, 100);
    assert!(all.iter().zip(&bytes).all(|(a, b)| (a ^ b).count_ones() == 1));
    let mut drops = wire(&[("drop", "1000000")]);
    assert_eq!(pass(&mut drops, &bytes, 100).0, b"");
    let mut doubles = wire(&[("double", "c2p:1000000")]);
    let (all, _) = pass(&mut doubles, &bytes, 100);
    assert!(all.chunks(2).zip(&bytes).all(|(pair, byte)| pair == [*byte; 2]));
    let mut bursts = wire(&[("burst", "1000000:4")]);
    assert!(pass(&mut bursts, &bytes, 100).0 != bytes);
    assert_eq!(bursts.counts()[0].burst, 1000);
    // The other direction's.
    let mut other = wire(&[("drop", "p2c:1000000")]);
    assert!(pass(&mut other, &bytes, 100).0 == bytes);
}

#[test]
fn a_cut_loses_what_is_under_way_and_what_is_sent() {
    let mut wire = wire(&[("delay", "100ms")]);
    wire.send(TO_PROXY, ms(0), b"early");
    wire.send(TO_PROXY, ms(50), b"under way");
    wire.send(TO_CLIENT, ms(50), b"back");
    assert_eq!(receive(&mut wire, TO_PROXY, ms(110)), b"early");
    wire.cut();
    assert!(wire.is_cut());
    wire.send(TO_PROXY, ms(120), b"into the void");
    assert_eq!(receive(&mut wire, TO_PROXY, ms(500)), b"");
    wire.restore();
    wire.send(TO_PROXY, ms(500), b"again");
    assert_eq!(receive(&mut wire, TO_PROXY, ms(599)), b"");
    assert_eq!(receive(&mut wire, TO_PROXY, ms(600)), b"again");
    let [to_proxy, to_client] = wire.counts();
    assert_eq!(to_proxy, Counts { sent: 32, passed: 10, cut: 22, ..Counts::default() });
    assert_eq!(to_client, Counts { sent: 4, cut: 4, ..Counts::default() });
}

#[test]
fn a_cut_line_still_takes_the_time_of_what_is_sent() {
    let mut wire = wire(&[("rate", "9600")]);
    wire.cut();
    wire.send(TO_PROXY, ms(0), &[0; 19]);
    assert_eq!(wire.room(TO_PROXY, ms(5)), 0);
    assert_eq!(wire.next_event(ms(5)), wire.way(TO_PROXY).room_at());
}

#[test]
fn the_end_arrives_behind_the_last_byte() {
    let mut wire = wire(&[("delay", "20ms"), ("rate", "1000")]);
    wire.send(TO_PROXY, ms(0), &[7; 2]);
    wire.end(TO_PROXY, ms(1));
    assert_eq!(wire.next_event(ms(1)), Some(ms(10)), "there is room again");
    assert_eq!(wire.next_event(ms(10)), Some(ms(40)));
    assert!(!wire.has_ended(TO_PROXY, ms(39)));
    assert!(!wire.has_ended(TO_PROXY, ms(40)), "there are bytes");
    assert_eq!(receive(&mut wire, TO_PROXY, ms(40)), [7; 2]);
    assert!(wire.has_ended(TO_PROXY, ms(40)));
    assert!(!wire.has_ended(TO_CLIENT, ms(40)));
}

#[test]
fn what_nobody_listens_to_is_counted() {
    let mut wire = wire(&[]);
    wire.send(TO_PROXY, ms(0), b"hello");
    wire.miss(TO_PROXY, 5);
    assert_eq!(wire.arrived(TO_PROXY, ms(0)), b"");
    assert_eq!(wire.counts()[0], Counts { sent: 5, unheard: 5, ..Counts::default() });
}
