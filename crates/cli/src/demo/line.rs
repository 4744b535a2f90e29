//! The acts on the serial line.

use std::time::Duration;

use sspc::line::{Line, LineEvent};
use sspc::tokio::{Client, State};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::expect::Expect;
use super::origin::hello;
use super::pattern;
use super::player::{Happened, Players, Script, Told, What};
use super::screen::{grouped, time};
use super::show::{Act, Show, Title};
use super::stage::{DOWNLOAD, LINE_RATE};
use crate::terminal::size;

/// Bytes that are posted.
const UPLOAD: u64 = 64 * 1024;

/// How long the cable is out.
const CABLE_OUT: Duration = Duration::from_secs(1);

/// Messages of the ticker that an act waits for.
const TICKS: u64 = 5;

/// The line with its streams.
struct OnLine {
    /// Held for its drop.
    _line: Line,
    client: Client,
    players: Players,
}

impl Show<'_> {
    /// Plays them one after the other, until one goes wrong.
    pub(super) async fn play_on_line(&mut self, tell: &UnboundedSender<Told>) {
        self.play_until_wrong(tell).await;
        // What is left of an act that went wrong is no part of the next one.
        self.forget_untold();
    }

    async fn play_until_wrong(&mut self, tell: &UnboundedSender<Told>) {
        let Some(mut on_line) = self.link_comes_up(tell).await else { return };
        let Some(ticker) = self.three_at_once(&mut on_line).await else { return };
        if self.download_beside_ticker(&mut on_line).await {
            self.cable_is_pulled(&mut on_line, ticker).await;
        }
    }

    async fn link_comes_up(&mut self, tell: &UnboundedSender<Told>) -> Option<OnLine> {
        let mut act = self.begin(
            Title { text: "the link comes up", short: "link up", over: "line", ..Title::default() },
            &self.stage.port(),
        );
        let observer = tell.clone();
        let opened = self.stage.open_line(move |event| {
            // If nobody listens any more the demo is over.
            let _ = observer.send(Told { at: Instant::now(), what: What::Link(event) });
        });
        let line = match opened {
            Ok(line) => line,
            Err(error) => {
                act.fail(format!("the port cannot be opened: {error}"));
                self.conclude(act);
                return None;
            }
        };
        let mut knows_time = false;
        while act.is_right() && !(self.link_is_up && knows_time) {
            let Some(Told { at, what: What::Link(LineEvent::PeerClock { since_1970 }) }) =
                self.next(&mut act, None).await
            else {
                continue;
            };
            if !std::mem::replace(&mut knows_time, true) {
                let text = format!("the proxy has {} UTC", time_of_day(since_1970));
                self.event(&act, at, "clock", &text);
            }
        }
        if !self.conclude(act) {
            return None;
        }
        let client = self.stage.client_on(&line);
        Some(OnLine { _line: line, client, players: Players::new(tell.clone()) })
    }

    /// Gives what ends the ticker, which goes on.
    async fn three_at_once(&mut self, on_line: &mut OnLine) -> Option<oneshot::Sender<()>> {
        let mut act = self.begin(
            Title {
                text: "three streams at once",
                short: "page, POST and ticker at once",
                over: "line",
                streams: 3,
                sent: UPLOAD,
                ..Title::default()
            },
            "each is a channel of the line",
        );
        let mut body = vec![0; UPLOAD as usize];
        pattern::fill(0, &mut body);
        let sha256 = pattern::hash_of(UPLOAD);
        let answer =
            format!(r#"{{"bytes":{UPLOAD},"content_length":{UPLOAD},"sha256":"{sha256}"}}"#);
        let OnLine { client, players, .. } = on_line;
        let script = |streamtype, send, expect| Script { streamtype, send, expect };
        players.play(client, script("page", None, Expect::bytes(hello())));
        players.play(client, script("upload", Some(body), Expect::bytes(answer)));
        let ticker = players.play_on(client, script("ticker", None, Expect::prices()));

        let (mut ended, mut ticks) = (0, 0);
        while act.is_right() && (ended < 2 || ticks < TICKS) {
            let Some(Told { what: What::Stream(_, happened), .. }) =
                self.next(&mut act, None).await
            else {
                continue;
            };
            match happened {
                Happened::Ended(_) => ended += 1,
                Happened::Message { .. } => ticks += 1,
                _ => {}
            }
        }
        self.note("sent", &format!("{} in one message, length told beforehand", size(UPLOAD)));
        self.note("ticker", &format!("{ticks} messages so far; it goes on"));
        self.conclude(act).then_some(ticker)
    }

    async fn download_beside_ticker(&mut self, on_line: &mut OnLine) -> bool {
        let mut act = self.begin(
            Title {
                text: "a download, and the ticker goes on",
                short: "download beside the ticker",
                over: "line",
                streams: 1,
                long: Some(("download", DOWNLOAD)),
                ..Title::default()
            },
            "its messages have priority",
        );
        let expect = Expect::pattern(DOWNLOAD);
        let script = Script { streamtype: "download", send: None, expect };
        on_line.players.play(&on_line.client, script);
        let mut flow = Flow::default();
        let mut over = false;
        while act.is_right() && !over {
            let Some(Told { at, what: What::Stream(_, happened) }) =
                self.next(&mut act, None).await
            else {
                continue;
            };
            match happened {
                Happened::Payload { bytes, .. } => flow.payload(at, bytes),
                Happened::Message { number, .. } => {
                    if let Some(sent) = self.stage.tick_sent(number) {
                        flow.tick(at.saturating_duration_since(sent));
                    }
                }
                // It begins anew.
                Happened::State(State::UpstreamLinkRetry) => flow = Flow::default(),
                Happened::Ended(_) => over = true,
                _ => {}
            }
        }
        self.tell_flow(&flow);
        self.conclude(act)
    }

    fn tell_flow(&mut self, flow: &Flow) {
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
            let frame = time(self.stage.frame_time());
            self.note("", &format!("(a frame of the download holds the line for {frame})"));
        }
    }

    async fn cable_is_pulled(&mut self, on_line: &mut OnLine, ticker: oneshot::Sender<()>) {
        let mut act = self.begin(
            Title {
                text: "the cable is pulled for a second",
                short: "cable pulled and put back",
                over: "line",
                streams: 1,
                ..Title::default()
            },
            "",
        );
        let pulled = Instant::now();
        self.stage.cable.cut();
        self.cable_is_out = true;
        act.start = pulled;
        self.event(&act, pulled, "cable", "pulled");
        let back = pulled + CABLE_OUT;
        let mut found = None;
        let mut asked = false;
        // However busy the machine is: the cable stays out until that was noticed.
        while act.is_right() && (self.link_is_up || Instant::now() < back) {
            let until = (Instant::now() < back).then_some(back);
            let told = self.next(&mut act, until).await;
            match told.map(|told| (told.at, told.what)) {
                Some((at, What::Link(LineEvent::Down { .. }))) => found = Some(at - pulled),
                Some((_, What::Stream("ticker", Happened::State(State::UpstreamLinkRetry))))
                    if !asked =>
                {
                    asked = true;
                    self.open_page(&act, on_line);
                }
                _ => {}
            }
        }
        if !asked {
            self.open_page(&act, on_line);
        }
        let restored = Instant::now();
        self.stage.cable.restore();
        self.cable_is_out = false;
        self.event(&act, restored, "cable", "put back");
        let (mut up, mut tick) = (None, None);
        let mut page_came = false;
        while act.is_right() && !(self.link_is_up && page_came && tick.is_some()) {
            let Some(Told { at, what }) = self.next(&mut act, None).await else { continue };
            match what {
                What::Link(LineEvent::Up { .. }) => up = Some(at - restored),
                What::Stream("page", Happened::Ended(_)) => page_came = true,
                What::Stream("ticker", Happened::Message { .. }) if at > restored => {
                    tick.get_or_insert(at - restored);
                }
                _ => {}
            }
        }
        self.end_ticker(&mut act, ticker).await;
        if let Some(found) = found {
            self.note("link down", &format!("{} after the cable was pulled", time(found)));
        }
        if let (Some(up), Some(tick)) = (up, tick) {
            let (up, tick) = (time(up), time(tick));
            self.note("link up", &format!("{up} after it was back, the ticker after {tick}"));
        }
        self.conclude(act);
    }

    /// Opens a stream with nobody at the other end of the line.
    fn open_page(&mut self, act: &Act, on_line: &mut OnLine) {
        self.event(act, Instant::now(), "page", "opened nevertheless");
        let script = Script { streamtype: "page", send: None, expect: Expect::bytes(hello()) };
        on_line.players.play(&on_line.client, script);
    }

    async fn end_ticker(&mut self, act: &mut Act, ticker: oneshot::Sender<()>) {
        drop(ticker);
        while act.is_right() {
            let what = self.next(act, None).await.map(|told| told.what);
            if let Some(What::Stream("ticker", Happened::Ended(_))) = what {
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
