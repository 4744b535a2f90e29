//! The steps on the serial line.

use std::time::Duration;

use sspc::line::{Line, LineEvent};
use sspc::tokio::{Client, State};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::expect::Expect;
use super::origin::{hello, upload_answer};
use super::output::{grouped, time};
use super::pattern::{self, Hash};
use super::report::Report;
use super::step::{Step, StepTitle};
use super::stream_task::{DemoEvent, EventKind, Script, StreamEvent, StreamTasks};
use super::testbed::{DOWNLOAD, LINE_RATE};
use crate::console::size;

/// Bytes that are posted.
const UPLOAD: u64 = 64 * 1024;

/// How many bytes of a million are flipped, and how many are lost, during the download.
const NOISE_PPM: u32 = 10;

/// How long the cable is out.
const CABLE_OUT: Duration = Duration::from_secs(1);

/// Messages of the ticker that a step waits for.
const TICKS: u64 = 5;

/// The line with its streams.
struct OnLine {
    line: Line,
    client: Client,
    tasks: StreamTasks,
}

impl Report<'_> {
    /// Runs them one after the other, until one goes wrong.
    pub(super) async fn run_on_line(&mut self, tell: &UnboundedSender<DemoEvent>) {
        self.run_until_wrong(tell).await;
        // Events left over from a failed step must not count for the next one.
        self.forget_events();
    }

    async fn run_until_wrong(&mut self, tell: &UnboundedSender<DemoEvent>) {
        let Some(mut on_line) = self.link_comes_up(tell).await else { return };
        let Some(ticker) = self.three_at_once(&mut on_line).await else { return };
        if self.download_beside_ticker(&mut on_line).await {
            self.cable_is_pulled(&mut on_line, ticker).await;
        }
    }

    async fn link_comes_up(&mut self, tell: &UnboundedSender<DemoEvent>) -> Option<OnLine> {
        let mut step = self.begin(
            StepTitle {
                text: "the link comes up",
                short: "link up",
                over: "line",
                ..StepTitle::default()
            },
            &self.testbed.port(),
        );
        let observer = tell.clone();
        let opened = self.testbed.open_line(move |event| {
            // Fails only when the demo is over.
            let _ = observer.send(DemoEvent { at: Instant::now(), kind: EventKind::Link(event) });
        });
        let line = match opened {
            Ok(line) => line,
            Err(error) => {
                step.fail(format!("the port cannot be opened: {error}"));
                self.conclude(step);
                return None;
            }
        };
        let mut knows_time = false;
        while step.is_right() && !(self.link_is_up && knows_time) {
            let Some(DemoEvent { at, kind: EventKind::Link(LineEvent::PeerClock { since_1970 }) }) =
                self.next(&mut step, None).await
            else {
                continue;
            };
            if !std::mem::replace(&mut knows_time, true) {
                let text = format!("the proxy has {} UTC", time_of_day(since_1970));
                self.event(&step, at, "clock", &text);
            }
        }
        if !self.conclude(step) {
            return None;
        }
        let client = self.testbed.client_on(&line);
        Some(OnLine { line, client, tasks: StreamTasks::new(tell.clone()) })
    }

    /// Gives what ends the ticker, which goes on.
    async fn three_at_once(&mut self, on_line: &mut OnLine) -> Option<oneshot::Sender<()>> {
        let mut step = self.begin(
            StepTitle {
                text: "three streams at once",
                short: "page, POST and ticker at once",
                over: "line",
                streams: 3,
                sent: UPLOAD,
                ..StepTitle::default()
            },
            "each is a channel of the line",
        );
        let mut body = vec![0; UPLOAD as usize];
        pattern::fill(0, &mut body);
        let mut hash = Hash::new();
        hash.update(&body);
        let answer = upload_answer(hash, Some(UPLOAD));
        let OnLine { client, tasks, .. } = on_line;
        let script = |streamtype, send, expect| Script { streamtype, send, expect };
        tasks.run(client, script("page", None, Expect::bytes(hello())));
        tasks.run(client, script("upload", Some(body), Expect::bytes(answer)));
        let ticker = tasks.run_until_stopped(client, script("ticker", None, Expect::prices()));

        let (mut ended, mut ticks) = (0, 0);
        while step.is_right() && (ended < 2 || ticks < TICKS) {
            let Some(DemoEvent { kind: EventKind::Stream(_, happened), .. }) =
                self.next(&mut step, None).await
            else {
                continue;
            };
            match happened {
                StreamEvent::Ended(_) => ended += 1,
                StreamEvent::Message { .. } => ticks += 1,
                _ => {}
            }
        }
        self.note("sent", &format!("{} in one message, with its length announced", size(UPLOAD)));
        self.note("ticker", &format!("{ticks} messages so far; it goes on"));
        self.conclude(step).then_some(ticker)
    }

    async fn download_beside_ticker(&mut self, on_line: &mut OnLine) -> bool {
        let mut step = self.begin(
            StepTitle {
                text: "a download over a noisy line, and the ticker goes on",
                short: "noisy download beside ticker",
                over: "line",
                streams: 1,
                long: Some(("download", DOWNLOAD)),
                ..StepTitle::default()
            },
            "",
        );
        let before = self.testbed.harm();
        self.testbed.make_noise(NOISE_PPM);
        let expect = Expect::pattern(DOWNLOAD);
        let script = Script { streamtype: "download", send: None, expect };
        on_line.tasks.run(&on_line.client, script);
        let mut flow = Flow::default();
        let mut over = false;
        while step.is_right() && !over {
            let Some(DemoEvent { at, kind: EventKind::Stream(_, happened) }) =
                self.next(&mut step, None).await
            else {
                continue;
            };
            match happened {
                StreamEvent::Payload { bytes, .. } => flow.payload(at, bytes),
                StreamEvent::Message { number, .. } => {
                    if let Some(sent) = self.testbed.tick_sent(number) {
                        flow.tick(at.saturating_duration_since(sent));
                    }
                }
                // It begins again.
                StreamEvent::State(State::UpstreamLinkRetry) => flow = Flow::default(),
                StreamEvent::Ended(_) => over = true,
                _ => {}
            }
        }
        self.testbed.make_noise(0);
        self.report_flow(&flow);
        let harmed = self.testbed.harm() - before;
        let text = format!(
            "{harmed} bytes flipped or lost; {} packets came harmed, and then right",
            on_line.line.status().packets.damaged
        );
        self.note("noise", &text);
        self.conclude(step)
    }

    fn report_flow(&mut self, flow: &Flow) {
        if let Some(rate) = flow.rate() {
            let share = 100.0 * rate / f64::from(LINE_RATE);
            let (rate, all) = (grouped(rate as u64), grouped(LINE_RATE.into()));
            self.note("goodput", &format!("{rate} bytes/s, {share:.1} % of the line's {all}"));
        }
        if let Some(longest) = flow.waits.iter().max() {
            let count = flow.waits.len();
            let mean = flow.waits.iter().sum::<Duration>() / u32::try_from(count).unwrap_or(1);
            let (mean, longest) = (time(mean), time(*longest));
            let text =
                format!("{count} messages beside it took {mean} on average, {longest} at most");
            self.note("ticker", &text);
            let frame = time(self.testbed.packet_time());
            self.note("", &format!("(a packet of the download holds the line for {frame})"));
        }
    }

    async fn cable_is_pulled(&mut self, on_line: &mut OnLine, ticker: oneshot::Sender<()>) {
        let mut step = self.begin(
            StepTitle {
                text: "the cable is pulled for a second",
                short: "cable pulled and put back",
                over: "line",
                streams: 1,
                ..StepTitle::default()
            },
            "",
        );
        // What is pulled is the cable of a ticker that ticks.
        while step.is_right() {
            let event = self.next(&mut step, None).await.map(|event| event.kind);
            if matches!(event, Some(EventKind::Stream("ticker", StreamEvent::Message { .. }))) {
                break;
            }
        }
        let pulled = Instant::now();
        self.testbed.cable.cut();
        self.cable_is_out = true;
        step.start = pulled;
        self.event(&step, pulled, "cable", "pulled");
        let back = pulled + CABLE_OUT;
        let mut found = None;
        let mut asked = false;
        // However busy the machine is: the cable stays out until that was noticed.
        while step.is_right() && (self.link_is_up || Instant::now() < back) {
            let until = (Instant::now() < back).then_some(back);
            let event = self.next(&mut step, until).await;
            match event.map(|event| (event.at, event.kind)) {
                Some((at, EventKind::Link(LineEvent::Down { .. }))) => found = Some(at - pulled),
                Some((
                    _,
                    EventKind::Stream("ticker", StreamEvent::State(State::UpstreamLinkRetry)),
                )) if !asked => {
                    asked = true;
                    self.open_page(&step, on_line);
                }
                _ => {}
            }
        }
        if !asked {
            self.open_page(&step, on_line);
        }
        let restored = Instant::now();
        self.testbed.cable.restore();
        self.cable_is_out = false;
        self.event(&step, restored, "cable", "put back");
        let (mut up, mut tick) = (None, None);
        let mut page_came = false;
        while step.is_right() && !(self.link_is_up && page_came && tick.is_some()) {
            let Some(DemoEvent { at, kind }) = self.next(&mut step, None).await else { continue };
            match kind {
                EventKind::Link(LineEvent::Up { .. }) => up = Some(at - restored),
                EventKind::Stream("page", StreamEvent::Ended(_)) => page_came = true,
                EventKind::Stream("ticker", StreamEvent::Message { .. }) if at > restored => {
                    tick.get_or_insert(at - restored);
                }
                _ => {}
            }
        }
        self.end_ticker(&mut step, ticker).await;
        if let Some(found) = found {
            self.note("link down", &format!("{} after the cable was pulled", time(found)));
        }
        if let (Some(up), Some(tick)) = (up, tick) {
            let (up, tick) = (time(up), time(tick));
            self.note("link up", &format!("{up} after it was back, the ticker after {tick}"));
        }
        self.conclude(step);
    }

    /// Opens a stream while the cable is out.
    fn open_page(&mut self, step: &Step, on_line: &mut OnLine) {
        self.event(step, Instant::now(), "page", "opened nevertheless");
        let script = Script { streamtype: "page", send: None, expect: Expect::bytes(hello()) };
        on_line.tasks.run(&on_line.client, script);
    }

    async fn end_ticker(&mut self, step: &mut Step, ticker: oneshot::Sender<()>) {
        drop(ticker);
        while step.is_right() {
            let what = self.next(step, None).await.map(|event| event.kind);
            if let Some(EventKind::Stream("ticker", StreamEvent::Ended(_))) = what {
                return;
            }
        }
    }
}

