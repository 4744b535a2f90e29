//! h2: streams that share connections, and what one may not do to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use sspc_policy::{Protocol, Retry, StreamType};
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, mpsc};

use super::support::*;
use crate::onward::{AttemptHandle, Event, Onward, TxChunk};

async fn hello(_: Request<Incoming>) -> Response<Body> {
    Response::new(full("hello"))
}

fn policy(server: &Server) -> StreamType {
    stream(Protocol::H2, server.address)
}

/// Runs so many attempts at once.
async fn run_all(onward: &Arc<Onward>, policy: &StreamType, count: usize) -> Vec<Report> {
    let mut all = Vec::new();
    for _ in 0..count {
        let (onward, attempt) = (Arc::clone(onward), attempt(policy));
        all.push(tokio::spawn(async move { run(&onward, attempt).await }));
    }
    let mut reports = Vec::new();
    for one in all {
        reports.push(one.await.unwrap());
    }
    reports
}

#[tokio::test]
async fn a_response_becomes_connected_payload_and_ack() {
    let server = Server::http(true, hello).await;
    let report = run(&onward(), attempt(&policy(&server))).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.flags, [0x03]);
    assert_eq!(report.text(), "hello");
}

/// 200 streams start at the same moment: they wait for one handshake and share its connection. The
/// server answers only when it has all 200 at once.
#[tokio::test]
async fn two_hundred_streams_at_once_are_one_connection() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let all_here = Arc::new(Barrier::new(200));
    let server = Server::https(&certificate, &["h2"], move |_| {
        let all_here = Arc::clone(&all_here);
        async move {
            all_here.wait().await;
            Response::new(full("hello"))
        }
    })
    .await;
    let mut policy = policy(&server);
    policy.tls = true;
    policy.trust_store = certificate.store();
    let onward = onward();
    for report in run_all(&onward, &policy, 200).await {
        assert_eq!(report.text(), "hello");
        assert!(report.is_complete());
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn when_a_connection_is_full_there_is_another() {
    let all_here = Arc::new(Barrier::new(10));
    let server = Server::http(true, move |_| {
        let all_here = Arc::clone(&all_here);
        async move {
            all_here.wait().await;
            Response::new(full("hello"))
        }
    })
    .await;
    let onward = Onward::new(config_with(|config| config.limits.h2_streams = 4));
    for report in run_all(&onward, &policy(&server), 10).await {
        assert!(report.is_complete());
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_handshake_that_fails_fails_for_all_who_wait() {
    let server = Server::http(false, hello).await;
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let mut policy = policy(&server);
    policy.tls = true;
    policy.trust_store = certificate.store();
    for report in run_all(&onward(), &policy, 10).await {
        assert!(report.failure().contains("does not speak TLS"));
    }
    assert_eq!(server.accepted(), 1);
}

/// With windows as hyper sets them by default (2 MB a stream, 5 MB a connection), a few clients
/// that do not read use up the connection's window, and all other streams stand still for ever.
#[tokio::test]
async fn stalled_streams_do_not_starve_others() {
    let big = pattern(1 << 20);
    let served = big.clone();
    let server = Server::http(true, move |request: Request<Incoming>| {
        let body = served.clone();
        async move {
            let got = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full(if got.is_empty() { body } else { got }))
        }
    })
    .await;
    let onward = onward();
    let get = policy(&server);
    let mut post = get.clone();
    post.http.method = "POST".to_owned();
    let mut stalled: Vec<AttemptHandle> = Vec::new();
    for _ in 0..8 {
        let mut running = onward.start(attempt(&get));
        assert!(matches!(running.events.recv().await, Some(Event::Connected { .. })));
        stalled.push(running);
    }
    // Everything that can arrive without being read has arrived once whole bodies went by.
    for _ in 0..3 {
        let report = run(&onward, attempt(&get)).await;
        assert!(report.body == big && report.is_complete());
        let report = send(&onward, attempt(&post), &big).await;
        assert!(report.body == big && report.is_complete());
    }
    for mut running in stalled {
        let report = report(&mut running.events).await;
        assert!(report.body == big && report.is_complete());
    }
    assert_eq!(server.accepted(), 1);
}

/// Passes a connection on to `server`, and counts the credit frames towards it.
async fn count_credit(near: TcpStream, server: std::net::SocketAddr, count: Arc<AtomicUsize>) {
    const PREFACE: usize = 24;
    const WINDOW_UPDATE: u8 = 0x08;
    let (mut from_client, mut to_client) = near.into_split();
    let far = TcpStream::connect(server).await.unwrap();
    let (mut from_server, mut to_server) = far.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut preface = [0; PREFACE];
    from_client.read_exact(&mut preface).await.unwrap();
    to_server.write_all(&preface).await.unwrap();
    let mut head = [0; 9];
    while from_client.read_exact(&mut head).await.is_ok() {
        if head[3] == WINDOW_UPDATE {
            count.fetch_add(1, Ordering::SeqCst);
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut frame = head.to_vec();
        frame.resize(head.len() + length as usize, 0);
        from_client.read_exact(&mut frame[head.len()..]).await.unwrap();
        to_server.write_all(&frame).await.unwrap();
    }
}

/// If each small piece gave its credit back at once, a server at its limit would answer it with a
/// piece as small, and a body that began in crumbs would come in crumbs to its end.
#[tokio::test]
async fn small_pieces_get_their_credit_together() {
    const PIECES: usize = 8192;
    let body = pattern(PIECES * 64);
    let sent = body.clone();
    let server = Server::http(true, move |_| {
        let body = sent.clone();
        let pieces = (0..PIECES).map(move |n| Ok(Frame::data(body.slice(n * 64..(n + 1) * 64))));
        let stream = futures_util::stream::iter(pieces);
        std::future::ready(Response::new(http_body_util::StreamBody::new(stream).boxed()))
    })
    .await;
    let count = Arc::new(AtomicUsize::new(0));
    let (counter, address) = (Arc::clone(&count), server.address);
    let tap =
        Server::scripted(move |_, near| count_credit(near, address, Arc::clone(&counter))).await;
    let report = run(&onward(), attempt(&policy(&tap))).await;
    assert!(report.body == body && report.is_complete());
    let count = count.load(Ordering::SeqCst);
    assert!(count < 100, "{count} frames of credit for {PIECES} pieces");
}

/// A server that takes no data holds up its own stream's client alone, and what is held for that
/// stream has a limit.
#[tokio::test]
async fn stalled_uploads_do_not_starve_others() {
    let server = Server::http(true, |request: Request<Incoming>| async move {
        if request.uri().path() == "/stall" {
            std::future::pending::<()>().await;
        }
        let got = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(got))
    })
    .await;
    let onward = onward();
    let mut post = policy(&server);
    post.http.method = "POST".to_owned();
    let mut stall = post.clone();
    stall.http.url = "stall".into();
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let running = onward.start(attempt(&stall));
        let mut sent = 0;
        // Fills what there is to fill.
        loop {
            let chunk = TxChunk::new(Bytes::from(vec![0; 16_000]), Flags::NONE);
            let sending = running.body.send(chunk);
            match tokio::time::timeout(Duration::from_millis(200), sending).await {
                Ok(result) => result.unwrap(),
                Err(_) => break,
            }
            sent += 16_000;
            assert!(sent < 1 << 21, "a stalled stream takes everything");
        }
        stalled.push(running);
    }
    let message = pattern(1_000_000);
    let report = send(&onward, attempt(&post), &message).await;
    assert!(report.body == message && report.is_complete());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_clear_server_without_h2_gets_http_1() {
    let server = Server::http(false, |request: Request<Incoming>| async move {
        Response::new(full(format!("{:?}", request.version())))
    })
    .await;
    let onward = onward();
    for _ in 0..3 {
        let report = run(&onward, attempt(&policy(&server))).await;
        assert_eq!(report.text(), "HTTP/1.1");
    }
    // One that tried h2, one that stays.
    assert_eq!(server.accepted(), 2);
    let mut post = policy(&server);
    post.http.method = "POST".to_owned();
    assert!(send(&onward, attempt(&post), b"x").await.is_complete());
}

/// The end of so long a time is in no clock: computing it was a panic.
#[tokio::test]
async fn idle_connections_can_be_kept_for_ever() {
    let server = Server::http(true, hello).await;
    let onward = Onward::new(config_with(|config| config.timeouts.keep_warm = Duration::MAX));
    for _ in 0..3 {
        let report = run(&onward, attempt(&policy(&server))).await;
        assert!(report.is_complete(), "{:?}", report.end);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let (closed, mut when_closed) = mpsc::channel(1);
    let server = Server::scripted(move |_, socket| {
        let closed = closed.clone();
        async move {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
            }
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let config = config_with(|config| config.timeouts.keep_warm = Duration::from_millis(20));
    let onward = Onward::new(config);
    let report = run(&onward, attempt(&policy(&server))).await;
    assert_eq!(report.order, ["Connected", "Ack"]);
    tokio::time::timeout(PATIENCE, when_closed.recv()).await.unwrap().unwrap();
}

/// A server from the h2 crate itself, for what hyper's would not do.
async fn scripted<F, R>(script: F) -> Server
where
    F: Fn(usize, h2::server::Connection<TcpStream, Bytes>) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    Server::scripted(move |number, socket| {
        let script = script.clone();
        async move {
            let connection = h2::server::Builder::new()
                .max_concurrent_streams(100)
                .handshake(socket)
                .await
                .unwrap();
            script(number, connection).await;
        }
    })
    .await
}

#[tokio::test]
async fn refused_streams_are_sent_elsewhere() {
    let server = scripted(|number, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if number == 0 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                respond.send_response(Response::new(()), true).unwrap();
            }
        }
    })
    .await;
    let mut policy = policy(&server);
    assert!(run(&onward(), attempt(&policy)).await.is_complete());
    assert_eq!(server.accepted(), 2);
    policy.http.method = "POST".to_owned();
    let report = send(&onward(), attempt(&policy), b"data").await;
    assert!(report.is_complete(), "{:?}", report.end);
}

#[tokio::test]
async fn servers_that_always_refuse_are_given_up() {
    let server = scripted(|_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    })
    .await;
    let report = run(&onward(), attempt(&policy(&server))).await;
    assert!(report.failure().contains("refused"), "{:?}", report.end);
    assert_eq!(server.accepted(), 4);
}

