//! The line, as those see it who use it.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use sspc_mux::{Config, Instant, Priority, Role};

use crate::address::SerialAddress;
use crate::channel::{Channel, wait};
use crate::core::{Core, Id};
use crate::event::{ECHO, LineEvent, Status};
use crate::pipe::End;
use crate::thread;

/// How one end of a line is run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LineConfig {
    /// The mux's part.
    pub mux: Config,
    /// Where random numbers start; give each end another one.
    pub seed: u32,
    /// Bytes kept of a channel whose reader is behind. When more come, that channel is closed: the
    /// others cannot wait for it, and a peer that honours credit never sends so much. Default 1 MiB.
    pub inbox_max: usize,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self { mux: Config::DEFAULT, seed: std::process::id() ^ 0x6c69_6e65, inbox_max: 1 << 20 }
    }
}

impl LineConfig {
    /// The configuration for this port.
    pub fn for_port(address: &SerialAddress) -> Self {
        Self { mux: address.mux_config(), ..Self::default() }
    }
}

/// One end of a line with its mux, which something else drives: a thread or a task. Cheap to
/// clone. When the last clone and the last channel are dropped the line is closed.
#[derive(Clone, Debug)]
pub struct Line {
    pub(crate) shared: Arc<Shared>,
    /// Held by lines and channels, not by the driver.
    pub(crate) user: Arc<User>,
}

/// Those who use a line, together: when they are gone the line is closed.
#[derive(Debug)]
pub(crate) struct User {
    shared: Arc<Shared>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.shared.command(Core::close);
        self.shared.wake.wait_for_end();
    }
}

/// What the line's users and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
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
    pub(crate) fn new(core: Core, wake: Box<dyn Wake>) -> Self {
        Self { core: Mutex::new(core), wake }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // The core has no moment at which a panic elsewhere could leave it half changed.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the core, and lets the driver see to it.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut Core) -> T) -> T {
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

    /// Opens a serial port, takes it for itself alone, and runs the line on a thread of its own
    /// until the last [`Line`] and [`Channel`] of it are dropped. `observer` is called on that
    /// thread for each event and must not block.
    ///
    /// # Errors
    /// The port is not there, is in use, is no serial port, or does not take the settings.
    pub fn open(
        address: &SerialAddress,
        role: Role,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> io::Result<Self> {
        Self::open_with(address, role, LineConfig::for_port(address), observer)
    }

    /// The same with a configuration of one's own.
    ///
    /// # Errors
    /// As [`Line::open`].
    pub fn open_with(
        address: &SerialAddress,
        role: Role,
        config: LineConfig,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> io::Result<Self> {
        thread::start(address, role, &config, Box::new(observer))
    }

    /// Opens a channel and waits for it, at most this long; for as long as the link is down, too.
    ///
    /// # Errors
    /// The time is over, the peer refused it, or all channels are in use.
    pub fn channel(&self, priority: Priority, limit: Option<Duration>) -> io::Result<Channel> {
        let channel = self.want(priority);
        match wait(limit, |cx| self.shared.lock().poll_opened(channel.id(), cx)) {
            Some(Ok(())) => Ok(channel),
            Some(Err(end)) => Err(end.error()),
            None => Err(self.not_opened()),
        }
    }

    /// Opens a channel; waits for as long as the link is down. Cancel safe: a channel that nobody
    /// waits for is closed.
    ///
    /// # Errors
    /// The peer refused it, or all channels are in use.
    pub async fn open_channel(&self, priority: Priority) -> io::Result<Channel> {
        let channel = self.want(priority);
        poll_fn(|cx| self.shared.lock().poll_opened(channel.id(), cx)).await.map_err(End::error)?;
        Ok(channel)
    }

    /// Why a channel could not be opened in time.
    pub fn not_opened(&self) -> io::Error {
        let status = self.status();
        let why = match status {
            Status { port: false, .. } => "the serial port is gone",
            Status { echo: true, .. } => ECHO,
            Status { up: false, .. } => "nobody answers at the other end of the line",
            Status { up: true, .. } => "the peer does not answer the request for a channel",
        };
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    fn want(&self, priority: Priority) -> Channel {
        let id = self.shared.command(|core| core.want(priority));
        Channel::new(self.clone(), id)
    }

    /// The next channel that the peer opened; `None` when the line is closed. For
    /// [`Role::Proxy`]; one caller at a time. Cancel safe.
    pub async fn accept(&self) -> Option<Channel> {
        let id = poll_fn(|cx| self.poll_accept(cx)).await?;
        Some(Channel::new(self.clone(), id))
    }

    fn poll_accept(&self, cx: &Context<'_>) -> Poll<Option<Id>> {
        self.shared.lock().poll_accept(cx)
    }

    /// How the line is.
    pub fn status(&self) -> Status {
        self.shared.lock().status()
    }

    /// Sends a PING; [`LineEvent::RoundTrip`] tells of its answer.
    pub fn ping(&self) {
        let now = self.shared.wake.now();
        self.shared.command(|core| core.ping(now));
    }

    /// Ends the line: no channel is opened or accepted any more; those that are open go on until
    /// they are dropped, and what was written to them is sent.
    pub fn close(&self) {
        self.shared.command(Core::close);
    }
}
