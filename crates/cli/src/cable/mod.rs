//! A cable that joins two ends: sockets, serial ports or pseudo-terminals. A thread moves the bytes
//! from one to the other, as fast and as unharmed as its [`Wire`] lets them pass.

mod end;
mod impairment;
mod pty;
mod wire;

use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sspc_wire::Direction;

pub(crate) use end::End;
use end::ReadOutcome;
pub(crate) use impairment::{Change, Cut, Impairments, parse_time};
pub(crate) use pty::Pty;
pub(crate) use wire::{BITS_SERIAL, BITS_SOCKET, Counts, Wire};

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;
/// Reads from one end before it is another one's turn.
const ROUNDS: u32 = 16;
/// How often to look whether a program has opened a pseudo-terminal: the system has no event for that.
const PTY_CHECK: Duration = Duration::from_millis(10);

/// A wire that is being used.
///
/// Dropped, it comes to its end soon, and both ends are closed.
#[derive(Debug)]
pub(crate) struct Cable {
    commands: Sender<CableCommand>,
    wake: UnixStream,
    counts: Arc<Mutex<[Counts; 2]>>,
}

/// What a cable is to do.
#[derive(Debug, Clone, Copy)]
enum CableCommand {
    Cut,
    Restore,
    Change(Change),
    Stop,
}

/// How a cable came to its end.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// To the proxy, to the client.
    pub(crate) counts: [Counts; 2],
    /// A port was lost.
    pub(crate) result: io::Result<()>,
}

impl Cable {
    /// Joins the client's end and the proxy's by a wire. `at_end` is called on the cable's thread
    /// when both have closed, when sockets were cut, when a port was lost, or after [`Cable::stop`].
    ///
    /// # Errors
    /// The system has no thread or no descriptors left.
    pub(crate) fn start(
        client: End,
        proxy: End,
        wire: Wire,
        capture: Option<Capture>,
        at_end: impl FnOnce(Outcome) + Send + 'static,
    ) -> io::Result<Self> {
        let (commands, for_thread) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let counts = Arc::default();
        let mut mover = CableThread {
            sides: [Side::new(client), Side::new(proxy)],
            wire,
            capture,
            start: Instant::now(),
            commands: for_thread,
            is_stopped: false,
            woken,
            counts: Arc::clone(&counts),
            block: vec![0; BLOCK],
        };
        thread::Builder::new().name("cable".to_owned()).spawn(move || {
            let result = mover.run();
            let counts = mover.publish();
            mover.close();
            // Closes the ends before `at_end`.
            drop(mover);
            at_end(Outcome { counts, result });
        })?;
        Ok(Self { commands, wake, counts })
    }

    /// Loses what is under way and all that is sent until [`Cable::restore`]; of sockets, the
    /// connection too.
    pub(crate) fn cut(&self) {
        self.tell(CableCommand::Cut);
    }

    pub(crate) fn restore(&self) {
        self.tell(CableCommand::Restore);
    }

    pub(crate) fn change(&self, change: Change) {
        self.tell(CableCommand::Change(change));
    }

    pub(crate) fn stop(&self) {
        self.tell(CableCommand::Stop);
    }

    /// So far: to the proxy, to the client.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, command: CableCommand) {
        // A cable that has come to its end does not listen, and one that does not keep up has been
        // woken.
        let _ = self.commands.send(command);
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where the bytes of a cable are sent to be shown and recorded.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    pub(crate) to: SyncSender<CapturedBytes>,
    /// What the times count from.
    pub(crate) since: Instant,
    pub(crate) connection: u64,
    /// Bytes are seen as they come from the sender, not as they arrive.
    pub(crate) as_sent: bool,
}

/// Bytes that passed together.
pub(crate) struct CapturedBytes {
    pub(crate) time_us: u64,
    pub(crate) connection: u64,
    pub(crate) direction: Direction,
    /// None for the end of the connection in this direction.
    pub(crate) bytes: Vec<u8>,
}

impl Capture {
    fn record(&self, direction: Direction, bytes: &[u8]) {
        let time_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let seen = CapturedBytes {
            time_us,
            connection: self.connection,
            direction,
            bytes: bytes.to_owned(),
        };
        // Nobody shows them any more; the cable goes on.
        let _ = self.to.send(seen);
    }
}

/// One end, and how things stand there.
struct Side {
    end: End,
    /// It sends nothing more.
    has_ended: bool,
    /// It takes nothing more.
    takes_nothing: bool,
    /// It takes nothing now.
    is_full: bool,
    /// No program has it open.
    is_deserted: bool,
}

impl Side {
    fn new(end: End) -> Self {
        Self { end, has_ended: false, takes_nothing: false, is_full: false, is_deserted: false }
    }
}

struct CableThread {
    /// The client's, the proxy's.
    sides: [Side; 2],
    wire: Wire,
    capture: Option<Capture>,
    start: Instant,
    commands: Receiver<CableCommand>,
    is_stopped: bool,
    woken: UnixStream,
    counts: Arc<Mutex<[Counts; 2]>>,
    block: Vec<u8>,
}

/// What the ends are called.
const CLIENT: &str = "the client's side";
const PROXY: &str = "the proxy's side";

fn lost(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name} was lost: {error}"))
}

impl CableThread {
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.run_commands();
            if self.is_stopped {
                return Ok(());
            }
            self.check_ends();
            for direction in Direction::BOTH {
                self.receive(direction)?;
            }
            let since = self.now();
            for direction in Direction::BOTH {
                self.deliver(direction)?;
            }
            self.publish();
            if self.sides.iter().all(|side| side.takes_nothing) {
                return Ok(());
            }
            self.wait(since)?;
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn publish(&self) -> [Counts; 2] {
        let counts = self.wire.counts();
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        counts
    }

