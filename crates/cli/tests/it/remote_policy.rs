//! Policies that come from servers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use crate::support::*;

/// What a server answers to a path: a whole response, or nothing and waits.
type Answers = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server whose answers change.
struct Server {
    port: u16,
    answers: Answers,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, heads) = (Answers::default(), Arc::<Mutex<Vec<String>>>::default());
        let server = Self { port, answers: Arc::clone(&answers), heads: Arc::clone(&heads) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, heads) = (Arc::clone(&answers), Arc::clone(&heads));
                thread::spawn(move || answer(stream.unwrap(), &answers, &heads));
            }
        });
        server
    }

    /// From now on this is what comes from there.
    fn set(&self, path: &str, response: Option<String>) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|(known, _)| known != path);
        answers.push((path.to_owned(), response));
    }

    fn policy(&self, etag: &str, text: &str) {
        self.set("/p.json", Some(ok(text, &format!("etag: \"{etag}\"\r\n"))));
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/p.json", self.port)
    }

    /// Waits until so many requests came.
    fn wait_for(&self, requests: usize) {
        while self.heads.lock().unwrap().len() < requests {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn ok(body: &str, headers: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

fn answer(mut stream: TcpStream, answers: &Answers, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let Some(path) = head.split(' ').nth(1) else { return };
    let answer = answers.lock().unwrap().iter().find(|(known, _)| known == path).cloned();
    let etag = head.lines().find_map(|line| line.strip_prefix("if-none-match: "));
    let response = match answer {
        None => {
            Some("HTTP/1.1 404 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned())
        }
        Some((_, Some(response)))
            if etag.is_some_and(|etag| response.contains(&format!("etag: {etag}\r\n"))) =>
        {
            Some("HTTP/1.1 304 Same\r\nconnection: close\r\n\r\n".to_owned())
        }
        Some((_, response)) => response,
    };
    heads.lock().unwrap().push(head);
    match response {
        // Never.
        None => thread::sleep(Duration::from_secs(1000)),
        Some(response) => drop(stream.write_all(response.as_bytes())),
    }
}

/// A policy with these streamtypes, which nobody connects.
fn policy(names: &[&str]) -> String {
    let streams: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"{name}": {{"endpoint": "127.0.0.1", "port": 9, "opportunistic": true}}}}"#
            )
        })
        .collect();
    format!(r#"{{"s": [{}]}}"#, streams.join(","))
}

fn spawn(policy: &str, more: &[&str]) -> Proxy {
    spawn_every("1", policy, more)
}

fn spawn_every(interval: &str, policy: &str, more: &[&str]) -> Proxy {
    let address = random_address();
    let mut command = sspc(&["proxy", "-v", "--policy", policy, "--listen", &address]);
    command.args(["--policy-interval", interval]).args(more);
    Proxy::spawn(command, &address, tempfile::tempdir().unwrap())
}

/// Whether the proxy has the streamtype: 5 if it has, as nothing can be connected, and 6 if not.
#[track_caller]
fn assert_has(proxy: &Proxy, name: &str, has: bool) {
    assert_exit(&proxy.cat(&[name]), if has { 5 } else { 6 });
}

