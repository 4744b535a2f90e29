//! Over a line: the link's own PING.

use std::time::{Duration, Instant, SystemTime};

use sspc_line::{Line, LineAddress, LineEvent, Role};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::clock::PeerClock;
use super::tally::{Tally, millis};
use super::{PingArgs, say};
use crate::exit::{Exit, Failure};

/// How long the last PING may take to be answered: longer than a link needs to find out that it
/// is lost, or to be tried again.
const LAST_PING_LIMIT: Duration = Duration::from_millis(2500);

/// Events that wait to be printed at most.
const EVENTS_MAX: usize = 1024;

/// An event, and when it came.
type TimedEvent = (LineEvent, SystemTime);

/// Sends as many as are wanted; returns also why nothing was answered.
pub(super) async fn run(
    args: &PingArgs,
    address: &LineAddress,
    mut stopped: oneshot::Receiver<Exit>,
) -> Result<(Tally, String), Failure> {
    let (tell, mut events) = mpsc::channel::<TimedEvent>(EVENTS_MAX);
    let line = Line::open(address, Role::Client, move |event| {
        // Too many wait to be printed, or the program ends.
        let _ = tell.try_send((event, SystemTime::now()));
    })
    .map_err(|error| Failure::new(format!("cannot use {address}: {error}")))?;

    let mut link = LinkWatch::new();
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_at = None;
    loop {
        let is_last = args.count.is_some_and(|count| link.tally.sent >= count);
        if is_last && !link.awaited {
            break;
        }
        let over = async {
            match last_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = ticks.tick(), if !is_last => {
                link.miss()?;
                link.tally.sent += 1;
                link.awaited = true;
                line.ping();
                last_at = Some(tokio::time::Instant::now() + LAST_PING_LIMIT.max(args.interval));
            }
            Some((event, at)) = events.recv() => link.handle(&event, at)?,
            () = over, if is_last => {
                link.miss()?;
                break;
            }
            _ = &mut stopped => break,
        }
    }
    let status = line.status();
    if status.in_packets {
        say(&status.packets)?;
    }
    Ok((link.tally, line.not_opened().to_string()))
}

/// What is known of the link.
struct LinkWatch {
    tally: Tally,
    /// A PING has no answer yet.
    awaited: bool,
    up: bool,
    /// When the link came up or was lost.
    since: Instant,
    round_trip: Duration,
    clock: PeerClock,
}

impl LinkWatch {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            awaited: false,
            up: false,
            since: Instant::now(),
            round_trip: Duration::ZERO,
            clock: PeerClock::default(),
        }
    }

    fn handle(&mut self, event: &LineEvent, at: SystemTime) -> Result<(), Failure> {
        match event {
            LineEvent::Up { round_trip, in_packets, device, forward_secrecy } => {
                let after = self.since.elapsed().as_secs_f64();
                let how = match (in_packets, device, forward_secrecy) {
                    (_, Some(_), true) => ", in packets, encrypted with forward secrecy",
                    (_, Some(_), false) => ", in packets, encrypted",
                    (true, None, _) => ", in packets",
                    (false, None, _) => "",
                };
                say(&format_args!("link up after {after:.3} s{how}"))?;
                self.up = true;
                self.since = Instant::now();
                self.answer(*round_trip, at)
            }
            LineEvent::RoundTrip { round_trip } => self.answer(*round_trip, at),
            LineEvent::Down { why } => {
                let lasted = self.since.elapsed().as_secs_f64();
                self.up = false;
                self.since = Instant::now();
                say(&format_args!("link down after {lasted:.3} s: {why}"))
            }
            LineEvent::PeerClock { since_1970 } => {
                self.clock = PeerClock::from_peer(*since_1970, at, self.round_trip / 2);
                Ok(())
            }
            _ => say(event),
        }
    }

    fn answer(&mut self, round_trip: Duration, at: SystemTime) -> Result<(), Failure> {
        self.round_trip = round_trip;
        if !std::mem::take(&mut self.awaited) {
            // The line's own PINGs are answered too.
            return Ok(());
        }
        self.tally.answer(round_trip);
        say(&format_args!("up  rtt {:.3} ms  {}", millis(round_trip), self.clock.at(at)))
    }

    /// Says so if the PING before had no answer.
    fn miss(&self) -> Result<(), Failure> {
        match (self.awaited, self.up) {
            (false, _) => Ok(()),
            (true, true) => say(&"up  no answer yet"),
            (true, false) => {
                let lasted = self.since.elapsed().as_secs_f64();
                say(&format_args!("down  no answer for {lasted:.1} s"))
            }
        }
    }
}
