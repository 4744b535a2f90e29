//! The whole command line, from which help, man pages and completions are made.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use sspc::{Address, Name};
use sspc_line::SerialAddress;
use sspc_proxy::ListenAddress;

use crate::help;
use crate::tap::{Change, ClientSide, Cut, ProxySide};

/// Where proxies listen, and clients look for them, unless told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "uds:@proxy.ss.lws";

/// The longest name of a metadata item, in bytes.
const METADATA_NAME_MAX: usize = sspc_wire::limits::METADATA_NAME_MAX;

/// Secure Streams: applications open a stream by name, a proxy does the rest.
///
/// An application asks the proxy for a stream by the name of its type and gets payload. Where the
/// stream goes, over which protocol, with which certificates and how failures are retried, is in
/// the proxy's policy: the application needs no TLS, no HTTP and no TCP of its own.
#[derive(Debug, Parser)]
#[command(
    name = "sspc",
    version,
    after_help = help::TOP_SHORT,
    after_long_help = help::TOP_LONG,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is logged, and how. Logs go to stderr.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// Log more to stderr: -v what happens, -vv how, -vvv every frame
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// How logs are written
    #[arg(long = "log", global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line, for machines
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Proxy(ProxyArgs),
    Cat(CatArgs),
    Bridge(BridgeArgs),
    Ping(PingArgs),
    #[command(subcommand)]
    Policy(PolicyCommand),
    Decode(DecodeArgs),
    Tap(Box<TapArgs>),
    Demo(DemoArgs),
    Man(ManArgs),
    Completions(CompletionsArgs),
}

/// Run the proxy that fulfils streams by its policy
///
/// Listens for clients, reads from the policy what each stream's name means, and makes the
/// connections: h1, h2 and websocket, clear or over TLS. Prints one line to stderr when ready.
#[derive(Debug, Args)]
#[command(after_long_help = help::PROXY)]
pub(crate) struct ProxyArgs {
    /// The policy; without one, an embedded default
    ///
    /// The embedded default has the streamtype `__default`, which gets whatever https URL the
    /// client sets as metadata `endpoint`.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,

    /// Apply a second policy on top of the first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) overlays: Vec<PathBuf>,

    /// Listen here: uds:@NAME, uds:/PATH, tcp:HOST:PORT or serial:/DEVICE?baud=N; may be given
    /// several times
    ///
    /// `uds:@NAME` is Linux' abstract namespace: no file is made. `uds:/PATH` makes a socket file
    /// and removes it at the end; `uds:/PATH?mode=0660&owner=USER:GROUP` says who may use it.
    /// `serial:/dev/ttyS1?baud=2000000&rtscts=1&profile=fast` is a line to one device, whose
    /// streams share it; both ends need the same baud rate, 115200 if it is left out. The
    /// default is `uds:@proxy.ss.lws`, where every client looks first; it does not apply if a
    /// service manager passes sockets (see below).
    #[arg(short, long = "listen", value_name = "ADDR")]
    pub(crate) listen: Vec<ListenAddress>,

    /// How long streams may finish after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "5")]
    pub(crate) grace: Duration,
}

/// Open one stream and copy its payload to stdout
///
/// Opens STREAMTYPE at the proxy, connects, and writes what the remote peer sends to stdout, byte
/// for byte. Everything else goes to stderr. Ends when the transaction does; a stream of messages
/// that has no end runs until --count, --timeout or Ctrl-C.
#[derive(Debug, Args)]
#[command(after_long_help = help::CAT)]
pub(crate) struct CatArgs {
    /// Name of the stream in the proxy's policy
    #[arg(value_name = "STREAMTYPE", value_parser = Name::new)]
    pub(crate) streamtype: Name,

    /// The proxy: uds:@NAME, uds:/PATH, tcp:HOST:PORT or serial:/DEVICE?baud=N
    ///
    /// `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast` is the serial line to a gateway's
    /// proxy; without `?baud=` it runs at 115200. This process has the port for itself: for
    /// several at a time there is `sspc bridge`.
    #[arg(short, long, value_name = "ADDR", default_value = DEFAULT_ADDRESS)]
    pub(crate) proxy: Address,

