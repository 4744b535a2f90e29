//! h2 connections that end while streams are on them: who has to hear of it, and who has not.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sspc_policy::{Protocol, StreamType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::support::*;
use crate::identity::Identity;
use crate::onward::{Attempt, AttemptHandle, Event, Onward};

/// A streamtype whose client chooses the path.
fn policy(server: &Server) -> StreamType {
    let mut policy = stream(Protocol::H2, server.address);
    policy.metadata = vec![item("path", ""), item("big", "x-big")];
    policy.http.url = "${path}".into();
    policy
}

fn to(policy: &StreamType, path: &str) -> Attempt {
    let metadata = vec![("path".to_owned(), Bytes::copy_from_slice(path.as_bytes()))];
    Attempt { metadata, ..attempt(policy) }
}

type H2 = h2::server::Connection<TcpStream, Bytes>;

async fn h2_server(socket: TcpStream) -> H2 {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1000).handshake(socket).await.unwrap()
}

fn answer(mut respond: h2::server::SendResponse<Bytes>, text: &'static str) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
}

/// Runs all of these at once; their reports in the same order.
async fn all(onward: &Arc<Onward>, attempts: Vec<Attempt>) -> Vec<Report> {
    let mut running: Vec<_> = attempts.into_iter().map(|one| onward.start(one)).collect();
    let mut reports = Vec::new();
    for one in &mut running {
        reports.push(report(&mut one.events).await);
    }
    reports
}

/// How the first connection of a server ends, with requests on it that were not answered.
async fn end(how: &str, mut connection: H2) {
    match how {
        "closed" => drop(connection),
        "goaway" => {
            connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
        }
        other => panic!("{other}"),
    }
}

/// The first stream of a connection was told that the connection was lost, and its client
/// ALL_RETRIES_FAILED, whatever another one did to the connection.
#[tokio::test]
async fn unanswered_requests_move_when_their_connection_dies() {
    for how in ["closed", "goaway"] {
        let server = Server::scripted(move |number, socket| async move {
            let mut connection = h2_server(socket).await;
            let mut held = Vec::new();
            while let Some(Ok((request, respond))) = connection.accept().await {
                if number > 0 {
                    answer(respond, "fine");
                    continue;
                }
                held.push((request, respond));
                if held.len() == 4 {
                    return end(how, connection).await;
                }
            }
        })
        .await;
        let onward = onward();
        let mut policies = Vec::new();
        for method in ["GET", "PUT", "DELETE", "POST"] {
            let mut policy = policy(&server);
            policy.http.method = method.to_owned();
            policies.push(policy);
        }
        let send = |i: usize| send(&onward, to(&policies[i], "x"), b"data");
        let (get, put, delete, post) = tokio::join!(
            run(&onward, to(&policies[0], "x")),
            send(1),
            run(&onward, to(&policies[2], "x")),
            send(3)
        );
        for report in [get, put, delete] {
            assert!(report.is_complete() && report.text() == "fine", "{how}: {:?}", report.end);
        }
        // It may have been worked on, and twice would be wrong.
        post.loss();
        assert_eq!(server.accepted(), 2, "{how}");
    }
}

