//! A proxy that listens with TLS, and the commands that reach it so.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::client_certs::certificates;
use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, random_address, run, text};

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// Where a proxy says that it listens, without the options.
fn listening(proxy: &mut Proxy, listen: &str) -> String {
    let more = ["--listen", listen];
    let policy = fs::read_to_string(proxy.policy_file()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    fs::write(&file, policy).unwrap();
    let mut command = crate::support::sspc(&["proxy", "--policy", file.to_str().unwrap()]);
    command.args(more);
    *proxy = Proxy::spawn(command, "", dir);
    let ready = proxy.wait_for("sspc proxy: ready: ");
    let (_, at) = ready.split_once("listening on ").unwrap();
    let at = at.split('?').next().unwrap();
    at.replacen("127.0.0.1", "localhost", 1)
}

#[test]
fn commands_reach_a_proxy_over_tls_and_say_what_is_wrong() {
    let origin = Origin::start();
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o600)).unwrap();
    }
    let of = |name: &str| path(folder.path(), name);
    let (cert, key, ca) = (of("localhost.pem"), of("localhost.key"), of("ca.pem"));
    let mut proxy = Proxy::start_at(&origin.policy(), &random_address(), &[]);
    let plain = listening(&mut proxy, "tcp:127.0.0.1:0");
    let without_tls = run(&["cat", "hello", "--proxy", &format!("{plain}?ca={ca}")]);
    assert_exit(&without_tls, 8);
    let told = text(&without_tls.stderr);
    let why = "closed during the TLS handshake: it does not use TLS at this address";
    assert!(told.contains(why), "{told}");

    let listen = format!("tcp:127.0.0.1:0?cert={cert}&key={key}&client_ca={ca}");
    let at = listening(&mut proxy, &listen);
    let with = |name: &str| {
        let (cert, key) = (of(&format!("{name}.pem")), of(&format!("{name}.key")));
        format!("{at}?ca={ca}&cert={cert}&key={key}")
    };
    let device = with("device-a");
    let cat = run(&["cat", "hello", "--proxy", &device]);
    assert_exit(&cat, 0);
    assert_eq!(cat.stdout, HELLO);
    let cat = run(&["cat", "any", "--meta", "path=zeros/3000000", "--proxy", &device]);
    assert_exit(&cat, 0);
    assert!(cat.stdout == vec![0; 3_000_000], "{} bytes", cat.stdout.len());
    let ping = run(&["ping", &device, "-c", "1"]);
    assert_exit(&ping, 0);

    let refused = |address: &str, why: &str| {
        let cat = run(&["cat", "hello", "--proxy", address]);
        assert_exit(&cat, 8);
        let told = text(&cat.stderr);
        assert!(told.contains(why), "{told}");
    };
    refused(&format!("{at}?ca={ca}"), "the proxy asks for a certificate; add cert=/path&key=/path");
    let unknown = "the proxy refused this client's certificate: it does not know who issued it";
    refused(&with("stranger"), unknown);
    let untrusted = format!("{at}?ca={}", of("stranger.pem"));
    let why = "the proxy's certificate was not issued by one of the file ca=";
    refused(&untrusted, why);
    let ping = run(&["ping", &untrusted, "-c", "1"]);
    assert!(text(&ping.stdout).contains(why), "{ping:?}");
    let elsewhere = with("device-a").replacen("localhost", "127.0.0.1", 1);
    refused(&elsewhere, "the proxy's certificate is not for the host of its address");
    let missing = of("nothing.pem");
    refused(&format!("{at}?ca={missing}"), &format!("{missing}: No such file"));
    // The others are summed up after a minute.
    let said = proxy.wait_for("it has no certificate, and the address asks for one (client_ca=)");
    assert!(said.contains("TLS with a client at 127.0.0.1:"), "{said}");
}

#[test]
fn what_would_be_open_to_the_network_is_refused_with_what_to_write() {
    let proxy = run(&["proxy", "--listen", "tcp:0.0.0.0:0"]);
    assert!(!proxy.status.success());
    let told = text(&proxy.stderr);
    assert!(told.contains("add ?cert=/path&key=/path for TLS"), "{told}");
    let bridge =
        run(&["bridge", "--proxy", "serial:/dev/x", "--listen", "tcp:127.0.0.1:0?cert=/c&key=/k"]);
    assert_exit(&bridge, 2);
    let told = text(&bridge.stderr);
    assert!(
        told.contains("a bridge serves the programs of its own machine, without TLS"),
        "{told}"
    );
}
