//! Measures a line over real pseudo-terminals joined by a cable of limited rate: how long until a
//! cut cable is noticed and a whole one is used again, what share of the rate is payload, and how long
//! 64 bytes take there and back beside a download; plain and in packets.
//!
//! `cargo run --release -p sspc-line --features tokio --example measure`; with `echo` behind it the last
//! alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the bench")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use sspc_line::{Line, LineEvent, Priority, Role, SerialAddress};
use sspc_sim::{Cable, Noise};

const LONG: Option<Duration> = Some(Duration::from_secs(30));
/// Longer than anything that still works takes.
const SHORT: Option<Duration> = Some(Duration::from_millis(500));
const ROUNDS: u32 = 30;
const ECHOES: usize = 400;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("echo") {
        return echoes();
    }
    println!("profile=fast, 2 Mbaud, one idle channel, {ROUNDS} rounds; ms, min / median / max");
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    cable.set_rate(2_000_000);
    supervision(&cable);
    println!("\nframing   baud      harmed bytes   bytes/s of payload   share of 8N1 payload rate");
    for framing in ["plain", "reliable"] {
        for baud in [115_200, 921_600, 2_000_000, 3_000_000] {
            goodput(&cable_of(baud), baud, framing, 0);
        }
    }
    for ppm in [10, 100] {
        goodput(&cable_of(2_000_000), 2_000_000, "reliable", ppm);
    }
    println!();
    echoes();
}

fn echoes() {
    println!("framing   64 bytes there and back beside a download at 2 Mbaud, {ECHOES} times: ms");
    for framing in ["plain", "reliable", "plain", "reliable"] {
        echo(&cable_of(2_000_000), framing);
    }
}

/// A cable, and the folder of its ports.
struct Joined {
    cable: Cable,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Joined {
    type Target = Cable;

    fn deref(&self) -> &Cable {
        &self.cable
    }
}

fn cable_of(baud: u32) -> Joined {
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    cable.set_rate(baud.into());
    Joined { cable, _folder: folder }
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

fn goodput(cable: &Cable, baud: u32, framing: &str, ppm: u32) {
    let settings = format!("&framing={framing}");
    let (client, _events) = open(cable, 0, baud, &settings);
    let (proxy, _events) = open(cable, 1, baud, &settings);
    let here = client.channel(Priority::default(), LONG).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let there = runtime.block_on(proxy.accept()).unwrap();
    let seconds = 4;
    let total = baud as usize / 10 * seconds;
    let writer = std::thread::spawn(move || {
        let chunk = [0x5a; 4096];
        while let Ok(Some(1..)) = here.write_within(&chunk, LONG) {}
    });
    let third = ppm.div_ceil(3);
    cable.set_noise(Noise { flips: third, drops: third, doubles: third, ..Noise::NONE });
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
    println!(
        "{framing:<9} {baud:<9} {ppm:>8} ppm {rate:>20.0} {:>19.1} %",
        rate * 1000.0 / f64::from(baud)
    );
    drop(there);
    writer.join().unwrap();
}

/// The way of an urgent message: into what one end has to send anyway, and back.
fn echo(cable: &Cable, framing: &str) {
    let settings = format!("&profile=fast&framing={framing}");
    let (client, _events) = open(cable, 0, 2_000_000, &settings);
    let (proxy, _events) = open(cable, 1, 2_000_000, &settings);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bulk = client.channel(Priority::default(), LONG).unwrap();
    let download = runtime.block_on(proxy.accept()).unwrap();
    let urgent = Priority::new(5);
    let here = client.channel(urgent, LONG).unwrap();
    let there = runtime.block_on(proxy.accept()).unwrap();
    // A line lives as long as its channels do.
    let measured = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&measured);
    let writer = std::thread::spawn(move || {
        while let Ok(Some(1..)) = download.write_within(&[0x5a; 4096], SHORT)
            && !over.load(Relaxed)
        {}
    });
    let downloaded = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&downloaded);
    let reader = std::thread::spawn(move || {
        let mut room = vec![0; 65_536];
        while let Ok(Some(bytes @ 1..)) = bulk.read_within(&mut room, SHORT) {
            count.fetch_add(bytes, Relaxed);
        }
    });
    let echoer = std::thread::spawn(move || {
        let mut room = [0; 64];
        while let Ok(Some(bytes @ 1..)) = there.read_within(&mut room, SHORT) {
            there.write_within(&room[..bytes], LONG).unwrap();
        }
    });
    let mut times = Vec::new();
    let mut room = [0; 64];
    let (start, before) = (Instant::now(), downloaded.load(Relaxed));
    for round in 0..ECHOES {
        // At another place in the download each time.
        std::thread::sleep(Duration::from_micros(3_000 + 37 * (round as u64 % 100)));
        let (began, mut back) = (Instant::now(), 0);
        here.write_within(&[0xa5; 64], LONG).unwrap();
        while back < 64 {
            back += here.read_within(&mut room, LONG).unwrap().unwrap();
        }
        times.push(began.elapsed());
    }
    let share = (downloaded.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64() / 2000.0;
    times.sort();
    let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    let [p50, p90, p99] = [50, 90, 99].map(ms);
    println!("{framing:<9} p50 {p50:5.2}   p90 {p90:5.2}   p99 {p99:5.2}   download {share:5.1} %");
    measured.store(true, Relaxed);
    drop((client, proxy, here));
    for thread in [writer, reader, echoer] {
        thread.join().unwrap();
    }
}
