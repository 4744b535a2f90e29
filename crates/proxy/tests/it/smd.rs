//! System messages among clients of all kinds.

use std::time::Duration;

use futures_util::future::join_all;
use sspc::tokio::{Classes, Client, Smd};
use sspc::{Error, Options};
use sspc_proxy::{Config, ListenAddress, Proxy};
use sspc_sim::Cable;
use sspc_wire::limits::PID_CREDIT_BIT;
use sspc_wire::smd::STREAMTYPE;
use sspc_wire::{Streamtype, ToProxy};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::serial::settle;
use crate::support::*;
use crate::user::PATIENCE;

const EMPTY: &str = r#"{"s": []}"#;

/// A client of the proxy's Unix socket.
fn client(serving: &Serving) -> Client {
    at(&format!("uds:{}", serving.folder.path().join("ss").display()))
}

fn at(address: &str) -> Client {
    let mut options = Options::default();
    options.keep_trying = true;
    options.config.backoff_ms = &[20, 50, 100];
    Client::with_options(address.parse().unwrap(), options)
}

pub(crate) async fn joined(client: &Client, classes: Classes) -> Smd {
    let smd = client.smd(classes).await.unwrap();
    settle(|| smd.is_connected()).await;
    smd
}

pub(crate) async fn next(smd: &mut Smd) -> String {
    let message =
        timeout(PATIENCE, smd.next()).await.expect("a message").expect("the stream lives");
    String::from_utf8(message.text).unwrap()
}

