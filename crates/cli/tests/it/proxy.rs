//! `sspc proxy`

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Child;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, random_address, run, signal, sspc, text, wait};

#[test]
fn one_line_says_that_it_is_ready() {
    let mut proxy = {
        let dir = tempfile::tempdir().unwrap();
        let address = random_address();
        Proxy::spawn(sspc(&["proxy", "--listen", &address]), &address, dir)
    };
    let ready = proxy.wait_for("");
    // Without a policy: the embedded default.
    let expected = format!("sspc proxy: ready: 2 streamtypes, listening on {}", proxy.address);
    assert_eq!(ready, expected);
}

#[test]
fn with_a_json_log_all_of_stderr_is_json() {
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &["--log", "json", "-v"]);
    assert_exit(&proxy.cat(&["hello"]), 0);
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    for line in proxy.rest() {
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
    }
}

#[test]
fn a_wrong_policy_ends_it_before_it_listens() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(&file, "{\"s\": [\n  {\"hello\": {\"endpoint\": 7}}\n]}\n").unwrap();
    let socket = dir.path().join("proxy.sock");
    let listen = format!("uds:{}", socket.display());
    let output = run(&["proxy", "--policy", file.to_str().unwrap(), "--listen", &listen]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("policy.json:2:"), "{stderr}");
    assert!(stderr.ends_with("sspc: the policy has 1 error\n"), "{stderr}");
    assert!(!socket.exists());
}

#[test]
fn an_address_in_use_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("proxy.sock");
    let _other = UnixListener::bind(&socket).unwrap();
    let listen = format!("uds:{}", socket.display());
    let output = run(&["proxy", "--listen", &listen]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains(&listen), "{stderr}");
    assert!(stderr.contains("choose another with --listen"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// An HTTP proxy that connects to no server but answers in its place, once.
fn http_proxy() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let running = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let heads: Vec<String> = [String::new(), format!("content-length: {}\r\n", HELLO.len())]
            .map(|answer| {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<_> =
                    lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
                write!(stream, "HTTP/1.1 200 OK\r\n{answer}\r\n").unwrap();
                head.join("|")
            })
            .into();
        stream.write_all(HELLO).unwrap();
        heads[0].clone()
    });
    (port, running)
}

#[test]
fn the_environments_proxy_is_the_way_out() {
    let (port, running) = http_proxy();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(
        &file,
        r#"{"s": [{"far": {"endpoint": "far.invalid", "port": 80, "opportunistic": true}}]}"#,
    )
    .unwrap();
    let address = random_address();
    let mut command = sspc(&["proxy", "--policy", file.to_str().unwrap(), "--listen", &address]);
    command.env("http_proxy", format!("127.0.0.1:{port}"));
    let mut proxy = Proxy::spawn(command, &address, dir);
    proxy.wait_for("ready");
    let output = proxy.cat(&["far"]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
    let asked = running.join().unwrap();
    assert_eq!(asked, "CONNECT far.invalid:80 HTTP/1.1|Host: far.invalid:80");

    let mut command = sspc(&["proxy", "--listen", &random_address()]);
    let output = command.env("ALL_PROXY", "ftp://x:1").output().unwrap();
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("sspc: the environment's all_proxy is not a proxy"), "{stderr}");
}

/// A server that says of each request what its authorization was.
fn authorizations() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, all) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let lines = lines.map(|line| line.map(|line| line.to_ascii_lowercase()));
            let mut head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
            let found = head.by_ref().find(|line| line.starts_with("authorization: "));
            head.for_each(drop);
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer.as_bytes()).unwrap();
            if seen.send(found.unwrap_or_default()).is_err() {
                return;
            }
        }
    });
    (port, all)
}

