//! Puts what happens on the screen, act by act, and keeps count of it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sspc::line::LineEvent;
use sspc::tokio::{Flags, State};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use super::player::{Happened, Told, What};
use super::screen::{Screen, time};
use super::stage::{Stage, Usage, Used};
use super::summary::Row;
use crate::terminal::{Style, printable, rate, size};

/// An act that takes longer has failed.
pub(super) const ACT_MAX: Duration = Duration::from_secs(30);

/// Messages of a ticker that are shown; the rest is only counted.
const MESSAGES_SHOWN: u64 = 2;

/// Of a long transfer, each time so many bytes came is shown: a part of the whole.
const PARTS: u64 = 4;

/// The demo, as it is seen.
pub(super) struct Show<'a> {
    pub(super) stage: &'a Stage,
    screen: &'a mut Screen,
    told: UnboundedReceiver<Told>,
    /// What happened to streams and waits for the word that the link is down.
    held: VecDeque<Told>,
    pub(super) link_is_up: bool,
    pub(super) cable_is_out: bool,
    pub(super) rows: Vec<Row>,
}

/// What an act is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Title {
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

/// An act that is being played.
pub(super) struct Act {
    title: Title,
    pub(super) start: Instant,
    before: Usage,
    received: u64,
    /// Bytes of the long transfer that came.
    came: u64,
    /// Parts of it that were shown.
    part: u64,
    /// Of each stream's short body: bytes and pieces that came.
    bodies: HashMap<&'static str, (u64, u64)>,
    hash: Option<String>,
    wrong: Option<String>,
}

impl Act {
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_none()
    }

    /// Whatever went wrong first is told.
    pub(super) fn fail(&mut self, why: impl Into<String>) {
        self.wrong.get_or_insert(why.into());
    }

    pub(super) fn receive(&mut self, bytes: u64) {
        self.received += bytes;
    }
}

impl<'a> Show<'a> {
    pub(super) fn new(
        stage: &'a Stage,
        screen: &'a mut Screen,
        told: UnboundedReceiver<Told>,
    ) -> Self {
        let held = VecDeque::new();
        let (link_is_up, cable_is_out) = (false, false);
        Self { stage, screen, told, held, link_is_up, cable_is_out, rows: Vec::new() }
    }

    /// Begins an act; `more` is said behind its title.
    pub(super) fn begin(&mut self, title: Title, more: &str) -> Act {
        let number = self.rows.len() + 1;
        let head = self.screen.paint(Style::Bold, format!("{number}. {}", title.text)).to_string();
        let more = self.screen.paint(Style::Dim, more).to_string();
        self.screen.line("");
        self.screen.line(format!("{head}  {more}").trim_end());
        Act {
            title,
            start: Instant::now(),
            before: self.stage.connections(),
            received: 0,
            came: 0,
            part: 0,
            bodies: HashMap::new(),
            hash: None,
            wrong: None,
        }
    }

    /// Waits for the next thing that happens, and shows it; `None` if nothing did until then, or
    /// until the act takes too long, which makes it wrong.
    pub(super) async fn next(&mut self, act: &mut Act, until: Option<Instant>) -> Option<Told> {
        let end = act.start + ACT_MAX;
        let Ok(told) = timeout_at(until.unwrap_or(end).min(end), self.hear()).await else {
            if Instant::now() >= end {
                act.fail(format!("not finished after {} s", ACT_MAX.as_secs()));
            }
            return None;
        };
        let told = told?;
        match &told.what {
            What::Link(event) => {
                match event {
                    LineEvent::Up { .. } => self.link_is_up = true,
                    LineEvent::Down { .. } => self.link_is_up = false,
                    _ => {}
                }
                self.show_link(act, told.at, event);
            }
            What::Stream(streamtype, happened) => {
                self.show_stream(act, told.at, streamtype, happened);
            }
        }
        Some(told)
    }

    /// In the order of cause and effect: streams hear of a lost link on other threads than its
    /// observer does, and may be faster.
    async fn hear(&mut self) -> Option<Told> {
        loop {
            let holds = self.cable_is_out && self.link_is_up;
            match self.held.pop_front() {
                Some(told) if !holds => return Some(told),
                Some(told) => self.held.push_front(told),
                None => {}
            }
            let told = self.told.recv().await?;
            match told.what {
                What::Stream(..) if holds => self.held.push_back(told),
                _ => return Some(told),
            }
        }
    }

    /// Drops what happened and was not shown.
    pub(super) fn forget_untold(&mut self) {
        self.held.clear();
        while self.told.try_recv().is_ok() {}
    }

    fn show_link(&mut self, act: &Act, at: Instant, event: &LineEvent) {
        let text = event.to_string();
        match event {
            // Too many, and of interest in one act alone, which tells of them itself.
            LineEvent::RoundTrip { .. } | LineEvent::PeerClock { .. } => {}
            LineEvent::Up { .. } | LineEvent::Down { .. } => {
                let (style, text) = match text.strip_prefix("link ") {
                    Some(rest) if self.link_is_up => (Style::Good, rest),
                    Some(rest) => (Style::Bad, rest),
                    None => (Style::Bad, &*text),
                };
                let text = self.screen.paint(style, text).to_string();
                self.event(act, at, "link", &text);
            }
            _ => self.event(act, at, "link", &text),
        }
    }

