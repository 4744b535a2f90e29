//! Runs a line over whatever carries datagrams, as a future.

use std::future::Future;
use std::io;

use rustix::io::Errno;
use sspc_arq::Choice;
use sspc_mux::Role;
use tokio::net::UdpSocket;
use tokio::task::consume_budget;
use tokio::time::Instant as TokioInstant;

use crate::config::LineConfig;
use crate::event::LineEvent;
use crate::line::Line;
use crate::network::is_lost_datagram;
use crate::task::{LINGER, LineEnd};

/// What carries datagrams to one peer and back: a radio, BLE, a socket. Datagrams may be lost, doubled,
/// harmed and reordered; each that arrives is in one piece.
///
/// Both functions are called at the same time. Futures of theirs may be dropped before they are
/// ready; a datagram may be lost by that.
pub trait Datagrams {
    /// Sends a datagram, or waits until one can be sent. A datagram that is lost is no error.
    ///
    /// # Errors
    /// No more can be sent: the line ends. [`BrokenPipe`](io::ErrorKind::BrokenPipe) and
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) are an ordinary end.
    fn send(&self, datagram: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits for the next datagram, puts it at the front of `room`, and returns how long it is. One that
    /// is longer than the room is none of the peer's; cut it.
    ///
    /// # Errors
    /// As those of [`send`](Self::send).
    fn receive(&self, room: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

/// A socket that is connected to the peer. What the network says of single datagrams is no error.
impl Datagrams for UdpSocket {
    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match Self::send(self, datagram).await {
            Err(error) if is_lost(&error) => Ok(()),
            done => done.map(|_| ()),
        }
    }

    async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        match self.recv(room).await {
            Err(error) if is_lost(&error) => Ok(0),
            done => done,
        }
    }
}

fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error).is_some_and(is_lost_datagram)
}

impl Line {
    /// A line over datagrams, and the future that runs it: until the datagrams end, or the last
    /// [`Line`] and [`Channel`](crate::Channel) of it are dropped. Nothing moves unless the future is
    /// polled. `observer` is called for each event and must not block.
    ///
    /// The line speaks in packets, one a datagram, whatever the configuration says:
    /// [`LineConfig::datagrams`] makes a good one.
    ///
    /// # Errors
    /// The future ends with the error that sending or receiving ended with.
    ///
    /// # Panics
    /// The future, outside of a tokio runtime with its timer.
    pub fn over_datagrams<D: Datagrams + Send + Sync>(
        datagrams: D,
        role: Role,
        mut config: LineConfig,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> (Self, impl Future<Output = io::Result<()>> + Send) {
        config.framing = Choice::Reliable;
        config.packets.datagrams = true;
        let (line, end) = LineEnd::new(role, &config, Box::new(observer));
        let size = config.output_size();
        let running = async move {
            match drive(end?, datagrams, size).await {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    Ok(())
                }
                done => done,
            }
        };
        (line, running)
    }
}

async fn drive(mut end: LineEnd, datagrams: impl Datagrams, size: usize) -> io::Result<()> {
    let alarm = end.alarm.clone();
    let receiving = async {
        let mut room = vec![0; size];
        loop {
            let length = datagrams.receive(&mut room).await?;
            let now = alarm.now();
            alarm.shared.command(|line| {
                line.receive(now, room.get(..length).unwrap_or_default());
                line.handle_timeout(now);
            });
            // One that always has some leaves the other half its turn.
            consume_budget().await;
        }
    };
    let sending = async {
        let mut room = vec![0; size];
        let mut leave_at = None;
        loop {
            end.observe();
            let now = alarm.now();
            let (length, is_done) = {
                let mut line = alarm.shared.lock();
                line.handle_timeout(now);
                let length = line.transmit(now, &mut room);
                if line.is_unused() {
                    leave_at.get_or_insert_with(|| TokioInstant::now() + LINGER);
                }
                (length, leave_at.is_some() && length == 0 && line.has_arrived())
            };
            if is_done || leave_at.is_some_and(|at| at <= TokioInstant::now()) {
                return Ok(());
            }
            if length > 0 {
                datagrams.send(room.get(..length).unwrap_or_default()).await?;
                continue;
            }
            tokio::select! {
                () = alarm.changed() => {}
                () = alarm.due(leave_at) => {}
            }
        }
    };
    let done = tokio::select! {
        done = receiving => done,
        done = sending => done,
    };
    end.observe();
    done
}