#[test]
fn a_policy_of_a_url_is_followed_and_a_wrong_one_never_takes_its_place() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("kept.json");
    let more = ["--policy-cache", cache.to_str().unwrap()];
    server.policy("1", &policy(&["one"]));
    let mut proxy = spawn(&server.url(), &more);
    proxy.wait_for("ready: 1 streamtype");
    assert_has(&proxy, "one", true);
    // Asked again, with the ETag, and nothing said of it.
    server.wait_for(3);
    assert!(server.heads.lock().unwrap()[2].contains("if-none-match: \"1\"\r\n"));
    server.policy("2", &policy(&["one", "two"]));
    proxy.wait_for("sspc proxy: reloaded: 2 streamtypes");
    assert_has(&proxy, "two", true);

    let page = "<html>Please log in</html>";
    let long = |head: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{}", "[".repeat(17 << 20));
    let truncated = policy(&["three"]);
    for (response, why) in [
        (Some(ok(page, "")), "not reloaded, the old policy stays: the policy has"),
        (Some(ok("{}", "")), "p.json: it has no streamtypes"),
        (Some(ok(&truncated[..truncated.len() - 2], "")), "p.json: it is cut off"),
        (
            Some("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"s\": [".to_owned()),
            "the policy cannot be fetched",
        ),
        (Some(long("connection: close")), "the answer is longer than 16777216 bytes"),
        (
            Some("HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()),
            "the server answers with status 500",
        ),
        (
            Some(
                "HTTP/1.1 302 There\r\nlocation: http://example.com/\r\ncontent-length: 0\r\n\r\n"
                    .to_owned(),
            ),
            "the policy does not allow redirects",
        ),
    ] {
        server.set("/p.json", response);
        proxy.wait_for(why);
    }
    assert_has(&proxy, "two", true);
    assert_has(&proxy, "three", false);

    // The next start does without the server.
    drop(proxy);
    let mut proxy = spawn(&server.url(), &more);
    proxy.wait_for("begin with the last good policy");
    proxy.wait_for("ready: 2 streamtypes");
    server.policy("4", &policy(&["four"]));
    proxy.wait_for("sspc proxy: reloaded: 1 streamtype");
    assert_has(&proxy, "four", true);
    drop(proxy);

    // But not with what others may have written.
    fs::set_permissions(&cache, PermissionsExt::from_mode(0o666)).unwrap();
    server.set("/p.json", None);
    server.set("/p.json", Some(ok(page, "")));
    let mut proxy = spawn(&server.url(), &more);
    proxy.wait_for("others than this user can change it");
    assert_eq!(wait(&mut proxy.child).code(), Some(1));
}

#[test]
fn signals_are_taken_while_a_policy_is_fetched() {
    let server = Server::start();
    server.policy("1", &policy(&["one"]));
    let mut proxy = spawn(&server.url(), &[]);
    proxy.wait_for("ready");
    server.set("/p.json", None);
    let before = server.requests();
    server.wait_for(before + 1);
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("still reading the policy");
    assert_has(&proxy, "one", true);
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
}

#[test]
fn the_streamtype_fetch_policy_leads_to_the_next_policy() {
    let server = Server::start();
    let port = server.port;
    let bootstrap = format!(
        r#"{{"s": [{{"first": {{"endpoint": "127.0.0.1", "port": 9}}}},
            {{"fetch_policy": {{"endpoint": "127.0.0.1", "port": {port}, "http_url": "p.json"}}}}]}}"#
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    fs::write(&file, bootstrap).unwrap();
    let mut proxy = spawn(file.to_str().unwrap(), &[]);
    proxy.wait_for("ready: 2 streamtypes");
    let said = proxy.wait_for("the policy cannot be fetched and stays as it is");
    assert!(said.contains("status 404") && said.contains("p.json"), "{said}");
    server.policy("1", &policy(&["next"]));
    proxy.wait_for("sspc proxy: reloaded: 1 streamtype");
    assert_has(&proxy, "next", true);
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("sspc proxy: reloaded: 1 streamtype");
    assert_has(&proxy, "next", true);
}

#[test]
fn a_policy_of_a_url_can_be_checked() {
    let server = Server::start();
    server.policy("1", &policy(&["one"]));
    let output = run(&["policy", "check", &server.url()]);
    assert_exit(&output, 0);
    assert!(text(&output.stderr).contains("p.json: ok: 1 streamtype"), "{}", text(&output.stderr));
    server.policy("2", "{\"s\": [{\"one\": {\"port\": \"x\"}}]}");
    let output = run(&["policy", "check", &server.url()]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("p.json:1:"), "{}", text(&output.stderr));
}

