//! Clients that do what their task is, and write down what they see.

use std::time::Duration;

use sspc_wire::{Flags, State, ToProxy};
use tokio::io::DuplexStream;
use tokio::time::{sleep, timeout};

use super::client::{Receiver, Sender, Until, content, describe, encode, halves, payload};
use super::client::{metadata, streamtype};
use crate::session::Peer;

/// What a client wants; it takes some seconds, so that others have time to do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The same small response three times, over h1 or h2.
    Get { h2: bool },
    /// A long response over h2 that is read slowly.
    SlowRead,
    /// A request over h2 that is answered late.
    LateAnswer,
    /// To send a message and get it back, over h1 or h2.
    Post { h2: bool },
    /// Websocket messages back and forth.
    Ws,
    /// The same without a protocol.
    Raw,
    /// A server that is not there.
    NoServer,
    /// A streamtype that the policy does not have.
    Unknown,
}

/// Bytes that [`Task::SlowRead`] gets and [`Task::Post`] sends.
pub(super) const LONG: usize = 100_000;
/// Times that something short is done.
const ROUNDS: usize = 3;
/// How long a client waits for the end of its task, which takes some seconds.
const TASK_MAX: Duration = Duration::from_secs(300);
/// Between two things that a client does.
const PAUSE: Duration = Duration::from_millis(1500);

impl Task {
    pub(super) const ALL: [Self; 10] = [
        Self::Get { h2: false },
        Self::Get { h2: true },
        Self::SlowRead,
        Self::LateAnswer,
        Self::Post { h2: false },
        Self::Post { h2: true },
        Self::Ws,
        Self::Raw,
        Self::NoServer,
        Self::Unknown,
    ];

    /// The streamtype of the task.
    fn name(self) -> &'static str {
        match self {
            Self::Get { h2: false } => "get",
            Self::Get { h2: true } => "get2",
            Self::SlowRead => "long2",
            Self::LateAnswer => "late2",
            Self::Post { h2: false } => "post",
            Self::Post { h2: true } => "post2",
            Self::Ws => "ws",
            Self::Raw => "raw",
            Self::NoServer => "nobody",
            Self::Unknown => "unheard-of",
        }
    }

    /// What a client of a proxy that works sees.
    pub(super) fn success(self) -> Vec<String> {
        let page = |name: &str, bytes: &[u8]| {
            let name = format!("server={name}");
            let message = describe("message", bytes);
            ["CONNECTING", &name, "CONNECTED", &message, "QOS_ACK_REMOTE", "DISCONNECTED"]
                .map(str::to_owned)
                .to_vec()
        };
        let sent = |name: &str, bytes: &[u8]| {
            let name = format!("server={name}");
            let message = describe("message", bytes);
            ["CONNECTING", "CONNECTED", &name, &message, "QOS_ACK_REMOTE", "DISCONNECTED"]
                .map(str::to_owned)
                .to_vec()
        };
        let texts = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        let echoes = || (0..ROUNDS).map(|round| describe("message", echo(round)));
        let rest: Vec<String> = match self {
            Self::Get { h2: false } => vec![page("h1", b"hello"); ROUNDS].concat(),
            Self::Get { h2: true } => vec![page("h2", b"hello"); ROUNDS].concat(),
            Self::SlowRead => page("h2", &content(LONG)),
            Self::LateAnswer => page("h2", b"late"),
            Self::Post { h2: false } => sent("h1", &content(LONG)),
            Self::Post { h2: true } => sent("h2", &content(LONG)),
            Self::Ws => texts(&["CONNECTING", "CONNECTED"]).into_iter().chain(echoes()).collect(),
            Self::Raw => vec![
                "CONNECTING".to_owned(),
                "CONNECTED".to_owned(),
                describe("bytes", &(0..ROUNDS).flat_map(echo).copied().collect::<Vec<_>>()),
            ],
            Self::NoServer => texts(&[
                "CONNECTING",
                "UNREACHABLE",
                "POLL",
                "CONNECTING",
                "UNREACHABLE",
                "ALL_RETRIES_FAILED",
            ]),
            Self::Unknown => return texts(&["created: 1", "closed"]),
        };
        let start = texts(&["created: 0", "CREATING"]);
        let end = texts(&["closed"]);
        [start, rest, end].concat()
    }
}

/// What is sent in a round to be echoed.
fn echo(round: usize) -> &'static [u8] {
    ["one", "the second one", "3"][round].as_bytes()
}

/// A user of the machine, as all honest clients are.
pub(super) fn user(uid: u32) -> Peer {
    Peer::Process { pid: Some(1), uid, gid: uid, is_abstract: false }
}

/// Does the task; what the client saw.
pub(super) async fn live(link: DuplexStream, task: Task) -> Vec<String> {
    let (mut sender, mut receiver) = halves(link);
    let all = async {
        sender.send(&streamtype(1, task.name())).await;
        if task != Task::Unknown {
            receiver.until(Until::State(State::Creating)).await;
            act(task, &mut sender, &mut receiver).await;
            sender.send(&encode(ToProxy::Destroying)).await;
        }
        receiver.until(Until::Closed).await;
    };
    let is_late = timeout(TASK_MAX, all).await.is_err();
    let mut record = receiver.into_record();
    if is_late {
        record.push("and nothing more".to_owned());
    }
    record
}

async fn act(task: Task, sender: &mut Sender, receiver: &mut Receiver) {
    match task {
        Task::Get { .. } => {
            sender.send(&metadata("note", b"short")).await;
            for _ in 0..ROUNDS {
                sleep(PAUSE).await;
                sender.connect().await;
                receiver.until(Until::State(State::Disconnected)).await;
            }
        }
        Task::SlowRead => {
            receiver.slow_down(2000);
            sender.connect().await;
            while !receiver.step(Until::State(State::Disconnected)).await {
                sleep(PAUSE / 30).await;
            }
        }
        Task::LateAnswer => {
            sender.connect().await;
            receiver.until(Until::State(State::Disconnected)).await;
        }
        Task::Post { .. } => {
            sender.connect().await;
            receiver.until(Until::State(State::Connected)).await;
            let sending = async {
                let bytes = content(LONG);
                let mut pieces = bytes.chunks(4000).peekable();
                let mut flags = Flags::SOM;
                while let Some(piece) = pieces.next() {
                    if pieces.peek().is_none() {
                        flags |= Flags::EOM;
                    }
                    sender.send(&payload(piece, std::mem::replace(&mut flags, Flags::NONE))).await;
                    sleep(PAUSE / 30).await;
                }
            };
            tokio::join!(sending, receiver.until(Until::State(State::Disconnected)));
        }
        Task::Ws | Task::Raw => {
            sender.connect().await;
            receiver.until(Until::State(State::Connected)).await;
            let mut bytes = 0;
            for round in 0..ROUNDS {
                sleep(PAUSE).await;
                sender.send(&payload(echo(round), Flags::WHOLE)).await;
                bytes += echo(round).len();
                let wanted = match task {
                    Task::Ws => Until::Messages(round + 1),
                    _ => Until::Bytes(bytes),
                };
                receiver.until(wanted).await;
            }
        }
        Task::NoServer => {
            sender.connect().await;
            receiver.until(Until::State(State::AllRetriesFailed)).await;
        }
        Task::Unknown => {}
    }
}
