//! What clients see of the knobs for system messages.

use std::time::Duration;

use bytes::Bytes;
use sspc_policy::Policy;
use sspc_wire::smd::STREAMTYPE;
use sspc_wire::{Flags, State};
use tokio::time::{sleep, timeout};

use super::support::{Client, Seen};
use crate::{Classes, Config, Proxy, Subscription};

/// After so long all is done that needs no waiting.
const MOMENT: Duration = Duration::from_millis(1);

fn proxy(mut config: Config) -> Proxy {
    config.policy = Policy::default().into();
    Proxy::new(config).unwrap()
}

/// How many messages there are until none comes for a moment.
async fn count(messages: &mut Subscription) -> u64 {
    let mut count = 0;
    while timeout(MOMENT, messages.recv()).await.is_ok() {
        count += 1;
    }
    count
}

/// How many of the messages come that nobody has taken.
pub(super) async fn waiting_messages(config: Config) -> u64 {
    let smd = proxy(config).handle().smd();
    let mut messages = smd.subscribe(Classes::NETWORK);
    for _ in 0..1_000 {
        smd.publish(Classes::NETWORK, Bytes::new()).unwrap();
    }
    count(&mut messages).await
}

/// How long the messages have waited that come, in ms.
pub(super) async fn age_of_messages(mut config: Config) -> u64 {
    config.limits.smd_queue = 1_000_000;
    let smd = proxy(config).handle().smd();
    let mut messages = smd.subscribe(Classes::NETWORK);
    for _ in 0..12_000 {
        sleep(Duration::from_millis(1)).await;
        smd.publish(Classes::NETWORK, Bytes::new()).unwrap();
    }
    // The newest waits no time at all.
    let mut count = 0;
    while let Ok(_message) = timeout(Duration::ZERO, messages.recv()).await {
        count += 1;
    }
    count - 1
}

/// How many messages of a client come in a second, beside those that come at once.
pub(super) async fn messages_of_a_second(config: Config) -> u64 {
    let at_once = config.limits.smd_queue as u64;
    let proxy = proxy(config);
    let mut messages = proxy.handle().smd().subscribe(Classes::NETWORK);
    let (mut client, _) = Client::over_pipe(&proxy, 4096);
    client.create(7, STREAMTYPE).await;
    client.until(Seen::State(State::Connected)).await;
    tokio::spawn(async move {
        let mut message = [0; 16];
        message[7] = Classes::NETWORK.bits() as u8;
        for _ in 0..3_000 {
            client.payload(&message, Flags::WHOLE).await;
        }
    });
    let mut count = 0;
    let counting = async {
        loop {
            messages.recv().await;
            count += 1;
        }
    };
    let _: Result<(), _> = timeout(Duration::from_micros(1_000_500), counting).await;
    count - at_once
}
