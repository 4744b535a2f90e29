//! What `sspc cat --data` says of payload that was not sent.

use std::process::{Child, Output, Stdio};

use sspc_wire::State;

use crate::support::origin::Origin;
use crate::support::script::{Client, ScriptedProxy, message, state};
use crate::support::{Proxy, assert_exit, finish, run, sspc, text};

/// `sspc cat` of a file of so many bytes, or of stdin.
fn cat(proxy: &ScriptedProxy, file: Option<usize>, more: &[&str]) -> Child {
    let path = proxy.dir.path().join("data");
    let mut command = sspc(&["cat", "--proxy", &proxy.address, "--timeout", "40", "upload"]);
    match file {
        Some(length) => {
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            command.arg("--data").arg(&path);
        }
        None => {
            command.args(["--data", "-"]).stdin(Stdio::piped());
        }
    }
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A server answers as soon as it has the first 1,000 bytes, and hangs up.
fn answer_early(client: &mut Client, verdict: State) {
    client.create(1000);
    client.wait_for("ONWARD_CONNECT");
    client.write(&[state(State::Connecting), state(State::Connected)]);
    while client.payload.len() < 1000 {
        client.wait_for("TX_PAYLOAD");
    }
    client.write(&[message(b"done"), state(verdict), state(State::Disconnected)]);
}

/// Nothing came that makes a request, or is part of one.
fn assert_no_request(frames: &[&str]) {
    let is_quiet = |frame: &&str| matches!(*frame, "TXCR_UPDATE" | "DESTROYING");
    assert!(frames.iter().all(is_quiet), "{frames:?}");
}

fn assert_unsent(output: &Output) {
    assert_exit(output, 3);
    assert_eq!(text(&output.stdout), "done");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("before everything was sent"), "{stderr}");
}

#[test]
fn an_answer_before_the_end_of_a_file_is_exit_code_3() {
    // It was exit code 0 with half of the file sent.
    let proxy = ScriptedProxy::new();
    let child = cat(&proxy, Some(2000), &[]);
    let mut client = proxy.accept();
    answer_early(&mut client, State::QosAckRemote);
    assert_unsent(&finish(child, b""));
    assert_no_request(&client.rest());
}

#[test]
fn an_answer_before_the_end_of_stdin_is_exit_code_3() {
    let proxy = ScriptedProxy::new();
    let mut child = cat(&proxy, None, &[]);
    // It stays open.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &[b'x'; 1000]).unwrap();
    let mut client = proxy.accept();
    answer_early(&mut client, State::QosAckRemote);
    assert_unsent(&finish(child, b""));
}

#[test]
fn a_refusal_before_the_end_is_a_refusal() {
    let proxy = ScriptedProxy::new();
    let child = cat(&proxy, Some(2000), &[]);
    answer_early(&mut proxy.accept(), State::QosNackRemote);
    assert_exit(&finish(child, b""), 4);
}

#[test]
fn an_answer_after_everything_was_sent_is_exit_code_0() {
    let proxy = ScriptedProxy::new();
    let child = cat(&proxy, Some(1000), &[]);
    answer_early(&mut proxy.accept(), State::QosAckRemote);
    let output = finish(child, b"");
    assert_exit(&output, 0);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_streamtype_that_takes_no_payload_is_exit_code_9() {
    // It made the request, and a second one, sent nothing, and said that all went well.
    for file in [Some(1000), None] {
        let proxy = ScriptedProxy::new();
        let child = cat(&proxy, file, &[]);
        let mut client = proxy.accept();
        client.create(0);
        let output = finish(child, b"hello");
        assert_exit(&output, 9);
        let stderr = text(&output.stderr);
        assert!(stderr.contains("takes no payload"), "{stderr}");
        assert_eq!(output.stdout, b"");
        assert_no_request(&client.rest());
    }
}

#[test]
fn a_get_takes_no_payload() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin.policy());
    let file = proxy.dir().join("data");
    std::fs::write(&file, "hello").unwrap();
    let output = proxy.cat(&["hello", "--data", file.to_str().unwrap()]);
    assert_exit(&output, 9);
    assert_eq!(output.stdout, b"");
    let output = proxy.cat_with(&["hello", "--data", "-"], b"hello");
    assert_exit(&output, 9);
}

#[test]
fn without_data_such_a_streamtype_is_as_any_other() {
    let proxy = ScriptedProxy::new();
    let address = proxy.address.clone();
    let served = std::thread::spawn(move || {
        let mut client = proxy.accept();
        client.create(0);
        client.wait_for("ONWARD_CONNECT");
        let transaction = [State::Connecting, State::Connected].map(state);
        client.write(&transaction);
        client.write(&[message(b"page"), state(State::QosAckRemote), state(State::Disconnected)]);
        client.rest()
    });
    let output = run(&["cat", "--proxy", &address, "page", "--timeout", "40"]);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), "page");
    assert_no_request(&served.join().unwrap());
}
