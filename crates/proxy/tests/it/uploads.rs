//! Bodies towards the server: how they are announced, and that they arrive.
//!
//! A length hint reaches the proxy before ONWARD_CONNECT does, and asks an idle stream to transmit:
//! hence the POLL where there is a hint, and none where there is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sspc::Flags;
use sspc::tokio::Sender;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::content;
use crate::flow::settled;
use crate::user::User;
use crate::world::{Streamtype, WAYS, World};

/// Long enough to need flow control everywhere on the way.
const LONG: u64 = 8 << 20;

#[tokio::test]
async fn a_length_hint_becomes_content_length_and_none_is_chunked() {
    let framing =
        r#""metadata": [{"length": "x-content-length"}, {"coding": "x-transfer-encoding"}]"#;
    let world = World::with(|ports, _| {
        let base = |name, port| {
            let base = Streamtype::at(name, port).path("origin/echo").with(framing);
            base.post().opportunistic()
        };
        vec![base("h1-echo", ports.clear), base("h2-echo", ports.h2).h2().tls()]
    })
    .await;

    let mut h1 = world.open("h1-echo").await;
    assert_eq!(
        h1.post(b"hinted").await,
        "CREATING POLL CONNECTING CONNECTED length=6 SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(h1.text(), "hinted");
    h1.send("no ", Flags::SOM).await.unwrap();
    h1.send("hint", Flags::EOM).await.unwrap();
    h1.until("DISCONNECTED").await;
    assert_eq!(
        h1.heard(),
        "CONNECTING CONNECTED coding=chunked SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(h1.text(), "no hint");

    let mut h2 = world.open("h2-echo").await;
    assert_eq!(
        h2.post(b"hinted").await,
        "CREATING POLL CONNECTING CONNECTED length=6 SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    h2.send("no hint", Flags::WHOLE).await.unwrap();
    h2.until("DISCONNECTED").await;
    assert_eq!(h2.heard(), "CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED");
    assert_eq!(h2.text(), "no hint");
}

/// Begins to send so many bytes of content. Gives the count of those that the stream took.
fn send_long(user: &User, length: u64, hint: bool) -> Arc<AtomicU64> {
    const STEP: usize = 100_000;
    let taken = Arc::new(AtomicU64::new(0));
    let (sender, counter) = (Sender::clone(user), Arc::clone(&taken));
    tokio::spawn(async move {
        let mut body = sender.body(hint.then_some(length as u32)).await.unwrap();
        for offset in (0..length).step_by(STEP) {
            let next = usize::try_from(length - offset).unwrap().min(STEP);
            body.write(content::piece(offset, next)).await.unwrap();
            counter.fetch_add(next as u64, Ordering::SeqCst);
        }
        body.finish().await.unwrap();
    });
    taken
}

#[tokio::test]
async fn a_long_body_arrives_whole_over_every_way() {
    let world = World::start().await;
    for way in WAYS {
        for hint in [true, false] {
            let mut user = world.open_at(&format!("{way}-post"), "origin/take").await;
            send_long(&user, LONG, hint);
            let asked = if hint { "POLL CONNECTING" } else { "CONNECTING" };
            assert_eq!(
                user.end().await,
                format!("CREATING {asked} CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"),
                "{way}"
            );
            assert_eq!(user.text(), format!("{LONG} bytes of content"), "{way}");
        }
    }
}

/// Not through nginx: it stops for ever if it has to pass on much in both directions of a request
/// at once.
#[tokio::test]
async fn a_long_body_comes_back_while_it_is_sent() {
    let world = World::with(|_, origin| {
        let port = origin.address.port();
        vec![Streamtype::at("echo", port).path("origin/echo").post().opportunistic()]
    })
    .await;
    for hint in [true, false] {
        let mut user = world.open("echo").await;
        send_long(&user, LONG, hint);
        user.until("DISCONNECTED").await;
        assert!(user.heard().ends_with("CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"));
        user.assert_content(LONG);
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_the_sender_and_gets_all_in_the_end() {
    const LENGTH: u64 = 64 << 20;
    /// More than all that sockets and buffers on the way can hold.
    const ON_THE_WAY_MAX: u64 = 24 << 20;
    let world = World::with(|_, origin| {
        let port = origin.address.port();
        vec![Streamtype::at("deaf", port).path("origin/deaf").post().opportunistic()]
    })
    .await;
    let mut user = world.open("deaf").await;
    let counter = send_long(&user, LENGTH, true);
    user.until("CONNECTED").await;
    let taken = settled(|| counter.load(Ordering::SeqCst)).await;
    assert!(taken < ON_THE_WAY_MAX, "{taken} bytes were taken for someone who does not read");
    world.origin.open();
    user.until("DISCONNECTED").await;
    assert_eq!(
        user.heard(),
        "CREATING POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED"
    );
    assert_eq!(user.text(), format!("{LENGTH} bytes of content"));
}

/// An answer that came early was the end of its request: the server lost half of the message, and
/// the user heard ACK.
#[tokio::test]
async fn a_server_that_answers_early_and_reads_on_gets_the_whole_message() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await.unwrap();
        let mut body = vec![0; 2000];
        socket.read_exact(&mut body).await.unwrap();
        body
    });
    let world =
        World::with(|_, _| vec![Streamtype::at("early", port).post().opportunistic()]).await;
    let mut user = world.open("early").await;
    let mut body = user.body(Some(2000)).await.unwrap();
    body.write(content::piece(0, 1000)).await.unwrap();
    user.until_messages(1).await;
    assert_eq!(user.heard(), "CREATING POLL CONNECTING CONNECTED SOM EOM");
    body.write(content::piece(1000, 1000)).await.unwrap();
    body.finish().await.unwrap();
    assert_eq!(user.end().await, "QOS_ACK_REMOTE DISCONNECTED");
    assert_eq!(server.await.unwrap(), content::piece(0, 2000));
}

#[tokio::test]
async fn an_upload_to_nobody_is_refused_with_its_body() {
    let world = World::start().await;
    for way in ["h1-post", "h2-tls-post"] {
        let mut user = world.open_at(way, "status/404").await;
        assert_eq!(
            user.post(b"for nobody").await,
            "CREATING POLL CONNECTING CONNECTED SOM EOM QOS_NACK_REMOTE DISCONNECTED",
            "{way}"
        );
        assert_eq!(user.text(), "not here", "{way}");
    }
}

#[tokio::test]
async fn a_message_to_an_idle_stream_connects_it_each_time() {
    let world = World::start().await;
    let mut user = world.open_at("h1-post", "origin/echo").await;
    for number in 0..3 {
        let text = format!("message {number}");
        let created = if number == 0 { "CREATING " } else { "" };
        assert_eq!(
            user.post(text.as_bytes()).await,
            format!("{created}POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED")
        );
        assert_eq!(user.text(), text);
    }
}
