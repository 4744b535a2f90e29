//! `sspc cat`: one stream, its payload on stdout.

mod failure;
mod input;
mod output;
mod progress;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use sspc::tokio::{Client, Error, Event, Flags, Options, State, StreamHandle};
use sspc::{Address, Config, Name};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::args::{parse_metadata, parse_seconds};
use crate::console::{Console, printable};
use crate::exit::{Exit, Failure};
use crate::service;
use failure::failure;
use input::Input;
use output::StdoutThread;
use progress::Progress;
use verdict::{Next, Verdict};

/// Open one stream and copy its payload to stdout
///
/// Opens STREAMTYPE at the proxy, connects, and writes what the remote peer sends to stdout, byte
/// for byte. Everything else goes to stderr. Ends when the transaction ends; a stream of messages
/// without an end runs until --count, --timeout or Ctrl-C.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CatArgs {
    /// Name of the stream in the proxy's policy
    #[arg(value_name = "STREAMTYPE", value_parser = Name::new)]
    pub(crate) streamtype: Name,

    /// The proxy: uds:@NAME, uds:/PATH, tcp:HOST:PORT, serial:/DEVICE?baud=N or
    /// udp:HOST:PORT?keys=FILE
    ///
    /// `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast` is the serial line to a gateway's
    /// proxy; without `?baud=` it runs at 115200. Only one process can use the port at a time; run
    /// `sspc bridge` to share it. `udp:HOST:PORT?keys=FILE` and `tcp:HOST:PORT?keys=FILE` are encrypted
    /// lines over a network; the file has this device's id and key. `tcp:HOST:PORT?ca=FILE` is TLS, with
    /// `&cert=FILE&key=FILE` for a proxy that asks for a certificate.
    #[arg(short, long, value_name = "ADDR", default_value_t)]
    pub(crate) proxy: Address,

    /// Set a metadata item before connecting; may be given several times
    #[arg(short, long = "meta", value_name = "NAME=VALUE", value_parser = parse_metadata)]
    pub(crate) metadata: Vec<(String, String)>,

    /// Send this file as one message; `-` sends stdin as it comes
    ///
    /// The length of a file is announced, so that an HTTP request has a content-length. That of
    /// stdin is not known; then the request is chunked.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) data: Option<PathBuf>,

    /// Give up after this many seconds, with exit code 7
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Print each state, received metadata and measurements to stderr
    ///
    /// One line for each, with the seconds since the start: `+0.123 CONNECTED` for a state,
    /// `+0.123 NAME=VALUE` for metadata, `+0.123 PERF {…}` for what the proxy measured of a connection
    /// whose streamtype has `perf`.
    #[arg(short, long)]
    pub(crate) states: bool,

    /// End after this many whole messages were received
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

const HELP: &str = "\
Examples:
  sspc cat __default --meta endpoint=https://example.com/ > page.html
      Fetch a page.

  sspc cat upload --data photo.jpg --states
      Send a file, and see the states.

  sspc cat ticker --proxy 'serial:/dev/ttyUSB0?baud=2000000&profile=fast'
      Through the proxy at the other end of a serial line.

  date | sspc cat log --data -
      Send what another program prints.

  sspc cat ticker --count 10 --timeout 30
      Print the next ten messages, if they come within 30 seconds.

Exit codes:
  0    acknowledged or complete
  1    other failure
  2    the command line is wrong
  3    acknowledged, but not everything was sent (--data)
  4    refused by the remote peer (QOS_NACK_REMOTE)
  5    the remote peer is unreachable, or all retries failed
  6    the proxy refuses this streamtype
  7    timeout
  8    there is no proxy, or the link to it was lost before the stream was complete
  9    the streamtype takes no payload (--data)
  130  interrupted by Ctrl-C; 143 by SIGTERM

If the policy has no retries, a proxy says UNREACHABLE and nothing else. So if no retry begins within
5 seconds of the first UNREACHABLE, `sspc cat` ends with exit code 5.

A reader that closes stdout early ends the stream quietly, with exit code 0.";

/// How long the proxy may take to close a stream that is over, and stdout to take the rest.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// How long the program may take to end after a signal: its stderr may take nothing.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Runs the command to its end.
pub(crate) fn run(args: &CatArgs, console: Console) -> Result<Exit, Failure> {
    let runtime = service::single_threaded()?;
    let result = runtime.block_on(cat(args, console));
    // A thread of the runtime may still wait for stdin.
    runtime.shutdown_background();
    result
}

async fn cat(args: &CatArgs, console: Console) -> Result<Exit, Failure> {
    let start = Instant::now();
    let mut limits = Limits::new(args.timeout, start)?;
    let input = match &args.data {
        Some(path) => Some(Input::open(path).await?),
        None => None,
    };
    let output = StdoutThread::start()?;

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
        verdict: Verdict::new(args.count, args.states || input.is_some(), &args.metadata),
        output,
        progress: Progress::new(start, input.as_ref().and_then(Input::len)),
        start,
        has_input: input.is_some(),
        show_states: args.states,
        show_metadata: args.states || console.is_verbose(),
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
    ended: oneshot::Receiver<Exit>,
    timeout: Option<(Duration, Instant)>,
}

impl Limits {
    fn new(timeout: Option<Duration>, start: Instant) -> Result<Self, Failure> {
        // A deadline beyond the end of the clock is none.
        let timeout = timeout.and_then(|after| Some((after, start.checked_add(after)?)));
        Ok(Self { ended: service::ending_signal(END_LIMIT)?, timeout })
    }

    async fn reached(&mut self) -> Result<Exit, Failure> {
        tokio::select! {
            Ok(exit) = &mut self.ended => Ok(exit),
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
    output: StdoutThread,
    progress: Progress,
    start: Instant,
    has_input: bool,
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
                self.verdict.sent();
                self.receive(std::future::pending()).await
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
                // What was sent before an event came must count as sent when that is judged.
                biased;
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
                        Next::Continue => {}
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
                    return Ok(Next::Continue);
                }
                if self.has_input && self.stream.takes_no_payload() {
                    return Err(failure(Error::TakesNoPayload));
                }
                if self.stream.unsent().is_some() {
                    self.verdict.unsent();
                }
                Ok(self.verdict.state(state))
            }
            Event::Payload { flags, .. } if flags.contains(Flags::PERF_JSON) => Ok(Next::Continue),
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
                Ok(Next::Continue)
            }
            Event::Perf(json) => {
                let perf = String::from_utf8_lossy(&json);
                if self.show_states {
                    self.report(&format!("PERF {}", printable(&perf)));
                } else {
                    tracing::info!(perf = %printable(&perf));
                }
                Ok(Next::Continue)
            }
            Event::Refused { result } => {
                let streamtype = self.stream.streamtype().to_owned();
                Err(failure(Error::Refused { streamtype, result }))
            }
            Event::Fault(fault) => Err(failure(Error::Protocol(fault))),
            _ => Ok(Next::Continue),
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
