//! Is there a way to the Internet, or a captive portal in front of it?
//!
//! The policy's streamtype `captive_portal_detect` is asked at start, and when a message
//! `{"trigger":"cpdcheck"}` comes on the bus. What it found goes to the log and to the bus. The request
//! goes the way of streams, proxies on the way out included.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sspc_policy::StreamType;
use sspc_wire::smd::Classes;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{Instrument as _, debug, info, warn, warn_span};

use crate::identity::Identity;
use crate::onward::{Attempt, End, Event, FailureKind};
use crate::server::{Shared, lock};

/// The streamtype.
const NAME: &str = "captive_portal_detect";
/// From one check to the next; triggers in between make one.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How long a request may take, unless the policy has a `timeout_ms`.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Internet,
    Portal,
    Nothing,
}

impl Found {
    /// As the bus has it.
    const fn word(self) -> &'static str {
        match self {
            Self::Internet => "OK",
            Self::Portal => "Captive",
            Self::Nothing => "No internet",
        }
    }
}

/// Checks at start and whenever it is asked for, for ever.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut asked = shared.smd.subscribe(Classes::NETWORK);
    loop {
        let next = Instant::now() + CHECK_EVERY;
        let mut checking = pin!(async {
            check(&shared).instrument(warn_span!("captive portal")).await;
            sleep_until(next).await;
        });
        let (mut is_over, mut is_asked) = (false, false);
        while !is_over || !is_asked {
            tokio::select! {
                message = asked.recv() => is_asked |= is_trigger(&message.text),
                () = &mut checking, if !is_over => is_over = true,
            }
        }
    }
}

/// Whether a message asks for a check.
fn is_trigger(text: &[u8]) -> bool {
    let message: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    message.is_some_and(|message| message["trigger"] == "cpdcheck")
}

/// Asks, and tells all who want to know. While there is nothing it asks again, as often as the
/// policy's `retry` says.
async fn check(shared: &Shared) {
    let policy = Arc::clone(&lock(&shared.policy));
    let Some(streamtype) = policy.streamtype(NAME) else {
        return debug!("the policy has no streamtype {NAME}");
    };
    if let Some(undone) = policy.refusal(streamtype) {
        return warn!("cannot look for a captive portal: {undone} has no meaning behind a proxy");
    }
    let mut failures = 0;
    loop {
        let found = ask(shared, streamtype).await;
        if found != Found::Nothing || failures == 0 {
            tell(shared, found);
        }
        failures += 1;
        match &streamtype.retry {
            Some(retry) if found == Found::Nothing && retry.allows(failures) => {
                let delay = retry.delay_ms(failures - 1, rand::random());
                sleep(Duration::from_millis(delay.into())).await;
            }
            _ => return,
        }
    }
}

fn tell(shared: &Shared, found: Found) {
    match found {
        Found::Internet => info!("there is a way to the Internet"),
        Found::Portal => warn!("a captive portal stands in the way to the Internet"),
        Found::Nothing => warn!("there is no way to the Internet"),
    }
    let text = format!(r#"{{"type":"cpd","result":"{}"}}"#, found.word());
    // So short a message is never refused.
    let _ = shared.smd.publish(Classes::NETWORK, text);
}

/// Asks once. An answer that the policy does not expect is not from whom it asked.
async fn ask(shared: &Shared, streamtype: &Arc<StreamType>) -> Found {
    let limit = match streamtype.timeout_ms {
        0 => ANSWER_MAX,
        ms => Duration::from_millis(ms.into()),
    };
    let mut attempt = shared.onward.start(Attempt {
        client: Identity::Proxy,
        account: shared.memory.open_account(Identity::Proxy),
        stream: Arc::clone(streamtype),
        chain: vec![Arc::clone(streamtype)],
        metadata: Vec::new(),
        length_hint: None,
        bus: Default::default(),
        record: Default::default(),
    });
    let answer = async {
        while let Some(event) = attempt.events.recv().await {
            match event {
                Event::Acked { .. } => return Found::Internet,
                Event::Nacked { .. } => return Found::Portal,
                Event::Ended(End::Failed(failure)) => {
                    debug!(%failure);
                    let is_portal = failure.kind == FailureKind::Portal;
                    return if is_portal { Found::Portal } else { Found::Nothing };
                }
                _ => {}
            }
        }
        Found::Nothing
    };
    timeout(limit, answer).await.unwrap_or(Found::Nothing)
}

#[cfg(test)]
mod tests;
