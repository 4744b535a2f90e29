//! `sspc policy`

use std::path::PathBuf;

use crate::support::{assert_exit, run, run_with, text};

const GOOD: &str = r#"{"s": [{"hello": {"endpoint": "example.com", "port": 443, "tls": true,
  "protocol": "h2", "http_url": "index.html", "retry": "none"}}]}
"#;

fn file(dir: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn good() -> String {
    GOOD.replace(", \"retry\": \"none\"", "")
}

#[test]
fn a_good_policy_is_ok() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "policy.json", &good());
    let output = run(&["policy", "check", path.to_str().unwrap()]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, b"");
    let expected = format!("{}: ok: 1 streamtype, 0 warnings\n", path.display());
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn errors_are_shown_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "policy.json", GOOD);
    let output = run(&["policy", "check", path.to_str().unwrap()]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error["), "{stderr}");
    assert!(stderr.contains(&format!("{}:2:56", path.display())), "{stderr}");
    assert!(stderr.contains("\"retry\": \"none\""), "{stderr}");
    assert!(stderr.ends_with("sspc: the policy has 1 error\n"), "{stderr}");
    assert!(!stderr.contains('\x1b'), "{stderr}");
}

#[test]
fn warnings_are_shown_and_do_not_fail() {
    let dir = tempfile::tempdir().unwrap();
    let policy = good().replace("\"tls\": true", "\"tls\": true, \"colour\": \"red\"");
    let path = file(&dir, "policy.json", &policy);
    let output = run(&["policy", "check", path.to_str().unwrap()]);
    assert_exit(&output, 0);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("warning[unknown-key]"), "{stderr}");
    assert!(stderr.ends_with("policy.json: ok: 1 streamtype, 1 warning\n"), "{stderr}");
}

#[test]
fn a_machine_gets_an_object_for_each_diagnostic() {
    let output = run_with(&["policy", "check", "-", "--log", "json"], GOOD.as_bytes());
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [diagnostic, summary] = lines.as_slice() else { panic!("{stderr}") };
    assert_eq!(diagnostic["level"], "ERROR");
    assert_eq!(diagnostic["file"], "<stdin>");
    assert_eq!((&diagnostic["line"], &diagnostic["column"]), (&2.into(), &56.into()));
    assert_eq!(diagnostic["code"], "unknown-reference");
    assert_eq!(summary["message"], "the policy has 1 error");
}

const WARNED: &str = r#"{"s": [{"hello": {"endpoint": "e", "port": 80, "server": true}}]}"#;

#[test]
fn strict_fails_on_warnings() {
    let output = run_with(&["policy", "check", "-"], WARNED.as_bytes());
    assert_exit(&output, 0);
    let output = run_with(&["policy", "check", "--strict", "-"], WARNED.as_bytes());
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("warning[refused]: clients cannot open"), "{stderr}");
    let end = "sspc: the policy has warnings, and --strict allows none\n";
    assert!(stderr.ends_with(end), "{stderr}");
    assert_exit(&run_with(&["policy", "check", "--strict", "-"], good().as_bytes()), 0);
}

#[test]
fn several_files_are_each_named_and_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [("a.json", good()), ("b.json", WARNED.to_owned()), ("c.json", GOOD.to_owned())];
    let paths = paths.map(|(name, policy)| file(&dir, name, &policy).display().to_string());
    let [a, b, c] = paths.each_ref().map(String::as_str);
    let last = |args: &[&str], code| {
        let output = run(&[&["policy", "check"], args].concat());
        assert_exit(&output, code);
        let stderr = text(&output.stderr);
        let lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
        lines.into_iter().rev().take(2).collect::<Vec<_>>()
    };
    assert_eq!(last(&[a, a], 0)[0], "2 files: all are right");
    let right = last(&[b, a], 0);
    assert_eq!(right[0], "2 files: 1 with warnings");
    assert_eq!(right[1], format!("{a}: ok: 1 streamtype, 0 warnings"));
    assert_eq!(
        last(&["--strict", a, b], 1)[0],
        "sspc: 2 files: 1 with warnings, and --strict allows none"
    );
    let wrong = last(&[a, b, c], 1);
    assert_eq!(wrong[0], "sspc: 3 files: 1 wrong, 1 with warnings");
    assert_eq!(wrong[1], format!("{c}: the policy has 1 error"));
    let missing = last(&["/nowhere/p.json", a], 1);
    assert_eq!(missing[0], "sspc: 2 files: 1 wrong");
    // stdin can be read once.
    assert_exit(&run_with(&["policy", "check", "-", "-"], b"{}"), 2);
}