#[test]
fn credentials_come_from_a_file_and_again_at_sighup() {
    let (port, seen) = authorizations();
    let dir = tempfile::tempdir().unwrap();
    let [token, file] = ["token", "credentials.json"].map(|name| dir.path().join(name));
    let policy = format!(
        r#"{{"s": [{{"api": {{"endpoint": "localhost", "port": {port}, "opportunistic": true,
            "http_auth_header": "authorization:", "http_auth_preamble": "bearer "}}}}]}}"#
    );
    std::fs::write(&token, "first\n").unwrap();
    std::fs::write(&file, format!(r#"{{"auth": {{"file": {token:?}}}}}"#)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let more = ["--credentials", file.to_str().unwrap()];
    let mut proxy = Proxy::start_at(&policy, &random_address(), &more);
    assert_exit(&proxy.cat(&["api"]), 0);
    assert_eq!(seen.recv().unwrap(), "authorization: bearer first");

    std::fs::write(&token, "second").unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("sspc proxy: reloaded: 1 streamtype");
    assert_exit(&proxy.cat(&["api"]), 0);
    assert_eq!(seen.recv().unwrap(), "authorization: bearer second");

    std::fs::remove_file(&token).unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    let said = proxy.wait_for("not reloaded");
    assert!(said.contains("credentials.json: auth: "), "{said}");
    assert_exit(&proxy.cat(&["api"]), 0);
    assert_eq!(seen.recv().unwrap(), "authorization: bearer second", "the old ones stay");

    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let output = run(&["proxy", "--listen", &random_address(), more[0], more[1]]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("its mode is 644"), "{}", text(&output.stderr));

    let (policy_file, address) = (proxy.policy_file(), random_address());
    let policy_file = policy_file.to_str().unwrap();
    let command = sspc(&["proxy", "--policy", policy_file, "--listen", &address]);
    let mut without = Proxy::spawn(command, &address, tempfile::tempdir().unwrap());
    without.wait_for("`http_auth_header`: the header is left out");
    without.wait_for("ready");
    assert_exit(&without.cat(&["api"]), 0);
    assert_eq!(seen.recv().unwrap(), "");
}

#[test]
fn a_credential_of_a_command_is_renewed_and_the_last_good_one_kept() {
    let (port, seen) = authorizations();
    let dir = tempfile::tempdir().unwrap();
    let [token, file] = ["token", "credentials.toml"].map(|name| dir.path().join(name));
    let policy = format!(
        r#"{{"s": [{{"api": {{"endpoint": "localhost", "port": {port}, "opportunistic": true,
            "http_auth_header": "authorization:", "http_auth_preamble": "bearer "}}}}]}}"#
    );
    std::fs::write(&token, "first\n").unwrap();
    std::fs::write(&file, format!("[auth]\ncommand = [\"cat\", {token:?}]\nlifetime = 1\n"))
        .unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let more = ["--credentials", file.to_str().unwrap()];
    let mut proxy = Proxy::start_at(&policy, &random_address(), &more);
    let sent = |proxy: &Proxy| {
        assert_exit(&proxy.cat(&["api"]), 0);
        seen.recv().unwrap()
    };
    assert_eq!(sent(&proxy), "authorization: bearer first");

    std::fs::write(&token, "second").unwrap();
    while sent(&proxy) != "authorization: bearer second" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }

    std::fs::remove_file(&token).unwrap();
    let said = proxy.wait_for("the credential stays as it was");
    assert!(said.contains("cat: it failed: exit status: 1"), "{said}");
    assert_eq!(sent(&proxy), "authorization: bearer second");
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("sspc proxy: reloaded: 1 streamtype");
    assert_eq!(sent(&proxy), "authorization: bearer second", "also over a reload");
}

/// A server of tokens that gives one, and refuses the next one who asks.
fn tokens() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            let mut byte = [0];
            // The form ends the request.
            while !String::from_utf8_lossy(&seen).contains("grant_type=client_credentials") {
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                seen.push(byte[0]);
            }
            let json = r#"{"access_token":"token-secret-0","token_type":"Bearer"}"#;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
            let _ = stream.write_all(format!("{head}{}\r\n\r\n{json}", json.len()).as_bytes());
        }
    });
    port
}

