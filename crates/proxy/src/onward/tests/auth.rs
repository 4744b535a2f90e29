//! What `use_auth` puts into requests, and where its tokens come from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{AUTHORIZATION, LOCATION};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sspc_policy::{Auth, Protocol, StreamType};
use tokio::sync::Notify;

use super::support::*;
use crate::credentials::{AwsKeys, OauthClient};
use crate::onward::{Attempt, Onward};

/// A server of tokens: what it was asked, and what it answers.
struct Tokens {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    async fn answering(
        answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::waiting(Arc::default(), answer).await
    }

    /// Answers when it is asked to, if ever.
    async fn waiting(
        start: Arc<Option<Notify>>,
        answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let all = Arc::clone(&asked);
        let server = Server::http(false, move |request: Request<Incoming>| {
            let (all, answer, start) = (Arc::clone(&all), answer.clone(), Arc::clone(&start));
            async move {
                let (head, body) = request.into_parts();
                let who = head.headers.get(AUTHORIZATION).map_or("-", |who| who.to_str().unwrap());
                let body = body.collect().await.unwrap().to_bytes();
                let body = std::str::from_utf8(&body).unwrap();
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(format!("{} {who} {body}", head.method));
                    all.len() - 1
                };
                if let Some(start) = &*start {
                    start.notified().await;
                }
                answer(number)
            }
        })
        .await;
        Self { server, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn auth(&self, kind: &str) -> Arc<Auth> {
        let mut auth = Auth::default();
        auth.name = "api".to_owned();
        auth.kind = kind.to_owned();
        auth.token_endpoint = Some(format!("http://{}/token", self.server.address));
        auth.scope = Some("a b".to_owned());
        Arc::new(auth)
    }
}

fn json(text: &str) -> Response<Body> {
    Response::new(full(text.to_owned()))
}

/// The n-th token, for an hour.
fn numbered(number: usize) -> Response<Body> {
    json(&format!(
        r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":3600,"refresh_token":"r{number}"}}"#
    ))
}

fn onward() -> Arc<Onward> {
    Onward::new(config_with(|config| {
        config.credentials.change(|own| {
            let mut client = OauthClient::new("me");
            client.client_secret = "s&cret".to_owned();
            client.refresh_token = "first".to_owned();
            own.oauth2.insert(0, client);
            own.oauth2.insert(1, OauthClient::new("public"));
            own.sigv4.insert(0, AwsKeys::new("AKID", "secret"));
            own.auth = "zero".into();
            own.more_auth[1] = "two".into();
        });
    }))
}

/// Answers 401 to these, and else with what `authorization` it got.
async fn api(refused: &'static [&'static str]) -> Server {
    Server::http(false, move |request: Request<Incoming>| async move {
        let who = request.headers().get(AUTHORIZATION);
        let who = who.map_or("-", |who| who.to_str().unwrap()).to_owned();
        let mut response = Response::new(full(who.clone()));
        if refused.contains(&who.as_str()) {
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
        }
        response
    })
    .await
}

fn policy(server: &Server, auth: Arc<Auth>) -> StreamType {
    let mut policy = stream(Protocol::H1, server.address);
    policy.use_auth = Some(auth);
    policy
}

/// Lets that much time pass for tokens.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_asked_for_once_however_many_wait() {
    let start = Arc::new(Some(Notify::new()));
    let tokens = Tokens::waiting(Arc::clone(&start), numbered).await;
    let api = api(&[]).await;
    let onward = onward();
    let policy = policy(&api, tokens.auth("oauth2_client_credentials"));
    // The first leaves while it waits, and the token comes all the same.
    drop(onward.start(attempt(&policy)));
    let mut running: Vec<_> = (0..20).map(|_| onward.start(attempt(&policy))).collect();
    while tokens.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(running.pop());
    start.as_ref().as_ref().unwrap().notify_one();
    for mut handle in running {
        assert_eq!(report(&mut handle.events).await.text(), "Bearer t0");
    }
    let basic = "Basic bWU6cyUyNmNyZXQ=";
    assert_eq!(tokens.asked(), [format!("POST {basic} grant_type=client_credentials&scope=a+b")]);
    assert_eq!(run(&onward, attempt(&policy)).await.text(), "Bearer t0", "it is kept");
    assert_eq!(tokens.asked().len(), 1);
}