#[tokio::test]
async fn a_reset_ends_its_own_stream_alone() {
    let server = scripted(|_, mut connection| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            match request.uri().path() {
                "/early" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                "/late" => {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"half"), false).unwrap();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        body.send_reset(h2::Reason::INTERNAL_ERROR);
                    });
                }
                _ => {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"fine"), true).unwrap();
                }
            }
        }
    })
    .await;
    let onward = onward();
    let mut policy = policy(&server);
    policy.http.url = "early".into();
    let report = run(&onward, attempt(&policy)).await;
    assert!(report.failure().contains("internal error"), "{:?}", report.end);
    policy.http.url = "late".into();
    let report = run(&onward, attempt(&policy)).await;
    assert_eq!(report.order, ["Connected", "Payload"]);
    assert_eq!(report.flags, [0x01]);
    report.loss();
    policy.http.url = "fine".into();
    assert_eq!(run(&onward, attempt(&policy)).await.text(), "fine");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_says_goodbye_takes_no_more_streams() {
    let server = scripted(|_, mut connection| async move {
        let mut requests = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            requests += 1;
            assert_eq!(requests, 1, "a request after GOAWAY");
            connection.graceful_shutdown();
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                body.send_data(Bytes::from_static(b"fine"), true).unwrap();
            });
        }
    })
    .await;
    let onward = onward();
    let mut first = onward.start(attempt(&policy(&server)));
    assert!(matches!(first.events.recv().await, Some(Event::Connected { .. })));
    for _ in 0..3 {
        assert_eq!(run(&onward, attempt(&policy(&server))).await.text(), "fine");
    }
    // What was on it before is finished.
    assert_eq!(report(&mut first.events).await.text(), "fine");
    assert_eq!(server.accepted(), 4);
}

