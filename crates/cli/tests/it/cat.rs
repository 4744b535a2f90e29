//! `sspc cat`

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use sspc_wire::{Piece, ToClient};

use crate::support::origin::{HELLO, MESSAGES, Origin};
use crate::support::script::ScriptedProxy;
use crate::support::{
    Proxy, Stderr, assert_exit, finish, random_address, run, signal, sspc, text, wait,
};

#[test]
fn payload_comes_to_stdout_byte_for_byte() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["hello"]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn states_and_metadata_come_to_stderr_with_their_times() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["hello", "--states"]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
    let stderr = text(&output.stderr);
    let said: Vec<&str> = stderr
        .lines()
        .map(|line| {
            let (time, what) = line.split_once(' ').unwrap();
            let seconds = time.strip_prefix('+').unwrap();
            assert!(seconds.parse::<f64>().is_ok(), "{line}");
            assert_eq!(seconds.split_once('.').unwrap().1.len(), 3, "{line}");
            what
        })
        .collect();
    assert_eq!(
        said,
        ["CREATING", "CONNECTING", "mime=text/html", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"]
    );
}

#[test]
fn measurements_come_to_stderr_with_the_states() {
    let policy = Origin::start().policy();
    let measured = policy.replace(r#""hello": {"#, r#""hello": {"perf": true, "#);
    let proxy = Proxy::start(&measured);
    let output = proxy.cat(&["hello", "--states"]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
    let stderr = text(&output.stderr);
    let perf: Vec<_> = stderr.lines().filter_map(|line| line.split_once(" PERF ")).collect();
    assert_eq!(perf.len(), 1, "{stderr}");
    assert!(perf[0].1.starts_with(r#"{"peer":"127.0.0.1","#), "{stderr}");
    assert_eq!(text(&proxy.cat(&["hello"]).stderr), "");
}

#[test]
fn metadata_is_set_before_connecting() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["any", "--meta", "path=hello"]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
}

#[test]
fn it_works_over_a_socket_file_and_over_tcp() {
    let policy = Origin::start().policy();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let address = format!("uds:{}", path.display());
    let mut proxy = Proxy::start_at(&policy, &format!("{address}?mode=0620"), &[]);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o620);
    proxy.address = address;
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(&file, &policy).unwrap();
    let command =
        sspc(&["proxy", "--policy", file.to_str().unwrap(), "--listen", "tcp:127.0.0.1:0"]);
    let mut proxy = Proxy::spawn(command, "", dir);
    let ready = proxy.wait_for("ready");
    proxy.address = ready.split_once("listening on ").unwrap().1.to_owned();
    assert!(!proxy.address.ends_with(":0"), "{ready}");
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
}

#[test]
fn a_file_is_sent_with_its_length() {
    let proxy = Proxy::start(&Origin::start().policy());
    let body: Vec<u8> = (0..300_000_u32).map(|i| ((i * 7) >> 3) as u8).collect();
    let file = proxy.dir().join("body");
    std::fs::write(&file, &body).unwrap();
    let output = proxy.cat(&["upload", "--data", file.to_str().unwrap()]);
    assert_exit(&output, 0);
    let expected = [format!("length {}\n", body.len()).as_bytes(), &body].concat();
    assert!(output.stdout == expected, "{} bytes came", output.stdout.len());
}

#[test]
fn an_empty_file_is_an_empty_body() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["upload", "--data", "/dev/null"]);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), "chunked\n");
    let file = proxy.dir().join("empty");
    std::fs::write(&file, b"").unwrap();
    let output = proxy.cat(&["upload", "--data", file.to_str().unwrap()]);
    assert_exit(&output, 0);
    // A length of 0 is none, in the protocol.
    assert_eq!(text(&output.stdout), "chunked\n");
}

#[test]
fn stdin_is_sent_in_chunks() {
    let proxy = Proxy::start(&Origin::start().policy());
    let body = vec![b'x'; 200_000];
    let output = proxy.cat_with(&["upload", "--data", "-"], &body);
    assert_exit(&output, 0);
    assert!(output.stdout == [b"chunked\n", body.as_slice()].concat());
}

#[test]
fn messages_are_counted() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["messages", "--count", "2"]);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), "onetwo\n");

    let output = proxy.cat(&["messages", "--count", "4"]);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), MESSAGES.concat());

    let output = proxy.cat(&["messages", "--count", "5"]);
    assert_exit(&output, 1);
    assert_eq!(text(&output.stdout), MESSAGES.concat());
    assert_eq!(
        text(&output.stderr),
        "sspc: the connection ended with 1 message still to come (--count)\n"
    );
}

