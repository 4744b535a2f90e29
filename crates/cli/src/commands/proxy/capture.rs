//! `--capture`: all frames of all sessions as a pcapng file, written by a thread of its own.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use sspc_capture::{CaptureFile, CaptureLayer, CapturedFrame, Source};
use sspc_proxy::{FrameFeed, FrameSelection, Observed, SeenFrame};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use crate::capture_to::CaptureTo;
use crate::console::count;
use crate::exit::Failure;

/// Bytes of a capture without a size of its own.
const SIZE: u64 = 64 << 20;
/// Memory that frames may take while they wait to be written, in bytes.
const QUEUE: usize = 8 << 20;

/// A running capture. It is complete once this is [finished](Self::finish).
pub(super) struct Capture {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Capture {
    /// Begins it, so that a mistake is known before the proxy serves anybody.
    pub(super) fn start(to: &CaptureTo, observed: &Observed) -> Result<Self, Failure> {
        let to = CaptureTo { max: to.max.or(Some(SIZE)), ..to.clone() };
        let writer = Writer { file: to.create()?, to, missed: 0 };
        let path = writer.to.path.display();
        tracing::warn!(
            "--capture: all payload and metadata of all clients, with the secrets in them, go to {path}"
        );
        let mut selection = FrameSelection::default();
        selection.queue = QUEUE;
        let feed = observed.frames(selection);
        let (stop, stopped) = oneshot::channel();
        let runtime = Runtime::current();
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || writer.run(feed, stopped, &runtime))
            .map_err(|error| Failure::new(format!("--capture: cannot start: {error}")))?;
        Ok(Self { stop, thread })
    }

    /// Writes what there is, and ends.
    pub(super) fn finish(self) {
        // Where nobody listens it has ended by itself; a thread that panicked has said so.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

struct Writer {
    file: CaptureFile,
    to: CaptureTo,
    /// Frames that were lost so far.
    missed: u64,
}

impl Writer {
    fn run(mut self, mut feed: FrameFeed, stopped: oneshot::Receiver<()>, runtime: &Runtime) {
        if let Err(error) = self.write_all(&mut feed, stopped, runtime) {
            tracing::error!("{}; nothing more is captured", self.to.failure(&error));
        }
        let missed = self.missed + feed.missed();
        if missed > 0 {
            tracing::warn!(
                missed,
                "--capture: frames are missing that came faster than they were written"
            );
        }
    }

    fn write_all(
        &mut self,
        feed: &mut FrameFeed,
        mut stopped: oneshot::Receiver<()>,
        runtime: &Runtime,
    ) -> io::Result<()> {
        loop {
            while let Some(frame) = feed.ready() {
                self.write(&frame)?;
            }
            self.file.flush()?;
            let next = runtime.block_on(async {
                tokio::select! {
                    biased;
                    frame = feed.next() => frame,
                    _ = &mut stopped => None,
                }
            });
            let Some(frame) = next else { return Ok(()) };
            self.write(&frame)?;
        }
    }

    fn write(&mut self, frame: &SeenFrame) -> io::Result<()> {
        self.missed += frame.missed;
        let name = format!("s{}", frame.session());
        let mut description = format!("client {}", frame.peer());
        if let Some(streamtype) = frame.streamtype() {
            description.push_str("; streamtype ");
            description.extend(streamtype.escape_debug());
        }
        let missed = (frame.missed > 0).then(|| {
            let frames = count(usize::try_from(frame.missed).unwrap_or(usize::MAX), "frame");
            format!("{frames} missing before this one, of any session: written too slowly")
        });
        let comment = match (missed, &frame.fault) {
            (Some(missed), Some(fault)) => Some(format!("{missed}; {fault}")),
            (missed, fault) => missed.or_else(|| fault.as_deref().map(str::to_owned)),
        };
        self.file.write(&CapturedFrame {
            time: frame.at.duration_since(UNIX_EPOCH).unwrap_or_default(),
            source: Source { name: &name, description: &description },
            direction: frame.direction,
            layer: CaptureLayer::Stream,
            bytes: &frame.bytes,
            length: frame.length,
            comment: comment.as_deref(),
        })
    }
}
