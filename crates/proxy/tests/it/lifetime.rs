//! Clients that go away, clients that break the protocol, new policies, and the proxy's own end.

use std::time::Duration;

use sspc::tokio::{Client, Error};
use sspc::{Address, Flags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::content;
use crate::nginx;
use crate::user::{PATIENCE, User};
use crate::world::{Streamtype, WAYS, World};

const CUT: &str = "CREATING CONNECTING CONNECTED SOM DISCONNECTED";
const AGAIN: &str = "CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";

#[tokio::test]
async fn a_client_that_dies_takes_its_onward_transaction_with_it_and_no_other() {
    let world = World::start().await;
    for way in ["h1", "h1-tls", "h2-tls"] {
        let lasting_feed = world.origin.feed();
        let mut lasting = world.open_at(way, "origin/fed").await;
        lasting.connect();
        lasting_feed.write(content::piece(0, 1000)).await;
        lasting.until_length(1000).await;

        let feed = world.origin.feed();
        let (stream, driver) = world.client().split(way).unwrap();
        let process = tokio::spawn(driver.run());
        let mut user = User::of(stream);
        user.set_metadata("path", "origin/fed").unwrap();
        user.connect();
        feed.write("half").await;
        user.until_length(4).await;
        // Its socket is closed by the system, as that of a killed process.
        process.abort();
        feed.deserted().await;

        lasting_feed.write(content::piece(1000, 1000)).await;
        drop(lasting_feed);
        assert_eq!(lasting.end().await, OK, "{way}");
        lasting.assert_content(2000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_die_at_once_leave_nothing_behind() {
    const COUNT: usize = 50;
    let world = World::start().await;
    let mut processes = Vec::new();
    let mut users = Vec::new();
    for number in 0..COUNT {
        let way = WAYS[number % WAYS.len()];
        let (stream, driver) = world.client().split(way).unwrap();
        processes.push(tokio::spawn(driver.run()));
        let user = User::of(stream);
        user.set_metadata("path", "origin/held").unwrap();
        user.connect();
        users.push(user);
    }
    world.origin.holds(COUNT).await;
    for process in processes {
        process.abort();
    }
    let gone = async {
        while world.proxy.counters().sessions_open > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("sessions without clients go on");
    // nginx saw them all go.
    let requests = world.nginx.requests_when(COUNT).await;
    assert!(requests.iter().all(|request| request.status == 499), "{requests:#?}");
    world.origin.open();
    for way in WAYS {
        let mut user = world.open_at(way, "small.txt").await;
        assert_eq!(user.get().await, OK, "{way}");
    }
}

#[tokio::test]
async fn a_link_that_breaks_is_made_anew_with_what_the_user_had_set_and_asked_for() {
    let world = World::start().await;
    let path = world.socket.with_extension("link");
    let (listener, proxy) = (UnixListener::bind(&path).unwrap(), world.socket.clone());
    let (cut, mut when_cut) = mpsc::channel::<()>(1);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = UnixStream::connect(&proxy).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = when_cut.recv() => {}
            }
        }
    });
    let client = Client::new(Address::Path(path));
    let (first, second) = (world.origin.feed(), world.origin.feed());
    let mut user = User::open(&client, "h1").await;
    user.set_metadata("path", "origin/fed").unwrap();
    user.connect();
    first.write("half").await;
    user.until_length(4).await;
    cut.send(()).await.unwrap();
    user.until("DISCONNECTED").await;
    first.deserted().await;
    assert_eq!(user.heard(), "CREATING CONNECTING CONNECTED SOM DISCONNECTED");

    second.write("whole").await;
    drop(second);
    assert_eq!(user.end().await, OK.replace("CREATING", "UPSTREAM_LINK_RETRY"));
    assert_eq!(user.text(), "whole");
}

#[tokio::test]
async fn closing_a_stream_ends_its_onward_transaction() {
    let world = World::start().await;
    for way in ["h1", "h2-tls"] {
        let feed = world.origin.feed();
        let mut user = world.open_at(way, "origin/fed").await;
        user.connect();
        feed.write("half").await;
        user.until_length(4).await;
        user.close().await;
        feed.deserted().await;
    }
}

#[tokio::test]
async fn who_breaks_the_protocol_is_hung_up_on_alone() {
    let world = World::start().await;
    let feed = world.origin.feed();
    let mut lasting = world.open_at("h2-tls", "origin/fed").await;
    lasting.connect();
    feed.write(content::piece(0, 1000)).await;
    lasting.until_length(1000).await;

    // A frame of the other direction, a STREAMTYPE of another version, payload before anything.
    let breaches = [
        &b"\x57\x00\x05\x05\0\0\0\0"[..],
        b"\xaa\x00\x0b\x02\0\0\0\0\0\0\0\0h1",
        b"\xad\x00\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x",
        b"\x00\x00\x00",
    ];
    for (number, breach) in breaches.iter().enumerate() {
        let mut link = UnixStream::connect(&world.socket).await.unwrap();
        link.write_all(breach).await.unwrap();
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, link.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "the link of breach {number} stays open");
        assert_eq!(answer, b"", "breach {number}");
    }
    // A stream that was fine until then.
    let mut link = UnixStream::connect(&world.socket).await.unwrap();
    link.write_all(b"\xaa\x00\x0b\x01\0\0\0\0\x1d\xcd\x65\0h1").await.unwrap();
    let mut head = [0; 3];
    link.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 0x56, "no CREATE_RESULT");
    link.write_all(b"\xb2\x00\x00").await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, link.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the link stays open");
    assert_eq!(world.proxy.counters().protocol_errors, breaches.len() as u64 + 1);

    feed.write(content::piece(1000, 1000)).await;
    drop(feed);
    assert_eq!(lasting.end().await, OK);
    lasting.assert_content(2000);
}

