use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn loaded_as(name: &str, text: &str, mode: u32) -> Result<DeviceCredentials, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text.replace("HERE", folder.path().to_str().unwrap())).unwrap();
    fs::write(folder.path().join("token"), "from the file\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let loaded = runtime.block_on(load(Some(&file), &Refresh::default()));
    loaded.map(|loaded| loaded.credentials).map_err(|failure| {
        failure.to_string().replace(&format!("{}/", folder.path().display()), "")
    })
}

fn loaded(text: &str) -> Result<DeviceCredentials, String> {
    loaded_as("c.json", text, 0o600)
}

#[test]
fn values_stand_in_the_file_or_where_it_says() {
    let json = r#"{"auth": {"file": "HERE/token"}, "serial_number": "77",
        "firmware_version": {"command": ["printf", "%s\n", "a b;c"]},
        "mqtt_user": {"env": "CARGO_MANIFEST_DIR"}}"#;
    let toml = r#"
        auth = { file = "HERE/token" }   # a comment
        serial_number = "77"
        mqtt_user = { env = "CARGO_MANIFEST_DIR" }
        [firmware_version]
        command = ["printf", "%s\n", "a b;c"]
        lifetime = 3600
    "#;
    for (name, text) in [("c.json", json), ("c.toml", toml), ("c", json), ("c.conf", toml)] {
        let credentials = loaded_as(name, text, 0o600).unwrap();
        assert_eq!(credentials.auth, "from the file", "{name}");
        assert_eq!(credentials.serial_number, "77");
        assert_eq!(credentials.mqtt_user, std::env::var("CARGO_MANIFEST_DIR").unwrap());
        assert_eq!(credentials.firmware_version, "a b;c", "no shell splits it");
        assert!(credentials.mqtt_password.is_empty());
    }
}

#[test]
fn what_is_wrong_is_named_and_no_secret_shown() {
    for (name, mode, text, why) in [
        ("c.json", 0o640, "{}", "c.json: its mode is 640, so others than its owner"),
        ("c.json", 0o602, "{}", "c.json: its mode is 602"),
        (
            "c.json",
            0o600,
            r#"{"token": "secret"}"#,
            "c.json: there is no credential \"token\"; there are auth,",
        ),
        ("c.json", 0o600, r#"{"auth": ""}"#, "c.json: auth: it is empty"),
        ("c.json", 0o600, r#"{"auth": {"file": "HERE/none"}}"#, "c.json: auth: none: No such file"),
        (
            "c.json",
            0o600,
            r#"{"auth": {"env": "NO_SUCH_"}}"#,
            "c.json: auth: NO_SUCH_: environment variable not",
        ),
        (
            "c.json",
            0o600,
            r#"{"auth": {"credential": "../x"}}"#,
            "c.json: auth: \"../x\" is not a name",
        ),
        (
            "c.json",
            0o600,
            r#"{"auth": {"what": "secret"}}"#,
            "c.json: auth: expected a text, {\"file\": PATH}",
        ),
        ("c.json", 0o600, r#"{"auth": ["secret"]}"#, "c.json: auth: expected a text"),
        ("c.json", 0o600, r#"{"auth": "secret""#, "c.json: EOF while parsing"),
        ("c.json", 0o600, r#"["secret"]"#, "c.json: it has to be a JSON object"),
        ("c.toml", 0o600, "serial_number = \"1\"\nauth = \"secret", "c.toml: line 2 is not TOML"),
        ("c.toml", 0o600, "auth = 5", "c.toml: auth: expected a text"),
        ("c.toml", 0o600, "auth = \"secret\"\nauth = \"secret\"", "c.toml: line 2 is not TOML"),
    ] {
        let error = loaded_as(name, text, mode).unwrap_err();
        assert!(error.starts_with(why) && !error.contains("secret"), "{text}: {error}");
    }
}

#[test]
fn a_command_that_fails_hangs_or_prints_without_end_is_named() {
    for (command, why) in [
        (r#"["no-such-program"]"#, "auth: no-such-program: No such file"),
        (r#"["false"]"#, "auth: false: it failed: exit status: 1"),
        (r#"["true"]"#, "auth: it is empty"),
        (
            r#"["sh", "-c", "echo secret; sleep 1000 & sleep 1000"], "timeout": 1"#,
            "auth: sh: it took longer than 1 s",
        ),
        (r#"["yes", "secret"]"#, "auth: yes: it prints more than 65536 bytes"),
        (r#"["printf", "\\377"]"#, "auth: printf: it prints what is not UTF-8"),
        (r#""echo secret""#, "auth: `command` has to be a list of texts"),
        ("[]", "auth: `command` has to be a list of texts"),
        (r#"["echo", "x"], "lifetime": 0"#, "auth: `lifetime` has to be a number of seconds"),
        (
            r#"["echo", "x"], "shell": true"#,
            "auth: a command has `lifetime` and `timeout`, not `shell`",
        ),
    ] {
        let error = loaded(&format!(r#"{{"auth": {{"command": {command}}}}}"#)).unwrap_err();
        let error = error.strip_prefix("c.json: ").unwrap();
        assert!(error.starts_with(why) && !error.contains("secret"), "{command}: {error}");
    }
}

/// The child of a shell outlived it.
#[test]
fn what_a_command_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let text = format!(r#"{{"auth": {{"command": ["sh", "-c", {script:?}], "timeout": 1}}}}"#);
    assert!(loaded(&text).unwrap_err().contains("longer than 1 s"));
    let stat = format!("/proc/{}/stat", fs::read_to_string(&pid).unwrap().trim());
    // Until it is reaped a dead process is a zombie.
    let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    for _ in 0..1000 {
        if is_gone() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it still runs");
}
