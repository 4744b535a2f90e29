//! A wire between two ends that are there: a thread that moves bytes from one to the other.

use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::decode::Direction;

use super::end::{End, Heard};
use super::harm::Change;
use super::wire::{Counts, Wire};

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;
/// Reads from one end before it is another one's turn.
const ROUNDS: u32 = 16;
/// How often to look whether a program has opened a pseudo-terminal: the system does not tell.
const LOOK: Duration = Duration::from_millis(10);

/// A wire that is being used.
///
/// Dropped, it comes to its end soon, and both ends are closed.
#[derive(Debug)]
pub(crate) struct Cable {
    orders: Sender<Order>,
    wake: UnixStream,
    counts: Arc<Mutex<[Counts; 2]>>,
}

/// What a cable is told.
#[derive(Debug, Clone, Copy)]
enum Order {
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
        watch: Option<Watch>,
        at_end: impl FnOnce(Outcome) + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, told) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let counts = Arc::default();
        let mut mover = Mover {
            sides: [Side::new(client), Side::new(proxy)],
            wire,
            watch,
            start: Instant::now(),
            told,
            is_stopped: false,
            woken,
            counts: Arc::clone(&counts),
            block: vec![0; BLOCK],
        };
        thread::Builder::new().name("cable".to_owned()).spawn(move || {
            let result = mover.run();
            let counts = mover.publish();
            mover.close();
            // The ends are closed before anybody hears of it.
            drop(mover);
            at_end(Outcome { counts, result });
        })?;
        Ok(Self { orders, wake, counts })
    }

    /// Loses what is under way and all that is sent until [`Cable::restore`]; of sockets, the
    /// connection too.
    pub(crate) fn cut(&self) {
        self.tell(Order::Cut);
    }

    pub(crate) fn restore(&self) {
        self.tell(Order::Restore);
    }

    pub(crate) fn change(&self, change: Change) {
        self.tell(Order::Change(change));
    }

    pub(crate) fn stop(&self) {
        self.tell(Order::Stop);
    }

    /// So far: to the proxy, to the client.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, order: Order) {
        // A cable that has come to its end does not listen, and one that does not keep up has been
        // woken.
        let _ = self.orders.send(order);
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where a cable's bytes are shown and recorded.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(super) to: SyncSender<Seen>,
    /// What the times count from.
    pub(super) since: Instant,
    pub(super) connection: u64,
    /// Bytes are seen as they come from the sender, not as they arrive.
    pub(super) as_sent: bool,
}

/// Bytes that were seen together.
pub(crate) struct Seen {
    pub(super) time_us: u64,
    pub(super) connection: u64,
    pub(super) direction: Direction,
    /// None for the end of the connection in this direction.
    pub(super) bytes: Vec<u8>,
}

impl Watch {
    fn see(&self, direction: Direction, bytes: &[u8]) {
        let time_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let seen =
            Seen { time_us, connection: self.connection, direction, bytes: bytes.to_owned() };
        // Whoever looked on has left; the wire goes on.
        let _ = self.to.send(seen);
    }
}

/// One end, and how things stand there.
struct Side {
    end: End,
    /// It sends nothing more.
    is_silent: bool,
    /// It takes nothing more.
    is_deaf: bool,
    /// It takes nothing now.
    is_full: bool,
    /// Nobody is there now.
    is_deserted: bool,
}

impl Side {
    fn new(end: End) -> Self {
        Self { end, is_silent: false, is_deaf: false, is_full: false, is_deserted: false }
    }
}

struct Mover {
    /// The client's, the proxy's.
    sides: [Side; 2],
    wire: Wire,
    watch: Option<Watch>,
    start: Instant,
    told: Receiver<Order>,
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

impl Mover {
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.obey();
            if self.is_stopped {
                return Ok(());
            }
            self.look_around();
            for direction in Direction::BOTH {
                self.receive(direction)?;
            }
            let since = self.now();
            for direction in Direction::BOTH {
                self.deliver(direction)?;
            }
            self.publish();
            if self.sides.iter().all(|side| side.is_deaf) {
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

    /// Tells whoever looks on that connections are over that had not come to their end.
    fn close(&self) {
        let [client, proxy] = &self.sides;
        let Some(watch) = &self.watch else { return };
        for (direction, from, to) in
            [(Direction::ToProxy, client, proxy), (Direction::ToClient, proxy, client)]
        {
            let is_over = if watch.as_sent { from.is_silent } else { to.is_deaf };
            if to.end.is_socket() && !is_over {
                watch.see(direction, &[]);
            }
        }
    }

    /// Does what was ordered.
    fn obey(&mut self) {
        let closes_if_cut = self.sides.iter().any(|side| side.end.is_socket());
        loop {
            self.is_stopped |= closes_if_cut && self.wire.is_cut();
            match self.told.try_recv() {
                Ok(Order::Cut) => self.wire.cut(),
                Ok(Order::Restore) => self.wire.restore(),
                Ok(Order::Change(change)) => self.wire.change(change),
                Ok(Order::Stop) => self.is_stopped = true,
                Err(_) => break,
            }
        }
    }

    /// Sees who has come and who has left.
    fn look_around(&mut self) {
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
                Heard::Nothing => break,
                Heard::Bytes(count) => count,
                Heard::End => {
                    from.is_silent = true;
                    self.wire.end(direction, now);
                    0
                }
            };
            // What was ordered before these were sent is true of them.
            self.obey();
            if self.is_stopped {
                break;
            }
            let bytes = self.block.get(..count).unwrap_or_default();
            self.wire.send(direction, now, bytes);
            if let Some(watch) = self.watch.as_ref().filter(|watch| watch.as_sent) {
                watch.see(direction, bytes);
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
        if from.is_silent || to.is_deaf { 0 } else { self.wire.room(direction, now) }
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
        let was_deaf = to.is_deaf;
        let watch = self.watch.as_ref().filter(|watch| !watch.as_sent);
        while !to.is_deaf {
            let bytes = self.wire.arrived(direction, now);
            if bytes.is_empty() {
                break;
            }
            // Someone may have come since it was looked at, and these be for him.
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
                    if let Some(watch) = watch {
                        watch.see(direction, bytes.get(..count).unwrap_or_default());
                    }
                    self.wire.take(direction, count);
                }
                Err(error) if !to.end.is_socket() => return Err(lost(name, &error)),
                Err(error) => {
                    tracing::debug!(?direction, %error, "closed for writing");
                    to.is_deaf = true;
                }
            }
        }
        if self.wire.has_ended(direction, now) && !to.is_deaf {
            to.end.close_writing();
            to.is_deaf = true;
        }
        if let Some(watch) = watch.filter(|_| to.is_deaf && !was_deaf) {
            watch.see(direction, &[]);
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
                until = Some(until.map_or(now + LOOK, |until| until.min(now + LOOK)));
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
        // What woke it is in the orders.
        let mut waste = [0; 64];
        while matches!(rustix::io::read(&self.woken, &mut waste), Ok(1..)) {}
        Ok(())
    }
}
