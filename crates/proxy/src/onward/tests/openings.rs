//! Connections that are being opened for several streams at once.

use std::time::Duration;

use sspc_policy::Protocol;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::support::*;
use crate::onward::Onward;

/// The opening of an h2 connection went on for 20 s when all streams had left that it was for; so did
/// the look-up of its name. 3,000 opens and closes left 3,000 of them.
#[tokio::test]
async fn what_is_opened_goes_on_while_a_stream_wants_it_and_no_longer() {
    let onward = Onward::new(config_with(|c| c.timeouts.connect = Duration::from_secs(3600)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut policy = stream(Protocol::H2, listener.local_addr().unwrap());
    policy.tls = true;
    let running: Vec<_> = (0..3).map(|_| onward.start(attempt(&policy))).collect();
    let (mut link, _) = listener.accept().await.unwrap();
    // The peer says nothing to the first part of the handshake.
    let mut hello = vec![0; 4096];
    assert!(link.read(&mut hello).await.unwrap() > 0);
    let mut running = running.into_iter();
    drop(running.next());
    drop(running.next());
    let moment = Duration::from_millis(50);
    assert!(timeout(moment, link.read(&mut hello)).await.is_err(), "one still waits");
    drop(running.next());
    let closed = async { while link.read(&mut hello).await.is_ok_and(|length| length > 0) {} };
    timeout(PATIENCE, closed).await.expect("the connection is given up");
    // The next stream begins again.
    let again = onward.start(attempt(&policy));
    timeout(PATIENCE, listener.accept()).await.expect("another connection").unwrap();
    drop(again);
}
