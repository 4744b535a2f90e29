//! `sspc proxy --access` and `--allow-everyone`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::getuid;

use crate::support::origin::Origin;
use crate::support::{Proxy, assert_exit, random_address, signal, sspc, text};

/// A user who owns nothing.
const NOBODY: u32 = 65534;

fn cat(proxy: &Proxy, args: &[&str]) -> Command {
    let mut command = sspc(&["cat", "--proxy", &proxy.address, "--timeout", "40"]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(mut command: Command) -> Output {
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// `sspc cat` as another user of the machine; only root may be one.
fn as_nobody(proxy: &Proxy, args: &[&str]) -> Option<Output> {
    let command = cat(proxy, args);
    // The program may be in a folder that others cannot enter: it is copied to where they can.
    let folder = tempfile::Builder::new().permissions(mode(0o755)).tempdir().unwrap();
    let program = folder.path().join("sspc");
    fs::copy(command.get_program(), &program).unwrap();
    let mut copied = Command::new(&program);
    copied.args(command.get_args()).uid(NOBODY).gid(NOBODY).current_dir("/");
    copied.stdout(Stdio::piped()).stderr(Stdio::piped());
    getuid().is_root().then(|| output(copied))
}

fn mode(bits: u32) -> fs::Permissions {
    fs::Permissions::from_mode(bits)
}

#[test]
fn a_socket_without_a_file_is_for_the_own_user_unless_all_are_allowed() {
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start_at(&policy, &random_address(), &[]);
    let told = proxy.wait_for("alone; --allow-everyone");
    assert!(told.contains(&proxy.address), "{told}");
    assert_exit(&proxy.cat(&["hello"]), 0);
    if let Some(refused) = as_nobody(&proxy, &["hello"]) {
        assert!(!refused.status.success());
        let why = proxy.wait_for("denied");
        let expected = format!("the client is of user {NOBODY}: start it with --allow-everyone");
        assert!(why.contains(&expected), "{why}");
    }
    let mut open = Proxy::start_at(&policy, &random_address(), &["--allow-everyone"]);
    open.wait_for("every user of this machine may use");
    if let Some(served) = as_nobody(&open, &["hello"]) {
        assert_exit(&served, 0);
    }
}

const RULES: &str = r#"default = "refuse"
[[rule]]
name = "greeters"
user = UID
executable = "*/sspc"
streamtypes = ["hello"]
streams = 1
"#;

#[test]
fn an_access_file_decides_and_is_read_again_with_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.toml");
    let write = |text: &str| fs::write(&file, text.replace("UID", &getuid().to_string())).unwrap();
    write(RULES);
    let policy = r#"{"s": [{"hello": {"endpoint": "far.invalid", "port": 80, "opportunistic": true}},
                           {"other": {"endpoint": "far.invalid", "port": 80, "opportunistic": true}}]}"#;
    let access = ["--access", file.to_str().unwrap()];
    let mut proxy = Proxy::start_at(policy, &random_address(), &access);
    let is_refused = |streamtype: &str, proxy: &Proxy| {
        text(&output(cat(proxy, &[streamtype])).stderr).contains("the proxy refuses")
    };
    assert!(is_refused("other", &proxy));
    let why = proxy.wait_for("denied");
    assert!(why.contains("rule \"greeters\" ("), "{why}");
    assert!(why.contains("its streamtypes are \"hello\""), "{why}");
    // Allowed: it fails since there is no server, not since it may not.
    assert!(!is_refused("hello", &proxy));

    // Wrong rules do not take the place of good ones.
    write("default = \"allow\"\n[[rules]]\n");
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("the old rules of access stay");
    assert!(is_refused("other", &proxy));
    write(&RULES.replace("\"hello\"", "\"other\""));
    signal(&proxy.child, Signal::SIGHUP);
    proxy.wait_for("reloaded");
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while is_refused("other", &proxy) {
        assert!(std::time::Instant::now() < patience, "the new rules are never used");
    }
    assert!(is_refused("hello", &proxy));
}
