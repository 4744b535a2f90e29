//! http/1.1: what responses become, and how connections are kept.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sspc_policy::Protocol;
use sspc_wire::Flags;
use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::onward::{End, Onward, OnwardConfig, TxChunk};

async fn get(server: &Server) -> Report {
    run(&onward(), attempt(&stream(Protocol::H1, server.address))).await
}

#[tokio::test]
async fn a_response_becomes_connected_payload_and_ack() {
    let server = Server::http(false, |_| async { Response::new(full("hello")) }).await;
    let report = get(&server).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "hello");
    assert_eq!(report.flags, [0x03]);
    assert!(report.is_complete());
}

#[tokio::test]
async fn the_request_is_made_of_policy_blobs_and_metadata() {
    let server = Server::scripted(|_, mut socket| async move {
        let head = read_head(&mut socket).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.method = "DELETE".to_owned();
    policy.http.url = "/things?q=${q}".into();
    policy.http.auth_header = Some("authorization:".to_owned());
    policy.http.auth_preamble = Some("bearer ".to_owned());
    policy.http.dsn_header = Some("X-Serial".to_owned());
    policy.http.fwv_header = Some("x-unset".to_owned());
    policy.metadata =
        vec![item("a", "X-First:"), item("q", ""), item("b", "x-second"), item("c", "connection:")];
    let config = OnwardConfig::default();
    config.credentials.change(|own| own.auth = Bytes::from_static(b"token"));
    config.credentials.change(|own| own.serial_number = Bytes::from_static(b"1234"));
    let mut attempt = attempt(&policy);
    attempt.metadata = [("a", "1"), ("b", "2"), ("q", "x y"), ("c", "upgrade")]
        .map(|(name, value)| (name.to_owned(), Bytes::from(value)))
        .to_vec();
    let report = run(&Onward::new(config), attempt).await;
    let host = server.address;
    let expected = format!(
        "DELETE /things?q=x%20y HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
         Pragma: no-cache\r\nCache-Control: no-cache\r\nAuthorization: bearer token\r\n\
         X-Serial: 1234\r\nX-Second: 2\r\nX-First: 1\r\n\r\n"
    );
    assert_eq!(report.text(), expected);
}

/// It went out as `%23top`, and the server found nothing of that name.
#[tokio::test]
async fn the_fragment_of_a_url_is_not_sent() {
    let server = Server::http(false, |request: Request<Incoming>| async move {
        Response::new(full(request.uri().to_string()))
    })
    .await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.url = "a?b=c#top".into();
    assert_eq!(run(&onward(), attempt(&policy)).await.text(), "/a?b=c");
    policy.endpoint = Some(format!("http://{}/d?e=f#top", server.address).as_str().into());
    assert_eq!(run(&onward(), attempt(&policy)).await.text(), "/d?e=f");
}

/// The preamble once went out alone, as a credential that is none.
#[tokio::test]
async fn without_a_credential_there_is_no_header_for_it() {
    let server = Server::http(false, |request: Request<Incoming>| async move {
        let sent = request.headers().contains_key("authorization");
        Response::new(full(if sent { "sent" } else { "left out" }))
    })
    .await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.auth_header = Some("authorization:".to_owned());
    policy.http.auth_preamble = Some("bearer ".to_owned());
    assert_eq!(run(&onward(), attempt(&policy)).await.text(), "left out");
    let with = Onward::new(config_with(|config| {
        config.credentials.change(|own| own.auth = "token".into())
    }));
    assert_eq!(run(&with, attempt(&policy)).await.text(), "sent");
}

/// More than 1,000 headers were a broken response, and so were more than 64 KiB.
#[tokio::test]
async fn headers_are_taken_up_to_so_many_bytes() {
    let cases = [(101, 1, true), (1001, 1, true), (9000, 1, true), (101, 2400, true)];
    for (count, length, good) in cases.into_iter().chain([(101, 2700, false), (30_000, 1, false)]) {
        let server = Server::scripted(move |_, mut socket| async move {
            read_head(&mut socket).await;
            let value = "v".repeat(length);
            let filler: String = (2..=count)
                .map(|n| format!("X-{n}: {}\r\n", if n == 101 { "101" } else { &value }))
                .collect();
            let answer = format!("HTTP/1.1 200 OK\r\n{filler}Content-Length: 2\r\n\r\nok");
            // Who has too much does not read the rest.
            let _ = socket.write_all(answer.as_bytes()).await;
        })
        .await;
        let mut policy = stream(Protocol::H1, server.address);
        policy.metadata = vec![item("last", "x-101")];
        let report = run(&onward(), attempt(&policy)).await;
        if good {
            assert_eq!(report.order, ["Metadata", "Connected", "Payload", "Ack"], "{count}");
            assert_eq!(report.value("last"), Some("101"));
        } else {
            let why = report.failure();
            assert!(why.contains("too large") || why.contains("header"), "{why}");
        }
    }
}

#[tokio::test]
async fn metadata_cannot_break_the_request() {
    let server = Server::answering(&["HTTP/1.1 200 OK\r\n\r\n"]).await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.metadata = vec![item("a", "x-a:")];
    for value in ["1\r\nHost: evil", "1\n", "1\0"] {
        let mut attempt = attempt(&policy);
        attempt.metadata = vec![("a".to_owned(), Bytes::from(value))];
        let report = run(&onward(), attempt).await;
        assert!(report.failure().contains("x-a"), "{:?}", report.end);
    }
    policy.http.url = "get?${a}".into();
    let mut attempt = attempt(&policy);
    attempt.metadata = vec![("a".to_owned(), Bytes::from_static(b"1\r\n"))];
    assert!(run(&onward(), attempt).await.failure().contains("http_url"));
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn response_headers_precede_what_belongs_to_them() {
    let server = Server::http(false, |_| async {
        let response = Response::builder().status(404).header("x-rig", "1").header("x-rig", "2");
        response.header("server", "s").body(full("gone")).unwrap()
    })
    .await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.metadata = vec![item("rig", "X-Rig:"), item("srv", "server"), item("no", "x-none")];
    policy.http.resp_map = vec![(404, 1404)];
    policy.perf = true;
    let report = run(&onward(), attempt(&policy)).await;
    assert_eq!(report.order, ["Metadata", "Perf", "UserState", "Connected", "Payload", "Nack"]);
    assert_eq!(report.value("rig"), Some("1, 2"));
    assert_eq!(report.metadata.first().map(|(name, _)| name.as_str()), Some("srv"));
    assert_eq!(report.states, [1404]);
    let perf: serde_json::Value = serde_json::from_str(&report.perf.unwrap()).unwrap();
    assert_eq!(perf["peer"], "127.0.0.1");
    assert_eq!(perf["prot_specific"]["resp"], 404);
}

#[tokio::test]
async fn responses_without_a_body_complete_at_their_headers() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        // The server keeps the connection open: nothing may wait for its end.
        let server = Server::scripted(move |_, mut socket| async move {
            read_head(&mut socket).await;
            socket.write_all(head.as_bytes()).await.unwrap();
            read_head(&mut socket).await;
        })
        .await;
        let report = get(&server).await;
        let verdict = if head.contains("304") { "Nack" } else { "Ack" };
        assert_eq!(report.order, ["Connected", verdict], "{head}");
    }
    let server = Server::http(false, |_| async { Response::new(full("hello")) }).await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.method = "HEAD".to_owned();
    assert_eq!(run(&onward(), attempt(&policy)).await.order, ["Connected", "Ack"]);
}

#[tokio::test]
async fn the_expected_status_is_the_good_one() {
    let server = Server::answering(&["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.expect = Some(200);
    assert_eq!(run(&onward(), attempt(&policy)).await.order, ["Connected", "Nack"]);
    policy.http.expect = Some(204);
    assert_eq!(run(&onward(), attempt(&policy)).await.order, ["Connected", "Ack"]);
}

#[tokio::test]
async fn interim_responses_are_skipped() {
    let server = Server::answering(&[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ])
    .await;
    let report = get(&server).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "ok");
}

#[tokio::test]
async fn chunks_and_trailers_are_invisible() {
    let server = Server::answering(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
         Trailer: x-sum\r\n\r\n3\r\nabc\r\n2;e=1\r\nde\r\n0\r\nx-sum: 1\r\n\r\n"])
    .await;
    let report = get(&server).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "abcde");
    assert_eq!(report.flags.first(), Some(&0x01));
    assert_eq!(report.flags.last().map(|flags| flags & 2), Some(2));
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let server = Server::answering(&["HTTP/1.0 200 OK\r\n\r\nabc"]).await;
    let report = get(&server).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "abc");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_lost_and_not_ended() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let server = Server::scripted(move |_, mut socket| async move {
            read_head(&mut socket).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let report = get(&server).await;
        assert_eq!(report.order, ["Connected", "Payload"]);
        assert_eq!(report.text(), "abc");
        assert_eq!(report.flags, [0x01]);
        assert!(report.loss().contains(&server.address.to_string()));
    }
}

#[tokio::test]
async fn failures_before_the_response_say_what_and_where() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = run(&onward(), attempt(&stream(Protocol::H1, refused))).await;
    assert!(report.failure().contains(&refused.to_string()), "{:?}", report.end);
    assert!(report.failure().contains("refused"));

    for answer in ["", "garbage\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        let server = Server::scripted(move |_, mut socket| async move {
            read_head(&mut socket).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let report = get(&server).await;
        assert!(report.failure().contains(&server.address.to_string()), "{answer:?}");
        assert_eq!(report.order, [""; 0]);
    }
}

#[tokio::test]
async fn names_that_do_not_resolve_fail() {
    let mut policy = stream(Protocol::H1, ([127, 0, 0, 1], 1).into());
    policy.endpoint = Some("no-such-host.invalid".into());
    let report = run(&onward(), attempt(&policy)).await;
    assert!(report.failure().contains("cannot resolve no-such-host.invalid"));
}

#[tokio::test]
async fn busy_servers_tell_when_to_come_back() {
    for status in ["503 Busy", "429 Slow Down"] {
        let answer = format!("HTTP/1.1 {status}\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno");
        let server = Server::scripted(move |_, mut socket| {
            let answer = answer.clone();
            async move {
                read_head(&mut socket).await;
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        let mut policy = stream(Protocol::H1, server.address);
        policy.metadata = vec![item("after", "retry-after:")];
        let report = run(&onward(), attempt(&policy)).await;
        assert_eq!(report.order, [""; 0]);
        let Some(End::Failed(failure)) = report.end else { panic!("{:?}", report.end) };
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        // The client has heard CONNECTED and the policy allows no second try: an answer like any
        // other.
        policy.http.method = "POST".to_owned();
        let report = send(&onward(), attempt(&policy), b"data").await;
        assert_eq!(report.order, ["Connected", "Metadata", "Payload", "Nack"]);
    }
}

#[tokio::test]
async fn connections_are_kept_for_the_next_exchange() {
    let server = Server::http(false, |request: Request<Incoming>| async move {
        Response::new(request.into_body().collect().await.map_or(full(""), |b| full(b.to_bytes())))
    })
    .await;
    let onward = onward();
    let get = stream(Protocol::H1, server.address);
    let mut post = get.clone();
    post.http.method = "POST".to_owned();
    for _ in 0..5 {
        assert_eq!(run(&onward, attempt(&get)).await.order, ["Connected", "Ack"]);
        let report = send(&onward, attempt(&post), b"ping").await;
        assert_eq!(report.text(), "ping");
    }
    assert_eq!(server.accepted(), 1);
}

/// The end of so long a time is in no clock: computing it was a panic.
#[tokio::test]
async fn idle_connections_can_be_kept_for_ever() {
    let server = Server::http(false, |_| async { Response::new(full("hello")) }).await;
    let onward = Onward::new(config_with(|config| config.timeouts.keep_warm = Duration::MAX));
    for _ in 0..3 {
        let report = run(&onward, attempt(&stream(Protocol::H1, server.address))).await;
        assert!(report.is_complete(), "{:?}", report.end);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let (closed, mut when_closed) = tokio::sync::mpsc::channel(1);
    let server = Server::scripted(move |_, mut socket| {
        let closed = closed.clone();
        async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            read_head(&mut socket).await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let config = config_with(|config| config.timeouts.keep_warm = Duration::from_millis(20));
    let onward = Onward::new(config);
    assert!(run(&onward, attempt(&stream(Protocol::H1, server.address))).await.is_complete());
    tokio::time::timeout(PATIENCE, when_closed.recv()).await.unwrap().unwrap();
}

/// A server may close a kept connection just as the next request goes out on it.
#[tokio::test]
async fn a_kept_connection_that_dies_is_replaced_unseen() {
    let server = Server::scripted(|number, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        // The first connection takes the second request and closes without an answer.
        read_head(&mut socket).await;
        assert_eq!(number, 0);
    })
    .await;
    let onward = onward();
    let policy = stream(Protocol::H1, server.address);
    for _ in 0..2 {
        let report = run(&onward, attempt(&policy)).await;
        assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    }
    assert_eq!(server.accepted(), 2);
}

/// A POST that got no answer may have had its effect: it is not repeated behind the client's back.
#[tokio::test]
async fn a_post_on_a_dying_connection_is_not_repeated() {
    let server = Server::scripted(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        read_head(&mut socket).await;
    })
    .await;
    let onward = onward();
    let mut policy = stream(Protocol::H1, server.address);
    assert!(run(&onward, attempt(&policy)).await.is_complete());
    policy.http.method = "POST".to_owned();
    let report = send(&onward, attempt(&policy), b"data").await;
    assert_eq!(report.order, ["Connected"]);
    report.loss();
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn unix_sockets_are_endpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = read_head(&mut socket).await;
        assert!(head.contains("Host: localhost\r\n"), "{head}");
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    });
    let mut policy = stream(Protocol::H1, ([127, 0, 0, 1], 1).into());
    policy.endpoint = Some(format!("+{}", path.display()).as_str().into());
    assert_eq!(run(&onward(), attempt(&policy)).await.text(), "ok");

    let name = format!("sspc-onward-test-{}", std::process::id());
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
            &name,
        )
        .unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    });
    policy.endpoint = Some(format!("+@{name}").as_str().into());
    assert_eq!(run(&onward(), attempt(&policy)).await.text(), "ok");
}