#[tokio::test]
async fn a_new_policy_is_for_new_streams() {
    let moving = |port| vec![Streamtype::at("moving", port).path("origin/held").opportunistic()];
    let world = World::with(|ports, _| {
        let gone = Streamtype::at("gone", ports.clear).path("origin/held").opportunistic();
        [moving(ports.clear), vec![gone]].concat()
    })
    .await;
    let mut moving_user = world.open("moving").await;
    let mut gone_user = world.open("gone").await;
    moving_user.connect();
    gone_user.connect();
    world.origin.holds(2).await;

    let moved = moving(world.nginx.ports.tls).into_iter().map(Streamtype::tls);
    world.reload(&moved.collect::<Vec<_>>());
    world.origin.open();
    assert_eq!(moving_user.end().await, OK);
    assert_eq!(gone_user.end().await, OK);
    // They keep what they were created with.
    let again = "CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
    assert_eq!(moving_user.get().await, again);
    assert_eq!(gone_user.get().await, again);

    let mut user = world.open("moving").await;
    assert_eq!(user.get().await, OK);
    assert!(matches!(world.client().open("gone").await, Err(Error::Refused { .. })));
    let ports = world.nginx.ports;
    let requests = world.nginx.requests_when(5).await;
    assert!(requests[..4].iter().all(|request| request.port == ports.clear), "{requests:#?}");
    assert_eq!(requests[4].port, ports.tls);
}

#[tokio::test]
async fn a_shutdown_lets_transactions_finish_and_takes_no_more() {
    let mut world = World::start().await;
    let feed = world.origin.feed();
    let mut running = world.open_at("h1", "origin/fed").await;
    running.connect();
    feed.write("half, ").await;
    running.until_length(6).await;
    let mut idle = world.open("h1").await;

    world.shut_down();
    idle.until("UPSTREAM_LINK_RETRY").await;
    assert_eq!(idle.heard(), "CREATING UPSTREAM_LINK_RETRY");
    assert!(matches!(world.client().open("h1").await, Err(Error::NoProxy { .. })));

    feed.write("whole").await;
    drop(feed);
    running.until("UPSTREAM_LINK_RETRY").await;
    assert_eq!(running.heard(), format!("{OK} UPSTREAM_LINK_RETRY"));
    assert_eq!(running.text(), "half, whole");
    world.ended().await;
}

