//! Prints what happens, step by step, and keeps count of it.

use std::collections::VecDeque;
use std::time::Duration;

use sspc::line::LineEvent;
use sspc::tokio::{Flags, State};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use super::output::{DemoOutput, time};
use super::step::{Row, Step, StepTitle};
use super::stream_task::{DemoEvent, EventKind, StreamEvent};
use super::testbed::{Testbed, Used};
use crate::console::{Style, printable, rate, size};

/// A step that takes longer has failed.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(30);

/// Messages of a ticker that are shown; the rest is only counted.
const MESSAGES_SHOWN: u64 = 2;

/// A long transfer is shown in this many parts.
const PARTS: u64 = 4;

/// Prints the demo as it goes on.
pub(super) struct Report<'a> {
    pub(super) testbed: &'a Testbed,
    output: &'a mut DemoOutput,
    events: UnboundedReceiver<DemoEvent>,
    /// What happened to streams and waits for the word that the link is down.
    held: VecDeque<DemoEvent>,
    pub(super) link_is_up: bool,
    pub(super) cable_is_out: bool,
    pub(super) rows: Vec<Row>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        testbed: &'a Testbed,
        output: &'a mut DemoOutput,
        events: UnboundedReceiver<DemoEvent>,
    ) -> Self {
        let held = VecDeque::new();
        let (link_is_up, cable_is_out) = (false, false);
        Self { testbed, output, events, held, link_is_up, cable_is_out, rows: Vec::new() }
    }

    /// Begins a step; `more` is said behind its title.
    pub(super) fn begin(&mut self, title: StepTitle, more: &str) -> Step {
        let number = self.rows.len() + 1;
        let head = self.output.paint(Style::Bold, format!("{number}. {}", title.text)).to_string();
        let more = self.output.paint(Style::Dim, more).to_string();
        self.output.line("");
        self.output.line(format!("{head}  {more}").trim_end());
        Step::new(title, self.testbed.connections())
    }

    /// Waits for the next thing that happens, and shows it; `None` if nothing did until then, or
    /// until the step takes too long, which makes it wrong.
    pub(super) async fn next(
        &mut self,
        step: &mut Step,
        until: Option<Instant>,
    ) -> Option<DemoEvent> {
        let end = step.start + STEP_LIMIT;
        let Ok(event) = timeout_at(until.unwrap_or(end).min(end), self.next_event()).await else {
            if Instant::now() >= end {
                step.fail(format!("not finished after {} s", STEP_LIMIT.as_secs()));
            }
            return None;
        };
        let event = event?;
        match &event.kind {
            EventKind::Link(link) => {
                match link {
                    LineEvent::Up { .. } => self.link_is_up = true,
                    LineEvent::Down { .. } => self.link_is_up = false,
                    _ => {}
                }
                self.show_link(step, event.at, link);
            }
            EventKind::Stream(streamtype, happened) => {
                self.show_stream(step, event.at, streamtype, happened);
            }
        }
        Some(event)
    }

    /// In the order of cause and effect: streams notice a lost link on other threads than its
    /// observer, and may be faster.
    async fn next_event(&mut self) -> Option<DemoEvent> {
        loop {
            let holds = self.cable_is_out && self.link_is_up;
            match self.held.pop_front() {
                Some(event) if !holds => return Some(event),
                Some(event) => self.held.push_front(event),
                None => {}
            }
            let event = self.events.recv().await?;
            match event.kind {
                EventKind::Stream(..) if holds => self.held.push_back(event),
                _ => return Some(event),
            }
        }
    }

    /// Drops what happened and was not shown.
    pub(super) fn forget_events(&mut self) {
        self.held.clear();
        while self.events.try_recv().is_ok() {}
    }

    fn show_link(&mut self, step: &Step, at: Instant, event: &LineEvent) {
        let text = event.to_string();
        match event {
            // Too many; the one step that needs them prints them itself.
            LineEvent::RoundTrip { .. }
            | LineEvent::PeerClock { .. }
            | LineEvent::Packets { .. }
            | LineEvent::PortErrors { .. } => {}
            LineEvent::Up { .. } | LineEvent::Down { .. } => {
                let (style, text) = match text.strip_prefix("link ") {
                    Some(rest) if self.link_is_up => (Style::Good, rest),
                    Some(rest) => (Style::Bad, rest),
                    None => (Style::Bad, &*text),
                };
                let text = self.output.paint(style, text).to_string();
                self.event(step, at, "link", &text);
            }
            _ => self.event(step, at, "link", &text),
        }
    }

    fn show_stream(
        &mut self,
        step: &mut Step,
        at: Instant,
        who: &'static str,
        happened: &StreamEvent,
    ) {
        match happened {
            StreamEvent::State(state) => {
                if *state == State::UpstreamLinkRetry {
                    // It comes again from the beginning.
                    step.bodies.remove(who);
                    if step.title.long.is_some_and(|(long, _)| long == who) {
                        (step.came, step.part) = (0, 0);
                    }
                }
                let state = self.output.paint(Style::State, state).to_string();
                self.event(step, at, who, &state);
            }
            StreamEvent::Metadata(name, value) => {
                let value = printable(&String::from_utf8_lossy(value));
                self.event(step, at, who, &format!("metadata {}: {value}", printable(name)));
            }
            StreamEvent::Payload { bytes, flags } => {
                step.received += bytes;
                match step.title.long {
                    Some((long, all)) if long == who => self.show_part(step, at, who, *bytes, all),
                    _ => self.show_body(step, at, who, *bytes, flags.contains(Flags::EOM)),
                }
            }
            StreamEvent::Message { number, bytes, text } => {
                step.received += bytes;
                if *number < MESSAGES_SHOWN {
                    self.event(step, at, who, &format!("payload {bytes} B {text}"));
                }
            }
            StreamEvent::Ended(Ok(hash)) => step.hash = hash.clone().or(step.hash.take()),
            StreamEvent::Ended(Err(why)) => step.fail(format!("{who}: {why}")),
        }
    }

    /// On a line bodies come in small pieces, which are shown together.
    fn show_body(
        &mut self,
        step: &mut Step,
        at: Instant,
        who: &'static str,
        more: u64,
        last: bool,
    ) {
        let (bytes, pieces) = step.bodies.entry(who).or_default();
        *bytes += more;
        *pieces += 1;
        if last {
            let text = match pieces {
                1 => format!("payload {bytes} B"),
                _ => format!("payload {bytes} B in {pieces} pieces"),
            };
            step.bodies.remove(who);
            self.event(step, at, who, &text);
        }
    }

    fn show_part(&mut self, step: &mut Step, at: Instant, who: &str, more: u64, all: u64) {
        step.came += more;
        let part = step.came * PARTS / all;
        if part > step.part {
            step.part = part;
            let mut text = format!("payload {} of {}", size(step.came), size(all));
            if step.title.over == "socket" {
                text.push_str(&format!(", {}", rate(step.came, at - step.start)));
            }
            self.event(step, at, who, &text);
        }
    }

    /// A line of what happened at some time.
    pub(super) fn event(&mut self, step: &Step, at: Instant, who: &str, what: &str) {
        let at = at.saturating_duration_since(step.start);
        let at = self.output.paint(Style::Dim, format!("{:>11}", time(at))).to_string();
        self.output.line(&format!("{at}  {who:<9} {what}"));
    }

    /// A line about the whole step.
    pub(super) fn note(&mut self, what: &str, text: &str) {
        let what = self.output.paint(Style::Dim, format!("{what:>11}")).to_string();
        self.output.line(&format!("{what}  {text}"));
    }

    /// Ends a step; true if it was right.
    pub(super) fn conclude(&mut self, step: Step) -> bool {
        let took = step.start.elapsed();
        let used = self.testbed.used_since(&step.before);
        let mut head = "proxy";
        for used in &used {
            self.note(head, &onward(used));
            head = "";
        }
        if let Some(hash) = &step.hash {
            self.note("sha256", hash);
        }
        match &step.wrong {
            None if step.title.streams == 0 => {}
            None => {
                let right = self.output.paint(Style::Good, "right").to_string();
                let came = size(step.received);
                self.note("bytes", &format!("{came} received, every byte {right}"));
            }
            Some(why) => {
                let wrong = self.output.paint(Style::Bad, "wrong").to_string();
                self.note("bytes", &format!("{wrong}: {why}"));
            }
        }
        let right = step.is_right();
        self.rows.push(Row { title: step.title, received: step.received, took, used, right });
        right
    }

    pub(super) fn line(&mut self, text: &str) {
        self.output.line(text);
    }

    pub(super) fn paint(&self, style: Style, text: impl std::fmt::Display) -> String {
        self.output.paint(style, text).to_string()
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
