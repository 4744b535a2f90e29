//! `sspc smd`: the bus for system messages that the clients of a proxy share.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use sspc::tokio::{Classes, Client, Error, Smd, SmdMessage};
use sspc::{Address, Fault};
use tokio::time::timeout;

use crate::args::parse_seconds;
use crate::console::{print, printable};
use crate::exit::{Exit, Failure};
use crate::service;

/// Print the system messages of a proxy's clients, or send one
///
/// All clients of a proxy share a bus for short messages, each of a class. Without `send` this prints those
/// that come, a line each: the class, then the text. If the proxy ends, it waits for the next one.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct SmdArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SmdCommand>,

    /// The proxy: uds:@NAME, uds:/PATH, tcp:HOST:PORT, serial:/DEVICE?baud=N or udp:HOST:PORT?keys=FILE
    #[arg(short, long, value_name = "ADDR", default_value_t, global = true)]
    pub(crate) proxy: Address,

    /// Classes with commas between them: interaction, system_state, network, metrics, user0 to user7, user,
    /// all, or bits such as 0x1000000
    ///
    /// Those to print, by default all; for `send` what the message belongs to.
    #[arg(short, long, value_name = "CLASSES", global = true)]
    pub(crate) class: Option<Classes>,

    /// Print a JSON object a line: `class`, `timestamp_us` and `text`
    #[arg(long)]
    pub(crate) json: bool,

    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Give up after this many seconds, with exit code 7
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds, global = true)]
    pub(crate) timeout: Option<Duration>,
}

/// What else can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum SmdCommand {
    /// Send one message, and wait until the proxy has given it out
    Send {
        /// The text, normally JSON: at most 383 bytes
        #[arg(value_name = "TEXT")]
        text: String,
    },
}

const HELP: &str = "\
Examples:
  sspc smd
      Print everything that is said.

  sspc smd --class network,system_state --json | jq .
      Print two classes, for a program.

  sspc smd send --class network '{\"trigger\":\"cpdcheck\"}'
      Send a message.

  sspc smd --class user0 --count 1 --timeout 30
      Wait for one message, for 30 seconds at most.

Exit codes:
  0    the message was given out; or --count messages came
  1    other failure
  2    the command line is wrong
  6    the proxy has no bus for its clients (--no-smd), or no room for another one
  7    timeout
  8    there is no proxy
  130  interrupted by Ctrl-C; 143 by SIGTERM";

/// How long the program may take to end after a signal: its stdout may take nothing.
const END_LIMIT: Duration = Duration::from_millis(500);
/// How long the proxy may take to give a message out, if nothing else is asked for.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command to its end.
pub(crate) fn run(args: &SmdArgs) -> Result<Exit, Failure> {
    let mut ended = service::ending_signal(END_LIMIT)?;
    let runtime = service::single_threaded()?;
    let result = runtime.block_on(async {
        tokio::select! {
            Ok(exit) = &mut ended => Ok(exit),
            result = smd(args) => result,
        }
    });
    runtime.shutdown_background();
    result
}

async fn smd(args: &SmdArgs) -> Result<Exit, Failure> {
    let client = Client::new(args.proxy.clone());
    match (&args.command, args.class) {
        (Some(SmdCommand::Send { .. }), None) => {
            let classes = "--class says what the message belongs to, such as --class network";
            Err(Failure::usage("smd", classes))
        }
        (Some(SmdCommand::Send { text }), Some(class)) => {
            let limit = args.timeout.unwrap_or(SEND_LIMIT);
            within(limit, "the proxy did not give the message out", send(&client, class, text))
                .await
        }
        (None, classes) => {
            let printing = print_all(&client, classes.unwrap_or(Classes::ALL), args);
            match args.timeout {
                Some(limit) => within(limit, "not finished", printing).await,
                None => printing.await,
            }
        }
    }
}

async fn within(
    limit: Duration,
    what: &str,
    doing: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    timeout(limit, doing).await.unwrap_or_else(|_| {
        let message = format!("timeout: {what} within {} s", limit.as_secs_f64());
        Err(Failure::new(message).with_exit(Exit::Timeout))
    })
}

/// Sends a message; done when it came back, as it does to all that want its class.
async fn send(client: &Client, class: Classes, text: &str) -> Result<Exit, Failure> {
    let mut smd = client.smd(class).await.map_err(failure)?;
    smd.send(class, text).await.map_err(failure)?;
    loop {
        let message = next(&mut smd).await?;
        if message.class == class && message.text == text.as_bytes() {
            break;
        }
    }
    smd.close().await;
    Ok(Exit::Ok)
}

async fn print_all(client: &Client, classes: Classes, args: &SmdArgs) -> Result<Exit, Failure> {
    let mut smd = client.smd(classes).await.map_err(failure)?;
    let mut count = 0;
    while args.count.is_none_or(|most| count < most) {
        let message = next(&mut smd).await?;
        let text = String::from_utf8_lossy(&message.text);
        if args.json {
            let line = JsonLine {
                class: message.class.to_string(),
                timestamp_us: message.timestamp_us,
                text: &text,
            };
            let line = serde_json::to_string(&line).map_err(|why| Failure::new(why.to_string()))?;
            print(&format!("{line}\n"))?;
        } else {
            print(&format!("{} {}\n", message.class, printable(&text)))?;
        }
        count += 1;
    }
    smd.close().await;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct JsonLine<'a> {
    class: String,
    timestamp_us: u64,
    text: &'a str,
}

async fn next(smd: &mut Smd) -> Result<SmdMessage, Failure> {
    smd.next().await.ok_or_else(|| Failure::new("the proxy ended the stream"))
}

/// The exit code and the words for what the client says.
fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::NoProxy { .. } | Error::Protocol(Fault::NoAnswer) => Exit::NoProxy,
        Error::Refused { .. } => Exit::Refused,
        _ => Exit::Failure,
    };
    Failure::new(error.to_string()).with_exit(exit)
}
