//! Which lines were logged a short while ago, and how many were left out since. No clock in here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing::callsite::Identifier;

/// How long lines are summed up.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Lines of `-v` of one kind and client that are logged in that time.
pub(super) const INFO_LINES: u32 = 100;
/// Clients and kinds that are counted apart; beyond this number they are counted together.
const KEYS_MAX: usize = 1024;

/// What repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Where in the program.
    pub(super) place: Identifier,
    pub(super) kind: Option<String>,
    pub(super) client: Option<String>,
}

/// Lines that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) level: Level,
    pub(super) client: Option<String>,
    pub(super) count: u64,
    /// What the last of them said.
    pub(super) last: String,
    pub(super) seconds: u64,
}

#[derive(Debug)]
struct Window {
    level: Level,
    ends: Instant,
    logged: u32,
    left_out: u64,
    last: String,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    windows: HashMap<Key, Window>,
    /// When the next window ends.
    next_end: Option<Instant>,
}

impl Table {
    /// Whether a line is to be logged; if not, `text` is kept for the summary.
    pub(super) fn note(
        &mut self,
        now: Instant,
        level: Level,
        mut key: Key,
        text: impl FnOnce() -> String,
    ) -> bool {
        if self.windows.len() >= KEYS_MAX && !self.windows.contains_key(&key) {
            // There are only so many places.
            key = Key { kind: None, client: None, ..key };
        }
        let lines = if level == Level::INFO { INFO_LINES } else { 1 };
        let window = match self.windows.entry(key) {
            Entry::Occupied(window) => window.into_mut(),
            Entry::Vacant(place) => {
                let ends = now + WINDOW;
                self.next_end = Some(self.next_end.map_or(ends, |next| next.min(ends)));
                place.insert(Window { level, ends, logged: 0, left_out: 0, last: String::new() })
            }
        };
        let is_logged = window.logged < lines;
        if is_logged {
            window.logged += 1;
        } else {
            window.left_out += 1;
            window.last = text();
        }
        is_logged
    }

    /// When [`Table::due`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next_end
    }

    /// What was left out in windows that are over. Where there was something, the next window begins
    /// at once, and all that comes in it is for the next summary.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Summary> {
        let mut due = Vec::new();
        self.windows.retain(|key, window| {
            if window.ends > now {
                return true;
            }
            let is_quiet = window.left_out == 0;
            if !is_quiet {
                due.push(Summary {
                    level: window.level,
                    client: key.client.clone(),
                    count: std::mem::take(&mut window.left_out),
                    last: std::mem::take(&mut window.last),
                    seconds: WINDOW.as_secs(),
                });
                window.ends = now + WINDOW;
            }
            !is_quiet
        });
        self.next_end = self.windows.values().map(|window| window.ends).min();
        due
    }
}
