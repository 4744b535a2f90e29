//! `sspc ping`: whether a proxy can be reached, and how quickly.

mod clock;
mod line;
mod socket;
mod tally;

use std::fmt;
use std::time::Duration;

use clap::Args;
use sspc_address::Address;

use crate::args::parse_seconds;
use crate::console::print;
use crate::exit::{Exit, Failure};
use crate::service;

/// Check whether a proxy can be reached, and how fast it answers
///
/// Over a line, serial or of packets over a network, it shows whether the link is up, the round-trip
/// time, and the other end's clock (UTC). Over other sockets it only connects and sends nothing: an
/// answer means that somebody listens there.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct PingArgs {
    /// The proxy: serial:/DEVICE?baud=N, udp:HOST:PORT?keys=FILE, uds:@NAME, uds:/PATH or
    /// tcp:HOST:PORT
    #[arg(value_name = "ADDR")]
    pub(crate) address: Address,

    /// Stop after this many; without it, at Ctrl-C
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Seconds from one to the next
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "1")]
    pub(crate) interval: Duration,
}

const HELP: &str = "\
Examples:
  sspc ping 'serial:/dev/ttyUSB0?baud=2000000&profile=fast'
      Once a second, until Ctrl-C.

  sspc ping serial:/dev/ttyS1 -c 5 -i 0.2 && echo reachable

  sspc ping tcp:gateway:7681 -c 1
      See whether somebody listens there.

Only one program can use a serial port at a time. While a bridge or a client has it, look at its
log (-v).

Exit codes:
  0  at least one was answered
  1  the port, the connection or the file of keys cannot be used
  2  the command line is wrong
  8  none was answered";

/// How long a ping that was ended may take to say how it went: stdout may take nothing.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Runs the command to its end.
pub(crate) fn run(args: &PingArgs) -> Result<Exit, Failure> {
    let stopped = service::ending_signal(END_LIMIT)?;
    let runtime = service::single_threaded()?;
    let done = runtime.block_on(async {
        match args.address.line() {
            Some(address) => line::run(args, &address, stopped).await,
            None => socket::run(args, &args.address, stopped).await,
        }
    });
    // A name may still be looked up.
    runtime.shutdown_background();
    let (tally, why) = done?;
    say(&tally)?;
    if tally.has_answers() {
        return Ok(Exit::Ok);
    }
    let message = format!("no proxy at {}: {why}", args.address);
    Err(Failure::new(message).with_exit(Exit::NoProxy))
}

/// One line to stdout.
fn say(line: &impl fmt::Display) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}