#[tokio::test]
async fn a_shutdown_ends_what_does_not_finish() {
    let mut world = World::custom(
        nginx::Options::default(),
        |config| config.timeouts.drain = Duration::from_millis(20),
        |_, _| Vec::new(),
    )
    .await;
    let mut users = Vec::new();
    for way in ["h1", "h2-tls"] {
        let feed = world.origin.feed();
        let mut user = world.open_at(way, "origin/fed").await;
        user.connect();
        feed.write("half").await;
        user.until_length(4).await;
        users.push((user, feed));
    }
    world.shut_down();
    for (mut user, feed) in users {
        user.until("UPSTREAM_LINK_RETRY").await;
        assert_eq!(user.heard(), format!("{CUT} UPSTREAM_LINK_RETRY"));
        feed.deserted().await;
    }
    world.ended().await;
}

/// The server was not told either, and all the time to drain passed.
#[tokio::test]
async fn a_websocket_on_which_nothing_is_under_way_does_not_hold_a_shutdown_up() {
    let mut world = World::custom(
        nginx::Options::default(),
        |config| config.timeouts.drain = 20 * PATIENCE,
        |ports, _| vec![Streamtype::at("ws", ports.clear).path("origin/ws").ws()],
    )
    .await;
    let mut user = world.open("ws").await;
    user.send("Hello", Flags::WHOLE).await.unwrap();
    user.until_messages(1).await;
    world.shut_down();
    user.until("UPSTREAM_LINK_RETRY").await;
    let states = "CREATING CONNECTING CONNECTED SOM EOM DISCONNECTED UPSTREAM_LINK_RETRY";
    assert_eq!(user.heard(), states);
    let origin = world.origin.clone();
    world.ended().await;
    assert_eq!(origin.closes(), [1001], "going away");
}

/// Each of them was told DESTROYING, and ended for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_no_client() {
    const COUNT: usize = 100;
    let mut world = World::custom(
        nginx::Options::default(),
        |config| config.timeouts.drain = 20 * PATIENCE,
        |_, origin| {
            vec![Streamtype::at("ws", origin.address.port()).path("origin/ws").ws().opportunistic()]
        },
    )
    .await;
    let (mut talking, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..COUNT {
        let mut user = world.open("ws").await;
        user.send("Hello", Flags::WHOLE).await.unwrap();
        user.until_messages(1).await;
        talking.push(user);
        let mut user = world.open_at("h1", "small.txt").await;
        user.until("CREATING").await;
        idle.push(user);
    }
    world.restart_proxy().await;
    for mut user in talking {
        // Nobody asked for that again but the stream itself.
        user.until("UPSTREAM_LINK_RETRY").await;
        user.until("CONNECTED").await;
        user.send("Hello", Flags::WHOLE).await.unwrap();
        user.until_messages(2).await;
    }
    for mut user in idle {
        user.until("UPSTREAM_LINK_RETRY").await;
        assert!(user.get().await.ends_with(AGAIN));
    }
}

#[tokio::test]
async fn a_proxy_takes_over_from_the_one_before() {
    let mut world = World::custom(
        nginx::Options::default(),
        |config| config.timeouts.drain = Duration::from_millis(20),
        |_, _| Vec::new(),
    )
    .await;
    let feed = world.origin.feed();
    let mut user = world.open_at("h1", "origin/fed").await;
    user.connect();
    feed.write("half").await;
    user.until_length(4).await;
    let feed = world.origin.feed();
    world.restart_proxy().await;
    // What was asked for goes on there, from its beginning.
    user.until("UPSTREAM_LINK_RETRY").await;
    assert_eq!(user.heard(), format!("{CUT} UPSTREAM_LINK_RETRY"));
    feed.write("whole").await;
    drop(feed);
    assert!(user.end().await.ends_with(AGAIN));
    assert_eq!(user.text(), "whole");
    let mut user = world.open_at("h1", "small.txt").await;
    assert_eq!(user.get().await, OK);
}

#[tokio::test]
async fn tcp_and_abstract_sockets_serve_as_well() {
    let world = World::start().await;
    for address in world.more_addresses() {
        let mut user = User::open(&Client::new(address.clone()), "h1-tls").await;
        user.set_metadata("path", "mib.bin").unwrap();
        assert_eq!(user.get().await, OK, "{address}");
        user.assert_content(nginx::MIB);
    }
}
