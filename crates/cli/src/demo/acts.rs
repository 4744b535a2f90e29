//! The acts of the demo, and what is said about them at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use sspc::tokio::{Event, State};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::expect::Expect;
use super::origin::{TOGETHER, hello};
use super::pattern;
use super::play::{ACT_MAX, Script, Take, play};
use super::screen::{Screen, time};
use super::stage::{Stage, Used};
use crate::terminal::{Style, count, size};

/// Bytes that the third act sends.
const UPLOAD: u64 = 256 * 1024;

/// Prices that the fourth act waits for.
const PRICES: u64 = 25;

/// Plays one act after the other.
pub(super) struct Acts<'a> {
    stage: &'a Stage,
    screen: &'a mut Screen,
    rows: Vec<Row>,
}

/// An act's line of the summary.
struct Row {
    title: &'static str,
    streams: usize,
    sent: u64,
    received: u64,
    took: Duration,
    used: Vec<Used>,
    right: bool,
}

impl<'a> Acts<'a> {
    pub(super) fn new(stage: &'a Stage, screen: &'a mut Screen) -> Self {
        Self { stage, screen, rows: Vec::new() }
    }

    pub(super) async fn play_all(&mut self, mebibytes: u32) {
        let page = hello();
        self.act(
            "GET, h1 in the clear",
            0,
            Script {
                streamtype: "hello_h1",
                send: None,
                expect: Expect::bytes(page.clone()),
                long: 0,
            },
        )
        .await;
        self.act(
            "GET, h2 over TLS",
            0,
            Script { streamtype: "hello_h2", send: None, expect: Expect::bytes(page), long: 0 },
        )
        .await;

        let mut body = vec![0; UPLOAD as usize];
        pattern::fill(0, &mut body);
        let sha256 = pattern::hash_of(UPLOAD);
        let answer =
            format!(r#"{{"bytes":{UPLOAD},"content_length":{UPLOAD},"sha256":"{sha256}"}}"#);
        self.act(
            "POST with its length",
            UPLOAD,
            Script {
                streamtype: "upload",
                send: Some(body),
                expect: Expect::bytes(answer),
                long: 0,
            },
        )
        .await;
        self.act(
            "websocket ticker",
            0,
            Script { streamtype: "ticker", send: None, expect: Expect::prices(PRICES), long: 0 },
        )
        .await;
        self.together().await;
        let len = u64::from(mebibytes) << 20;
        self.act(
            "a long transfer",
            0,
            Script { streamtype: "big", send: None, expect: Expect::pattern(len), long: len },
        )
        .await;
    }

    /// One act with one stream.
    async fn act(&mut self, title: &'static str, sent: u64, script: Script) {
        self.announce(title, &format!("stream \"{}\"", script.streamtype));
        let before = self.stage.connections();
        let start = Instant::now();
        let result = play(self.stage, self.screen, script).await;
        let took = start.elapsed();
        let used = self.stage.used_since(&before);
        if sent > 0 {
            self.note("sent", &format!("{} in one message, length told beforehand", size(sent)));
        }
        let row = Row { title, streams: 1, sent, received: 0, took, used, right: false };
        self.conclude(row, result);
    }

    /// Many streams at once, none of them answered before all are there.
    async fn together(&mut self) {
        let title = "many streams at once";
        self.announce(title, &format!("{TOGETHER} streams \"together\""));
        let before = self.stage.connections();
        let start = Instant::now();
        let mut streams = JoinSet::new();
        for _ in 0..TOGETHER {
            let client = self.stage.client.clone();
            streams.spawn(async move { timeout(ACT_MAX, one_of_many(client, start)).await });
        }
        let mut last: BTreeMap<Duration, State> = BTreeMap::new();
        let mut latest: Vec<(State, Duration)> = Vec::new();
        let mut received = 0;
        let mut failed = Vec::new();
        while let Some(joined) = streams.join_next().await {
            match joined {
                Ok(Ok(Ok(one))) => {
                    received += one.received;
                    for (state, at) in one.states {
                        match latest.iter_mut().find(|(seen, _)| *seen == state) {
                            Some((_, time)) => *time = at.max(*time),
                            None => latest.push((state, at)),
                        }
                    }
                }
                Ok(Ok(Err(why))) => failed.push(why),
                Ok(Err(_)) => failed.push("not finished in time".to_owned()),
                Err(error) => failed.push(error.to_string()),
            }
        }
        last.extend(latest.into_iter().map(|(state, at)| (at, state)));
        for (at, state) in last {
            let at = self.screen.paint(Style::Dim, format!("{:>11}", time(at))).to_string();
            let state = self.screen.paint(Style::State, state).to_string();
            self.screen.line(&format!("{at}  {state} (the last of {TOGETHER})"));
        }
        let used = self.stage.used_since(&before);
        let result = match failed.first() {
            Some(why) => Err(format!("{} of {TOGETHER} streams failed: {why}", failed.len())),
            None if used.len() != 1 => {
                Err(format!("the origin saw {} connections, not one", used.len()))
            }
            None => Ok(Take { received, hash: None }),
        };
        let row = Row {
            title,
            streams: TOGETHER,
            sent: 0,
            received: 0,
            took: start.elapsed(),
            used,
            right: false,
        };
        self.conclude(row, result);
    }

    fn announce(&mut self, title: &str, streams: &str) {
        let number = self.rows.len() + 1;
        let head = self.screen.paint(Style::Bold, format!("{number}. {title}")).to_string();
        let streams = self.screen.paint(Style::Dim, streams).to_string();
        self.screen.line("");
        self.screen.line(&format!("{head}  {streams}"));
    }

    fn note(&mut self, what: &str, text: &str) {
        let what = self.screen.paint(Style::Dim, format!("{what:>11}")).to_string();
        self.screen.line(&format!("{what}  {text}"));
    }

    fn conclude(&mut self, mut row: Row, result: Result<Take, String>) {
        self.note("proxy", &onward(&row.used));
        match result {
            Ok(take) => {
                row.received = take.received;
                row.right = true;
                if let Some(hash) = take.hash {
                    self.note("sha256", &hash);
                }
                let right = self.screen.paint(Style::Good, "right").to_string();
                let came = size(take.received);
                self.note("bytes", &format!("{came} received, every byte {right}"));
            }
            Err(why) => {
                let wrong = self.screen.paint(Style::Bad, "wrong").to_string();
                self.note("bytes", &format!("{wrong}: {why}"));
            }
        }
        self.rows.push(row);
    }

    /// The closing table; gives the number of acts that went wrong.
    pub(super) fn summary(&mut self, took: Duration) -> usize {
        self.screen.line("");
        let head = format!(
            "{:<22} {:>7} {:>10} {:>10} {:>9}  {:<8} bytes",
            "summary", "streams", "sent", "received", "time", "onward"
        );
        let head = self.screen.paint(Style::Bold, head).to_string();
        self.screen.line(&head);
        for row in std::mem::take(&mut self.rows) {
            let (style, word) =
                if row.right { (Style::Good, "right") } else { (Style::Bad, "WRONG") };
            let line = format!(
                "{:<22} {:>7} {:>10} {:>10} {:>9}  {:<8} {}",
                row.title,
                row.streams,
                size(row.sent),
                size(row.received),
                time(row.took),
                short(&row.used),
                self.screen.paint(style, word),
            );
            self.screen.line(&line);
            self.rows.push(row);
        }
        self.needs(took);
        self.rows.iter().filter(|row| !row.right).count()
    }

    /// What each side had to do for it.
    fn needs(&mut self, took: Duration) {
        let used = || self.rows.iter().flat_map(|row| &row.used);
        let new = used().filter(|used| used.new).count();
        let tls = used().filter(|used| used.new && used.tls.is_some()).count();
        let requests: u64 = used().map(|used| used.requests).sum();
        let streams: usize = self.rows.iter().map(|row| row.streams).sum();
        self.screen.line("");
        let ram = size_of::<sspc::Stream<[u8; 64]>>();
        self.note("client", &format!("{streams} streams, each a Unix socket and {ram} B of RAM;"));
        self.note("", "no TCP, no TLS, no HTTP, no websocket, no certificates");
        let connections = count(new, "connection");
        self.note("proxy", &format!("{requests} requests on {connections}, {tls} of them TLS"));
        self.note("all in all", &time(took));
    }
}

/// What one of many streams had to tell.
struct One {
    states: Vec<(State, Duration)>,
    received: u64,
}

async fn one_of_many(client: sspc::tokio::Client, start: Instant) -> Result<One, String> {
    let mut stream = client.open("together").await.map_err(|error| error.to_string())?;
    stream.connect();
    let mut expect = Expect::bytes(format!("all {TOGETHER} are here\n"));
    let mut one = One { states: Vec::new(), received: 0 };
    while let Some(event) = stream.next().await {
        match event {
            Event::State { state, .. } => {
                one.states.push((state, start.elapsed()));
                match state {
                    State::QosAckRemote => {
                        expect.complete()?;
                        stream.close().await;
                        return Ok(one);
                    }
                    State::Unreachable | State::QosNackRemote | State::Disconnected => {
                        return Err(format!("ended with {state}"));
                    }
                    _ => {}
                }
            }
            Event::Payload { data, flags, .. } => {
                one.received += data.len() as u64;
                expect.feed(&data, flags)?;
            }
            Event::Fault(fault) => return Err(fault.to_string()),
            _ => {}
        }
    }
    Err("the stream is gone".to_owned())
}

/// `1 new connection, h2, TLS 1.3, 200 requests`
fn onward(used: &[Used]) -> String {
    let describe = |used: &Used| {
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
    };
    match used {
        [] => "no connection".to_owned(),
        used => used.iter().map(describe).collect::<Vec<_>>().join("; "),
    }
}

/// `h2 TLS`
fn short(used: &[Used]) -> String {
    used.first().map_or_else(String::new, |used| {
        format!("{}{}", used.protocol, if used.tls.is_some() { " TLS" } else { "" })
    })
}
