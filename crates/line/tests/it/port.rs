//! Lines over serial ports, which are pseudo-terminals here.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sspc_line::{Channel, Line, LineEvent, Priority, Role, SerialAddress, client_line};
use sspc_sim::Cable;
use tempfile::TempDir;

/// Longer than anything takes; only a failure waits so long.
const LONG: Duration = Duration::from_secs(20);

struct Bench {
    cable: Cable,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { cable: Cable::new(folder.path()).unwrap(), _folder: folder }
    }

    fn address(&self, side: usize) -> SerialAddress {
        let path = self.cable.port(side);
        format!("serial:{}?baud=2000000&profile=fast", path.display()).parse().unwrap()
    }

    fn open(&self, side: usize, role: Role) -> (Line, Receiver<LineEvent>) {
        let (tell, events) = channel();
        let line = Line::open(self.address(side), role, move |event| {
            let _ = tell.send(event);
        });
        (line.unwrap(), events)
    }
}

/// Waits for an event.
fn until(events: &Receiver<LineEvent>, wanted: impl Fn(&LineEvent) -> bool) -> LineEvent {
    loop {
        let event = events.recv_timeout(LONG).unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

fn accept(line: &Line) -> Channel {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(line.accept()).unwrap()
}

fn read(channel: &Channel, wanted: usize) -> Vec<u8> {
    let (mut heard, mut room) = (Vec::new(), [0; 4096]);
    while heard.len() < wanted {
        match channel.read_within(&mut room, Some(LONG)).unwrap() {
            Some(length @ 1..) => heard.extend_from_slice(&room[..length]),
            other => panic!("{other:?} after {} bytes", heard.len()),
        }
    }
    heard
}

fn write(channel: &Channel, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let length = channel.write_within(bytes, Some(LONG)).unwrap().expect("room in time");
        bytes = &bytes[length..];
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 256) as u8).collect()
}

#[test]
fn bytes_of_all_values_pass_both_ways() {
    let bench = Bench::new();
    let (client, _events) = bench.open(0, Role::Client);
    let (proxy, _events) = bench.open(1, Role::Proxy);
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let there = accept(&proxy);
    let sent = pattern(100_000);
    std::thread::scope(|scope| {
        scope.spawn(|| write(&here, &sent));
        scope.spawn(|| write(&there, &sent));
        assert!(read(&there, sent.len()) == sent);
        assert!(read(&here, sent.len()) == sent);
    });
}

#[test]
fn a_dropped_channel_says_its_last_bytes_and_its_end() {
    let bench = Bench::new();
    let (client, _events) = bench.open(0, Role::Client);
    let (proxy, _events) = bench.open(1, Role::Proxy);
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let there = accept(&proxy);
    write(&here, b"goodbye");
    drop(here);
    drop(client);
    assert_eq!(read(&there, 7), b"goodbye");
    assert_eq!(there.read_within(&mut [0; 8], Some(LONG)).unwrap(), Some(0));
    let error = there.write_within(b"x", Some(LONG)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
}

#[test]
fn a_port_is_for_one_alone() {
    let bench = Bench::new();
    let (_line, _events) = bench.open(0, Role::Client);
    let error = Line::open(bench.address(0), Role::Client, |_| {}).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
    assert!(error.to_string().contains("another process uses it"), "{error}");
}

#[test]
fn what_is_no_port_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        Line::open(SerialAddress::new(path), Role::Client, |_| {}).unwrap_err()
    };
    let missing = open(&folder.path().join("ttyUSB9"));
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(missing.to_string().contains("plugged in"), "{missing}");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "keep me").unwrap();
    let wrong = open(&file);
    assert!(wrong.to_string().contains("not a serial port"), "{wrong}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "keep me");
}

