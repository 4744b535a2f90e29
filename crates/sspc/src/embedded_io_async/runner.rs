use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use ::embedded_io_async::{Read, Write};
use sspc_wire::Instant;

use super::buffers::{BufferSet, wake};
use super::{Cell, Timer, deliver};
use crate::client::ClientEvent;
use crate::error::NoRoom;

/// Moves the streams' bytes over the line.
#[derive(Debug)]
pub struct Runner<'d, M> {
    pub(super) shared: &'d Cell<M>,
}

/// The line is lost, for now. A driver may fail at any time, for example because the program was
/// too late for a byte: that is a reason to [`run`](Runner::run) it again, not to end.
#[must_use = "the line is to be run again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError<R, W> {
    /// It cannot be read.
    Read(R),
    /// It cannot be written.
    Write(W),
    /// It has come to its end.
    Closed,
    /// The buffer to write from is shorter than [`TRANSMIT_MIN`](crate::TRANSMIT_MIN).
    Buffer(NoRoom),
}

impl<R: fmt::Display, W: fmt::Display> fmt::Display for LineError<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the line cannot be read: {error}"),
            Self::Write(error) => write!(f, "the line cannot be written: {error}"),
            Self::Closed => f.write_str("the line has come to its end"),
            Self::Buffer(error) => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug + fmt::Display, W: fmt::Debug + fmt::Display> core::error::Error
    for LineError<R, W>
{
}

impl<M: BufferSet> Runner<'_, M> {
    /// Runs the line until it is lost. Whenever it begins, it does so with the handshake: call it
    /// again, with the same driver, and the streams live on. Wait a little before, so that a driver
    /// that fails at once each time does not keep other tasks from running.
    ///
    /// `read` may be as short as the UART's queue, and `write` is best
    /// [`frame_max`](sspc_mux::Config::frame_max) and 40 long. No read or write that was begun is
    /// ever dropped, so that drivers that are not cancel safe may be used.
    pub async fn run<R: Read, W: Write>(
        &mut self,
        mut rx: R,
        mut tx: W,
        timer: impl Timer,
        read: &mut [u8],
        write: &mut [u8],
    ) -> LineError<R::Error, W::Error> {
        {
            let mut shared = self.shared.borrow_mut();
            shared.busy = false;
            shared.client.reset();
        }
        let mut hears = pin!(self.hear::<R, W::Error>(&mut rx, &timer, read));
        let mut says = pin!(self.say::<R::Error, W>(&mut tx, &timer, write));
        let mut waits = pin!(self.wait(&timer));
        poll_fn(|cx| {
            {
                let mut shared = self.shared.borrow_mut();
                shared.now = timer.now();
                shared.runner = Some(cx.waker().clone());
            }
            if let Poll::Ready(Err(error)) = hears.as_mut().poll(cx) {
                return Poll::Ready(error);
            }
            if let Poll::Ready(never) = waits.as_mut().poll(cx) {
                match never {}
            }
            match says.as_mut().poll(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(error),
                Poll::Ready(Ok(never)) => match never {},
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Reads.
    async fn hear<R: Read, W>(
        &self,
        rx: &mut R,
        timer: &impl Timer,
        buf: &mut [u8],
    ) -> Result<Infallible, LineError<R::Error, W>> {
        loop {
            let length = rx.read(buf).await.map_err(LineError::Read)?;
            let mut input = match buf.get(..length) {
                Some(input) if length > 0 => input,
                _ => return Err(LineError::Closed),
            };
            self.begin().await;
            loop {
                let event = {
                    let mut shared = self.shared.borrow_mut();
                    shared.now = timer.now();
                    let now = shared.now;
                    shared.client.receive_unnamed(now, &mut input)
                };
                match event {
                    Some(event) => self.pass_on(event).await,
                    None => break,
                }
            }
            self.end();
        }
    }

    /// Waits for deadlines.
    async fn wait(&self, timer: &impl Timer) -> Infallible {
        loop {
            let (seen, at) = self.seen();
            let at = at.unwrap_or(Instant::NEVER);
            if at <= timer.now() {
                self.begin().await;
                loop {
                    let event = {
                        let mut shared = self.shared.borrow_mut();
                        shared.now = timer.now();
                        let now = shared.now;
                        shared.client.handle_timeout(now)
                    };
                    match event {
                        Some(event) => self.pass_on(event).await,
                        None => break,
                    }
                }
                self.end();
                // What is due may have to be written before the deadline moves.
                let (seen, at) = self.seen();
                if at.is_some_and(|at| at <= timer.now()) {
                    self.changed(seen).await;
                }
                continue;
            }
            let mut sleep = pin!(timer.sleep_until(at));
            let mut changed = pin!(self.changed(seen));
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => sleep.as_mut().poll(cx),
            })
            .await;
        }
    }

    /// Writes.
    async fn say<R, W: Write>(
        &self,
        tx: &mut W,
        timer: &impl Timer,
        out: &mut [u8],
    ) -> Result<Infallible, LineError<R, W::Error>> {
        loop {
            let (seen, deadline) = self.seen();
            let mut wrote = false;
            loop {
                let length = {
                    let mut shared = self.shared.borrow_mut();
                    shared.now = timer.now();
                    shared.transmit(out).map_err(LineError::Buffer)?
                };
                let Some(bytes) = out.get(..length).filter(|bytes| !bytes.is_empty()) else {
                    break;
                };
                wrote = true;
                tx.write_all(bytes).await.map_err(LineError::Write)?;
            }
            if wrote {
                tx.flush().await.map_err(LineError::Write)?;
            }
            if self.seen().1 != deadline {
                self.shared.borrow_mut().change();
            }
            self.changed(seen).await;
        }
    }

    /// What changed until now, and the deadline.
    pub(super) fn seen(&self) -> (u32, Option<Instant>) {
        let shared = self.shared.borrow();
        (shared.changes, shared.client.deadline())
    }

    /// Waits for something to do, beside what was seen.
    pub(super) async fn changed(&self, seen: u32) {
        poll_fn(|_| match self.shared.borrow().changes == seen {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Waits until no event is on its way.
    pub(super) async fn begin(&self) {
        poll_fn(|_| match core::mem::replace(&mut self.shared.borrow_mut().busy, true) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    pub(super) fn end(&self) {
        let mut shared = self.shared.borrow_mut();
        shared.busy = false;
        shared.change();
    }

    /// Puts an event where it belongs, as soon as there is room.
    pub(super) async fn pass_on(&self, event: ClientEvent<'_>) {
        let (id, mut event) = match event {
            ClientEvent::Stream { id, event } => (id, event),
            event => {
                let mut shared = self.shared.borrow_mut();
                match event {
                    ClientEvent::LinkUp { .. } => shared.is_up = true,
                    ClientEvent::LinkDown { .. } => shared.is_up = false,
                    ClientEvent::PeerClock { unix_us } => {
                        shared.clock = Some((shared.now, unix_us));
                    }
                    _ => {}
                }
                wake(&mut shared.link);
                return;
            }
        };
        poll_fn(|_| match deliver(&mut self.shared.borrow_mut(), id, event) {
            None => Poll::Ready(()),
            Some(left) => {
                event = left;
                Poll::Pending
            }
        })
        .await;
    }
}
