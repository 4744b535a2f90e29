//! What passes, as lines on stdout and as a recording.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use sspc_wire::Direction;
use tokio::sync::oneshot;

use super::TapArgs;
use crate::cable::CapturedBytes;
use crate::capture_to::CaptureTo;
use crate::console::{StdoutStop, StoppableStdout};
use crate::exit::Failure;
use crate::trace::{LiveTrace, TraceCapture};

/// Chunks that wait to be shown: if the terminal is slower than the wire, it holds the wire up.
const QUEUE_MAX: usize = 1024;

/// Shows and records on a thread of its own what is given to `to`, until all its senders are gone.
pub(super) struct Monitor {
    pub(super) to: SyncSender<CapturedBytes>,
    /// If anything is shown: for the end, when stdout may take nothing.
    pub(super) stdout: Option<StdoutStop>,
    /// How that ended.
    pub(super) ended: oneshot::Receiver<Result<Shown, Failure>>,
}

/// How much was shown of what was to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// stdout took nothing at the end.
    Part,
}

impl Monitor {
    /// None if nothing is to be shown or recorded.
    pub(super) fn start(args: &TapArgs, is_line: bool) -> Result<Option<Self>, Failure> {
        let recorder = args.record.as_deref().map(Recorder::create).transpose()?;
        let mux = args.mux || is_line && !args.no_mux;
        let (live, stdout) = if args.quiet {
            (None, None)
        } else {
            let (out, stdout) = StoppableStdout::new()
                .map_err(|error| Failure::new(format!("cannot use stdout: {error}")))?;
            let live = match args.hex {
                true => LiveTrace::bytes(out),
                false => LiveTrace::frames(out, mux, args.full),
            };
            (Some(live), Some(stdout))
        };
        let capture = args.write.as_ref().map(|to| capture(to, mux)).transpose()?;
        if live.is_none() && recorder.is_none() && capture.is_none() {
            return Ok(None);
        }
        let (to, captured) = sync_channel(QUEUE_MAX);
        let (tell, ended) = oneshot::channel();
        let show = move || {
            // Fails only when the program ends.
            let _ = tell.send(run(&captured, live, recorder, capture));
        };
        thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(show)
            .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
        Ok(Some(Self { to, stdout, ended }))
    }
}

/// A capture whose times count from now.
fn capture(to: &CaptureTo, mux: bool) -> Result<LiveTrace, Failure> {
    let start = UNIX_EPOCH.elapsed().unwrap_or_default();
    Ok(LiveTrace::capture(TraceCapture::create(to, start)?, mux))
}

fn run(
    all: &Receiver<CapturedBytes>,
    mut live: Option<LiveTrace>,
    mut recorder: Option<Recorder>,
    mut capture: Option<LiveTrace>,
) -> Result<Shown, Failure> {
    let shows = live.is_some();
    loop {
        let captured = match all.try_recv() {
            Ok(captured) => Some(captured),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                if let Some(recorder) = &mut recorder {
                    recorder.flush()?;
                }
                write(&mut capture, LiveTrace::flush)?;
                show(&mut live, LiveTrace::flush)?;
                all.recv().ok()
            }
        };
        let Some(CapturedBytes { time_us, connection, direction, bytes }) = captured else { break };
        if let Some(recorder) = &mut recorder {
            recorder.write(time_us, connection, direction, &bytes)?;
        }
        write(&mut capture, |capture| capture.show(time_us, connection, direction, &bytes))?;
        show(&mut live, |live| live.show(time_us, connection, direction, &bytes))?;
    }
    if let Some(recorder) = &mut recorder {
        recorder.flush()?;
    }
    write(&mut capture, LiveTrace::finish)?;
    show(&mut live, LiveTrace::finish)?;
    Ok(if shows && live.is_none() { Shown::Part } else { Shown::All })
}

/// Shows something. When the program is to end and stdout takes nothing, that was all that is
/// shown; the recording goes on.
fn show(
    live: &mut Option<LiveTrace>,
    what: impl FnOnce(&mut LiveTrace) -> io::Result<()>,
) -> Result<(), Failure> {
    match live.as_mut().map_or(Ok(()), what) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            *live = None;
            Ok(())
        }
        Err(error) => Err(Failure::stdout(&error)),
    }
}

/// Captures something.
fn write(
    capture: &mut Option<LiveTrace>,
    what: impl FnOnce(&mut LiveTrace) -> io::Result<()>,
) -> Result<(), Failure> {
    let Some(capture) = capture else { return Ok(()) };
    // Its lines go nowhere.
    what(capture).map_err(|error| Failure::stdout(&error))?;
    capture.capture_failure().map_or(Ok(()), Err)
}

/// A recording as `sspc decode` reads it.
struct Recorder {
    path: PathBuf,
    file: BufWriter<File>,
}

/// A line of a recording; docs/cli.md says what the fields mean.
#[derive(Serialize)]
struct RecordedBytes<'b> {
    t: u64,
    c: u64,
    d: &'static str,
    x: &'b str,
}

impl Recorder {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn write(
        &mut self,
        time_us: u64,
        connection: u64,
        direction: Direction,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let mut hex = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        let direction = match direction {
            Direction::ToProxy => "c2p",
            Direction::ToClient => "p2c",
        };
        let line = RecordedBytes { t: time_us, c: connection, d: direction, x: &hex };
        serde_json::to_writer(&mut self.file, &line)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|error| cannot_write(&self.path, &error))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|error| cannot_write(&self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write to {}: {error}", path.display()))
}
