//! Measures a line over real pseudo-terminals joined by a cable of limited rate: how long until a
//! cut cable is noticed and a whole one is used again, and what share of the rate is payload.
//!
//! `cargo run --release -p sspc-line --features tokio --example measure`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the bench")]

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use sspc_line::{Line, LineEvent, Priority, Role, SerialAddress};
use sspc_sim::Cable;

const LONG: Option<Duration> = Some(Duration::from_secs(30));
const ROUNDS: u32 = 30;

fn main() {
    println!("profile=fast, 2 Mbaud, one idle channel, {ROUNDS} rounds; ms, min / median / max");
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    cable.set_rate(2_000_000);
    supervision(&cable);
    println!("\nbaud      bytes/s of payload   share of 8N1 payload rate");
    for baud in [115_200, 921_600, 2_000_000, 3_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let cable = Cable::new(folder.path()).unwrap();
        cable.set_rate(baud.into());
        goodput(&cable, baud);
    }
}

fn open(cable: &Cable, side: usize, baud: u32, profile: &str) -> (Line, Receiver<LineEvent>) {
    let role = if side == 0 { Role::Client } else { Role::Proxy };
    let text = format!("serial:{}?baud={baud}{profile}", cable.port(side).display());
    let address: SerialAddress = text.parse().unwrap();
    let (tell, events) = channel();
    let line = Line::open(&address, role, move |event| drop(tell.send(event))).unwrap();
    (line, events)
}

fn until(events: &Receiver<LineEvent>, since: Instant, up: bool) -> Duration {
    loop {
        match events.recv_timeout(Duration::from_secs(30)).unwrap() {
            LineEvent::Up { .. } if up => return since.elapsed(),
            LineEvent::Down { .. } if !up => return since.elapsed(),
            _ => {}
        }
    }
}

fn supervision(cable: &Cable) {
    let fast = "&profile=fast";
    let (client, events) = open(cable, 0, 2_000_000, fast);
    // A line that nobody uses is supervised less often.
    std::thread::spawn(move || {
        loop {
            if let Ok(channel) = client.channel(Priority::default(), LONG) {
                while let Ok(None) = channel.read_within(&mut [0], LONG) {}
            }
            // A peer that is about to go refuses it.
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (proxy, mut proxys) = open(cable, 1, 2_000_000, fast);
    let mut proxy = Some(proxy);
    until(&events, Instant::now(), true);
    until(&proxys, Instant::now(), true);
    let (mut cut, mut back, mut killed, mut restarted) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        std::thread::sleep(Duration::from_millis(200 + u64::from(round) * 7));
        let began = Instant::now();
        cable.cut();
        cut.push(until(&events, began, false).max(until(&proxys, began, false)));
        std::thread::sleep(Duration::from_millis(300 + u64::from(round) * 11));
        let began = Instant::now();
        cable.restore();
        back.push(until(&events, began, true).max(until(&proxys, began, true)));
        std::thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        drop(proxy.take());
        killed.push(until(&events, began, false));
        std::thread::sleep(Duration::from_millis(100 + u64::from(round) * 13));
        let began = Instant::now();
        let (line, its_events) = open(cable, 1, 2_000_000, fast);
        (proxy, proxys) = (Some(line), its_events);
        restarted.push(until(&events, began, true).max(until(&proxys, began, true)));
    }
    for (what, times) in [
        ("cable cut, both ends know", &mut cut),
        ("cable whole, both ends up", &mut back),
        ("peer gone, other end knows", &mut killed),
        ("peer back, both ends up", &mut restarted),
    ] {
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (min, max) = (ms(times[0]), ms(times[times.len() - 1]));
        println!("{what:<28} {min:6.1} / {:6.1} / {max:6.1}", ms(times[times.len() / 2]));
    }
}

fn goodput(cable: &Cable, baud: u32) {
    let (client, _events) = open(cable, 0, baud, "");
    let (proxy, _events) = open(cable, 1, baud, "");
    let here = client.channel(Priority::default(), LONG).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let there = runtime.block_on(proxy.accept()).unwrap();
    let seconds = 4;
    let total = baud as usize / 10 * seconds;
    let writer = std::thread::spawn(move || {
        let chunk = [0x5a; 4096];
        while let Ok(Some(1..)) = here.write_within(&chunk, LONG) {}
    });
    // What waits at the beginning is not measured.
    let mut room = vec![0; 65_536];
    let mut passed = 0;
    while passed < total / 10 {
        passed += there.read_within(&mut room, LONG).unwrap().unwrap();
    }
    let (began, mut measured) = (Instant::now(), 0);
    while measured < total {
        measured += there.read_within(&mut room, LONG).unwrap().unwrap();
    }
    let rate = measured as f64 / began.elapsed().as_secs_f64();
    println!("{baud:<9} {rate:>12.0} {:>18.1} %", rate * 1000.0 / f64::from(baud));
    drop(there);
    writer.join().unwrap();
}
