//! How long a server may be silent.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::once;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use sspc_policy::Protocol;
use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::onward::Onward;

#[tokio::test]
async fn a_silent_server_runs_out_of_time() {
    let server = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = config_with(|config| config.timeouts.response = Duration::from_millis(50));
    let policy = stream(Protocol::H1, server.address);
    let report = run(&Onward::new(config), attempt(&policy)).await;
    assert!(report.failure().contains("no response"));

    let server = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let config = config_with(|config| config.timeouts.body_idle = Duration::from_millis(50));
    let report = run(&Onward::new(config), attempt(&stream(Protocol::H1, server.address))).await;
    assert_eq!(report.order, ["Connected", "Payload"]);
    assert!(report.loss().contains("stopped"));
}

/// The headers of a poll are as much its answer as the body: a server withholds all of it until there
/// is something to tell.
#[tokio::test]
async fn a_long_poll_never_runs_out_of_time() {
    const SOON: Duration = Duration::from_millis(1);
    const LATER: Duration = Duration::from_millis(100);
    let server = Server::http(true, |_| async {
        tokio::time::sleep(LATER).await;
        let news = once(async {
            tokio::time::sleep(LATER).await;
            Ok(Frame::data(Bytes::from_static(b"news")))
        });
        Response::new(StreamBody::new(news).boxed())
    })
    .await;
    let config = config_with(|config| {
        config.timeouts.response = SOON;
        config.timeouts.body_idle = SOON;
    });
    let mut policy = stream(Protocol::H2, server.address);
    policy.http.long_poll = true;
    let report = run(&Onward::new(config.clone()), attempt(&policy)).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"], "{:?}", report.end);
    assert_eq!(report.text(), "news");

    policy.http.long_poll = false;
    let report = run(&Onward::new(config), attempt(&policy)).await;
    assert!(report.failure().contains("no response"));
}
