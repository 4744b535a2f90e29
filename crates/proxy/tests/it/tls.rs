//! Certificates that must not be trusted.

use crate::nginx::{Ports, SMALL};
use crate::world::{Streamtype, World};

const GIVEN_UP: &str = "CREATING CONNECTING UNREACHABLE POLL CONNECTING UNREACHABLE \
                        POLL CONNECTING UNREACHABLE ALL_RETRIES_FAILED";

async fn refused(port: impl Fn(&Ports) -> u16) {
    let world = World::with(|ports, _| {
        let at = |name, port| Streamtype::at(name, port).path("small.txt").tls().retrying();
        let base = |name| at(name, port(ports));
        vec![
            base("get"),
            base("post").post(),
            base("h2").h2(),
            base("ws").ws(),
            at("good", ports.tls),
        ]
    })
    .await;
    for streamtype in ["get", "h2", "ws"] {
        let mut user = world.open(streamtype).await;
        assert_eq!(user.get().await, GIVEN_UP, "{streamtype}");
    }
    let mut user = world.open("post").await;
    let asked = GIVEN_UP.replacen("CONNECTING", "POLL CONNECTING", 1);
    assert_eq!(user.post(b"a secret").await, asked);

    // Nothing was asked of that server, and what follows is as good as ever.
    let mut user = world.open("good").await;
    assert_eq!(
        user.get().await,
        "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(user.messages[0].data, SMALL);
    let requests = world.nginx.requests_when(1).await;
    assert_eq!(requests[0].port, world.nginx.ports.tls);
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    refused(|ports| ports.wrong_host).await;
}

#[tokio::test]
async fn an_expired_certificate() {
    refused(|ports| ports.expired).await;
}

#[tokio::test]
async fn a_certificate_signed_by_itself() {
    refused(|ports| ports.self_signed).await;
}

#[tokio::test]
async fn no_tls_at_the_port() {
    refused(|ports| ports.clear).await;
}

#[tokio::test]
async fn an_authority_of_another_store() {
    let world = World::with(|ports, _| {
        let settings = r#""tls": true, "retry": "quick""#;
        vec![Streamtype::at("system", ports.tls).path("small.txt").with(settings)]
    })
    .await;
    let mut user = world.open("system").await;
    assert_eq!(user.get().await, GIVEN_UP);
    assert_eq!(world.nginx.requests(), []);
}
