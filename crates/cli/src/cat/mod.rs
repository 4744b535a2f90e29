//! `sspc cat`: one stream, its payload on stdout.

mod input;
mod output;
mod progress;
mod verdict;

use std::io;
use std::time::Duration;

use sspc::tokio::{Client, Error, Event, Flags, Options, State, StreamHandle};
use sspc::{Address, Config, Fault};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::args::{CatArgs, LogArgs};
use crate::exit::{Exit, Failure};
use crate::terminal::printable;
use input::Input;
use output::Output;
use progress::Progress;
use verdict::{Next, Verdict};

/// How long the proxy may take to let go of a stream that is over, and stdout to take the rest.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// Runs the command to its end.
pub(crate) fn run(args: &CatArgs, log: LogArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let result = runtime.block_on(cat(args, log));
    // Reading stdin may hang in a thread of the runtime; nobody needs what it would bring.
    runtime.shutdown_background();
    result
}

async fn cat(args: &CatArgs, log: LogArgs) -> Result<Exit, Failure> {
    let start = Instant::now();
    let mut limits = Limits::new(args.timeout, start)?;
    let input = match &args.data {
        Some(path) => Some(Input::open(path).await?),
        None => None,
    };
    let output = Output::start()?;

    let mut options = Options::default();
    // One stream, once: a link that came back could send the request a second time.
    options.config.backoff_ms = Config::NEVER;
    let client = Client::with_options(args.proxy.clone(), options);
    let opened = tokio::select! {
        opened = client.open(args.streamtype.as_str()) => opened,
        end = limits.reached() => return end,
    };
    let stream = opened.map_err(failure)?;

    let mut session = Session {
        stream,
        verdict: Verdict::new(args.count, args.states, &args.metadata),
        output,
        progress: Progress::new(start, input.as_ref().and_then(Input::len)),
        start,
        show_states: args.states,
        show_metadata: args.states || log.verbose > 0,
    };
    let result = tokio::select! {
        // Limits first: a stream that never rests must not keep them from being seen.
        biased;
        end = limits.reached() => end,
        result = session.run(&args.metadata, input) => result,
    };
    session.close().await;
    result
}

/// What ends the program whatever the stream does.
struct Limits {
    interrupt: Signal,
    terminate: Signal,
    timeout: Option<(Duration, Instant)>,
}

impl Limits {
    fn new(timeout: Option<Duration>, start: Instant) -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("cannot watch signals: {error}")))
        };
        // A deadline beyond the end of the clock is none.
        let timeout = timeout.and_then(|after| Some((after, start.checked_add(after)?)));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            timeout,
        })
    }

    async fn reached(&mut self) -> Result<Exit, Failure> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(Exit::Interrupted),
            _ = self.terminate.recv() => Ok(Exit::Terminated),
            after = expired(self.timeout) => Err(Failure::new(format!(
                "timeout: not finished after {} s (--timeout)",
                after.as_secs_f64()
            ))
            .with_exit(Exit::Timeout)),
        }
    }
}

async fn expired(timeout: Option<(Duration, Instant)>) -> Duration {
    let Some((after, deadline)) = timeout else { return std::future::pending().await };
    tokio::time::sleep_until(deadline).await;
    after
}

/// The stream and what is done with it.
struct Session {
    stream: StreamHandle,
    verdict: Verdict,
    output: Output,
    progress: Progress,
    start: Instant,
    show_states: bool,
    show_metadata: bool,
}

impl Session {
    async fn run(
        &mut self,
        metadata: &[(String, String)],
        input: Option<Input>,
    ) -> Result<Exit, Failure> {
        for (name, value) in metadata {
            self.stream
                .set_metadata(name, value.as_bytes())
                .map_err(|error| Failure::new(format!("--meta {name}: {error}")))?;
        }
        match input {
            Some(input) => {
                let sent = self.progress.sent();
                let sending = input.send(self.stream.sender(), sent);
                self.receive(sending).await
            }
            None => {
                self.stream.connect();
                self.receive(std::future::ready(Ok(()))).await
            }
        }
    }