#[test]
fn no_log_has_a_secret_however_much_is_logged() {
    let ((port, seen), tokens) = (authorizations(), tokens());
    let dir = tempfile::tempdir().unwrap();
    let [policy, file] = ["policy.json", "credentials.toml"].map(|name| dir.path().join(name));
    let at = format!(r#""endpoint": "localhost", "port": {port}, "opportunistic": true"#);
    let text = format!(
        r#"{{"auth": [{{"name": "o", "type": "oauth2_client_credentials",
                       "token_endpoint": "http://localhost:{tokens}/t"}},
                      {{"name": "s", "type": "sigv4"}}],
            "s": [{{"blob": {{{at}, "http_auth_header": "authorization:"}}}},
                  {{"token": {{{at}, "use_auth": "o"}}}},
                  {{"signed": {{{at}, "use_auth": "s", "aws_region": "r", "aws_service": "s",
                               "metadata": [{{"r": ""}}, {{"s": ""}}]}}}}]}}"#
    );
    std::fs::write(&policy, text).unwrap();
    let secrets = "auth = \"blob-secret-1\"\n\
        [sigv4.0]\nkey_id = \"AKID\"\nsecret_key = \"aws-secret-2\"\nsession_token = \"session-secret-3\"\n\
        [oauth2.0]\nclient_id = \"me\"\nclient_secret = { command = [\"echo\", \"client-secret-4\"], lifetime = 1 }\n";
    std::fs::write(&file, secrets).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let address = random_address();
    let mut command = sspc(&["proxy", "-vvv", "--listen", &address]);
    command.arg("--policy").arg(&policy).arg("--credentials").arg(&file);
    let mut proxy = Proxy::spawn(command, &address, tempfile::tempdir().unwrap());
    proxy.wait_for("ready");
    for (args, expected) in [
        (&["blob"][..], "authorization: blob-secret-1"),
        (&["token"], "authorization: bearer token-secret-0"),
        (&["signed", "-m", "r=us-east-1", "-m", "s=sqs"], "authorization: aws4-hmac-sha256 "),
    ] {
        assert_exit(&proxy.cat(args), 0);
        let sent = seen.recv().unwrap();
        assert!(sent.starts_with(expected), "{sent}");
    }
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("sspc proxy: reloaded");
    signal(&proxy.child, Signal::SIGTERM);
    let said = proxy.rest().join("\n");
    // "me:client-secret-4" in base64.
    for secret in ["-secret-", "bWU6Y2xpZW50LXNlY3JldC00", "Signature="] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

#[test]
fn overlays_apply_in_their_order() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, url: &str| {
        let file = dir.path().join(name);
        let overlay = format!(r#"{{"s": [{{"missing": {{"http_url": "{url}"}}}}]}}"#);
        std::fs::write(&file, overlay).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (first, second) = (write("first", "silent"), write("second", "hello"));
    let more = ["--overlay", &first, "--overlay", &second];
    let proxy = Proxy::start_at(&origin.policy(), &random_address(), &more);
    assert_eq!(proxy.cat(&["missing"]).stdout, HELLO);
}

#[test]
fn sighup_reads_the_policy_again() {
    let origin = Origin::start();
    let mut proxy = Proxy::start(&origin.policy());
    assert_exit(&proxy.cat(&["later"]), 6);
    let policy = origin.policy().replace("\"hello\":", "\"later\":");
    std::fs::write(proxy.policy_file(), policy).unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("sspc proxy: reloaded: 9 streamtypes");
    assert_eq!(proxy.cat(&["later"]).stdout, HELLO);
    assert_exit(&proxy.cat(&["hello"]), 6);
}

#[test]
fn sighup_keeps_the_old_policy_if_the_new_one_is_wrong() {
    let mut proxy = Proxy::start(&Origin::start().policy());
    std::fs::write(proxy.policy_file(), "{\"s\": [\n  {\"hello\": 7}\n]}\n").unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    let diagnostic = proxy.wait_for("policy.json:2:");
    assert!(diagnostic.contains("ERROR"), "{diagnostic}");
    proxy.wait_for("not reloaded, the old policy stays: the policy has 1 error");
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);

    std::fs::remove_file(proxy.policy_file()).unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("not reloaded, the old policy stays: cannot read the policy");
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
}