#[test]
fn without_a_count_messages_go_on_until_the_peer_ends_them() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["messages"]);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), MESSAGES.concat());
}

#[test]
fn a_body_cut_short_is_exit_code_1() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["cut"]);
    assert_exit(&output, 1);
    assert_eq!(text(&output.stdout), "half");
    assert_eq!(text(&output.stderr), "sspc: incomplete: the connection ended inside a message\n");
}

#[test]
fn a_file_that_cannot_be_read_is_exit_code_1() {
    let output = run(&["cat", "hello", "--data", "/nowhere/at/all"]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).starts_with("sspc: cannot read /nowhere/at/all: "));
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for wrong in [
        &["cat"][..],
        &["cat", ""],
        &["cat", "a-name-of-more-than-thirty-one-bytes"],
        &["cat", "hello", "--proxy", "nonsense"],
        &["cat", "hello", "--meta", "no-value"],
        &["cat", "hello", "--count", "0"],
        &["cat", "hello", "--timeout", "soon"],
        &["nothing-of-the-kind"],
    ] {
        let output = run(wrong);
        assert_exit(&output, 2);
        assert!(text(&output.stderr).contains("error: "), "{wrong:?}");
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn a_refusal_by_the_remote_peer_is_exit_code_4() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["missing"]);
    assert_exit(&output, 4);
    assert_eq!(text(&output.stdout), "no such page\n");
    assert_eq!(text(&output.stderr), "sspc: the remote peer refused (QOS_NACK_REMOTE)\n");
}

#[test]
fn an_unreachable_peer_is_exit_code_5_when_the_retries_are_used_up() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["refused", "--states"]);
    assert_exit(&output, 5);
    let stderr = text(&output.stderr);
    assert_eq!(stderr.matches(" UNREACHABLE").count(), 3, "{stderr}");
    assert_eq!(stderr.matches(" ALL_RETRIES_FAILED").count(), 1, "{stderr}");
}

#[test]
fn an_unreachable_peer_without_retries_is_exit_code_5() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["once"]);
    assert_exit(&output, 5);
    assert!(text(&output.stderr).starts_with("sspc: unreachable"));
}

#[test]
fn an_unknown_streamtype_is_exit_code_6() {
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["nonesuch"]);
    assert_exit(&output, 6);
    assert!(text(&output.stderr).contains("refuses the streamtype \"nonesuch\""));
}

/// "Does its policy define it?" was what a client heard whose proxy had no room, or whose policy does
/// define it. What it hears must be true of each reason, and the log must name the one.
#[test]
fn each_reason_of_a_refusal_is_true_at_the_client_and_named_in_the_log() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let policy = format!(
        r#"{{"s": [{{"open": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "raw"}}}},
                   {{"sink": {{"local_sink": true}}}}]}}"#
    );
    let address = random_address();
    let mut proxy = Proxy::start_at(&policy, &address, &["--limit", "sessions=1"]);
    let refused = |proxy: &Proxy, name: &str| {
        let output = proxy.cat(&[name]);
        assert_exit(&output, 6);
        let said = text(&output.stderr);
        assert!(!said.contains('?') && !said.contains("result"), "{said}");
        let start = format!("sspc: the proxy refuses the streamtype \"{name}\": ");
        assert!(said.starts_with(&start), "{said}");
        for reason in ["policy does not have it", "does not support", "no room for another stream"]
        {
            assert!(said.contains(reason), "{said}");
        }
    };
    refused(&proxy, "opne");
    let said = proxy.wait_for("refused: ");
    assert!(said.contains("has no streamtype \"opne\"; did you mean `open`?"), "{said}");
    refused(&proxy, "sink");
    let said = proxy.wait_for("refused: ");
    assert!(
        said.contains("has streamtype \"sink\", but `local_sink` has no meaning behind a proxy"),
        "{said}"
    );
    let mut other = proxy.cat_spawn(&["open", "--states"]);
    Stderr::of(&mut other).wait_for("CONNECTED");
    refused(&proxy, "open");
    other.kill().unwrap();
    other.wait().unwrap();
    let said = proxy.wait_for("refused: ");
    assert!(said.contains("--limit sessions=N raises that"), "{said}");
}

#[test]
fn a_timeout_is_exit_code_7() {
    let proxy = Proxy::start(&Origin::start().policy());
    let mut child = proxy.cat_spawn(&["silent", "--timeout", "0.5", "--states"]);
    let output = {
        let status = wait(&mut child);
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(status.code(), Some(7), "{stderr}");
        stderr
    };
    assert!(output.contains(" CONNECTING\n"), "{output}");
    assert!(output.ends_with("sspc: timeout: not finished after 0.5 s (--timeout)\n"), "{output}");
}

