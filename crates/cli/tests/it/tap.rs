//! `sspc tap`

use std::fs::{File, OpenOptions};
use std::io::{PipeWriter, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::line::Bridge;
use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, Stderr, assert_exit, random_address, run, signal, sspc, text, wait};

/// A running tap; killed when dropped.
struct Tap {
    child: Child,
    stdin: ChildStdin,
    stderr: Stderr,
    /// Where it listens or is to be opened, as it says itself.
    ends: String,
    dir: TempDir,
}

impl Tap {
    /// With these ends, that may name files in `{}`, a folder of its own; there also are `shown`,
    /// what went to stdout, and `record`.
    fn start(client: &str, proxy: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let [client, proxy] = [client, proxy].map(|end| end.replace("{}", &path("")));
        let mut command = sspc(&["tap", &client, &proxy, "--control", "--record", &path("record")]);
        command.args(more).stdin(Stdio::piped()).stderr(Stdio::piped());
        command.stdout(File::create(path("shown")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut stderr = Stderr::of(&mut child);
        let ready = stderr.wait_for("sspc tap: ready: ");
        let ends = ready.strip_prefix("sspc tap: ready: ").unwrap().to_owned();
        Self { stdin: child.stdin.take().unwrap(), child, stderr, ends, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens one of its pseudo-terminals.
    fn open(&self, name: &str) -> File {
        open_port(&self.path(name))
    }

    fn tell(&mut self, command: &str) {
        self.stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
    }

    /// Tells it, and waits until it says this.
    fn order(&mut self, command: &str, part: &str) -> String {
        self.tell(command);
        self.stderr.wait_for(part)
    }

    /// Ends it in order; returns what it said at the end of what went to the proxy and to the
    /// client.
    fn end(&mut self) -> [String; 2] {
        self.tell("quit");
        let to_proxy = self.stderr.wait_for("→ ");
        let to_client = self.stderr.wait_for("← ");
        assert_eq!(wait(&mut self.child).code(), Some(0));
        [to_proxy, to_client].map(|line| line.split_once("tap: ").unwrap().1.to_owned())
    }

    fn shown(&self) -> String {
        std::fs::read_to_string(self.path("shown")).unwrap()
    }

    /// All bytes that it recorded in this direction.
    fn recorded(&self, direction: &str) -> Vec<u8> {
        recorded(&self.path("record"), direction)
    }

    fn decode(&self, more: &[&str]) -> Output {
        run(&[&["decode", self.path("record").to_str().unwrap()], more].concat())
    }
}

/// As every program opens its port.
fn open_port(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::fcntl::OFlag::O_NOCTTY.bits());
    options.open(path).unwrap()
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All bytes of a recording in this direction.
fn recorded(record: &Path, direction: &str) -> Vec<u8> {
    let record = std::fs::read_to_string(record).unwrap();
    let lines = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let digits = lines.filter(|line| line["d"] == direction);
    let digits: String = digits.map(|line| line["x"].as_str().unwrap().to_owned()).collect();
    bytes_of(&digits)
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(&text(pair), 16).unwrap()).collect()
}

fn cat(address: &str, more: &[&str]) -> Output {
    run(&[&["cat", "--proxy", address, "--timeout", "40"], more].concat())
}

/// Each of all the values that bytes have, some times.
fn all_bytes(times: usize) -> Vec<u8> {
    (0..=255).cycle().take(256 * times).collect()
}

/// Sends from one end and gives what came to the other, however many bytes that are.
fn exchange(from: &mut File, to: &mut File, bytes: &[u8], count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(bytes).unwrap());
        to.read_exact(&mut heard).unwrap();
    });
    heard
}

#[test]
fn a_stream_passes_and_is_shown_as_decode_shows_the_record() {
    let proxy = Proxy::start(&Origin::start().policy());
    let address = random_address();
    let mut tap = Tap::start(&address, &proxy.address, &["--seed", "7"]);
    assert_eq!(tap.ends, format!("{address} ↔ {}, seed 7", proxy.address));
    for _ in 0..2 {
        let output = cat(&address, &["hello"]);
        assert_exit(&output, 0);
        assert_eq!(output.stdout, HELLO);
    }
    let [to_proxy, to_client] = tap.end();
    for line in [to_proxy, to_client] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[1], words[4], "{line}");
        assert!(line.ends_with(" arrived"), "{line}");
    }
    let shown = tap.shown();
    for expected in [
        "c0 → STREAMTYPE hello ",
        "c0 ← RX_PAYLOAD ",
        "c1 ← METADATA mime=",
        "c1 → end",
        "c1 ← end",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }
    let decoded = tap.decode(&[]);
    assert_exit(&decoded, 0);
    assert_eq!(text(&decoded.stdout), shown);
}

