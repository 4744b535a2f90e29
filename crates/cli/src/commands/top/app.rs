//! What is shown, and what keys make of it. It reads and writes nothing.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use crate::shown::{number, rows};

/// Orders of streams, as the API names them; those of `DESCENDING` begin with the greatest.
const SORTS: [&str; 7] = ["rate", "age", "bytes", "client", "streamtype", "state", "error"];
const DESCENDING: [&str; 4] = ["rate", "age", "bytes", "error"];
/// Streams that are asked for.
const STREAMS_MAX: usize = 500;
/// Transactions that are kept.
const TRANSACTIONS_MAX: usize = 500;
/// Frames that are kept of the stream whose details are shown.
pub(super) const FRAMES_MAX: usize = 50;
/// Rows that PgUp and PgDn go.
const PAGE: usize = 10;
/// The longest filter in bytes: what the API takes.
const FILTER_MAX: usize = 200;

/// How it stands with the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// It was not heard yet.
    Connecting,
    Live,
    /// It is gone, and why.
    Gone(String),
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Quit,
}

/// What is asked of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    /// The path of the snapshots.
    pub(super) path: String,
    /// The session whose details are shown.
    pub(super) details: Option<u64>,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct App {
    /// Where the proxy shows itself.
    pub(super) admin: String,
    pub(super) has_color: bool,
    pub(super) link: Link,
    pub(super) snapshot: Value,
    /// The session whose details are shown.
    pub(super) details: Option<u64>,
    /// What `/api/v1/sessions/ID` answered; null if it has ended.
    pub(super) session: Value,
    /// Its last frames, a line each, the newest last.
    pub(super) frames: Vec<String>,
    /// The latest transactions, the newest last.
    pub(super) transactions: VecDeque<Value>,
    /// The selected session and where it was.
    selected: Option<u64>,
    position: usize,
    sort: usize,
    pub(super) is_descending: bool,
    pub(super) filter: String,
    /// Keys go to the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) has_help: bool,
}

impl App {
    pub(super) fn new(admin: String, has_color: bool) -> Self {
        Self {
            admin,
            has_color,
            link: Link::Connecting,
            snapshot: Value::Null,
            details: None,
            session: Value::Null,
            frames: Vec::new(),
            transactions: VecDeque::new(),
            selected: None,
            position: 0,
            sort: 0,
            is_descending: true,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            has_help: false,
        }
    }

    /// The order of streams, as the API names it.
    pub(super) fn sort(&self) -> &'static str {
        SORTS.get(self.sort).copied().unwrap_or("age")
    }

    pub(super) fn want(&self) -> Want {
        let order = if self.is_descending { "-" } else { "" };
        let mut path =
            format!("/api/v1/events?limit={STREAMS_MAX}&sort={order}{}&text=", self.sort());
        for byte in self.filter.bytes() {
            if byte.is_ascii_alphanumeric() {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
        Want { path, details: self.details }
    }

    /// A snapshot came.
    pub(super) fn update(&mut self, mut snapshot: Value) {
        self.link = Link::Live;
        if self.is_paused {
            return;
        }
        if snapshot["proxy"]["started_at"] != self.snapshot["proxy"]["started_at"] {
            // Another proxy numbers its sessions from the beginning.
            self.transactions.clear();
        }
        if let Value::Array(transactions) = snapshot["transactions"].take() {
            self.transactions.extend(transactions);
            let surplus = self.transactions.len().saturating_sub(TRANSACTIONS_MAX);
            self.transactions.drain(..surplus);
        }
        self.snapshot = snapshot;
        if let Some(at) = self.index() {
            self.select(at);
        }
    }

    /// What a session's path answered came: null if it has ended.
    pub(super) fn update_session(&mut self, id: u64, session: Value) {
        if self.details == Some(id) && (!self.is_paused || self.session.is_null()) {
            self.session = session;
        }
    }

    /// The last frames of a session came.
    pub(super) fn update_frames(&mut self, id: u64, frames: Vec<String>) {
        if self.details == Some(id) && !self.is_paused {
            self.frames = frames;
        }
    }

    /// The proxy is gone.
    pub(super) fn lose(&mut self, why: String) {
        self.link = Link::Gone(why);
    }

    /// The streams.
    pub(super) fn streams(&self) -> &[Value] {
        rows(&self.snapshot["sessions"]["rows"])
    }

    /// The selected stream's row.
    pub(super) fn index(&self) -> Option<usize> {
        let streams = self.streams();
        let last = streams.len().checked_sub(1)?;
        let found = streams.iter().position(|row| Some(number(&row["id"])) == self.selected);
        Some(found.unwrap_or(self.position).min(last))
    }

    fn select(&mut self, index: usize) {
        let at = index.min(self.streams().len().saturating_sub(1));
        self.position = at;
        self.selected = self.streams().get(at).map(|row| number(&row["id"]));
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                _ => Action::Nothing,
            };
        }
        if self.is_typing {
            self.edit(key.code);
            return Action::Nothing;
        }
        if self.has_help {
            self.has_help = false;
            return if key.code == KeyCode::Char('q') { Action::Quit } else { Action::Nothing };
        }
        let at = self.index().unwrap_or_default();
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('?') => self.has_help = true,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Esc => self.details = None,
            _ if self.details.is_some() => {}
            KeyCode::Up => self.select(at.saturating_sub(1)),
            KeyCode::Down => self.select(at.saturating_add(1)),
            KeyCode::PageUp => self.select(at.saturating_sub(PAGE)),
            KeyCode::PageDown => self.select(at.saturating_add(PAGE)),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Enter => self.open(at),
            KeyCode::Char('s') => self.sort_by(self.sort + 1),
            KeyCode::Char('S') => self.sort_by(self.sort + SORTS.len() - 1),
            KeyCode::Char('r') => self.is_descending = !self.is_descending,
            KeyCode::Char('/') => self.is_typing = true,
            _ => {}
        }
        Action::Nothing
    }

    fn open(&mut self, index: usize) {
        self.select(index);
        self.details = self.selected;
        self.frames.clear();
        self.session = self.streams().get(index).cloned().unwrap_or_default();
    }

    fn sort_by(&mut self, sort: usize) {
        self.sort = sort % SORTS.len();
        self.is_descending = DESCENDING.contains(&self.sort());
    }

    fn edit(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(typed) if self.filter.len() + typed.len_utf8() <= FILTER_MAX => {
                self.filter.push(typed);
            }
            _ => {}
        }
    }
}
