//! Following redirects, and when not to.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sspc_policy::{MetadataItem, Protocol, StreamType};

use super::support::*;
use crate::onward::{Attempt, Onward, OnwardConfig};

/// `/CODE/LOCATION` redirects there, `/loop/N` to `/loop/N+1`; all else answers with method, path,
/// authorization and body.
async fn handler(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let mut words = path.trim_start_matches('/').splitn(2, '/');
    let (first, rest) = (words.next().unwrap(), words.next().unwrap_or_default());
    let redirect = |code: u16, location: &str| {
        let location = location.replace("%23", "#");
        let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
        response.header("location", location).body(full("moved")).unwrap()
    };
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if let Some(code) = first.parse().ok().filter(|code| (300..400).contains(code)) {
        return redirect(code, rest);
    }
    if first == "loop" {
        let n: u32 = rest.parse().unwrap();
        return redirect(302, &format!("{}", n + 1));
    }
    let secret = headers
        .get("authorization")
        .or_else(|| headers.get("x-secret"))
        .map_or("-".to_owned(), |value| value.to_str().unwrap().to_owned());
    let body = String::from_utf8(body.to_vec()).unwrap();
    Response::new(full(format!("{method} {path} {secret} {body}")))
}

fn policy(server: &Server, url: &str) -> StreamType {
    let mut policy = stream(Protocol::H1, server.address);
    policy.http.url = url.into();
    policy.allow_redirects = true;
    policy.http.auth_header = Some("authorization".to_owned());
    policy
}

/// With the credential that streams send to their first peer.
fn onward() -> Arc<Onward> {
    Onward::new(config_with(|config| config.credentials.change(|own| own.auth = "secret".into())))
}

#[tokio::test]
async fn redirects_are_followed_unseen() {
    let server = Server::http(false, handler).await;
    let onward = onward();
    // A fragment is for the reader of the answer, and is not sent (RFC 9110 §7.1).
    for url in ["301//a?b=c", "302//a?b=c", "307//a?b=c", "308/../a?b=c", "302//a?b=c%23top"] {
        let report = run(&onward, attempt(&policy(&server, url))).await;
        assert_eq!(report.order, ["Connected", "Payload", "Ack"], "{url}");
        assert_eq!(report.text(), "GET /a?b=c secret ", "{url}");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn secrets_stay_with_the_peer_they_are_for() {
    let other = Server::http(false, handler).await;
    let server = Server::http(false, handler).await;
    let url = format!("302/http://{}/x", other.address);
    let report = run(&onward(), attempt(&policy(&server, &url))).await;
    assert_eq!(report.text(), "GET /x - ");
    assert_eq!(other.accepted(), 1);

    // A client's own, where the proxy has none: it went along.
    let mut policy = policy(&server, &url);
    policy.http.auth_header = Some("x-secret".to_owned());
    let header = Some("x-secret:".to_owned());
    policy.metadata.push(MetadataItem { name: "own".to_owned(), header });
    let mut attempt = attempt(&policy);
    attempt.metadata.push(("own".to_owned(), "mine".into()));
    let onward = Onward::new(OnwardConfig::default());
    let report = run(&onward, attempt).await;
    assert_eq!(report.text(), "GET /x - ");
}

#[tokio::test]
async fn redirects_that_must_not_be_followed_fail() {
    let server = Server::http(false, handler).await;
    let onward = onward();
    let mut forbidden = policy(&server, "302//a");
    forbidden.allow_redirects = false;
    let report = run(&onward, attempt(&forbidden)).await;
    assert_eq!(report.order, [""; 0]);
    assert!(report.failure().contains("does not allow"));

    let report = run(&onward, attempt(&policy(&server, "loop/0"))).await;
    assert!(report.failure().contains("more than 4"), "{:?}", report.end);
    // Four are fine.
    let mut four = policy(&server, "301//301//301//301//a");
    let report = run(&onward, attempt(&four)).await;
    assert_eq!(report.text(), "GET /a secret ");

    let report = run(&onward, attempt(&policy(&server, "302/ftp://x/"))).await;
    assert!(report.failure().contains("ftp"));

    four.http.expect = Some(301);
    let report = run(&onward, attempt(&four)).await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "moved");

    let server = Server::answering(&["HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"]).await;
    let report = run(&onward, attempt(&policy(&server, ""))).await;
    assert!(report.failure().contains("without Location"));
}

#[tokio::test]
async fn bodies_follow_while_they_are_held() {
    let server = Server::http(false, handler).await;
    let onward = onward();
    let mut policy = policy(&server, "307//a");
    policy.http.method = "POST".to_owned();
    policy.proxy_buflen = Some(4096);
    let report = send(&onward, attempt(&policy), b"data").await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "POST /a secret data");
    // Too long to be held: the redirect itself is the answer.
    let long = vec![b'x'; 100_000];
    let hinted = Attempt { length_hint: Some(100_000), ..attempt(&policy) };
    let report = send(&onward, hinted, &long).await;
    assert_eq!(report.order.last(), Some(&"Nack"));
    // See Other asks for a GET.
    policy.http.url = "303//a".into();
    let report = send(&onward, attempt(&policy), b"data").await;
    assert_eq!(report.order, ["Connected", "Payload", "Ack"]);
    assert_eq!(report.text(), "GET /a secret ");
}

#[tokio::test]
async fn redirects_never_lead_from_tls_to_clear() {
    let clear = Server::http(false, handler).await;
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let server = Server::https(&certificate, &["h2", "http/1.1"], handler).await;
    let mut policy = policy(&server, &format!("302/http://{}/", clear.address));
    policy.tls = true;
    policy.trust_store = certificate.store();
    let report = run(&onward(), attempt(&policy)).await;
    assert!(report.failure().contains("https to http"), "{:?}", report.end);
    assert_eq!(clear.accepted(), 0);
    // The other way is fine, and needs the policy's trust.
    policy.tls = false;
    policy.port = clear.address.port();
    policy.http.url = format!("302/https://{}/a", server.address).as_str().into();
    assert_eq!(run(&onward(), attempt(&policy)).await.text(), "GET /a - ");
}
