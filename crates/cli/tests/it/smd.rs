//! `sspc smd`

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

use serde_json::Value;

use crate::support::line::{Bridge, Gateway, PATIENT};
use crate::support::{Proxy, assert_exit, random_address, run, sspc, text};

const EMPTY: &str = r#"{"s": []}"#;

fn smd(proxy: &Proxy, args: &[&str]) -> Output {
    run(&[&["smd", "--proxy", &proxy.address, "--timeout", "40"], args].concat())
}

/// A listener that is there: the first message that it prints is taken.
fn listening(proxy: &Proxy, args: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = sspc(&["smd", "--proxy", &proxy.address, "--timeout", "40"]);
    let mut child =
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert!(first.contains("OPERATIONAL"), "{first}");
    (child, stdout)
}

fn rest(stdout: BufReader<std::process::ChildStdout>) -> Vec<String> {
    stdout.lines().map(Result::unwrap).collect()
}

#[test]
fn messages_are_printed_a_line_each() {
    let proxy = Proxy::start(EMPTY);
    let (mut child, stdout) = listening(&proxy, &["--count", "3"]);
    let text = r#"{"trigger":"cpdcheck"}"#;
    assert_exit(&smd(&proxy, &["send", "--class", "network", text]), 0);
    assert_exit(&smd(&proxy, &["send", "--class", "user0,metrics", "two\nlines\x1b[31m"]), 0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines = rest(stdout);
    assert_eq!(lines[0], r#"network {"trigger":"cpdcheck"}"#);
    assert!(lines[1].starts_with("metrics,user0 two"), "{lines:?}");
    assert!(!lines[1].contains('\x1b'), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn programs_have_json() {
    let proxy = Proxy::start(EMPTY);
    let classes = ["--class", "network,system_state", "--json", "--count", "2"];
    let (mut child, stdout) = listening(&proxy, &classes);
    assert_exit(&smd(&proxy, &["send", "--class", "metrics", "another class"]), 0);
    assert_exit(&smd(&proxy, &["send", "--class", "network", "two\nlines"]), 0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines = rest(stdout);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["class"], &line["text"]), (&"network".into(), &"two\nlines".into()));
    assert!(line["timestamp_us"].as_u64().unwrap() > 0);
}

#[test]
fn what_cannot_be_done_is_said_with_its_exit_code() {
    let proxy = Proxy::start(EMPTY);
    let long = "x".repeat(384);
    let output = smd(&proxy, &["send", "--class", "network", &long]);
    assert_exit(&output, 1);
    assert_eq!(
        text(&output.stderr),
        "sspc: a message of 384 bytes is too long: at most 383 are allowed\n"
    );
    assert_exit(&smd(&proxy, &["send", "--class", "network", &long[1..]]), 0);

    let output = smd(&proxy, &["send", "text"]);
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("--class network"), "{}", text(&output.stderr));
    let output = smd(&proxy, &["--class", "newtork"]);
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("expected interaction"), "{}", text(&output.stderr));

    let silent = ["smd", "--proxy", &proxy.address, "--class", "metrics", "-n", "1", "-t", "0.1"];
    assert_exit(&run(&silent), 7);
    assert_exit(&run(&["smd", "--proxy", &random_address()]), 8);

    let without = Proxy::start_at(EMPTY, &random_address(), &["--no-smd"]);
    let output = smd(&without, &[]);
    assert_exit(&output, 6);
    assert!(text(&output.stderr).contains("--no-smd"), "{}", text(&output.stderr));
}

/// Once, however many there are.
#[test]
fn the_proxys_log_names_who_sends_too_long_messages() {
    use std::io::Write as _;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};

    let mut proxy = Proxy::start(EMPTY);
    let name = proxy.address.strip_prefix("uds:@").unwrap();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let mut link = UnixStream::connect_addr(&address).unwrap();
    let mut bytes = vec![0xaa, 0, 18, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff];
    bytes.extend(b"_lws_smd");
    bytes[2] = 9 + 8;
    for _ in 0..100 {
        bytes.extend([0xad, 0x01, 0xa0]);
        bytes.extend([0; 16]);
        bytes.extend([0; 400]);
    }
    link.write_all(&bytes).unwrap();
    let line = proxy.wait_for("refused");
    assert!(line.contains("a message of 384 bytes is too long: at most 383 are allowed"), "{line}");
    assert!(line.contains("client=\"user ") && line.contains("_lws_smd"), "{line}");
    assert_exit(&smd(&proxy, &["send", "--class", "network", "next"]), 0);
    drop(link);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(proxy.child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    let lines = proxy.rest();
    let refused = lines.iter().filter(|line| line.contains("refused")).count();
    assert_eq!(refused, 1, "{lines:#?}");
}

#[test]
fn it_goes_on_with_the_next_proxy() {
    let address = random_address();
    let proxy = Proxy::start_at(EMPTY, &address, &[]);
    let (child, mut stdout) = listening(&proxy, &["--count", "2"]);
    drop(proxy);
    let _next = Proxy::start_at(EMPTY, &address, &[]);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("OPERATIONAL"), "{line}");
    let mut child = child;
    child.stdout = None;
    assert!(child.wait().unwrap().success());
}

/// Behind a bridge a deployed program's classes became a window of credit.
#[test]
fn programs_behind_a_bridge_take_part() {
    use std::io::{Read as _, Write as _};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};

    use sspc_wire::smd::{Classes, Message, STREAMTYPE};
    use sspc_wire::{Streamtype, ToClient, ToClientDecoder, ToProxy};

    let gateway = Gateway::start(PATIENT);
    let bridge = Bridge::start(&gateway);
    let name = bridge.address.strip_prefix("uds:@").unwrap();
    let mut link =
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let user0 = Classes::user(0).unwrap();
    let (tx_credit, name) = (user0.bits().cast_signed(), STREAMTYPE.as_bytes());
    let asked = ToProxy::Streamtype(Streamtype { version: 1, pid: 7, tx_credit, name });
    let mut frame = [0; 64];
    let length = asked.encode(&mut frame).unwrap();
    link.write_all(&frame[..length]).unwrap();

    let (mut decoder, mut buffer) = (ToClientDecoder::new(), [0; 4096]);
    let (mut states, mut payload) = (0, Vec::new());
    while payload.is_empty() {
        let read = link.read(&mut buffer).unwrap();
        assert!(read > 0, "it hung up");
        let mut rest = &buffer[..read];
        while let Some(frame) = decoder.next(&mut rest).unwrap() {
            match frame {
                ToClient::State { .. } => states += 1,
                ToClient::Payload { piece, .. } => payload.extend_from_slice(piece.data),
                _ => {}
            }
        }
        if states == 3 {
            states += 1;
            let at = ["smd", "send", "--proxy", &bridge.address, "--timeout", "40", "--class"];
            assert_exit(&run(&[&at[..], &["network", "another class"]].concat()), 0);
            assert_exit(&run(&[&at[..], &["user0", "hello"]].concat()), 0);
        }
    }
    let message = Message::decode(&payload).unwrap();
    assert_eq!((message.class, message.text), (user0, &b"hello"[..]));
}