#[test]
fn a_message_has_the_policy_fetched() {
    let server = Server::start();
    server.policy("1", &policy(&["one"]));
    let mut proxy = spawn_every("3600", &server.url(), &[]);
    proxy.wait_for("ready: 1 streamtype");
    server.policy("2", &policy(&["one", "two"]));
    let send = |text: &str| {
        let output =
            run(&["smd", "send", "--proxy", &proxy.address, "--class", "SYSTEM_STATE", text]);
        assert_exit(&output, 0);
    };
    send(r#"{"trigger":"something else"}"#);
    send(r#"{"trigger":"fetch_policy"}"#);
    proxy.wait_for("sspc proxy: reloaded: 2 streamtypes");
    assert_eq!(server.requests(), 2);
}

/// A key, as minisign has them.
struct Key(Ed25519KeyPair);

impl Key {
    const ID: &[u8; 8] = b"12345678";

    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn public(&self) -> String {
        STANDARD.encode([b"Ed", &Self::ID[..], self.0.public_key().as_ref()].concat())
    }

    fn sign(&self, text: &str, comment: &str) -> String {
        let signature = self.0.sign(text.as_bytes());
        let line = STANDARD.encode([b"Ed", &Self::ID[..], signature.as_ref()].concat());
        let global = self.0.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let global = STANDARD.encode(global.as_ref());
        format!("untrusted comment: x\n{line}\ntrusted comment: {comment}\n{global}\n")
    }
}

#[test]
fn with_a_key_only_what_it_signed_is_taken_and_nothing_older() {
    let server = Server::start();
    let (key, other) = (Key::new(), Key::new());
    let (first, second) = (policy(&["one"]), policy(&["one", "two"]));
    let publish = |etag: &str, text: &str, signature: &str| {
        server.set("/p.json.minisig", Some(ok(signature, "")));
        server.policy(etag, text);
    };
    publish("1", &first, &key.sign(&first, "timestamp:100\tfile:p.json"));
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("kept.json");
    let public = key.public();
    let more = ["--policy-key", &public, "--policy-cache", cache.to_str().unwrap()];
    let mut proxy = spawn(&server.url(), &more);
    proxy.wait_for("ready: 1 streamtype");
    let bad = "its signature is not of --policy-key, or not over it";
    let mut said = Vec::new();
    for (signature, why) in [
        (other.sign(&second, "timestamp:200"), bad),
        (key.sign(&first, "timestamp:200"), bad),
        (key.sign(&second, "timestamp:200").replace(":200", ":201"), bad),
        ("no signature".to_owned(), "its signature is not minisign's"),
        (key.sign(&second, "timestamp:99"), "it was signed before the one in use"),
        (key.sign(&second, "no time"), "it was signed before the one in use"),
    ] {
        publish("2", &second, &signature);
        if !said.contains(&why) {
            said.push(why);
            proxy.wait_for(why);
        } else {
            // What is said again and again is logged once.
            server.wait_for(server.requests() + 4);
        }
    }
    server.set("/p.json.minisig", Some("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".to_owned()));
    proxy.wait_for("p.json.minisig: the server answers with status 404");
    assert_has(&proxy, "two", false);
    publish("2", &second, &key.sign(&second, "timestamp:101"));
    proxy.wait_for("sspc proxy: reloaded: 2 streamtypes");
    drop(proxy);

    // What is kept is verified, too.
    let kept = fs::read_to_string(&cache).unwrap();
    fs::write(&cache, kept.replace("two", "too")).unwrap();
    let mut proxy = spawn(&server.url(), &more);
    proxy.wait_for("the policy that was kept is not used");
    proxy.wait_for("ready: 2 streamtypes");
    assert_has(&proxy, "two", true);
}

/// nginx serves files over h2 with ETags of its own.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(folder: &Path) -> Self {
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let at = folder.display();
            let configuration = format!(
                "daemon off; pid nginx.pid; worker_processes 1; user root; events {{}}
                http {{
                    access_log access.log;
                    server {{
                        listen 127.0.0.1:{port} ssl http2;
                        ssl_certificate {at}/localhost.pem;
                        ssl_certificate_key {at}/localhost.key;
                        root {at}/www;
                        location /down {{ return 302 http://localhost:{port}/p.json; }}
                        location /moved {{ return 301 https://localhost:{port}/p.json; }}
                    }}
                }}"
            );
            fs::write(folder.join("conf"), configuration).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-p").arg(folder).args(["-c", "conf", "-e", "error.log"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            // Someone else may have got the port.
            while child.try_wait().unwrap().is_none() {
                if folder.join("nginx.pid").exists() {
                    return Self { child, port };
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn https_is_verified_and_redirects_lead_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    crate::client_certs::certificates(dir.path());
    fs::create_dir(dir.path().join("www")).unwrap();
    let file = dir.path().join("www/p.json");
    fs::write(&file, policy(&["one"])).unwrap();
    let nginx = Nginx::start(dir.path());
    let url = |path: &str| format!("https://localhost:{}/{path}", nginx.port);
    let ca = dir.path().join("ca.pem");
    let more = ["--policy-ca", ca.to_str().unwrap()];

    let mut proxy = spawn(&url("p.json"), &[]);
    proxy.wait_for("cannot get the policy https://localhost");
    assert_eq!(wait(&mut proxy.child).code(), Some(1), "its authority is not the system's");
    let mut proxy = spawn(&url("down"), &more);
    proxy.wait_for("it leads from https to http");
    assert_eq!(wait(&mut proxy.child).code(), Some(1));
    let mut proxy = spawn(&url("moved"), &more);
    proxy.wait_for("ready: 1 streamtype");
    drop(proxy);

    let mut proxy = spawn(&url("p.json"), &more);
    proxy.wait_for("ready: 1 streamtype");
    let unchanged = || {
        let log = fs::read_to_string(dir.path().join("access.log")).unwrap_or_default();
        log.lines().any(|line| line.contains("/p.json HTTP/2.0\" 304 "))
    };
    while !unchanged() {
        thread::sleep(Duration::from_millis(20));
    }
    fs::write(&file, policy(&["one", "two"])).unwrap();
    proxy.wait_for("sspc proxy: reloaded: 2 streamtypes");
}

#[test]
fn urls_and_keys_that_cannot_be_used_are_named() {
    for (args, why) in [
        (&["http://example.com/p"][..], "has to come over https:"),
        (&["https:///p"], "cannot use the policy https:///p"),
        (
            &["https://example.com/p", "--policy-key", "nonsense"],
            "--policy-key nonsense: neither a key",
        ),
        (&["https://example.com/p", "--policy-ca", "/dev/null"], "it has no certificate in PEM"),
    ] {
        let output = run(&[&["proxy", "--listen", &random_address(), "--policy"], args].concat());
        assert_exit(&output, 1);
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
}
