//! One stream from its opening to its end, run by a task that reports what happens.

use std::future::pending;
use std::time::Duration;

use sspc::line::LineEvent;
use sspc::tokio::{Client, Event, Flags, State, StreamHandle};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::expect::{Checked, Expect};

/// How long the last state may follow the acknowledgement.
const LAST_STATE_WAIT: Duration = Duration::from_millis(300);

/// How long after DISCONNECTED its reason may come.
const REASON_WAIT: Duration = Duration::from_secs(1);

/// What a stream does.
pub(super) struct Script {
    pub(super) streamtype: &'static str,
    /// Payload to send, as one message of known length.
    pub(super) send: Option<Vec<u8>>,
    /// Payload that must come.
    pub(super) expect: Expect,
}

/// Something that happened.
pub(super) struct DemoEvent {
    pub(super) at: Instant,
    pub(super) kind: EventKind,
}

/// What happened.
pub(super) enum EventKind {
    Link(LineEvent),
    /// To the stream of this streamtype.
    Stream(&'static str, StreamEvent),
}

/// What happened to a stream.
pub(super) enum StreamEvent {
    State(State),
    /// By the policy's name for it.
    Metadata(String, Vec<u8>),
    /// Some bytes, which were right.
    Payload {
        bytes: u64,
        flags: Flags,
    },
    /// A short message, which was right.
    Message {
        /// From 0, since the stream was connected.
        number: u64,
        bytes: u64,
        text: String,
    },
    /// The stream is done; of a long transfer with its SHA-256.
    Ended(Result<Option<String>, String>),
}

/// The streams that are running; dropped, they end.
pub(super) struct StreamTasks {
    tell: UnboundedSender<DemoEvent>,
    tasks: JoinSet<()>,
}

impl StreamTasks {
    pub(super) fn new(tell: UnboundedSender<DemoEvent>) -> Self {
        Self { tell, tasks: JoinSet::new() }
    }

    /// Runs a stream to its end.
    pub(super) fn run(&mut self, client: &Client, script: Script) {
        self.spawn(client, script, None);
    }

    /// Runs a stream that has no end of its own: until the sender is used or dropped.
    pub(super) fn run_until_stopped(
        &mut self,
        client: &Client,
        script: Script,
    ) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel();
        self.spawn(client, script, Some(stopped));
        stop
    }

    fn spawn(&mut self, client: &Client, script: Script, stopped: Option<oneshot::Receiver<()>>) {
        let Script { streamtype, send, expect } = script;
        let stream_task = StreamTask {
            client: client.clone(),
            tell: self.tell.clone(),
            streamtype,
            send,
            stopped,
            expect,
            messages: 0,
        };
        self.tasks.spawn(stream_task.run());
    }
}

struct StreamTask {
    client: Client,
    tell: UnboundedSender<DemoEvent>,
    streamtype: &'static str,
    send: Option<Vec<u8>>,
    stopped: Option<oneshot::Receiver<()>>,
    expect: Expect,
    /// Short messages since the stream was connected.
    messages: u64,
}

/// How a stream ended.
enum StreamOutcome {
    /// As it should.
    Done,
    /// The link to the proxy was lost, and whether the message arrived is unknown.
    Lost,
}

impl StreamTask {
    async fn run(mut self) {
        let ended = match self.run_to_end().await {
            Ok(()) => self.expect.complete(),
            Err(why) => Err(why),
        };
        tell(&self.tell, self.streamtype, StreamEvent::Ended(ended));
    }

    async fn run_to_end(&mut self) -> Result<(), String> {
        loop {
            let opening = self.client.open(self.streamtype);
            let mut stream = opening.await.map_err(|error| error.to_string())?;
            match &self.send {
                Some(message) => stream.send_message(message.clone()).await,
                None => {
                    stream.connect();
                    Ok(())
                }
            }
            .map_err(|error| error.to_string())?;
            let end = self.watch(&mut stream).await;
            stream.close().await;
            if matches!(end?, StreamOutcome::Done) {
                return Ok(());
            }
        }
    }

    /// Takes events to the stream's end, or until enough came.
    async fn watch(&mut self, stream: &mut StreamHandle) -> Result<StreamOutcome, String> {
        let mut acknowledged = false;
        let mut disconnected = false;
        let mut until = None;
        loop {
            let event = tokio::select! {
                () = stop(&mut self.stopped) => return Ok(StreamOutcome::Done),
                event = next(stream, until) => match event {
                    Ok(event) => event.ok_or("the stream is gone")?,
                    Err(_) if acknowledged => return Ok(StreamOutcome::Done),
                    Err(_) => return Err("ended with DISCONNECTED".to_owned()),
                },
            };
            match event {
                Event::State { state, .. } => {
                    self.tell(StreamEvent::State(state));
                    match state {
                        State::QosAckRemote => {
                            acknowledged = true;
                            until = Some(Instant::now() + LAST_STATE_WAIT);
                        }
                        State::Disconnected | State::UpstreamLinkRetry if acknowledged => {
                            return Ok(StreamOutcome::Done);
                        }
                        // If only the way to the proxy was lost, the next state says so.
                        State::Disconnected => {
                            disconnected = true;
                            until = Some(Instant::now() + REASON_WAIT);
                        }
                        // The client makes the stream again, and its connection, which brings all
                        // from the beginning.
                        State::UpstreamLinkRetry => {
                            if self.send.is_some() {
                                return Ok(StreamOutcome::Lost);
                            }
                            (disconnected, until) = (false, None);
                            self.expect.restart();
                            self.messages = 0;
                        }
                        State::QosNackRemote | State::AllRetriesFailed | State::Destroying => {
                            return Err(format!("ended with {state}"));
                        }
                        _ if disconnected => return Err("ended with DISCONNECTED".to_owned()),
                        _ => {}
                    }
                }
                Event::Payload { data, flags, .. } => self.take(&data, flags)?,
                Event::Metadata { name, value } => self.tell(StreamEvent::Metadata(name, value)),
                Event::Refused { result } => return Err(format!("refused: {result}")),
                Event::Fault(fault) => return Err(fault.to_string()),
                _ => {}
            }
        }
    }

    /// Judges payload.
    fn take(&mut self, data: &[u8], flags: Flags) -> Result<(), String> {
        match self.expect.feed(data, flags)? {
            Checked::Bytes => self.tell(StreamEvent::Payload { bytes: data.len() as u64, flags }),
            Checked::Part => {}
            Checked::Message(text) => {
                let (number, bytes) = (self.messages, text.len() as u64);
                self.messages += 1;
                self.tell(StreamEvent::Message { number, bytes, text });
            }
        }
        Ok(())
    }

    fn tell(&self, what: StreamEvent) {
        tell(&self.tell, self.streamtype, what);
    }
}

fn tell(to: &UnboundedSender<DemoEvent>, streamtype: &'static str, what: StreamEvent) {
    // Fails only when the demo is over.
    let _ = to.send(DemoEvent { at: Instant::now(), kind: EventKind::Stream(streamtype, what) });
}

/// The next event; an error when the time is over.
async fn next(stream: &mut StreamHandle, until: Option<Instant>) -> Result<Option<Event>, Elapsed> {
    match until {
        Some(until) => timeout_at(until, stream.next()).await,
        None => Ok(stream.next().await),
    }
}

/// Ready when the stream is to stop.
async fn stop(stopped: &mut Option<oneshot::Receiver<()>>) {
    match stopped {
        // Dropped or used, both mean it.
        Some(stopped) => drop(stopped.await),
        None => pending().await,
    }
}
