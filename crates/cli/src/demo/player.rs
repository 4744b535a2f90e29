//! One stream from its opening to its end, played by a task that tells what happens.

use std::future::pending;
use std::time::Duration;

use sspc::line::LineEvent;
use sspc::tokio::{Client, Event, Flags, State, StreamHandle};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::expect::{Expect, Seen};

/// How long the last state may follow the acknowledgement.
const LAST_STATE_WAIT: Duration = Duration::from_millis(300);

/// How long what tells why may follow DISCONNECTED.
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
pub(super) struct Told {
    pub(super) at: Instant,
    pub(super) what: What,
}

/// What happened.
pub(super) enum What {
    Link(LineEvent),
    /// To the stream of this streamtype.
    Stream(&'static str, Happened),
}

/// What happened to a stream.
pub(super) enum Happened {
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
    /// The stream's part is over; of a long transfer with its SHA-256.
    Ended(Result<Option<String>, String>),
}

/// The streams that are being played; dropped, they end.
pub(super) struct Players {
    tell: UnboundedSender<Told>,
    tasks: JoinSet<()>,
}

impl Players {
    pub(super) fn new(tell: UnboundedSender<Told>) -> Self {
        Self { tell, tasks: JoinSet::new() }
    }

    /// Plays a stream to its end.
    pub(super) fn play(&mut self, client: &Client, script: Script) {
        self.spawn(client, script, None);
    }

    /// Plays a stream that has no end of its own: until the sender is used or dropped.
    pub(super) fn play_on(&mut self, client: &Client, script: Script) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel();
        self.spawn(client, script, Some(stopped));
        stop
    }

    fn spawn(&mut self, client: &Client, script: Script, stopped: Option<oneshot::Receiver<()>>) {
        let Script { streamtype, send, expect } = script;
        let player = Player {
            client: client.clone(),
            tell: self.tell.clone(),
            streamtype,
            send,
            stopped,
            expect,
            messages: 0,
        };
        self.tasks.spawn(player.play());
    }
}

struct Player {
    client: Client,
    tell: UnboundedSender<Told>,
    streamtype: &'static str,
    send: Option<Vec<u8>>,
    stopped: Option<oneshot::Receiver<()>>,
    expect: Expect,
    /// Short messages since the stream was connected.
    messages: u64,
}

/// How a stream ended.
enum End {
    /// As it should.
    Done,
    /// The way to the proxy was lost, and nobody knows what became of the message.
    Lost,
}

impl Player {
    async fn play(mut self) {
        let ended = match self.play_to_end().await {
            Ok(()) => self.expect.complete(),
            Err(why) => Err(why),
        };
        tell(&self.tell, self.streamtype, Happened::Ended(ended));
    }

    async fn play_to_end(&mut self) -> Result<(), String> {
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
            if matches!(end?, End::Done) {
                return Ok(());
            }
        }
    }

    /// Takes events to the stream's end, or until enough came.
    async fn watch(&mut self, stream: &mut StreamHandle) -> Result<End, String> {
        let mut acknowledged = false;
        let mut disconnected = false;
        let mut until = None;
        loop {
            let event = tokio::select! {
                () = stop(&mut self.stopped) => return Ok(End::Done),
                event = next(stream, until) => match event {
                    Ok(event) => event.ok_or("the stream is gone")?,
                    Err(_) if acknowledged => return Ok(End::Done),
                    Err(_) => return Err("ended with DISCONNECTED".to_owned()),
                },
            };
            match event {
                Event::State { state, .. } => {
                    self.tell(Happened::State(state));
                    match state {
                        State::QosAckRemote => {
                            acknowledged = true;
                            until = Some(Instant::now() + LAST_STATE_WAIT);
                        }
                        State::Disconnected | State::UpstreamLinkRetry if acknowledged => {
                            return Ok(End::Done);
                        }
                        // If only the way to the proxy was lost, the next state says so.
                        State::Disconnected => {
                            disconnected = true;
                            until = Some(Instant::now() + REASON_WAIT);
                        }
                        // The client makes the stream anew, and its connection, which brings all
                        // from the beginning.
                        State::UpstreamLinkRetry => {
                            if self.send.is_some() {
                                return Ok(End::Lost);
                            }
                            (disconnected, until) = (false, None);
                            self.expect.begin_anew();
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
                Event::Metadata { name, value } => self.tell(Happened::Metadata(name, value)),
                Event::Refused { result } => return Err(format!("refused: {result}")),
                Event::Fault(fault) => return Err(fault.to_string()),
                _ => {}
            }
        }
    }

    /// Judges payload.
    fn take(&mut self, data: &[u8], flags: Flags) -> Result<(), String> {
        match self.expect.feed(data, flags)? {
            Seen::Bytes => self.tell(Happened::Payload { bytes: data.len() as u64, flags }),
            Seen::Part => {}
            Seen::Message(text) => {
                let (number, bytes) = (self.messages, text.len() as u64);
                self.messages += 1;
                self.tell(Happened::Message { number, bytes, text });
            }
        }
        Ok(())
    }

    fn tell(&self, what: Happened) {
        tell(&self.tell, self.streamtype, what);
    }
}

fn tell(to: &UnboundedSender<Told>, streamtype: &'static str, what: Happened) {
    // If nobody listens any more the demo is over.
    let _ = to.send(Told { at: Instant::now(), what: What::Stream(streamtype, what) });
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
