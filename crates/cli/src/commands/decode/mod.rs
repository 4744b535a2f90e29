//! `sspc decode`: bytes of the protocol as lines, one a frame.

mod source;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum, ValueHint};
use sspc_wire::Direction;

use crate::capture_to::CaptureTo;
use crate::console::count;
use crate::exit::{Exit, Failure};
use crate::trace::{Connections, Printer, TraceCapture};
use source::Source;

/// Show recorded or live bytes of the protocol, one line a frame
///
/// Reads the bytes of a socket or, with --mux, of a serial line, and prints each frame as soon as it
/// is complete: its name, its fields, and the start of its payload. Recordings are JSON lines, `{"t": US, "c": CONNECTION, "d": "c2p" or "p2c", "x": "HEX"}`, with both
/// directions of any number of connections.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DecodeArgs {
    /// The bytes or the recording; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Decode frames of the mux, and the frames inside each channel
    #[arg(long)]
    pub(crate) mux: bool,

    /// Who sent the bytes; without it, the type of the first frame decides. Recordings say it
    #[arg(long, value_enum, value_name = "END")]
    pub(crate) from: Option<SentBy>,

    /// The format of the input
    // `format` is the id of --log.
    #[arg(long = "format", value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) written_in: DecodeFormat,

    /// The same as --format hex
    #[arg(long, conflicts_with = "written_in")]
    pub(crate) hex: bool,

    /// Show all payload and metadata, in hex
    #[arg(long)]
    pub(crate) full: bool,

    /// Write the frames to this file, for Wireshark, instead of lines: FILE[,SIZE]
    ///
    /// As `sspc tap --write` does. Times count from 1970 on as the recording's count from their start.
    #[arg(short, long, value_name = "FILE[,SIZE]", conflicts_with = "full")]
    pub(crate) write: Option<CaptureTo>,
}

const HELP: &str = "\
Examples:
  sspc decode recording.jsonl
      Show both directions of each connection: → is to the proxy, ← to the client.

  sspc decode --mux line.jsonl
      Show a serial line: frames of the mux, and below them those of the streams.

  sspc decode --mux - < /dev/ttyUSB0
      Show what comes over a line now, with the seconds since the start. The line must be raw:
      stty -F /dev/ttyUSB0 raw 115200

  sspc decode --mux line.jsonl --write line.pcapng
      Make a capture for Wireshark of it.

  echo '57 0005 06 00000000' | sspc decode --hex -
      Decode bytes typed by hand.

A fault is a line of its own. It says at which byte of the direction, or of the channel, the wrong
frame begins. One wrong frame is skipped; after two in a row, decoding of that stream stops. On a
line of the mux, decoding starts again at the next PING.

Exit codes:
  0  all decoded
  1  faults were found, or the input cannot be read
  2  the command line is wrong";

/// One of the two who talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SentBy {
    /// The client
    Client,
    /// The proxy
    Proxy,
}

impl From<SentBy> for Direction {
    fn from(end: SentBy) -> Self {
        match end {
            SentBy::Client => Self::ToProxy,
            SentBy::Proxy => Self::ToClient,
        }
    }
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

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Runs the command to its end.
pub(crate) fn run(args: &DecodeArgs) -> Result<Exit, Failure> {
    let mut input = Input::open(&args.file)?;
    let format = if args.hex { DecodeFormat::Hex } else { args.written_in };
    let mut source = Source::new(format);
    let printer = match &args.write {
        Some(to) => Printer::capture(TraceCapture::create(to, Duration::ZERO)?),
        None => Printer::new(io::stdout(), args.full),
    };
    let mut connections = Connections::new(printer, args.mux, args.from.map(Into::into));
    let mut block = vec![0; BLOCK];
    let read = loop {
        match input.file.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                let bytes = block.get(..n).unwrap_or_default();
                let fed = source.feed(bytes, input.time_us(), &mut connections);
                fed.and_then(|()| connections.flush()).map_err(|error| Failure::stdout(&error))?;
                connections.capture_failure().map_or(Ok(()), Err)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(cannot_read(&args.file, &error)),
        }
    };
    let ended =
        source.finish(input.time_us(), &mut connections).and_then(|()| connections.finish());
    let faults = ended.map_err(|error| Failure::stdout(&error))?;
    connections.capture_failure().map_or(Ok(()), Err)?;
    read?;
    match faults {
        0 => Ok(Exit::Ok),
        faults => Err(Failure::new(count(faults, "fault"))),
    }
}

struct Input {
    file: File,
    /// When it was opened, if its bytes come as time goes by.
    live_since: Option<Instant>,
}

impl Input {
    /// Opens a file; `-` is stdin.
    fn open(path: &Path) -> Result<Self, Failure> {
        let open = || {
            let file = if is_stdin(path) {
                File::from(io::stdin().as_fd().try_clone_to_owned()?)
            } else {
                File::open(path)?
            };
            let live_since = (!file.metadata()?.is_file()).then(Instant::now);
            Ok(Self { file, live_since })
        };
        open().map_err(|error| cannot_read(path, &error))
    }

    /// µs for which a live input was read.
    fn time_us(&self) -> Option<u64> {
        let elapsed = self.live_since?.elapsed();
        Some(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let name = if is_stdin(path) { "stdin".into() } else { path.display().to_string() };
    Failure::new(format!("cannot read {name}: {error}"))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}
