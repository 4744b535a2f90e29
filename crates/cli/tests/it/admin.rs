//! Where a proxy shows what it does, and who sees it.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::origin::Origin;
use crate::support::{Proxy, assert_exit, random_address, run, signal, text};

/// What the admin side at `uds:@NAME` answers.
fn ask(address: &str, path: &str) -> String {
    let name = SocketAddr::from_abstract_name(address.strip_prefix("uds:@").unwrap()).unwrap();
    let mut link = UnixStream::connect_addr(&name).unwrap();
    link.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    link.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    link.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn status(address: &str) -> Value {
    serde_json::from_str(&ask(address, "/api/v1/status")).unwrap()
}

#[test]
fn it_is_beside_the_proxys_socket_and_knows_its_policy() {
    let mut proxy = Proxy::start(&Origin::start().policy());
    let admin = format!("{}.admin", proxy.address);
    // It says "ready" when it is about to take clients.
    while ask(&admin, "/readyz") != "ready\n" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let seen = status(&admin);
    assert_eq!(seen["policy"]["source"], proxy.policy_file().to_str().unwrap());
    assert_eq!(seen["proxy"]["listeners"][0], proxy.address.as_str());

    std::fs::write(proxy.policy_file(), r#"{"s": 5}"#).unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("not reloaded");
    let seen = status(&admin);
    assert!(seen["policy"]["last_error"].as_str().unwrap().contains("error"), "{seen}");
    assert_eq!(seen["policy"]["streamtypes"], 9);
}

#[test]
fn with_none_there_is_none() {
    let address = random_address();
    let _proxy = Proxy::start_at(&Origin::start().policy(), &address, &["--admin", "none"]);
    let name = format!("{}.admin", address.strip_prefix("uds:@").unwrap());
    assert!(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).is_err());
}

#[test]
fn an_address_that_was_asked_for_must_be_free() {
    let taken = random_address();
    let name = taken.strip_prefix("uds:@").unwrap();
    let _other =
        std::os::unix::net::UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap());
    let output = run(&["proxy", "--listen", &random_address(), "--admin", &taken]);
    assert_exit(&output, 1);
    let said = text(&output.stderr);
    assert!(said.contains(&taken) && said.contains("--admin"), "{said}");
    let wrong = run(&["proxy", "--admin", "http:0.0.0.0:9090"]);
    assert_exit(&wrong, 2);
    assert!(text(&wrong.stderr).contains("loopback"), "{}", text(&wrong.stderr));
}

#[test]
fn a_proxy_goes_on_without_one_that_nobody_asked_for() {
    let address = random_address();
    let name = format!("{}.admin", address.strip_prefix("uds:@").unwrap());
    let _other =
        std::os::unix::net::UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap());
    let origin = Origin::start();
    let mut proxy = Proxy::start_at(&origin.policy(), &address, &[]);
    assert_exit(&proxy.cat(&["hello"]), 0);
    signal(&proxy.child, Signal::SIGTERM);
    let said = proxy.rest();
    assert!(said.iter().any(|line| line.contains("no admin side yet")), "{said:#?}");
}

#[test]
fn status_shows_streams_failures_and_the_policy() {
    let proxy = Proxy::start(&Origin::start().policy());
    assert_exit(&proxy.cat(&["missing"]), 4);
    let mut waits = proxy.cat_spawn(&["silent"]);
    let admin = format!("{}.admin", proxy.address);
    while status_of(&admin, "silent") != "CONNECTING" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = run(&["status", "--proxy", &proxy.address]);
    assert_exit(&output, 0);
    let shown = text(&output.stdout);
    for part in [
        "ready, up",
        "9 streamtypes",
        "silent      CONNECTING",
        "nacked  upstream",
        "answered with 404",
        "LEADS TO",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours where there is no terminal:\n{shown}");
    let output = run(&["status", "--admin", &admin, "--json"]);
    assert_exit(&output, 0);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all["sessions"]["rows"][0]["streamtype"], "silent");
    assert_eq!(all["failures"][0]["status"], 404);
    waits.kill().unwrap();
    waits.wait().unwrap();
}

fn status_of(admin: &str, streamtype: &str) -> String {
    let path = format!("/api/v1/sessions?streamtype={streamtype}");
    let found: Value = serde_json::from_str(&ask(admin, &path)).unwrap();
    found["rows"][0]["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn status_says_when_there_is_no_proxy_and_what_it_cannot_ask() {
    let nobody = random_address();
    let output = run(&["status", "--proxy", &nobody]);
    assert_exit(&output, 8);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("{nobody}.admin")) && said.contains("--admin"), "{said}");
    let output = run(&["status", "--proxy", "tcp:localhost:1"]);
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("--admin"), "{}", text(&output.stderr));
}
