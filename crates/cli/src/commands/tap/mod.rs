//! `sspc tap`: stand between two ends, show and record what passes, and impair it.

mod control;
mod monitor;
mod runner;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use sspc_address::{ClientEnd, ProxyEnd};
use sspc_wire::Direction;

use crate::cable::{Change, Cut, Impairments};
use crate::capture_to::CaptureTo;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::service;

/// Pass bytes between a client and a proxy; show, record and damage them
///
/// Passes everything that one end sends to the other, shows it as `sspc decode` does, and can record
/// it. The wire between the ends can be as bad as a real one: slow, noisy, cut.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TapArgs {
    /// The client's side: pty:/PATH, serial:DEVICE, uds:@NAME, uds:/PATH or tcp:HOST:PORT
    ///
    /// `pty:/PATH` makes a pseudo-terminal that a program opens at /PATH as its serial port; /PATH
    /// is a symbolic link and is removed at the end. `serial:/dev/ttyUSB0?baud=115200` is a real
    /// port. At `uds:` and `tcp:` the tap listens for clients, and makes a connection to the
    /// proxy's side for each.
    #[arg(value_name = "CLIENT_SIDE")]
    pub(crate) client: ClientEnd,

    /// The proxy's side, with the same kinds; the tap connects to `uds:` and `tcp:`
    #[arg(value_name = "PROXY_SIDE")]
    pub(crate) proxy: ProxyEnd,

    /// Write what passes to this file, for `sspc decode`
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,

    /// Write the frames that pass to this file, for Wireshark: FILE[,SIZE]
    ///
    /// A pcapng file with a packet for each frame; `contrib/wireshark/sspc.lua` shows their fields. It holds
    /// all payload and metadata; only this user can read it. With a size, such as `,64MiB`, the newest frames are in FILE
    /// and the older half beside it in `FILE.old`, in front of the extension, and both together never
    /// have more bytes. FILE can be a pipe.
    #[arg(short, long, value_name = "FILE[,SIZE]")]
    pub(crate) write: Option<CaptureTo>,

    /// Show nothing of what passes
    #[arg(short, long, conflicts_with_all = ["hex", "full"])]
    pub(crate) quiet: bool,

    /// Show the bytes themselves, in hex
    #[arg(long, conflicts_with = "full")]
    pub(crate) hex: bool,

    /// Show all payload and metadata, in hex
    #[arg(long)]
    pub(crate) full: bool,

    /// Show and capture the bytes as frames of the mux; the default on pty: and serial:
    #[arg(long, conflicts_with = "no_mux")]
    pub(crate) mux: bool,

    /// Show and capture the bytes as frames of one stream; the default on uds: and tcp:
    #[arg(long)]
    pub(crate) no_mux: bool,

    /// Show, record and capture bytes as they were sent, not as they arrive
    #[arg(long)]
    pub(crate) as_sent: bool,

    /// Read commands from stdin: cut, restore, flip 100, rate 9600, stats, quit
    #[arg(long)]
    pub(crate) control: bool,

    #[command(flatten)]
    pub(crate) impairments: ImpairmentArgs,
}

const HELP: &str = "\
Examples:
  sspc tap uds:@tap uds:@proxy.ss.lws
      Show what passes between a proxy and every client that connects to uds:@tap.

  sspc tap pty:/tmp/device pty:/tmp/proxy --rate 115200 --flip 50 --seed 7
      A serial line of 115,200 baud that flips one bit in 20,000 bytes: one program opens
      /tmp/device as its port, the other /tmp/proxy.

  sspc tap pty:/tmp/device serial:/dev/ttyUSB0?baud=921600 --record line.jsonl --quiet
      Record a real line, to read it with `sspc decode --mux line.jsonl`.

  sspc tap uds:@tap uds:@proxy.ss.lws --quiet --write sspc.pcapng,64MiB
      Capture the frames of every client, the newest 64 MiB of them, for Wireshark.

  sspc tap uds:@tap uds:@proxy.ss.lws --delay 50ms --jitter 20ms --rate p2c:1000000 --cut 10s:1s
      A proxy that is far away and slow, and out of reach for the eleventh second.

