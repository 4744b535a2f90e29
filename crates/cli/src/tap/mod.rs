//! `sspc tap`: between two ends, to look at what passes and to harm it.
//!
//! [`Cable`], [`End`], [`Pty`] and [`Wire`] are of use without the command too: a serial line made
//! of two pseudo-terminals, as slow and as bad as is wanted.

mod address;
mod cable;
mod control;
mod end;
mod harm;
mod pty;
mod show;
mod sockets;
mod stage;
mod stdout;
mod wire;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::{Cli, TapArgs};
use crate::decode::Direction;
use crate::exit::{Exit, Failure};
use crate::log::Voice;

pub(crate) use address::{ClientSide, ProxySide};
pub(crate) use cable::{Cable, Outcome, Watch};
pub(crate) use end::End;
pub(crate) use harm::{Change, Cut, Harm};
pub(crate) use pty::Pty;
pub(crate) use wire::{BITS_SERIAL, BITS_SOCKET, Counts, Wire};

/// Runs the command to its end.
pub(crate) fn run(args: &TapArgs, voice: Voice) -> Result<Exit, Failure> {
    refuse_mixture(args);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let exit = runtime.block_on(stage::run(args, voice));
    // Names may still be looked up that nobody wants any more.
    runtime.shutdown_background();
    exit
}

/// Ends the program if the ends are of kinds that cannot be joined.
fn refuse_mixture(args: &TapArgs) {
    match (&args.client, &args.proxy) {
        (ClientSide::Line(_), ProxySide::Line(_))
        | (ClientSide::Listen(_), ProxySide::Connect(_)) => {}
        (client, proxy) => {
            let text = format!(
                "{client} and {proxy} cannot be joined: a serial line is one connection, a socket \
                 has many; take pty: or serial: for both, or uds: or tcp: for both"
            );
            let mut all = Cli::command();
            let tap = all.find_subcommand_mut("tap").map(|tap| tap.clone().bin_name("sspc tap"));
            tap.unwrap_or(all).error(ErrorKind::ArgumentConflict, text).exit();
        }
    }
}

/// What the options ask for in one direction.
fn harm(args: &TapArgs, direction: Direction) -> Harm {
    let mut harm = Harm::default();
    let changes = args.harm.changes().filter(|change| change.is_for(direction));
    changes.for_each(|change| change.apply(&mut harm));
    harm
}
