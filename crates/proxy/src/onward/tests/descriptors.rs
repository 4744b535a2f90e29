//! Connections of a process that may open few descriptors.

use std::time::Duration;

use http::Response;
use sspc_policy::Protocol;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::support::*;
use crate::descriptors::Descriptors;
use crate::onward::{Event, Onward};

/// A connection that was kept for the next request kept its descriptor too, and everyone else failed.
#[tokio::test]
async fn connections_that_nobody_uses_give_their_descriptors_to_others() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let onward = Onward::new(config_with(|config| {
            config.descriptors = Descriptors::for_onward(1);
            config.timeouts.keep_warm = 100 * PATIENCE;
        }));
        for _ in 0..3 {
            let server =
                Server::http(protocol == Protocol::H2, |_| async { Response::new(full("hello")) })
                    .await;
            for _ in 0..2 {
                let report = run(&onward, attempt(&stream(protocol, server.address))).await;
                assert!(report.is_complete(), "{protocol:?}: {report:?}");
            }
            assert_eq!(server.accepted(), 1, "{protocol:?}: it is kept while nobody needs it");
        }
    }
}

#[tokio::test]
async fn a_connection_waits_for_a_descriptor() {
    let server = Server::scripted(|_, mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let onward = Onward::new(config_with(|config| {
        config.descriptors = Descriptors::for_onward(1);
        config.timeouts.connect = PATIENCE;
    }));
    let raw = stream(Protocol::Raw, server.address);
    let mut first = onward.start(attempt(&raw));
    assert!(matches!(first.events.recv().await, Some(Event::Connected { .. })));
    let mut second = onward.start(attempt(&raw));
    assert!(timeout(Duration::from_millis(20), second.events.recv()).await.is_err());
    drop(first);
    let event = timeout(PATIENCE, second.events.recv()).await.expect("there is one now");
    assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
}

#[tokio::test]
async fn a_connection_for_which_there_is_no_descriptor_fails_in_time_and_says_why() {
    let server = Server::answering(&[]).await;
    let descriptors = Descriptors::for_onward(1);
    let _held = descriptors.try_take(None).unwrap();
    let onward = Onward::new(config_with(|config| {
        config.descriptors = descriptors;
        config.timeouts.connect = Duration::from_millis(50);
    }));
    let raw = stream(Protocol::Raw, server.address);
    let report = timeout(PATIENCE, run(&onward, attempt(&raw))).await.expect("it waits for ever");
    let why = report.failure();
    assert!(why.contains("no descriptor is left"), "{why}");
    assert!(why.contains("the process may open 256; raise"), "{why}");
}
