//! Pseudo-terminals: serial ports for programs, without a port.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};

/// Where the kernel keeps pseudo-terminals.
const FOLDER: &str = "/dev/pts/";

/// A pseudo-terminal, raw: what is written to it comes out at the program that has it open, and
/// the other way round.
#[derive(Debug)]
pub(crate) struct Pty {
    master: OwnedFd,
    name: PathBuf,
    /// Held for its drop.
    _symlink: Option<Symlink>,
}

impl Pty {
    /// A pseudo-terminal that no program has open.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let name = ptsname(&master, Vec::new())?.into_bytes();
        let name = PathBuf::from(std::ffi::OsString::from_vec(name));
        let pty = Self { master, name, _symlink: None };
        // Only one that was open before counts as closed.
        pty.clean()?;
        Ok(pty)
    }

    /// One that can be opened by this path; a symbolic link, gone when this is dropped.
    ///
    /// # Errors
    /// The path is taken, or what the system says.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        // Before there is a new one, which could have the number of a dead one.
        remove_dead_symlink(path)?;
        let mut pty = Self::new()?;
        pty._symlink = Some(Symlink::new(path, &pty.name)?);
        Ok(pty)
    }

    /// What the program opens, such as `/dev/pts/3`.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Whether no program has it open.
    pub(crate) fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    /// After a program closed it: the next one finds no bytes that were for the last one, and none
    /// of its settings.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn clean(&self) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let program_side = rustix::fs::open(&self.name, flags, Mode::empty())?;
        tcflush(&program_side, QueueSelector::IFlush)?;
        let mut settings = tcgetattr(&program_side)?;
        settings.make_raw();
        tcsetattr(&program_side, OptionalActions::Now, &settings)?;
        Ok(())
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

/// A symbolic link to a pseudo-terminal; removed when dropped, unless it is another one's by then.
#[derive(Debug)]
struct Symlink {
    path: PathBuf,
    to: PathBuf,
}

impl Symlink {
    fn new(path: &Path, to: &Path) -> io::Result<Self> {
        symlink(to, path)?;
        Ok(Self { path: path.to_owned(), to: to.to_owned() })
    }
}

impl Drop for Symlink {
    fn drop(&mut self) {
        if fs::read_link(&self.path).is_ok_and(|to| to == self.to) {
            // Nothing is left to be done about a link that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a link to a pseudo-terminal that is no more: its process died.
fn remove_dead_symlink(path: &Path) -> io::Result<()> {
    match fs::read_link(path) {
        Ok(to) if to.starts_with(FOLDER) && !to.exists() => fs::remove_file(path),
        Ok(to) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("it already is a link to {}; remove it if no program uses it", to.display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path is in use for something else; choose a path that is free",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};

    use super::*;

    fn open(path: &Path) -> File {
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    fn write(pty: &Pty, bytes: &[u8]) {
        assert_eq!(rustix::io::write(pty, bytes), Ok(bytes.len()));
    }

    #[test]
    fn every_byte_passes_as_it_is() {
        let pty = Pty::new().unwrap();
        let mut program = open(pty.name());
        let all: Vec<u8> = (0..=255).collect();
        let mut heard = [0; 256];
        write(&pty, &all);
        program.read_exact(&mut heard).unwrap();
        assert_eq!(heard[..], all);
        program.write_all(&all).unwrap();
        heard.fill(0);
        assert_eq!(rustix::io::read(&pty, &mut heard), Ok(256));
        assert_eq!(heard[..], all);
    }

    #[test]
    fn the_next_program_finds_nothing_of_the_last_ones() {
        let pty = Pty::new().unwrap();
        assert!(pty.is_closed(), "it was never open");
        let program = open(pty.name());
        assert!(!pty.is_closed());
        write(&pty, b"for the first");
        let mut settings = tcgetattr(&program).unwrap();
        settings.local_modes |= rustix::termios::LocalModes::ECHO;
        tcsetattr(&program, OptionalActions::Now, &settings).unwrap();
        drop(program);
        assert!(pty.is_closed());
        pty.clean().unwrap();
        assert!(pty.is_closed());

        let mut program = open(pty.name());
        assert!(!pty.is_closed());
        write(&pty, b"for the second");
        let mut heard = [0; 100];
        assert_eq!(program.read(&mut heard).unwrap(), 14);
        assert_eq!(&heard[..14], b"for the second");
        let settings = tcgetattr(&program).unwrap();
        assert!(!settings.local_modes.contains(rustix::termios::LocalModes::ECHO));
    }

    #[test]
    fn a_path_leads_to_it_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device");
        symlink("/dev/pts/never", &path).unwrap();
        let pty = Pty::at(&path).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), pty.name());
        let taken = Pty::at(&path).unwrap_err().to_string();
        assert!(taken.contains("remove it"), "{taken}");
        drop(pty);
        assert!(fs::symlink_metadata(&path).is_err());

        fs::write(&path, "keep me").unwrap();
        let taken = Pty::at(&path).unwrap_err().to_string();
        assert!(taken.contains("something else"), "{taken}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
    }
}