#[test]
fn sigterm_lets_a_transaction_finish_and_exits_with_0() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("proxy.sock");
    let address = format!("uds:{}", socket.display());
    let mut proxy = Proxy::start_at(&origin.policy(), &address, &["--grace", "40", "-v"]);
    let len = 64 << 20;
    let mut child = proxy.cat_spawn(&["any", "--meta", &format!("path=zeros/{len}")]);
    let mut stdout = child.stdout.take().unwrap();
    let mut all = vec![0; 1000];
    stdout.read_exact(&mut all).unwrap();

    signal(&proxy.child, Signal::SIGTERM);
    proxy.wait_for("stopping");
    stdout.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), len);
    assert_eq!(wait(&mut child).code(), Some(0));
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    assert!(!socket.exists(), "the socket file is left behind");
}

#[test]
fn after_the_grace_period_what_remains_is_ended() {
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &["--grace", "0.2", "-vv"]);
    let mut child = proxy.cat_spawn(&["silent"]);
    proxy.wait_for("state=CONNECTING");
    signal(&proxy.child, Signal::SIGINT);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    // The link is lost before the stream is complete.
    assert_eq!(wait(&mut child).code(), Some(8));
}

/// A client in the middle of a response that takes longer than any test.
fn endless_transfer(proxy: &Proxy) -> Child {
    let mut child = proxy.cat_spawn(&["any", "--meta", "path=zeros/100000000000"]);
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 1000]).unwrap();
    child
}

fn assert_second_signal_ends(proxy: &mut Proxy) {
    signal(&proxy.child, Signal::SIGTERM);
    proxy.wait_for("stopping");
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(143));
}

/// Replaces the proxy's policy by a pipe that nobody writes to, and lets it read that.
fn hang_in_reload(proxy: &mut Proxy) {
    let file = proxy.policy_file();
    std::fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("reading the policy again");
}

/// While a policy was read no other signal was taken.
#[test]
fn signals_are_taken_while_a_policy_does_not_come() {
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &random_address(), &["-v"]);
    hang_in_reload(&mut proxy);
    // Another one waited without a word.
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("still reading the policy");
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));

    let more = ["--grace", "1000", "-v"];
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &random_address(), &more);
    let mut child = endless_transfer(&proxy);
    hang_in_reload(&mut proxy);
    assert_second_signal_ends(&mut proxy);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &["--grace", "1000", "-vv"]);
    let mut child = endless_transfer(&proxy);
    assert_second_signal_ends(&mut proxy);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The embedded policy let every local user reach what listens on the machine.
#[test]
fn clients_reach_this_machine_only_if_it_is_allowed() {
    let origin = Origin::start();
    let endpoint = format!("endpoint=http://{}/hello", origin.address);
    let start = |more: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let address = random_address();
        let mut command = sspc(&["proxy", "-v", "--listen", &address]);
        command.args(more);
        let mut proxy = Proxy::spawn(command, &address, dir);
        proxy.wait_for("sspc proxy: ready");
        proxy
    };
    let mut proxy = start(&["--allow-to", "10.0.0.0/8"]);
    let mut cat = proxy.cat_spawn(&["__default", "--meta", &endpoint]);
    let line = proxy.wait_for("must not connect to");
    assert!(line.contains("--allow-to 127.0.0.1") && line.contains("client"), "{line}");
    cat.kill().unwrap();
    cat.wait().unwrap();
    let proxy = start(&["--allow-to", &origin.address.to_string()]);
    let output = proxy.cat(&["__default", "--meta", &endpoint]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
    let wrong = run(&["proxy", "--allow-to", "10.0.0.0/33"]);
    assert_exit(&wrong, 2);
    assert!(text(&wrong.stderr).contains("is neither a network"), "{}", text(&wrong.stderr));
}

#[test]
fn a_policy_that_is_cut_off_does_not_take_the_place_of_a_good_one() {
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &[]);
    for cut in ["{", "{\"s\": [", policy.trim_end().strip_suffix('}').unwrap()] {
        std::fs::write(proxy.policy_file(), cut).unwrap();
        signal(&proxy.child, Signal::SIGHUP);
        let told = proxy.wait_for("not reloaded, the old policy stays");
        assert!(told.contains("the policy is cut off"), "{told}");
        assert_exit(&proxy.cat(&["hello"]), 0);
    }
}