#[test]
fn what_libwebsockets_reads_otherwise_is_said_if_asked_for() {
    let output = run_with(&["policy", "check", "-"], good().as_bytes());
    assert!(!text(&output.stderr).contains("libwebsockets"));
    let output = run_with(&["policy", "check", "--reference", "-"], good().as_bytes());
    assert_exit(&output, 0);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("warning[reference]: libwebsockets crashes when it"), "{stderr}");
    assert!(stderr.ends_with("ok: 1 streamtype, 1 warning\n"), "{stderr}");
    assert_exit(
        &run_with(&["policy", "check", "--reference", "--strict", "-"], good().as_bytes()),
        1,
    );
}

#[test]
fn stdin_is_a_file_too() {
    let output = run_with(&["policy", "check", "-"], good().as_bytes());
    assert_exit(&output, 0);
    assert_eq!(text(&output.stderr), "<stdin>: ok: 1 streamtype, 0 warnings\n");
    let output = run_with(&["policy", "check", "-"], b"{");
    assert!(text(&output.stderr).contains("<stdin>:1:"));
}

#[test]
fn an_overlay_can_supply_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "policy.json", GOOD);
    let overlay = file(&dir, "site.json", r#"{"retry": [{"none": {"conceal": 0}}]}"#);
    let (path, overlay) = (path.to_str().unwrap(), overlay.to_str().unwrap());
    assert_exit(&run(&["policy", "check", path]), 1);
    assert_exit(&run(&["policy", "check", path, "--overlay", overlay]), 0);
}

#[test]
fn what_is_shown_can_be_fed_back() {
    let first = run_with(&["policy", "show", "-"], good().as_bytes());
    assert_exit(&first, 0);
    assert!(text(&first.stdout).contains("\"http_method\": \"GET\""));
    let second = run_with(&["policy", "show", "-"], &first.stdout);
    assert_exit(&second, 0);
    assert_eq!(text(&second.stdout), text(&first.stdout));
}

#[test]
fn one_streamtype_can_be_shown_alone() {
    let two = r#"{"s": [{"one": {"endpoint": "a.example", "port": 80}},
        {"two": {"endpoint": "b.example", "port": 80}}]}"#;
    let output = run_with(&["policy", "show", "-", "two"], two.as_bytes());
    assert_exit(&output, 0);
    let shown = text(&output.stdout);
    assert!(shown.contains("b.example") && !shown.contains("a.example"), "{shown}");

    let output = run_with(&["policy", "show", "-", "three"], two.as_bytes());
    assert_exit(&output, 1);
    assert_eq!(text(&output.stderr), "sspc: no streamtype \"three\"; the policy has: one, two\n");
}

const EXPLAINED: &str = r#"{"retry": [{"r": {"backoff": [1000, 2000, 3200], "conceal": 3, "jitterpc": 1}}],
  "s": [
    {"weather": {"endpoint": "api.example.com", "port": 443, "tls": true, "protocol": "h2",
                 "http_url": "now?city=${city}", "retry": "r", "client_buflen": 1,
                 "metadata": [{"city": ""}, {"auth": "authorization"}]}},
    {"forecast": {"endpoint": "api.example.com", "port": 443, "tls": true, "protocol": "h2",
                  "http_method": "POST", "h2q_oflow_txcr": true}},
    {"free": {"endpoint": "${url}", "port": 80, "metadata": [{"url": ""}]}},
    {"sink": {"local_sink": true}}]}"#;

