//! Which streams share onward connections, counted by the server.

use futures_util::future::join_all;

use crate::nginx::{self, Nginx, SMALL};
use crate::user::User;
use crate::world::World;

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";

/// Opens streams and connects them all at once; the origin holds what they ask for.
async fn many(world: &World, way: &str, count: usize) -> Vec<User> {
    let client = world.client();
    let mut users = join_all((0..count).map(|_| User::open(&client, way))).await;
    for user in &mut users {
        user.set_metadata("path", "origin/held").unwrap();
        user.connect();
    }
    users
}

async fn all_end_well(users: Vec<User>) {
    let each = users.into_iter().map(|mut user| async move {
        assert_eq!(user.end().await, OK);
        assert_eq!(user.text(), "at last");
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_streams_share_one_h2_connection() {
    const COUNT: usize = 200;
    let world = World::start().await;
    for way in ["h2-tls", "h2-clear"] {
        let users = many(&world, way, COUNT).await;
        world.origin.holds(COUNT).await;
        world.origin.open();
        all_end_well(users).await;
        world.origin.close();
    }
    let requests = world.nginx.requests_when(2 * COUNT).await;
    let (tls, clear) = requests.split_at(COUNT);
    assert_eq!(Nginx::connections(tls), 1);
    assert_eq!(Nginx::connections(clear), 1);
    assert!(requests.iter().all(|request| request.protocol == "HTTP/2.0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_streams_than_a_connection_takes_are_served_too() {
    const COUNT: usize = 200;
    let options = nginx::Options { h2_streams: None, ..nginx::Options::default() };
    let world = World::custom(options, |_| {}, |_, _| Vec::new()).await;
    let users = many(&world, "h2-tls", COUNT).await;
    world.origin.holds(COUNT).await;
    world.origin.open();
    all_end_well(users).await;
    // nginx takes 128 on one.
    let requests = world.nginx.requests_when(COUNT).await;
    assert_eq!(Nginx::connections(&requests), 2);
}

#[tokio::test]
async fn clients_share_an_h2_connection_among_them() {
    let world = World::start().await;
    let mut users = Vec::new();
    for pid in 1..=5 {
        let client = world.client_with(|options| options.config.pid = pid);
        let mut user = User::open(&client, "h2-tls").await;
        user.set_metadata("path", "small.txt").unwrap();
        assert_eq!(user.get().await, OK);
        users.push(user);
    }
    let requests = world.nginx.requests_when(5).await;
    assert_eq!(Nginx::connections(&requests), 1);
    assert_eq!(requests.last().unwrap().nth, 5);
}

#[tokio::test]
async fn requests_of_one_stream_keep_their_h1_connection() {
    let world = World::start().await;
    for way in ["h1", "h1-tls"] {
        let mut user = world.open_at(way, "small.txt").await;
        for _ in 0..20 {
            assert!(user.get().await.ends_with("QOS_ACK_REMOTE DISCONNECTED"));
            assert_eq!(user.messages.last().unwrap().data, SMALL);
        }
    }
    let requests = world.nginx.requests_when(40).await;
    let (clear, tls) = requests.split_at(20);
    assert_eq!((Nginx::connections(clear), Nginx::connections(tls)), (1, 1));
    assert_eq!(clear.last().unwrap().nth, 20);
}

#[tokio::test]
async fn requests_of_many_streams_keep_their_h1_connection() {
    let world = World::start().await;
    for _ in 0..20 {
        let mut user = world.open_at("h1", "small.txt").await;
        assert_eq!(user.get().await, OK);
        user.close().await;
    }
    assert_eq!(Nginx::connections(&world.nginx.requests_when(20).await), 1);
}

#[tokio::test]
async fn h1_streams_at_once_have_a_connection_each() {
    const COUNT: usize = 10;
    let world = World::start().await;
    let users = many(&world, "h1", COUNT).await;
    world.origin.holds(COUNT).await;
    world.origin.open();
    all_end_well(users).await;
    assert_eq!(Nginx::connections(&world.nginx.requests_when(COUNT).await), COUNT);
}
