//! `sspc trace`

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, random_address, run, sspc, text};

/// `sspc trace`, once it follows.
fn trace(proxy: &Proxy, args: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = sspc(&["trace", "--proxy", &proxy.address]);
    let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

/// Fetches pages until the trace, which may have come late, has seen one from its beginning on.
fn until(proxy: &Proxy, lines: &mut impl Iterator<Item = String>, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let address = proxy.address.clone();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                assert_exit(&run(&["cat", "--proxy", &address, "hello"]), 0);
            }
        });
        let mut has_begun = false;
        for line in lines {
            has_begun |= line.contains("STREAMTYPE") || line.contains("\"bytes\":\"aa");
            if has_begun {
                let is_last = line.contains(last);
                seen.push(line);
                if is_last {
                    break;
                }
            }
        }
        drop(stop);
    });
    seen
}

#[test]
fn the_frames_of_live_streams_are_shown_as_they_pass() {
    let proxy = Proxy::start_at(&Origin::start().policy(), &random_address(), &[]);
    let (mut child, mut lines) = trace(&proxy, &["hello", "--client", "process"]);
    let seen = until(&proxy, &mut lines, "QOS_ACK_REMOTE");
    for part in [
        "STREAMTYPE hello version=1",
        "CREATE_RESULT 0",
        "ONWARD_CONNECT",
        "CONNSTATE CONNECTED",
        &format!("RX_PAYLOAD SOM|EOM {} bytes", HELLO.len()),
    ] {
        assert!(seen.iter().any(|line| line.contains(part)), "no {part:?} in {seen:#?}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn as_json_each_frame_is_an_object() {
    let proxy = Proxy::start_at(&Origin::start().policy(), &random_address(), &[]);
    let (mut child, mut lines) = trace(&proxy, &["--json"]);
    let seen = until(&proxy, &mut lines, "\"bytes\":\"55");
    let first: serde_json::Value = serde_json::from_str(&seen[0]).unwrap();
    assert_eq!((&first["direction"], &first["streamtype"]), (&"to_proxy".into(), &"hello".into()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_a_proxy_it_says_so() {
    let output = run(&["trace", "--proxy", &random_address()]);
    assert_exit(&output, 8);
    assert!(text(&output.stderr).contains("no proxy shows itself at"), "{}", text(&output.stderr));
}