/// A proxy with a Unix socket, a TCP port and a serial port; the addresses of the last two.
fn site() -> (Serving, String, String, Cable, TempDir) {
    let mut proxy = Proxy::new(Config::new(policy(EMPTY))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    let uds = format!("uds:{}", folder.path().join("ss").display());
    proxy.listen(&uds.parse().unwrap()).unwrap();
    let tcp = proxy.listen(&"tcp:127.0.0.1:0".parse().unwrap()).unwrap().to_string();
    let port = |end| format!("serial:{}?baud=2000000", cable.port(end).display());
    let serial: ListenAddress = port(1).parse().unwrap();
    proxy.listen(&serial).unwrap();
    (Serving::run(proxy, folder), tcp, port(0), cable, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn clients_of_all_kinds_hear_each_other() {
    let (serving, tcp, serial, _cable, _folder) = site();
    let mut all = Vec::new();
    for client in [client(&serving), at(&tcp), at(&serial)] {
        all.push(joined(&client, Classes::NETWORK | Classes::SYSTEM_STATE).await);
    }
    for smd in &mut all {
        assert_eq!(next(smd).await, r#"{"state":"OPERATIONAL"}"#);
    }
    let longest = "x".repeat(383);
    for sender in 0..all.len() {
        for text in [&format!("from {sender}"), "", &longest] {
            all[sender].send(Classes::NETWORK, text).await.unwrap();
            for smd in &mut all {
                assert_eq!(next(smd).await, text);
            }
        }
    }
    serving.handle.reload(policy(EMPTY));
    for smd in &mut all {
        assert!(next(smd).await.starts_with(r#"{"policy":"updated""#));
        let error = smd.send(Classes::NETWORK, "x".repeat(384)).await.unwrap_err();
        assert!(matches!(error, Error::TooLong { length: 384, max: 383 }), "{error}");
    }
    for smd in all {
        smd.close().await;
    }
    settle(|| serving.handle.counters().sessions_open == 0).await;
}

#[tokio::test]
async fn programs_without_an_executor_take_part() {
    let serving = Serving::of(EMPTY);
    let mut other = joined(&client(&serving), Classes::NETWORK).await;
    let address = client(&serving).address().clone();
    let blocking = tokio::task::spawn_blocking(move || {
        let mut smd = sspc::blocking::Smd::open(&address, Classes::METRICS).unwrap();
        smd.send(Classes::NETWORK, "ping", Some(PATIENCE)).unwrap();
        let message = smd.next(Some(PATIENCE)).unwrap().unwrap();
        let silence = smd.next(Some(Duration::from_millis(1)));
        assert!(matches!(silence, Err(Error::TimedOut)), "{silence:?}");
        smd.close();
        message
    });
    assert_eq!(next(&mut other).await, "ping");
    other.send(Classes::METRICS, "pong").await.unwrap();
    let message = blocking.await.unwrap();
    assert_eq!((message.class, &message.text[..]), (Classes::METRICS, &b"pong"[..]));
}

/// Of a mask with high bits the client made another one, since it is no credit.
#[tokio::test]
async fn every_class_can_be_had() {
    let serving = Serving::of(EMPTY);
    let mut all = joined(&client(&serving), Classes::ALL).await;
    assert_eq!(next(&mut all).await, r#"{"state":"OPERATIONAL"}"#);
    for bit in 0..32 {
        let class = Classes::from_bits(1 << bit);
        let mut only = joined(&client(&serving), class).await;
        if class == Classes::SYSTEM_STATE {
            assert_eq!(next(&mut only).await, r#"{"state":"OPERATIONAL"}"#);
        }
        all.send(class, class.to_string()).await.unwrap();
        assert_eq!(next(&mut only).await, class.to_string());
        assert_eq!(next(&mut all).await, class.to_string());
    }
}

/// More than a window's worth, in both directions: credit goes on.
#[tokio::test]
async fn a_long_conversation_does_not_run_out_of_credit() {
    let serving = Serving::with(EMPTY, |config| config.limits.smd_rate = 100_000);
    let mut smd = joined(&client(&serving), Classes::NETWORK).await;
    let text = "x".repeat(383);
    for number in 0..500 {
        let text = format!("{number}{}", &text[..380]);
        smd.send(Classes::NETWORK, &text).await.unwrap();
        assert_eq!(next(&mut smd).await, text);
    }
}

#[tokio::test]
async fn a_client_is_on_the_next_proxys_bus_after_a_restart() {
    let serving = Serving::of(EMPTY);
    let mut smd = joined(&client(&serving), Classes::NETWORK).await;
    let folder = serving.stop().await;
    let mut proxy = Proxy::new(Config::new(policy(EMPTY))).unwrap();
    let address = format!("uds:{}", folder.path().join("ss").display());
    proxy.listen(&address.parse().unwrap()).unwrap();
    let serving = Serving::run(proxy, folder);
    settle(|| serving.handle.counters().sessions_open == 1).await;
    smd.send(Classes::NETWORK, "still here").await.unwrap();
    assert_eq!(next(&mut smd).await, "still here");
}

#[tokio::test]
async fn a_proxy_without_a_bus_says_so() {
    let serving = Serving::with(EMPTY, |config| config.smd = false);
    let address = client(&serving).address().clone();
    let error = Client::new(address).smd(Classes::ALL).await.unwrap_err().to_string();
    assert!(error.starts_with("the proxy has no system messages for clients"), "{error}");
}

/// A client of recorded bytes that joins and never reads again.
async fn stuck(serving: &Serving) -> UnixStream {
    let mut client = serving.client().await;
    let name = STREAMTYPE.as_bytes();
    let asked = Streamtype { version: 1, pid: 7 & !PID_CREDIT_BIT, tx_credit: -1, name };
    client.send(ToProxy::Streamtype(asked)).await;
    client.until("CONNECTED").await;
    client.link
}

/// Credit holds back what is for one stream of a line, so that the line's others go on.
#[tokio::test]
async fn a_device_that_does_not_read_loses_its_own_and_keeps_its_line() {
    const FLOOD: usize = 3_000;
    let (serving, _tcp, serial, _cable, _folder) = site();
    let device = at(&serial);
    let mut stuck = joined(&device, Classes::METRICS).await;
    let mut other = joined(&device, Classes::NETWORK).await;
    let smd = serving.handle.smd();
    for number in 0..FLOOD {
        smd.publish(Classes::METRICS, format!("{number} {}", "x".repeat(370))).unwrap();
        if number % 2 == 0 {
            smd.publish(Classes::NETWORK, number.to_string()).unwrap();
            assert_eq!(next(&mut other).await, number.to_string());
        }
    }
    other.send(Classes::NETWORK, "and back").await.unwrap();
    assert_eq!(next(&mut other).await, "and back");
    let counters = serving.handle.counters();
    assert_eq!((counters.sessions_total, counters.overflows, counters.link_losses), (2, 0, 0));
    // What was on its way, and the newest.
    let mut came = vec![next(&mut stuck).await];
    while !came.last().unwrap().starts_with(&format!("{} ", FLOOD - 1)) {
        came.push(next(&mut stuck).await);
    }
    assert!((41..200).contains(&came.len()), "{}", came.len());
    smd.publish(Classes::METRICS, "still there").unwrap();
    assert_eq!(next(&mut stuck).await, "still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_clients_hear_what_two_floods_and_those_that_do_not_read_cannot_drown() {
    const CLIENTS: usize = 1_000;
    let serving = Serving::with(EMPTY, |config| config.limits.smd_rate = 20);
    let client = client(&serving);
    let mut stuck_ones = Vec::new();
    for _ in 0..20 {
        stuck_ones.push(stuck(&serving).await);
    }
    let mut hearers = join_all((0..CLIENTS).map(|_| joined(&client, Classes::METRICS))).await;
    let floods: Vec<_> = join_all((0..2).map(|_| joined(&client, Classes::NONE))).await;
    let floods: Vec<_> = floods
        .into_iter()
        .map(|smd| {
            tokio::spawn(async move {
                loop {
                    smd.send(Classes::INTERACTION, "x".repeat(383)).await.unwrap();
                }
            })
        })
        .collect();
    let honest = joined(&client, Classes::NONE).await;
    for number in 0..5 {
        honest.send(Classes::METRICS, number.to_string()).await.unwrap();
        let heard = join_all(hearers.iter_mut().map(next)).await;
        assert!(heard.iter().all(|text| *text == number.to_string()), "{heard:?}");
    }
    serving.handle.smd().publish(Classes::METRICS, "from the proxy").unwrap();
    assert_eq!(next(&mut hearers[0]).await, "from the proxy");
    for flood in floods {
        flood.abort();
    }
    let counters = serving.handle.counters();
    assert_eq!(counters.smd_refused, 0);
    assert!(counters.memory_held < 1 << 20, "{counters:?}");
}
