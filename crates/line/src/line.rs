//! A line, as its users have it, and what they share with its driver.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sspc_mux::Instant;

use crate::event::{ECHO, NO_ANSWER, NO_PACKETS, Status};
use crate::state::LineState;

/// One end of a line with its mux, which something else drives: a thread or a task. Cheap to
/// clone. When the last clone and the last channel are dropped the line is closed.
#[derive(Clone, Debug)]
pub struct Line {
    pub(crate) shared: Arc<Shared>,
    /// Held by lines and channels, not by the driver.
    pub(crate) user: Arc<User>,
}

/// The users of a line, together: when they are gone the line is closed.
#[derive(Debug)]
pub(crate) struct User {
    shared: Arc<Shared>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.shared.command(LineState::close);
        self.shared.wake.wait_for_end();
    }
}

/// What the line's users and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<LineState>,
    wake: Box<dyn Wake>,
}

/// Wakes the driver: there is something new to do.
pub(crate) trait Wake: Send + Sync + std::fmt::Debug {
    fn wake(&self);
    /// Called when nobody uses the line any more: gives a driver that can work meanwhile a moment
    /// to send what was written.
    fn wait_for_end(&self) {}
    /// The time of the driver's clock.
    fn now(&self) -> Instant;
}

impl Shared {
    pub(crate) fn new(state: LineState, wake: Box<dyn Wake>) -> Self {
        Self { state: Mutex::new(state), wake }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LineState> {
        // The state has no moment at which a panic elsewhere could leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the driver for what is to be done about it.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut LineState) -> T) -> T {
        let done = command(&mut self.lock());
        self.wake.wake();
        done
    }
}

impl Line {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let user = Arc::new(User { shared: Arc::clone(&shared) });
        Self { shared, user }
    }

    /// Why a channel could not be opened in time.
    pub fn not_opened(&self) -> io::Error {
        let line = self.shared.lock();
        let status = line.status();
        if let Some(why) = status.refused {
            return io::Error::new(io::ErrorKind::TimedOut, why.to_string());
        }
        let why = match status {
            Status { port: false, .. } if line.is_connection => {
                "the connection to the proxy is lost"
            }
            Status { port: false, .. } => "the serial port is gone",
            Status { echo: true, .. } => ECHO,
            Status { up: false, .. } if line.is_connection => NO_ANSWER,
            Status { up: false, .. } if line.is_reliable() => NO_PACKETS,
            Status { up: false, .. } => "nobody answers at the other end of the line",
            Status { up: true, .. } => "the peer does not answer the request for a channel",
        };
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    /// Shows how the line is without being a user of it.
    pub fn monitor(&self) -> LineMonitor {
        LineMonitor { shared: Arc::clone(&self.shared) }
    }

    /// How the line is.
    pub fn status(&self) -> Status {
        self.shared.lock().status()
    }

    /// The id of the device whose packets are encrypted, as its key proves; `None` on other lines.
    pub fn device(&self) -> Option<Arc<str>> {
        self.shared.lock().device()
    }

    /// Sends a PING; its answer is a [`LineEvent::RoundTrip`](crate::LineEvent::RoundTrip).
    pub fn ping(&self) {
        let now = self.shared.wake.now();
        self.shared.command(|line| line.ping(now));
    }

    /// Ends the line: no channel is opened or accepted any more; those that are open go on until
    /// they are dropped, and what was written to them is sent.
    pub fn close(&self) {
        self.shared.command(LineState::close);
    }
}

/// Shows how a line is. Holding one does not keep the line open.
#[derive(Clone, Debug)]
pub struct LineMonitor {
    shared: Arc<Shared>,
}

impl LineMonitor {
    /// How the line is; as it was at its end if it has ended.
    pub fn status(&self) -> Status {
        self.shared.lock().status()
    }

    /// As [`Line::device`].
    pub fn device(&self) -> Option<Arc<str>> {
        self.shared.lock().device()
    }
}
