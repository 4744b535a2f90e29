//! `--access-log`: a line for each transaction, written by a thread of its own.

mod format;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use sspc_proxy::view::TransactionView;
use sspc_proxy::{Missed, Observed, TransactionFeed};
use tokio::sync::Notify;

use crate::args::LogFormat;
use crate::exit::Failure;

/// Where the journal takes entries.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Transactions that are written at a time.
const BATCH: usize = 256;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    Stdout,
    Journal,
    File(PathBuf),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a file, `-` or `journal`".to_owned()),
            "-" => Ok(Self::Stdout),
            "journal" => Ok(Self::Journal),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// A running access log. It is complete once this is [finished](Self::finish).
pub(super) struct AccessLog {
    control: Arc<Control>,
    thread: JoinHandle<()>,
}

/// What the thread is to do beside writing.
#[derive(Default)]
struct Control {
    changed: Notify,
    reopen: AtomicBool,
    finish: AtomicBool,
}

impl AccessLog {
    /// Opens it, so that a mistake is known before the proxy serves anybody.
    pub(super) fn start(to: &To, format: LogFormat, observed: &Observed) -> Result<Self, Failure> {
        let failed =
            |what: &str, error: &io::Error| Failure::new(format!("--access-log {what}: {error}"));
        let sink = match to {
            To::Stdout => Sink::Stdout,
            To::Journal => Sink::Journal(
                journal(Path::new(JOURNAL)).map_err(|error| failed("journal", &error))?,
            ),
            To::File(path) => {
                let file =
                    open(path).map_err(|error| failed(&path.display().to_string(), &error))?;
                Sink::File { path: path.clone(), file }
            }
        };
        let writer = Writer { sink, format, is_failing: false };
        let control = Arc::<Control>::default();
        let (feed, shared) = (observed.transactions(), Arc::clone(&control));
        let runtime = tokio::runtime::Handle::current();
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || runtime.block_on(writer.run(feed, &shared)))
            .map_err(|error| failed("thread", &error))?;
        Ok(Self { control, thread })
    }

    /// Goes on in a new file of the same name; the old one may have been moved away.
    pub(super) fn reopen(&self) {
        self.control.reopen.store(true, Ordering::Relaxed);
        self.control.changed.notify_one();
    }

    /// Writes what there is, and ends.
    pub(super) fn finish(self) {
        self.control.finish.store(true, Ordering::Relaxed);
        self.control.changed.notify_one();
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}

enum Sink {
    Stdout,
    Journal(UnixDatagram),
    File { path: PathBuf, file: File },
}

struct Writer {
    sink: Sink,
    format: LogFormat,
    /// The log says that lines cannot be written.
    is_failing: bool,
}

type Next = Result<Arc<TransactionView>, Missed>;

impl Writer {
    async fn run(mut self, mut feed: TransactionFeed, control: &Control) {
        loop {
            let first = tokio::select! {
                next = feed.next() => match next {
                    Some(next) => Some(next),
                    None => return,
                },
                () = control.changed.notified() => None,
            };
            if control.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            let is_last = control.finish.load(Ordering::Relaxed);
            let mut batch: Vec<Next> = first.into_iter().collect();
            loop {
                while batch.len() < BATCH
                    && let Some(next) = feed.ready()
                {
                    batch.push(next);
                }
                if batch.is_empty() {
                    break;
                }
                self.write(&std::mem::take(&mut batch));
            }
            if is_last {
                return;
            }
        }
    }

    fn reopen(&mut self) {
        if let Sink::File { path, file } = &mut self.sink {
            match open(path) {
                Ok(new) => *file = new,
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "the access log goes on in the old file");
                }
            }
        }
    }

    fn write(&mut self, batch: &[Next]) {
        let written = match &mut self.sink {
            Sink::Journal(socket) => batch.iter().try_for_each(|next| {
                let entry = match next {
                    Ok(transaction) => format::journal(transaction),
                    Err(missed) => format::journal_missed(*missed),
                };
                // The journal may be restarted: then the socket is another one.
                socket.send(&entry).or_else(|_| {
                    *socket = journal(Path::new(JOURNAL))?;
                    socket.send(&entry)
                })?;
                Ok(())
            }),
            Sink::Stdout => io::stdout().lock().write_all(&lines(batch, self.format)),
            Sink::File { file, .. } => file.write_all(&lines(batch, self.format)),
        };
        match written {
            Ok(()) => self.is_failing = false,
            Err(error) if !std::mem::replace(&mut self.is_failing, true) => {
                tracing::warn!(%error, "the access log cannot be written; transactions go on");
            }
            Err(_) => {}
        }
    }
}

fn lines(batch: &[Next], format: LogFormat) -> Vec<u8> {
    let mut text = String::new();
    for next in batch {
        match (next, format) {
            (Ok(transaction), LogFormat::Text) => format::text(transaction, &mut text),
            (Ok(transaction), LogFormat::Json) => format::json(transaction, &mut text),
            (Err(missed), LogFormat::Text) => format::text_missed(*missed, &mut text),
            (Err(missed), LogFormat::Json) => format::json_missed(*missed, &mut text),
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// Its owner writes, its group may read.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn journal(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}