    /// Set a metadata item before connecting; may be given several times
    #[arg(short, long = "meta", value_name = "NAME=VALUE", value_parser = parse_metadata)]
    pub(crate) metadata: Vec<(String, String)>,

    /// Send this file as one message; `-` sends stdin as it comes
    ///
    /// The proxy is told the length of a file beforehand, so that an HTTP request carries a
    /// content-length. The length of stdin is not known: the request is chunked then.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) data: Option<PathBuf>,

    /// Give up after this many seconds, with exit code 7
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Report each state, and received metadata, on stderr
    ///
    /// One line a state, with the seconds since the start: `+0.123 CONNECTED`. Received metadata
    /// is `+0.123 NAME=VALUE`.
    #[arg(short, long)]
    pub(crate) states: bool,

    /// End after this many whole messages were received
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Give local programs the proxy at the other end of a serial line
///
/// For a device without a network. Programs connect to Unix sockets, as they would to a proxy on
/// this machine; each connection is a channel of the line to the gateway's proxy. Prints one line
/// to stderr when ready; the link may come up later.
#[derive(Debug, Args)]
#[command(after_long_help = help::BRIDGE)]
pub(crate) struct BridgeArgs {
    /// Listen here: uds:@NAME, uds:/PATH or tcp:HOST:PORT; may be given several times
    ///
    /// `uds:/PATH?mode=0660&owner=USER:GROUP` says who may use it. The default is
    /// `uds:@proxy.ss.lws`, where every client looks first; it does not apply if a service manager
    /// passes sockets (see below).
    #[arg(short, long = "listen", value_name = "ADDR", value_parser = parse_socket)]
    pub(crate) listen: Vec<ListenAddress>,

    /// The line to the proxy: serial:/DEVICE?baud=N&rtscts=1&profile=fast
    ///
    /// Both ends need the same baud rate, 115200 if it is left out. `profile=fast` finds a dead
    /// link within 300 ms; for lines of 1,000,000 baud or more.
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) proxy: SerialAddress,
}

/// See whether a proxy can be reached, and how quickly
///
/// Over a serial line: whether the link is up, the time to the other end and back, and the other
/// end's clock (UTC). Over sockets it connects and sends nothing: an answer means that somebody
/// listens there.
#[derive(Debug, Args)]
#[command(after_long_help = help::PING)]
pub(crate) struct PingArgs {
    /// The proxy: serial:/DEVICE?baud=N, uds:@NAME, uds:/PATH or tcp:HOST:PORT
    #[arg(value_name = "ADDR")]
    pub(crate) address: Address,

    /// End after so many; without it, at Ctrl-C
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// One every so many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "1")]
    pub(crate) interval: Duration,
}

/// Check a policy, or show what it says
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    Check(CheckArgs),
    Show(ShowArgs),
}

/// Find every mistake in a policy, with line and column
///
/// Diagnostics go to stderr. Exit code 0 if there are no errors, with or without warnings; 1 if
/// there are errors or the file cannot be read.
#[derive(Debug, Args)]
#[command(after_long_help = help::CHECK)]
pub(crate) struct CheckArgs {
    /// The policy; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Check it with this policy on top; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) overlays: Vec<PathBuf>,
}

/// Show the effective settings: defaults filled in, references resolved
///
/// Written to stdout as a policy again: what is shown can be fed back.
#[derive(Debug, Args)]
#[command(after_long_help = help::SHOW)]
pub(crate) struct ShowArgs {
    /// The policy; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Show this streamtype alone
    #[arg(value_name = "STREAMTYPE")]
    pub(crate) streamtype: Option<String>,

    /// Apply this policy on top first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) overlays: Vec<PathBuf>,
}

