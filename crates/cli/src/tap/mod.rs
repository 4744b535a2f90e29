//! `sspc tap`: between two ends, to look at what passes and to harm it.

mod address;
mod harm;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::{Cli, TapArgs};
use crate::decode::Direction;
use crate::exit::{Exit, Failure};
use crate::log::Voice;

pub(crate) use address::{ClientSide, ProxySide};
pub(crate) use harm::{Change, Cut, Harm};

/// Runs the command to its end.
pub(crate) fn run(args: &TapArgs, _voice: Voice) -> Result<Exit, Failure> {
    match (&args.client, &args.proxy) {
        (ClientSide::Line(_), ProxySide::Line(_))
        | (ClientSide::Listen(_), ProxySide::Connect(_)) => {}
        (client, proxy) => {
            let text = format!(
                "{client} and {proxy} cannot be joined: a serial line has one connection, a \
                 socket has many; take pty: or serial: for both, or uds: or tcp: for both"
            );
            Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
    }
    let harm = [Direction::ToProxy, Direction::ToClient].map(|direction| harm(args, direction));
    Err(Failure::new(format!("sspc tap is not there yet, nor is {harm:?}")))
}

/// What the options ask for in one direction.
fn harm(args: &TapArgs, direction: Direction) -> Harm {
    let mut harm = Harm::default();
    let changes = args.harm.changes().filter(|change| change.is_for(direction));
    changes.for_each(|change| change.apply(&mut harm));
    harm
}
