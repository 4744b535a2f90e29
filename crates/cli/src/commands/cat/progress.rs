//! How far a long transfer is, for people at a terminal.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::console::{rate, say, size};

/// Transfers that are shorter need no progress.
const QUIET: Duration = Duration::from_secs(1);

/// How often the line is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Counts what goes and comes, and shows it after a while.
pub(super) struct Progress {
    /// Whether anybody is there to see it.
    watched: bool,
    start: Instant,
    next: Instant,
    bar: Option<ProgressBar>,
    sent: Arc<AtomicU64>,
    sent_len: Option<u64>,
    received: u64,
}

impl Progress {
    /// `sent_len` is how much there is to send, in bytes, if anything and if that is known.
    pub(super) fn new(start: Instant, sent_len: Option<u64>) -> Self {
        Self {
            // Where stdout is a terminal too, the payload itself shows the progress.
            watched: io::stderr().is_terminal() && !io::stdout().is_terminal(),
            start,
            next: start + QUIET,
            bar: None,
            sent: Arc::default(),
            sent_len,
            received: 0,
        }
    }

    /// The counter of what was sent.
    pub(super) fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// When it is time to draw.
    pub(super) async fn tick(&self) {
        if self.watched {
            tokio::time::sleep_until(self.next).await;
        } else {
            std::future::pending().await
        }
    }

    pub(super) fn draw(&mut self) {
        self.next = Instant::now() + REDRAW;
        let sent = self.sent.load(Ordering::Relaxed);
        if sent + self.received == 0 {
            return;
        }
        let (verb, moved) =
            if self.received == 0 { ("sent", sent) } else { ("received", self.received) };
        let rate = rate(moved, self.start.elapsed());
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        });
        match self.sent_len {
            Some(len) if self.received == 0 => {
                bar.set_style(style("{msg} {wide_bar} {eta}"));
                bar.set_length(len);
                bar.set_position(sent);
                bar.set_message(format!("{verb} {} of {}, {rate}", size(moved), size(len)));
            }
            _ => {
                bar.set_style(style("{msg}"));
                bar.set_message(format!("{verb} {}, {rate}", size(moved)));
            }
        }
    }

    /// A line on stderr that is not part of the progress.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Removes the line.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
