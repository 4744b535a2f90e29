//! What a session and an attempt say to each other, whatever the protocol.
//!
//! An [`Attempt`] goes in. Out come [`Event`]s, the last of which is [`Event::Ended`]; payload goes
//! the other way in [`TxChunk`]s. A session asks a protocol nothing else.

mod failure;
pub(crate) mod queue;

use std::sync::Arc;

use bytes::Bytes;
#[cfg(test)]
use sspc_policy::Protocol;
use sspc_policy::{Instead, StreamType, Target};
use sspc_wire::Flags;
use sspc_wire::smd::Classes;

pub(crate) use self::failure::{Failure, FailureKind, Whose};
use self::queue::SessionGone;
use crate::identity::Identity;
use crate::memory::{Account, Held};
use crate::observe::Record;

/// What one connection attempt is made from; values as they are when it starts.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Whose stream it is.
    pub(crate) client: Identity,
    /// Where what waits is charged.
    pub(crate) account: Arc<Account>,
    /// The policy's settings of the stream.
    pub(crate) stream: Arc<StreamType>,
    /// The stream's own settings and those of its rideshare chain, in order; for multipart bodies.
    pub(crate) chain: Vec<Arc<StreamType>>,
    /// The client's metadata by the policy's name.
    pub(crate) metadata: Vec<(String, Bytes)>,
    /// Bytes of payload that the client announced for the next message.
    pub(crate) length_hint: Option<u32>,
    /// For the message bus.
    pub(crate) bus: BusRights,
    /// What observers see of it.
    pub(crate) record: Record,
}

/// Which classes of system messages pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BusRights {
    /// To the client: those that it wants and may get.
    pub(crate) gets: Classes,
    /// From the client.
    pub(crate) sends: Classes,
}

/// Payload from the client, in the order it came.
#[derive(Debug)]
pub(crate) struct TxChunk {
    /// The payload; may be empty if it only carries flags.
    pub(crate) bytes: Bytes,
    /// [`Flags::SOM`] and [`Flags::EOM`] tell where a message begins and ends.
    pub(crate) flags: Flags,
    /// With the first of a message, for protocols that send each message by settings of its own.
    pub(crate) settings: Option<Arc<MessageSettings>>,
}

impl TxChunk {
    /// Without settings of its own.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) const fn new(bytes: Bytes, flags: Flags) -> Self {
        Self { bytes, flags, settings: None }
    }
}

/// What the client had set when it began a message.
#[derive(Debug)]
pub(crate) struct MessageSettings {
    /// The client's metadata by the policy's name.
    pub(crate) metadata: Vec<(String, Bytes)>,
    /// Bytes of payload that it announced for this message.
    pub(crate) length_hint: Option<u32>,
    /// For the metadata.
    pub(crate) held: Held,
}

/// What a running attempt reports, in the order in which the client must get it.
#[derive(Debug)]
pub(crate) enum Event {
    /// Response metadata by the policy's name, in the order to send; before what it belongs to.
    Metadata(Vec<(String, Bytes)>),
    /// JSON about how the connection came about; at most one an attempt.
    Perf(String),
    /// A state that the policy's `http_resp_map` makes of the response's status.
    UserState(u32),
    /// The peer takes this many more bytes of payload.
    TxCredit(i32),
    /// The peer is there, or gets the request; at most one an attempt.
    Connected {
        /// What the attempt does with the client's payload.
        takes: Takes,
    },
    /// Payload from the peer. Where the end of a message is known, EOM is on its last payload, else
    /// it comes with an empty one.
    Payload {
        /// The payload, at most [`PAYLOAD_EVENT_MAX`] bytes.
        bytes: Bytes,
        /// SOM, EOM and the RELATED pair.
        flags: Flags,
    },
    /// The peer took the message, or the transaction ended well.
    Acked {
        /// Nothing more of the client's payload belongs to this attempt.
        ends_transaction: bool,
    },
    /// The peer refused the message, or the transaction ended badly.
    Nacked {
        /// Nothing more of the client's payload belongs to this attempt.
        ends_transaction: bool,
    },
    /// The attempt is over; always the last event.
    Ended(End),
}

/// What a connected attempt does with the client's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// It takes none: the request has no body, and the response is there.
    Nothing,
    /// It takes one message, the request's body. That the peer is of use shows only when it
    /// answers.
    Message,
    /// It takes messages, one after the other, until either side leaves.
    Messages,
    /// It takes bytes without bounds between them, until either side leaves.
    Bytes,
}

/// The most payload in one [`Event::Payload`].
pub(crate) const PAYLOAD_EVENT_MAX: usize = 16 * 1024;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The transaction is complete: a verdict that ends it was given.
    Complete,
    /// Before Connected the attempt failed; after it, the connection is gone before a transaction
    /// was complete, which for ws and raw is the ordinary end.
    Failed(Failure),
}

impl From<SessionGone> for End {
    fn from(SessionGone: SessionGone) -> Self {
        End::Failed(Failure::session_gone())
    }
}

/// What attempts say in tests.
#[cfg(test)]
impl Event {
    /// What an attempt of this streamtype says when its peer is there.
    pub(crate) fn connected(stream: &StreamType) -> Self {
        let takes = match stream.http.method.as_str() {
            _ if stream.protocol == Protocol::Raw => Takes::Bytes,
            _ if !stream.protocol.is_http() => Takes::Messages,
            "POST" | "PUT" | "PATCH" => Takes::Message,
            _ => Takes::Nothing,
        };
        Event::Connected { takes }
    }

    pub(crate) fn acked() -> Self {
        Event::Acked { ends_transaction: true }
    }

    pub(crate) fn nacked() -> Self {
        Event::Nacked { ends_transaction: true }
    }

    pub(crate) fn failed(kind: FailureKind) -> Self {
        Event::Ended(End::Failed(Failure::new(kind, kind.label())))
    }
}

impl Attempt {
    /// The value of a metadata item for `${name}`: empty if declared and unset, `None` if the
    /// policy does not declare it.
    pub(crate) fn lookup<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.lookup_in(&self.metadata, name)
    }

    /// The same of other values of the client than those that it had at the beginning.
    pub(crate) fn lookup_in<'a>(
        &self,
        metadata: &'a [(String, Bytes)],
        name: &str,
    ) -> Option<&'a [u8]> {
        self.stream.metadata_item(name)?;
        Some(value_in(metadata, name).map_or(&[], |value| value))
    }

    /// What the client set this item to.
    pub(crate) fn value(&self, name: &str) -> Option<&Bytes> {
        value_in(&self.metadata, name)
    }

    /// Where the policy and the metadata say to connect.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        if let Some(undone) = self.stream.undone().find(|undone| undone.instead == Instead::Fails) {
            let why = format!("{undone} has no meaning behind a proxy: {}", undone.why);
            return Err(Failure::new(FailureKind::Policy, why));
        }
        Target::resolve(&self.stream, |name| self.lookup(name))
            .map_err(|error| Failure::new(FailureKind::Request, format!("endpoint: {error}")))
    }
}

fn value_in<'a>(metadata: &'a [(String, Bytes)], name: &str) -> Option<&'a Bytes> {
    metadata.iter().find(|(given, _)| given == name).map(|(_, value)| value)
}