#[test]
fn it_shows_what_it_is_asked_to() {
    let proxy = Proxy::start(&Origin::start().policy());
    let shown = |more: &[&str]| {
        let mut tap = Tap::start("tcp:127.0.0.1:0", &proxy.address, more);
        let (address, _) = tap.ends.split_once(' ').unwrap();
        assert_exit(&cat(address, &["hello"]), 0);
        tap.end();
        assert_exit(&tap.decode(&[]), 0);
        tap.shown()
    };
    assert_eq!(shown(&["--quiet"]), "");
    assert!(shown(&["--hex"]).contains(" c0 → 0000  aa 00 "));
    assert!(shown(&["--full"]).contains("   0000  3c 21 44 4f "));
    assert!(shown(&["--mux"]).contains("FAULT"));
}

#[test]
fn a_serial_line_passes_every_byte_both_ways() {
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
    assert!(tap.ends.contains("device (/dev/pts/"), "{}", tap.ends);
    let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
    let bytes = all_bytes(200);
    assert!(exchange(&mut device, &mut proxy, &bytes, bytes.len()) == bytes);
    assert!(exchange(&mut proxy, &mut device, &bytes, bytes.len()) == bytes);
    let passed = format!("{0} bytes sent, {0} arrived", bytes.len());
    assert_eq!(tap.end(), [format!("→ {passed}"), format!("← {passed}")]);
    assert!(tap.recorded("c2p") == bytes && tap.recorded("p2c") == bytes);
    assert!(tap.path("device").symlink_metadata().is_err(), "the link is left behind");
}

#[test]
fn a_serial_line_is_shown_as_frames_of_the_mux() {
    let vector = concat!(env!("CARGO_MANIFEST_DIR"), "/../sim/vectors/mux_ws_ticker.jsonl");
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &[]);
    let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
    for line in std::fs::read_to_string(vector).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let bytes = bytes_of(line["x"].as_str().unwrap());
        let heard = match line["d"].as_str() {
            Some("c2p") => exchange(&mut device, &mut proxy, &bytes, bytes.len()),
            _ => exchange(&mut proxy, &mut device, &bytes, bytes.len()),
        };
        assert!(heard == bytes);
    }
    tap.end();
    let shown = tap.shown();
    assert!(shown.contains("c0 → CHANNEL_REQ ch"), "{shown}");
    let decoded = tap.decode(&["--mux"]);
    assert_eq!(text(&decoded.stdout), shown);
}

#[test]
fn a_port_is_passed_on_for_as_long_as_it_is_there() {
    let mut far = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
    let port = format!("serial:{}?baud=921600", far.path("proxy").display());
    let mut tap = Tap::start("pty:{}device", &port, &["--quiet"]);
    assert!(tap.ends.contains(&port), "{}", tap.ends);
    let (mut device, mut proxy) = (far.open("device"), tap.open("device"));
    let bytes = all_bytes(10);
    assert!(exchange(&mut device, &mut proxy, &bytes, bytes.len()) == bytes);
    assert!(exchange(&mut proxy, &mut device, &bytes, bytes.len()) == bytes);
    far.end();
    tap.stderr.wait_for("sspc: the proxy's side was lost: ");
    assert_eq!(wait(&mut tap.child).code(), Some(1));
    assert!(tap.path("device").symlink_metadata().is_err(), "the link is left behind");
}

#[test]
fn programs_on_a_serial_line_come_and_go() {
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
    let mut proxy = tap.open("proxy");
    // Nobody listens yet.
    proxy.write_all(b"lost").unwrap();
    until_counted(&mut tap, "unheard");
    for round in [b"first", b"other"] {
        let mut device = tap.open("device");
        assert_eq!(exchange(&mut device, &mut proxy, round, 5), round);
        // From now on it is known that the device is there.
        assert_eq!(exchange(&mut proxy, &mut device, round, 5), round);
    }
}

