//! `sspc proxy --access-log`

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, random_address, run, signal, text, wait};

/// Ready when the file has so many lines.
fn lines(file: &Path, count: usize) -> Vec<String> {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count || Instant::now() > patience {
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_transaction_is_a_line_with_who_where_and_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let (file, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let policy = Origin::start().policy();
    let log = file.to_str().unwrap();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &["--access-log", log]);
    assert_exit(&proxy.cat(&["hello"]), 0);
    let first = lines(&file, 1).remove(0);
    let uid = nix::unistd::getuid();
    for part in [
        "time=2",
        &format!(" client=\"user {uid}\" peer=\"process "),
        " streamtype=hello protocol=h1 endpoint=127.0.0.1:",
        " status=200 outcome=acked ",
        &format!(" from_client=0 to_client={} ", HELLO.len()),
        " reused=false",
    ] {
        assert!(first.contains(part), "{part:?} in {first}");
    }
    // As logrotate does it.
    fs::rename(&file, &moved).unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("reloaded");
    assert_exit(&proxy.cat(&["hello"]), 0);
    lines(&file, 1);
    lines(&moved, 1);
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    lines(&file, 1);
}

#[test]
fn as_json_each_line_is_an_object_and_failures_have_their_cause() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let policy =
        r#"{"s": [{"far": {"endpoint": "far.invalid", "port": 80, "opportunistic": true}}]}"#;
    let options = ["--log", "json", "--access-log", file.to_str().unwrap()];
    let proxy = Proxy::start_at(policy, &random_address(), &options);
    assert!(!proxy.cat(&["far"]).status.success());
    let line: serde_json::Value = serde_json::from_str(&lines(&file, 1)[0]).unwrap();
    assert_eq!(line["streamtype"], "far");
    assert_eq!(line["whose"], "upstream", "{line}");
    assert!(line["why"].as_str().unwrap().contains("far.invalid"), "{line}");
    assert!(line["total_us"].is_u64() && line.get("status").is_none(), "{line}");
}

#[test]
fn what_cannot_be_opened_is_known_before_anybody_is_served() {
    let output = run(&["proxy", "-l", &random_address(), "--access-log", "/nowhere/at/all.log"]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("--access-log /nowhere/at/all.log: No such file"), "{stderr}");
}

#[test]
fn a_collector_gets_what_happens_until_the_end() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &["--otlp", &url]);
    assert_exit(&proxy.cat(&["hello"]), 0);
    let (mut link, _) = collector.accept().unwrap();
    let mut got = Vec::new();
    while !got.windows(5).any(|part| part == b"hello") {
        let mut room = [0; 4096];
        let length = std::io::Read::read(&mut link, &mut room).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&room[..length]);
    }
    assert!(got.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
    // A collector that never answers holds up nobody's end.
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));

    let output = run(&["proxy", "-l", &random_address(), "--otlp", "localhost:4318"]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("--otlp: localhost:4318/v1/traces is not an http: or https: URL"));
}