/// Whatever it is about a request that a server ends the connection for: the requests beside it move
/// along with it once, and then each has a connection of its own.
#[tokio::test]
async fn a_request_that_kills_its_connections_does_not_kill_others_for_good() {
    const OTHERS: usize = 20;
    let deaths = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&deaths);
    let server = Server::scripted(move |_, socket| {
        let deaths = Arc::clone(&counter);
        async move {
            let mut connection = h2_server(socket).await;
            let mut held = Vec::new();
            let mut is_poisoned = false;
            while let Some(Ok((request, respond))) = connection.accept().await {
                let shared = deaths.load(Ordering::SeqCst) < 2;
                is_poisoned |= request.uri().path() == "/poison";
                if shared {
                    held.push((request, respond));
                } else if request.uri().path() != "/poison" {
                    answer(respond, "fine");
                }
                if is_poisoned && (!shared || held.len() == OTHERS + 1) {
                    deaths.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
    })
    .await;
    let policy = policy(&server);
    let mut attempts: Vec<_> = (0..OTHERS).map(|_| to(&policy, "good")).collect();
    attempts.insert(7, to(&policy, "poison"));
    let mut reports = all(&onward(), attempts).await;
    reports.remove(7).failure();
    for report in reports {
        assert_eq!(report.text(), "fine");
    }
    assert_eq!(deaths.load(Ordering::SeqCst), 3);
    assert_eq!(server.accepted(), 2 + OTHERS + 1);
}

/// As above, where the server ends the connection before it has all requests.
#[tokio::test]
async fn requests_beyond_what_a_connection_takes_move_as_often_as_needed() {
    // SETTINGS, then after `EACH` requests GOAWAY that names the last of them, and their answers.
    const EACH: u32 = 2;
    let server = Server::scripted(|_, mut socket| async move {
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        socket.read_exact(&mut [0; 24]).await.unwrap();
        let mut requests = Vec::new();
        while let Ok(frame) = read_frame(&mut socket).await {
            if frame.kind == HEADERS {
                requests.push(frame.stream);
            }
            if requests.len() as u32 == EACH {
                break;
            }
        }
        let Some(last) = requests.last() else { return };
        let last = last.to_be_bytes();
        let goaway = [&[0, 0, 8, 7, 0, 0, 0, 0, 0], &last[..], &[0; 4]].concat();
        socket.write_all(&goaway).await.unwrap();
        for stream in requests {
            socket.write_all(&frame_of(HEADERS, END_OF_HEAD, stream, &[OK])).await.unwrap();
            socket.write_all(&frame_of(DATA, END_OF_STREAM, stream, b"fine")).await.unwrap();
        }
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut policy = policy(&server);
    policy.http.method = "DELETE".to_owned();
    let reports = all(&onward(), (0..40).map(|_| to(&policy, "x")).collect()).await;
    for report in reports {
        assert_eq!(report.text(), "fine", "{:?}", report.end);
    }
    assert_eq!(server.accepted(), 20);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const END_OF_STREAM: u8 = 1;
const END_OF_HEAD: u8 = 4;
/// `:status: 200`
const OK: u8 = 0x88;

struct Frame {
    kind: u8,
    stream: u32,
}

async fn read_frame(socket: &mut TcpStream) -> std::io::Result<Frame> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await?;
    let [a, b, c, kind, _, stream @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    socket.read_exact(&mut vec![0; length as usize]).await?;
    Ok(Frame { kind, stream: u32::from_be_bytes(stream) })
}

fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Waits for CONNECTED.
async fn connected(running: &mut AttemptHandle) {
    assert!(matches!(running.events.recv().await, Some(Event::Connected { .. })));
}

/// Servers end connections on which many streams are broken off, against an attack (CVE-2023-44487);
/// some after 20 that they had no time to look at.
#[tokio::test]
async fn a_connection_with_streams_broken_off_is_left_before_its_server_ends_it() {
    const DROPPED: usize = 100;
    let (open, opened) = watch::channel(false);
    let resets = Arc::new(Mutex::new(HashMap::<usize, usize>::new()));
    let counters = Arc::clone(&resets);
    let server = Server::scripted(move |number, socket| {
        let (opened, counters) = (opened.clone(), Arc::clone(&counters));
        async move {
            let mut connection = h2_server(socket).await;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                let (mut opened, counters) = (opened.clone(), Arc::clone(&counters));
                let is_download = request.uri().path() == "/download";
                tokio::spawn(async move {
                    if is_download {
                        opened.wait_for(|opened| *opened).await.unwrap();
                        body.send_data(Bytes::from_static(b"fine"), true).unwrap();
                    } else if std::future::poll_fn(|cx| body.poll_reset(cx)).await.is_ok() {
                        *counters.lock().unwrap().entry(number).or_default() += 1;
                    }
                });
            }
        }
    })
    .await;
    let onward = onward();
    let policy = policy(&server);
    let mut download = onward.start(to(&policy, "download"));
    connected(&mut download).await;
    for _ in 0..DROPPED {
        let mut running = onward.start(to(&policy, "dropped"));
        connected(&mut running).await;
        drop(running);
    }
    open.send_replace(true);
    assert_eq!(report(&mut download.events).await.text(), "fine");
    let all_seen = async {
        while resets.lock().unwrap().values().sum::<usize>() < DROPPED {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_seen).await.unwrap();
    let resets = resets.lock().unwrap();
    assert!(resets.values().all(|count| *count <= 16), "{resets:?}");
    assert_eq!(server.accepted(), DROPPED.div_ceil(16));
}

/// Streams that end well, however many, share their connection.
#[tokio::test]
async fn a_connection_on_which_all_ends_well_is_kept() {
    let server = Server::scripted(|_, socket| async move {
        let mut connection = h2_server(socket).await;
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(respond, "fine");
        }
    })
    .await;
    let onward = onward();
    for _ in 0..50 {
        assert!(run(&onward, to(&policy(&server), "x")).await.is_complete());
    }
    assert_eq!(server.accepted(), 1);
}

/// The h2 crate remembers 50 streams for a second by default, and ends the connection when data has
/// come a thousand times for others: one client that left many downloads took along the rest.
#[tokio::test]
async fn late_data_for_streams_broken_off_ends_no_connection() {
    const DROPPED: u32 = 100;
    let server = Server::scripted(|number, mut socket| async move {
        assert_eq!(number, 0);
        // 101 streams at a time, windows of 256 KiB.
        socket.write_all(&frame_of(4, 0, 0, &[0, 3, 0, 0, 0, 200])).await.unwrap();
        socket.read_exact(&mut [0; 24]).await.unwrap();
        let (mut requests, mut resets) = (Vec::new(), Vec::new());
        while resets.len() < DROPPED as usize {
            let frame = read_frame(&mut socket).await.unwrap();
            if frame.kind == HEADERS {
                socket
                    .write_all(&frame_of(HEADERS, END_OF_HEAD, frame.stream, &[OK]))
                    .await
                    .unwrap();
                requests.push(frame.stream);
            } else if frame.kind == RESET {
                resets.push(frame.stream);
            }
        }
        // As if all that had been on its way.
        for _ in 0..30 {
            let late: Vec<u8> =
                resets.iter().flat_map(|id| frame_of(DATA, 0, *id, &[b'x'; 100])).collect();
            socket.write_all(&late).await.unwrap();
            socket.write_all(&frame_of(PING, 0, 0, &[0; 8])).await.unwrap();
            while read_frame(&mut socket).await.unwrap().kind != PING {}
        }
        let download = requests[0];
        socket.write_all(&frame_of(DATA, END_OF_STREAM, download, b"fine")).await.unwrap();
        pending::<()>().await;
    })
    .await;
    let onward = onward();
    let policy = policy(&server);
    let mut download = onward.start(to(&policy, "download"));
    connected(&mut download).await;
    let mut dropped: Vec<_> = (0..DROPPED).map(|_| onward.start(to(&policy, "dropped"))).collect();
    for running in &mut dropped {
        connected(running).await;
    }
    drop(dropped);
    assert_eq!(report(&mut download.events).await.text(), "fine");
}

/// What one server takes another ends the connection for: nginx from some 10,000 bytes on.
#[tokio::test]
async fn a_large_head_has_a_connection_of_its_own() {
    let server = Server::scripted(|_, socket| async move {
        let mut connection = h2_server(socket).await;
        let mut held = Vec::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            if request.headers().get("x-big").is_some_and(|value| value.len() > 10_000) {
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            } else if request.headers().contains_key("x-big") {
                answer(respond, "large");
            } else if held.is_empty() {
                held.push(respond);
            } else {
                answer(held.pop().unwrap(), "fine");
                answer(respond, "fine");
            }
        }
    })
    .await;
    let onward = onward();
    let policy = policy(&server);
    let mut waiting = onward.start(to(&policy, "waiting"));
    while server.accepted() == 0 {
        tokio::task::yield_now().await;
    }
    let big = |length: usize| {
        let metadata = vec![("big".to_owned(), Bytes::from(vec![b'x'; length]))];
        Attempt { metadata, ..attempt(&policy) }
    };
    run(&onward, big(12_000)).await.failure();
    assert_eq!(server.accepted(), 2, "it is not repeated: there was nobody else");
    assert_eq!(run(&onward, big(5_000)).await.text(), "large");
    assert_eq!(run(&onward, big(1_000)).await.text(), "large");
    assert_eq!(run(&onward, to(&policy, "another")).await.text(), "fine");
    assert_eq!(report(&mut waiting.events).await.text(), "fine");
    assert_eq!(server.accepted(), 3);
}

/// However many routes there were, one after another, no more connections stay behind than may.
#[tokio::test]
async fn idle_h2_connections_give_way() {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let server = Server::scripted(move |_, socket| {
        let open = Arc::clone(&counter);
        async move {
            let mut connection = h2_server(socket).await;
            open.fetch_add(1, Ordering::SeqCst);
            while let Some(Ok((_, respond))) = connection.accept().await {
                answer(respond, "fine");
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let keep_warm = Duration::from_secs(3600);
    let mut onward = Onward::new(config_with(|config| config.timeouts.keep_warm = keep_warm));
    Arc::get_mut(&mut onward).unwrap().h2.idle_max = 3;
    for number in 0..20 {
        // No connection does for the next one.
        let client = Identity::User(number);
        let attempt = Attempt { client, ..to(&policy(&server), "x") };
        assert!(run(&onward, attempt).await.is_complete());
    }
    let all_gone = async {
        while open.load(Ordering::SeqCst) > 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_gone).await.unwrap();
}