/// Waits for something that will be soon.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// Asks for the counts until they say this.
fn until_counted(tap: &mut Tap, part: &str) {
    until(part, || {
        tap.tell("stats");
        let lines = [tap.stderr.wait_for("→ "), tap.stderr.wait_for("← ")];
        lines.iter().any(|line| line.contains(part))
    });
}

#[test]
fn a_cut_serial_line_loses_what_is_sent_and_goes_on() {
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
    let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
    assert_eq!(exchange(&mut device, &mut proxy, b"before", 6), b"before");
    tap.order("cut", "sspc tap: cut");
    device.write_all(b"into the void").unwrap();
    until_counted(&mut tap, "13 lost to cuts");
    tap.order("restore", "sspc tap: restored");
    assert_eq!(exchange(&mut device, &mut proxy, b"behind", 6), b"behind");
    tap.order("cut 1ms", "sspc tap: restored");
    assert_eq!(exchange(&mut device, &mut proxy, b"at last", 7), b"at last");
    let [to_proxy, _] = tap.end();
    assert_eq!(to_proxy, "→ 32 bytes sent, 19 arrived: 13 lost to cuts");
    assert_eq!(tap.recorded("c2p"), b"beforebehindat last");
}

#[test]
fn a_cut_closes_connections_and_turns_new_ones_away() {
    let proxy = Proxy::start(&Origin::start().policy());
    let address = random_address();
    let mut tap = Tap::start(&address, &proxy.address, &[]);
    let stuck = run_cat(&address, &["silent"]);
    until("it connects", || tap.shown().contains("ONWARD_CONNECT"));
    tap.order("cut", "sspc tap: cut");
    let out = stuck.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(8), "{}", String::from_utf8_lossy(&out.stderr));
    assert_exit(&cat(&address, &["hello"]), 8);
    signal(&tap.child, Signal::SIGUSR1);
    tap.stderr.wait_for("sspc tap: restored");
    assert_eq!(cat(&address, &["hello"]).stdout, HELLO);
    tap.end();
    let decoded = tap.decode(&[]);
    assert_exit(&decoded, 0);
    assert_eq!(text(&decoded.stdout), tap.shown());
}

fn run_cat(address: &str, more: &[&str]) -> Child {
    let mut command = sspc(&["cat", "--proxy", address]);
    command.args(more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_planned_cut_comes_and_goes() {
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--cut", "1ms:1ms", "--quiet"]);
    tap.stderr.wait_for("sspc tap: cut");
    tap.stderr.wait_for("sspc tap: restored");
    let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
    assert_eq!(exchange(&mut device, &mut proxy, b"whole", 5), b"whole");
}

#[test]
fn the_same_seed_does_the_same_harm() {
    let bytes = all_bytes(100);
    let harmed = |seed: &str| {
        let noise = ["--quiet", "--seed", seed, "--flip", "c2p:5000", "--burst", "c2p:100:4"];
        let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &noise);
        let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
        let heard = exchange(&mut device, &mut proxy, &bytes, bytes.len());
        assert!(exchange(&mut proxy, &mut device, &bytes, bytes.len()) == bytes);
        let [to_proxy, to_client] = tap.end();
        assert!(tap.recorded("c2p") == heard, "the record is of what arrived");
        assert!(to_proxy.contains(" flipped, "), "{to_proxy}");
        assert!(to_client.ends_with("arrived"), "{to_client}");
        (heard, to_proxy)
    };
    let first = harmed("7");
    assert!(first.0 != bytes);
    assert!(first == harmed("7"));
    assert!(first != harmed("8"));
}

#[test]
fn what_the_ends_sent_can_be_recorded_instead() {
    let more = ["--as-sent", "--flip", "1000000", "--quiet"];
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &more);
    let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
    let heard = exchange(&mut device, &mut proxy, b"whole", 5);
    assert_ne!(heard, b"whole");
    tap.end();
    assert_eq!(tap.recorded("c2p"), b"whole");
}

#[test]
fn harm_can_be_told_later() {
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
    let (mut device, mut proxy) = (tap.open("device"), tap.open("proxy"));
    for command in ["flip c2p:1000000", "delay 1ms", "rate 1000000"] {
        tap.tell(command);
    }
    let told = tap.order("wiggle", "there is no command");
    assert!(told.contains("\"wiggle\""), "{told}");
    let heard = exchange(&mut device, &mut proxy, b"whole", 5);
    assert!(heard.iter().zip(b"whole").all(|(a, b)| (a ^ b).count_ones() == 1), "{heard:?}");
    tap.tell("flip 0");
    // The tap has obeyed when it answers what was asked behind that.
    until_counted(&mut tap, "5 flipped");
    assert_eq!(exchange(&mut device, &mut proxy, b"whole", 5), b"whole");
    assert_eq!(exchange(&mut proxy, &mut device, b"whole", 5), b"whole");
}