#[tokio::test]
async fn requests_that_goodbye_overtook_go_elsewhere() {
    // The first connection throws out whatever comes, without having looked at it.
    let server = Server::scripted(|number, mut socket| async move {
        if number > 0 {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
            }
            return;
        }
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.write_all(&settings).await.unwrap();
        // Waits for HEADERS (type 1).
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            socket.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == 1 {
                break;
            }
        }
        socket.write_all(&goaway).await.unwrap();
        socket.read_to_end(&mut Vec::new()).await.unwrap();
    })
    .await;
    let mut policy = policy(&server);
    policy.http.method = "POST".to_owned();
    let report = send(&onward(), attempt(&policy), b"data").await;
    assert!(report.is_complete(), "{:?}", report.end);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_server_can_ask_for_http_1() {
    let server = Server::scripted(|_, mut socket| async move {
        let mut first = [0; 3];
        socket.peek(&mut first).await.unwrap();
        if &first == b"PRI" {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
            }
        } else {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    assert_eq!(run(&onward(), attempt(&policy(&server))).await.text(), "ok");
}

#[tokio::test]
async fn interim_responses_and_trailers_are_skipped() {
    let server = scripted(|_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            for _ in 0..3 {
                let interim = Response::builder().status(103).body(()).unwrap();
                respond.send_informational(interim).unwrap();
            }
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"fine"), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("1"));
            body.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let report = run(&onward(), attempt(&policy(&server))).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "fine");
}

