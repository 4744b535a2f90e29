//! `sspc trace`: the frames of a running proxy's streams, as they pass.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use clap::Args;
use http_body_util::BodyExt as _;

use crate::admin_client::{self, WhichProxy};
use crate::console::{print, printable};
use crate::exit::{Exit, Failure};
use crate::seen_frame::{SeenFrame, data};
use crate::service;
use crate::trace::LiveTrace;

/// Follow the frames that pass between a running proxy and its clients
///
/// Streams are followed from the moment on that they are created; those that are there already show from their next
/// frame on. Payload and metadata are shown: only root and the user that the proxy runs as may look. The first
/// column is the time in seconds, `cN` the session's number.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    which: WhichProxy,

    /// Only streams of this streamtype
    streamtype: Option<String>,

    /// Only clients that have this in who they are, such as `user 1000` or `ttyUSB0`
    #[arg(long, value_name = "TEXT")]
    client: Option<String>,

    /// Only the session of this number, as `sspc status` shows it
    #[arg(long, value_name = "NUMBER")]
    session: Option<u64>,

    /// Show the bodies of frames whole, in hex
    #[arg(long, conflicts_with = "json")]
    full: bool,

    /// Print each frame as a JSON object in a line
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  sspc trace
      Everything that passes.

  sspc trace mintest --client 'user 1000'
      One user's streams of one streamtype.

  sspc trace --session 12 --full
      One stream, with all of its payload.

Exit codes:
  0    stdout was closed
  1    it may not be seen, or the proxy ended
  2    the command line is wrong
  8    there is no proxy, or it does not answer
  130  interrupted by Ctrl-C; 143 by SIGTERM";

/// How long the program may take to end after a signal: its stdout may take nothing.
const END_LIMIT: Duration = Duration::from_millis(500);
/// The longest event: a frame in hex with who it is of.
const EVENT_MAX: usize = 256 * 1024;
/// Sessions whose clients were named: beyond that they are named again.
const NAMED_MAX: usize = 10_000;

/// Runs the command to its end.
pub(crate) fn run(args: &TraceArgs) -> Result<Exit, Failure> {
    let mut ended = service::ending_signal(END_LIMIT)?;
    let runtime = service::single_threaded()?;
    let result = runtime.block_on(async {
        tokio::select! {
            Ok(exit) = &mut ended => Ok(exit),
            result = follow(args) => result,
        }
    });
    runtime.shutdown_background();
    result
}

async fn follow(args: &TraceArgs) -> Result<Exit, Failure> {
    let admin = args.which.admin("trace")?;
    let mut body = admin_client::open(&admin, &path(args)).await?;
    let mut printer = Printer {
        live: LiveTrace::frames(io::stdout(), false, args.full),
        named: BTreeSet::new(),
        is_json: args.json,
    };
    let mut waiting = Vec::new();
    while let Some(next) = body.frame().await {
        let next = next.map_err(|error| Failure::new(format!("{admin}: {error}")))?;
        let Some(data) = next.data_ref() else { continue };
        waiting.extend_from_slice(data);
        while let Some(event) = admin_client::take_event(&mut waiting) {
            match printer.event(&event) {
                Ok(()) => {}
                Err(Printing::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Exit::Ok);
                }
                Err(Printing::Output(error)) => return Err(Failure::stdout(&error)),
                Err(Printing::Failure(failure)) => return Err(failure),
            }
        }
        if waiting.len() > EVENT_MAX {
            return Err(Failure::new(format!("{admin} does not answer as a proxy does")));
        }
    }
    Err(Failure::new(format!("the proxy at {admin} has ended")))
}

/// Where frames are, and which.
fn path(args: &TraceArgs) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(streamtype) = &args.streamtype {
        query.append_pair("streamtype", streamtype);
    }
    if let Some(client) = &args.client {
        query.append_pair("client", client);
    }
    if let Some(session) = args.session {
        query.append_pair("session", &session.to_string());
    }
    let query = query.finish();
    format!("/api/v1/frames{}{query}", if query.is_empty() { "" } else { "?" })
}

struct Printer {
    live: LiveTrace,
    /// Sessions of which it was said who they are.
    named: BTreeSet<(u64, bool)>,
    is_json: bool,
}

/// Why nothing more is printed.
enum Printing {
    Output(io::Error),
    Failure(Failure),
}

impl From<io::Error> for Printing {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Printer {
    fn event(&mut self, event: &[u8]) -> Result<(), Printing> {
        let Some(data) = data(event) else { return Ok(()) };
        if self.is_json {
            return print(&format!("{data}\n")).map_err(Printing::Failure);
        }
        let Some(frame) = SeenFrame::parse(data) else { return Ok(()) };
        if frame.missed > 0 {
            let text = format!("{} frames were missed: this reader is too slow", frame.missed);
            self.live.note(frame.at_us, frame.session, &text)?;
        }
        if self.named.len() > NAMED_MAX {
            self.named.clear();
        }
        if self.named.insert((frame.session, frame.streamtype.is_some())) {
            let text = match &frame.streamtype {
                Some(streamtype) => format!("{}, streamtype {streamtype}", frame.peer),
                None => frame.peer.clone(),
            };
            self.live.note(frame.at_us, frame.session, &printable(&text))?;
        }
        frame.show(&mut self.live)?;
        Ok(self.live.flush()?)
    }
}