/// Show recorded or live bytes of the protocol, one line a frame
///
/// Reads the bytes of a socket or, with --mux, of a serial line, and writes each frame to stdout as
/// soon as it is complete: its name, its numbers by name, and the start of its payload. Recordings
/// are JSON lines, `{"t": US, "c": CONNECTION, "d": "c2p" or "p2c", "x": "HEX"}`, with both
/// directions of any number of connections.
#[derive(Debug, Args)]
#[command(after_long_help = help::DECODE)]
pub(crate) struct DecodeArgs {
    /// The bytes or the recording; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// The bytes are frames of the mux; shows them, and the frames inside each channel
    #[arg(long)]
    pub(crate) mux: bool,

    /// Who sent the bytes; without it, the type of a frame tells. A recording knows by itself
    #[arg(long, value_enum, value_name = "END")]
    pub(crate) from: Option<End>,

    /// What the input is written in
    // `format` is the id of --log.
    #[arg(long = "format", value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) written_in: DecodeFormat,

    /// The same as --format hex
    #[arg(long, conflicts_with = "written_in")]
    pub(crate) hex: bool,

    /// Show all payload and metadata, in hex
    #[arg(long)]
    pub(crate) full: bool,
}

/// One of the two who talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum End {
    /// The client
    Client,
    /// The proxy
    Proxy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecodeFormat {
    /// A recording if the first byte is `{`, otherwise raw
    #[default]
    Auto,
    /// JSON lines
    Recording,
    /// The bytes themselves, of one direction
    Raw,
    /// Pairs of hex digits, of one direction; `;` and `#` begin a comment
    Hex,
}

/// Stand between two ends: pass everything, show it, record it, harm it
///
/// Whatever one end sends goes to the other. What passes is shown as `sspc decode` would show it,
/// while it passes, and may be recorded. The way between the ends can be made as bad as a wire can
/// be: slow, noisy, cut.
#[derive(Debug, Args)]
#[command(after_long_help = help::TAP)]
pub(crate) struct TapArgs {
    /// The client's side: pty:/PATH, serial:DEVICE, uds:@NAME, uds:/PATH or tcp:HOST:PORT
    ///
    /// `pty:/PATH` makes a pseudo-terminal that a program opens at /PATH as its serial port; /PATH
    /// is a symbolic link and is removed at the end. `serial:/dev/ttyUSB0?baud=115200` is a real
    /// port. At `uds:` and `tcp:` clients are listened for, and each gets a connection of its own
    /// to the proxy's side.
    #[arg(value_name = "CLIENT_SIDE")]
    pub(crate) client: ClientSide,

    /// The proxy's side: of the same kinds; `uds:` and `tcp:` are connected to
    #[arg(value_name = "PROXY_SIDE")]
    pub(crate) proxy: ProxySide,

    /// Write what passes to this file, for `sspc decode`
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,

    /// Show nothing of what passes
    #[arg(short, long, conflicts_with_all = ["hex", "full", "mux", "no_mux"])]
    pub(crate) quiet: bool,

    /// Show the bytes themselves, in hex
    #[arg(long, conflicts_with_all = ["full", "mux", "no_mux"])]
    pub(crate) hex: bool,

    /// Show all payload and metadata, in hex
    #[arg(long)]
    pub(crate) full: bool,

    /// The bytes are frames of the mux; so they are on pty: and serial: unless told otherwise
    #[arg(long, conflicts_with = "no_mux")]
    pub(crate) mux: bool,

    /// The bytes are frames of one stream; so they are on uds: and tcp: unless told otherwise
    #[arg(long)]
    pub(crate) no_mux: bool,

    /// Show and record what the ends sent, not what is left of it when it arrives
    #[arg(long)]
    pub(crate) as_sent: bool,

    /// Read commands from stdin: cut, restore, flip 100, rate 9600, stats, quit
    #[arg(long)]
    pub(crate) control: bool,

    #[command(flatten)]
    pub(crate) harm: HarmArgs,
}

/// What happens to bytes on their way.
#[derive(Debug, Args)]
#[command(next_help_heading = "Harm, to both directions or, behind c2p: or p2c:, to one")]
pub(crate) struct HarmArgs {
    /// Begin chance with this number, so that a run can be repeated; without it, with any
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Flip a bit in so many bytes of a million
    #[arg(long, value_name = "PPM", value_parser = |text: &str| Change::parse("flip", text))]
    pub(crate) flip: Vec<Change>,

