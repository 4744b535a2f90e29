//! Captures for Wireshark: what `sspc tap`, `sspc decode` and `sspc proxy` write, as tshark shows it.

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, Stderr, assert_exit, random_address, run, signal, sspc, text, wait};

/// What tshark prints of a capture with these arguments.
fn tshark(capture: &Path, args: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/wireshark/sspc.lua");
    let mut command = Command::new("tshark");
    command.arg("-X").arg(format!("lua_script:{script}")).arg("-r").arg(capture).args(args);
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("tshark: {error}; scripts/install-tools test"));
    let stderr = text(&output.stderr);
    assert!(output.status.success() && !stderr.contains("Lua"), "{stderr}");
    let stdout = text(&output.stdout);
    assert!(!stdout.contains("Lua Error"), "{stdout}");
    stdout
}

/// Fields of the frames that a filter takes, a line a frame.
fn fields(capture: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut args = vec!["-Y", filter, "-T", "fields"];
    args.extend(fields.iter().flat_map(|field| ["-e", field]));
    tshark(capture, &args).lines().map(str::to_owned).collect()
}

/// What the list says of the frames that a filter takes, without the times in it.
fn infos(capture: &Path, filter: &str) -> Vec<String> {
    let lines = fields(capture, filter, &["_ws.col.Info"]);
    let words = |line: &String| {
        let words = line.split(' ').filter(|word| {
            !word.starts_with("held=") && !word.starts_with("written=") && !word.starts_with("pid=")
        });
        words.collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(words).collect()
}

/// A running tap that captures and shows nothing; killed when dropped.
struct Tap {
    child: Child,
    stderr: Stderr,
    capture: PathBuf,
    folder: TempDir,
}

impl Tap {
    /// Between these ends; `{}` is a folder of its own.
    fn start(client: &str, proxy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let [client, proxy] = [client, proxy].map(|end| end.replace("{}", path));
        let capture = folder.path().join("x.pcapng");
        let mut command = sspc(&["tap", &client, &proxy, "--quiet", "--write"]);
        command.arg(&capture).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = Stderr::of(&mut child);
        stderr.wait_for("sspc tap: ready: ");
        Self { child, stderr, capture, folder }
    }

    fn end(&mut self) {
        signal(&self.child, Signal::SIGTERM);
        assert_eq!(wait(&mut self.child).code(), Some(0), "{:?}", self.stderr.rest());
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cat(address: &str, args: &[&str]) {
    let output = run(&[&["cat", "--proxy", address, "--timeout", "40"], args].concat());
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
}

/// Of a stream that went well, each frame that says what goes on.
const HELLOS_LIFE: [&str; 6] = [
    "STREAMTYPE hello version=1",
    "CREATE_RESULT 0 buffer=0 list=,hello",
    "CONNSTATE CREATING ordinal=0",
    "CONNSTATE CONNECTING ordinal=0",
    "CONNSTATE CONNECTED ordinal=0",
    "CONNSTATE QOS_ACK_REMOTE ordinal=0",
];

fn assert_life(infos: &[String], stream: &str) {
    let all = infos.join("\n");
    let mut rest = &all[..];
    for expected in HELLOS_LIFE {
        let arrow = if expected.starts_with("STREAMTYPE") { "→" } else { "←" };
        let expected = format!("{stream} {arrow} {expected}");
        let at = rest.find(&expected).unwrap_or_else(|| panic!("no {expected:?} in\n{all}"));
        rest = &rest[at + 1..];
    }
}

#[test]
fn a_tap_captures_each_frame_of_a_stream() {
    let proxy = Proxy::start(&Origin::start().policy());
    let address = random_address();
    let mut tap = Tap::start(&address, &proxy.address);
    for _ in 0..2 {
        cat(&address, &["hello"]);
    }
    tap.end();
    let capture = &tap.capture;
    assert_eq!(capture.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for stream in ["c0", "c1"] {
        let filter = format!("sspc.stream == \"{stream}\" && sspc.streamtype == \"hello\"");
        assert_life(&infos(capture, &filter), stream);
    }
    assert_eq!(infos(capture, "_ws.expert"), [""; 0]);

    let json: Value = serde_json::from_str(&tshark(
        capture,
        &["-Y", "sspc.metadata.name == \"mime\" && sspc.stream == \"c0\"", "-T", "json"],
    ))
    .unwrap();
    let layers = &json[0]["_source"]["layers"];
    let field = |name: &str| layers["sspc"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(field("sspc.type"), "0x59");
    assert_eq!(field("sspc.direction"), "to client");
    assert_eq!(field("sspc.streamtype"), "hello");
    assert_eq!(field("sspc.metadata.value"), "text/html");
    // The times of the wall clock.
    let time: f64 = layers["frame"]["frame.time_epoch"].as_str().unwrap().parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 600.0..now + 1.0).contains(&time), "{time}");

    let payload = fields(capture, "sspc.stream == \"c0\" && sspc.payload", &["sspc.payload"]);
    let hex: String = HELLO.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(payload.concat(), hex);
}

#[test]
fn a_tap_captures_packets_and_what_is_in_them() {
    let mut tap = Tap::start("pty:{}/device", "pty:{}/proxy");
    let end = |name: &str| {
        let path = tap.folder.path().join(name);
        format!("serial:{}?baud=2000000&framing=reliable", path.display())
    };
    let _proxy = Proxy::start_at(&Origin::start().policy(), &end("proxy"), &[]);
    cat(&end("device"), &["hello"]);
    tap.end();
    let capture = &tap.capture;
    assert_life(&infos(capture, "sspc"), "c0 ch255");
    let statuses = fields(capture, "sspc_packet.type != 2", &["sspc_packet.crc.status"]);
    assert!(statuses.len() > 10 && statuses.iter().all(|status| status == "good"), "{statuses:?}");
    let hellos = fields(capture, "sspc_packet.hello.ready == 1", &["sspc_packet.hello.epoch"]);
    assert!(!hellos.is_empty(), "{hellos:?}");
    for frame in ["→ PING", "← PONG", "→ CHANNEL_REQ ch255", "← CHANNEL_ACK ch255", "← MUX ch255"]
    {
        let filter = "sspc_mux.line == \"c0\"";
        let infos = infos(capture, filter);
        assert!(infos.iter().any(|info| info.contains(frame)), "no {frame} in {infos:#?}");
    }
    assert_eq!(infos(capture, "_ws.expert.severity == error"), [""; 0]);
}

#[test]
fn faults_of_a_recording_are_comments_and_expert_information() {
    let folder = tempfile::tempdir().unwrap();
    let [record, capture] = ["x.jsonl", "x.pcapng"].map(|name| folder.path().join(name));
    let lines = [
        r#"{"t": 1500000, "c": 3, "d": "c2p", "x": "aa000e01000000000000000068656c6c6f"}"#,
        r#"{"t": 2500000, "c": 3, "d": "p2c", "x": "5600050000000000" }"#,
        // CONNECTED before CREATING; a state of 6 bytes; a frame of no type, the end in a frame.
        r#"{"t": 3500000, "c": 3, "d": "p2c", "x": "57000505000000005700060100000000005700050700000000"}"#,
        r#"{"t": 4500000, "c": 3, "d": "c2p", "x": "00000101ab0000ad00"}"#,
    ];
    std::fs::write(&record, lines.join("\n")).unwrap();
    let output = run(&["decode", record.to_str().unwrap(), "-w", capture.to_str().unwrap()]);
    assert_exit(&output, 1);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(text(&output.stderr), "sspc: 3 faults\n");
    let all = fields(&capture, "frame", &["frame.time_epoch", "_ws.col.Info", "frame.comment"]);
    let expected = [
        "1.500000000\tc3 → STREAMTYPE hello version=1 pid=0 credit=0\t",
        "2.500000000\tc3 ← CREATE_RESULT 0 buffer=0 list=\t",
        "3.500000000\tc3 ← CONNSTATE CONNECTED ordinal=0 (must not follow)\t",
        "3.500000000\tc3 ← CONNSTATE: cannot have a body of 6 bytes\tframe type 0x57 cannot have a \
         body of 6 bytes; expected 5 or 8 bytes; skipping 6 bytes",
        "3.500000000\tc3 ← CONNSTATE DESTROYING ordinal=0\t",
        "4.500000000\tc3 → unknown frame type 0x00\tunknown frame type 0x00; expected a type of 0xaa \
         to 0xb1, or 0x5b; skipping 1 bytes",
        "4.500000000\tc3 → ONWARD_CONNECT\t",
        "4.500000000\tc3 → TX_PAYLOAD\tTX_PAYLOAD ends after 2 bytes",
    ];
    assert_eq!(all, expected);
    for (fault, number) in
        [("sspc.fault.state", "3"), ("sspc.fault.length", "4"), ("sspc.fault.type", "6")]
    {
        assert_eq!(fields(&capture, fault, &["frame.number"]), [number], "{fault}");
        let filter = format!("frame.number == {number}");
        let tree = tshark(&capture, &["-V", "-Y", &filter]);
        assert!(tree.contains("[Expert Info (Error/"), "{tree}");
    }
}

#[test]
fn a_capture_that_cannot_be_written_ends_the_program_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none").join("x.pcapng");
    let path = path.to_str().unwrap();
    let address = random_address();
    for args in [
        &["tap", &address, "uds:@sspc-test-nobody", "--write", path][..],
        &["decode", "-", "--write", path],
    ] {
        let output = run(args);
        assert_exit(&output, 1);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(&format!("cannot write the capture {path}: ")), "{stderr}");
    }
    let output = run(&["decode", "-", "--write", "/dev/full"]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("/dev/full: No space left"), "{output:?}");
}

/// Ends the proxy in order, and gives what it said.
fn end(proxy: &mut Proxy) -> String {
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    proxy.rest().join("\n")
}

#[test]
fn a_proxy_captures_the_frames_of_all_its_clients_and_says_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("x.pcapng");
    let path = capture.to_str().unwrap();
    let address = random_address();
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &address, &["--capture", path]);
    for _ in 0..2 {
        cat(&address, &["hello"]);
    }
    assert_exit(&proxy.cat(&["nosuch"]), 6);
    // A client that sends what is no frame.
    let name = address.strip_prefix("uds:@").unwrap();
    let mut client = abstract_socket(name);
    client.write_all(&[0xaa, 0, 14, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    client.write_all(b"hello\xab\0\x01").unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    let said = end(&mut proxy);
    assert!(said.contains("WARN") && said.contains("with the secrets in them"), "{said}");
    assert_eq!(capture.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let streams = fields(&capture, "sspc.process", &["sspc.stream", "sspc.client"]);
    assert_eq!(streams.len(), 4);
    let uid = nix::unistd::getuid();
    for (at, streamtype) in ["hello", "hello", "nosuch", "hello"].into_iter().enumerate() {
        let (stream, client) = streams[at].split_once('\t').unwrap();
        let is_client =
            client.starts_with("process ") && client.ends_with(&format!(" of user {uid}"));
        assert!(is_client, "{client}");
        let filter = format!(
            "sspc.stream == \"{stream}\" && sspc.streamtype == \"{streamtype}\" && sspc.client"
        );
        let infos = infos(&capture, &filter);
        match at {
            0 | 1 => assert_life(&infos, stream),
            2 => assert!(infos[1].contains("CREATE_RESULT 1 (refused)"), "{infos:?}"),
            _ => {
                let wrong = format!("{stream} → ONWARD_CONNECT: cannot have a body of 1 bytes");
                assert!(infos.contains(&wrong), "{infos:?}");
            }
        }
    }
    // What the first client heard is what was captured.
    let (first, _) = streams[0].split_once('\t').unwrap();
    let filter = format!("sspc.stream == \"{first}\" && sspc.payload");
    let hex: String = HELLO.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(fields(&capture, &filter, &["sspc.payload"]).concat(), hex);
    let fault = fields(&capture, "sspc.fault.length", &["frame.comment"]);
    assert_eq!(fault, ["frame type 0xab cannot have a body of 1 bytes"]);
    assert_eq!(fields(&capture, "_ws.expert.severity == error", &["frame"]).len(), 1);
}

#[test]
fn a_proxys_capture_stays_within_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("x.pcapng");
    let older = folder.path().join("x.old.pcapng");
    let to = format!("{},512KiB", capture.display());
    let address = random_address();
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &address, &["--capture", &to]);
    let payload = vec![b'x'; 900_000];
    assert_exit(&proxy.cat_with(&["upload", "--data", "-"], &payload), 0);
    end(&mut proxy);
    let size = |path: &Path| path.metadata().unwrap().len();
    assert!(size(&capture) + size(&older) <= 512 << 10);
    assert!(size(&older) > 128 << 10);
    // The newest frames, whose stream is still known by name.
    let states = fields(&capture, "sspc.streamtype == \"upload\"", &["sspc.state.name"]);
    assert!(states.contains(&"QOS_ACK_REMOTE".to_owned()), "{states:?}");
    for path in [&capture, &older] {
        assert_eq!(infos(path, "_ws.expert.severity == error || _ws.malformed"), [""; 0]);
    }
}

fn abstract_socket(name: &str) -> UnixStream {
    let address = SocketAddr::from_abstract_name(name).unwrap();
    UnixStream::connect_addr(&address).unwrap()
}
