//! A client's stream on the bus.

use bytes::{Bytes, BytesMut};
use sspc_wire::Flags;
use sspc_wire::smd::{Classes, HEADER, Message, TEXT_MAX};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::bus::Member;
use super::{MessageTooLong, Smd};
use crate::onward::{
    Attempt, End, Event, EventSender, Failure, FailureKind, SessionGone, Takes, TxChunk,
};

/// The longest message with its head.
const MESSAGE_MAX: usize = HEADER + TEXT_MAX;

/// Joins a client to the bus until either leaves.
pub(crate) async fn run(
    smd: &Smd,
    attempt: &Attempt,
    out: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> End {
    // Before the client hears that it is there, so that it gets all from then on.
    let member = smd.join(&attempt.client, attempt.bus.gets);
    if out.event(Event::Connected { takes: Takes::Messages }).await.is_err() {
        return SessionGone.into();
    }
    tokio::select! {
        SessionGone = receive(&member, out) => SessionGone.into(),
        () = send(&member, attempt.bus.sends, chunks) => {
            End::Failed(Failure::new(FailureKind::Closed, "the proxy left the bus"))
        }
    }
}

/// Hands messages to the session as it takes them: what it does not take waits on the bus.
async fn receive(member: &Member, out: &EventSender) -> SessionGone {
    let mut has_logged = false;
    loop {
        if let Err(gone) = out.room().await {
            return gone;
        }
        let queued = member.recv().await;
        if !has_logged && member.lost() > 0 {
            // Once a stream: it may go on like that.
            has_logged = true;
            warn!("the client does not read its system messages in time and loses some");
        }
        let message = queued.message();
        let message = Message {
            class: message.class,
            timestamp_us: message.timestamp_us,
            text: &message.text,
        };
        let mut bytes = [0; MESSAGE_MAX];
        let Some(length) = message.encode(&mut bytes) else { continue };
        let bytes = Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default());
        if let Err(gone) = out.payload(bytes, Flags::WHOLE).await {
            return gone;
        }
    }
}

/// Takes the client's messages until the session has no more.
async fn send(member: &Member, allowed: Classes, mut chunks: mpsc::Receiver<TxChunk>) {
    let mut inbox = Inbox::default();
    while let Some(chunk) = chunks.recv().await {
        let Some((length, message)) = inbox.add(&chunk) else { continue };
        member.turn().await;
        if let Err(why) = publish(member, allowed, length, &message)
            && !std::mem::replace(&mut inbox.has_logged, true)
        {
            // Once a stream: a client can send such messages without end.
            warn!("the client's system message is refused: {why}");
        }
    }
}

/// Why a client's message is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("{0} bytes, its head has {HEADER}")]
    Short(usize),
    #[error("the access file does not let it send {0}")]
    Class(Classes),
    #[error(transparent)]
    Long(#[from] MessageTooLong),
}

fn publish(member: &Member, allowed: Classes, length: usize, bytes: &[u8]) -> Result<(), Refused> {
    let Some(message) = Message::decode(bytes) else {
        member.refuse();
        return Err(Refused::Short(length));
    };
    if message.class.intersection(allowed) != message.class {
        member.refuse();
        return Err(Refused::Class(message.class));
    }
    if length > MESSAGE_MAX {
        member.refuse();
        return Err(MessageTooLong(length - HEADER).into());
    }
    debug!(class = %message.class, bytes = message.text.len(), "system message");
    Ok(member.publish(message.class, Bytes::copy_from_slice(message.text))?)
}

/// Joins the pieces of messages.
#[derive(Debug, Default)]
struct Inbox {
    bytes: BytesMut,
    /// Of the whole message, of which no more is kept than one may have.
    length: usize,
    has_logged: bool,
}

impl Inbox {
    /// Takes a piece; the message's length and what was kept of it, once it is whole.
    fn add(&mut self, chunk: &TxChunk) -> Option<(usize, BytesMut)> {
        if chunk.flags.contains(Flags::SOM) {
            self.bytes.clear();
            self.length = 0;
        }
        self.length = self.length.saturating_add(chunk.bytes.len());
        let room = MESSAGE_MAX - self.bytes.len();
        self.bytes.extend_from_slice(chunk.bytes.get(..room).unwrap_or(&chunk.bytes));
        let is_whole = chunk.flags.contains(Flags::EOM);
        is_whole.then(|| (std::mem::take(&mut self.length), std::mem::take(&mut self.bytes)))
    }
}
