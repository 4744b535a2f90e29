//! Shadows of AWS IoT: what is published to one of their topics is answered at two others.

use std::sync::Arc;
use std::time::Duration;

use sspc_mqtt::Qos;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::core::Joining;
use super::link::Place;
use super::receive_message;
use crate::onward::attempt::queue::EventSender;
use crate::onward::{Attempt, Failure};

/// Topics whose messages are answered.
const REQUESTS: [&[u8]; 2] = [b"$aws/things/+/shadow/+", b"$aws/things/+/shadow/name/+/+"];
/// Where the answers are, behind the topic.
const ANSWERS: [&[u8]; 2] = [b"/accepted", b"/rejected"];

/// Whether a message to this topic is answered.
pub(super) fn is_request(topic: &[u8]) -> bool {
    REQUESTS.iter().any(|filter| sspc_mqtt::topic::matches(filter, topic))
}

/// The answer to one message, which goes to the client when it comes. Dropping it gives up waiting.
#[derive(Debug)]
pub(super) struct Answer {
    waiting: JoinHandle<()>,
}

impl Answer {
    /// Subscribes to the answers to what is published to this topic, and waits until that is granted:
    /// then it may be published. The answer may take this long.
    pub(super) async fn to(
        topic: &[u8],
        place: &Place,
        attempt: &Attempt,
        out: &EventSender,
        turn: &Arc<Mutex<()>>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let mut places = Vec::with_capacity(ANSWERS.len());
        for answer in ANSWERS {
            let joining = Joining {
                client: attempt.client.clone(),
                account: Arc::clone(&attempt.account),
                filter: Some(([topic, answer].concat(), Qos::AtLeastOnce)),
            };
            match place.join(joining) {
                Some(place) => places.push(place),
                None => return Err(place.ended().await),
            }
        }
        for place in &mut places {
            place.ready().await?;
        }
        let (out, turn) = (out.clone(), Arc::clone(turn));
        let waiting = async move {
            let [accepted, rejected] = &places[..] else { return };
            let answered = async {
                tokio::select! {
                    () = accepted.arrived() => accepted,
                    () = rejected.arrived() => rejected,
                }
            };
            if let Ok(place) = timeout(limit, answered).await {
                // Without a connection or a session there is nobody to tell.
                let _ = receive_message(place, &out, &turn).await;
            }
        };
        Ok(Self { waiting: tokio::spawn(waiting) })
    }

    /// Ready when the answer has come, or does not come any more.
    pub(super) async fn done(&mut self) {
        // It does not panic, and is aborted by its drop alone.
        let _ = (&mut self.waiting).await;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_messages_to_shadows_and_answers_are_none() {
        for topic in ["$aws/things/lamp/shadow/update", "$aws/things/lamp/shadow/name/x/get"] {
            assert!(is_request(topic.as_bytes()), "{topic}");
        }
        for topic in [
            "$aws/things/lamp/shadow/update/accepted",
            "$aws/things/lamp/shadow/name/x/get/rejected",
            "$aws/things/lamp/jobs/get",
            "aws/things/lamp/shadow/update",
        ] {
            assert!(!is_request(topic.as_bytes()), "{topic}");
        }
    }
}
