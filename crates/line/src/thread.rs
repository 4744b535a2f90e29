//! Runs a line over a serial port, on a thread of its own.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serial2::SerialPort;
use sspc_address::SerialAddress;
use sspc_mux::{Instant, Role};

use crate::config::LineConfig;
use crate::event::LineEvent;
use crate::line::{Line, Shared, Wake};
use crate::port;
use crate::state::LineState;

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
/// How much a port is given ahead of what it can have sent. What the system keeps beyond that, on a
/// pseudo-terminal 12 KiB, would be in the way of what is urgent.
const AHEAD: Duration = Duration::from_millis(10);

type Observer = Box<dyn FnMut(LineEvent) + Send>;

impl Line {
    /// Opens a serial port, takes it for itself alone, and runs the line on a thread of its own
    /// until the last [`Line`] and [`Channel`](crate::Channel) of it are dropped. `observer` is
    /// called on that thread for each event and must not block.
    ///
    /// # Errors
    /// The port is not there, is in use, is not a serial port, or does not take the settings.
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
        start(address, role, &config, Box::new(observer))
    }
}

/// Opens the port and starts its thread.
fn start(
    address: &SerialAddress,
    role: Role,
    config: &LineConfig,
    observer: Observer,
) -> io::Result<Line> {
    let port = port::open(address)?;
    let (receiver, sender) = pipe()?;
    let clock = StdInstant::now();
    let end = Arc::new(ThreadEnd::default());
    let notifier =
        Notifier { sender, is_notified: AtomicBool::new(false), clock, end: Arc::clone(&end) };
    let notifier = Arc::new(notifier);
    let shared =
        Arc::new(Shared::new(LineState::new(role, config), Box::new(Arc::clone(&notifier))));
    let mut driver = Driver {
        shared: Arc::clone(&shared),
        address: address.clone(),
        port: Some(port),
        attempts: 0,
        receiver,
        notifier,
        clock,
        output: vec![0; usize::from(config.mux.frame_max) + 128],
        output_at: 0,
        output_end: 0,
        sent_by: clock,
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
    address: SerialAddress,
    /// None while it is gone.
    port: Option<SerialPort>,
    /// How often it was tried to open it again.
    attempts: usize,
    receiver: PipeReader,
    notifier: Arc<Notifier>,
    clock: StdInstant,
    /// What is to be written: the bytes from `output_at` to `output_end`.
    output: Vec<u8>,
    output_at: usize,
    output_end: usize,
    /// When all that was written will have been sent at the port's rate.
    sent_by: StdInstant,
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
            self.fill_output();
            if let Err(error) = self.write() {
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
            (self.observer)(event);
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
        self.fill_output();
        self.output_at == self.output_end && self.ahead() <= AHEAD
    }

    /// Fills the output with frames if it is empty and the port can send more.
    fn fill_output(&mut self) {
        if self.output_at < self.output_end || self.ahead() > AHEAD {
            return;
        }
        let now = self.now();
        let length = self.shared.lock().transmit(now, &mut self.output);
        (self.output_at, self.output_end) = (0, length);
    }

    /// How far what was written is ahead of what can have been sent.
    fn ahead(&self) -> Duration {
        self.sent_by.saturating_duration_since(StdInstant::now())
    }

    /// Writes what goes.
    fn write(&mut self) -> io::Result<()> {
        let rest = self.output.get(self.output_at..self.output_end).unwrap_or_default();
        let (Some(port), false) = (&self.port, rest.is_empty()) else { return Ok(()) };
        match rustix::io::write(port, rest) {
            Ok(length) => {
                self.output_at += length;
                // 8N1: ten bits a byte.
                let ns = length as u64 * 10_000_000_000 / u64::from(self.address.baud.max(1));
                let from = self.sent_by.max(StdInstant::now());
                self.sent_by = from + Duration::from_nanos(ns);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, input: &mut [u8]) -> io::Result<usize> {
        let Some(port) = &self.port else { return Ok(0) };
        match rustix::io::read(port, input) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up")),
            Ok(length) => Ok(length),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for bytes, for room if something is to be written, for a notification or the deadline.
    fn wait(&self) -> io::Result<Ready> {
        let Some(port) = &self.port else {
            return Ok(Ready { to_read: false, is_notified: false });
        };
        let pending = self.output_at < self.output_end;
        let mut interest = PollFlags::IN;
        if pending {
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
        let is_pending = self.output_at < self.output_end;
        let too_early = self.ahead().saturating_sub(AHEAD);
        let may_have_more = self.output_end > 0 || !too_early.is_zero();
        let refill = (may_have_more && !is_pending).then_some(too_early);
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
        (self.output_at, self.output_end) = (0, 0);
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
        let Ok(port) = port::open(&self.address) else { return false };
        self.port = Some(port);
        self.sent_by = StdInstant::now();
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
