//! The proxy as a service: where it listens, whom it lets in, how it ends.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use sspc_policy::Policy;
use sspc_proxy::{Config, ListenAddress, ListenError, Proxy};
use sspc_wire::{Flags, State, ToProxy};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::support::*;

fn get(port: u16) -> String {
    format!(
        r#"{{"s": [{{"get": {{"endpoint": "127.0.0.1", "port": {port}, "http_url": "one",
            "opportunistic": true}}}}]}}"#
    )
}

/// A server that answers with the path that was asked for.
async fn paths() -> u16 {
    server(|mut link| async move {
        let (head, _) = request(&mut link).await;
        let path = head.split(' ').nth(1).unwrap().to_owned();
        link.write_all(&response(200, "", path.as_bytes())).await.unwrap();
    })
    .await
}

/// What a GET on an open stream brings.
async fn fetch(client: &mut Client<UnixStream>) -> String {
    client.heard.messages.clear();
    client.send(ToProxy::OnwardConnect).await;
    client.until("DISCONNECTED").await;
    let (flags, body) = client.heard.messages.pop().unwrap();
    assert_eq!(flags, Flags::WHOLE);
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn every_kind_of_address_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ss");
    let name = format!("sspc-service-test-{}", std::process::id());
    let mut proxy = Proxy::new(Config::new(Policy::builtin())).unwrap();
    let listen = |proxy: &mut Proxy, text: &str| {
        let address: ListenAddress = text.parse().unwrap();
        proxy.listen(&address).unwrap()
    };
    listen(&mut proxy, &format!("uds:@{name}"));
    listen(&mut proxy, &format!("uds:{}?mode=0600", path.display()));
    let tcp = listen(&mut proxy, "tcp:127.0.0.1:0");
    let ListenAddress::Tcp { port, .. } = tcp else { panic!("{tcp}") };
    assert_eq!(proxy.addresses().count(), 3);
    let serving = Serving::run(proxy, folder);

    async fn assert_served<L: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(link: L) {
        let mut client = Client::new(link);
        client.streamtype("__default").await;
        client.until("CREATING").await;
    }
    let abstract_name = format!("\0{name}");
    assert_served(UnixStream::connect(abstract_name).await.unwrap()).await;
    assert_served(UnixStream::connect(path).await.unwrap()).await;
    assert_served(TcpStream::connect(("127.0.0.1", port)).await.unwrap()).await;
    assert_eq!(serving.handle.counters().sessions_total, 3);
    let folder = serving.stop().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the socket file is gone");
}

#[tokio::test]
async fn sockets_that_listen_already_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ss");
    let mut proxy = Proxy::new(Config::new(Policy::builtin())).unwrap();
    let unix = proxy.adopt_unix(UnixListener::bind(&path).unwrap()).unwrap();
    assert_eq!(unix.to_string(), format!("uds:{}", path.display()));
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    assert_eq!(proxy.adopt_tcp(tcp).unwrap().to_string(), format!("tcp:127.0.0.1:{port}"));
    let serving = Serving::run(proxy, folder);
    serving.stream("__default").await;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let folder = serving.stop().await;
    assert!(folder.path().join("ss").exists(), "a file that someone else made is theirs");
}

/// After a restart they do. Beyond 128 at a TCP socket they were left to wait.
#[test]
fn clients_may_come_all_at_once() {
    const COUNT: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ss");
    let mut proxy = Proxy::new(Config::new(Policy::builtin())).unwrap();
    proxy.listen(&format!("uds:{}", path.display()).parse().unwrap()).unwrap();
    let tcp = proxy.listen(&"tcp:127.0.0.1:0".parse().unwrap()).unwrap();
    let ListenAddress::Tcp { port, .. } = tcp else { panic!("not TCP: {tcp}") };
    let address = ([127, 0, 0, 1], port).into();
    // Nobody accepts them yet.
    let mut tcp = Vec::new();
    let mut unix = Vec::new();
    for _ in 0..COUNT {
        tcp.push(std::net::TcpStream::connect_timeout(&address, crate::user::PATIENCE).unwrap());
        unix.push(std::os::unix::net::UnixStream::connect(&path).unwrap());
    }
}

