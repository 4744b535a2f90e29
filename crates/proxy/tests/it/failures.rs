//! Connections that do not come about, and how they are tried again.

use std::net::TcpListener;
use std::time::Duration;

use sspc::Timeout;
use sspc::tokio::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::nginx;
use crate::user::PATIENCE;
use crate::world::{Streamtype, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const GIVEN_UP: &str = "CREATING CONNECTING UNREACHABLE POLL CONNECTING UNREACHABLE \
                        POLL CONNECTING UNREACHABLE ALL_RETRIES_FAILED";

/// A port where nobody listens, as long as it is held.
fn refusing() -> (TcpListener, u16) {
    // Bound to another address of this host, so that nobody else gets the port here.
    let holder = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    (holder, port)
}

#[tokio::test]
async fn a_refused_connection_is_tried_as_often_as_the_policy_says() {
    let (_holder, port) = refusing();
    let world = World::with(|_, _| {
        vec![
            Streamtype::at("h1-none", port).retrying(),
            Streamtype::at("h2-none", port).h2().retrying(),
            Streamtype::at("ws-none", port).ws().retrying(),
            Streamtype::at("opportunistic", port).retrying().opportunistic(),
        ]
    })
    .await;
    for streamtype in ["h1-none", "h2-none", "ws-none", "opportunistic"] {
        let mut user = world.open(streamtype).await;
        assert_eq!(user.get().await, GIVEN_UP, "{streamtype}");
        // The user may ask again, and gets as many attempts again.
        let again = GIVEN_UP.strip_prefix("CREATING ").unwrap();
        assert_eq!(user.get().await, again, "{streamtype}");
    }
}

#[tokio::test]
async fn without_a_retry_policy_one_failure_is_enough() {
    let (_holder, port) = refusing();
    let world = World::with(|_, _| vec![Streamtype::at("once", port)]).await;
    let mut user = world.open("once").await;
    assert_eq!(user.get().await, "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED");
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let world = World::with(|ports, _| {
        vec![Streamtype::at_host("nowhere", "does-not-exist.invalid", ports.clear)]
    })
    .await;
    let mut user = world.open("nowhere").await;
    assert_eq!(user.get().await, "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED");
}

#[tokio::test]
async fn an_unknown_streamtype_is_refused() {
    let world = World::start().await;
    match world.client().open("no-such-stream").await {
        Err(Error::Refused { streamtype, result }) => {
            assert_eq!((streamtype.as_str(), result), ("no-such-stream", 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.proxy.counters().refused, 1);
}

#[tokio::test]
async fn metadata_that_the_policy_does_not_know_ends_the_stream_alone() {
    let world = World::start().await;
    let mut other = world.open_at("h1", "small.txt").await;
    let user = world.open("h1").await;
    user.set_metadata("colour", "red").unwrap();
    user.connect();
    let hung_up = async {
        while world.proxy.counters().protocol_errors == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, hung_up).await.expect("the link stays open");
    assert_eq!(other.get().await, OK);
    assert_eq!(world.nginx.requests_when(1).await[0].path, "/small.txt");
}

#[tokio::test]
async fn a_server_that_recovers_is_reached() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // Two connections that are closed without an answer, then one that is served.
        for _ in 0..2 {
            drop(listener.accept().await.unwrap());
        }
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback").await.unwrap();
    });
    let world = World::with(|_, _| vec![Streamtype::at("shaky", port).retrying()]).await;
    let mut user = world.open("shaky").await;
    assert_eq!(
        user.get().await,
        "CREATING CONNECTING UNREACHABLE POLL CONNECTING UNREACHABLE \
         POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(user.text(), "back");
}

#[tokio::test]
async fn a_busy_server_is_tried_again() {
    let world = World::with(|ports, _| {
        vec![Streamtype::at("busy", ports.clear).path("origin/busy").retrying()]
    })
    .await;
    let mut user = world.open("busy").await;
    assert_eq!(
        user.get().await,
        "CREATING CONNECTING UNREACHABLE POLL CONNECTING UNREACHABLE \
         POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(user.text(), "ready");
}

/// The first 503 to a request with a body was its end, though the proxy still had all of that body.
#[tokio::test]
async fn a_busy_server_gets_a_short_message_again() {
    let world = World::with(|ports, _| {
        let base = |name, port| Streamtype::at(name, port).post().opportunistic();
        vec![
            base("busy", ports.clear).path("origin/busy").retrying(),
            base("at-once", ports.clear).path("origin/busy"),
        ]
    })
    .await;
    const POSTED: &str = "CREATING POLL CONNECTING CONNECTED SOM EOM";
    let mut hasty = world.open("at-once").await;
    let nack = format!("{POSTED} QOS_NACK_REMOTE DISCONNECTED");
    assert_eq!(hasty.post(b"abc").await, nack, "the policy allows no retry");
    let mut user = world.open("busy").await;
    assert_eq!(user.post(b"abc").await, format!("{POSTED} QOS_ACK_REMOTE DISCONNECTED"));
    assert_eq!(user.text(), "ready");
    assert_eq!(world.origin.requests(), ["POST /origin/busy"; 3]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let world = World::custom(
        nginx::Options::default(),
        |config| config.timeouts.response = Duration::from_millis(50),
        |ports, _| {
            let base = |name, port| Streamtype::at(name, port).path("origin/held").retrying();
            vec![base("h1-mute", ports.clear), base("h2-mute", ports.h2).h2().tls()]
        },
    )
    .await;
    for streamtype in ["h1-mute", "h2-mute"] {
        let mut user = world.open(streamtype).await;
        assert_eq!(user.get().await, GIVEN_UP, "{streamtype}");
    }
}

#[tokio::test]
async fn the_stream_timeout_only_tells() {
    let world = World::with(|ports, _| {
        vec![
            Streamtype::at("slow", ports.clear)
                .path("origin/held")
                .with(r#""timeout_ms": 20"#)
                .opportunistic(),
        ]
    })
    .await;
    let mut by_policy = world.open("slow").await;
    by_policy.connect();
    by_policy.set_timeout(Timeout::Policy);
    by_policy.until("TIMEOUT").await;

    let mut by_user = world.open("slow").await;
    by_user.connect();
    by_user.set_timeout(Timeout::Millis(10));
    by_user.until("TIMEOUT").await;
    by_user.set_timeout(Timeout::Millis(10));
    by_user.until("TIMEOUT").await;

    world.origin.holds(2).await;
    world.origin.open();
    let ended = "CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
    assert_eq!(by_policy.end().await, format!("CREATING CONNECTING TIMEOUT {ended}"));
    assert_eq!(by_user.end().await, format!("CREATING CONNECTING TIMEOUT TIMEOUT {ended}"));
}

#[tokio::test]
async fn a_timeout_that_was_cancelled_does_not_come() {
    let world = World::start().await;
    let mut user = world.open_at("h1", "origin/held").await;
    user.connect();
    user.set_timeout(Timeout::Millis(20));
    user.set_timeout(Timeout::Cancel);
    // One that was set later comes after it would have come.
    let mut later = world.open("h1").await;
    later.set_timeout(Timeout::Millis(60));
    later.until("TIMEOUT").await;
    world.origin.open();
    assert_eq!(user.end().await, OK);
}

/// Two places decided whether a request has a body, and one of them knew only methods: a DELETE
/// that got a body by its `content-length` was tried for ever.
#[tokio::test]
async fn a_method_with_a_body_of_a_given_length_is_given_up_as_others_are() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while let Ok(Ok((mut socket, _))) = timeout(PATIENCE, server.accept()).await {
            count += 1;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            drop(socket);
            if count == 3 {
                break;
            }
        }
        // Another attempt would come within the longest delay of its policy.
        (count, timeout(Duration::from_millis(300), server.accept()).await.is_ok())
    });
    let world = World::with(|_, _| {
        let metadata = r#""metadata": [{"length": "content-length:"}]"#;
        let method = r#""http_method": "DELETE""#;
        vec![Streamtype::at("delete", port).with(method).with(metadata).retrying()]
    })
    .await;
    let user = world.open("delete").await;
    user.set_metadata("length", "5").unwrap();
    user.connect();
    assert_eq!(counting.await.unwrap(), (3, false));
}
