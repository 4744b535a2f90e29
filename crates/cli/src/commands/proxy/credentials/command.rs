//! Commands that print a credential.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;
use tokio::time::timeout;

use super::LENGTH_MAX;
use super::source::trimmed;

/// A program, its arguments, and how long what it prints is good for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// No shell sees them.
    pub(super) argv: Vec<String>,
    /// After this it runs again; `None` if only a reload has it run.
    pub(super) lifetime: Option<Duration>,
    pub(super) timeout: Duration,
}

impl Command {
    /// What it prints, without what ends the last line.
    pub(super) async fn run(&self) -> Result<String, String> {
        let [program, arguments @ ..] = self.argv.as_slice() else {
            return Err("there is no program".to_owned());
        };
        let failed = |why: String| format!("{program}: {why}");
        let child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its complaints stand among the proxy's own; they are not the credential.
            .stderr(Stdio::inherit())
            // With what it starts itself, so that all of it can be ended.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut running = Running::new(child);
        let printed = timeout(self.timeout, running.output()).await;
        let seconds = self.timeout.as_secs_f32();
        printed.map_err(|_| failed(format!("it took longer than {seconds} s")))?.map_err(failed)
    }
}

/// A command that ends with this value, and with it all that it started.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { child, group }
    }

    async fn output(&mut self) -> Result<String, String> {
        let mut printed = Vec::new();
        let output = self.child.stdout.take().ok_or("its output cannot be read")?;
        let read = output.take(LENGTH_MAX + 1).read_to_end(&mut printed).await;
        read.map_err(|error| error.to_string())?;
        if printed.len() as u64 > LENGTH_MAX {
            return Err(format!("it prints more than {LENGTH_MAX} bytes"));
        }
        let status = self.child.wait().await.map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("it failed: {status}"));
        }
        // Its number may be somebody else's from now on.
        self.group = None;
        let text = String::from_utf8(printed).map_err(|_| "it prints what is not UTF-8")?;
        Ok(trimmed(text))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