fn explain(args: &[&str], code: i32) -> (String, String) {
    let output = run_with(&[&["policy", "explain", "-"], args].concat(), EXPLAINED.as_bytes());
    assert_exit(&output, code);
    (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

#[test]
fn a_stream_is_explained_without_connecting() {
    let (said, _) = explain(&["weather", "-m", "city=Tai pei", "-m", "auth=secret"], 0);
    for line in [
        "streamtype  weather, h2",
        "request     GET https://api.example.com:443/now?city=Tai%20pei",
        "            authorization: (hidden)",
        "connects to api.example.com:443",
        "TLS         for api.example.com, trust: the system's trust store",
        "h2 with     1 streamtype, in streams of one client: forecast",
        "payload     none is taken",
        "CONNECTED   the head of the response is here",
        "ACK         the response is complete, with a 2xx status; else NACK",
        "retries     3 retries over 6.2 s, then ALL_RETRIES_FAILED",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    assert!(!said.contains("secret") && !said.contains("unset"), "{said}");
    let (said, _) = explain(&["weather"], 0);
    assert!(said.contains("\nunset       metadata city; --meta city=VALUE sets it\n"), "{said}");
    let (said, _) = explain(&["forecast", "--length", "7"], 0);
    assert!(said.contains("\npayload     the body, 7 bytes\n"), "{said}");
    assert!(said.contains("            content-length: 7\n"), "{said}");
}

#[test]
fn what_the_credentials_are_for_is_explained_without_them() {
    let policy = r#"{"auth": [{"name": "a", "type": "sigv4", "blob": 5},
        {"name": "o", "type": "oauth2_client_credentials", "token_endpoint": "https://login.example/t"}],
      "s": [{"plain": {"endpoint": "e", "port": 1, "http_auth_header": "Authorization:",
                       "http_dsn_header": "x-dsn", "tls": true, "client_cert": 3}},
        {"aws": {"endpoint": "e", "port": 1, "use_auth": "a", "aws_region": "r", "aws_service": "s",
                 "metadata": [{"r": ""}, {"s": ""}]}},
        {"token": {"endpoint": "e", "port": 1, "use_auth": "o"}}]}"#;
    let from = "(from credentials)";
    for (args, lines) in [
        (
            &["plain"][..],
            vec![
                format!("            authorization: {from}"),
                format!("            x-dsn: {from}"),
                format!("presents    client certificate 3 {from}"),
            ],
        ),
        (
            &["aws", "-m", "r=us-east-1", "-m", "s=sqs"],
            vec![
                format!("            authorization: {from}"),
                format!("            x-amz-date: {from}"),
            ],
        ),
        (
            &["token"],
            vec![
                format!("            authorization: {from}"),
                "token       of https://login.example/t, fetched when it is needed".to_owned(),
            ],
        ),
    ] {
        let output = run_with(&[&["policy", "explain", "-"], args].concat(), policy.as_bytes());
        assert_exit(&output, 0);
        let said = text(&output.stdout);
        for line in lines {
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
        assert!(!said.contains("(hidden)") && !said.contains("AWS4"), "{said}");
    }
}

/// Not a word was said of cookies, Alt-Svc and websockets over h2.
#[test]
fn what_goes_beyond_one_request_is_explained() {
    let policy = r#"{"s": [
        {"page": {"endpoint": "e", "port": 443, "tls": true, "protocol": "h2", "http_cookies": true,
                  "alt_svc": true}},
        {"clear": {"endpoint": "e", "port": 80, "protocol": "h2", "alt_svc": true}},
        {"chat": {"endpoint": "e", "port": 443, "tls": true, "protocol": "ws", "ws_over_h2": true}},
        {"bare": {"endpoint": "e", "port": 80, "protocol": "ws", "ws_over_h2": true}},
        {"quic": {"endpoint": "e", "port": 443, "tls": true, "protocol": "h3"}},
        {"quick": {"endpoint": "e", "port": 443, "tls": true, "protocol": "h3"}}]}"#;
    let cookies = "cookies     those of the server are kept for the client and sent back";
    for (name, lines) in [
        (
            "page",
            &[
                "Alt-Svc     goes over to h3 once the server offers that at the same host",
                "h2 with     1 streamtype, in streams of one client: chat",
                cookies,
            ][..],
        ),
        ("clear", &["Alt-Svc     means nothing without `tls`"]),
        (
            "chat",
            &[
                "over h2     CONNECT with `:protocol` `websocket` if the server takes that, else the \
                 request above",
                "h2 with     1 streamtype, in streams of one client: page",
            ],
        ),
        ("bare", &["over h2     never, as that takes `tls`"]),
        ("quic", &["h3 with     1 streamtype, in streams of one client: quick"]),
    ] {
        let output = run_with(&["policy", "explain", "-", name], policy.as_bytes());
        assert_exit(&output, 0);
        let said = text(&output.stdout);
        for line in lines {
            assert!(said.lines().any(|said| said == *line), "{line}\n{said}");
        }
        assert_eq!(said.contains(cookies), name == "page", "{said}");
    }
}

