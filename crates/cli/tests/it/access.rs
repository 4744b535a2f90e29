//! `sspc access`

use std::path::Path;

use crate::support::{assert_exit, run, run_with, sspc, text};

/// Where each example of the documentation begins and ends.
const PAGE: &str = include_str!("../../../../docs/access.md");

/// The policy of the documentation's site.
const POLICY: &str = r#"{ "s": [
  { "reading": { "endpoint": "collector.example.com", "port": 443, "tls": true, "protocol": "h2",
      "http_method": "POST", "http_url": "v1/${id}", "metadata": [ { "id": "" } ] } },
  { "time": { "endpoint": "collector.example.com", "port": 443, "tls": true, "protocol": "h2",
      "http_method": "GET", "http_url": "time" } },
  { "notices": { "endpoint": "collector.example.com", "port": 443, "tls": true, "protocol": "ws",
      "http_url": "notices" } },
  { "firmware": { "endpoint": "updates.example.com", "port": 443, "tls": true, "protocol": "h2",
      "http_method": "GET", "http_url": "${path}", "metadata": [ { "path": "" } ] } }
] }
"#;

const SMALL: &str = r#"default = "allow"

[[rule]]
name = "root's"
user = "root"
group = 0
streamtypes = "time"
smd = "all"
"#;

fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

fn site(dir: &Path) {
    let access = between(PAGE, "```toml access\n", "```");
    let wrong =
        access.replace("\"notices\", \"time\"", "\"notice\", \"time\"").replace("{ path", "{ paht");
    for (name, content) in
        [("access.toml", access), ("wrong.toml", &wrong), ("policy.json", POLICY)]
    {
        std::fs::write(dir.join(name), content).unwrap();
    }
}

/// What a command says in a folder, stdout first, and its exit code.
fn say(dir: &Path, args: &[&str]) -> (String, Option<i32>) {
    let output = sspc(args).current_dir(dir).output().unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.code())
}

#[test]
fn the_site_of_the_documentation_does_what_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    site(dir.path());
    let other_page = include_str!("../../../../docs/cli.md");
    let shown =
        [PAGE, other_page].into_iter().flat_map(|page| page.split("```\n$ sspc access ").skip(1));
    let shown: Vec<&str> = shown.collect();
    assert_eq!(shown.len(), 6);
    for example in shown {
        let (example, _) = example.split_once("```").unwrap();
        let (command, expected) = example.split_once('\n').unwrap();
        let mut args: Vec<&str> = ["access"].into_iter().chain(command.split(' ')).collect();
        if !args.contains(&"--elsewhere") {
            args.push("--elsewhere");
        }
        assert_eq!(say(dir.path(), &args).0, expected, "{command}");
    }
    let check =
        ["access", "check", "--elsewhere", "access.toml", "--policy", "policy.json", "--strict"];
    let ok = "access.toml: ok: 5 rules, default \"refuse\", 0 warnings\n";
    assert_eq!(say(dir.path(), &check), (ok.to_owned(), Some(0)));
}

#[test]
fn each_of_the_site_may_do_its_own_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    site(dir.path());
    let meter = ["--key", "meter-1"];
    let display = ["--line", "serial:/dev/ttyUSB0?baud=115200"];
    let dashboard = ["--user", "dashboard", "--unit", "dashboard.service"];
    let updater = ["--user", "updater"];
    let remote = ["--address", "198.51.100.9", "--certificate", "sensor-7.example.com"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&meter, &["reading", "time"]),
        (&display, &["notices", "time", "_lws_smd"]),
        (&dashboard, &["notices", "reading", "_lws_smd"]),
        (&updater, &["firmware"]),
        (&remote, &["reading"]),
    ];
    for (client, own) in cases {
        for streamtype in ["reading", "time", "notices", "firmware", "_lws_smd"] {
            let args =
                [&["access", "explain", "--elsewhere", "access.toml", streamtype], client].concat();
            let (said, code) = say(dir.path(), &args);
            assert_eq!(code, Some(i32::from(!own.contains(&streamtype))), "{args:?}: {said}");
        }
    }
    // Not quite one of them is none of them.
    let fingerprint = format!("sha256:{}", "0".repeat(64));
    for client in [
        &["--key", "monitor-1"][..],
        &["--line", "/dev/ttyUSB1"],
        &["--user", "dashboard"],
        &["--user", "root", "--unit", "dashboard.service"],
        &["--address", "203.0.113.9", "--certificate", "sensor-7.example.com"],
        &["--address", "198.51.100.9", "--certificate", &fingerprint],
    ] {
        let args =
            [&["access", "explain", "--elsewhere", "access.toml", "reading"], client].concat();
        let (said, code) = say(dir.path(), &args);
        let refusal =
            "sspc: no rule of access.toml is for this client, and its default is \"refuse\"\n";
        assert!(code == Some(1) && said.ends_with(refusal), "{args:?}: {said}");
    }
}

