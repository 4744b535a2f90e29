//! The command as it runs: cables come and go, and commands reach all of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::future::pending;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use sspc_address::{Address, ClientEnd, LineEnd, ProxyEnd};
use sspc_proxy::{ListenError, Listener};
use sspc_wire::Direction;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::control::{self, Command};
use super::monitor::{Monitor, Shown};
use super::{TapArgs, impairments};
use crate::cable::{
    BITS_SERIAL, BITS_SOCKET, Cable, Capture, Counts, Cut, End, Impairments, Outcome, Pty, Wire,
};
use crate::console::{Console, Notices};
use crate::exit::{Exit, Failure};
use crate::service::{SignalEvent, Signals};
use crate::socket;
use crate::splitmix::SplitMix64;

/// Commands that wait at most: then no more are read.
const COMMANDS_MAX: usize = 16;

/// What happens beside time, signals and commands.
enum TapEvent {
    /// A client has come, and its connection to the proxy is there.
    Joined { connection: u64, client: OwnedFd, proxy: OwnedFd },
    /// A client has come, and there is no proxy.
    Alone { connection: u64, error: io::Error },
    /// A cable has come to its end.
    Ended { connection: u64, outcome: Outcome },
}

/// Runs the tap to its end.
pub(super) async fn run(args: &TapArgs, console: Console) -> Result<Exit, Failure> {
    // Before "ready", which others may answer with a signal.
    let mut signals = Signals::watch_toggle()?;
    let (sender, mut events) = unbounded_channel();
    let is_line = matches!(args.client, ClientEnd::Line(_));
    let monitor = Monitor::start(args, is_line)?;
    let (capture, stdout, mut shown) = match monitor {
        Some(Monitor { to, stdout, ended }) => {
            let since = std::time::Instant::now();
            let capture = Capture { to, since, connection: 0, as_sent: args.as_sent };
            (Some(capture), stdout, Some(ended))
        }
        None => (None, None, None),
    };
    let mut tap = Tap::new(args, Notices::start(console)?, capture, sender);
    let ends = tap.open(args)?;
    let mut commands = if args.control { Some(read_stdin()?) } else { None };
    let seed = tap.seed;
    tap.say(&format!("ready: {ends}, seed {seed}"));

    let exit = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                SignalEvent::End(_) => break Ok(Exit::Ok),
                _ => tap.execute(Command::Toggle),
            },
            command = next_command(&mut commands) => match command {
                Ok(Command::Quit) => break Ok(Exit::Ok),
                Ok(command) => tap.execute(command),
                Err(wrong) => tap.say(&wrong),
            },
            event = events.recv() => match event {
                None => break Ok(Exit::Ok),
                Some(event) => match tap.handle(event) {
                    Ok(()) => {}
                    Err(failure) => break Err(failure),
                }
            },
            () = tap.next_time() => tap.pass_time(),
            ended = outcome(&mut shown) => break ended.map(|_| Exit::Ok),
        }
    };
    // What passed is still to be shown, but not to a reader who does not read.
    drop(stdout);
    let end = async {
        tap.end(&mut events).await;
        match shown {
            Some(_) => outcome(&mut shown).await,
            None => Ok(Shown::All),
        }
    };
    let ended = tokio::select! {
        exit = signals.end() => return Ok(exit),
        ended = end => ended,
    };
    tap.summarize();
    if let Ok(Shown::Part) = ended {
        tap.say("stdout took nothing: not everything was shown");
    }
    tap.notices.finish().await;
    exit.and_then(|exit| ended.map(|_| exit))
}

/// How showing came to its end; never if nothing is shown.
async fn outcome(
    shown: &mut Option<oneshot::Receiver<Result<Shown, Failure>>>,
) -> Result<Shown, Failure> {
    let Some(ended) = shown else { return pending().await };
    let result = ended.await;
    *shown = None;
    result.unwrap_or_else(|_| Err(Failure::new("showing what passes ended by itself")))
}

/// Commands come from a thread of their own, which ends with the program.
fn read_stdin() -> Result<mpsc::Receiver<Result<Command, String>>, Failure> {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let read = move || {
        let stdin = BufReader::new(io::stdin());
        control::read(stdin, |command| sender.blocking_send(command).is_ok());
    };
    let started = thread::Builder::new().name("control".to_owned()).spawn(read);
    started.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    Ok(commands)
}

/// The next command; never if there are none.
async fn next_command(
    commands: &mut Option<mpsc::Receiver<Result<Command, String>>>,
) -> Result<Command, String> {
    let Some(receiver) = commands else { return pending().await };
    match receiver.recv().await {
        Some(command) => command,
        // The end of stdin means nothing.
        None => {
            *commands = None;
            pending().await
        }
    }
}

