//! `http_cookies`: to whom cookies go back, and to whom they do not.

use std::sync::Arc;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use hyper::body::Incoming;
use sspc_policy::{Protocol, StreamType};
use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::identity::Identity;
use crate::onward::{Attempt, Onward};

/// Answers with the cookies that it got, sets what stands behind `set=` and one that is as long as
/// `long=` says, and redirects to what stands behind `to=`.
async fn handler(request: Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
    let cookies: Vec<_> = cookies.iter().map(|value| value.to_str().unwrap()).collect();
    let mut response = Response::builder();
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("set", cookie)) => response = response.header(SET_COOKIE, cookie),
            Some(("long", length)) => {
                let cookie = format!("c={}", "x".repeat(length.parse().unwrap()));
                response = response.header(SET_COOKIE, cookie);
            }
            Some(("to", place)) => response = response.status(302).header("location", place),
            _ => {}
        }
    }
    response.body(full(cookies.join("|"))).unwrap()
}

fn policy(protocol: Protocol, server: &Server, url: &str) -> StreamType {
    let mut policy = stream(protocol, server.address);
    policy.http.url = url.into();
    policy.http.cookies = true;
    policy.allow_redirects = true;
    policy
}

/// The cookies that a server gets of a user.
async fn asked(onward: &Arc<Onward>, uid: u32, policy: &StreamType) -> String {
    let attempt = Attempt { client: Identity::User(uid), ..attempt(policy) };
    let report = run(onward, attempt).await;
    assert!(report.is_complete(), "{report:?}");
    report.text().to_owned()
}

#[tokio::test]
async fn a_servers_cookies_come_back_to_it_and_to_nobody_else() {
    for (protocol, h2) in [(Protocol::H1, false), (Protocol::H2, true)] {
        let server = Server::http(h2, handler).await;
        let other = Server::http(h2, handler).await;
        let onward = onward();
        let sets = policy(protocol, &server, "/?set=a=1&set=b=2");
        let asks = policy(protocol, &server, "/x");
        assert_eq!(asked(&onward, 1, &sets).await, "");
        assert_eq!(asked(&onward, 1, &asks).await, "a=1; b=2");
        assert_eq!(asked(&onward, 2, &asks).await, "", "another client has its session");
        assert_eq!(asked(&onward, 1, &policy(protocol, &other, "/x")).await, "", "another server");

        let mut without = asks.clone();
        without.http.cookies = false;
        assert_eq!(asked(&onward, 1, &without).await, "", "the policy does not ask for it");
        assert_eq!(
            asked(&onward, 1, &policy(protocol, &server, "/?set=a=;max-age=0")).await,
            "a=1; b=2"
        );
        assert_eq!(asked(&onward, 1, &asks).await, "b=2");
    }
}

#[tokio::test]
async fn a_redirect_takes_cookies_along_on_its_own_server_alone() {
    let server = Server::http(false, handler).await;
    let other = Server::http(false, handler).await;
    let onward = onward();
    let login = policy(Protocol::H1, &server, "/?set=a=1&to=/next");
    assert_eq!(asked(&onward, 1, &login).await, "a=1");

    let away = format!("/?set=b=2&to=http://{}/", other.address);
    assert_eq!(asked(&onward, 1, &policy(Protocol::H1, &server, &away)).await, "");
    // The other's own are its own.
    let there = format!("/?to=http://{}/?set=c=3", other.address);
    assert_eq!(asked(&onward, 1, &policy(Protocol::H1, &server, &there)).await, "");
    let there = format!("/?to=http://{}/", other.address);
    assert_eq!(asked(&onward, 1, &policy(Protocol::H1, &server, &there)).await, "c=3");
    assert_eq!(asked(&onward, 1, &policy(Protocol::H1, &server, "/")).await, "a=1; b=2");
}

#[tokio::test]
async fn cookies_of_the_clients_own_take_the_place_of_those_kept() {
    let server = Server::http(false, handler).await;
    let onward = onward();
    asked(&onward, 1, &policy(Protocol::H1, &server, "/?set=a=1")).await;
    let mut own = policy(Protocol::H1, &server, "/");
    own.metadata.push(item("mine", "Cookie:"));
    let with = |value: &'static str| Attempt {
        client: Identity::User(1),
        metadata: vec![("mine".to_owned(), value.into())],
        ..attempt(&own)
    };
    assert_eq!(run(&onward, with("m=1")).await.text(), "m=1");
    let broken = run(&onward, with("m=1\r\nx-admin: 1")).await;
    assert!(broken.failure().contains("control characters"), "{broken:?}");
    assert_eq!(asked(&onward, 1, &policy(Protocol::H1, &server, "/")).await, "a=1");
}

/// Cookies that do not fit into a request would make all later ones fail.
#[tokio::test]
async fn cookies_never_make_a_request_too_large() {
    let onward = Onward::new(config_with(|config| {
        config.limits.request_head = 1000;
        config.limits.cookies = 8192;
    }));
    let large = "x".repeat(500);
    for h2 in [false, true] {
        let server = Server::http(h2, handler).await;
        let protocol = if h2 { Protocol::H2 } else { Protocol::H1 };
        let url = format!("/?set=a={large}");
        asked(&onward, 1, &policy(protocol, &server, &url)).await;
        asked(&onward, 1, &policy(protocol, &server, &url.replace("=a=", "=b="))).await;
        let sent = asked(&onward, 1, &policy(protocol, &server, "/")).await;
        assert_eq!(sent, format!("a={large}"));
        // With the other headers this is too much.
        asked(&onward, 2, &policy(protocol, &server, "/?long=900")).await;
        assert_eq!(asked(&onward, 2, &policy(protocol, &server, "/")).await, "");
    }
}

#[tokio::test]
async fn a_websocket_has_the_cookies_of_its_server() {
    let (got, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::scripted(move |_, mut socket| {
        let got = got.clone();
        async move {
            got.send(read_head(&mut socket).await).unwrap();
            let answer = "HTTP/1.1 403 No\r\nset-cookie: w=1\r\n\r\n";
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let onward = onward();
    let policy = policy(Protocol::Ws, &server, "/");
    for (uid, has) in [(1, false), (1, true), (2, false)] {
        run(&onward, Attempt { client: Identity::User(uid), ..attempt(&policy) }).await;
        let head = heads.recv().await.unwrap();
        assert_eq!(head.contains("\r\nCookie: w=1\r\n"), has, "user {uid}: {head}");
    }
}
