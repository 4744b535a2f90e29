//! How the program ends: exit codes, and the one line that says why.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Every exit code, as the help documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done; acknowledged or complete.
    Ok,
    /// 1: other failure.
    Failure,
    /// 2: the command line is wrong, in a way that the parser of it cannot see.
    Usage {
        /// The subcommand's name.
        command: &'static str,
    },
    /// 3: acknowledged, but not everything was sent.
    Unsent,
    /// 4: the remote peer refused.
    Nack,
    /// 5: the remote peer is unreachable, or all retries failed.
    Unreachable,
    /// 6: the proxy refuses the streamtype.
    Refused,
    /// 7: it took too long.
    Timeout,
    /// 8: there is no proxy.
    NoProxy,
    /// 9: the streamtype takes no payload.
    TakesNoPayload,
    /// 130: SIGINT, as shells count it.
    Interrupted,
    /// 143: SIGTERM, as shells count it.
    Terminated,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage { .. } => 2,
            Exit::Unsent => 3,
            Exit::Nack => 4,
            Exit::Unreachable => 5,
            Exit::Refused => 6,
            Exit::Timeout => 7,
            Exit::NoProxy => 8,
            Exit::TakesNoPayload => 9,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why the program cannot go on.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What it exits with.
    pub(crate) exit: Exit,
    /// What is wrong, where, and what to do about it, in one line; empty if there is nothing to
    /// say.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, message: message.into() }
    }

    /// The command line of this subcommand is wrong.
    pub(crate) fn usage(command: &'static str, message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage { command }, message: message.into() }
    }

    /// The same failure with another exit code.
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Writing to stdout failed. A reader that went away has had all it wanted.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self { exit: Exit::Ok, message: String::new() }
        } else {
            Self::new(format!("cannot write to stdout: {error}"))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
