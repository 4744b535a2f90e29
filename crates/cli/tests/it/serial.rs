//! `sspc proxy` and clients on serial lines, which are pseudo-terminals here.

use nix::sys::signal::Signal;
use sspc_sim::Cable;
use tempfile::TempDir;

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, run, signal, text, wait};

struct Line {
    cable: Cable,
    _folder: TempDir,
}

impl Line {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { cable: Cable::new(folder.path()).unwrap(), _folder: folder }
    }

    /// The address of a side: 0 is the client's.
    fn address(&self, side: usize) -> String {
        format!("serial:{}?baud=2000000", self.cable.port(side).display())
    }
}

/// `sspc cat` at the other end of a line.
fn cat(line: &Line, streamtype: &str) -> std::process::Output {
    run(&["cat", "--proxy", &line.address(0), "--timeout", "40", streamtype])
}

#[test]
fn a_proxy_serves_serial_lines() {
    let lines = [Line::new(), Line::new()];
    let [first, second] = lines.each_ref().map(|line| line.address(1));
    let more = ["--listen", &second, "-v"];
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &first, &more);
    for line in &lines {
        for _ in 0..2 {
            let output = cat(line, "hello");
            assert_exit(&output, 0);
            assert_eq!(output.stdout, HELLO);
        }
    }
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    let said = proxy.rest();
    let has = |part: &str| said.iter().any(|line| line.contains(part));
    assert!(has(&format!("listening on {first}, {second}")), "{said:#?}");
    for line in &lines {
        let port = format!("serial:{}", line.cable.port(1).display());
        assert!(has("link up, round trip") && has(&port), "{said:#?}");
        assert!(has(&format!("{port} channel 255")), "{said:#?}");
    }
}

#[test]
fn a_port_that_cannot_be_opened_ends_it_before_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let listen = |address: &str| {
        let output = run(&["proxy", "--listen", address]);
        let stderr = text(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        (output.status.code(), stderr)
    };
    let missing = format!("serial:{}/ttyUSB9", folder.path().display());
    let (code, stderr) = listen(&missing);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&missing) && stderr.contains("plugged in"), "{stderr}");

    let line = Line::new();
    let _proxy = Proxy::start_at("{\"s\": []}", &line.address(1), &[]);
    let (code, stderr) = listen(&line.address(1));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("choose another with --listen"), "{stderr}");
}

#[test]
fn a_mistake_in_an_address_is_told_with_what_to_write() {
    let output = run(&["proxy", "--listen", "serial:/dev/ttyS0?speed=9600"]);
    assert_exit(&output, 2);
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("there are baud=, rtscts=, profile=, framing=, keys= and forward_secrecy="),
        "{stderr}"
    );
}

#[test]
fn a_line_with_keys_is_encrypted_and_names_its_device() {
    use std::os::unix::fs::PermissionsExt;
    let line = Line::new();
    let key = "5a".repeat(32);
    let file = |name: &str, text: String| {
        let path = line._folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let table = file("table", format!("pump-3 {}\npump-4 {key}\n", "00".repeat(32)));
    let own = file("own", format!("pump-4 {key}\n"));
    let listen = format!("{}&keys={table}", line.address(1));
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &listen, &["-v"]);
    let at = |keys: &str| format!("{}{keys}", line.address(0));
    let get = |keys: &str, limit| run(&["cat", "--proxy", &at(keys), "--timeout", limit, "hello"]);
    let output = get(&format!("&keys={own}"), "40");
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
    // Without a key nothing passes, and both say why.
    let output = run(&["ping", "-c", "2", &at("")]);
    assert!(!output.status.success());
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(said.contains("the peer encrypts, and this end has no keys"), "{said}");
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    let said = proxy.rest();
    for part in ["encrypted for \"pump-4\"", "device \\\"pump-4\\\"", "the peer does not encrypt"] {
        assert!(said.iter().any(|line| line.contains(part)), "{part} {said:#?}");
    }
}

#[test]
fn a_proxy_that_is_to_speak_in_packets_alone_says_that_its_peer_does_not() {
    let line = Line::new();
    let proxy = format!("{}&framing=reliable", line.address(1));
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &proxy, &[]);
    let client = format!("{}&framing=plain", line.address(0));
    // Several clients, one line of the log.
    for _ in 0..3 {
        assert_exit(&run(&["cat", "--proxy", &client, "hello"]), 8);
    }
    assert_eq!(cat(&line, "hello").stdout, HELLO);
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    let said = proxy.rest();
    let refusals = said.iter().filter(|line| line.contains("framing=reliable refuses it"));
    let refusals = refusals.collect::<Vec<_>>();
    assert!(refusals.len() == 1 && refusals[0].contains("WARN"), "{said:#?}");
}

#[test]
fn a_client_that_is_to_speak_in_packets_alone_says_that_its_proxy_does_not() {
    let line = Line::new();
    let client = format!("{}&framing=reliable", line.address(0));
    let refusal = || {
        let output = run(&["cat", "--proxy", &client, "hello"]);
        assert_exit(&output, 8);
        text(&output.stderr)
    };
    let nobody = refusal();
    assert!(nobody.contains("nobody answers in packets"), "{nobody}");
    let proxy = format!("{}&framing=plain", line.address(1));
    let _proxy = Proxy::start_at(&Origin::start().policy(), &proxy, &[]);
    let plain = refusal();
    assert!(plain.contains("framing=reliable refuses it"), "{plain}");
}