#[test]
fn no_proxy_is_exit_code_8() {
    let address = random_address();
    let output = run(&["cat", "hello", "--proxy", &address]);
    assert_exit(&output, 8);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with(&format!("sspc: no proxy at {address}: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn metadata_that_the_policy_does_not_declare_is_named() {
    // The proxy hangs up over it; the client was told nothing, and waited for ever.
    let proxy = Proxy::start(&Origin::start().policy());
    let output = proxy.cat(&["any", "--meta", "path=hello", "--meta", "typo=x", "--states"]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    let states: Vec<_> = stderr.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!([states[0].1, states[1].1], ["CREATING", "UPSTREAM_LINK_RETRY"], "{stderr}");
    assert_eq!(
        stderr.lines().last(),
        Some(
            "sspc: the proxy closed the stream before it began to connect; does its policy \
             declare the metadata \"path\", \"typo\" (--meta), and may this client set it to that? \
             The proxy's log says more"
        )
    );
}

#[test]
fn a_proxy_that_dies_in_the_middle_is_exit_code_8() {
    let mut proxy = Proxy::start(&Origin::start().policy());
    let mut child = proxy.cat_spawn(&["any", "--meta", "path=zeros/1000000000000"]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1000]).unwrap();
    proxy.child.kill().unwrap();
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    let status = wait(&mut child);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(8), "{stderr}");
    assert_eq!(stderr, "sspc: the link to the proxy was lost in the middle of the stream\n");
}

#[test]
fn a_proxy_that_dies_before_the_answer_is_exit_code_8() {
    let mut proxy = Proxy::start(&Origin::start().policy());
    let mut child = proxy.cat_spawn(&["silent", "--states"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with(" CONNECTING")));
    proxy.child.kill().unwrap();
    let rest: Vec<_> = lines.collect();
    assert_eq!(wait(&mut child).code(), Some(8), "{rest:?}");
    assert!(rest[0].ends_with(" UPSTREAM_LINK_RETRY"), "{rest:?}");
}

#[test]
fn ctrl_c_ends_it_with_130() {
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &random_address(), &["-vv"]);
    let child = proxy.cat_spawn(&["silent"]);
    proxy.wait_for("silent");
    signal(&child, Signal::SIGINT);
    let output = finish(child, b"");
    assert_exit(&output, 130);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_reader_of_stderr_that_stalls_does_not_keep_it_from_ending() {
    // It waited in its write to stderr, and for no signal.
    let proxy = ScriptedProxy::new();
    let mut command = sspc(&["cat", "--proxy", &proxy.address, "any", "--states"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut client = proxy.accept();
    client.create(1000);
    let value = Piece::whole(&[b'x'; 1000]).unwrap();
    client.write_until_it_stalls(&ToClient::Metadata { name: b"name", value });
    signal(&child, Signal::SIGTERM);
    assert_eq!(wait(&mut child).code(), Some(143));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let proxy = Proxy::start(&Origin::start().policy());
    let mut child = proxy.cat_spawn(&["any", "--meta", "path=zeros/1000000000"]);
    let mut some = [0; 1000];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    let status = wait(&mut child);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

/// What is under way between the origin and a stalled reader: two sockets' and a pipe's buffers,
/// the proxy's, the client's window and the queue before stdout.
const UNDER_WAY_MAX: u64 = 40 << 20;

#[test]
fn a_reader_that_stalls_stops_the_origin() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin.policy());
    let len: u64 = 96 << 20;
    let mut child = proxy.cat_spawn(&["any", "--meta", &format!("path=zeros/{len}")]);
    let mut seen = vec![0];
    let stopped = |seen: &[u64]| match seen {
        [.., first, second, third] => *first > 0 && first == second && second == third,
        _ => false,
    };
    while !stopped(&seen) {
        assert!(seen.len() < 600, "the origin does not come to rest: {seen:?}");
        thread::sleep(Duration::from_millis(100));
        seen.push(origin.sent.load(Ordering::Relaxed));
    }
    assert!(seen[seen.len() - 1] < UNDER_WAY_MAX, "so much is under way: {seen:?}");

    let mut stdout = child.stdout.take().unwrap();
    let mut all = Vec::new();
    stdout.read_to_end(&mut all).unwrap();
    assert_eq!(all.len() as u64, len);
    assert_eq!(wait(&mut child).code(), Some(0));
}