struct Tap {
    notices: Notices,
    sender: UnboundedSender<TapEvent>,
    capture: Option<Capture>,
    seed: u64,
    impairments: [Impairments; 2],
    is_cut: bool,
    /// The cuts that are still to come, the next one first.
    cuts: VecDeque<(Instant, Option<Duration>)>,
    restore_at: Option<Instant>,
    cables: BTreeMap<u64, Cable>,
    /// Of the cables that have come to their end.
    past: [Counts; 2],
    accepting: Option<tokio::task::JoinHandle<()>>,
}

impl Tap {
    fn new(
        args: &TapArgs,
        notices: Notices,
        capture: Option<Capture>,
        sender: UnboundedSender<TapEvent>,
    ) -> Self {
        let mut cuts = args.impairments.cut.clone();
        cuts.sort_by_key(|cut| cut.at);
        let start = Instant::now();
        let cuts = cuts.into_iter().map(|Cut { at, lasts }| (start + at, lasts));
        Self {
            notices,
            sender,
            capture,
            seed: args.impairments.seed.unwrap_or_else(rand::random),
            impairments: Direction::BOTH.map(|direction| impairments(args, direction)),
            is_cut: false,
            cuts: cuts.collect(),
            restore_at: None,
            cables: BTreeMap::new(),
            past: Default::default(),
            accepting: None,
        }
    }

    /// Opens both ends, or listens; returns what to say of them.
    fn open(&mut self, args: &TapArgs) -> Result<String, Failure> {
        match (&args.client, &args.proxy) {
            (ClientEnd::Line(client), ProxyEnd::Line(proxy)) => {
                let (client, client_name) = open_line(client)?;
                let (proxy, proxy_name) = open_line(proxy)?;
                self.start(0, client, proxy, BITS_SERIAL)?;
                Ok(format!("{client_name} ↔ {proxy_name}"))
            }
            (ClientEnd::Listen(client), ProxyEnd::Connect(proxy)) => {
                let listener = Listener::bind(client).map_err(|error| {
                    let hint = match &error {
                        ListenError::InUse { .. } => "; end that one, or choose another address",
                        _ => "",
                    };
                    Failure::new(format!("{error}{hint}"))
                })?;
                let name = listener.address().to_string();
                let accepting = accept(listener, proxy.clone(), self.sender.clone());
                self.accepting = Some(tokio::spawn(accepting));
                Ok(format!("{name} ↔ {proxy}"))
            }
            _ => Err(Failure::new("a serial line and a socket cannot be joined")),
        }
    }

    fn start(
        &mut self,
        connection: u64,
        client: End,
        proxy: End,
        bits: u32,
    ) -> Result<(), Failure> {
        let seed = SplitMix64::seed_of(self.seed, connection);
        let mut wire = Wire::new(seed, self.impairments, bits);
        if self.is_cut {
            wire.cut();
        }
        let capture = self.capture.clone().map(|capture| Capture { connection, ..capture });
        let sender = self.sender.clone();
        let at_end = move |outcome| {
            // Fails only when the program ends.
            let _ = sender.send(TapEvent::Ended { connection, outcome });
        };
        let cable = Cable::start(client, proxy, wire, capture, at_end)
            .map_err(|error| Failure::new(format!("cannot join the ends: {error}")))?;
        self.cables.insert(connection, cable);
        Ok(())
    }

