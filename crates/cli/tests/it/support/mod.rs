//! Running the program.

pub(crate) mod line;
pub(crate) mod origin;
pub(crate) mod script;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Nothing here takes long; what takes this long hangs.
const HANGS: Duration = Duration::from_secs(60);

/// The program, with these arguments and no colours.
pub(crate) fn sspc(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sspc"));
    command.args(args).env_remove("RUST_LOG").env_remove("NO_COLOR").stdin(Stdio::null());
    for name in ["http_proxy", "https_proxy", "socks_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    finish(sspc(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), b"")
}

/// Runs it to its end with this on stdin.
pub(crate) fn run_with(args: &[&str], input: &[u8]) -> Output {
    let mut command = sspc(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().unwrap(), input)
}

/// Feeds and reads a process until it ends; kills one that hangs.
pub(crate) fn finish(mut child: Child, input: &[u8]) -> Output {
    let stdin = child.stdin.take();
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let input = input.to_vec();
    let feeder = thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // It may end before it has read everything.
            let _ = stdin.write_all(&input);
        }
    });
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let err = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let status = wait(&mut child);
    feeder.join().unwrap();
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// Waits for the end of a process; kills one that hangs.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > HANGS {
            let _ = child.kill();
            panic!("the process hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The exit code, with what was said in case it is another one.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// A name that no other test has, in the abstract namespace.
pub(crate) fn random_address() -> String {
    format!("uds:@sspc-test-{:016x}", rand::random::<u64>())
}

/// What a process says on stderr.
pub(crate) struct Stderr {
    lines: Receiver<String>,
    /// Everything it said, for when something goes wrong.
    said: Vec<String>,
}

impl Stderr {
    /// Of a process whose stderr is piped.
    pub(crate) fn of(child: &mut Child) -> Self {
        let stderr = child.stderr.take().unwrap();
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines, said: Vec::new() }
    }

    /// Waits until it says a line with this in it, and gives the line.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(HANGS) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {part:?} in {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without {part:?}: {:#?}", self.said)
                }
            }
        }
    }

    /// The same, if it did not say one before.
    #[track_caller]
    pub(crate) fn wait_for_once(&mut self, part: &str) {
        if !self.said.iter().any(|line| line.contains(part)) {
            self.wait_for(part);
        }
    }

    /// Everything that it said, or says until it ends.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.said.extend(self.lines.iter());
        self.said.clone()
    }
}

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    stderr: Stderr,
    pub(crate) address: String,
    dir: TempDir,
}

impl Proxy {
    /// With this policy, at a random address.
    pub(crate) fn start(policy: &str) -> Self {
        let address = random_address();
        Self::start_at(policy, &address, &[])
    }

    /// With this policy, at this address, and more arguments.
    pub(crate) fn start_at(policy: &str, address: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.json");
        std::fs::write(&file, policy).unwrap();
        let mut command = sspc(&["proxy", "--policy", file.to_str().unwrap(), "--listen", address]);
        command.args(more);
        let mut proxy = Self::spawn(command, address, dir);
        proxy.wait_for("ready");
        proxy
    }

    pub(crate) fn spawn(mut command: Command, address: &str, dir: TempDir) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Stderr::of(&mut child);
        Self { child, stderr, address: address.to_owned(), dir }
    }

    /// Waits until it says a line with this in it, and gives the line.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, part: &str) -> String {
        self.stderr.wait_for(part)
    }

    /// Everything that it said, or says until it ends.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.stderr.rest()
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.dir.path().join("policy.json")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `sspc cat` at this proxy, to its end.
    pub(crate) fn cat(&self, args: &[&str]) -> Output {
        let mut all = vec!["cat", "--proxy", &self.address, "--timeout", "40"];
        all.extend(args);
        run(&all)
    }

    /// The same with this on stdin.
    pub(crate) fn cat_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut all = vec!["cat", "--proxy", &self.address, "--timeout", "40"];
        all.extend(args);
        run_with(&all, input)
    }

    /// `sspc cat` at this proxy, running.
    pub(crate) fn cat_spawn(&self, args: &[&str]) -> Child {
        let mut command = sspc(&["cat", "--proxy", &self.address]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
