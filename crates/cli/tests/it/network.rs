//! Lines over UDP and TCP: every command that takes one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::line::Bridge;
use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, random_address, run, sspc, text};

fn keys(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn every_command_takes_a_line_over_a_network() {
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    for carrier in ["udp", "tcp"] {
        let origin = Origin::start();
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.json");
        fs::write(&policy, origin.policy()).unwrap();
        let table = keys(folder.path(), "table", &format!("pump {one}\nlamp {two}\n"));
        let listen = format!("{carrier}:127.0.0.1:0?keys={table}");
        let command =
            sspc(&["proxy", "--policy", policy.to_str().unwrap(), "--listen", &listen, "-v"]);
        let mut proxy = Proxy::spawn(command, "", tempfile::tempdir().unwrap());
        let ready = proxy.wait_for("sspc proxy: ready: ");
        let (_, at) = ready.split_once("listening on ").unwrap();
        let at = at.split_once('?').unwrap().0;
        let own = keys(folder.path(), "own", &format!("pump {one}"));
        let address = format!("{at}?keys={own}");

        let ping = run(&["ping", &address, "-c", "2", "-i", "0.1"]);
        assert_exit(&ping, 0);
        assert!(
            text(&ping.stdout).contains(", in packets, encrypted with forward secrecy\n"),
            "{ping:?}"
        );
        let up = proxy.wait_for("link up");
        assert!(up.contains("encrypted for \"pump\" with forward secrecy"), "{up}");

        let cat = run(&["cat", "hello", "--proxy", &address]);
        assert_exit(&cat, 0);
        assert_eq!(cat.stdout, HELLO);

        let bridge = Bridge::start_to(&random_address(), &address, &[]);
        let cat = bridge.cat(&["any", "--meta", "path=zeros/400000"]);
        assert_exit(&cat, 0);
        assert!(cat.stdout == vec![0; 400_000], "{} bytes", cat.stdout.len());

        let wrong = keys(folder.path(), "wrong", &format!("pump {two}"));
        let cat = run(&["cat", "hello", "--proxy", &format!("{at}?keys={wrong}")]);
        assert_exit(&cat, 8);
        let expected = "nobody answers there: no proxy listens, or it has another key for this \
                        device, or none; is `sspc proxy` running there?";
        assert!(text(&cat.stderr).contains(expected), "{cat:?}");
        let refused = proxy.wait_for("the peer has another key for its id");
        assert!(refused.contains(at), "{refused}");
    }
}

#[test]
fn a_line_over_a_network_without_keys_is_refused_with_what_to_do() {
    let advice = "a line over a network needs keys; write udp:0.0.0.0:7682?keys=/path";
    let proxy = run(&["proxy", "--listen", "udp:0.0.0.0:7682"]);
    assert_exit(&proxy, 1);
    assert!(text(&proxy.stderr).contains(advice), "{proxy:?}");
    let cat = run(&["cat", "s", "--proxy", "udp:192.0.2.1:7682"]);
    assert_exit(&cat, 8);
    assert!(text(&cat.stderr).contains("write udp:192.0.2.1:7682?keys=/path"), "{cat:?}");
    let bridge = run(&["bridge", "--proxy", "tcp:127.0.0.1:7682"]);
    assert_exit(&bridge, 2);
    assert!(text(&bridge.stderr).contains("write tcp:host:port?keys=/path"), "{bridge:?}");
    let bridge = run(&["bridge", "--proxy", "serial:/dev/x", "--listen", "udp:127.0.0.1:1"]);
    assert_exit(&bridge, 2);
    assert!(text(&bridge.stderr).contains("a bridge listens at sockets"), "{bridge:?}");
}
