//! Slow readers, slow servers, and that they hold up nobody else.

use std::time::Duration;

use tokio::time::sleep;

use crate::content;
use crate::nginx::{MIB, Nginx};
use crate::origin::LONG;
use crate::user::User;
use crate::world::{Streamtype, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
/// More than all that sockets and buffers on the way can hold, and far less than [`LONG`].
const ON_THE_WAY_MAX: u64 = 24 << 20;

/// Waits until what is counted grows no more. A slow machine may end this early, which makes a test
/// weaker but never wrong.
pub(crate) async fn settled(count: impl Fn() -> u64) -> u64 {
    let mut before = count();
    loop {
        sleep(Duration::from_millis(200)).await;
        let now = count();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[tokio::test]
async fn a_reader_who_stops_stops_the_server_and_loses_nothing() {
    let world = World::with(|_, origin| {
        vec![Streamtype::at("long", origin.address.port()).path("origin/long").opportunistic()]
    })
    .await;
    let mut user = world.open("long").await;
    user.connect();
    user.until("CONNECTED").await;
    let sent = settled(|| world.origin.sent()).await;
    assert!(sent < ON_THE_WAY_MAX, "{sent} bytes were sent to someone who does not read");
    // He reads on, and everything is there.
    assert_eq!(user.end().await, OK);
    user.assert_content(LONG);
}

#[tokio::test]
async fn a_client_without_flow_control_who_does_not_read_stops_the_server_too() {
    let world = World::with(|_, origin| {
        vec![Streamtype::at("long", origin.address.port()).path("origin/long").opportunistic()]
    })
    .await;
    // As deployed clients are: all the credit in the world, and no promise to honour any.
    let client = world.client_with(|options| {
        options.config.window = sspc::Config::UNLIMITED;
        options.config.honour_credit = false;
    });
    let mut user = User::open(&client, "long").await;
    user.connect();
    user.until("CONNECTED").await;
    let sent = settled(|| world.origin.sent()).await;
    assert!(sent < ON_THE_WAY_MAX, "{sent} bytes were sent to someone who does not read");
    assert_eq!(user.end().await, OK);
    user.assert_content(LONG);
}

#[tokio::test]
async fn every_piece_of_a_slow_server_arrives_before_it_sends_the_next() {
    let world = World::start().await;
    for way in ["h1", "h1-tls", "h2-tls"] {
        let feed = world.origin.feed();
        let mut user = world.open_at(way, "origin/fed").await;
        user.connect();
        let mut length = 0;
        for piece in [1, 100, 5000, 1, 70_000] {
            feed.write(content::piece(length, piece)).await;
            length += piece as u64;
            user.until_length(length).await;
        }
        drop(feed);
        assert_eq!(user.end().await, OK, "{way}");
        user.assert_content(length);
    }
}

#[tokio::test]
async fn streams_that_stall_do_not_starve_others_of_their_h2_connection() {
    const STALLED: usize = 20;
    let world = World::start().await;
    let mut readers = Vec::new();
    for number in 0..STALLED {
        // Half of them as deployed clients are, the others with a window smaller than the body.
        let client = world.client_with(|options| {
            if number % 2 == 0 {
                options.config.window = sspc::Config::UNLIMITED;
                options.config.honour_credit = false;
            } else {
                options.config.window = 64 * 1024;
            }
        });
        let mut user = User::open(&client, "h2-tls").await;
        user.set_metadata("path", "mib.bin").unwrap();
        user.connect();
        user.until("SOM").await;
        // From here on it does not read.
        readers.push(user);
    }
    for _ in 0..3 {
        let mut user = world.open_at("h2-tls", "mib.bin").await;
        assert_eq!(user.get().await, OK);
        user.assert_content(MIB);
    }
    for user in &mut readers {
        assert_eq!(user.end().await, OK);
        user.assert_content(MIB);
    }
    let requests = world.nginx.requests_when(STALLED + 3).await;
    assert_eq!(Nginx::connections(&requests), 1);
}

#[tokio::test]
async fn an_upload_that_stalls_does_not_starve_others_of_their_h2_connection() {
    let world = World::start().await;
    let mut stalled = world.open_at("h2-tls-post", "origin/echo").await;
    let mut body = stalled.body(Some(8)).await.unwrap();
    body.write("half").await.unwrap();
    stalled.until_length(4).await;

    let mut user = world.open_at("h2-tls", "mib.bin").await;
    assert_eq!(user.get().await, OK);
    user.assert_content(MIB);

    body.write("half").await.unwrap();
    body.finish().await.unwrap();
    assert_eq!(
        stalled.end().await,
        "CREATING POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(stalled.text(), "halfhalf");
    assert_eq!(Nginx::connections(&world.nginx.requests_when(2).await), 1);
}