#[tokio::test]
async fn dropping_the_attempt_closes_its_connection() {
    let (closed, mut when_closed) = tokio::sync::mpsc::channel(1);
    let server = Server::scripted(move |_, mut socket| {
        let closed = closed.clone();
        async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
            read_head(&mut socket).await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let mut running = onward().start(attempt(&stream(Protocol::H1, server.address)));
    running.events.recv().await.unwrap();
    drop(running);
    tokio::time::timeout(PATIENCE, when_closed.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn methods_without_a_body_take_none() {
    let server = Server::http(false, |_| async { Response::new(full("")) }).await;
    let running = onward().start(attempt(&stream(Protocol::H1, server.address)));
    tokio::time::timeout(PATIENCE, running.body.closed()).await.unwrap();
    let chunk = TxChunk::new(Bytes::new(), Flags::WHOLE);
    assert!(running.body.try_send(chunk).is_err());
}

#[tokio::test]
async fn what_this_proxy_cannot_do_fails_plainly() {
    let address = ([127, 0, 0, 1], 1).into();
    let mut policy = stream(Protocol::H1, address);
    policy.http.method = "CONNECT".to_owned();
    assert!(run(&onward(), attempt(&policy)).await.failure().contains("CONNECT"));
    policy.endpoint = Some("file:///etc/passwd".into());
    assert!(run(&onward(), attempt(&policy)).await.failure().contains("file:"));
    policy.endpoint = None;
    assert!(run(&onward(), attempt(&policy)).await.failure().contains("endpoint"));
}

#[tokio::test]
async fn unasked_upgrades_are_failures() {
    let server = Server::answering(&[
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    ])
    .await;
    let report = get(&server).await;
    assert_eq!(report.order, [""; 0]);
    report.failure();
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    for filler in ["X-Filler: yes\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let interim = filler.starts_with("HTTP");
        let server = Server::scripted(move |_, mut socket| async move {
            read_head(&mut socket).await;
            if !interim {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n").await;
            }
            let filler = filler.repeat(1000);
            // Far more than anyone should take, and then for ever.
            while socket.write_all(filler.as_bytes()).await.is_ok() {}
        })
        .await;
        let config = config_with(|config| config.timeouts.response = Duration::from_millis(300));
        let report =
            run(&Onward::new(config), attempt(&stream(Protocol::H1, server.address))).await;
        assert_eq!(report.order, [""; 0]);
        report.failure();
    }
}

#[tokio::test]
async fn statuses_are_told_from_each_other() {
    for (status, verdict) in [(200, "Ack"), (206, "Ack"), (401, "Nack"), (500, "Nack")] {
        let server = Server::http(false, move |_| async move {
            let status = StatusCode::from_u16(status).unwrap();
            let response = Response::builder().status(status).header("www-authenticate", "Digest");
            response.body(full("x")).unwrap()
        })
        .await;
        assert_eq!(get(&server).await.order, ["Connected", "Payload", verdict]);
    }
}
