//! Servers that go away and come back, and connections that servers have had enough of.

use futures_util::future::join_all;

use crate::nginx::{self, Nginx, SMALL};
use crate::world::{WAYS, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const AGAIN: &str = "CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";

#[tokio::test]
async fn a_server_that_dies_disconnects_those_it_served() {
    for way in WAYS {
        let mut world = World::start().await;
        let feed = world.origin.feed();
        let mut user = world.open_at(way, "origin/fed").await;
        user.connect();
        feed.write("half").await;
        user.until_length(4).await;
        world.nginx.stop();
        assert_eq!(user.end().await, "CREATING CONNECTING CONNECTED SOM DISCONNECTED", "{way}");
        assert_eq!(
            user.get().await,
            "CONNECTING UNREACHABLE ALL_RETRIES_FAILED",
            "{way}: nobody is there"
        );
        world.nginx.start_again().await;
        user.set_metadata("path", "small.txt").unwrap();
        assert_eq!(user.get().await, AGAIN, "{way}");
        assert_eq!(user.messages.last().unwrap().data, SMALL, "{way}");
    }
}

/// The connections that the proxy kept are dead then, and nobody notices.
#[tokio::test]
async fn a_restart_between_transactions_is_not_noticed() {
    let mut world = World::start().await;
    let mut users = Vec::new();
    for way in WAYS {
        let mut user = world.open_at(way, "small.txt").await;
        assert_eq!(user.get().await, OK, "{way}");
        let mut poster = world.open_at(&format!("{way}-post"), "origin/echo").await;
        assert!(poster.post(b"first").await.ends_with("QOS_ACK_REMOTE DISCONNECTED"), "{way}");
        users.push((way, user, poster));
    }
    world.nginx.stop();
    world.nginx.start_again().await;
    for (way, mut user, mut poster) in users {
        assert_eq!(user.get().await, AGAIN, "{way}");
        assert_eq!(poster.post(b"second").await, format!("POLL {AGAIN}"), "{way}");
        assert_eq!(poster.text(), "second", "{way}");
    }
    assert_eq!(world.origin.requests().len(), 2 * WAYS.len());
}

#[tokio::test]
async fn a_server_that_closes_after_some_requests_gets_the_next_ones_on_others() {
    const COUNT: usize = 20;
    let options = nginx::Options { requests_max: 3, ..nginx::Options::default() };
    let world = World::custom(options, |_| {}, |_, _| Vec::new()).await;
    let mut seen = 0;
    for way in WAYS {
        let mut user = world.open_at(way, "small.txt").await;
        assert_eq!(user.get().await, OK, "{way}");
        for _ in 1..COUNT {
            assert_eq!(user.get().await, AGAIN, "{way}");
        }
        let requests = world.nginx.requests_when(seen + COUNT).await;
        assert_eq!(Nginx::connections(&requests[seen..]), COUNT.div_ceil(3), "{way}");
        seen += COUNT;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_at_once_survive_goaway() {
    const COUNT: usize = 60;
    // Each connection leaves some of those that are on it to the next.
    let options = nginx::Options { requests_max: 25, ..nginx::Options::default() };
    let world = World::custom(options, |_| {}, |_, _| Vec::new()).await;
    for way in ["h2-tls", "h2-clear"] {
        let all = (0..COUNT).map(|_| async {
            let mut user = world.open_at(way, "mib.bin").await;
            assert_eq!(user.get().await, OK, "{way}");
            user.assert_content(nginx::MIB);
        });
        join_all(all).await;
    }
}
