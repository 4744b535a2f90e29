//! `sspc ping`: whether a proxy can be reached, and how quickly.

mod clock;
mod line;
mod socket;
mod tally;

use std::fmt;

use sspc::Address;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::PingArgs;
use crate::exit::{self, Exit, Failure};

/// Runs the command to its end.
pub(crate) fn run(args: &PingArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let done = runtime.block_on(async {
        match &args.address {
            Address::Serial(address) => line::run(args, address).await,
            address => socket::run(args, address).await,
        }
    });
    // Names may still be looked up that nobody wants any more.
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
    exit::print(&format!("{line}\n"))
}

/// The first SIGINT or SIGTERM, from this call on.
fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error| Failure::new(format!("cannot watch signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
