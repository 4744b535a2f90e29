//! MQTT 3.1.1 and 5. A client's streams to one broker share a connection.
//!
//! ```text
//!  stream ─ Place ─┐
//!  stream ─ Place ─┼─ Link (Core: Session, who is owed what) ─ driver ─ socket
//!  stream ─ Place ─┘
//! ```
//!
//! The connection is a task of its own, which a stream's attempt begins and the end of its last
//! stream ends. An attempt joins the client's pieces to messages, hands them to the link, and reports
//! what became of each in the order in which they came; what the broker sends waits in the stream's
//! inbox until its client takes it.
//!
//! # Memory
//!
//! A message to the broker is held whole until it is acknowledged, charged on its stream's account;
//! one of more than `mqtt_message` is refused. One from the broker passes in pieces of at most
//! 16 KiB, so it may be as long as it likes. What waits in an inbox is charged, too; with more than
//! `mqtt_stream_window` in one of them the connection is not read, which stops streams of the same
//! client alone. Where clients share a connection a message that does not fit is left out instead.

mod core;
mod driver;
mod joiner;
mod kept;
mod link;
mod params;
mod pool;
mod publish;
mod shadow;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use sspc_wire::Flags;
use tokio::sync::{Mutex, mpsc};

use self::core::Joining;
use self::link::{Place, failure};
use self::params::{Key, Params, expand_topic, qos};
pub(crate) use self::pool::Pool;
use self::publish::Publisher;
use super::plan::Request;
use super::{
    Attempt, End, Event, Failure, FailureKind, Onward, OnwardConfig, Planned, Takes, TxChunk, ws,
};
use crate::onward::attempt::queue::{EventSender, SessionGone};
use crate::onward::connect::{Caller, Perf};

/// What a websocket that carries MQTT is called (MQTT 5 §6.0).
const WS_SUBPROTOCOL: &str = "mqtt";

/// Runs a stream's part of a connection.
pub(super) async fn run(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    out: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> End {
    let mut perf = Perf::default();
    let joined = Box::pin(join(onward, attempt, &mut perf)).await;
    attempt.record.connected(&perf);
    if attempt.stream.perf && out.event(Event::Perf(perf.json(None))).await.is_err() {
        return SessionGone.into();
    }
    let place = match joined {
        Ok(place) => place,
        Err(failure) => return End::Failed(failure),
    };
    if out.event(Event::Connected { takes: Takes::Messages }).await.is_err() {
        return SessionGone.into();
    }
    let turn = Arc::default();
    let mut publisher = Publisher::new(attempt, &onward.config, &place, out, &turn);
    let end = tokio::select! {
        end = receive(&place, out, &turn) => end,
        end = publisher.run(chunks) => end,
    };
    // What was acknowledged before the end was so.
    match publisher.report_known().await {
        Ok(()) => end,
        Err(gone) => gone.into(),
    }
}

/// Where the attempt leads, and the topics there.
pub(super) fn plan(config: &OnwardConfig, attempt: &Attempt) -> Result<Planned, Failure> {
    let params = Params::of(attempt, config)?;
    let mqtt = &attempt.stream.mqtt;
    let text = |topic: &[u8]| String::from_utf8_lossy(topic).into_owned();
    let mut topics = Vec::new();
    for (key, topic) in [("mqtt_topic", &mqtt.topic), ("mqtt_subscribe", &mqtt.subscribe)] {
        if let Some(topic) = topic {
            topics.push((key, text(&expand_topic(attempt, &attempt.metadata, topic, key)?)));
        }
    }
    for (key, message) in [("mqtt_will_topic", &params.will), ("mqtt_birth_topic", &params.birth)] {
        topics.extend(message.iter().map(|message| (key, text(&message.topic))));
    }
    let Key { route, ws_path, .. } = params.key;
    let request = match ws_path {
        Some(path) => {
            let headers = ws::pipe_headers(&route, &path, WS_SUBPROTOCOL)?;
            Some(Request { method: http::Method::GET, path, headers })
        }
        None => None,
    };
    Ok(Planned { route, request, topics })
}

async fn join(onward: &Arc<Onward>, attempt: &Attempt, perf: &mut Perf) -> Result<Place, Failure> {
    let params = Params::of(attempt, &onward.config)?;
    attempt.record.leads_to(&params.key.route);
    let mqtt = &attempt.stream.mqtt;
    let filter = match &mqtt.subscribe {
        Some(filter) => {
            let filter = expand_topic(attempt, &attempt.metadata, filter, "mqtt_subscribe")?;
            sspc_mqtt::topic::check_filter(&filter).map_err(|error| {
                Failure::new(FailureKind::Request, format!("mqtt_subscribe: {error}"))
            })?;
            Some((filter, qos(mqtt.qos)))
        }
        None => None,
    };
    let joining = || Joining {
        client: attempt.client.clone(),
        account: Arc::clone(&attempt.account),
        filter: filter.clone(),
    };
    let mut place = onward.mqtt.join(onward, &params, &Caller::of(attempt), joining).await?;
    let ready = place.ready().await;
    *perf = place.perf();
    ready.map(|()| place)
}

/// Hands on what the broker sends until the connection is over.
async fn receive(place: &Place, out: &EventSender, turn: &Mutex<()>) -> End {
    loop {
        place.arrived().await;
        if let Err(end) = receive_message(place, out, turn).await {
            return end;
        }
    }
}

/// Hands on a message. It is the turn of one message at a time.
async fn receive_message(place: &Place, out: &EventSender, turn: &Mutex<()>) -> Result<(), End> {
    let _turn = turn.lock().await;
    loop {
        out.memory().await;
        let piece = place.next().await.map_err(End::Failed)?;
        out.payload(piece.bytes, piece.flags).await?;
        if piece.flags.contains(Flags::EOM) {
            return Ok(());
        }
    }
}