#[tokio::test]
async fn two_proxies_cannot_share_an_address() {
    let serving = Serving::of(r#"{"s": []}"#);
    let mut second = Proxy::new(Config::new(Policy::builtin())).unwrap();
    let address = format!("uds:{}", serving.folder.path().join("ss").display());
    let refused = second.listen(&address.parse().unwrap()).unwrap_err();
    assert!(matches!(refused, ListenError::InUse { .. }), "{refused}");
    assert_eq!(refused.to_string(), format!("cannot listen at {address}: another process uses it"));
}

#[tokio::test]
async fn a_client_at_fault_leaves_the_others_alone() {
    let serving = Serving::of(&get(paths().await));
    let mut good = serving.stream("get").await;
    let mut bad = serving.stream("get").await;
    bad.link.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    bad.until_closed().await;
    assert!(!has(&bad.heard, State::Destroying));
    assert_eq!(fetch(&mut good).await, "/one");
    let counters = serving.handle.counters();
    assert_eq!((counters.protocol_errors, counters.bytes_to_clients), (1, 4));
}

#[tokio::test]
async fn a_new_policy_is_for_new_streams() {
    let port = paths().await;
    let serving = Serving::of(&get(port));
    let mut old = serving.stream("get").await;
    serving.handle.reload(policy(&get(port).replace("one", "two").replace("\"get\"", "\"got\"")));
    assert!(serving.handle.policy().streamtype("got").is_some());
    let mut new = serving.stream("got").await;
    assert_eq!(fetch(&mut new).await, "/two");
    assert_eq!(fetch(&mut old).await, "/one");
    let mut late = serving.client().await;
    late.streamtype("get").await;
    late.until("CREATE 1").await;
}

#[tokio::test]
async fn more_sessions_than_the_limit_are_turned_away_until_others_end() {
    let serving = Serving::with(&get(1), |config| config.limits.sessions = 2);
    let first = serving.stream("get").await;
    let _second = serving.stream("get").await;
    let mut third = serving.client().await;
    third.streamtype("get").await;
    third.until_closed().await;
    assert_eq!(third.heard.states, ["CREATE 1"]);
    let counters = serving.handle.counters();
    assert_eq!((counters.sessions_open, counters.over_limit), (2, 1));
    drop(first);
    while serving.handle.counters().sessions_open > 1 {
        tokio::task::yield_now().await;
    }
    serving.stream("get").await;
}

#[tokio::test]
async fn one_peer_cannot_take_all_sessions() {
    let serving = Serving::with(&get(1), |config| config.limits.sessions_per_client = 1);
    let _first = serving.stream("get").await;
    let mut second = serving.client().await;
    second.streamtype("get").await;
    second.until_closed().await;
    assert_eq!(second.heard.states, ["CREATE 1"]);
    assert_eq!(serving.handle.counters().over_limit, 1);
}

#[tokio::test]
async fn a_shutdown_lets_transactions_finish_and_ends_the_rest() {
    let (release, released) = tokio::sync::watch::channel(false);
    let port = server(move |mut link| {
        let mut released = released.clone();
        async move {
            let _ = request(&mut link).await;
            let answer = response(200, "", b"slow but whole");
            link.write_all(&answer[..answer.len() - 5]).await.unwrap();
            released.wait_for(|released| *released).await.unwrap();
            link.write_all(&answer[answer.len() - 5..]).await.unwrap();
        }
    })
    .await;
    let serving = Serving::of(&get(port));
    let mut idle = serving.stream("get").await;
    let mut busy = serving.stream("get").await;
    busy.send(ToProxy::OnwardConnect).await;
    busy.until("CONNECTED").await;
    let path = serving.folder.path().join("ss");
    let stopping = tokio::spawn(serving.stop());
    idle.until_closed().await;
    assert_eq!(idle.heard.states, ["CREATE 0", "CREATING"]);
    drop(idle);
    assert!(UnixStream::connect(path).await.is_err(), "nobody is let in any more");
    release.send(true).unwrap();
    busy.until_closed().await;
    assert_eq!(busy.heard.messages, [(Flags::WHOLE, b"slow but whole".to_vec())]);
    assert_eq!(busy.heard.states[4..], ["QOS_ACK_REMOTE", "DISCONNECTED"]);
    drop(busy);
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_ended() {
    let port = server(|mut link| async move {
        let _ = request(&mut link).await;
        let answer = response(200, "", b"never whole");
        link.write_all(&answer[..answer.len() - 5]).await.unwrap();
        std::future::pending().await
    })
    .await;
    let serving = Serving::with(&get(port), |config| {
        config.timeouts.drain = Duration::from_millis(50);
    });
    let mut client = serving.stream("get").await;
    client.send(ToProxy::OnwardConnect).await;
    client.until("CONNECTED").await;
    let stopping = tokio::spawn(serving.stop());
    client.until_closed().await;
    assert_eq!(client.heard.states[4..], ["DISCONNECTED"]);
    drop(client);
    stopping.await.unwrap();
}
