//! What a wire ends at: a socket, a serial port or a pseudo-terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::pty::Pty;

/// One end of a wire. Reading and writing never wait.
#[derive(Debug)]
pub(crate) enum End {
    /// A connection.
    Socket(OwnedFd),
    /// A real port.
    Port(OwnedFd),
    Pty(Pty),
}

/// What there is to be read.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    Bytes(usize),
    /// Not now.
    Nothing,
    /// Never again.
    End,
}

impl End {
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// # Errors
    /// A port is gone.
    pub(crate) fn read(&self, room: &mut [u8]) -> io::Result<ReadOutcome> {
        match (rustix::io::read(self, &mut *room), self) {
            (Ok(0), Self::Port(_)) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            (Ok(0), Self::Pty(_)) => Ok(ReadOutcome::Nothing),
            (Ok(0), Self::Socket(_)) => Ok(ReadOutcome::End),
            (Ok(count), _) => Ok(ReadOutcome::Bytes(count)),
            (Err(Errno::AGAIN | Errno::INTR), _) => Ok(ReadOutcome::Nothing),
            // No program has it open.
            (Err(Errno::IO), Self::Pty(_)) => Ok(ReadOutcome::Nothing),
            // However a connection ends, there is nothing more to come.
            (Err(_), Self::Socket(_)) => Ok(ReadOutcome::End),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// How many bytes it took.
    ///
    /// # Errors
    /// The end will take no more.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (rustix::io::write(self, bytes), self) {
            (Ok(count), _) => Ok(count),
            (Err(Errno::AGAIN | Errno::INTR), _) => Ok(0),
            (Err(Errno::IO), Self::Pty(_)) => Ok(0),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Signals the end of what is written, where there is such a signal.
    pub(crate) fn close_writing(&self) {
        if let Self::Socket(socket) = self {
            // It may have been closed from the other side.
            let _ = shutdown(socket, Shutdown::Write);
        }
    }

    /// Whether no program has it open.
    pub(crate) fn is_deserted(&self) -> bool {
        match self {
            Self::Pty(pty) => pty.is_closed(),
            Self::Socket(_) | Self::Port(_) => false,
        }
    }

    /// After the listener left.
    pub(crate) fn clean(&self) {
        if let Self::Pty(pty) = self
            && let Err(error) = pty.clean()
        {
            // Someone may just have opened it for himself alone.
            tracing::debug!(pty = %pty.name().display(), %error, "cannot clean the pty");
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(fd) | Self::Port(fd) => fd.as_fd(),
            Self::Pty(pty) => pty.as_fd(),
        }
    }
}
