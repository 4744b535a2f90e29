//! `sspc decode`: bytes of the protocol as lines, one a frame.

mod frames;
mod line;
mod links;
mod live;
mod printer;
mod source;
mod stream;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use crate::args::{DecodeArgs, DecodeFormat, End};
use crate::exit::{Exit, Failure};
use crate::terminal::count;

pub(crate) use live::Live;

use links::Links;
use printer::Printer;
use source::Source;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Client to proxy.
    ToProxy,
    /// Proxy to client.
    ToClient,
}

impl Direction {
    /// First to the proxy, then to the client.
    pub(crate) const BOTH: [Self; 2] = [Self::ToProxy, Self::ToClient];

    /// The direction of a stream whose frame begins with this byte.
    fn guess(frame: u8) -> Option<Self> {
        match frame {
            0xaa..=0xb3 => Some(Self::ToProxy),
            0x55..=0x5b => Some(Self::ToClient),
            _ => None,
        }
    }
}

impl From<End> for Direction {
    fn from(end: End) -> Self {
        match end {
            End::Client => Self::ToProxy,
            End::Proxy => Self::ToClient,
        }
    }
}

/// Runs the command to its end.
pub(crate) fn run(args: &DecodeArgs) -> Result<Exit, Failure> {
    let mut input = Input::open(&args.file)?;
    let format = if args.hex { DecodeFormat::Hex } else { args.written_in };
    let mut source = Source::new(format);
    let printer = Printer::new(io::stdout(), args.full);
    let mut links = Links::new(printer, args.mux, args.from.map(Into::into));
    let mut block = vec![0; BLOCK];
    let read = loop {
        match input.file.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                let bytes = block.get(..n).unwrap_or_default();
                let fed = source.feed(bytes, input.time_us(), &mut links);
                fed.and_then(|()| links.flush()).map_err(|error| Failure::stdout(&error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(cannot_read(&args.file, &error)),
        }
    };
    let ended = source.finish(input.time_us(), &mut links).and_then(|()| links.finish());
    let faults = ended.map_err(|error| Failure::stdout(&error))?;
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