    /// Captures the ends of connections that are cut off.
    fn close(&self) {
        let [client, proxy] = &self.sides;
        let Some(capture) = &self.capture else { return };
        for (direction, from, to) in
            [(Direction::ToProxy, client, proxy), (Direction::ToClient, proxy, client)]
        {
            let is_over = if capture.as_sent { from.has_ended } else { to.takes_nothing };
            if to.end.is_socket() && !is_over {
                capture.record(direction, &[]);
            }
        }
    }

    /// Runs the commands that have come.
    fn run_commands(&mut self) {
        let closes_if_cut = self.sides.iter().any(|side| side.end.is_socket());
        loop {
            self.is_stopped |= closes_if_cut && self.wire.is_cut();
            match self.commands.try_recv() {
                Ok(CableCommand::Cut) => self.wire.cut(),
                Ok(CableCommand::Restore) => self.wire.restore(),
                Ok(CableCommand::Change(change)) => self.wire.change(change),
                Ok(CableCommand::Stop) => self.is_stopped = true,
                Err(_) => break,
            }
        }
    }

    /// Checks which ends no program has open.
    fn check_ends(&mut self) {
        for side in &mut self.sides {
            let is_deserted = side.end.is_deserted();
            if is_deserted && !side.is_deserted {
                side.end.clean();
            }
            side.is_deserted = is_deserted;
        }
    }

    /// Puts on the wire what an end sends.
    fn receive(&mut self, direction: Direction) -> io::Result<()> {
        for _ in 0..ROUNDS {
            let now = self.now();
            let room = self.room(direction, now).min(BLOCK);
            let Some(room) = self.block.get_mut(..room).filter(|room| !room.is_empty()) else {
                break;
            };
            let [client, proxy] = &mut self.sides;
            let (name, from) = match direction {
                Direction::ToProxy => (CLIENT, client),
                Direction::ToClient => (PROXY, proxy),
            };
            let count = match from.end.read(room).map_err(|error| lost(name, &error))? {
                ReadOutcome::Nothing => break,
                ReadOutcome::Bytes(count) => count,
                ReadOutcome::End => {
                    from.has_ended = true;
                    self.wire.end(direction, now);
                    0
                }
            };
            // Commands from before these bytes were sent apply to them.
            self.run_commands();
            if self.is_stopped {
                break;
            }
            let bytes = self.block.get(..count).unwrap_or_default();
            self.wire.send(direction, now, bytes);
            if let Some(capture) = self.capture.as_ref().filter(|capture| capture.as_sent) {
                capture.record(direction, bytes);
            }
        }
        Ok(())
    }

    /// How many bytes the sender is asked for.
    fn room(&self, direction: Direction, now: Duration) -> usize {
        let [client, proxy] = &self.sides;
        let (from, to) = match direction {
            Direction::ToProxy => (client, proxy),
            Direction::ToClient => (proxy, client),
        };
        if from.has_ended || to.takes_nothing { 0 } else { self.wire.room(direction, now) }
    }

    /// Gives an end what has arrived for it.
    fn deliver(&mut self, direction: Direction) -> io::Result<()> {
        let now = self.now();
        let [client, proxy] = &mut self.sides;
        let (name, to) = match direction {
            Direction::ToProxy => (PROXY, proxy),
            Direction::ToClient => (CLIENT, client),
        };
        to.is_full = false;
        let took_nothing = to.takes_nothing;
        let capture = self.capture.as_ref().filter(|capture| !capture.as_sent);
        while !to.takes_nothing {
            let bytes = self.wire.arrived(direction, now);
            if bytes.is_empty() {
                break;
            }
            // Somebody may have come since the check, and these bytes are for them.
            to.is_deserted = to.is_deserted && to.end.is_deserted();
            if to.is_deserted {
                let count = bytes.len();
                self.wire.miss(direction, count);
                continue;
            }
            match to.end.write(bytes) {
                Ok(0) => {
                    to.is_full = true;
                    return Ok(());
                }
                Ok(count) => {
                    if let Some(capture) = capture {
                        capture.record(direction, bytes.get(..count).unwrap_or_default());
                    }
                    self.wire.take(direction, count);
                }
                Err(error) if !to.end.is_socket() => return Err(lost(name, &error)),
                Err(error) => {
                    tracing::debug!(?direction, %error, "closed for writing");
                    to.takes_nothing = true;
                }
            }
        }
        if self.wire.has_ended(direction, now) && !to.takes_nothing {
            to.end.close_writing();
            to.takes_nothing = true;
        }
        if let Some(capture) = capture.filter(|_| to.takes_nothing && !took_nothing) {
            capture.record(direction, &[]);
        }
        Ok(())
    }

    /// Until there is something to do that there was not at `since`, when it was last looked at.
    fn wait(&mut self, since: Duration) -> io::Result<()> {
        let now = self.now();
        let mut until = self.wire.next_event(since);
        let wants = Direction::BOTH.map(|direction| self.room(direction, since) > 0);
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        for (side, wants) in self.sides.iter().zip(wants) {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, wants);
            events.set(PollFlags::OUT, side.is_full);
            if side.is_deserted {
                // It would say so all the time.
                until = Some(until.map_or(now + PTY_CHECK, |until| until.min(now + PTY_CHECK)));
            } else if !events.is_empty() {
                fds.push(PollFd::from_borrowed_fd(side.end.as_fd(), events));
            }
        }
        let time = until.map(|until| until.saturating_sub(now));
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Why it was woken is in the commands.
        let mut waste = [0; 64];
        while matches!(rustix::io::read(&self.woken, &mut waste), Ok(1..)) {}
        Ok(())
    }
}