#[tokio::test]
async fn a_token_is_replaced_shortly_before_its_end_with_the_latest_refresh_token() {
    let tokens = Tokens::answering(numbered).await;
    let api = api(&[]).await;
    let onward = onward();
    let policy = policy(&api, tokens.auth("oauth2_refresh_token"));
    let mut seen = Vec::new();
    for seconds in [0, 3000, 600, 3550] {
        later(seconds).await;
        seen.push(run(&onward, attempt(&policy)).await.text().to_owned());
    }
    assert_eq!(seen, ["Bearer t0", "Bearer t0", "Bearer t1", "Bearer t2"]);
    let with: Vec<String> = tokens.asked();
    let with: Vec<&str> = with.iter().map(|asked| asked.split(' ').next_back().unwrap()).collect();
    let form = |token: &str| format!("grant_type=refresh_token&refresh_token={token}&scope=a+b");
    assert_eq!(with, [form("first"), form("r0"), form("r1")]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let tokens = Tokens::answering(numbered).await;
    let (once, always) = (api(&["Bearer t0"]).await, api(&["Bearer t1", "Bearer t2"]).await);
    let onward = onward();
    let auth = tokens.auth("oauth2_client_credentials");
    let onces = policy(&once, Arc::clone(&auth));
    // A new one is not refused for its age.
    let report = run(&onward, attempt(&onces)).await;
    assert_eq!(report.order, ["Connected", "Payload", "Nack"]);
    assert_eq!(tokens.asked().len(), 1);
    later(60).await;
    let report = run(&onward, attempt(&onces)).await;
    assert_eq!((report.text(), report.is_complete()), ("Bearer t1", true));

    later(60).await;
    let mut alwayss = policy(&always, auth);
    alwayss.http.method = "POST".to_owned();
    let report = send(&onward, attempt(&alwayss), b"body").await;
    assert_eq!((report.text(), report.order.last()), ("Bearer t2", Some(&"Nack")));
    assert_eq!(tokens.asked().len(), 3, "one more, and no other");
}

#[tokio::test]
async fn without_a_token_no_request_goes_out_and_nobody_asks_too_often() {
    let with = |status: u16, body: &'static str| {
        move |_| {
            let mut response = Response::new(full(body));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
        }
    };
    let api = api(&[]).await;
    let long = "x".repeat(10 << 20);
    let cases: Vec<(Tokens, &str)> = vec![
        (Tokens::answering(with(500, "oops")).await, "the server refused with status 500"),
        (
            Tokens::answering(with(400, r#"{"error":"invalid_client"}"#)).await,
            "the server refused with status 400, invalid_client",
        ),
        (
            Tokens::answering(with(400, "{\"error\":\"a\\nb\"}")).await,
            "the server refused with status 400",
        ),
        (Tokens::answering(with(200, "<html>")).await, "the answer has no `access_token`"),
        (
            Tokens::answering(with(200, r#"{"access_token":"t","token_type":"mac"}"#)).await,
            "the answer has a `token_type` that is not Bearer",
        ),
        (
            Tokens::answering(with(200, r#"{"access_token":"a\nb"}"#)).await,
            "the answer has an `access_token` with control characters",
        ),
        (
            Tokens::answering(move |_| Response::new(full(long.clone()))).await,
            "the answer is longer than 65536 bytes",
        ),
        (
            Tokens::answering(move |_| {
                let mut response = with(302, "")(0);
                response.headers_mut().insert(LOCATION, "http://127.0.0.1:1/".parse().unwrap());
                response
            })
            .await,
            "the server refused with status 302",
        ),
    ];
    for (tokens, expected) in cases {
        let onward = onward();
        let policy = policy(&api, tokens.auth("oauth2_client_credentials"));
        let failed = run(&onward, attempt(&policy)).await;
        let failure = failed.failure();
        assert!(failure.starts_with("token of `auth` \"api\": "), "{failure}");
        assert!(failure.ends_with(expected), "{failure}");
        assert_eq!(failed.order, [""; 0]);
        run(&onward, attempt(&policy)).await.failure();
        assert_eq!(tokens.asked().len(), 1, "not twice within a second");
        later(2).await;
        run(&onward, attempt(&policy)).await.failure();
        later(1).await;
        run(&onward, attempt(&policy)).await.failure();
        assert_eq!(tokens.asked().len(), 2, "and later after each failure");
    }
    assert_eq!(api.accepted(), 0);
}

#[tokio::test]
async fn what_use_auth_says_stays_with_the_policys_server() {
    let tokens = Tokens::answering(numbered).await;
    let (onward, other) = (onward(), api(&[]).await);
    let seen = Arc::new(AtomicUsize::new(0));
    let (away, counter) = (format!("http://{}/", other.address), Arc::clone(&seen));
    let server = Server::http(false, move |request: Request<Incoming>| {
        let (away, counter) = (away.clone(), Arc::clone(&counter));
        async move {
            counter.fetch_add(
                usize::from(request.headers().contains_key(AUTHORIZATION)),
                Ordering::SeqCst,
            );
            let mut response = Response::new(full(""));
            *response.status_mut() = http::StatusCode::FOUND;
            response.headers_mut().insert(LOCATION, away.parse().unwrap());
            response
        }
    })
    .await;
    let mut auth = Auth::default();
    auth.kind = "sigv4".to_owned();
    for auth in [tokens.auth("oauth2_client_credentials"), Arc::new(auth)] {
        let mut policy = policy(&server, auth);
        policy.allow_redirects = true;
        assert_eq!(run(&onward, signed(&mut policy)).await.text(), "-");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

/// With region and service.
fn signed(policy: &mut StreamType) -> Attempt {
    for name in ["region", "service"] {
        policy.metadata.push(item(name, ""));
    }
    policy.aws_region = Some("region".to_owned());
    policy.aws_service = Some("service".to_owned());
    let mut attempt = attempt(policy);
    attempt.metadata.push(("region".to_owned(), "us-east-1".into()));
    attempt.metadata.push(("service".to_owned(), "s3".into()));
    attempt
}

#[tokio::test]
async fn requests_are_signed_over_h1_and_h2_for_the_host_that_they_ask() {
    let mut auth = Auth::default();
    auth.kind = "sigv4".to_owned();
    let auth = Arc::new(auth);
    for h2 in [false, true] {
        let server = Server::http(h2, |request: Request<Incoming>| async move {
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            Response::new(full(format!(
                "{} {}",
                header("x-amz-content-sha256"),
                header("authorization")
            )))
        })
        .await;
        let mut policy = policy(&server, Arc::clone(&auth));
        policy.protocol = if h2 { Protocol::H2 } else { Protocol::H1 };
        let report = run(&onward(), signed(&mut policy)).await;
        let (hash, authorization) = report.text().split_once(' ').unwrap();
        assert_eq!(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/2"), "{authorization}");
        let names =
            "/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, ";
        assert!(authorization.contains(names), "{authorization}");
        let mut unset = signed(&mut policy);
        unset.metadata.pop();
        let failed = run(&onward(), unset).await;
        assert!(
            failed.failure().contains("\"service\", which is `aws_service`"),
            "{}",
            failed.failure()
        );
    }
}

#[tokio::test]
async fn credentials_that_are_not_there_are_named_and_other_types_choose_the_blob() {
    let api = api(&[]).await;
    let auth = |kind: &str, blob| {
        let mut auth = Auth::default();
        (auth.name, auth.kind, auth.blob) = ("n".to_owned(), kind.to_owned(), blob);
        auth.token_endpoint = Some("http://127.0.0.1:1/".to_owned());
        Arc::new(auth)
    };
    for (kind, blob, expected) in [
        ("sigv4", 7, "`use_auth` `n` takes `sigv4.7` of the credentials, which is not there"),
        ("oauth2_client_credentials", 9, "takes `oauth2.9` of the credentials"),
        ("oauth2_refresh_token", 1, "takes `refresh_token of oauth2.1` of the credentials"),
    ] {
        let failed = run(&onward(), attempt(&policy(&api, auth(kind, blob)))).await;
        assert!(failed.failure().contains(expected), "{}", failed.failure());
    }
    assert_eq!(api.accepted(), 0);
    for (blob, expected) in [(0, "lwa zero"), (1, "-"), (2, "lwa two"), (9, "-")] {
        let mut policy = policy(&api, auth("lwa", blob));
        policy.http.auth_header = Some("authorization".to_owned());
        policy.http.auth_preamble = Some("lwa ".to_owned());
        assert_eq!(run(&onward(), attempt(&policy)).await.text(), expected);
    }
}
