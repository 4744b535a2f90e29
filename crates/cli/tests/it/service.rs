//! `sspc proxy` under a service manager.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::Signal;

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, assert_exit, finish, random_address, signal, sspc, text, wait};

#[test]
fn passed_sockets_are_listened_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(&file, Origin::start().policy()).unwrap();
    let path = dir.path().join("passed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let extra = random_address();

    // The pid must be that of the program, so a shell becomes it, as a service manager would.
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", env!("CARGO_BIN_EXE_sspc"), "proxy"])
        .args(["--policy", file.to_str().unwrap(), "--listen", &extra])
        .env("LISTEN_FDS", "2")
        .fd_mappings(vec![
            FdMapping { parent_fd: unix.into(), child_fd: 3 },
            FdMapping { parent_fd: tcp.into(), child_fd: 4 },
        ])
        .unwrap();
    let mut proxy = Proxy::spawn(command, "", dir);
    let ready = proxy.wait_for("ready");
    for address in [format!("uds:{}", path.display()), format!("tcp:127.0.0.1:{port}"), extra] {
        assert!(ready.contains(&address), "{address} is not in {ready}");
        proxy.address = address;
        assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
    }
    assert!(!ready.contains("proxy.ss.lws"), "{ready}");

    // The process that made the socket file also removes it.
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    assert!(path.exists());
}

/// A connection was taken for a socket that listens; the proxy said "ready" and served nobody.
#[test]
fn a_passed_connection_is_refused() {
    let (near, _far) = UnixStream::pair().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for passed in [OwnedFd::from(near), OwnedFd::from(tcp)] {
        for (command, more) in
            [("proxy", ["--log", "text"]), ("bridge", ["-p", "serial:/dev/null"])]
        {
            let script = "LISTEN_PID=$$ exec \"$@\"";
            let mut program = Command::new("sh");
            program
                .args(["-c", script, "sh", env!("CARGO_BIN_EXE_sspc"), command])
                .args(more)
                .env("LISTEN_FDS", "1")
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .fd_mappings(vec![FdMapping {
                    parent_fd: passed.try_clone().unwrap(),
                    child_fd: 3,
                }])
                .unwrap();
            let output = finish(program.spawn().unwrap(), b"");
            assert_exit(&output, 1);
            let said = text(&output.stderr);
            assert!(said.contains("does not listen; under systemd, set Accept=no"), "{said}");
        }
    }
}

#[test]
fn a_service_manager_is_told_how_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(&file, Origin::start().policy()).unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut message = [0; 4096];
        let len = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    };

    let address = random_address();
    let mut command = sspc(&["proxy", "--policy", file.to_str().unwrap(), "--listen", &address]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    let mut proxy = Proxy::spawn(command, &address, dir);
    assert_eq!(told(), format!("READY=1\nSTATUS=9 streamtypes, listening on {address}\n"));

    signal(&proxy.child, Signal::SIGHUP);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");

    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
}