#[tokio::test]
async fn the_end_rides_on_the_last_data_when_the_length_says_so() {
    let server = scripted(|_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = Response::builder().header("content-length", 4).body(()).unwrap();
            let mut body = respond.send_response(response, false).unwrap();
            body.send_data(Bytes::from_static(b"fi"), false).unwrap();
            body.send_data(Bytes::from_static(b"ne"), false).unwrap();
            body.send_data(Bytes::new(), true).unwrap();
        }
    })
    .await;
    let report = run(&onward(), attempt(&policy(&server))).await;
    assert_eq!(report.text(), "fine");
    assert_eq!(report.flags.last().map(|flags| flags & 2), Some(2));
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let server = scripted(|_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = Response::builder().header("x-big", "x".repeat(300_000));
            respond.send_response(response.body(()).unwrap(), true).unwrap();
        }
    })
    .await;
    let report = run(&onward(), attempt(&policy(&server))).await;
    assert_eq!(report.order, [""; 0]);
    report.failure();
}

#[tokio::test]
async fn a_dropped_attempt_resets_its_stream_and_keeps_the_connection() {
    let (reset, mut when_reset) = mpsc::channel(1);
    let server = scripted(move |_, mut connection| {
        let reset = reset.clone();
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let stall = request.uri().path() == "/stall";
                let mut body = respond.send_response(Response::new(()), !stall).unwrap();
                let reset = reset.clone();
                tokio::spawn(async move {
                    let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
                    if stall {
                        reset.send(reason.unwrap()).await.unwrap();
                    }
                });
            }
        }
    })
    .await;
    let onward = onward();
    let mut policy = policy(&server);
    policy.http.url = "stall".into();
    let mut running = onward.start(attempt(&policy));
    assert!(matches!(running.events.recv().await, Some(Event::Connected { .. })));
    drop(running);
    let reason = tokio::time::timeout(PATIENCE, when_reset.recv()).await.unwrap().unwrap();
    assert_eq!(reason, h2::Reason::CANCEL);
    policy.http.url = "".into();
    assert!(run(&onward, attempt(&policy)).await.is_complete());
    assert_eq!(server.accepted(), 1);
}

/// Speaks h2 up to its settings, then nothing; counts the pings it gets.
async fn silent_server(pings: Arc<AtomicUsize>) -> Server {
    Server::scripted(move |_, mut socket| {
        let pings = Arc::clone(&pings);
        async move {
            socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut preface = [0; 24];
            socket.read_exact(&mut preface).await.unwrap();
            let mut head = [0; 9];
            while socket.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                socket.read_exact(&mut vec![0; length]).await.unwrap();
                if head[3] == 6 {
                    pings.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn silent_peers_are_pinged_and_dropped_as_the_policy_says() {
    let pings = Arc::new(AtomicUsize::new(0));
    let server = silent_server(Arc::clone(&pings)).await;
    let mut policy = policy(&server);
    let mut retry = Retry::NONE;
    retry.valid_ping_s = 1;
    retry.valid_hup_s = 2;
    policy.retry = Some(Arc::new(retry));
    let report = run(&onward(), attempt(&policy)).await;
    assert!(report.failure().contains(&server.address.to_string()), "{:?}", report.end);
    assert_eq!(pings.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn endless_small_frames_are_survived() {
    let server = Server::http(true, |_| async {
        let frames = (0..10_000).map(|_| Ok(Frame::data(Bytes::from_static(b"x"))));
        let stream = futures_util::stream::iter(frames);
        Response::new(http_body_util::StreamBody::new(stream).boxed())
    })
    .await;
    let report = run(&onward(), attempt(&policy(&server))).await;
    assert_eq!(report.body.len(), 10_000);
    assert!(report.is_complete());
}
