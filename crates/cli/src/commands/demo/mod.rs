//! `sspc demo`: an origin, a proxy and a client, a serial line between these two, and what passes.

mod expect;
mod line;
mod origin;
mod output;
mod pattern;
mod report;
mod socket;
mod step;
mod stream_task;
mod summary;
mod testbed;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueHint};

use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::service;
use origin::Origin;
use output::DemoOutput;
use report::Report;
use testbed::Testbed;
use tokio::sync::mpsc::unbounded_channel;

/// See it work: web server, proxy and client in one process, without a network
///
/// Starts its own web server (h1, h2 and websocket, over TLS with a certificate made on the spot),
/// a proxy and a client, and between these two a serial line of 2 Mbaud, made of pseudo-terminals.
/// Shows what passes, with times and sizes: several streams on the line at once, how close a download
/// comes to the line's rate, what happens when the cable is pulled, and the same proxy over a Unix
/// socket. Takes a few seconds. Exit code 0 if every byte was right.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DemoArgs {
    /// Size of the large transfer over the Unix socket, in MiB
    #[arg(long, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) mebibytes: u32,

    /// Run only the web server, until a signal ends it, and write a policy for it to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) serve: Option<PathBuf>,
}

const HELP: &str = "\
Examples:
  sspc demo
  sspc demo --serve demo.json &   # the demo's origin, for a proxy and a device of yours
  sspc proxy -p demo.json -l serial:/dev/ttyUSB0

The demo shows times and rates but does not judge them: a busy machine makes it slower, not wrong.

Exit codes:
  0  every byte was right
  1  something differed; the output says what";

/// Runs the command to its end.
pub(crate) fn run(args: &DemoArgs, console: Console) -> Result<Exit, Failure> {
    let runtime = service::multi_threaded(None)?;
    if let Some(file) = &args.serve {
        return runtime.block_on(serve(file, args.mebibytes, console));
    }
    let mut output = DemoOutput::new();
    let wrong = runtime.block_on(demo(args, &mut output));
    runtime.shutdown_background();
    output.finish()?;
    match wrong? {
        0 => Ok(Exit::Ok),
        wrong => Err(Failure::new(format!("{wrong} of the demo's steps went wrong, see above"))),
    }
}

/// The origin alone, until a signal ends the process.
async fn serve(file: &Path, mebibytes: u32, console: Console) -> Result<Exit, Failure> {
    let origin = Origin::start()
        .await
        .map_err(|error| Failure::new(format!("cannot start the demo's origin: {error:#}")))?;
    std::fs::write(file, testbed::policy(&origin, mebibytes))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    console.say(&format!("sspc demo: ready: policy in {}", file.display()));
    std::future::pending().await
}

/// Gives the number of steps that went wrong.
async fn demo(args: &DemoArgs, output: &mut DemoOutput) -> Result<usize, Failure> {
    let start = Instant::now();
    let testbed = Testbed::start(args.mebibytes)
        .await
        .map_err(|error| Failure::new(format!("cannot set the demo up: {error:#}")))?;
    output.line("Secure Streams for a device with a serial line and no network: it opens streams");
    output.line("by name, and the proxy at the line's other end does the rest.");
    output.line("");
    for line in testbed.picture() {
        output.line(&line);
    }
    let (tell, events) = unbounded_channel();
    let mut report = Report::new(&testbed, output, events);
    report.run_on_line(&tell).await;
    report.run_on_socket(tell, args.mebibytes).await;
    let wrong = report.summary(start.elapsed());
    testbed.shut_down().await;
    Ok(wrong)
}
