//! When a silent connection is pinged, and when it is given up. In virtual time.

use std::sync::Arc;
use std::time::Duration;

use sspc_policy::{Retry, StreamType};
use sspc_wire::Flags;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};

use super::support::{BUFLEN, Client, Seen, Server, stream};

fn policy(ping_s: u16, hup_s: u16) -> StreamType {
    let mut retry = Retry::NONE;
    retry.valid_ping_s = ping_s;
    retry.valid_hup_s = hup_s;
    let mut stream = stream();
    stream.retry = Some(Arc::new(retry));
    stream
}

async fn pair(stream: StreamType) -> (Client, Server<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut client = Client::over(ours, stream);
    let server = Server::upgrade(theirs, None).await;
    client.connected().await;
    (client, server)
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_and_then_ends_the_connection() {
    for (stream, ping, hangup) in [(policy(30, 35), 30, 35), (stream(), 300, 310)] {
        let start = Instant::now();
        let (mut client, mut server) = pair(stream).await;
        assert_eq!(server.next().await, Seen::Ping(Vec::new()));
        assert_eq!(start.elapsed(), Duration::from_secs(ping));
        let lost = client.lost().await;
        assert_eq!(start.elapsed(), Duration::from_secs(hangup));
        assert!(lost.contains(&format!("silent for {hangup}s")), "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_server_says_proves_that_it_is_there() {
    let (mut client, mut server) = pair(policy(30, 35)).await;
    for wire in [b"\x8a\x00".as_slice(), b"\x89\x00", b"\x82"] {
        let start = Instant::now();
        assert_eq!(server.next().await, Seen::Ping(Vec::new()), "{wire:x?}");
        assert_eq!(start.elapsed(), Duration::from_secs(30), "{wire:x?}");
        server.raw(wire).await;
        if wire[0] == 0x89 {
            assert_eq!(server.next().await, Seen::Pong(Vec::new()));
        }
    }
    let start = Instant::now();
    client.lost().await;
    assert_eq!(start.elapsed(), Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn without_a_ping_the_connection_is_dropped_all_the_same() {
    for (ping, hangup) in [(0, 20), (20, 20), (50, 20)] {
        let start = Instant::now();
        let (mut client, mut server) = pair(policy(ping, hangup)).await;
        assert!(client.lost().await.contains("silent"));
        assert_eq!(start.elapsed(), Duration::from_secs(20));
        assert_eq!(server.next().await, Seen::Close(Some(1000)), "no ping before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_can_switch_the_checks_off() {
    let (mut client, mut server) = pair(policy(30, 0)).await;
    assert!(timeout(Duration::from_secs(86_400), server.next()).await.is_err());
    server.binary(b"good morning").await;
    assert_eq!(client.message().await.bytes, b"good morning");
}

/// Time in which the session takes nothing says nothing about the server.
#[tokio::test(start_paused = true)]
async fn a_slow_session_does_not_cost_the_connection() {
    let (mut client, mut server) = pair(policy(30, 35)).await;
    let message = vec![1; 4 * BUFLEN];
    let writing = tokio::spawn(async move {
        server.binary(&message).await;
        server
    });
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(client.message().await.bytes.len(), 4 * BUFLEN);
    let mut server = writing.await.unwrap();
    client.send("still here", Flags::WHOLE).await;
    assert!(matches!(server.next().await, Seen::Message(..)));
}
