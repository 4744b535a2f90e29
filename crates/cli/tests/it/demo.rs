//! `sspc demo`

use std::process::Stdio;
use std::thread;

use crate::support::{Proxy, Stderr, assert_exit, random_address, run, sspc, text};

#[test]
fn all_goes_well_on_the_line_and_the_socket_however_many_demos_run() {
    let demos: Vec<_> =
        (0..2).map(|_| thread::spawn(|| run(&["demo", "--mebibytes", "16"]))).collect();
    for demo in demos {
        let output = demo.join().unwrap();
        assert_exit(&output, 0);
        let shown = text(&output.stdout);
        assert_eq!(text(&output.stderr), "");
        let mut rest = &*shown;
        // In this order.
        for expected in [
            "serial line, 2 Mbaud",
            "1. the link comes up  serial:/dev/pts/",
            "link      up, round trip ",
            "clock     the proxy has ",
            "2. three streams at once",
            "64.0 KiB in one message",
            "3. a download over a noisy line, and the ticker goes on",
            "384.0 KiB of 384.0 KiB",
            "% of the line's 200,000",
            "4. the cable is pulled",
            "cable     pulled",
            "link      down: ",
            "ticker    UPSTREAM_LINK_RETRY",
            "page      opened nevertheless",
            "cable     put back",
            "link      up, round trip ",
            "5. the same over a Unix socket",
            "6. many streams at once",
            "200 requests",
            "7. a long transfer",
            "16.0 MiB of 16.0 MiB",
            "sha256 ",
            "summary ",
            " requests on ",
        ] {
            let at = rest.find(expected);
            let at = at.unwrap_or_else(|| panic!("no {expected:?} where it should be in\n{shown}"));
            rest = &rest[at + expected.len()..];
        }
        for (act, expected) in [
            (2, "page      metadata mime: text/html; charset=utf-8"),
            (2, "page      payload 1446 B"),
            (2, "page      QOS_ACK_REMOTE"),
            (2, "upload    QOS_ACK_REMOTE"),
            (2, "ticker    payload 40 B {\"symbol\":\"SSPC\",\"seq\":1,"),
            (2, "h2, TLS 1.3, "),
            (2, "ws, TLS 1.3, compressed"),
            (3, "messages beside it"),
            (3, "packets came harmed, and then right"),
            // All comes again, from the beginning.
            (4, "ticker    DISCONNECTED"),
            (4, "ticker    CONNECTED"),
            (4, "ticker    payload 40 B {\"symbol\":\"SSPC\",\"seq\":0,"),
            (4, "page      payload 1446 B"),
            (4, "page      QOS_ACK_REMOTE"),
            (5, "new connection, h1, clear"),
        ] {
            let act =
                shown.split("\n\n").find(|part| part.starts_with(&format!("{act}. "))).unwrap();
            assert!(act.contains(expected), "no {expected:?} in\n{act}\nof\n{shown}");
        }
        assert!(!shown.contains("wrong") && !shown.contains("WRONG"), "{shown}");
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
            assert!(!line.contains('\x1b'), "colours without a terminal: {line}");
        }
    }
}

#[test]
fn its_web_server_serves_a_proxy_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("demo.json");
    let mut command = sspc(&["demo", "--serve", file.to_str().unwrap()]);
    let mut origin = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let ready = Stderr::of(&mut origin).wait_for("");
    assert_eq!(ready, format!("sspc demo: ready: policy in {}", file.display()));

    let policy = std::fs::read_to_string(&file).unwrap();
    let proxy = Proxy::start_at(&policy, &random_address(), &[]);
    let page = proxy.cat(&["page"]);
    assert_exit(&page, 0);
    assert!(text(&page.stdout).contains("Hello, Secure Streams"));
    let prices = proxy.cat(&["ticker", "--count", "2"]);
    assert_exit(&prices, 0);
    assert!(text(&prices.stdout).contains("\"seq\":1"));
    origin.kill().unwrap();
    origin.wait().unwrap();
}
