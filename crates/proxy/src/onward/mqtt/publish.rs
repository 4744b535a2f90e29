//! From the session to the broker: a stream's messages, and what became of them.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use sspc_mqtt::{Message, Outcome, PublishError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::core::Verdict;
use super::joiner::{Joiner, Step};
use super::link::Place;
use super::params::{expand_topic, qos};
use super::shadow::{self, Answer};
use crate::memory::Way;
use crate::onward::attempt::queue::{EventSender, SessionGone};
use crate::onward::{
    Attempt, CLOSE_WAIT, End, Event, Failure, FailureKind, MessageSettings, OnwardConfig, TxChunk,
};

/// Messages of one stream that may be on their way at a time.
const WINDOW: usize = 16;
/// The longest topic that AWS IoT takes, in bytes.
const AWS_TOPIC_MAX: usize = 256;

/// The sending half of a stream.
pub(super) struct Publisher<'a> {
    attempt: &'a Attempt,
    place: &'a Place,
    out: &'a EventSender,
    joiner: Joiner,
    /// The longest message, in bytes.
    max: usize,
    /// For a message to the client.
    turn: &'a Arc<Mutex<()>>,
    /// The message that was published last waits for it.
    answer: Option<Answer>,
    answer_max: Duration,
    /// How long a message may wait for its rest while there is no memory for it.
    starving_max: Duration,
    /// What came of the client's messages, in order.
    pending: VecDeque<Pending>,
}

/// A message that its client has not heard of.
enum Pending {
    Sent(oneshot::Receiver<Verdict>),
    /// It was not sent, and the log says why.
    Refused,
}

/// What became of one; `None` if the connection ended first.
type Fate = Option<Verdict>;

impl Pending {
    async fn fate(&mut self) -> Fate {
        match self {
            Pending::Sent(verdict) => verdict.await.ok(),
            Pending::Refused => Some(Err(PublishError::NotConnected)),
        }
    }
}

impl<'a> Publisher<'a> {
    pub(super) fn new(
        attempt: &'a Attempt,
        config: &OnwardConfig,
        place: &'a Place,
        out: &'a EventSender,
        turn: &'a Arc<Mutex<()>>,
    ) -> Self {
        let max = usize::try_from(config.limits.mqtt_message).unwrap_or(usize::MAX);
        Self {
            attempt,
            place,
            out,
            joiner: Joiner::new(Arc::clone(&attempt.account), max),
            max,
            turn,
            answer: None,
            answer_max: config.timeouts.response,
            starving_max: config.timeouts.mqtt_ack,
            pending: VecDeque::new(),
        }
    }

    /// Publishes all that comes out of `chunks`, and reports what becomes of it. At their end it waits
    /// a little for what is still on its way.
    pub(super) async fn run(&mut self, mut chunks: mpsc::Receiver<TxChunk>) -> End {
        match self.publish_all(&mut chunks).await {
            Ok(()) => {}
            Err(end) => return end,
        }
        let rest = async {
            while !self.pending.is_empty() {
                let fate = front(&mut self.pending).await;
                self.report(fate).await?;
            }
            Ok::<(), SessionGone>(())
        };
        match timeout(CLOSE_WAIT, rest).await {
            Ok(Err(gone)) => gone.into(),
            _ => End::Failed(Failure::new(FailureKind::Closed, "the proxy left")),
        }
    }

    async fn publish_all(&mut self, chunks: &mut mpsc::Receiver<TxChunk>) -> Result<(), End> {
        loop {
            let may_take = self.pending.len() < WINDOW && self.answer.is_none();
            tokio::select! {
                // What is known is reported before another message may wait for its turn.
                biased;
                fate = front(&mut self.pending) => self.report(fate).await?,
                chunk = chunks.recv(), if may_take => match chunk {
                    Some(chunk) => self.take(chunk).await?,
                    None => return Ok(()),
                },
                () = answered(&mut self.answer) => self.answer = None,
                () = sleep(self.starving_max), if self.joiner.is_within() => {
                    self.give_up_if_starving();
                }
            }
        }
    }

    async fn take(&mut self, chunk: TxChunk) -> Result<(), End> {
        match self.joiner.push(chunk) {
            Step::More => {}
            Step::TooLong => {
                let max = self.max;
                tracing::error!(
                    max,
                    "a message is refused: it is longer than messages to a broker may be; the limit \
                     mqtt_message can be raised"
                );
                self.refuse();
            }
            Step::Message { settings, payload } => {
                self.publish(settings.as_deref(), payload).await?;
            }
        }
        Ok(())
    }

