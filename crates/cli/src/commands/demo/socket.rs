//! The steps on the Unix socket.

use sspc::tokio::{Client, Event, State};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::expect::Expect;
use super::origin::{TOGETHER, hello};
use super::report::{Report, STEP_LIMIT};
use super::step::StepTitle;
use super::stream_task::{DemoEvent, EventKind, Script, StreamEvent, StreamTasks};
use crate::console::Style;

impl Report<'_> {
    pub(super) async fn run_on_socket(&mut self, tell: UnboundedSender<DemoEvent>, mebibytes: u32) {
        let len = u64::from(mebibytes) << 20;
        let mut tasks = StreamTasks::new(tell);
        let title = StepTitle {
            text: "the same over a Unix socket",
            short: "page, h1 in the clear",
            over: "socket",
            streams: 1,
            ..StepTitle::default()
        };
        let expect = Expect::bytes(hello());
        let script = Script { streamtype: "plain", send: None, expect };
        self.one_stream(&mut tasks, title, "a page, h1 in the clear", script).await;
        self.many_streams().await;
        let title = StepTitle {
            text: "a long transfer",
            short: "long transfer",
            over: "socket",
            streams: 1,
            long: Some(("big", len)),
            ..StepTitle::default()
        };
        let script = Script { streamtype: "big", send: None, expect: Expect::pattern(len) };
        self.one_stream(&mut tasks, title, "h2 over TLS", script).await;
    }

    async fn one_stream(
        &mut self,
        tasks: &mut StreamTasks,
        title: StepTitle,
        more: &str,
        script: Script,
    ) {
        let streamtype = script.streamtype;
        let mut step = self.begin(title, more);
        tasks.run(&self.testbed.on_socket, script);
        while step.is_right() {
            match self.next(&mut step, None).await.map(|event| event.kind) {
                Some(EventKind::Stream(ended, StreamEvent::Ended(_))) if ended == streamtype => {
                    break;
                }
                _ => {}
            }
        }
        self.conclude(step);
    }

    /// Many streams at once, none of them answered before all are there.
    async fn many_streams(&mut self) {
        let mut step = self.begin(
            StepTitle {
                text: "many streams at once",
                short: "many streams at once",
                over: "socket",
                streams: TOGETHER,
                ..StepTitle::default()
            },
            "the server answers when it has them all",
        );
        let before = self.testbed.connections();
        let mut streams = JoinSet::new();
        for _ in 0..TOGETHER {
            let client = self.testbed.on_socket.clone();
            streams.spawn(async move { timeout(STEP_LIMIT, one_of_many(client)).await });
        }
        let mut latest: Vec<(State, Instant)> = Vec::new();
        let mut failed = Vec::new();
        while let Some(joined) = streams.join_next().await {
            match joined {
                Ok(Ok(Ok(result))) => {
                    step.receive(result.received);
                    for (state, at) in result.states {
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
        latest.sort_by_key(|(_, at)| *at);
        for (state, at) in latest {
            let state = self.paint(Style::State, state);
            self.event(&step, at, "together", &format!("{state} (the last of {TOGETHER})"));
        }
        let connections = self.testbed.used_since(&before).len();
        match failed.first() {
            Some(why) => step.fail(format!("{} of {TOGETHER} streams failed: {why}", failed.len())),
            None if connections != 1 => {
                step.fail(format!("the origin saw {connections} connections, not one"));
            }
            None => {}
        }
        self.conclude(step);
    }
}

/// What happened to one of many streams.
struct StreamResult {
    states: Vec<(State, Instant)>,
    received: u64,
}

async fn one_of_many(client: Client) -> Result<StreamResult, String> {
    let mut stream = client.open("together").await.map_err(|error| error.to_string())?;
    stream.connect();
    let mut expect = Expect::bytes(format!("all {TOGETHER} are here\n"));
    let mut result = StreamResult { states: Vec::new(), received: 0 };
    while let Some(event) = stream.next().await {
        match event {
            Event::State { state, .. } => {
                result.states.push((state, Instant::now()));
                match state {
                    State::QosAckRemote => {
                        expect.complete()?;
                        stream.close().await;
                        return Ok(result);
                    }
                    State::Unreachable | State::QosNackRemote | State::Disconnected => {
                        return Err(format!("ended with {state}"));
                    }
                    _ => {}
                }
            }
            Event::Payload { data, flags, .. } => {
                result.received += data.len() as u64;
                expect.feed(&data, flags)?;
            }
            Event::Fault(fault) => return Err(fault.to_string()),
            _ => {}
        }
    }
    Err("the stream is gone".to_owned())
}