    /// Lose so many bytes of a million
    #[arg(long, value_name = "PPM", value_parser = |text: &str| Change::parse("drop", text))]
    pub(crate) drop: Vec<Change>,

    /// Deliver so many bytes of a million twice
    #[arg(long, value_name = "PPM", value_parser = |text: &str| Change::parse("double", text))]
    pub(crate) double: Vec<Change>,

    /// Begin a burst at so many bytes of a million: up to LEN bytes become others; LEN is 16
    #[arg(long, value_name = "PPM[:LEN]", value_parser = |text: &str| Change::parse("burst", text))]
    pub(crate) burst: Vec<Change>,

    /// Take this long from one end to the other, such as 20ms or 0.5s
    #[arg(long, value_name = "TIME", value_parser = |text: &str| Change::parse("delay", text))]
    pub(crate) delay: Vec<Change>,

    /// Take up to so much longer, by chance; bytes never overtake each other
    #[arg(long, value_name = "TIME", value_parser = |text: &str| Change::parse("jitter", text))]
    pub(crate) jitter: Vec<Change>,

    /// Pass no more bits per second; a byte has 10 bits on pty: and serial:, 8 on uds: and tcp:
    #[arg(long, value_name = "BITS", value_parser = |text: &str| Change::parse("rate", text))]
    pub(crate) rate: Vec<Change>,

    /// Cut the wire this long after the start, for this long or for good; may be given several
    /// times
    #[arg(long, value_name = "AT[:TIME]")]
    pub(crate) cut: Vec<Cut>,
}

impl HarmArgs {
    /// Every setting, in the order in which they apply.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        [&self.flip, &self.drop, &self.double, &self.burst, &self.delay, &self.jitter, &self.rate]
            .into_iter()
            .flatten()
            .copied()
    }
}

/// See it work: origin, proxy and client in one process, no network needed
///
/// Starts its own web server (h1, h2 and websocket, over TLS with a certificate made on the spot),
/// a proxy and a client, and between these two a serial line of 2 Mbaud, made of pseudo-terminals.
/// Shows what passes, with times and sizes: several streams on the line at once, how near to its
/// rate a download comes, what becomes of them when the cable is pulled, and the same proxy over a
/// Unix socket. Takes some seconds. Exit code 0 if every byte was right.
#[derive(Debug, Args)]
#[command(after_long_help = help::DEMO)]
pub(crate) struct DemoArgs {
    /// Size of the large transfer over the Unix socket, in MiB
    #[arg(long, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) mebibytes: u32,

    /// Run the web server alone, until a signal ends it, and write a policy for it to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) serve: Option<PathBuf>,
}

/// Write the man page
///
/// Without DIR, sspc(1) goes to stdout. With DIR, it and one page for each command are written
/// there: sspc.1, sspc-cat.1 and so on.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages; made if it is not there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// Write a shell's completions to stdout
#[derive(Debug, Args)]
#[command(after_long_help = help::COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, such as 5 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected more than 0 seconds".to_owned()),
    }
}

fn parse_socket(text: &str) -> Result<ListenAddress, String> {
    match text.parse() {
        Ok(ListenAddress::Serial(_)) => Err("the line goes to --proxy".to_owned()),
        Ok(address) => Ok(address),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_metadata(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) | None => Err("expected NAME=VALUE".to_owned()),
        // The field's proxies hang up on an empty value, so that nobody can mean one.
        Some((name, "")) => Err(format!("the value of {name} is empty; leave it out instead")),
        Some((name, _)) if name.len() > METADATA_NAME_MAX => {
            Err(format!("a name has at most {METADATA_NAME_MAX} bytes, this one {}", name.len()))
        }
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn metadata_splits_at_its_first_equals_sign() {
        let split = parse_metadata("endpoint=https://x/?a=b").unwrap();
        assert_eq!(split, ("endpoint".to_owned(), "https://x/?a=b".to_owned()));
        for wrong in ["endpoint", "=x", "endpoint=", ""] {
            assert!(parse_metadata(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction_but_not_be_nothing() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "soon"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
