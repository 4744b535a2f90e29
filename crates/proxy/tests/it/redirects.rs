//! Redirects by nginx: followed where the policy and good sense allow it.

use crate::nginx::{Ports, SMALL};
use crate::world::{Streamtype, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const POSTED: &str = "CREATING POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const FAILED: &str = "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED";

/// For any path, with redirects allowed.
fn followers(ports: &Ports) -> Vec<Streamtype> {
    let base = |name, port| {
        Streamtype::at(name, port)
            .path("${path}")
            .with(r#""metadata": [{"path": ""}], "allow_redirects": true"#)
            .opportunistic()
    };
    vec![
        base("clear", ports.clear),
        base("tls", ports.tls).tls(),
        base("h2", ports.h2).h2().tls(),
        base("post", ports.clear).post(),
    ]
}

#[tokio::test]
async fn every_kind_is_followed_without_a_word() {
    let world = World::with(|ports, _| followers(ports)).await;
    for way in ["clear", "tls", "h2"] {
        for kind in ["301", "302", "303", "308", "beside", "root"] {
            let mut user = world.open_at(way, &format!("redirect/{kind}")).await;
            assert_eq!(user.get().await, OK, "{way} {kind}");
            assert_eq!(user.messages[0].data, SMALL, "{way} {kind}");
        }
    }
}

#[tokio::test]
async fn a_307_keeps_the_method() {
    let world = World::with(|ports, _| followers(ports)).await;
    let mut user = world.open_at("post", "redirect/307").await;
    assert_eq!(user.post(b"said twice").await, POSTED);
    assert_eq!(user.text(), "said twice");
    assert_eq!(world.origin.requests(), ["POST /origin/echo"]);
}

#[tokio::test]
async fn a_303_turns_a_post_into_a_get() {
    let world = World::with(|ports, _| followers(ports)).await;
    let mut user = world.open_at("post", "redirect/303").await;
    assert_eq!(user.post(b"a form").await, POSTED);
    assert_eq!(user.messages[0].data, SMALL);
    let requests = world.nginx.requests_when(2).await;
    let lines: Vec<_> = requests.iter().map(|it| format!("{} {}", it.method, it.path)).collect();
    assert_eq!(lines, ["POST /redirect/303", "GET /small.txt"]);
}

#[tokio::test]
async fn from_clear_to_tls_is_followed_and_back_is_not() {
    let world = World::with(|ports, _| {
        let mut all = followers(ports);
        // The way up needs to know whom to trust, as the policy says nothing of TLS.
        all[0] = all[0].clone().with(r#""tls_trust_store": "test""#);
        all
    })
    .await;
    let mut user = world.open_at("clear", "redirect/to-tls").await;
    assert_eq!(user.get().await, OK);
    assert_eq!(user.messages[0].data, SMALL);
    for way in ["tls", "h2"] {
        let mut user = world.open_at(way, "redirect/to-clear").await;
        assert_eq!(user.get().await, FAILED, "{way}");
    }
    let ports = world.nginx.ports;
    let requests = world.nginx.requests_when(4).await;
    let to: Vec<_> = requests.iter().map(|request| request.port).collect();
    assert_eq!(to, [ports.clear, ports.tls, ports.tls, ports.h2]);
}

#[tokio::test]
async fn four_hops_are_followed_and_a_fifth_is_not() {
    let world = World::with(|ports, _| followers(ports)).await;
    let mut user = world.open_at("clear", "redirect/4").await;
    assert_eq!(user.get().await, FAILED);
    let mut user = world.open_at("clear", "redirect/3").await;
    assert_eq!(user.get().await, OK);
    world.nginx.requests_when(10).await;
}

#[tokio::test]
async fn a_loop_ends() {
    let world = World::with(|ports, _| followers(ports)).await;
    for way in ["clear", "h2"] {
        let mut user = world.open_at(way, "redirect/loop").await;
        assert_eq!(user.get().await, FAILED, "{way}");
    }
}

#[tokio::test]
async fn a_redirect_that_the_policy_does_not_allow_is_a_failure() {
    let world = World::start().await;
    for way in ["h1", "h1-tls", "h2-tls"] {
        let mut user = world.open_at(way, "redirect/302").await;
        assert_eq!(user.get().await, FAILED, "{way}");
    }
    world.nginx.requests_when(3).await;
}
