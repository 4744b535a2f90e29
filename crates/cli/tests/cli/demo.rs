//! `sspc demo`

use std::thread;

use crate::run::{assert_exit, run, text};

#[test]
fn every_byte_is_right_however_many_demos_run() {
    let demos: Vec<_> =
        (0..2).map(|_| thread::spawn(|| run(&["demo", "--mebibytes", "16"]))).collect();
    for demo in demos {
        let output = demo.join().unwrap();
        assert_exit(&output, 0);
        let shown = text(&output.stdout);
        assert_eq!(text(&output.stderr), "");
        for expected in [
            "CONNECTED",
            "QOS_ACK_REMOTE",
            "metadata mime: text/html; charset=utf-8",
            "\"symbol\":\"SSPC\",\"seq\":24",
            "200 requests",
            "16.0 MiB of 16.0 MiB",
            "sha256 ",
            "no TCP, no TLS, no HTTP",
        ] {
            assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
        }
        assert!(!shown.contains("WRONG"), "{shown}");
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
            assert!(!line.contains('\x1b'), "colours without a terminal: {line}");
        }
    }
}
