//! The runner with packets on the line. The one without is not written in its terms: it would take more
//! code and RAM.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use ::embedded_io_async::{Read, Write};
use sspc_arq::{DeviceFraming, Input, Protection};
use sspc_wire::Instant;

use super::Timer;
use super::buffers::BufferSet;
use super::runner::{LineError, Runner};
use crate::client::TRANSMIT_MIN;
use crate::error::NoRoom;

/// What the tasks of a runner have in turns.
type Packets<'p, P, S, B> = RefCell<&'p mut DeviceFraming<P, S, B>>;

impl<M: BufferSet> Runner<'_, M> {
    /// The same as [`run`](Self::run), in packets, or plain, as the proxy knows it. `read` has room for
    /// the longest payload of a packet, [`DeviceFraming::payload_max`], beside what is read at once.
    pub async fn run_in_packets<R, W, P, S, B>(
        &mut self,
        mut rx: R,
        mut tx: W,
        timer: impl Timer,
        read: &mut [u8],
        write: &mut [u8],
        packets: &mut DeviceFraming<P, S, B>,
    ) -> LineError<R::Error, W::Error>
    where
        R: Read,
        W: Write,
        P: Protection,
        S: AsRef<[u8]> + AsMut<[u8]>,
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        let payload_max = packets.payload_max();
        if payload_max == 0 || read.len() <= payload_max {
            return LineError::Buffer(NoRoom { needed: payload_max.max(TRANSMIT_MIN) + 1 });
        }
        let (payload, raw) = read.split_at_mut(payload_max);
        {
            let mut shared = self.shared.borrow_mut();
            shared.busy = false;
            shared.client.reset();
        }
        packets.reset();
        let packets = RefCell::new(packets);
        let mut hears = pin!(self.hear_packets(&mut rx, &timer, raw, payload, &packets));
        let mut says = pin!(self.say_packets(&mut tx, &timer, write, &packets));
        let mut waits = pin!(self.wait_for_packets(&timer, &packets));
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
    async fn hear_packets<R: Read, W, P, S, B>(
        &self,
        rx: &mut R,
        timer: &impl Timer,
        raw: &mut [u8],
        payload: &mut [u8],
        packets: &Packets<'_, P, S, B>,
    ) -> Result<Infallible, LineError<R::Error, W>>
    where
        P: Protection,
        S: AsRef<[u8]> + AsMut<[u8]>,
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        loop {
            let length = rx.read(raw).await.map_err(LineError::Read)?;
            let mut came = match raw.get(..length) {
                Some(came) if length > 0 => came,
                _ => return Err(LineError::Closed),
            };
            self.begin().await;
            while let Some(length) = self.receive_packet(timer, packets, &mut came, payload) {
                let mut input = payload.get(..length).unwrap_or_default();
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
            }
            self.end();
        }
    }

    /// How much came for the client, and is in `payload`; 0 if it was reset.
    fn receive_packet<P, S, B>(
        &self,
        timer: &impl Timer,
        packets: &Packets<'_, P, S, B>,
        came: &mut &[u8],
        payload: &mut [u8],
    ) -> Option<usize>
    where
        P: Protection,
        S: AsRef<[u8]> + AsMut<[u8]>,
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        let mut shared = self.shared.borrow_mut();
        shared.now = timer.now();
        // No more at a time than there is room for, if it is in no packet.
        let (mut part, _) = came.split_at(came.len().min(payload.len()));
        let before = part.len();
        let mut packets = packets.borrow_mut();
        let input = packets.receive(shared.now, &mut part, shared.client.mux());
        *came = came.split_at(before - part.len()).1;
        match input {
            Some(Input::Reset) => {
                shared.client.reset();
                Some(0)
            }
            Some(Input::Bytes(bytes)) => {
                // Out of the packets, so that others go while the streams make room.
                for (to, from) in payload.iter_mut().zip(bytes) {
                    *to = *from;
                }
                Some(bytes.len())
            }
            None if came.is_empty() => None,
            None => Some(0),
        }
    }

    /// Waits for deadlines.
    async fn wait_for_packets<P, S, B>(
        &self,
        timer: &impl Timer,
        packets: &Packets<'_, P, S, B>,
    ) -> Infallible
    where
        P: Protection,
        S: AsRef<[u8]> + AsMut<[u8]>,
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        loop {
            let (seen, at) = self.seen_packets(packets);
            let at = at.unwrap_or(Instant::NEVER);
            if at <= timer.now() {
                self.begin().await;
                while self.receive_packet(timer, packets, &mut &[][..], &mut []).is_some() {}
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
                let (seen, at) = self.seen_packets(packets);
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
    async fn say_packets<R, W: Write, P, S, B>(
        &self,
        tx: &mut W,
        timer: &impl Timer,
        out: &mut [u8],
        packets: &Packets<'_, P, S, B>,
    ) -> Result<Infallible, LineError<R, W::Error>>
    where
        P: Protection,
        S: AsRef<[u8]> + AsMut<[u8]>,
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        if out.len() < TRANSMIT_MIN {
            return Err(LineError::Buffer(NoRoom { needed: TRANSMIT_MIN }));
        }
        loop {
            let (seen, deadline) = self.seen_packets(packets);
            let mut wrote = false;
            loop {
                let length = {
                    let mut shared = self.shared.borrow_mut();
                    shared.now = timer.now();
                    let now = shared.now;
                    packets
                        .borrow_mut()
                        .transmit(now, out, &mut |room| shared.transmit(room).unwrap_or(0))
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
            if self.seen_packets(packets).1 != deadline {
                self.shared.borrow_mut().change();
            }
            self.changed(seen).await;
        }
    }

    /// What changed until now, and the earlier one of both deadlines.
    fn seen_packets<P, S, B>(&self, packets: &Packets<'_, P, S, B>) -> (u32, Option<Instant>)
    where
        P: Protection,
        S: AsRef<[u8]> + AsMut<[u8]>,
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        let (seen, at) = self.seen();
        let packets_at = packets.borrow().deadline(self.shared.borrow().now);
        (seen, at.into_iter().chain(packets_at).min())
    }
}
