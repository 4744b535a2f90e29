//! One stream from its opening to its end, shown as it happens.

use std::time::Duration;

use sspc::tokio::{Event, Flags, State, StreamHandle};
use tokio::time::{Instant, timeout_at};

use super::expect::{Expect, Seen};
use super::screen::{Screen, time};
use super::stage::Stage;
use crate::terminal::{Style, printable, rate, size};

/// An act that takes longer has failed.
pub(super) const ACT_MAX: Duration = Duration::from_secs(30);

/// How long the last state may follow the acknowledgement.
const LAST_STATE_WAIT: Duration = Duration::from_millis(300);

/// Messages that are shown before the rest is only counted.
const MESSAGES_SHOWN: u64 = 3;

/// Of a long transfer, each time so many bytes came is shown: a part of the whole.
const PARTS: u64 = 4;

/// What an act does.
pub(super) struct Script {
    pub(super) streamtype: &'static str,
    /// Payload to send, as one message of known length.
    pub(super) send: Option<Vec<u8>>,
    /// Payload that must come.
    pub(super) expect: Expect,
    /// Bytes of a long transfer, to be shown in parts; 0 shows each payload.
    pub(super) long: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Take {
    pub(super) received: u64,
    /// SHA-256 of it, of a long transfer.
    pub(super) hash: Option<String>,
}

/// Plays it; the error says what went wrong.
pub(super) async fn play(
    stage: &Stage,
    screen: &mut Screen,
    script: Script,
) -> Result<Take, String> {
    let start = Instant::now();
    let deadline = start + ACT_MAX;
    let opening = stage.client.open(script.streamtype);
    let mut stream = within(deadline, opening).await?.map_err(|error| error.to_string())?;
    let sender = stream.sender();
    let sending = async {
        match script.send {
            Some(message) => sender.send_message(message).await,
            None => {
                sender.connect();
                Ok(())
            }
        }
    };
    let mut player = Player {
        screen,
        start,
        expect: script.expect,
        long: script.long,
        received: 0,
        part: 0,
        messages: 0,
        part_message: 0,
    };
    let (sent, ended) =
        tokio::join!(within(deadline, sending), within(deadline, player.watch(&mut stream)));
    let (received, expect) = (player.received, player.expect);
    stream.close().await;
    ended??;
    sent?.map_err(|error| error.to_string())?;
    Ok(Take { received, hash: expect.complete()? })
}

async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, String> {
    let late = |_| format!("not finished after {} s", ACT_MAX.as_secs());
    timeout_at(deadline, work).await.map_err(late)
}

struct Player<'a> {
    screen: &'a mut Screen,
    start: Instant,
    expect: Expect,
    long: u64,
    received: u64,
    /// Parts of a long transfer that were shown.
    part: u64,
    /// Messages that came whole.
    messages: u64,
    /// Bytes of the message that is on its way.
    part_message: u64,
}

impl Player<'_> {
    /// Takes events to the stream's end, or until enough came.
    async fn watch(&mut self, stream: &mut StreamHandle) -> Result<(), String> {
        let mut acknowledged: Option<Instant> = None;
        loop {
            let event = match acknowledged {
                None => stream.next().await,
                Some(at) => match timeout_at(at + LAST_STATE_WAIT, stream.next()).await {
                    Ok(event) => event,
                    Err(_) => return Ok(()),
                },
            };
            match event {
                Some(Event::State { state, .. }) => {
                    self.tell(&self.screen.paint(Style::State, state).to_string());
                    match state {
                        State::QosAckRemote => acknowledged = Some(Instant::now()),
                        State::Disconnected if acknowledged.is_some() => return Ok(()),
                        State::Disconnected
                        | State::QosNackRemote
                        | State::AllRetriesFailed
                        | State::Destroying
                        | State::UpstreamLinkRetry => return Err(format!("ended with {state}")),
                        _ => {}
                    }
                }
                Some(Event::Payload { data, flags, .. }) => {
                    self.received += data.len() as u64;
                    self.part_message += data.len() as u64;
                    let seen = self.expect.feed(&data, flags)?;
                    self.show_payload(&data, flags, &seen);
                    if matches!(seen, Seen::Enough(_)) {
                        return Ok(());
                    }
                }
                Some(Event::Metadata { name, value }) => {
                    let value = String::from_utf8_lossy(&value);
                    self.tell(&format!("metadata {}: {}", printable(&name), printable(&value)));
                }
                Some(Event::Refused { result }) => return Err(format!("refused: {result}")),
                Some(Event::Fault(fault)) => return Err(fault.to_string()),
                Some(_) => {}
                None => return Err("the stream is gone".to_owned()),
            }
        }
    }

    fn show_payload(&mut self, data: &[u8], flags: Flags, seen: &Seen) {
        match seen {
            Seen::Message(Some(text)) | Seen::Enough(Some(text)) => {
                self.messages += 1;
                let len = std::mem::take(&mut self.part_message);
                let last = matches!(seen, Seen::Enough(_));
                if self.messages == MESSAGES_SHOWN + 1 && !last {
                    self.tell("…");
                } else if self.messages <= MESSAGES_SHOWN || last {
                    self.tell(&format!("payload {len} B {text}"));
                }
            }
            _ if self.long > 0 => {
                let part = self.received * PARTS / self.long;
                if part > self.part {
                    self.part = part;
                    let rate = rate(self.received, self.start.elapsed());
                    let (came, all) = (size(self.received), size(self.long));
                    self.tell(&format!("payload {came} of {all}, {rate}"));
                }
            }
            _ => self.tell(&format!("payload {} B, {flags}", data.len())),
        }
    }

    fn tell(&mut self, what: &str) {
        let time = format!("{:>11}", time(self.start.elapsed()));
        let time = self.screen.paint(Style::Dim, time);
        let line = format!("{time}  {what}");
        self.screen.line(&line);
    }
}