Commands, one a line, with --control:
  cut [TIME]        cuts the wire, for this long or until `restore`
  restore           restores it
  flip 100, drop c2p:10, double 5, burst 10:32, delay 20ms, jitter 5ms
                    as the options; 0 turns it off
  rate 9600         the same; `rate off` for no limit
  stats             prints to stderr how much passed and was damaged so far
  quit              ends the tap, as SIGTERM does

A wire that is cut loses the bytes that are on the way and those that are sent. Sockets are closed,
and those of new clients as soon as they connect. Pseudo-terminals and ports stay open, as with a
pulled cable.

Signals:
  SIGUSR1          cuts the wire, or restores it
  SIGTERM, SIGINT  end the tap with 0; a second one ends it at once, with 143 or 130

Exit codes:
  0  ended by a signal or by `quit`
  1  an end, the recording or the capture cannot be used, or a port was lost
  2  the command line is wrong";

/// What happens to bytes on their way.
#[derive(Debug, Args)]
#[command(next_help_heading = "Damage, in both directions, or in one with c2p: or p2c: in front")]
pub(crate) struct ImpairmentArgs {
    /// Seed of the random numbers, to repeat a run; without it, the tap picks one
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Flip a bit in this many bytes of a million
    #[arg(long, value_name = "PPM", value_parser = |text: &str| Change::parse("flip", text))]
    pub(crate) flip: Vec<Change>,

    /// Lose this many bytes of a million
    #[arg(long, value_name = "PPM", value_parser = |text: &str| Change::parse("drop", text))]
    pub(crate) drop: Vec<Change>,

    /// Deliver this many bytes of a million twice
    #[arg(long, value_name = "PPM", value_parser = |text: &str| Change::parse("double", text))]
    pub(crate) double: Vec<Change>,

    /// At this many bytes of a million, replace up to LEN bytes by others; LEN is 16 by default
    #[arg(long, value_name = "PPM[:LEN]", value_parser = |text: &str| Change::parse("burst", text))]
    pub(crate) burst: Vec<Change>,

    /// Delay bytes by this time, such as 20ms or 0.5s
    #[arg(long, value_name = "TIME", value_parser = |text: &str| Change::parse("delay", text))]
    pub(crate) delay: Vec<Change>,

    /// Delay bytes by up to this much more, at random; they never overtake each other
    #[arg(long, value_name = "TIME", value_parser = |text: &str| Change::parse("jitter", text))]
    pub(crate) jitter: Vec<Change>,

    /// Pass at most this many bits per second; a byte has 10 bits on pty: and serial:, 8 on uds:
    /// and tcp:
    #[arg(long, value_name = "BITS", value_parser = |text: &str| Change::parse("rate", text))]
    pub(crate) rate: Vec<Change>,

    /// Cut the wire this long after the start, for this long or for good; may be given several
    /// times
    #[arg(long, value_name = "AT[:TIME]")]
    pub(crate) cut: Vec<Cut>,
}

impl ImpairmentArgs {
    /// Every setting, in the order in which they apply.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        [&self.flip, &self.drop, &self.double, &self.burst, &self.delay, &self.jitter, &self.rate]
            .into_iter()
            .flatten()
            .copied()
    }
}

/// Runs the command to its end.
pub(crate) fn run(args: &TapArgs, console: Console) -> Result<Exit, Failure> {
    check_ends(args)?;
    let runtime = service::single_threaded()?;
    let exit = runtime.block_on(runner::run(args, console));
    // A name may still be looked up.
    runtime.shutdown_background();
    exit
}

/// Refuses ends of kinds that cannot be joined.
fn check_ends(args: &TapArgs) -> Result<(), Failure> {
    match (&args.client, &args.proxy) {
        (ClientEnd::Line(_), ProxyEnd::Line(_)) | (ClientEnd::Listen(_), ProxyEnd::Connect(_)) => {
            Ok(())
        }
        (client, proxy) => Err(Failure::usage(
            "tap",
            format!(
                "{client} and {proxy} cannot be joined: a serial line is one connection, a socket \
                 has many; use pty: or serial: for both, or uds: or tcp: for both"
            ),
        )),
    }
}

/// What the options ask for in one direction.
fn impairments(args: &TapArgs, direction: Direction) -> Impairments {
    let mut impairments = Impairments::default();
    let changes = args.impairments.changes().filter(|change| change.is_for(direction));
    changes.for_each(|change| change.apply(&mut impairments));
    impairments
}
