//! Requests of the proxy's own: what it needs itself goes the way of streams, with their trust, their
//! ways out, their redirects and their limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_policy::StreamType;
use sspc_wire::Flags;
use tokio::time::timeout;

use super::{Attempt, End, Event, Failure, FailureKind, Onward, TxChunk};
use crate::identity::Identity;

/// What is added to a status to report it as a state.
const STATUS: u32 = 10_000;

/// A request.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) stream: StreamType,
    /// For its headers.
    pub(crate) metadata: Vec<(String, Bytes)>,
    pub(crate) body: Option<Bytes>,
    /// Most bytes of the answer's body.
    pub(crate) answer_max: usize,
    /// For all of it.
    pub(crate) limit: Duration,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) metadata: Vec<(String, Bytes)>,
    pub(crate) body: Vec<u8>,
}

impl Own {
    pub(crate) async fn ask(self, onward: &Arc<Onward>) -> Result<Answer, Failure> {
        let Self { mut stream, metadata, body, answer_max, limit } = self;
        stream.http.resp_map =
            (200..600).map(|status| (status, STATUS + u32::from(status))).collect();
        let length = body.as_ref().map(|body| u32::try_from(body.len()).unwrap_or(u32::MAX));
        let stream = Arc::new(stream);
        let attempt = Attempt {
            client: Identity::Proxy,
            account: onward.config.memory.open_account(Identity::Proxy),
            chain: vec![Arc::clone(&stream)],
            stream,
            bus: Default::default(),
            record: Default::default(),
            metadata,
            length_hint: length,
        };
        let asking = async {
            let mut handle = onward.start(attempt);
            if let Some(bytes) = body {
                let chunk = TxChunk { bytes, flags: Flags::SOM | Flags::EOM, settings: None };
                // If it takes none, what ended it comes as an event.
                let _ = handle.body.send(chunk).await;
            }
            let mut answer = Answer { status: 0, metadata: Vec::new(), body: Vec::new() };
            while let Some(event) = handle.events.recv().await {
                match event {
                    Event::UserState(state) => {
                        let status = state.checked_sub(STATUS);
                        answer.status =
                            status.and_then(|status| status.try_into().ok()).unwrap_or_default();
                    }
                    Event::Metadata(metadata) => answer.metadata = metadata,
                    Event::Payload { bytes, .. } => {
                        if answer.body.len() + bytes.len() > answer_max {
                            let why = format!("the answer is longer than {answer_max} bytes");
                            return Err(Failure::new(FailureKind::Protocol, why));
                        }
                        answer.body.extend_from_slice(&bytes);
                    }
                    Event::Ended(End::Complete) => return Ok(answer),
                    Event::Ended(End::Failed(failure)) => return Err(failure),
                    _ => {}
                }
            }
            Err(Failure::new(FailureKind::Internal, "the request ended without a word"))
        };
        timeout(limit, asking).await.unwrap_or_else(|_| {
            let why = format!("no complete answer within {} s", limit.as_secs_f32());
            Err(Failure::new(FailureKind::Silent, why))
        })
    }
}
