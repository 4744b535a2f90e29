//! A proxy watched in a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::support::origin::Origin;
use crate::support::{Proxy, assert_exit, run, signal, sspc, text, wait};

/// `sspc top` in a terminal of its own.
struct Top {
    child: Child,
    keys: File,
    /// What programs in the terminal have.
    terminal: OwnedFd,
    before: String,
    written: Receiver<Vec<u8>>,
    seen: String,
}

impl Top {
    fn start(proxy: &Proxy) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let before = settings(&terminal);
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = sspc(&["top", "--proxy", &proxy.address]);
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        let keys = File::from(master);
        let mut reader = keys.try_clone().unwrap();
        let (tell, written) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if tell.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, terminal, before, written, seen: String::new() }
    }

    /// Waits until the terminal got this.
    fn wait_for(&mut self, part: &str) {
        while !self.seen.contains(part) {
            let more = self.written.recv_timeout(Duration::from_secs(60));
            let more = more.unwrap_or_else(|_| panic!("no {part:?} in {:?}", self.seen));
            self.seen.push_str(&text(&more));
        }
    }

    fn press(&mut self, keys: &str) {
        self.seen.clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// It ends with this, and leaves the terminal as it was.
    fn ends_with(&mut self, code: i32) {
        let ended = wait(&mut self.child);
        // Away from the alternate screen, and the cursor is there again.
        self.wait_for("\x1b[?1049l");
        self.wait_for("\x1b[?25h");
        assert_eq!(ended.code(), Some(code), "{:?}", self.seen);
        assert_eq!(settings(&self.terminal), self.before);
    }
}

fn settings(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

#[test]
fn it_shows_streams_and_leaves_the_terminal_as_it_was() {
    let proxy = Proxy::start(&Origin::start().policy());
    assert_exit(&proxy.cat(&["missing"]), 4);
    let mut waits = proxy.cat_spawn(&["silent"]);
    let mut top = Top::start(&proxy);
    for part in ["ready", "silent", "CONNECTING", "nacked"] {
        top.wait_for(part);
    }
    assert_ne!(settings(&top.terminal), top.before, "keys come without Enter");
    top.press("\r");
    top.wait_for("Transactions that ended");
    top.wait_for("(following)");
    top.press("q");
    top.ends_with(0);
    waits.kill().unwrap();
    waits.wait().unwrap();
}

#[test]
fn a_proxy_that_is_gone_shows_and_one_that_comes_back_and_a_signal_ends_it() {
    let policy = Origin::start().policy();
    let mut proxy = Proxy::start(&policy);
    let mut top = Top::start(&proxy);
    top.wait_for("ready");
    signal(&proxy.child, Signal::SIGTERM);
    wait(&mut proxy.child);
    top.wait_for("GONE");
    let again = Proxy::start_at(&policy, &proxy.address, &[]);
    let mut waits = again.cat_spawn(&["silent"]);
    top.wait_for("silent");
    waits.kill().unwrap();
    waits.wait().unwrap();
    signal(&top.child, Signal::SIGTERM);
    top.ends_with(143);
}

#[test]
fn it_needs_a_terminal() {
    let output = run(&["top"]);
    assert_exit(&output, 1);
    let said = text(&output.stderr);
    assert!(said.contains("no terminal") && said.contains("sspc status"), "{said}");
}