#[test]
fn a_cut_cable_is_noticed_and_everything_comes_back() {
    let bench = Bench::new();
    let (client, events) = bench.open(0, Role::Client);
    let (proxy, _events) = bench.open(1, Role::Proxy);
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let there = accept(&proxy);
    bench.cable.cut();
    until(&events, |event| matches!(event, LineEvent::Down { .. }));
    let error = here.read_within(&mut [0; 8], Some(LONG)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    let error = there.read_within(&mut [0; 8], Some(LONG)).unwrap_err();
    assert!(error.to_string().contains("serial link was lost"), "{error}");
    bench.cable.restore();
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let there = accept(&proxy);
    write(&there, b"again");
    assert_eq!(read(&here, 5), b"again");
}

#[test]
fn a_port_that_vanishes_is_opened_again_when_it_is_back() {
    let bench = Bench::new();
    let (client, events) = bench.open(0, Role::Client);
    let (proxy, _events) = bench.open(1, Role::Proxy);
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let _there = accept(&proxy);
    bench.cable.unplug(0).unwrap();
    until(&events, |event| matches!(event, LineEvent::PortLost { .. }));
    assert!(!client.status().port);
    here.read_within(&mut [0; 8], Some(LONG)).unwrap_err();
    bench.cable.plug(0).unwrap();
    until(&events, |event| matches!(event, LineEvent::PortBack));
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let there = accept(&proxy);
    write(&here, b"again");
    assert_eq!(read(&there, 5), b"again");
}

#[test]
fn a_restarted_peer_is_met_again() {
    let bench = Bench::new();
    let (client, events) = bench.open(0, Role::Client);
    for round in 0..5_u8 {
        let (proxy, _events) = bench.open(1, Role::Proxy);
        let here = client.channel(Priority::default(), Some(LONG)).unwrap();
        let there = accept(&proxy);
        write(&here, &[round; 3000]);
        assert_eq!(read(&there, 3000), [round; 3000]);
        drop((there, proxy));
        until(&events, |event| matches!(event, LineEvent::Down { .. }));
    }
}

#[test]
fn nobody_at_the_other_end_is_told() {
    let bench = Bench::new();
    let (client, _events) = bench.open(0, Role::Client);
    let error = client.channel(Priority::default(), Some(Duration::from_millis(300))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("nobody answers"), "{error}");
}

#[test]
fn the_streams_of_a_process_share_a_line() {
    let bench = Bench::new();
    let address = bench.address(0);
    let first = client_line(&address).unwrap();
    let (proxy, _events) = bench.open(1, Role::Proxy);
    let here = first.channel(Priority::default(), Some(LONG)).unwrap();
    let second = client_line(&address).unwrap();
    let other = second.channel(Priority::default(), Some(LONG)).unwrap();
    assert_eq!(proxy.status().channels, 2);
    let slower = SerialAddress::new(&address.path);
    assert_eq!(client_line(&slower).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop((first, second, here, other));
    // The port is free again.
    client_line(&slower).unwrap();
}

/// A device without a clock learns the time soon, whichever end began the handshake.
#[test]
fn the_client_is_told_the_proxys_clock_as_soon_as_the_link_is_up() {
    let bench = Bench::new();
    let open = |side: usize, role| {
        // The default profile, in which no PING is due for long.
        let path = bench.cable.port(side);
        let address: SerialAddress =
            format!("serial:{}?baud=2000000", path.display()).parse().unwrap();
        let (tell, events) = channel();
        (Line::open(&address, role, move |event| drop(tell.send(event))).unwrap(), events)
    };
    let (_client, events) = open(0, Role::Client);
    let (_proxy, _events) = open(1, Role::Proxy);
    loop {
        match events.recv_timeout(LONG).unwrap() {
            LineEvent::PeerClock { .. } => break,
            event => assert!(matches!(event, LineEvent::Up { .. }), "{event}"),
        }
    }
}

#[test]
fn pings_are_answered_when_asked_for() {
    let bench = Bench::new();
    let (client, events) = bench.open(0, Role::Client);
    let (_proxy, proxys) = bench.open(1, Role::Proxy);
    until(&events, |event| matches!(event, LineEvent::Up { .. }));
    client.ping();
    until(&events, |event| matches!(event, LineEvent::RoundTrip { .. }));
    let clock = until(&proxys, |event| matches!(event, LineEvent::PeerClock { .. }));
    let LineEvent::PeerClock { since_1970 } = clock else { panic!() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.abs_diff(since_1970) < LONG, "{since_1970:?} at {now:?}");
}

/// A line that nobody used any more waited for ever for a port that took nothing, and kept it from
/// all others.
#[test]
fn a_closed_line_gives_its_port_back_even_if_that_takes_nothing() {
    let bench = Bench::new();
    let (client, events) = bench.open(0, Role::Client);
    let (proxy, _events) = bench.open(1, Role::Proxy);
    let here = client.channel(Priority::default(), Some(LONG)).unwrap();
    let _there = accept(&proxy);
    // One bit a second: what the system keeps for the port is soon full.
    bench.cable.set_rate(1);
    let more = [7; 8192];
    while here.write_within(&more, Some(LONG)).is_ok() {}
    until(&events, |event| matches!(event, LineEvent::Down { .. }));
    drop((here, client));
    let since = std::time::Instant::now();
    while let Err(error) = sspc_line::open_port(&bench.address(0)) {
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
        assert!(since.elapsed() < LONG, "the port is still kept");
    }
}

/// As many frames at once as the system takes, and the channel's end right behind them.
#[test]
fn everything_arrives_and_then_the_end() {
    let bench = Bench::new();
    let (client, _events) = bench.open(0, Role::Client);
    let (proxy, _events) = bench.open(1, Role::Proxy);
    for length in [1, 17, 4096, 60_000, 300_000] {
        let here = client.channel(Priority::default(), Some(LONG)).unwrap();
        let there = accept(&proxy);
        let sent = pattern(length);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                write(&there, &sent);
                drop(there);
            });
            assert!(read(&here, sent.len()) == sent);
        });
        assert_eq!(here.read_within(&mut [0; 8], Some(LONG)).unwrap(), Some(0));
    }
}
