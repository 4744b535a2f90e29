//! `--cookie-file`: cookies that outlive the proxy.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use tempfile::tempdir;

use crate::support::{Proxy, assert_exit, random_address, run, signal, text, wait};

/// Answers each request with the cookies that it came with, and sets one that lasts and one that does
/// not.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() > 0 {
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let mut lines = head.lines().map(str::to_lowercase);
            let cookies = lines.find_map(|line| Some(line.strip_prefix("cookie: ")?.to_owned()));
            let cookies = cookies.unwrap_or_else(|| "none".to_owned());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nset-cookie: lasts=1; Max-Age=3600\r\nset-cookie: session=2\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{cookies}",
                cookies.len()
            );
            socket.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

fn policy(port: u16) -> String {
    format!(
        r#"{{"s": [{{"page": {{"endpoint": "127.0.0.1", "port": {port}, "http_cookies": true}}}}]}}"#
    )
}

fn start(policy: &str, file: &Path) -> Proxy {
    Proxy::start_at(policy, &random_address(), &["--cookie-file", file.to_str().unwrap()])
}

fn page(proxy: &Proxy) -> String {
    let output = proxy.cat(&["page"]);
    assert_exit(&output, 0);
    text(&output.stdout)
}

fn stop(mut proxy: Proxy) {
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
}

/// All cookies were gone with the proxy that had them.
#[test]
fn cookies_outlive_the_proxy_unless_they_are_for_the_session() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("cookies.json");
    let policy = policy(server());
    let proxy = start(&policy, &file);
    assert_eq!(page(&proxy), "none");
    assert_eq!(page(&proxy), "lasts=1; session=2");
    stop(proxy);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains("lasts") && !kept.contains("session"), "{kept}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something else was left there");

    let proxy = start(&policy, &file);
    assert_eq!(page(&proxy), "lasts=1");
    // A proxy that is killed loses what servers set last, and nothing that it began with.
    signal(&proxy.child, Signal::SIGKILL);
    drop(proxy);
    let proxy = start(&policy, &file);
    assert_eq!(page(&proxy), "lasts=1");
}

/// What is set is written without waiting for the end, which may be a cut of the power.
#[test]
fn cookies_are_written_while_the_proxy_runs() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("cookies.json");
    let proxy = start(&policy(server()), &file);
    assert!(!fs::read_to_string(&file).unwrap().contains("lasts"));
    page(&proxy);
    let is_written = || fs::read_to_string(&file).unwrap().contains("lasts");
    let written = (0..600).any(|_| {
        thread::sleep(std::time::Duration::from_millis(100));
        is_written()
    });
    assert!(written, "not within a minute");
}

#[test]
fn a_file_that_is_not_good_is_an_error_that_says_what_to_do() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("cookies.json");
    let path = file.to_str().unwrap();
    let refused = || {
        let output = run(&["proxy", "-l", &random_address(), "--cookie-file", path]);
        assert_exit(&output, 1);
        text(&output.stderr)
    };
    let write = |text: &str, mode| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("{\"jars\": [{\"client\": \"secret", 0o600);
    let said = refused();
    let expected = format!(
        "sspc: --cookie-file {path}: line 1, column 28: not what a proxy wrote; mend it, or remove it \
         to begin without cookies\n"
    );
    assert_eq!(said, expected);
    // It was left as it is.
    assert!(fs::read_to_string(&file).unwrap().contains("secret"));
    write("{\"jars\": []}", 0o644);
    assert!(refused().contains("its mode is 644"), "{}", refused());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(refused().contains(path));
    let nowhere = run(&["proxy", "-l", &random_address(), "--cookie-file", "/nowhere/c.json"]);
    assert_exit(&nowhere, 1);
    assert!(text(&nowhere.stderr).contains("/nowhere/c.json: it cannot be made"));
}
