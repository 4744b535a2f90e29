//! Runs a line over a serial port or a socket of its own, on a thread of its own.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sspc_address::LineAddress;
use sspc_mux::{Instant, Role};

use crate::config::LineConfig;
use crate::event::LineEvent;
use crate::keys::LineKeys;
use crate::line::{Line, Shared, Wake};
use crate::output::Output;
use crate::port_errors::PortErrorCounters;
use crate::state::LineState;
use crate::wire::{self, Wire};

/// The waits between attempts to open a port that went away.
const REOPEN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];
/// How long what was written last may take to be sent when the line is closed.
const LINGER: Duration = Duration::from_secs(1);
/// How long the last user of a line waits for that.
const LINGER_OF_USER: Duration = Duration::from_millis(200);
/// Up to this rate a port is asked whether it needs more: Linux says so of a serial port when fewer than
/// 256 bytes wait in its driver, which above it are sent too soon to wait for that.
const ASK_BAUD_MAX: u32 = 256_000;

type Observer = Box<dyn FnMut(LineEvent) + Send>;

impl Line {
    /// Opens a serial port and takes it for itself alone, or connects to a proxy over a network; and
    /// runs the line on a thread of its own until the last [`Line`] and [`Channel`](crate::Channel) of
    /// it are dropped. `observer` is called on that thread for each event and must not block.
    ///
    /// A port that vanishes is opened again when it is back; a connection that ends is made again.
    ///
    /// # Errors
    /// The port is not there, is in use, is not a serial port, or does not take the settings; the proxy
    /// cannot be connected to; the file of keys cannot be used, or there must be one.
    pub fn open(
        address: impl Into<LineAddress>,
        role: Role,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let address = address.into();
        let config = LineConfig::for_line(&address);
        Self::open_with(address, role, config, observer)
    }

    /// The same with a configuration of one's own.
    ///
    /// # Errors
    /// As [`Line::open`].
    pub fn open_with(
        address: impl Into<LineAddress>,
        role: Role,
        config: LineConfig,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> io::Result<Self> {
        start(address.into(), role, &config, Box::new(observer))
    }
}

/// Opens the port and starts its thread.
fn start(
    address: LineAddress,
    role: Role,
    config: &LineConfig,
    observer: Observer,
) -> io::Result<Line> {
    let mut config = config.clone();
    if let Some(path) = address.keys() {
        config.keys = Some(LineKeys::read(path, role)?);
        config.forward_secrecy = address.forward_secrecy();
    }
    let (keys, config) = (config.keys.take(), &config);
    let keys = keys.map(|keys| keys.seeded()).transpose()?;
    let port = Wire::open(&address)?;
    if let Err(error) = wire::lower_latency(&address) {
        tracing::warn!("{address}: {error}");
    }
    let (receiver, sender) = pipe()?;
    let clock = StdInstant::now();
    let end = Arc::new(ThreadEnd::default());
    let notifier =
        Notifier { sender, is_notified: AtomicBool::new(false), clock, end: Arc::clone(&end) };
    let notifier = Arc::new(notifier);
    let mut state = LineState::new(role, config, keys);
    state.is_connection = matches!(address, LineAddress::Network(_));
    let shared = Arc::new(Shared::new(state, Box::new(Arc::clone(&notifier))));
    let baud = wire::baud(&address);
    let mut driver = Driver {
        shared: Arc::clone(&shared),
        address,
        counters: port.error_counters(),
        port: Some(port),
        attempts: 0,
        receiver,
        notifier,
        clock,
        output: Output::new(baud, config),
        is_full: false,
        observer,
        closed_at: None,
    };
    std::thread::Builder::new().name("sspc-line".to_owned()).spawn(move || {
        driver.run();
        driver.shared.lock().abort();
        drop(driver);
        end.announce();
    })?;
    Ok(Line::new(shared))
}

/// Wakes the thread out of its `poll`.
#[derive(Debug)]
struct Notifier {
    sender: PipeWriter,
    is_notified: AtomicBool,
    clock: StdInstant,
    end: Arc<ThreadEnd>,
}

impl Wake for Arc<Notifier> {
    fn wake(&self) {
        // One byte at most is in the pipe, so that this never blocks.
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            // If the thread is gone there is nobody to wake.
            let _ = (&self.sender).write(&[0]);
        }
    }