/// What passes while a download lasts.
#[derive(Default)]
struct Flow {
    first: Option<Instant>,
    last: Option<Instant>,
    /// All that came after the first piece.
    bytes: u64,
    /// How long the ticker's messages were on their way.
    waits: Vec<Duration>,
}

impl Flow {
    fn payload(&mut self, at: Instant, bytes: u64) {
        if self.first.is_some() {
            self.bytes += bytes;
        }
        self.first.get_or_insert(at);
        self.last = Some(at);
    }

    fn tick(&mut self, wait: Duration) {
        if self.first.is_some() {
            self.waits.push(wait);
        }
    }

    /// In bytes per second.
    fn rate(&self) -> Option<f64> {
        let time = self.last?.duration_since(self.first?);
        (!time.is_zero()).then(|| self.bytes as f64 / time.as_secs_f64())
    }
}

/// `23:59:59.999`
fn time_of_day(since_1970: Duration) -> String {
    let s = since_1970.as_secs() % 86_400;
    let ms = since_1970.subsec_millis();
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_24_hours() {
        assert_eq!(time_of_day(Duration::ZERO), "00:00:00.000");
        assert_eq!(time_of_day(Duration::from_millis(1_795_416_459_042)), "06:47:39.042");
    }

    #[test]
    fn goodput_counts_what_came_after_the_first_piece() {
        let start = Instant::now();
        let mut flow = Flow::default();
        flow.tick(Duration::from_millis(900));
        flow.payload(start, 5_000);
        assert_eq!(flow.rate(), None);
        flow.payload(start + Duration::from_millis(250), 25_000);
        flow.payload(start + Duration::from_millis(500), 25_000);
        assert_eq!(flow.rate(), Some(100_000.0));
        assert!(flow.waits.is_empty(), "it came before");
    }
}
