//! Responses of every kind, over every way.

use sspc::Address;
use sspc::tokio::Client;

use crate::nginx::{self, BIG, MIB, SMALL};
use crate::user::User;
use crate::world::{Streamtype, WAYS, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const NOT_OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_NACK_REMOTE DISCONNECTED";
const OK_WITHOUT_BODY: &str = "CREATING CONNECTING CONNECTED QOS_ACK_REMOTE DISCONNECTED";

#[tokio::test]
async fn a_small_body_comes_over_every_way() {
    let world = World::start().await;
    for way in WAYS {
        let mut user = world.open_at(way, "small.txt").await;
        assert_eq!(user.get().await, OK, "{way}");
        assert_eq!(user.messages.last().unwrap().data, SMALL, "{way}");
    }
    let requests = world.nginx.requests_when(WAYS.len()).await;
    let protocols: Vec<_> = requests.iter().map(|request| request.protocol.as_str()).collect();
    assert_eq!(protocols, ["HTTP/1.1", "HTTP/1.1", "HTTP/2.0", "HTTP/2.0"]);
}

#[tokio::test]
async fn no_body_is_no_payload() {
    let world = World::start().await;
    for way in WAYS {
        for path in ["empty.bin", "status/204"] {
            let mut user = world.open_at(way, path).await;
            assert_eq!(user.get().await, OK_WITHOUT_BODY, "{way} {path}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_the_server_is_a_nack_with_its_body() {
    let world = World::start().await;
    for way in WAYS {
        for (path, body) in [("status/404", "not here"), ("status/500", "broken")] {
            let mut user = world.open_at(way, path).await;
            assert_eq!(user.get().await, NOT_OK, "{way} {path}");
            assert_eq!(user.text(), body, "{way} {path}");
        }
    }
}

#[tokio::test]
async fn a_head_has_no_body_whatever_its_length() {
    let head = r#""http_method": "HEAD", "metadata": [{"length": "content-length"}]"#;
    let world = World::with(|ports, _| {
        let base = |name, port| Streamtype::at(name, port).path("mib.bin").with(head);
        vec![
            base("h1-head", ports.clear).opportunistic(),
            base("h2-head", ports.h2).h2().tls().opportunistic(),
        ]
    })
    .await;
    for way in ["h1-head", "h2-head"] {
        let mut user = world.open(way).await;
        assert_eq!(
            user.get().await,
            "CREATING CONNECTING length=1048576 CONNECTED QOS_ACK_REMOTE DISCONNECTED",
            "{way}"
        );
    }
}

#[tokio::test]
async fn trailers_are_metadata_that_comes_before_the_verdict() {
    let asks = r#""metadata": [{"status": "grpc-status:"}, {"type": "content-type:"}]"#;
    let world = World::with(|ports, _| {
        let base =
            |name, port| Streamtype::at(name, port).path("trailers").with(asks).opportunistic();
        vec![base("h1-trailers", ports.clear), base("h2-trailers", ports.h2).h2().tls()]
    })
    .await;
    for way in ["h1-trailers", "h2-trailers"] {
        let mut user = world.open(way).await;
        assert_eq!(
            user.get().await,
            "CREATING CONNECTING type=text/plain CONNECTED SOM EOM status=0 QOS_ACK_REMOTE \
             DISCONNECTED",
            "{way}"
        );
        assert_eq!(user.messages.last().unwrap().data, SMALL, "{way}");
    }
}

#[tokio::test]
async fn a_session_of_a_server_is_one_clients() {
    let world = World::with(|ports, _| {
        let base = |name, port| {
            let streamtype = Streamtype::at(name, port).path("cookies").opportunistic();
            streamtype.with(r#""http_cookies": true"#)
        };
        vec![
            base("h1-cookies", ports.clear),
            base("h1-again", ports.clear),
            base("h2-cookies", ports.h2).h2().tls(),
            base("h2-again", ports.h2).h2().tls(),
        ]
    })
    .await;
    for way in ["h1", "h2"] {
        for (name, had) in
            [("cookies", "had "), ("cookies", "had session=7"), ("again", "had session=7")]
        {
            let mut user = world.open(&format!("{way}-{name}")).await;
            assert_eq!(user.get().await, OK);
            assert_eq!(user.text(), had, "{way}-{name}");
        }
        // Over TCP it is another client than over the socket's file.
        let mut tcp =
            world.more_addresses().iter().filter(|address| matches!(address, Address::Tcp { .. }));
        let stranger = Client::new(tcp.next().unwrap().clone());
        let mut user = User::open(&stranger, &format!("{way}-again")).await;
        assert_eq!(user.get().await, OK);
        assert_eq!(user.text(), "had ", "{way}");
    }
}

#[tokio::test]
async fn measurements_come_before_connected() {
    let world = World::with(|ports, _| {
        let base = |name, port| {
            Streamtype::at(name, port).path("small.txt").with(r#""perf": true"#).opportunistic()
        };
        vec![base("h1-perf", ports.tls).tls(), base("h2-perf", ports.h2).h2().tls()]
    })
    .await;
    for way in ["h1-perf", "h2-perf"] {
        let mut user = world.open(way).await;
        assert_eq!(user.get().await, OK.replacen("CONNECTED", "PERF CONNECTED", 1), "{way}");
        let perf = user.perf.as_deref().unwrap();
        assert!(perf.starts_with(r#"{"peer":"127.0.0.1","#), "{perf}");
        assert!(perf.contains(r#""prot_specific":{"protocol":"http","resp":200}"#), "{perf}");
    }
}

#[tokio::test]
async fn the_policy_may_expect_a_refusal() {
    let world = World::with(|ports, _| {
        vec![
            Streamtype::at("none", ports.clear)
                .path("status/404")
                .with(r#""http_expect": 404"#)
                .opportunistic(),
        ]
    })
    .await;
    let mut user = world.open("none").await;
    assert_eq!(user.get().await, OK);
}

#[tokio::test]
async fn a_stream_serves_one_transaction_after_the_other() {
    let world = World::start().await;
    for way in WAYS {
        let mut user = world.open_at(way, "small.txt").await;
        assert_eq!(user.get().await, OK, "{way}");
        user.set_metadata("path", "status/404").unwrap();
        assert_eq!(
            user.get().await,
            "CONNECTING CONNECTED SOM EOM QOS_NACK_REMOTE DISCONNECTED",
            "{way}"
        );
        user.set_metadata("path", "mib.bin").unwrap();
        assert_eq!(
            user.get().await,
            "CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED",
            "{way}"
        );
        user.assert_content(MIB);
    }
}

#[tokio::test]
async fn chunked_bodies_come_without_their_chunks() {
    let world = World::start().await;
    for way in WAYS {
        let mut user = world.open_at(way, "origin/chunked").await;
        assert_eq!(user.get().await, OK, "{way}");
        assert_eq!(user.text(), "one two three", "{way}");
    }
}

async fn big_over(way: &str) {
    let options = nginx::Options { big: true, ..nginx::Options::default() };
    let world = World::custom(options, |_| {}, |_, _| Vec::new()).await;
    let mut user = world.open_at(way, "big.bin").await;
    assert_eq!(user.get().await, OK);
    user.assert_content(BIG);
}

#[tokio::test]
async fn sixty_four_mib_come_over_h1() {
    big_over("h1").await;
}

#[tokio::test]
async fn sixty_four_mib_come_over_h1_with_tls() {
    big_over("h1-tls").await;
}

#[tokio::test]
async fn sixty_four_mib_come_over_h2_with_tls() {
    big_over("h2-tls").await;
}

#[tokio::test]
async fn metadata_and_user_state_come_before_connected() {
    let wishes = r#""metadata": [{"path": ""}, {"mime": "content-type"}, {"many": "x-many"}],
                    "http_resp_map": [{"200": 1200}, {"404": 1404}]"#;
    let world = World::with(|ports, _| {
        let base = |name, port| Streamtype::at(name, port).path("${path}").with(wishes);
        vec![
            base("h1-meta", ports.clear).opportunistic(),
            base("h2-meta", ports.h2).h2().tls().opportunistic(),
        ]
    })
    .await;
    for way in ["h1-meta", "h2-meta"] {
        let mut user = world.open_at(way, "origin/headers").await;
        assert_eq!(
            user.get().await,
            "CREATING CONNECTING many=one, two mime=text/plain USER(1200) CONNECTED SOM EOM \
             QOS_ACK_REMOTE DISCONNECTED",
            "{way}"
        );
        user.set_metadata("path", "status/404").unwrap();
        assert_eq!(
            user.get().await,
            "CONNECTING mime=application/octet-stream USER(1404) CONNECTED SOM EOM \
             QOS_NACK_REMOTE DISCONNECTED",
            "{way}"
        );
    }
}

#[tokio::test]
async fn a_body_cut_short_has_no_end_and_no_answer() {
    let world = World::start().await;
    for way in WAYS {
        let feed = world.origin.feed();
        let mut user = world.open_at(way, "origin/fed").await;
        user.connect();
        feed.write("half").await;
        user.until_length(4).await;
        feed.cut().await;
        assert_eq!(user.end().await, "CREATING CONNECTING CONNECTED SOM DISCONNECTED", "{way}");
    }
}

#[tokio::test]
async fn without_opportunistic_a_body_cut_short_is_fetched_again() {
    let world = World::with(|ports, _| {
        vec![Streamtype::at("again", ports.clear).path("origin/fed").retrying()]
    })
    .await;
    let (first, second) = (world.origin.feed(), world.origin.feed());
    let mut user = world.open("again").await;
    user.connect();
    first.write("half").await;
    user.until_length(4).await;
    first.cut().await;
    second.write("whole").await;
    drop(second);
    user.until("QOS_ACK_REMOTE").await;
    user.until("DISCONNECTED").await;
    assert_eq!(
        user.heard(),
        "CREATING CONNECTING CONNECTED SOM DISCONNECTED \
         POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    let texts: Vec<_> = user.messages.iter().map(|message| &message.data[..]).collect();
    assert_eq!(texts, [&b"half"[..], b"whole"]);
}
