//! Where the proxy says that a streamtype takes no payload, sending is an error. The
//! payload used to go nowhere, without a word.

use std::time::Duration;

use sspc::tokio::Client;
use sspc::{Error, Flags, Options, State};

use crate::blocking::{LIMIT, proxy};
use crate::embedded_async::with_line;
use crate::harness::{created_without_payload, state};
use crate::peer::{Listener, Peer};

/// Only a GET is made.
async fn answer(mut peer: Peer) {
    assert!(peer.hear().await.unwrap().starts_with("STREAMTYPE"));
    peer.say(&created_without_payload()).await;
    peer.connect().await;
    peer.say(&[state(State::QosAckRemote), state(State::Disconnected)].concat()).await;
    while let Some(heard) = peer.hear().await {
        assert!(matches!(heard.as_str(), "CREDIT 0" | "DESTROYING"), "{heard}");
    }
}

#[tokio::test]
async fn tokio_says_so() {
    let (listener, address) = Listener::new();
    let proxy = tokio::spawn(async move { answer(listener.accept().await).await });
    let stream = Client::new(address).open("mintest").await.unwrap();
    assert!(stream.takes_no_payload());
    assert!(matches!(stream.send_message("x").await, Err(Error::TakesNoPayload)));
    assert!(matches!(stream.send("x", Flags::WHOLE).await, Err(Error::TakesNoPayload)));
    assert!(matches!(stream.body(None).await, Err(Error::TakesNoPayload)));
    stream.connect();
    let mut stream = stream;
    while stream.state() != Some(State::Disconnected) {
        stream.next().await.unwrap();
    }
    stream.close().await;
    proxy.await.unwrap();
}

#[test]
fn the_blocking_client_says_so_also_if_it_comes_to_know_while_it_sends() {
    for keep_trying in [false, true] {
        let (address, proxy) = proxy(|listener| async move {
            let mut peer = listener.accept().await;
            assert!(peer.hear().await.unwrap().starts_with("STREAMTYPE"));
            peer.say(&created_without_payload()).await;
            while let Some(heard) = peer.hear().await {
                assert!(!heard.starts_with("message"), "{heard}");
            }
        });
        let mut options = Options::default();
        options.keep_trying = keep_trying;
        let mut stream = sspc::blocking::Stream::open_with(&address, "mintest", options).unwrap();
        assert_eq!(stream.takes_no_payload(), !keep_trying);
        let error = stream.send_message(b"x", LIMIT).unwrap_err();
        assert!(matches!(error, Error::TakesNoPayload), "{error}");
        drop(stream);
        proxy.join().unwrap();
    }
}

#[test]
fn embedded_io_async_says_so() {
    with_line::<1>(async |handle| {
        let stream = handle.open("no-payload").await.unwrap();
        // It comes behind what creates the stream.
        while !stream.takes_no_payload() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(stream.takes_no_payload());
        let error = sspc::embedded_io_async::Error::TakesNoPayload;
        assert_eq!(stream.send(b"x").await, Err(error));
        assert_eq!(stream.write(b"x", Flags::WHOLE).await, Err(error));
    });
}