/// Metadata of topics and signatures was forgotten.
#[test]
fn all_metadata_that_is_needed_and_not_given_is_named() {
    let policy = r#"{"auth": [{"name": "a", "type": "sigv4"}], "s": [
        {"topics": {"endpoint": "e", "port": 1, "protocol": "mqtt", "mqtt_topic": "t/${t}",
                    "mqtt_subscribe": "t/${s}/#", "mqtt_will_topic": "w", "mqtt_will_message": "${w}",
                    "mqtt_birth_topic": "b/${t}", "mqtt_birth_message": "${b}",
                    "metadata": [{"t": ""}, {"s": ""}, {"w": ""}, {"b": ""}]}},
        {"aws": {"endpoint": "e", "port": 1, "use_auth": "a", "aws_region": "r", "aws_service": "s",
                 "metadata": [{"r": ""}, {"s": ""}]}}]}"#;
    for (name, needed) in [("topics", &["t", "s", "w", "b"][..]), ("aws", &["r", "s"])] {
        let output = run_with(&["policy", "explain", "-", name], policy.as_bytes());
        let said = text(&output.stdout);
        for needed in needed {
            let line = format!("unset       metadata {needed}; --meta {needed}=VALUE sets it");
            assert_eq!(said.lines().filter(|said| *said == line).count(), 1, "{line}\n{said}");
        }
    }
}

/// docs/cli.md explains the policy of five lines of docs/policy.md.
#[test]
fn the_explanation_of_the_documentation_is_what_is_printed() {
    let between = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    let policy = include_str!("../../../../docs/policy.md");
    let policy = between(policy, "```json policy\n", "```");
    let command = "$ sspc policy explain policy.json weather --meta city=Taipei\n";
    let shown = between(include_str!("../../../../docs/cli.md"), command, "```");
    let args = ["policy", "explain", "-", "weather", "--meta", "city=Taipei"];
    let output = run_with(&args, policy.as_bytes());
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), shown);
}

#[test]
fn what_keeps_a_stream_from_connecting_is_explained_too() {
    let (_, said) = explain(&["sink"], 1);
    let start = "sspc: clients are refused: the policy has streamtype \"sink\", but `local_sink`";
    assert!(said.starts_with(start), "{said}");
    let (_, said) = explain(&["free"], 1);
    assert_eq!(said, "sspc: each attempt to connect fails: endpoint: the endpoint has no host\n");
    let (_, said) = explain(&["free", "-m", "url=http://10.0.0.1/"], 1);
    assert!(said.contains("10.0.0.1 is an address of a private network"), "{said}");
    let (_, said) = explain(&["forecast", "-m", "city=x"], 1);
    assert!(said.contains("declares no metadata \"city\""), "{said}");
    let (_, said) = explain(&["forecats"], 1);
    assert_eq!(said, "sspc: no streamtype \"forecats\"; did you mean `forecast`?\n");
}

#[test]
fn what_is_no_file_and_what_is_no_command() {
    let output = run(&["policy", "check", "/nowhere/policy.json"]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("sspc: cannot read the policy /nowhere/policy.json: "), "{stderr}");
    assert_exit(&run(&["policy", "check"]), 2);
    assert_exit(&run(&["policy", "eat", "x"]), 2);
}
