//! `sspc status`: a running proxy at one look.

mod show;
mod table;

use std::io;

use clap::Args;
use serde_json::Value;

use crate::admin_client::{self, WhichProxy};
use crate::console::{Painter, print, wants_color};
use crate::exit::{Exit, Failure};
use crate::service;

/// Show what a running proxy does: its lines, streams and failures
///
/// Only root and the user that the proxy runs as may look.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    which: WhichProxy,

    /// Print it as JSON, for programs
    #[arg(long)]
    json: bool,

    /// Show this many streams at most, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

const HELP: &str = "\
Examples:
  sspc status
      The proxy at the default address.

  sudo sspc status --proxy uds:/run/sspc.sock
      One that runs as somebody else.

  sspc status --json | jq '.sessions.rows[] | select(.last_error) | .streamtype'
      Which streams had an error last.

Exit codes:
  0  it was shown
  1  it may not be seen, or is no proxy's
  2  the command line is wrong
  8  there is no proxy, or it does not answer";

/// Runs the command to its end.
pub(crate) fn run(args: &StatusArgs) -> Result<Exit, Failure> {
    let admin = args.which.admin("status")?;
    let runtime = service::single_threaded()?;
    let all = runtime.block_on(async {
        let mut all = admin_client::get(&admin, "/api/v1/status").await?;
        let sessions = format!("/api/v1/sessions?sort=-age&limit={}", args.limit);
        for (name, path) in [
            ("sessions", &*sessions),
            ("connections", "/api/v1/connections"),
            ("failures", "/api/v1/failures"),
        ] {
            all[name] = admin_client::get(&admin, path).await?;
        }
        Ok::<Value, Failure>(all)
    });
    let all = all?;
    if args.json {
        print(&format!("{all:#}\n"))?;
    } else {
        print(&show::status(&all, Painter { color: wants_color(&io::stdout()) }))?;
    }
    Ok(Exit::Ok)
}