    /// Half a message that nobody has memory for would be half a message for ever.
    fn give_up_if_starving(&mut self) {
        if !self.attempt.account.may_take(Way::Onward) {
            tracing::error!("a message is refused: the proxy has no memory for the rest of it");
            self.joiner.refuse();
            self.refuse();
        }
    }

    async fn publish(
        &mut self,
        settings: Option<&MessageSettings>,
        payload: Bytes,
    ) -> Result<(), End> {
        let mqtt = &self.attempt.stream.mqtt;
        let topic = match self.topic(settings) {
            Ok(topic) => topic,
            Err(why) => {
                tracing::warn!(why, "a message is refused");
                self.refuse();
                return Ok(());
            }
        };
        if mqtt.aws_iot && shadow::is_request(&topic) {
            let Self { place, attempt, out, turn, answer_max, .. } = *self;
            match Answer::to(&topic, place, attempt, out, turn, answer_max).await {
                Ok(answer) => self.answer = Some(answer),
                Err(failure) => {
                    tracing::warn!(why = failure.why, "a message is refused");
                    self.refuse();
                    return Ok(());
                }
            }
        }
        let message = Message { topic: &topic, payload, qos: qos(mqtt.qos), retain: mqtt.retain };
        let place = self.place;
        let mut publishing = pin!(place.publish(message));
        let verdict = loop {
            // Meanwhile others that are on their way are acknowledged.
            tokio::select! {
                biased;
                fate = front(&mut self.pending) => self.report(fate).await?,
                verdict = &mut publishing => break verdict.map_err(End::Failed)?,
            }
        };
        self.pending.push_back(Pending::Sent(verdict));
        Ok(())
    }

    /// Where a message goes, by the client's metadata when it began it.
    fn topic(&self, settings: Option<&MessageSettings>) -> Result<Vec<u8>, String> {
        let mqtt = &self.attempt.stream.mqtt;
        let Some(template) = &mqtt.topic else {
            return Err("its streamtype has no `mqtt_topic`".to_owned());
        };
        let metadata = settings.map_or(&self.attempt.metadata, |settings| &settings.metadata);
        let topic = expand_topic(self.attempt, metadata, template, "mqtt_topic")
            .map_err(|failure| failure.why)?;
        // Before a shadow's answers are subscribed to: a wildcard would bring those to others.
        sspc_mqtt::topic::check_name(&topic, "topic")
            .map_err(|error| format!("mqtt_topic: {error}"))?;
        if mqtt.aws_iot && topic.len() > AWS_TOPIC_MAX {
            let length = topic.len();
            return Err(format!(
                "mqtt_topic has {length} bytes, and AWS IoT takes {AWS_TOPIC_MAX} at most"
            ));
        }
        Ok(topic)
    }

    /// The message that came last hears NACK when its turn comes.
    fn refuse(&mut self) {
        self.pending.push_back(Pending::Refused);
    }

    /// Reports what is known of the messages that came first.
    pub(super) async fn report_known(&mut self) -> Result<(), SessionGone> {
        while let Some(fate) = front(&mut self.pending).now_or_never() {
            self.report(fate).await?;
        }
        Ok(())
    }

    async fn report(&mut self, fate: Fate) -> Result<(), SessionGone> {
        let is_refused = matches!(self.pending.pop_front(), Some(Pending::Refused));
        // The end of the connection is said elsewhere.
        let Some(verdict) = fate else { return Ok(()) };
        let ends_transaction = false;
        let why = match verdict {
            Ok(Outcome::Acked) => {
                return self.out.event(Event::Acked { ends_transaction }).await;
            }
            Ok(Outcome::Refused(reason)) => format!("the broker refuses it: {reason}"),
            Ok(Outcome::Unanswered) => "the broker has not acknowledged it in time".to_owned(),
            Err(error) => error.to_string(),
        };
        if !is_refused {
            tracing::warn!(why, "a message is not published");
        }
        self.out.event(Event::Nacked { ends_transaction }).await
    }
}

async fn answered(answer: &mut Option<Answer>) {
    match answer {
        Some(answer) => answer.done().await,
        None => std::future::pending().await,
    }
}

/// What became of the message that came first.
async fn front(pending: &mut VecDeque<Pending>) -> Fate {
    match pending.front_mut() {
        Some(first) => first.fate().await,
        None => std::future::pending().await,
    }
}