    fn handle(&mut self, event: TapEvent) -> Result<(), Failure> {
        match event {
            TapEvent::Joined { connection, client, proxy } => {
                tracing::info!(connection, cut = self.is_cut, "a client has come");
                let (client, proxy) = (End::Socket(client), End::Socket(proxy));
                if let Err(failure) = self.start(connection, client, proxy, BITS_SOCKET) {
                    self.say(&format!("c{connection}: {failure}"));
                }
            }
            TapEvent::Alone { connection, error } => {
                self.say(&format!("c{connection}: no connection to the proxy: {error}"));
            }
            TapEvent::Ended { connection, outcome } => {
                tracing::info!(connection, "a connection is over");
                self.forget(connection, outcome)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, connection: u64, outcome: Outcome) -> Result<(), Failure> {
        self.cables.remove(&connection);
        for (sum, counts) in self.past.iter_mut().zip(outcome.counts) {
            *sum = sum.plus(counts);
        }
        outcome.result.map_err(|error| Failure::new(error.to_string()))
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Toggle if self.is_cut => self.restore(),
            Command::Toggle => self.cut(None),
            Command::Cut(lasts) => self.cut(lasts),
            Command::Restore => self.restore(),
            Command::Change(change) => {
                for (impairments, direction) in self.impairments.iter_mut().zip(Direction::BOTH) {
                    if change.is_for(direction) {
                        change.apply(impairments);
                    }
                }
                self.cables.values().for_each(|cable| cable.change(change));
            }
            Command::Stats => self.summarize(),
            // The caller ends the tap.
            Command::Quit => {}
        }
    }

    fn cut(&mut self, lasts: Option<Duration>) {
        self.is_cut = true;
        self.restore_at = lasts.map(|lasts| Instant::now() + lasts);
        self.cables.values().for_each(Cable::cut);
        self.say("cut");
    }

    fn restore(&mut self) {
        self.is_cut = false;
        self.restore_at = None;
        self.cables.values().for_each(Cable::restore);
        self.say("restored");
    }

    /// Until something is planned.
    async fn next_time(&self) {
        let cut_at = self.cuts.front().map(|(at, _)| *at);
        match cut_at.into_iter().chain(self.restore_at).min() {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        if self.restore_at.is_some_and(|at| at <= now) {
            self.restore();
        }
        if let Some((_, lasts)) = self.cuts.pop_front_if(|(at, _)| *at <= now) {
            self.cut(lasts);
        }
    }

    /// Closes everything, and waits until it is.
    async fn end(&mut self, events: &mut UnboundedReceiver<TapEvent>) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Its listener is closed once it has ended.
            let _ = accepting.await;
        }
        self.capture = None;
        self.cables.values().for_each(Cable::stop);
        while !self.cables.is_empty() {
            if let Some(TapEvent::Ended { connection, outcome }) = events.recv().await
                && let Err(failure) = self.forget(connection, outcome)
            {
                self.say(&failure.to_string());
            }
        }
    }

    /// What passed so far, and what became of it.
    fn summarize(&self) {
        let mut sums = self.past;
        for cable in self.cables.values() {
            for (sum, counts) in sums.iter_mut().zip(cable.counts()) {
                *sum = sum.plus(counts);
            }
        }
        for (counts, arrow) in sums.iter().zip(["→", "←"]) {
            self.say(&format!("{arrow} {}", describe(counts)));
        }
    }

    fn say(&self, text: &str) {
        self.notices.say(format!("sspc tap: {text}"));
    }
}

/// `1000 bytes sent, 998 arrived: 3 flipped, 2 lost`
fn describe(counts: &Counts) -> String {
    let Counts { sent, passed, flipped, dropped, doubled, burst, cut, unheard } = *counts;
    let mut text = format!("{sent} bytes sent, {passed} arrived");
    let damage = [
        (flipped, "flipped"),
        (dropped, "dropped"),
        (doubled, "doubled"),
        (burst, "in bursts"),
        (cut, "lost to cuts"),
        (unheard, "unheard"),
    ];
    let mut before = ": ";
    for (count, what) in damage {
        if count > 0 {
            // Writing to a String does not fail.
            let _ = write!(text, "{before}{count} {what}");
            before = ", ";
        }
    }
    text
}

/// Opens an end of a serial line; also returns what to say of it.
fn open_line(address: &LineEnd) -> Result<(End, String), Failure> {
    match address {
        LineEnd::Pty(path) => {
            let pty = Pty::at(path).map_err(|error| {
                Failure::new(format!(
                    "cannot make a pseudo-terminal at {}: {error}",
                    path.display()
                ))
            })?;
            let name = format!("{address} ({})", pty.name().display());
            Ok((End::Pty(pty), name))
        }
        LineEnd::Serial(serial) => {
            let port = sspc_line::open_port(serial)
                .map_err(|error| Failure::new(format!("cannot open {address}: {error}")))?;
            Ok((End::Port(port), address.to_string()))
        }
    }
}

/// Takes clients for as long as it runs, and connects to the proxy for each.
async fn accept(listener: Listener, proxy: Address, sender: UnboundedSender<TapEvent>) {
    // So that the system can recover from what it has too many of.
    const PAUSE: Duration = Duration::from_millis(100);
    for connection in 0.. {
        let client = loop {
            match listener.accept().await.and_then(socket::accepted) {
                Ok(client) => break client,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a client");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let (sender, proxy) = (sender.clone(), proxy.clone());
        tokio::spawn(async move {
            let event = match socket::connect(&proxy).await {
                Ok(proxy) => TapEvent::Joined { connection, client, proxy },
                Err(error) => TapEvent::Alone { connection, error },
            };
            // Fails only when the program ends.
            let _ = sender.send(event);
        });
    }
}