#[test]
fn users_of_this_machine_have_their_groups() {
    let output = run_with(&["access", "explain", "-", "--user", "root"], SMALL.as_bytes());
    assert_exit(&output, 0);
    let expected = "rule        \"root's\", <stdin>:3\nstreamtypes \"time\"\n\
                    metadata    all that the policy declares\nsmd         all\n";
    assert_eq!(text(&output.stdout), expected);
    let args = ["access", "explain", "-", "--user", "0", "--group", "1"];
    let output = run_with(&args, SMALL.as_bytes());
    assert_exit(&output, 0);
    let expected = "rule        none; the default is \"allow\"\nmay do      everything, without quotas\n\
                    passed over \"root's\", <stdin>:3, for its `group`\n";
    assert_eq!(text(&output.stdout), expected);
    let args = ["access", "explain", "-", "--user", "no-such-user"];
    let output = run_with(&args, SMALL.as_bytes());
    assert_exit(&output, 1);
    let expected =
        "sspc: this machine has no user \"no-such-user\"; give its number, or say --elsewhere\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn every_mistake_is_shown_with_its_line() {
    let wrong = SMALL.replace("streamtypes", "streamtype").replace("\"root\"", "\"no-such-user\"");
    let output = run_with(&["access", "check", "-"], wrong.as_bytes());
    assert_exit(&output, 1);
    let expected = "error: <stdin>:5: this machine has no user \"no-such-user\"; name another one, or give its number\n\
                    error: <stdin>:7: there is no key `streamtype` here; did you mean `streamtypes`?\n\
                    sspc: the access file has 2 errors\n";
    assert_eq!(text(&output.stderr), expected);
    let output =
        run_with(&["access", "check", "-", "--elsewhere", "--log", "json"], wrong.as_bytes());
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [mistake, summary] = lines.as_slice() else { panic!("{stderr}") };
    assert_eq!((&mistake["level"], &mistake["line"]), (&"ERROR".into(), &7.into()));
    assert_eq!(mistake["help"], "did you mean `streamtypes`?");
    assert_eq!(summary["message"], "the access file has 1 error");
}

#[test]
fn rules_that_are_never_used_fail_a_strict_check() {
    let twice = format!("{SMALL}\n[[rule]]\nname = \"again\"\nuser = 0\ngroup = 0\n");
    assert_exit(&run_with(&["access", "check", "-"], twice.as_bytes()), 0);
    let output = run_with(&["access", "check", "--strict", "-"], twice.as_bytes());
    assert_exit(&output, 1);
    let expected = "warning: <stdin>:10: rule \"again\" is never used: rule \"root's\" in line 3 is for all of \
                    its clients; put the more special rule first\n\
                    <stdin>: ok: 2 rules, default \"allow\", 1 warning\n\
                    sspc: the access file has warnings, and --strict allows none\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn several_files_are_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    site(dir.path());
    let args = [
        "access",
        "check",
        "--elsewhere",
        "wrong.toml",
        "access.toml",
        "none.toml",
        "-p",
        "policy.json",
    ];
    let (said, code) = say(dir.path(), &args);
    let end = "none.toml: cannot read the access file none.toml: No such file or directory (os error 2)\n\
               sspc: 3 files: 1 wrong, 1 with warnings\n";
    assert!(code == Some(1) && said.ends_with(end), "{said}");
}

#[test]
fn what_is_no_question_is_a_wrong_command_line() {
    for args in [
        &["access", "explain", "-"][..],
        &["access", "explain", "-", "--address", "somewhere"],
        &["access", "explain", "-", "--certificate", "sha256:00"],
        &["access", "explain", "-", "--line", "serial:/dev/x?baud=no"],
        &["access", "check", "-", "-"],
        &["access", "check", "-", "--policy", "-"],
        &["access", "check", "a.toml", "--overlay", "o.json"],
    ] {
        assert_exit(&run(args), 2);
    }
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let long = "#\n".repeat(1 << 19) + "#";
    let output = run_with(&["access", "check", "-"], long.as_bytes());
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("the file is longer than 1048576 bytes"), "{stderr}");
}
