//! `sspc ping`

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use crate::support::line::{FAST, Gateway, PATIENT};
use crate::support::{assert_exit, run, signal, sspc, text, wait};

/// The number in front of a unit, behind a word.
fn number(line: &str, word: &str) -> f64 {
    let rest = line.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {line:?}")).1;
    rest.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{word:?} in {line:?}"))
}

#[test]
fn a_line_tells_its_round_trip_and_the_other_ends_clock() {
    let gateway = Gateway::start(FAST);
    let output = run(&["ping", &gateway.device(), "-c", "4", "-i", "0.3"]);
    assert_exit(&output, 0);
    let stdout = text(&output.stdout);
    let lines: Vec<_> = stdout.lines().collect();
    assert!(number(lines[0], "link up after ") < 60.0, "{stdout}");
    let answers: Vec<_> = lines.iter().filter(|line| line.starts_with("up  rtt ")).collect();
    let summary = *lines.last().unwrap();
    assert!(summary.starts_with(&format!("4 sent, {} answered", answers.len())), "{stdout}");
    assert!(!answers.is_empty());
    let packets = lines[lines.len() - 2];
    assert!(packets.contains(" packets sent, ") && number(packets, "again; ") > 0.0, "{stdout}");
    assert!(number(packets, "round trip ") > 0.0, "{stdout}");
    for answer in &answers {
        assert!((0.0..60_000.0).contains(&number(answer, "rtt ")), "{stdout}");
    }
    let times = summary.split_once("min/avg/max ").unwrap().1.strip_suffix(" ms").unwrap();
    let times: Vec<f64> = times.split('/').map(|time| time.parse().unwrap()).collect();
    assert!(times[0] <= times[1] && times[1] <= times[2], "{stdout}");
    // It is this machine's clock: the date has the same year, and it is off by little.
    let with_clock = answers.last().unwrap().split_once("  peer clock ").unwrap().1;
    let (time, off) = with_clock.split_once(" (").unwrap();
    assert_eq!(time.len(), "2026-11-23 06:10:08.123".len(), "{stdout}");
    let off = off.strip_suffix(" ms)").or(off.strip_suffix(" s)")).unwrap();
    assert!(off.parse::<f64>().unwrap().abs() < 1000.0, "{stdout}");
}

#[test]
fn a_cut_cable_is_noticed_and_its_return_too() {
    let gateway = Gateway::start(FAST);
    let mut command = sspc(&["ping", &gateway.device(), "-i", "0.1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut wait_for = |begin: &str| lines.find(|line| line.starts_with(begin)).unwrap();
    wait_for("up  rtt ");
    gateway.cable.cut();
    wait_for("link down after ");
    wait_for("down  no answer for ");
    gateway.cable.restore();
    wait_for("link up after ");
    wait_for("up  rtt ");
    signal(&child, Signal::SIGINT);
    let summary = lines.last().unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
    assert!(summary.contains(" answered, ") && !summary.contains(" 0 lost"), "{summary}");
}

#[test]
fn a_line_where_nobody_answers_is_exit_code_8() {
    let gateway = Gateway::start(PATIENT);
    gateway.cable.cut();
    let output = run(&["ping", &gateway.device(), "-c", "2", "-i", "0.1"]);
    assert_exit(&output, 8);
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with("down  no answer for "), "{stdout}");
    assert!(stdout.ends_with("\n2 sent, 0 answered, 2 lost\n"), "{stdout}");
    let told = format!(
        "sspc: no proxy at {}: nobody answers at the other end of the line\n",
        gateway.device()
    );
    assert_eq!(text(&output.stderr), told);
}

/// A serial port with a loopback plug: what is sent comes back. Also gives what keeps it there.
fn plugged() -> (String, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let port = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = rustix::io::read(&master, &mut bytes) {
            rustix::io::write(&master, &bytes[..count]).unwrap();
        }
    });
    (format!("serial:{name}?baud=2000000&profile=fast"), port)
}

#[test]
fn a_loopback_plug_is_no_proxy() {
    // Its own PONG was taken for a proxy's: `up  rtt ...`, exit code 0.
    let (address, _port) = plugged();
    let output = run(&["ping", &address, "-c", "2", "-i", "0.1"]);
    assert_exit(&output, 8);
    let stdout = text(&output.stdout);
    assert!(stdout.contains("no peer: the line answers with its own bytes"), "{stdout}");
    assert!(stdout.ends_with("\n2 sent, 0 answered, 2 lost\n"), "{stdout}");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("a loopback plug, or TX joined to RX"), "{stderr}");

    let output = run(&["cat", "--proxy", &address, "hello"]);
    assert_exit(&output, 8);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("the line answers with its own bytes"), "{stderr}");
}

#[test]
fn a_port_that_is_no_port_is_told() {
    let output = run(&["ping", "serial:/nonexistent/port", "-c", "1"]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("sspc: cannot use serial:/nonexistent/port"), "{stderr}");
    assert!(stderr.contains("plugged in"), "{stderr}");
    let gateway = Gateway::start(PATIENT);
    let address = gateway.device().replace("/a?", "/b?");
    let output = run(&["ping", &address, "-c", "1"]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("another process uses it"));
}

#[test]
fn a_reader_that_stalls_does_not_keep_it_from_ending() {
    // It waited for stdout, and for no signal.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut command = sspc(&["ping", &format!("uds:{}", path.display()), "-i", "0.000001"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    // A line is some 30 bytes, and a pipe holds 64 KiB: it comes to rest.
    listener.set_nonblocking(true).unwrap();
    let (mut answered, mut quiet) = (0, 0);
    while answered < 1000 || quiet < 100 {
        match listener.accept() {
            Ok(_) => (answered, quiet) = (answered + 1, 0),
            Err(_) => {
                quiet += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    signal(&child, Signal::SIGINT);
    assert_eq!(wait(&mut child).code(), Some(130));
}

#[test]
fn sockets_are_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let address = format!("uds:{}", path.display());
    let output = run(&["ping", &address, "-c", "1"]);
    assert_exit(&output, 8);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with(&format!("sspc: no proxy at {address}: No such file")), "{stderr}");

    let _listener = UnixListener::bind(&path).unwrap();
    let output = run(&["ping", &address, "-c", "2", "-i", "0.01"]);
    assert_exit(&output, 0);
    let stdout = text(&output.stdout);
    assert_eq!(stdout.matches("up  connected in ").count(), 2, "{stdout}");
    assert!(stdout.contains("\n2 sent, 2 answered, 0 lost; min/avg/max "), "{stdout}");
}
