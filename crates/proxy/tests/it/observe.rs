//! What a running proxy shows of itself.

use std::net::TcpListener;
use std::time::Duration;

use futures_util::future::join_all;
use sspc_proxy::view::TransactionView;
use sspc_proxy::{Config, Observed, TransactionFeed};
use tokio::time::{sleep, timeout};

use crate::nginx::{self, SMALL};
use crate::user::{PATIENCE, User};
use crate::world::{Streamtype, World};

async fn observed(own: Vec<Streamtype>) -> (World, Observed) {
    let observe = |config: &mut Config| config.observe = true;
    let world = World::custom(nginx::Options::default(), observe, |_, _| own).await;
    let observed = world.proxy.observed().unwrap();
    (world, observed)
}

async fn next(feed: &mut TransactionFeed) -> TransactionView {
    let next = timeout(PATIENCE, feed.next()).await.expect("a transaction ends in time");
    next.unwrap().unwrap().as_ref().clone()
}

/// Waits until something can be seen.
async fn until(sees: impl Fn() -> bool) {
    let waiting = async {
        while !sees() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it is seen in time");
}

#[tokio::test]
async fn without_being_asked_for_nothing_is_seen() {
    let world = World::start().await;
    assert!(world.proxy.observed().is_none());
}

#[tokio::test]
async fn a_transaction_is_shown_with_its_server_status_bytes_and_times() {
    let (world, observed) = observed(Vec::new()).await;
    let mut feed = observed.transactions();
    for way in ["h1", "h1-tls", "h2-tls", "h2-clear"] {
        let mut users = Vec::new();
        for _ in 0..2 {
            let mut user = world.open(way).await;
            user.set_metadata("path", "small.txt").unwrap();
            user.get().await;
            let seen = next(&mut feed).await;
            assert_eq!((seen.outcome, seen.status), (Some("acked"), Some(200)), "{way}");
            assert_eq!((seen.from_client, seen.to_client), (0, SMALL.len() as u64), "{way}");
            assert_eq!((seen.whose, seen.why.as_deref()), (None, None));
            assert!(seen.endpoint.as_deref().unwrap().starts_with("localhost:"), "{seen:?}");
            assert_eq!(seen.streamtype, way);
            let times = seen.times;
            assert!(times.first_byte_us > 0 && times.first_byte_us <= times.total_us, "{times:?}");
            users.push((user, seen));
        }
        let [(_, first), (_, second)] = &users[..] else { panic!() };
        assert_eq!((first.reused, second.reused), (Some(false), Some(true)), "{way}");
        assert_eq!(first.connection, second.connection, "{way}");
        assert!(first.times.connect_us > 0, "{way}: {first:?}");
        assert_eq!(first.times.tls_us > 0, way.ends_with("-tls"), "{way}: {first:?}");
        assert_eq!((second.times.connect_us, second.times.tls_us), (0, 0), "{way}");
        let shown = observed.connections();
        let shown = shown.iter().find(|shown| Some(shown.id) == first.connection).unwrap();
        assert_eq!((shown.protocol, shown.tls), (&way[..2], way.ends_with("-tls")));
    }
    let streamtypes = observed.streamtypes();
    let h1 = streamtypes.iter().find(|seen| seen.streamtype == "h1").unwrap();
    assert_eq!((&h1.outcomes[..], h1.to_clients), (&[("acked", 2)][..], 2 * SMALL.len() as u64));
    assert_eq!(h1.total.buckets.iter().map(|(_, count)| count).sum::<u64>(), 2);
}

#[tokio::test]
async fn live_streams_are_shown_with_who_shares_their_connection() {
    let (world, observed) = observed(Vec::new()).await;
    let client = world.client();
    let mut users = join_all((0..3).map(|_| User::open(&client, "h2-tls"))).await;
    for user in &mut users {
        user.set_metadata("path", "origin/held").unwrap();
        user.connect();
    }
    world.origin.holds(3).await;
    let sessions = observed.sessions();
    assert_eq!(sessions.len(), 3);
    for session in &sessions {
        assert_eq!((&*session.state, &*session.protocol), ("CONNECTING", "h2"));
        let transaction = session.transaction.as_ref().unwrap();
        assert_eq!((transaction.outcome, transaction.status), (None, None));
        assert!(session.peer.contains(&format!("process {}", std::process::id())));
        assert_eq!(observed.session(session.id).unwrap().id, session.id);
    }
    let connections = observed.connections();
    assert_eq!(connections.len(), 1, "{connections:?}");
    let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
    assert_eq!(connections[0].sessions, ids);
    assert_eq!(observed.proxy().sessions, 3);
    // One that goes away in the middle is no failure.
    let mut feed = observed.transactions();
    drop(users.pop());
    assert_eq!(next(&mut feed).await.outcome, Some("left"));
    until(|| observed.sessions().len() == 2).await;
    world.origin.open();
    for user in &mut users {
        user.end().await;
        assert_eq!(next(&mut feed).await.outcome, Some("acked"));
    }
    drop(users);
    until(|| observed.sessions().is_empty()).await;
    assert_eq!(observed.failures(), []);
    let seen = observed.streamtypes();
    assert_eq!((seen[0].open, seen[0].created), (0, 3));
}

#[tokio::test]
async fn failures_are_shown_by_kind_with_their_cause() {
    // Bound to another address of this host, so that nobody else gets the port here.
    let holder = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let (world, observed) = observed(vec![Streamtype::at("nobody", port).retrying()]).await;
    let mut refused = world.open("nobody").await;
    refused.get().await;
    let mut missing = world.open("h1").await;
    missing.set_metadata("path", "none-such").unwrap();
    missing.get().await;
    assert!(world.client().open("no-such-stream").await.is_err());
    until(|| observed.failures().len() == 3).await;
    let of = |kind: &str| {
        let failures = observed.failures();
        failures.into_iter().find(|failure| failure.kind == kind).unwrap()
    };
    let connect = of("connect");
    assert_eq!((connect.count, connect.whose, connect.status), (3, "upstream", None));
    assert!(connect.why.contains(&port.to_string()), "{connect:?}");
    let nacked = of("nacked");
    assert_eq!((nacked.count, nacked.status), (1, Some(404)));
    assert!(nacked.why.contains("404"), "{nacked:?}");
    let unknown = of("unknown_streamtype");
    assert_eq!(unknown.whose, "client");
    assert!(unknown.why.contains("no-such-stream"), "{unknown:?}");
    let sessions = observed.sessions();
    let last = |name: &str| {
        let session = sessions.iter().find(|session| session.streamtype == name).unwrap();
        session.last_error.clone().unwrap()
    };
    assert_eq!(last("nobody").outcome, Some("connect"));
    assert_eq!(last("h1").status, Some(404));
}

#[tokio::test]
async fn a_follower_that_does_not_read_misses_some_and_is_told_how_many() {
    let (world, observed) = observed(Vec::new()).await;
    let mut feed = observed.transactions();
    let mut user = world.open("h1").await;
    user.set_metadata("path", "small.txt").unwrap();
    for _ in 0..1_100 {
        user.get().await;
    }
    until(|| observed.streamtypes()[0].outcomes == [("acked", 1_100)]).await;
    let missed = timeout(PATIENCE, feed.next()).await.unwrap().unwrap().unwrap_err().0;
    let mut seen = 0;
    while let Ok(Some(transaction)) = timeout(Duration::from_millis(50), feed.next()).await {
        transaction.unwrap();
        seen += 1;
    }
    assert_eq!(missed + seen, 1_100);
}