#[test]
fn what_is_not_text_is_no_command_and_the_next_line_is() {
    // The first line that was not UTF-8 was the last one that was read.
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
    tap.stdin.write_all(b"\xff\xfe\n").unwrap();
    tap.stderr.wait_for("not UTF-8");
    tap.tell(&"x".repeat(100_000));
    tap.stderr.wait_for("at most 1024 bytes");
    tap.end();
}

/// Runs a tap until more has passed than its stdout, which nobody reads, takes; then tells it to
/// quit. Checks that all was recorded.
fn quit_with_full_stdout(stderr: impl FnOnce(&PipeWriter) -> Stdio) -> ExitStatus {
    let dir = tempfile::tempdir().unwrap();
    let [device, proxy, record] = ["device", "proxy", "record"].map(|name| dir.path().join(name));
    let [a, b] = [&device, &proxy].map(|path| format!("pty:{}", path.display()));
    let more = ["--hex", "--control", "--record", record.to_str().unwrap()];
    let mut command = sspc(&[&["tap", &a, &b], more.as_slice()].concat());
    let (_unread, stdout) = std::io::pipe().unwrap();
    command.stdin(Stdio::piped()).stderr(stderr(&stdout)).stdout(stdout);
    let mut child = command.spawn().unwrap();
    until("the ends are there", || device.exists() && proxy.exists());
    // Some five times as much in hex, and more than a pipe holds.
    let bytes = all_bytes(256);
    let (mut device, mut proxy) = (open_port(&device), open_port(&proxy));
    assert!(exchange(&mut device, &mut proxy, &bytes, bytes.len()) == bytes);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"stats\nquit\n").unwrap();
    let status = wait(&mut child);
    assert!(recorded(&record, "c2p") == bytes, "the recording is not complete");
    status
}

#[test]
fn a_reader_that_stalls_does_not_keep_it_from_ending() {
    // The thread that shows what passes hung in its write to stdout, and the end waited for it.
    let status = quit_with_full_stdout(|_| Stdio::null());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn nor_does_one_that_reads_stderr_too() {
    // `sspc tap ... 2>&1 | less`: it hung in its last words.
    let status = quit_with_full_stdout(|stdout| stdout.try_clone().unwrap().into());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn one_end_of_a_connection_may_close_before_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server");
    let server = UnixListener::bind(&path).unwrap();
    let mut tap =
        Tap::start("uds:{}tap", &format!("uds:{}", path.display()), &["--quiet", "--delay", "5ms"]);
    let mut client = UnixStream::connect(tap.path("tap")).unwrap();
    let (mut served, _) = server.accept().unwrap();
    let mut all = Vec::new();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    served.read_to_end(&mut all).unwrap();
    served.write_all(b"answer").unwrap();
    drop(served);
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"questionanswer");
    tap.end();
    assert!(!tap.path("tap").exists(), "the socket file is left behind");
}

#[test]
fn without_a_proxy_clients_are_turned_away() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = random_address();
    let mut tap = Tap::start(&address, &format!("tcp:{gone}"), &[]);
    assert_exit(&cat(&address, &["hello"]), 8);
    let told = tap.stderr.wait_for("c0: no connection to the proxy: ");
    assert!(told.contains("refused"), "{told}");
    tap.end();
}

