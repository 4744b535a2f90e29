//! One numbered step of the demo, while it runs and in the summary.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::testbed::{Usage, Used};

/// What a step is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StepTitle {
    pub(super) text: &'static str,
    /// In the summary.
    pub(super) short: &'static str,
    /// `line` or `socket`.
    pub(super) over: &'static str,
    /// Streams that are opened in it.
    pub(super) streams: usize,
    /// Bytes of payload that it sends.
    pub(super) sent: u64,
    /// The stream of its long transfer, which is shown in parts, and all of its bytes.
    pub(super) long: Option<(&'static str, u64)>,
}

/// A step that is running.
pub(super) struct Step {
    pub(super) title: StepTitle,
    pub(super) start: Instant,
    pub(super) before: Usage,
    pub(super) received: u64,
    /// Bytes of the long transfer that came.
    pub(super) came: u64,
    /// Parts of it that were shown.
    pub(super) part: u64,
    /// Of each stream's short body: bytes and pieces that came.
    pub(super) bodies: HashMap<&'static str, (u64, u64)>,
    pub(super) hash: Option<String>,
    pub(super) wrong: Option<String>,
}

impl Step {
    /// A step that begins now, with the connections that the origin has had.
    pub(super) fn new(title: StepTitle, before: Usage) -> Self {
        Self {
            title,
            start: Instant::now(),
            before,
            received: 0,
            came: 0,
            part: 0,
            bodies: HashMap::new(),
            hash: None,
            wrong: None,
        }
    }

    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_none()
    }

    /// Only what went wrong first is reported.
    pub(super) fn fail(&mut self, why: impl Into<String>) {
        self.wrong.get_or_insert(why.into());
    }

    pub(super) fn receive(&mut self, bytes: u64) {
        self.received += bytes;
    }
}

/// A step's line of the summary.
pub(super) struct Row {
    pub(super) title: StepTitle,
    pub(super) received: u64,
    pub(super) took: Duration,
    pub(super) used: Vec<Used>,
    pub(super) right: bool,
}