    /// Takes events until the end, while `sending` goes on.
    async fn receive(
        &mut self,
        sending: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Exit, Failure> {
        tokio::pin!(sending);
        let mut sent = false;
        let mut wait = None;
        loop {
            tokio::select! {
                result = &mut sending, if !sent => {
                    sent = true;
                    result?;
                    self.verdict.sent();
                }
                () = until(wait) => return self.end(self.verdict.waited()).await,
                () = self.progress.tick() => self.progress.draw(),
                event = self.stream.next() => {
                    let next = match event {
                        Some(event) => self.take(event).await?,
                        None => Next::End(self.verdict.closed()),
                    };
                    match next {
                        Next::Go => {}
                        Next::Wait(time) => wait = time.map(|time| Instant::now() + time),
                        Next::End(end) => return self.end(end).await,
                    }
                }
            }
        }
    }

    /// What an event means.
    async fn take(&mut self, event: Event) -> Result<Next, Failure> {
        match event {
            Event::State { state, ordinal } => {
                if self.show_states {
                    self.report_state(state, ordinal);
                }
                if state == State::Disconnected && self.is_link_lost() {
                    // UPSTREAM_LINK_RETRY follows, and says more.
                    return Ok(Next::Go);
                }
                Ok(self.verdict.state(state))
            }
            Event::Payload { flags, .. } if flags.contains(Flags::PERF_JSON) => Ok(Next::Go),
            Event::Payload { data, flags, .. } => {
                let next = self.verdict.payload(!data.is_empty(), flags);
                self.progress.received(data.len());
                self.output.write(data).await?;
                Ok(next)
            }
            Event::Metadata { name, value } => {
                if self.show_metadata {
                    let value = String::from_utf8_lossy(&value);
                    self.report(&format!("{}={}", printable(&name), printable(&value)));
                }
                Ok(Next::Go)
            }
            Event::Perf(json) => {
                tracing::info!(perf = %printable(&String::from_utf8_lossy(&json)));
                Ok(Next::Go)
            }
            Event::Refused { result } => {
                let streamtype = self.stream.streamtype().to_owned();
                Err(failure(Error::Refused { streamtype, result }))
            }
            Event::Fault(fault) => Err(failure(Error::Protocol(fault))),
            _ => Ok(Next::Go),
        }
    }

    /// True if the stream is gone with its link, and not because the proxy destroyed it.
    fn is_link_lost(&self) -> bool {
        !self.stream.is_created() && self.stream.state() != Some(State::Destroying)
    }

    fn report_state(&self, state: State, ordinal: u32) {
        if ordinal == 0 {
            self.report(&state.to_string());
        } else {
            self.report(&format!("{state} {ordinal}"));
        }
    }

    fn report(&self, line: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.progress.say(&format!("+{seconds:.3} {line}"));
    }

    /// Everything that came must be on stdout before a success is one.
    async fn end(&mut self, end: Result<Exit, Failure>) -> Result<Exit, Failure> {
        let flushed = self.output.finish().await;
        let exit = end?;
        flushed.map(|()| exit)
    }

    /// Lets go of the stream, so that the proxy knows it was meant.
    async fn close(self) {
        self.progress.clear();
        let mut output = self.output;
        // Whatever it says, the result is known already.
        let _ = tokio::time::timeout(CLOSE_WAIT, async {
            self.stream.close().await;
            output.finish().await
        })
        .await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The exit code and the words for what the client says.
fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::NoProxy { .. } | Error::Protocol(Fault::NoAnswer) => Exit::NoProxy,
        Error::Refused { .. } => Exit::Refused,
        _ => Exit::Failure,
    };
    let message = match &error {
        Error::NoProxy { address, source } => no_link(address, source),
        Error::Refused { streamtype, result } => format!(
            "the proxy refuses the streamtype {streamtype:?} (result {result}); its policy must \
             define it, see `sspc policy show`; the proxy's log tells more"
        ),
        other => other.to_string(),
    };
    Failure::new(message).with_exit(exit)
}

/// Why there is no link to a proxy, and what to do about it, as far as this end can know.
fn no_link(address: &Address, error: &io::Error) -> String {
    match (address, error.kind()) {
        // Somebody took the connection.
        (_, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => format!(
            "the proxy at {address} closed the connection before it answered; if a bridge listens \
             there, its line is down or all channels of the line are in use: its log says which"
        ),
        (Address::Serial(_), io::ErrorKind::TimedOut) => {
            format!("no proxy at {address}: {error}; is `sspc proxy` running there?")
        }
        (Address::Serial(_), _) => format!("cannot use {address}: {error}"),
        (_, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => format!(
            "no proxy at {address}: {error}; start one with `sspc proxy --listen {address}`, or \
             name another with --proxy"
        ),
        _ => format!("cannot connect to the proxy at {address}: {error}"),
    }
}