    fn wait_for_end(&self) {
        self.end.wait(LINGER_OF_USER);
    }

    fn now(&self) -> Instant {
        instant(self.clock, StdInstant::now())
    }
}

/// Whether the thread has ended.
#[derive(Debug, Default)]
struct ThreadEnd {
    over: Mutex<bool>,
    changed: Condvar,
}

impl ThreadEnd {
    fn announce(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self, limit: Duration) {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it has ended or not: there is no more to be done.
        drop(self.changed.wait_timeout_while(over, limit, |over| !*over));
    }
}

struct Driver {
    shared: Arc<Shared>,
    address: LineAddress,
    /// None while it is gone.
    port: Option<Wire>,
    /// What its driver counts.
    counters: Option<PortErrorCounters>,
    /// How often it was tried to open it again.
    attempts: usize,
    receiver: PipeReader,
    notifier: Arc<Notifier>,
    clock: StdInstant,
    output: Output,
    /// The port has enough to send, whatever the output's pace says.
    is_full: bool,
    observer: Observer,
    closed_at: Option<StdInstant>,
}

/// What woke the thread.
#[derive(Clone, Copy)]
struct Ready {
    to_read: bool,
    is_notified: bool,
}

impl Driver {
    fn run(&mut self) {
        let mut input = [0; 4096];
        loop {
            self.observe();
            if self.is_over() {
                return;
            }
            if self.port.is_none() && !self.reopen() {
                continue;
            }
            if let Err(error) = self.fill_output().and_then(|()| self.write()) {
                self.lose_port(error);
                continue;
            }
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    self.lose_port(error);
                    continue;
                }
            };
            if ready.is_notified {
                self.clear_notification();
            }
            let length = match ready.to_read.then(|| self.read(&mut input)) {
                Some(Ok(length)) => length,
                Some(Err(error)) => {
                    self.lose_port(error);
                    continue;
                }
                None => 0,
            };
            let now = self.now();
            let mut line = self.shared.lock();
            line.receive(now, input.get(..length).unwrap_or_default());
            line.handle_timeout(now);
            self.output.learn(&mut line);
        }
    }

    fn now(&self) -> Instant {
        instant(self.clock, StdInstant::now())
    }

    /// Calls the observer with what happened.
    fn observe(&mut self) {
        loop {
            let event = self.shared.lock().pop_event();
            let Some(event) = event else { return };
            if let (Some(counters), LineEvent::Up { .. }) = (&mut self.counters, &event) {
                counters.mark();
            }
            let is_loss = matches!(event, LineEvent::Down { .. });
            (self.observer)(event);
            if is_loss && let Some(counters) = &self.counters {
                let errors = counters.since_mark();
                if !errors.is_none() {
                    (self.observer)(LineEvent::PortErrors { errors });
                }
            }
        }
    }

    /// True when nobody uses the line any more and all that was written is sent.
    fn is_over(&mut self) -> bool {
        if !self.shared.lock().is_unused() {
            return false;
        }
        let closed_at = *self.closed_at.get_or_insert_with(StdInstant::now);
        if self.port.is_none() || closed_at.elapsed() >= LINGER {
            return true;
        }
        // A port that fails is over too.
        self.fill_output().is_err() || self.output.is_due(self.now()) && !self.is_full
    }

    /// Fills the output if the port is about to need more.
    fn fill_output(&mut self) -> io::Result<()> {
        let now = self.now();
        self.is_full = false;
        let Some(port) = self.port.as_ref().filter(|_| self.output.is_due(now)) else {
            return Ok(());
        };
        if wire::baud(&self.address).is_some_and(|baud| baud <= ASK_BAUD_MAX) {
            let mut polled = [PollFd::new(port, PollFlags::OUT)];
            poll_for(&mut polled, Some(Duration::ZERO))?;
            self.is_full = polled.iter().all(|fd| fd.revents().is_empty());
        }
        if !self.is_full {
            self.output.fill(now, &mut self.shared.lock());
        }
        Ok(())
    }

    /// Writes what goes.
    fn write(&mut self) -> io::Result<()> {
        let rest = self.output.pending();
        let (Some(port), false) = (&self.port, rest.is_empty()) else { return Ok(()) };
        if let Some(length) = port.write(rest)? {
            let now = self.now();
            self.output.wrote(now, length);
        }
        Ok(())
    }

    fn read(&self, input: &mut [u8]) -> io::Result<usize> {
        self.port.as_ref().map_or(Ok(0), |port| port.read(input))
    }

    /// Waits for bytes, for room if something is to be written, for a notification or the deadline.
    fn wait(&self) -> io::Result<Ready> {
        let Some(port) = &self.port else {
            return Ok(Ready { to_read: false, is_notified: false });
        };
        let mut interest = PollFlags::IN;
        if self.is_full || !self.output.pending().is_empty() {
            interest |= PollFlags::OUT;
        }
        let mut polled = [PollFd::new(port, interest), PollFd::new(&self.receiver, PollFlags::IN)];
        let deadline = self.shared.lock().deadline().map(|at| self.until(at));
        let limit = self.limit().into_iter().chain(deadline).min();
        poll_for(&mut polled, limit)?;
        let [port, receiver] = &polled;
        Ok(Ready {
            to_read: port.revents().intersects(!PollFlags::OUT),
            is_notified: !receiver.revents().is_empty(),
        })
    }

    /// When to come back without anything happening: when the output can be filled again, if it is
    /// written and there may be more to send; and when a closed line ends, whatever the port takes.
    fn limit(&self) -> Option<Duration> {
        let refill = self.output.refill_in(self.now()).filter(|_| !self.is_full);
        let linger = self.closed_at.map(|at| LINGER.saturating_sub(at.elapsed()));
        refill.into_iter().chain(linger).min()
    }

    fn until(&self, moment: Instant) -> Duration {
        Duration::from_micros(moment.micros_since(self.now()))
    }

    fn clear_notification(&mut self) {
        let mut bytes = [0; 8];
        // In this order: who notifies after it writes again, and what was done before is seen.
        let _ = self.receiver.read(&mut bytes);
        self.notifier.is_notified.store(false, Ordering::Release);
    }

    fn lose_port(&mut self, error: io::Error) {
        self.port = None;
        self.attempts = 0;
        self.output.clear();
        self.shared.lock().port_lost(error);
    }

    /// Waits a moment, then tries to open the port again.
    fn reopen(&mut self) -> bool {
        let wait = REOPEN.get(self.attempts).or(REOPEN.last()).copied().unwrap_or_default();
        let until = StdInstant::now() + wait;
        // Whatever the poll says, the clock decides.
        loop {
            let left = until.saturating_duration_since(StdInstant::now());
            if left.is_zero() {
                break;
            }
            let mut polled = [PollFd::new(&self.receiver, PollFlags::IN)];
            let is_notified = poll_for(&mut polled, Some(left)).is_ok()
                && polled.iter().any(|fd| !fd.revents().is_empty());
            if is_notified {
                self.clear_notification();
                if self.is_over() {
                    return false;
                }
            }
        }
        self.attempts += 1;
        let Ok(port) = Wire::open(&self.address) else { return false };
        self.counters = port.error_counters();
        self.port = Some(port);
        // That it cannot be was said when the line was opened.
        let _ = wire::lower_latency(&self.address);
        self.shared.lock().port_back();
        true
    }
}

fn poll_for(polled: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(polled, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn instant(start: StdInstant, now: StdInstant) -> Instant {
    let since = now.saturating_duration_since(start).as_micros();
    Instant::from_micros(u64::try_from(since).unwrap_or(u64::MAX))
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("address", &self.address).finish_non_exhaustive()
    }
}