#[test]
fn signals_end_it_in_order() {
    for how in [Signal::SIGTERM, Signal::SIGINT] {
        let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--quiet"]);
        signal(&tap.child, how);
        assert_eq!(wait(&mut tap.child).code(), Some(0));
        assert!(tap.path("device").symlink_metadata().is_err(), "the link is left behind");
        let said = tap.stderr.rest();
        assert!(said.iter().any(|line| line.contains("→ 0 bytes sent, 0 arrived")), "{said:?}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let [device, proxy] = ["device", "proxy"].map(|name| dir.path().join(name));
    let [a, b] = [&device, &proxy].map(|path| format!("pty:{}", path.display()));
    let mut command = sspc(&["tap", &a, &b, "--hex"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = Stderr::of(&mut child);
    stderr.wait_for("ready");
    drop(child.stdout.take());
    let _proxy = open_port(&proxy);
    open_port(&device).write_all(b"enough").unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
    let said = stderr.rest();
    assert!(!said.iter().any(|line| line.starts_with("sspc: ")), "{said:?}");
}

#[test]
fn ends_that_are_of_no_use_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (pty, uds) = (format!("pty:{}", file.display()), format!("uds:{}", file.display()));
    let missing = "pty:/tmp/no/such/folder/device";
    for (args, code, expected) in [
        (["uds:@a", "pty:/tmp/b"], 2, "use pty: or serial: for both"),
        (["pty:/tmp/a", "tcp:127.0.0.1:1"], 2, "use pty: or serial: for both"),
        (["what", "uds:@b"], 2, "write pty:/path"),
        (["uds:@a", "tcp:127.0.0.1:0"], 2, "the port must be"),
        ([&pty, "pty:/tmp/b"], 1, "choose a path that is free"),
        ([missing, "pty:/tmp/b"], 1, "No such file"),
        ([&uds, "uds:@b"], 1, "is not a socket"),
    ] {
        let output = run(&[&["tap"], args.as_slice()].concat());
        assert_exit(&output, code);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(expected), "{stderr}");
        assert!(
            stderr.contains(args[0]) || stderr.contains(&args[0][4..]) || code == 2,
            "{stderr}"
        );
    }
    let output = run(&["tap", "uds:@a", "uds:@b", "--flip", "much"]);
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("0 to 1000000"), "{}", text(&output.stderr));
    let output =
        run(&["tap", "uds:@a", "uds:@b", "--record", missing.strip_prefix("pty:").unwrap()]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("cannot write to /tmp/no/such"));
}

#[test]
fn packets_on_a_noisy_line_are_shown_with_all_that_is_in_them() {
    let mut tap = Tap::start("pty:{}device", "pty:{}proxy", &["--seed", "5"]);
    let port = |name| format!("serial:{}?baud=2000000", tap.path(name).display());
    let (device, address) = (port("device"), port("proxy"));
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &address, &["-v"]);
    let mut bridge = Bridge::start_to(&random_address(), &device, &[]);
    bridge.stderr.wait_for("in packets");
    tap.tell("flip 300");
    tap.tell("drop 300");
    let zeros = bridge.cat(&["any", "-m", "path=zeros/300000"]);
    assert_exit(&zeros, 0);
    assert!(zeros.stdout == [0; 300_000]);
    let hello = bridge.cat(&["hello"]);
    assert_eq!(text(&hello.stdout), text(HELLO));
    tap.tell("flip 0");
    tap.tell("drop 0");
    signal(&bridge.child, Signal::SIGTERM);
    wait(&mut bridge.child);
    // The proxy says how much was harmed and sent again.
    let counted = proxy.wait_for("until then ");
    assert!(counted.contains(" of data again; ") && !counted.contains(" 0 damaged"), "{counted}");
    let [to_proxy, to_client] = tap.end();
    assert!(to_client.contains(" flipped, "), "{to_proxy} {to_client}");

    let decoded = text(&tap.decode(&["--mux"]).stdout);
    for shown in [tap.shown(), decoded] {
        let behind = |part: &str| shown.find(part).unwrap_or_else(|| panic!("no {part}"));
        assert!(behind("PING sent=") < behind("HELLO epoch="), "plain first");
        assert!(behind("HELLO epoch=") < behind("a session in packets begins"));
        behind("c0 → DATA seq=0 ack=");
        behind("c0 ← DATA seq=0 ack=");
        behind("c0 → ACK ack=");
        behind(" kept=");
        behind(" early");
        behind("c0 ← DAMAGED ");
        behind("STREAMTYPE any ");
        behind("STREAMTYPE hello ");
        // Every byte once, in order.
        assert!(!shown.contains("FAULT"), "{shown}");
        let payload = shown.lines().filter(|line| line.contains(" RX_PAYLOAD "));
        let length = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let at = words.iter().position(|word| *word == "bytes").unwrap();
            words[at - 1].parse::<usize>().unwrap()
        };
        assert_eq!(payload.map(length).sum::<usize>(), 300_000 + HELLO.len());
    }
}
