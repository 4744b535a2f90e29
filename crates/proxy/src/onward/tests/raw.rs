//! Bytes as they are.

use bytes::Bytes;
use sspc_policy::Protocol;
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::support::*;
use crate::onward::TxChunk;

#[tokio::test]
async fn raw_streams_carry_bytes_both_ways() {
    let server = Server::scripted(|_, mut socket| async move {
        let mut buffer = [0; 5];
        socket.read_exact(&mut buffer).await.unwrap();
        socket.write_all(&buffer).await.unwrap();
    })
    .await;
    let mut running = onward().start(attempt(&stream(Protocol::Raw, server.address)));
    let chunk = TxChunk::new(Bytes::from_static(b"hello"), Flags::NONE);
    running.body.send(chunk).await.unwrap();
    let report = report(&mut running.events).await;
    assert_eq!(report.order, ["Connected", "Payload"]);
    assert_eq!((report.text(), &*report.flags), ("hello", &[0][..]));
    assert_eq!(report.loss(), "the peer closed");
}

/// What waits goes out, and what the peer says to its end comes in.
#[tokio::test]
async fn a_stream_that_is_to_leave_lets_its_peer_finish() {
    let server = Server::scripted(|_, mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        all.extend_from_slice(b", bye");
        socket.write_all(&all).await.unwrap();
    })
    .await;
    let mut running = onward().start(attempt(&stream(Protocol::Raw, server.address)));
    let chunk = TxChunk::new(Bytes::from_static(b"hello"), Flags::NONE);
    running.body.send(chunk).await.unwrap();
    running.body = mpsc::channel(1).0;
    let report = report(&mut running.events).await;
    assert_eq!(report.text(), "hello, bye");
    assert_eq!(report.loss(), "the peer closed");
}

#[tokio::test]
async fn a_peer_that_does_not_close_is_not_waited_for() {
    let server = Server::scripted(|_, mut socket| async move {
        socket.write_all(b"hello").await.unwrap();
        std::future::pending().await
    })
    .await;
    let mut running = onward().start(attempt(&stream(Protocol::Raw, server.address)));
    running.body = mpsc::channel(1).0;
    let report = report(&mut running.events).await;
    assert_eq!(report.text(), "hello");
    assert_eq!(report.loss(), "the proxy left");
}