    fn show_stream(&mut self, act: &mut Act, at: Instant, who: &'static str, happened: &Happened) {
        match happened {
            Happened::State(state) => {
                if *state == State::UpstreamLinkRetry {
                    // It comes again from the beginning.
                    act.bodies.remove(who);
                    if act.title.long.is_some_and(|(long, _)| long == who) {
                        (act.came, act.part) = (0, 0);
                    }
                }
                let state = self.screen.paint(Style::State, state).to_string();
                self.event(act, at, who, &state);
            }
            Happened::Metadata(name, value) => {
                let value = printable(&String::from_utf8_lossy(value));
                self.event(act, at, who, &format!("metadata {}: {value}", printable(name)));
            }
            Happened::Payload { bytes, flags } => {
                act.received += bytes;
                match act.title.long {
                    Some((long, all)) if long == who => self.show_part(act, at, who, *bytes, all),
                    _ => self.show_body(act, at, who, *bytes, flags.contains(Flags::EOM)),
                }
            }
            Happened::Message { number, bytes, text } => {
                act.received += bytes;
                if *number < MESSAGES_SHOWN {
                    self.event(act, at, who, &format!("payload {bytes} B {text}"));
                }
            }
            Happened::Ended(Ok(hash)) => act.hash = hash.clone().or(act.hash.take()),
            Happened::Ended(Err(why)) => act.fail(format!("{who}: {why}")),
        }
    }

    /// On a line bodies come in small pieces, which are shown together.
    fn show_body(&mut self, act: &mut Act, at: Instant, who: &'static str, more: u64, last: bool) {
        let (bytes, pieces) = act.bodies.entry(who).or_default();
        *bytes += more;
        *pieces += 1;
        if last {
            let text = match pieces {
                1 => format!("payload {bytes} B"),
                _ => format!("payload {bytes} B in {pieces} pieces"),
            };
            act.bodies.remove(who);
            self.event(act, at, who, &text);
        }
    }

    fn show_part(&mut self, act: &mut Act, at: Instant, who: &str, more: u64, all: u64) {
        act.came += more;
        let part = act.came * PARTS / all;
        if part > act.part {
            act.part = part;
            let mut text = format!("payload {} of {}", size(act.came), size(all));
            if act.title.over == "socket" {
                text.push_str(&format!(", {}", rate(act.came, at - act.start)));
            }
            self.event(act, at, who, &text);
        }
    }

    /// A line of what happened at some time.
    pub(super) fn event(&mut self, act: &Act, at: Instant, who: &str, what: &str) {
        let at = at.saturating_duration_since(act.start);
        let at = self.screen.paint(Style::Dim, format!("{:>11}", time(at))).to_string();
        self.screen.line(&format!("{at}  {who:<9} {what}"));
    }

    /// A line about the whole act.
    pub(super) fn note(&mut self, what: &str, text: &str) {
        let what = self.screen.paint(Style::Dim, format!("{what:>11}")).to_string();
        self.screen.line(&format!("{what}  {text}"));
    }

    /// Ends an act; true if it was right.
    pub(super) fn conclude(&mut self, act: Act) -> bool {
        let took = act.start.elapsed();
        let used = self.stage.used_since(&act.before);
        let mut head = "proxy";
        for used in &used {
            self.note(head, &onward(used));
            head = "";
        }
        if let Some(hash) = &act.hash {
            self.note("sha256", hash);
        }
        match &act.wrong {
            None if act.title.streams == 0 => {}
            None => {
                let right = self.screen.paint(Style::Good, "right").to_string();
                let came = size(act.received);
                self.note("bytes", &format!("{came} received, every byte {right}"));
            }
            Some(why) => {
                let wrong = self.screen.paint(Style::Bad, "wrong").to_string();
                self.note("bytes", &format!("{wrong}: {why}"));
            }
        }
        let right = act.is_right();
        self.rows.push(Row { title: act.title, received: act.received, took, used, right });
        right
    }

    pub(super) fn line(&mut self, text: &str) {
        self.screen.line(text);
    }

    pub(super) fn paint(&self, style: Style, text: impl std::fmt::Display) -> String {
        self.screen.paint(style, text).to_string()
    }
}

/// `new connection, h2, TLS 1.3, 200 requests`
fn onward(used: &Used) -> String {
    let mut words = vec![
        if used.new { "new connection" } else { "connection reused" }.to_owned(),
        used.protocol.to_owned(),
        used.tls.unwrap_or("clear").to_owned(),
    ];
    if used.deflate {
        words.push("compressed".to_owned());
    }
    if used.requests > 1 {
        words.push(format!("{} requests", used.requests));
    }
    words.join(", ")
}
