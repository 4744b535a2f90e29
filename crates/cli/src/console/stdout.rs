//! stdout, when its reader may stall and the program is to end all the same.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most that a pipe or terminal that takes anything takes without blocking.
const WRITE_MAX: usize = 4096;
/// How long a reader may take nothing once the program is to end.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Writes to stdout, and waits for its reader: for any time, until [`StdoutStop`] is dropped.
///
/// After that a write fails with [`io::ErrorKind::TimedOut`] when nothing was taken for half a
/// second.
#[derive(Debug)]
pub(crate) struct StoppableStdout {
    file: File,
    end: UnixStream,
}

/// Dropped when the program is to end.
#[derive(Debug)]
pub(crate) struct StdoutStop {
    _end: UnixStream,
}

impl StoppableStdout {
    pub(crate) fn new() -> io::Result<(Self, StdoutStop)> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let (end, other) = UnixStream::pair()?;
        Ok((Self { file, end }, StdoutStop { _end: other }))
    }

    /// Waits until stdout takes something, or fails.
    fn wait(&self) -> io::Result<()> {
        let mut limit = None;
        loop {
            let is_ending = limit.is_some();
            let stdout = PollFd::new(&self.file, PollFlags::OUT);
            let end = PollFd::new(&self.end, PollFlags::IN);
            let mut fds = [stdout, end];
            let watched = if is_ending { &mut fds[..1] } else { &mut fds[..] };
            match poll(watched, limit.as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [stdout, end] = &fds;
            if !stdout.revents().is_empty() {
                return Ok(());
            }
            if !end.revents().is_empty() {
                limit = Timespec::try_from(END_LIMIT).ok();
            }
        }
    }
}

impl Write for StoppableStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait()?;
        self.file.write(bytes.get(..WRITE_MAX).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
